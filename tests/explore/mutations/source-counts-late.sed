# file: tests/explore/sim_source.c
# explorer: user
# opens: the source counts a change after it is made
/^void source_change/,/^}/{
	s/^\tcount(id);//
	s/^\tsim_change_pages(id, what);/&\n\tcount(id);/
}
