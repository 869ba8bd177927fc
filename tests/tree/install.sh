# SPDX-License-Identifier: MIT OR GPL-2.0
#
# An installed libhmm serves a program through pkg-config, shared and static, in
# C and in C++, whose strictest warnings find nothing in its headers; uninstall
# leaves nothing.
set -eu
command -v pkg-config >/dev/null || { echo "no pkg-config"; exit 77; }

tmp=$(mktemp -d /tmp/hmm-install.XXXXXX)
trap 'rm -rf "$tmp"' EXIT
dest=$tmp/dest
prefix=/opt/hmm

$MAKE O="$O" DESTDIR="$dest" PREFIX=$prefix install >"$tmp/log" 2>&1 ||
	{ cat "$tmp/log"; exit 1; }

export PKG_CONFIG_PATH="$dest$prefix/lib/pkgconfig"
export PKG_CONFIG_SYSROOT_DIR="$dest"
cat >"$tmp/program.c" <<'C'
#include <hmm.h>
#include <stdio.h>

int main(void)
{
	struct hmm_source_info info = { .size = sizeof(info) };
	unsigned int i;

	for (i = 0; !hmm_source_query(i, &info); i++)
		printf("%s: %s\n", info.name, info.error ? info.reason : "ok");
	return i == 0 || hmm_version() >> 16 != HMM_VERSION_MAJOR;
}
C
cc="${CC-gcc} -Wall -Wextra -Wpedantic -Werror"

$cc $(pkg-config --cflags libhmm) -o "$tmp/shared" "$tmp/program.c" \
	$(pkg-config --libs libhmm)
echo "shared:"
LD_LIBRARY_PATH="$dest$prefix/lib" "$tmp/shared"
LD_LIBRARY_PATH="$dest$prefix/lib" ldd "$tmp/shared" | grep "libhmm.so.0 => $dest"

# libhmm itself static; what it needs as the system has it.
$cc $(pkg-config --cflags libhmm) -o "$tmp/static" "$tmp/program.c" \
	$(pkg-config --static --libs libhmm | sed 's/-lhmm/-l:libhmm.a/')
echo "static:"
"$tmp/static"
! ldd "$tmp/static" | grep libhmm

headers()
{
	printf '#include <hmm.h>\n#include <hmm_dev.h>\n' | "$@" -Wall -Wextra \
		-Wpedantic -Wshadow -Wconversion -Werror -fsyntax-only \
		$(pkg-config --cflags libhmm) -
}
for std in c99 c11 c17; do
	headers ${CC-gcc} -std=$std -x c
done
if command -v g++ >/dev/null; then
	for std in c++11 c++17; do
		headers g++ -std=$std -Wold-style-cast -x c++
	done
	g++ -Wall -Werror $(pkg-config --cflags libhmm) -o "$tmp/c++" \
		-x c++ "$tmp/program.c" -x none $(pkg-config --libs libhmm)
	echo "C++:"
	LD_LIBRARY_PATH="$dest$prefix/lib" "$tmp/c++"
fi
[ ! -e "$O/hmm" ] || "$dest$prefix/bin/hmm" --version

find "$dest" ! -type d | sed "s|$dest||" | sort
$MAKE O="$O" DESTDIR="$dest" PREFIX=$prefix uninstall >"$tmp/log" 2>&1
left=$(find "$dest" ! -type d)
if [ -n "$left" ]; then
	echo "uninstall left:" $left
	exit 1
fi
