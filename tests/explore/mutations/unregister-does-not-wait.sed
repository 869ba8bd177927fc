# file: core/hmm.c
# opens: a mirror is gone while its callback runs
/^int hmm_mirror_unregister/,/^}/s/if (!wait_event_timeout(/if (0 \&\& !wait_event_timeout(/
