# file: core/range.c
# opens: a wait for a dead mm succeeds
/^bool hmm_range_wait_until_valid/,/^}/s/return !READ_ONCE(hmm->dead);/return true;/
