# file: core/hmm.c
# opens: who waits for a change sleeps on when it has ended
/^void hmm_invalidate_end/,/^}/s/wake_up_all(&hmm->wq);//
