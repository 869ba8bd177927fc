# file: core/range.c
# opens: a range is armed while a change of it is in progress
/^int hmm_range_arm/,/^}/s/hmm_changes_overlap(&hmm->changes, range->start,/0 \&\& &/
