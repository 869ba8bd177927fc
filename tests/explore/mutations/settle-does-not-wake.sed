# file: host/user/events.c
# explorer: user
# opens: nobody tells the barrier's thread that it is wanted
/^void hmm_host_settle/,/^}/s/wake_up_all(&mm->events.wq);//
