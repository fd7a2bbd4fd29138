# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# What the parts share: checks, servers, and the kernel's NBD devices.  Results
# go to file descriptor 3, one line each.

plugin=/vm/nbdkit-blkmq-plugin.so
front=${BLKMQ_FRONT:-nbdkit} # or blkmqd: who serves the disks
run=/run/blkmq     # sockets, pid files, logs
check_limit_s=150  # a hang, not a measure: the host may be busy
exit_hung=99
PS4='+ ${BASH_SOURCE##*/}:$LINENO: '
mkdir -p "$run"

say ()
{
  printf '%s\n' "$*" >&3
}

diagnostic ()
{
  say "# $*"
}

diagnostics_from ()
{
  sed 's/^/#   /' >&3
}

# explain LOG: all that one needs to know about a failed check.
explain ()
{
  local file

  diagnostic "its trace:"
  tail -n 40 "$1" | diagnostics_from
  for file in "$run"/*.log; do
    [ -s "$file" ] || continue
    diagnostic "end of the log of server ${file##*/}:"
    tail -n 20 "$file" | diagnostics_from
  done
  diagnostic "end of the kernel's log:"
  dmesg | tail -n 40 | diagnostics_from
}

# check NAME COMMAND...: one result, kept in $passed.  The command is a function
# as a rule; it runs in a subshell where the first command that fails ends it.
#
# Never part of a condition (if, ||, &&): the shell ignores `set -e' in all that
# runs there, subshells included, and the check could not fail.  That is why
# the result is a variable.
check ()
{
  local name=$1 trace=$run/trace pid timer first status
  shift
  [ "$front" = nbdkit ] || name="$front: $name"

  # In the background, since what hangs in the kernel cannot be killed.
  (set -ex; "$@") </dev/null >"$trace" 2>&1 3>&- &
  pid=$!
  sleep "$check_limit_s" 3>&- &
  timer=$!
  wait -n -p first "$pid" "$timer"
  status=$?
  if [ "$first" = "$timer" ]; then
    say "not ok - $name"
    diagnostic "no end within $check_limit_s s"
    echo w >/proc/sysrq-trigger # blocked tasks to the kernel's log
    explain "$trace"
    trap - EXIT
    exit "$exit_hung"
  fi
  kill "$timer"
  wait "$timer" 2>/dev/null

  if [ "$status" -eq 0 ]; then
    passed=1
    say "ok - $name"
  else
    passed=0
    say "not ok - $name"
    diagnostic "status $status"
    explain "$trace"
  fi
}

# need NAME COMMAND...: a check without which the rest of the part is void.
need ()
{
  check "$@"
  [ "$passed" = 0 ] || return 0
  diagnostic "the rest of ${0##*part-} is left out"
  exit 0
}

# await SECONDS COMMAND...: until the command succeeds.
await ()
{
  local deadline=$((SECONDS + $1))
  shift

  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.05
  done
}

# --- servers ----------------------------------------------------------------

# start_server NAME [--option...] key=value...: nbdkit with the plugin, or
# blkmqd.
start_server ()
{
  local name=$1 options=() command
  shift
  while [[ ${1-} == -* ]]; do
    options+=("$1")
    shift
  done

  rm -f "$run/$name".{pid,status}
  case $front in
    nbdkit)
      rm -f "$run/$name.sock"
      # 128 threads: as many as a queue of the kernel's client has tags.
      command=(nbdkit -f -t 128 -U "$run/$name.sock" -P "$run/$name.pid"
               "${options[@]}" "$plugin") ;;
    blkmqd)
      # It replaces the socket that a dead server has left.
      command=(blkmqd --unix="$run/$name.sock" --pidfile="$run/$name.pid"
               --log-level=debug "${options[@]}") ;;
  esac
  (
    "${command[@]}" "$@" && status=0 || status=$?
    echo "$status" >"$run/$name.status"
  ) >"$run/$name.log" 2>&1 &
  await 60 test -s "$run/$name.pid" -o -s "$run/$name.status"
  [ -s "$run/$name.pid" ]
  sockets_of "$name" >"$run/$name.sockets"
}

server_pid ()
{
  cat "$run/$1.pid"
}

# Without clients these are the ones on which it listens.
sockets_of ()
{
  find "/proc/$(server_pid "$1")/fd" -lname 'socket:*' | wc -l
}

has_no_clients ()
{
  [ "$(sockets_of "$1")" = "$(cat "$run/$1.sockets")" ]
}

# stop_server NAME: it must end on SIGTERM, and be content.  nbdkit waits for
# its clients to leave: detach first.
stop_server ()
{
  kill -TERM "$(server_pid "$1")"
  server_ends "$1"
}

server_ends ()
{
  await 60 test -s "$run/$1.status"
  [ "$(cat "$run/$1.status")" = 0 ]
  rm -f "$run/$1".{pid,status,log,sockets} # blkmqd has removed the first
}

# --- NBD devices --------------------------------------------------------------

# receivers_of DEVICE: how many of its connections have a receiver at work.  A
# worker thread's name tells what it is busy with.
receivers_of ()
{
  { grep -l "+$1-recv$" /proc/[0-9]*/comm 2>/dev/null || :; } | wc -l
}

receivers_are ()
{
  [ "$(receivers_of "$1")" = "$2" ]
}

has_capacity ()
{
  [ "$(cat "/sys/block/$1/size")" != 0 ]
}

# attach NAME DEVICE CONNECTIONS [nbd-client option...]: over $run/NAME.sock, or
# TCP to $tcp_port.
#
# nbd-client leaves no process behind.  The kernel has a race (seen in 6.1 and
# 6.12): where it cannot start a worker for each connection at once, a single
# stand-in takes them in turn, and stays with the first, which never ends.  I/O
# on the others would hang.  So count the receivers, and try again when one is
# missing; or when the device has no size, which a busy machine has shown once.
#
# Without a -timeout the device would keep the one that it had before.
attach ()
{
  local name=$1 device=$2 connections=$3
  local from=(-unix "$run/$1.sock")
  shift 3
  [ -z "${tcp_port-}" ] || from=(127.0.0.1 "$tcp_port")

  for _ in 1 2 3 4 5; do
    nbd-client "${from[@]}" "/dev/$device" -C "$connections" -timeout 100 "$@"
    await 3 receivers_are "$device" "$connections" \
      && await 3 has_capacity "$device" && return
    echo "attach: $(receivers_of "$device") receivers," \
         "$(cat "/sys/block/$device/size") sectors, trying again"
    detach "$device"
    await 60 has_no_clients "$name" # who would count when others are spread
  done
  return 1
}

# Have the kernel start its workers, on a spare device: that makes the race
# above rarer for the devices to come.
warm_up ()
{
  start_server warm-up 1M
  nbd-client -unix "$run/warm-up.sock" /dev/nbd15 -C 4
  await 1 receivers_are nbd15 4
  detach nbd15
  stop_server warm-up
}

detached ()
{
  [ ! -e "/sys/block/$1/pid" ] && [ "$(cat "/sys/block/$1/size")" = 0 ]
}

detach ()
{
  nbd-client -d "/dev/$1"
  await 60 detached "$1"
}

# shellcheck disable=SC2034 # for the parts
NBD_FLAG_READ_ONLY=$((1 << 1))
# shellcheck disable=SC2034
NBD_FLAG_ROTATIONAL=$((1 << 4))

# nbd0_has_flag FLAG 0|1: the export's flags as the kernel has them.
nbd0_has_flag ()
{
  local flags

  flags=$(sed -n 's/^Hex: *\(0x[0-9a-f]*\).*/\1/p' \
            /sys/kernel/debug/nbd/nbd0/flags)
  [ -n "$flags" ]
  [ $(((flags & $1) != 0)) = "$2" ]
}

# Nobody but the checks is to read: without partitions there is nothing that the
# kernel would look for whenever a device was closed.
no_partitions ()
{
  [ "$(cat /sys/module/nbd/parameters/max_part)" != 0 ] || return 0
  modprobe -r nbd
  modprobe nbd max_part=0
}

# --- the kernel's log -------------------------------------------------------

mark_kernel_log ()
{
  echo "blkmq: mark" >/dev/kmsg
}

# Into $run/dmesg.tail.
kernel_log_since_mark ()
{
  dmesg >"$run/dmesg"
  awk '/blkmq: mark/ { nr = 0 } { line[nr++] = $0 }
       END { for (i = 0; i < nr; i++) print line[i] }' "$run/dmesg" \
    >"$run/dmesg.tail"
}

# Since the last mark, nothing that a device without faults would cause.
kernel_log_is_clean ()
{
  local complaints='I/O error|nbd[0-9]+: .*(error|timed out|stuck)'

  complaints+='|(Double|Unexpected) reply|[Ww]rong magic|Wrong reply'
  complaints+='|EXT4-fs .*(error|warning)|XFS .*([Ee]rror|[Cc]orrupt)'
  complaints+='|WARNING:|BUG:|Oops|blocked for more than'
  kernel_log_since_mark
  ! grep -E "$complaints" "$run/dmesg.tail"
}

# --- order after a failure --------------------------------------------------

# A check that failed may have left anything behind: take it away, or all that
# comes after it fails as well.
clean_up ()
{
  local file name

  if grep -q " /mnt " /proc/mounts; then
    umount /mnt
  fi
  for file in /sys/block/nbd*/pid; do
    [ -e "$file" ] || continue
    name=${file#/sys/block/}
    nbd-client -d "/dev/${name%/pid}"
  done
  for file in "$run"/*.pid; do
    [ -e "$file" ] || continue
    kill -KILL "$(cat "$file")" || :
    await 60 test -s "${file%.pid}.status"
    rm "$file"
  done
}
# Not for a child that is ended before it is anything else: it has the trap yet.
trap '[ "$BASHPID" != $$ ] || clean_up >/dev/null 2>&1' EXIT
