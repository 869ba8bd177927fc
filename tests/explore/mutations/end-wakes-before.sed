# file: core/hmm.c
# opens: the wake-up comes before the change is taken off
/^void hmm_invalidate_end/,/^}/{
	s/wake_up_all(&hmm->wq);//
	s/spin_lock(&hmm->lock);/wake_up_all(\&hmm->wq);\n\t&/
}
