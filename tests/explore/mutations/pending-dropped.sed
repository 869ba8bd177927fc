# file: host/user/events.c
# explorer: user
# scenario: pending
# opens: an update that finds no room is not delivered
/^static void put_pending/,/^}/{
	s/last->start = 0;//
	s/last->end = TASK_SIZE;//
}
