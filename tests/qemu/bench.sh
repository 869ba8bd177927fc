# SPDX-License-Identifier: MIT OR GPL-2.0
#
# bench.sh - for guest.sh: what only a kernel with hmm.ko can tell
#
# Emulated, one operation costs several times another's share of what it costs
# elsewhere: only the ratios mean something, and those little below a tenth.
insmod "$kernel/modules/hmm.ko" ranges_per_file=1000000
insmod "$kernel/modules/hmm_bench.ko"
run bench 700 "$O/bench/bench" --ms 6000 device mark
