# file: tests/explore/sim_source.c
# explorer: user
# scenario: silent
# opens: the source looks for records before it arms
/^static bool sim_arm/,/^}/{
	s/r->armed = true;/bool none = r->started == r->next \&\& r->ended == r->ends_taken + r->lost_ends;/
	s/return r->started == r->next &&/r->armed = true;\n\treturn none;/
	s/^\t *r->ended == .*;$//
}
