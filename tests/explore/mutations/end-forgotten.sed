# file: core/change.c
# opens: the end of a change is not seen
/^void hmm_changes_end/,/^}/s/\*oldest = c->slot\[--c->nr\];/;/
