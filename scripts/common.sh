# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# common.sh: messages, logs, and ending what was started.  Sourced by ./dev,
# which sets top.

# Each argument is a line.
say ()
{
  printf '%s\n' "$@"
}

# Set while a line of output waits for its end.
line_open=0

die ()
{
  printf 'dev: %s\n' "$*" >&2
  exit 1
}

# A path as a reader in the current directory can paste it.
relative ()
{
  case $1 in
    "$PWD"/*) printf '%s\n' "${1#"$PWD"/}" ;;
    *) printf '%s\n' "$1" ;;
  esac
}

# logged LOG COMMAND...: all output goes to LOG; on failure its tail is shown.
logged ()
{
  local log=$1 status=0
  shift
  foreground "$@" >>"$log" 2>&1 || status=$?
  ((status == 0)) && return
  ((line_open == 0)) || say ''
  line_open=0
  tail -n 25 "$log" >&2
  printf 'dev: failed (%d): %s\n     whole log: %s\n' \
    "$status" "$*" "$(relative "$log")" >&2
  return "$status"
}

# foreground COMMAND...: run it so that a signal to this script is acted upon
# at once.  Bash runs traps only between foreground commands, but interrupts
# `wait' for them; at_exit then ends the child.  Descriptor 9 is build_tree's
# lock, which no child may keep.
child=
foreground ()
{
  local status=0
  "$@" 9<&- &
  child=$!
  wait "$child" || status=$?
  child=
  return "$status"
}

# What at_exit has to undo: processes, oldest first, a session (see
# end_session), and one directory.
started=()
session=
scratch=

# Not in $TMPDIR: a Unix socket's path has room for 108 bytes.
make_scratch ()
{
  scratch=$(mktemp -d /tmp/blkmq.XXXXXX)
}

# The processes of $session that have not ended, except zombies.
in_session ()
{
  cat /proc/[0-9]*/stat 2>/dev/null |
    sed -n "s/^\([0-9]*\) .*) [^ZX] [0-9]* [0-9]* $session .*/\1/p"
}

# end_session NR_LOOKS: look that often, for nr_looks/5 seconds, whether all of
# the session has ended by itself; then end it, and fail.
end_session ()
{
  local pids looks=0
  while mapfile -t pids < <(in_session); ((${#pids[@]})); do
    if ((looks == $1)); then
      kill -TERM "${pids[@]}" 2>/dev/null || true
    elif ((looks == $1 + 50)); then
      kill -KILL "${pids[@]}" 2>/dev/null || true
    fi
    looks=$((looks + 1))
    sleep 0.2
  done
  ((looks <= $1))
}

stop_process ()
{
  kill "$1" 2>/dev/null || return 0
  wait "$1" 2>/dev/null || true
}

at_exit ()
{
  local status=$? i
  trap '' HUP INT TERM
  if [ -n "$child" ]; then
    stop_process "$child"
  fi
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    stop_process "${started[i]}"
  done
  if [ -n "$session" ]; then
    end_session 0 || true
  fi
  if [ -n "$scratch" ]; then
    rm -rf "$scratch"
  fi
  exit "$status"
}

trap at_exit EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
