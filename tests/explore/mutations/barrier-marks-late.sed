# file: host/user/events.c
# explorer: user
# scenario: open-again
# opens: a barrier closes changes that began after it
/^static int run_barrier/,/^}/s/hmm_barrier_end(&mm->hmm, gen);/hmm_barrier_end(\&mm->hmm, hmm_barrier_begin(\&mm->hmm));/
