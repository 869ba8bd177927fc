# file: core/range.c
# explorer: user
# opens: a recheck makes a range valid again
/^bool hmm_range_recheck/,/^}/s/ret = range->valid;/ret = true;/
