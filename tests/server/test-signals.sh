#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Signals: blkmqd answers what it has read before it ends; what hangs is aborted
# when its time has passed; a second signal ends it at once; and the file with
# the process id is there for as long as it serves.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo
requires_nbdreq
ctl=${BLKMQ_CTL:?set it to blkmqctl}

# in_flight N: so many requests are.
in_flight ()
{
  [ "$("$ctl" -s control inflight --json 2>/dev/null \
         | grep -o '"handle"' | wc -l)" -eq "$1" ]
}

# begin_request KEY=VALUE...: a server, and a client whose read is in flight.
begin_request ()
{
  start_blkmqd 1M control="$tmp/control" "$@"
  "$nbdreq" "$uri" read,0,4K >answer 2>&1 &
  client=$!
  wait_until in_flight 1 || fail "no request is in flight: $(cat answer)"
}

# ---- the first signal ----

for signal in TERM INT; do
  # It would take an hour; but then it is let go.
  begin_request --drain-timeout 0 fault=op=read,hang
  kill -"$signal" "$pid"
  wait_until log_has "SIG$signal: ending; connections: 1" \
    || fail "no word of SIG$signal"
  # No more connections, and no more requests; but it is still there.
  wait_until test ! -e "$sock" || fail "SIG$signal: the socket is there"
  in_flight 1 || fail "SIG$signal: the request was not waited for"
  [ -s "$pidfile" ] || fail "SIG$signal: the pidfile is gone too early"
  "$ctl" -s control fault del 1 || fail "the fault cannot be deleted"
  ends_with 0
  # Whether the client could take its leave as well is another matter.
  wait "$client" || :
  grep -q '^read,0,4K: ok' answer || fail "SIG$signal: no answer: $(cat answer)"
  is_clean "$pidfile" control
done

# ---- what hangs ----

begin_request --drain-timeout 10ms fault=op=read,hang
kill "$pid"
ends_with 0
log_has 'warning: 1 connection is not drained after 10 ms (--drain-timeout)' \
  || fail "no word of the time"
! wait "$client" || fail "what hangs was done"
grep -q '^read,0,4K: ESHUTDOWN' answer || fail "no answer: $(cat answer)"
! log_has 'cut off' || fail "the client was not waited for"
is_clean "$pidfile" control

# ---- the second signal ----

begin_request --drain-timeout 0 fault=op=read,hang
kill -INT "$pid"
wait_until log_has 'SIGINT: ending' || fail "no word of SIGINT"
kill "$pid"
ends_with 143
log_has 'SIGTERM again: ending at once' || fail "no word of the second signal"
! wait "$client" || fail "what hangs was answered"
is_clean "$pidfile" "$sock"

# ---- SIGHUP, under nohup ----

trap '' HUP
start_blkmqd 1M
trap 'exit 1' HUP
kill -HUP "$pid"
expect_equal "the size after SIGHUP" "$(nbdinfo --size "$uri")" 1048576
stop_blkmqd
! log_has SIGHUP || fail "SIGHUP was noticed"

# ---- the process id ----

start_blkmqd 1M
expect_equal "the process id" "$(cat "$pidfile")" "$pid"
# Another one's stays.
mv "$pidfile" moved
echo other >"$pidfile"
stop_blkmqd
expect_equal "the file of another one" "$(cat "$pidfile")" other
