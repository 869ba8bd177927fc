# file: host/user/events.c
# explorer: user
# scenario: silent-told silent-ends
# opens: the watcher sleeps on a ring that a driver has emptied
/^static bool drain/,/^}/s/work = !mm->src->ops->arm(.*);/;/
