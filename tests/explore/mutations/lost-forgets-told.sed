# file: core/change.c
# explorer: user
# scenario: told-lost
# opens: a lost record makes the changes forgotten whose end will be told
/^void hmm_changes_open/,/^}/s/^\t\tc->unlisted = 0;/\t\tc->nr = c->unlisted = 0;/
