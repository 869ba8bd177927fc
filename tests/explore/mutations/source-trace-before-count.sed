# file: tests/explore/sim_source.c
# explorer: user
# scenario: open open-two
# opens: the source traces a change before its barrier sees it
/^unsigned int source_begin/,/^}/{
	s/change->barred = true;//
	s/^\tcount(id);/&\n\tsched_point("raise the count in progress", change);\n\tchange->barred = true;/
}
