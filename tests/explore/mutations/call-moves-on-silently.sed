# file: core/hmm.c
# opens: unregister sleeps on when the call has left its mirror
/^static struct hmm_mirror \*call_next/,/^}/s/wake_up_all(&hmm->wq);/;/
