# file: host/user/events.c
# explorer: user
# opens: the watcher does not look once more before it sleeps
/^static bool may_sleep/,/^}/s/if (!mm->src->ops->arm)/if (1)/
