# file: core/change.c
# opens: the neighbour of a change waits for it
/^bool hmm_changes_overlap/,/^}/s/if (hmm_overlap(.*/if (c->slot[i].start <= end \&\& start <= c->slot[i].end)/
