#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdkit ends on SIGTERM, and cleanly, although requests are in the engine that
# would stay there for an hour; their clients are told.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires_filter log
requires_nbdreq

# shutdown_with REQUEST NAME NR_CLIENTS KEY...: NAME is that of the log filter,
# which tells when a request arrives at the plugin.
shutdown_with ()
{
  local request=$1 name=$2 nr=$3 clients=() client i

  shift 3
  rm -f "$tmp/requests"
  start_nbdkit --filter=log "$plugin" 1G irqmode=timer completion_nsec=3600s \
    logfile="$tmp/requests" "$@"
  log=$tmp/requests
  for ((i = 0; i < nr; i++)); do
    "$nbdreq" "$uri" "$request" >>"$tmp/answers" 2>&1 &
    clients+=($!)
  done
  wait_until log_has_times " $name id=.* \.\.\.$" "$nr" \
    || fail "$request does not arrive"
  for client in "${clients[@]}"; do
    kill -0 "$client" 2>/dev/null || fail "$request did not get stuck"
  done
  stop_nbdkit
  for client in "${clients[@]}"; do
    if wait "$client"; then
      fail "$request succeeded"
    fi
  done
}

shutdown_with read,0,4K Read 1
shutdown_with write,0,4K,1 Write 1
shutdown_with trim,0,4K Trim 1
shutdown_with zero,0,4K Zero 1
shutdown_with flush Flush 1
# In the engine, waiting for a tag, and on several hctxs.
shutdown_with write,0,4K,1 Write 6 hw_queue_depth=1 submit_queues=2
# An armed timeout does not stand in the way.
shutdown_with read,0,4K Read 1 io_timeout=1800s
