# file: core/hmm.c
# explorer: user
# scenario: own-two
# opens: who waits for another's change is not woken by its owner
/^bool hmm_invalidate_close_owner/,/^}/s/wake_up_all(&hmm->wq);/;/
