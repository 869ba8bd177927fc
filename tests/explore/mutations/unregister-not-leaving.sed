# file: core/hmm.c
# opens: a call begins after unregister has looked for one
/^int hmm_mirror_unregister/,/^}/s/mirror->leaving = true;//
