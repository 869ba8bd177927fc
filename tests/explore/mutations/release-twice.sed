# file: core/hmm.c
# opens: release is called again
/^void hmm_release/,/^}/s/mirror->released = true;//
