# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# functions.sh: what the tests of blkmqd's command line share, beside those of
# the shell tests.  Sourced, never run.
#
# From the environment:
#   BLKMQ_BLKMQD  path of blkmqd (required)
#   BLKMQ_CTL     path of blkmqctl
#   BLKMQ_BUILDDIR  where both were built

blkmqd=$(realpath "${BLKMQ_BLKMQD:?set it to blkmqd}")
# shellcheck source-path=SCRIPTDIR source=../shell/functions.sh
. "$(dirname "${BASH_SOURCE[0]}")/../shell/functions.sh"

# Skip unless blkmqd speaks with systemd.
requires_systemd ()
{
  grep -q '^#define HAVE_LIBSYSTEMD 1' "${BLKMQ_BUILDDIR:?}/config.h" \
    || skip "built without systemd"
}

# launch ARGUMENT...: blkmqd in the background, whatever becomes of it.  Sets
# pid, and log and out, which have what it says on stderr and stdout.
launch ()
{
  nr_servers=$((nr_servers + 1))
  log=$tmp/nbdkit-$nr_servers.log # a name of which run_cleanup shows the end
  out=$tmp/out-$nr_servers
  pidfile=$tmp/pid-$nr_servers
  "$blkmqd" --pidfile="$pidfile" "$@" >"$out" 2>"$log" </dev/null &
  pid=$!
  servers+=("$pid")
}

# start_blkmqd ARGUMENT...: on a Unix socket of its own; returns when it serves.
# Sets what launch does, and sock and uri.
start_blkmqd ()
{
  sock=$tmp/sock-$((nr_servers + 1))
  # shellcheck disable=SC2034
  uri="nbd+unix:///?socket=$sock"
  launch --unix="$sock" "$@"
  wait_until serves_or_is_gone || fail "blkmqd $* does not begin to serve"
  [ -s "$pidfile" ] || fail "blkmqd $* ended before it served: $(cat "$log")"
}

# Stop the latest server.
stop_blkmqd ()
{
  end_server "$pid" || fail "blkmqd did not end cleanly"
}

# forget: the latest server has been waited for.
forget ()
{
  local left=() s

  for s in "${servers[@]}"; do
    [ "$s" = "$pid" ] || left+=("$s")
  done
  servers=("${left[@]}")
}

# ends_with STATUS: the latest server ends by itself, with that status.
ends_with ()
{
  local status=0

  wait_until is_gone "$pid" || fail "blkmqd does not end"
  wait "$pid" || status=$?
  forget
  expect_equal "the exit status of blkmqd" "$status" "$1"
}

# run_blkmqd ARGUMENT...: in the foreground.  Sets status; what it said is in
# the files out and err.
run_blkmqd ()
{
  status=0
  "$blkmqd" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null || status=$?
}

# refuses STATUS TEXT ARGUMENT...: blkmqd exits with that status, and what it
# says on stderr has the text.
refuses ()
{
  run_blkmqd "${@:3}"
  expect_equal "the status of blkmqd ${*:3} ($(cat "$tmp/err"))" \
    "$status" "$1"
  grep -qF -e "$2" "$tmp/err" \
    || fail "blkmqd ${*:3}: no '$2' in: $(cat "$tmp/err")"
}

# Has this machine ::1?  The file has no size, whatever it has.
has_ipv6 ()
{
  grep -q ' lo$' /proc/net/if_inet6 2>/dev/null
}

# is_clean FILE...: none of these is left behind.
is_clean ()
{
  local file

  for file; do
    [ ! -e "$file" ] || fail "$file is left behind"
  done
}

# start_client [greeted]: client.pl, connected to the latest server.  Its words
# go to descriptor 3, what it says to the file said.  Sets client.
# shellcheck disable=SC2120 # not every test has it only greeted
start_client ()
{
  rm -f words said
  mkfifo words
  perl "$top_srcdir/tests/server/client.pl" "$sock" "$@" <words >said 2>&1 &
  client=$!
  exec 3>words
  wait_until grep -q here said || fail "no connection: $(cat said)"
}

# tell WORD...: and wait until the last one is done.
tell ()
{
  printf '%s\n' "$@" >&3
  wait_until grep -q -e "^${*: -1}$" said \
    || fail "the client does not get to ${*: -1}: $(cat said)"
}

# The client ends, and nothing was wrong.
end_client ()
{
  exec 3>&-
  wait "$client" || fail "the client: $(cat said)"
}
