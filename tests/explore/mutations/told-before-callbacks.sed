# file: host/user/events.c
# explorer: user
# scenario: open
# opens: what the mirrors are yet to be told counts as told
/^static uint64_t tell/,/^}/s/^\tgoal = next_goal(mm);/&\n\t__atomic_store_n(\&ev->told, mm->hmm.consumed, __ATOMIC_RELEASE);/
