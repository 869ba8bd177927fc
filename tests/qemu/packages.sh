# SPDX-License-Identifier: MIT OR GPL-2.0
#
# packages.sh - Debian packages, downloaded and not installed (to be sourced)

mirror=http://deb.debian.org
key=/usr/share/keyrings/debian-archive-keyring.gpg

no()
{
	echo "$*"
	exit 77
}

# packages_from VERSION DIR: of the suite that has this kernel, by way of DIR.
# A suite is a version as well: whatever it has now.
packages_from()
{
	packages=$2 preferred=
	command -v apt-get >/dev/null || no "no apt-get to download with"
	[ -f $key ] || no "no $key to check packages with"
	mkdir -p "$packages/apt/lists/partial" "$packages/deb" \
		"$packages/apt/cache/archives/partial"
	case $1 in
	6.1)	cat <<-LIST
		deb [signed-by=$key] $mirror/debian bookworm main
		deb [signed-by=$key] $mirror/debian bookworm-updates main
		deb [signed-by=$key] $mirror/debian-security bookworm-security main
		LIST
		;;
	6.12)	preferred=bookworm-backports
		cat <<-LIST
		deb [signed-by=$key] $mirror/debian bookworm main
		deb [signed-by=$key] $mirror/debian bookworm-updates main
		deb [signed-by=$key] $mirror/debian-security bookworm-security main
		deb [signed-by=$key] $mirror/debian bookworm-backports main
		LIST
		;;
	trixie | sid)
		echo "deb [signed-by=$key] $mirror/debian $1 main"
		;;
	*-backports)
		preferred=$1
		cat <<-LIST
		deb [signed-by=$key] $mirror/debian ${1%-backports} main
		deb [signed-by=$key] $mirror/debian $1 main
		LIST
		;;
	*)	no "no Debian suite is known to have Linux $1" ;;
	esac >"$packages/apt/sources.list"
	again apt_get update ||
		no "$mirror can't be reached (see $packages/apt/log)"
}

# Lists and cache of our own; proxies and the like as the machine has them.
apt_any()
{
	command=$1
	shift
	"$command" -qq -o Dir::Etc::SourceList="$packages/apt/sources.list" \
		-o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$packages/apt/lists" \
		-o Dir::Cache="$packages/apt/cache" \
		-o Acquire::Languages=none -o APT::Architecture=amd64 \
		-o APT::Default-Release="$preferred" \
		-o APT::Sandbox::User=root -o Acquire::http::Timeout=20 \
		-o Acquire::Retries=3 "$@" 2>>"$packages/apt/log"
}

apt_get()
{
	apt_any apt-get "$@" >>"$packages/apt/log"
}

# packages_needed NAME: what it depends on
packages_needed()
{
	apt_any apt-cache depends "$1" | sed -n 's/^ *Depends: //p'
}

# A mirror may hiccup, or be updated between its index and its files.
again()
{
	for pause in 10 30; do
		"$@" && return
		sleep $pause
	done
	"$@"
}

download()
{
	(cd "$packages/deb" && apt_get download "$@")
}

# packages_get NAME...: into DIR/deb
packages_get()
{
	again download "$@" ||
		no "$1 can't be downloaded (see $packages/apt/log)"
}

packages_done()
{
	rm -r "$packages/deb" "$packages/apt"
}
