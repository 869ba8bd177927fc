# file: core/change.c
# opens: the end of a change is not seen
/^void hmm_changes_end/,/^}/s/c->slot\[i\] = c->slot\[--c->nr\];//
