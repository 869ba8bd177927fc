# file: core/hmm.c
# explorer: user
# scenario: silent-told
# opens: only mirrors count as those who want records
/^bool hmm_wants_records/,/^}/s/ || hmm_changes_told(&hmm->changes)//
