# file: core/hmm.c
# opens: between disarming and listing a change a range is armed
/^void hmm_invalidate_start/,/^}/{
	s/hmm_changes_start(&hmm->changes, start, end);//
	s/disarm(hmm, start, end);/&\n\tspin_unlock(\&hmm->lock);\n\tspin_lock(\&hmm->lock);\n\thmm_changes_start(\&hmm->changes, start, end);/
}
