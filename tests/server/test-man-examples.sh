#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The examples of blkmqd(8) do what the page says: all are run, one after the
# other, with files and sockets of this test.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
ctl=${BLKMQ_CTL:?set it to blkmqctl}
requires nbdinfo nbdcopy qemu-img qemu-io fio certtool psktool
manual=$top_srcdir/man/blkmqd.pod
choose_seed
sparse_image disk.img 8M "$seed"
printf hello | dd of=disk.img conv=notrunc status=none

# A server, if it is not for one command.
# shellcheck disable=SC2317 # the page calls these
blkmqd ()
{
  case " $* " in
    *' --run '*)
      "$blkmqd" "$@"
      return ;;
  esac
  launch "$@"
  wait_until serves_or_is_gone || fail "blkmqd $* does not begin to serve"
  [ -s "$pidfile" ] || fail "blkmqd $*: $(cat "$log")"
}

# shellcheck disable=SC2317
blkmqctl ()
{
  "$ctl" "$@"
}

# There is no kernel's client here (the tests in the virtual machine have one):
# ask for what it would ask for.
device=/dev/nbd0 attached=''
# shellcheck disable=SC2317
nbd-client ()
{
  if [ "$*" = "-d $device" ]; then
    [ -n "$attached" ] || fail "nbd-client $*: not attached"
    attached=''
    return
  fi
  expect_equal "the words of nbd-client $*" \
    "$1 $3 $4 $6 $8" "-unix $device -C -b -timeout"
  nbdinfo --json "nbd+unix:///?socket=$2" >kernel
  grep -q "\"block_size_minimum\": $7," kernel || fail "nbd-client $*: -b"
  grep -q '"can_multi_conn": true' kernel || fail "nbd-client $*: -C"
  [ "$5" -gt 1 ] || fail "nbd-client $*: -C"
  [ "$9" -gt 0 ] || fail "nbd-client $*: -timeout"
  attached=1
}
# shellcheck disable=SC2317
modprobe ()
{
  expect_equal "the module" "$*" nbd
}
# shellcheck disable=SC2317
mkfs.ext4 ()
{
  expect_equal "attached, and mkfs.ext4" "$attached $*" "1 $device"
}
# shellcheck disable=SC2317
mount ()
{
  expect_equal "attached, and mount" "$attached $*" "1 $device /mnt"
}
# shellcheck disable=SC2317
umount ()
{
  expect_equal "attached, and umount" "$attached $*" "1 /mnt"
}

# With the system's python, which has libnbd's module, if any has.
# shellcheck disable=SC2317
nbdsh ()
{
  PATH=/usr/bin:$PATH env nbdsh "$@"
}

# qemu opens its disks, and boots nothing.
# shellcheck disable=SC2317
qemu-system-x86_64 ()
{
  printf 'info block\nquit\n' \
    | env qemu-system-x86_64 "$@" -accel tcg -display none -S -monitor stdio
}

# localised COMMAND: with the test's files, and the port that there is.
port=''
localised ()
{
  sed -e "s|/tmp/|$tmp/|g" -e 's|--tcp=127.0.0.1:10809|--tcp=127.0.0.1:0|' \
    -e "s|//127.0.0.1:10809|//127.0.0.1:$port|g" -e 's| &$||' <<<"$1"
}

# says COMMAND TEXT: the example has printed that.
says ()
{
  grep -q -e "$2" printed || fail "'$1' has not said '$2': $(cat printed)"
}

# What may be missing, and only some examples need.
is_there ()
{
  case $1 in
    nbdsh) nbdsh -c 'pass' ;;
    qemu-system-x86_64) qemu-system-x86_64 --version ;;
  esac
}

nr_run=0
run_example ()
{
  local command ends_with=0 how=0

  command=$(localised "$1")
  if ! is_there "${command%% *}" >printed 2>&1; then
    echo "$0: skipped in part: no ${command%% *}"
    return
  fi
  [[ $command != *fault=op=write* ]] || ends_with=1
  eval "$command" >printed 2>&1 || how=$?
  expect_equal "the status of '$command' ($(cat printed))" "$how" "$ends_with"
  nr_run=$((nr_run + 1))
  case $command in
    *'--tcp='*)
      port=$(sed -n 's|^nbd://127.0.0.1:\([0-9]*\)/fast$|\1|p' "$out")
      [ -n "$port" ] || fail "no port in: $(cat "$out")" ;;
    'nbdinfo --list'*)
      says "$command" 'export="fast":'
      says "$command" 'export="slow":' ;;
    'nbdinfo --size'*) says "$command" '^1073741824$' ;;
    nbdinfo*)
      says "$command" 'export-size: 1073741824 (1G)'
      [[ $command != *nbds+unix:* ]] \
        || says "$command" '^protocol: .* with TLS' ;;
    nbdsh*) says "$command" "^bytearray(b'hello')\$" ;;
    *' top '*) says "$command" '^all ' ;;
    *fault=op=write*) says "$command" 'write failed: Input/output error' ;;
    *'nbdinfo --map'*)
      says "$command" ' data$'
      says "$command" ' hole,zero$' ;;
    'qemu-img info'*) says "$command" 'virtual size: [0-9]* GiB' ;;
    'qemu-img bench'*) says "$command" 'Run completed' ;;
    qemu-system*) says "$command" 'nbd+unix' ;;
    fio*) says "$command" 'err= 0' ;;
  esac
}

awk '/^=head1/ { inside = ($2 == "EXAMPLES") }
     inside && /^ / { sub (/^ +/, ""); print }' "$manual" \
  | sed -e ':a' -e '/\\$/ { N; s/\\\n//; ta }' >examples
while IFS= read -r line <&3; do
  run_example "$line"
done 3<examples
[ "$nr_run" -ge 20 ] || fail "the page has only $nr_run examples"

# The first line of all.
grep -qx ' blkmqd --unix=/tmp/disk.sock 1G' "$manual" \
  || fail "the page does not begin with the simplest"
