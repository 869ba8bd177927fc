# file: core/walk.c
# opens: the sequence is sampled after the entries were read
/^static long attempt/,/^}/{
	s/ret = hmm_range_arm(range);/ret = 0;/
	s/ret = walk_range(walk);/&\n\tif (!ret)\n\t\tret = hmm_range_arm(range);/
}
