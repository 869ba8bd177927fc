# file: host/user/events.c
# explorer: user
# scenario: disjoint
# opens: records that a driver takes don't reach the watcher
/^bool hmm_host_sync/,/^}/{
	/if (drain(mm))/N
	s/if (drain(mm))\n\t\t\tkick(mm);/drain(mm);/
	/close_owner/N
	s/ && drain(mm))\n\t\tkick(mm);/)\n\t\tdrain(mm);/
}
