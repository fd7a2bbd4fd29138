#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The server ends on SIGTERM, and cleanly, although requests are in the engine
# that would stay there for an hour; their clients are told.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires jq
requires_nbdreq

# blkmqd gives what is in flight a while to end.
options=()
[ "$program" = nbdkit ] || options=(--drain-timeout=100ms)

# shutdown_with REQUEST NR_CLIENTS KEY...
shutdown_with ()
{
  local request=$1 nr=$2 clients=() client i

  shift 2
  start_server "${options[@]}" 1G irqmode=timer completion_nsec=3600s \
    control="$tmp/control" "$@"
  for ((i = 0; i < nr; i++)); do
    "$nbdreq" "$uri" "$request" >>"$tmp/answers" 2>&1 &
    clients+=($!)
  done
  wait_until holds "$nr" || fail "$request does not arrive"
  for client in "${clients[@]}"; do
    kill -0 "$client" 2>/dev/null || fail "$request did not get stuck"
  done
  stop_server
  for client in "${clients[@]}"; do
    if wait "$client"; then
      fail "$request succeeded"
    fi
  done
}

shutdown_with read,0,4K 1
shutdown_with write,0,4K,1 1
shutdown_with trim,0,4K 1
shutdown_with zero,0,4K 1
shutdown_with flush 1
# In the engine, waiting for a tag, and on several hctxs.
shutdown_with write,0,4K,1 6 hw_queue_depth=1 submit_queues=2
# An armed timeout does not stand in the way.
shutdown_with read,0,4K 1 io_timeout=1800s
