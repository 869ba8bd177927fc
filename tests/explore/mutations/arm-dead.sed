# file: core/range.c
# opens: a range of a dead mm is armed
/^int hmm_range_arm/,/^}/s/if (hmm->dead)/if (0)/
