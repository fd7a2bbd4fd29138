#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What systemd is told: that blkmqd is ready when clients can connect, how many
# are served, that it reloads and ends, that it needs more time for that, and
# that its threads turn.  --run's command is told nothing.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo perl
ctl=${BLKMQ_CTL:?set it to blkmqctl}
requires_systemd

# hear: begin to listen.  Sets heard, the file with what was said.
hear ()
{
  nr_heard=$((${nr_heard-0} + 1))
  heard=$tmp/heard-$nr_heard
  perl "$top_srcdir/tests/server/hear.pl" "$tmp/notify-$nr_heard" >"$heard" &
  cleanup_fn kill $!
  wait_until test -S "notify-$nr_heard" || fail "nobody hears"
  export NOTIFY_SOCKET=$tmp/notify-$nr_heard
}

heard ()
{
  grep -q -e "$1" "$heard"
}

# ---- from the beginning to the end ----

hear
start_blkmqd 1M control="$tmp/control" fault=op=read,hang export= export=b \
  --tcp 127.0.0.1:0 --drain-timeout=0
wait_until heard '^READY=1$' || fail "not ready: $(cat "$heard")"
wait_until heard '^STATUS=2 disks at 2 addresses; connections: 0$' \
  || fail "the status: $(cat "$heard")"
start_client
wait_until heard '^STATUS=2 disks at 2 addresses; connections: 1$' \
  || fail "the status with a client: $(cat "$heard")"

kill -HUP "$pid"
wait_until log_has 'SIGHUP: ' || fail "no word of SIGHUP"
# "RELOADING=1", the time, and then ready again.
is_reloaded ()
{
  awk 'BEGIN { RS = "" }
       /^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*$/ { reloading = 1; next }
       reloading && /^READY=1\n/ { found = 1 }
       END { exit !found }' "$heard"
}
wait_until is_reloaded || fail "not reloaded: $(cat "$heard")"
! heard '^STOPPING' || fail "it ends: $(cat "$heard")"

# What hangs keeps it, and it asks for time, again and again.
tell read
in_flight ()
{
  [ "$("$ctl" -s control --json inflight 2>/dev/null \
         | grep -o '"handle"' | wc -l)" -eq 1 ]
}
wait_until in_flight || fail "no request is in flight"
kill "$pid"
wait_until heard '^STOPPING=1$' || fail "not told of the end: $(cat "$heard")"
wait_until heard '^STATUS=ending: 2 disks at 2 addresses; connections: ' \
  || fail "the status at the end: $(cat "$heard")"
asks_again ()
{
  [ "$(grep -c '^EXTEND_TIMEOUT_USEC=15000000$' "$heard")" -ge 3 ]
}
wait_until asks_again || fail "it asks for no time: $(cat "$heard")"
kill -KILL "$client"
wait "$client" 2>/dev/null || :
exec 3>&-
ends_with 0
! heard WATCHDOG || fail "nobody had asked for that: $(cat "$heard")"

# ---- the watchdog ----

hear
WATCHDOG_USEC=300000 launch --unix "$tmp/w" --threads=3 1M
pings ()
{
  [ "$(grep -c '^WATCHDOG=1$' "$heard")" -ge 3 ]
}
wait_until pings || fail "the watchdog is told nothing: $(cat "$heard")"
stop_blkmqd

# Of somebody else.
hear
WATCHDOG_USEC=30000 WATCHDOG_PID=1 start_blkmqd 1M
start_client
wait_until heard 'connections: 1$' || fail "no status: $(cat "$heard")"
! heard WATCHDOG || fail "another one's watchdog: $(cat "$heard")"
stop_blkmqd
exec 3>&-
wait "$client" || :

# ---- what cannot be, and who is told nothing ----

hear
refuses 1 '--unix=none/s' --unix none/s 1M
WATCHDOG_USEC=300000 "$blkmqd" 1M --run 'env >environment' \
  || fail "--run under systemd"
wait_until heard '^STOPPING=1$' || fail "--run: $(cat "$heard")"
expect_equal "how often it was ready" "$(grep -c '^READY=1$' "$heard")" 1
! grep -e '^NOTIFY_SOCKET=' -e '^WATCHDOG_' environment \
  || fail "--run's command is told of systemd"
# Nobody listens any more: it serves all the same.
export NOTIFY_SOCKET=$tmp/nobody
start_blkmqd 1M
expect_equal "the size" "$(nbdinfo --size "$uri")" 1048576
stop_blkmqd
