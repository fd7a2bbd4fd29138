#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The complete examples in libblkmq(3) and blkmq-driver(3) compile with strict
# warnings against the public headers alone, and do what the pages say.  So do
# the commands for several disks in nbdkit-blkmq-plugin(1).
set -euo pipefail

srcdir=${srcdir:-.}
builddir=${BLKMQ_BUILDDIR:?set by make check}
lib=$builddir/src/.libs
tmp=$(mktemp -d)
pids=()

clean_up ()
{
  for pid in "${pids[@]}"; do
    kill "$pid" 2>/dev/null || true
  done
  rm -rf "$tmp"
}
trap clean_up EXIT

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

# ---- nbdkit-blkmq-plugin(1) ----

requires ()
{
  command -v "$1" >/dev/null || {
    echo "$0: skipped in part: there is no $1"
    exit 0
  }
}
requires nbdinfo
requires qemu-img

# The verbatim text of SECTION, up to the next of its kind, with files and
# sockets in a place of the test's.
commands ()
{
  awk -v section="=head1 $1" '/^=head1/ { inside = $0 == section; next }
       inside && /^ / { sub (/^ /, ""); print }' \
    "$srcdir/man/nbdkit-blkmq-plugin.pod" | sed "s|/tmp/|$tmp/|g"
}

# What is a server is left running, and its process id noted.
# shellcheck disable=SC2317 # the page calls them
nbdkit ()
{
  local words=() word

  for word; do
    if [ "$word" = blkmq ]; then
      word=$BLKMQ_PLUGIN
    fi
    words+=("$word")
  done
  case " $* " in
    *' --run '*)
      command "${NBDKIT:-nbdkit}" "${words[@]}"
      return ;;
  esac
  rm -f "$tmp/pid"
  command "${NBDKIT:-nbdkit}" -P "$tmp/pid" "${words[@]}"
  # It serves now, but writes the file a little later.
  for ((i = 0; i < 3000; i++)); do
    if [ -s "$tmp/pid" ]; then
      pids+=("$(<"$tmp/pid")")
      return
    fi
    sleep 0.02
  done
  fail "nbdkit $*: no process id"
}

# There is no kernel's client here: ask for what it would ask for.
# shellcheck disable=SC2317
nbd-client ()
{
  [ "$1 $3 $6" = '-unix -N -b' ] || fail "nbd-client $*"
  [ "$(nbdinfo --json "nbd+unix:///$4?socket=$2" |
       sed -n 's/.*"block_size_minimum": \([0-9]*\).*/\1/p')" = "$7" ] ||
    fail "nbd-client $*: the block size is not $7"
}

commands 'SEVERAL DISKS' >"$tmp/commands"
# shellcheck source=/dev/null
. "$tmp/commands" >"$tmp/output"
[ "${#pids[@]}" -ge 2 ] || fail 'SEVERAL DISKS: no server was started'
for text in 'export="fast":' 'export="slow":' 'export="old":' \
            'description: as it was in May' 'irqmode timer' \
            'export-size: 2147483648 (2G)' '^2147483648$' \
            'virtual size: 1 GiB'; do
  grep -q "$text" "$tmp/output" || fail "SEVERAL DISKS: no $text"
done
[ "$(nbdinfo --list "nbd+unix:///?socket=$tmp/shared.sock" |
     grep -c '^export=')" = 2 ] || fail 'SEVERAL DISKS: not two that share tags'
