/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* uffd_monitor_blob.S - the monitor's program, as it is copied to a memfd */
	.section .rodata
	.global hmm_uffd_monitor
	.hidden hmm_uffd_monitor
	.global hmm_uffd_monitor_end
	.hidden hmm_uffd_monitor_end
	.balign 16
hmm_uffd_monitor:
	.incbin "uffd-monitor"
hmm_uffd_monitor_end:
	.section .note.GNU-stack, "", %progbits
