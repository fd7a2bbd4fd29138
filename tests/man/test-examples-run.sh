#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The complete examples in libblkmq(3) and blkmq-driver(3) compile with strict
# warnings against the public headers alone, and do what the pages say.
set -euo pipefail

srcdir=${srcdir:-.}
builddir=${BLKMQ_BUILDDIR:?set by make check}
lib=$builddir/src/.libs
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# The verbatim text of the section whose title begins "A COMPLETE".
example ()
{
  awk '/^=head1/ { inside = /^=head1 A COMPLETE/; next }
       inside && /^( |$)/ { sub (/^ /, ""); print }' "$1"
}

# compile COMPILER ARGUMENT...
compile ()
{
  "$1" -std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror -pedantic \
    -I"$srcdir/src" "${@:2}"
}

fail ()
{
  echo "$*" >&2
  exit 1
}

example "$srcdir/man/libblkmq.pod" >"$tmp/library.c"
# Its shell commands are not part of it.
example "$srcdir/man/blkmq-driver.pod" |
  sed '/^BLKMQ_DRIVER_EXPORT/q' >"$tmp/pattern.c"
grep -q 'blkmq_disk_start' "$tmp/library.c"
grep -q 'blkmq_complete' "$tmp/pattern.c"

# ---- libblkmq(3) ----

compile "${CC:-cc}" "$tmp/library.c" -o "$tmp/library" -L"$lib" -lblkmq
export LD_LIBRARY_PATH=$lib
[ "$("$tmp/library")" = hello ] || fail 'libblkmq(3): wrong output'

# ---- blkmq-driver(3) ----

# What the page says that one reads: sector n is filled with the byte n + 7.
perl -e 'print chr (($_ + 7) % 256) x 512 for 0 .. 2047' >"$tmp/expected"
[ "$(wc -c <"$tmp/expected")" = 1048576 ]

# serve ARGUMENT...: as in the page, but with this tree's plugin.
serve ()
{
  (cd "$tmp" && "${NBDKIT:-nbdkit}" -U - "${BLKMQ_PLUGIN:?}" 1M \
     driver=./pattern.so "$@")
}

compilers=("${CC:-cc}")
for cc in gcc clang; do
  if command -v "$cc" >/dev/null; then
    compilers+=("$cc")
  fi
done
for cc in "${compilers[@]}"; do
  rm -f "$tmp/pattern.so" "$tmp/disk.img"
  compile "$cc" -shared -fPIC -o "$tmp/pattern.so" "$tmp/pattern.c"

  # shellcheck disable=SC2016 # for nbdkit's shell
  serve pattern_first=7 --run 'nbdcopy "$uri" disk.img'
  cmp "$tmp/disk.img" "$tmp/expected"
  # What agrees may be written, and what does not may not.
  # shellcheck disable=SC2016
  serve pattern_first=7 --run 'nbdcopy disk.img "$uri"'
  # shellcheck disable=SC2016
  if serve pattern_first=8 --run 'nbdcopy disk.img "$uri"' 2>"$tmp/err"; then
    fail "$cc: what does not agree was written"
  fi
  grep -q 'the medium is bad' "$tmp/err" || fail "$cc: $(cat "$tmp/err")"

  # Its keys are keys.
  if serve --run true 2>"$tmp/err"; then
    fail "$cc: served without what is required"
  fi
  grep -q 'pattern_first: required by driver=pattern' "$tmp/err" ||
    fail "$cc: $(cat "$tmp/err")"
  if serve pattern_first=256 --run true 2>"$tmp/err"; then
    fail "$cc: served with what is out of bounds"
  fi
  grep -q 'pattern_first=256: .* from 0 to 255' "$tmp/err" ||
    fail "$cc: $(cat "$tmp/err")"
done
