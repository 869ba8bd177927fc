# file: tests/explore/sim_source.c
# explorer: user
# opens: the source counts a change after it is made
/^unsigned int source_begin/,/^}/s/^\tcount(id);//
/^void source_end/,/^}/s/^\tsim_change_pages(id, what);/&\n\tcount(id);/
