# file: core/range.c
# explorer: user
# scenario: late-record
# opens: what is counted but not marked is taken for seen
/^int hmm_range_arm/,/^}/s/hmm->consumed/*hmm->started/
