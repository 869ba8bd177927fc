# SPDX-License-Identifier: MIT OR GPL-2.0
#
# The driver printed in README.md is examples/minimal_driver.c as it stands,
# after its head comment.
set -u
mkdir -p "$O/gen"
sed -n '/<!-- begin minimal_driver.c -->/,/<!-- end minimal_driver.c -->/p' \
	README.md | sed '/^<!-- /d; /^```/d' >"$O/gen/readme_driver.c"
sed '1,/^ \*\/$/d' examples/minimal_driver.c | sed '/./,$!d' |
	diff -u - "$O/gen/readme_driver.c"
