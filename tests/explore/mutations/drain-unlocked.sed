# file: host/user/events.c
# explorer: user
# opens: two tasks take records at a time
/^static bool drain/,/^}/s/pthread_mutex_\(un\)\{0,1\}lock(&ev->drain_lock);//
