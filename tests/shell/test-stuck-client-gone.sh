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
requires nbdinfo
requires_filter log
requires_nbdreq

# The log filter tells when a request arrives at the plugin ("Read id=1 ...")
# and what came of it ("...Read id=1 return=-1 error=EIO").
start_nbdkit --filter=log "$plugin" 1G irqmode=timer completion_nsec=3600s \
  hw_queue_depth=2 logfile="$tmp/requests"
log=$tmp/requests

count ()
{
  grep -c -e "$1" "$log" || :
}

# nbdkit has 16 workers a connection, which end before it closes.
nbdinfo --size "$uri" >/dev/null
wait_until log_has ' Disconnect ' || fail "a connection does not close"
idle=$(nr_threads "$pid")

has_no_workers ()
{
  [ "$(nr_threads "$pid")" -le "$idle" ]
}

# vanish NR REQUEST NAME: NR clients send REQUEST, NAME in the log, and are
# killed.
vanish ()
{
  local nr=$1 request=$2 name=$3 clients=() client arrived ended closed i

  arrived=$(count " $name id=.* \.\.\.$")
  ended=$(count "\.\.\.$name id=.* return=-1 error=EIO")
  closed=$(count ' Disconnect ')
  for ((i = 0; i < nr; i++)); do
    "$nbdreq" "$uri" "$request" >>"$tmp/answers" 2>&1 &
    clients+=($!)
  done
  wait_until log_has_times " $name id=.* \.\.\.$" $((arrived + nr)) \
    || fail "$request does not arrive"
  for client in "${clients[@]}"; do
    kill -KILL "$client" || fail "a client of $request ended by itself"
  done
  for client in "${clients[@]}"; do
    wait "$client" 2>/dev/null || :
  done
  wait_until log_has_times ' Disconnect ' $((closed + nr)) \
    || fail "$request: a connection does not end with its client"
  expect_equal "the number of times that $request ended with EIO" \
    "$(count "\.\.\.$name id=.* return=-1 error=EIO")" $((ended + nr))
  wait_until has_no_workers \
    || fail "$request: $(nr_threads "$pid") threads are left of $idle"
  expect_equal "the size for the next client" "$(nbdinfo --size "$uri")" \
    1073741824
}

vanish 1 read,0,4K Read
vanish 1 write,0,4K,1 Write
vanish 1 trim,0,4K Trim
vanish 1 zero,0,4K Zero
vanish 1 flush Flush
vanish 8 read,0,4K Read
vanish 8 write,0,64K,1 Write
[ ! -s "$tmp/answers" ] || fail "a request was answered: $(cat "$tmp/answers")"
stop_nbdkit
