# file: host/user/mm.c
# explorer: user
# scenario: fork-driver fork
# opens: a fork's child trusts what nobody watches any more
/^static void fork_child/,/^}/s/hmm_kill(&mm->hmm);//
