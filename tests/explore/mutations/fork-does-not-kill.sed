# file: host/user/mm.c
# explorer: user
# scenario: fork-driver fork
# opens: a fork's child trusts what nobody watches any more
/^void hmm_fork_child/,/^}/s/hmm_kill(&mm->hmm);//
