# file: host/user/events.c
# explorer: user
# opens: who asks while a barrier runs is forgotten
/^static void \*barrier/,/^}/{
	s/__atomic_exchange_n(&ev->wanted, false, __ATOMIC_ACQ_REL)/ev->wanted/
	s/nanosleep(&pause, NULL);/&/
	s/^\t\tfor (tries = 0;.*/&/
	/^\t\t}$/s/$/\n\t\t__atomic_store_n(\&ev->wanted, false, __ATOMIC_RELEASE);/
}
