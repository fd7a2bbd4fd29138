#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A request that would stay in the engine for an hour ends when its client
# goes away: its worker and its connection end with it, and whoever comes next
# is served.  More clients than tags, so that some of them wait for a tag.
#
# One request a client: nbdkit 1.32 itself, with any plugin, may abort when two
# of its workers answer a client that is gone.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo jq
requires_nbdreq

start_server 1G irqmode=timer completion_nsec=3600s hw_queue_depth=2 \
  submit_queues=1 control="$tmp/control"

idle_descriptors=$(nr_descriptors "$pid")
# nbdkit has 16 workers a connection, which end before it closes.
nbdinfo --size "$uri" >/dev/null
nr_left ()
{
  echo "$(nr_threads "$pid") threads, $(nr_descriptors "$pid") descriptors"
}
is_idle ()
{
  [ "$(nr_threads "$pid")" -le "$idle_threads" ] \
    && [ "$(nr_descriptors "$pid")" -le "$idle_descriptors" ]
}
has_settled ()
{
  idle_threads=$(nr_threads "$pid")
  [ "$idle_threads" -lt 16 ]
}
wait_until has_settled || fail "a connection does not close: $(nr_left)"
idle="$(nr_left)"

# vanish NR REQUEST: NR clients send REQUEST, and are killed.
vanish ()
{
  local nr=$1 request=$2 clients=() client i

  for ((i = 0; i < nr; i++)); do
    "$nbdreq" "$uri" "$request" >>"$tmp/answers" 2>&1 &
    clients+=($!)
  done
  wait_until holds "$nr" || fail "$request does not arrive"
  for client in "${clients[@]}"; do
    kill -KILL "$client" || fail "a client of $request ended by itself"
  done
  for client in "${clients[@]}"; do
    wait "$client" 2>/dev/null || :
  done
  wait_until holds 0 || fail "$request does not end with its client"
  wait_until is_idle || fail "$request: $(nr_left) are left of $idle"
  expect_equal "the size for the next client" "$(nbdinfo --size "$uri")" \
    1073741824
}

vanish 1 read,0,4K
vanish 1 write,0,4K,1
vanish 1 trim,0,4K
vanish 1 zero,0,4K
vanish 1 flush
vanish 8 read,0,4K
vanish 8 write,0,64K,1
[ ! -s "$tmp/answers" ] || fail "a request was answered: $(cat "$tmp/answers")"
stop_server
