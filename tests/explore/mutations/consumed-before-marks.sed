# file: host/user/events.c
# explorer: user
# opens: changes count as consumed before their ranges are marked
/^static bool drain/,/^}/s/consumed = mm->hmm.consumed;/&\n\t\thmm_advance(\&mm->hmm, *mm->hmm.started);/
