# file: core/hmm.c
# opens: the refusal of a mirror is lost, the shadowed ret of the seed
/^int hmm_mirrors_sync/,/^}/s/first = ret;/first = 0;/
