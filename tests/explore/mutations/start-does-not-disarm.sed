# file: core/hmm.c
# opens: a change does not make its ranges invalid
/^void hmm_invalidate_start/,/^}/s/disarm(hmm, start, end);//
