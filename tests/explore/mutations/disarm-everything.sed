# file: core/hmm.c
# opens: a disjoint change makes a range invalid
/^static void disarm/,/^}/s/hmm_interval_\(first\|next\)(\([^,]*\), start, end)/hmm_interval_\1(\2, 0, ~0ul)/
