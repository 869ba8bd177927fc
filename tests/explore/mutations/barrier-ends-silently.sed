# file: core/hmm.c
# explorer: user
# opens: who waits for a barrier is not woken
/^void hmm_barrier_end/,/^}/s/wake_up_all(&hmm->wq);//
