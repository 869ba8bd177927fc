# file: host/user/events.c
# explorer: user
# scenario: late-record
# opens: a counted change without its record passes for marked
/^bool hmm_host_sync/,/^}/{
	/hmm_now_ms() > deadline/{
		n
		s/return false;/return true;/
	}
}
