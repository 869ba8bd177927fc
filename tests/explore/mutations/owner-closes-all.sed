# file: core/change.c
# explorer: user
# opens: one thread's return closes another's change
/^bool hmm_changes_close_owner/,/^}/s/c->slot\[i\].owner == owner/1/
