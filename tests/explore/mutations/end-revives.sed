# file: core/hmm.c
# opens: an end makes ranges valid, as the seed does
/^void hmm_invalidate_end/,/^}/s/hmm_changes_end(.*/&\n\tif (hmm->ranges.root)\n\t\t((struct hmm_range *)hmm->ranges.root)->seq = *hmm->started;/
