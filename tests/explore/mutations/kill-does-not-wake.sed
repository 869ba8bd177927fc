# file: core/hmm.c
# opens: who waits for a change sleeps on when the mm is dead
/^void hmm_kill/,/^}/s/wake_up_all(&hmm->wq);//
