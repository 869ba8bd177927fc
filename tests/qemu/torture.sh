# SPDX-License-Identifier: MIT OR GPL-2.0
#
# torture.sh - for guest.sh: misuse /dev/hmm for longer
load zram num_devices=1
echo 256M >/sys/block/zram0/disksize
mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
run hostile 2000 sh "$1/tests/qemu/hostile.sh" "$kernel/modules" "$O" 240 100 \
	"$(date +%s)"
