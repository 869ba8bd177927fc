# file: core/walk.c
# opens: a snapshot that failed leaves the range valid
/^static long attempt/,/^}/s/if (ret < 0)/if (0)/
