#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# When blkmqd is told to end, its clients get what they have asked for and then
# the end of the stream, even if they are sending at that moment; and nobody can
# hold it up by not leaving, or by sending on and on.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires perl
ctl=${BLKMQ_CTL:?set it to blkmqctl}

in_flight ()
{
  "$ctl" -s control inflight --json 2>/dev/null | grep -q '"handle"'
}

# ---- it takes its leave before it has been told ----

# While the answer is to come nothing more is read: the client's last word lies
# in the socket when the connection has nothing left to do.
start_blkmqd 1M --drain-timeout 0 fault=op=read,hang control=control
start_client
tell read
wait_until in_flight || fail "no request is in flight"
kill "$pid"
wait_until test ! -e "$sock" || fail "the socket is there"
tell leave
"$ctl" -s control fault del 1 || fail "the fault cannot be deleted"
tell reply end
ends_with 0
end_client

# ---- it does not take its leave ----

start_blkmqd 1M --drain-timeout 0
start_client
kill "$pid"
tell end
ends_with 0
end_client

# ---- it sends on and on ----

start_blkmqd 1M --drain-timeout 0 --threads=1 --log-level=debug \
  fault=op=read,hang control=control
start_client
tell read
wait_until in_flight || fail "no request is in flight"
kill "$pid"
wait_until log_has 'thread 0 takes no requests any more' \
  || fail "no word of the end"
printf 'flood\n' >&3
"$ctl" -s control fault del 1 || fail "the fault cannot be deleted"
ends_with 0
tell flood
end_client

# ---- a second signal does not wait for it ----

start_blkmqd 1M --drain-timeout 0
start_client
kill "$pid"
wait_until log_has 'SIGTERM: ending' || fail "no word of the signal"
kill "$pid"
wait_until is_gone "$pid" || fail "blkmqd does not end"
status=0
wait "$pid" || status=$?
forget
end_client
# It had ended already, maybe.
[ "$status" = 143 ] || expect_equal "the status" "$status" 0
