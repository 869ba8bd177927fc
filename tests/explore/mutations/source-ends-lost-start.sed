# file: tests/explore/sim_source.c
# explorer: user
# scenario: told-lost
# opens: the end of a change whose start was lost ends an equal one
/^static int sim_drain/,/^}/s/if (!end || world.change.id..handed_on)/if (true)/
