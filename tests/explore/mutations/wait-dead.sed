# file: core/range.c
# opens: who waits for a change is not released by death
/^static bool settled/,/^}/s/busy = !hmm->dead \&\&/busy =/
