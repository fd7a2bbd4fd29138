#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# With shared_tags=1 hw_queue_depth is for all disks together: two disks with
# one tag do not do two requests at a time.  All are served nevertheless, also
# when a disk of them is slow, or has requests that fail.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires_nbdreq

# together REQUEST NAME...: a client of each sends it three times.
together ()
{
  local request=$1 clients=() client name

  shift
  for name; do
    "$nbdreq" "nbd+unix:///$name?socket=$sock" \
      "$request" "$request" "$request" >>"$tmp/answers" 2>&1 &
    clients+=($!)
  done
  for client in "${clients[@]}"; do
    wait "$client" || fail "a client failed: $(cat "$tmp/answers")"
  done
}

# Six requests, of 100 ms each and one at a time.  With a tag for each disk
# they would be done in half of that.
start_server 8M shared_tags=1 hw_queue_depth=1 submit_queues=1 \
  irqmode=timer completion_nsec=100ms export=a export=b
takes_at_least 600 together read,0,4K a b
stop_server

# More clients than tags, of a slow disk and a fast one, and of one whose
# requests time out.
start_server 8M shared_tags=1 hw_queue_depth=2 submit_queues=2 \
  irqmode=timer completion_nsec=1ms \
  export=fast export=slow completion_nsec=50ms \
  export=dead completion_nsec=3600s io_timeout=100ms
"$nbdreq" "nbd+unix:///dead?socket=$sock" read,0,4K=EIO read,0,4K=EIO \
  >"$tmp/dead" 2>&1 &
dead=$!
together write,1M,64K,7 fast slow fast slow fast slow fast slow
wait "$dead" || fail "the client of dead failed: $(cat "$tmp/dead")"
stop_server
