# file: host/user/mm.c
# explorer: user
# scenario: fork-driver fork
# opens: a fork's child inherits a lock that nobody will drop
/^void hmm_fork_prepare/,/^}/s/spin_lock(&mm->hmm.lock);//
/^static void fork_unlock/,/^}/s/spin_unlock(&mm->hmm.lock);//
