# file: core/range.c
# opens: a range of a dead mm is registered
/^int hmm_range_insert/,/^}/s/if (hmm->dead)/if (0)/
