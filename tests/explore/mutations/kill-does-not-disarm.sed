# file: core/hmm.c
# opens: a range stays valid when the mm is dead
/^void hmm_kill/,/^}/s/disarm(hmm, 0, ~0ul);//
