# file: core/hmm.c
# opens: a mirror is registered with a dead mm
/^int hmm_mirror_register/,/^}/s/if (hmm->dead)/if (0)/
