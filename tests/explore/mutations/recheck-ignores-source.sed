# file: core/range.c
# explorer: user
# scenario: late-record
# opens: a range is valid though what was counted is not marked
/^bool hmm_range_recheck/,/^}/s/!hmm_host_sync(hmm)/(hmm_host_sync(hmm), false)/
