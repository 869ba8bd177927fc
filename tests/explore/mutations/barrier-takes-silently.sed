# file: host/user/events.c
# explorer: user
# opens: records that the barrier's thread takes don't reach the watcher
/^static int run_barrier/,/^}/{
	/if (drain(mm))/N
	s/if (drain(mm))\n\t\tkick(mm);/drain(mm);/
}
