# file: core/change.c
# explorer: user
# scenario: open-again
# opens: a barrier closes changes that began after it, too
/^void hmm_changes_close_before/,/^}/s/c->slot\[i\].gen < gen/c->slot[i].gen <= gen/
