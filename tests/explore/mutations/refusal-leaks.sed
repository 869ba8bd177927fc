# file: tests/explore/native_refused.c
# opens: a change that was refused is in progress for ever
s/hmm_invalidate_end(.*/(void)hmm, (void)start, (void)end;/
