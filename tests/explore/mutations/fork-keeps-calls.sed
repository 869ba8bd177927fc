# file: host/user/mm.c
# explorer: user
# scenario: fork-driver fork
# opens: a fork's child waits for a callback of its parent
/^static void fork_child/,/^}/s/mm->hmm.calls = NULL;//
