# file: core/hmm.c
# opens: a callback that unregisters waits for itself
/^int hmm_mirror_unregister/,/^}/s/if (hmm_in_callback(hmm))/if (0)/
