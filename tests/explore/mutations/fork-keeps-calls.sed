# file: host/user/mm.c
# explorer: user
# scenario: fork-driver fork
# opens: a fork's child waits for a callback of its parent
/^void hmm_fork_child/,/^}/s/mm->hmm.calls = NULL;//
