# file: tests/explore/sim_source.c
# explorer: user
# scenario: told
# opens: the source does not tell that records were lost
/^static int sim_drain/,/^}/s/fn(ctx, &all);//
