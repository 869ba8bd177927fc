# file: core/hmm.c
# opens: a mirror that leaves is called again and again
/^static struct hmm_mirror \*call_next/,/^}/s/while (mirror && mirror->leaving)/while (0)/
