#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Connections are spread evenly over the hctxs, each keeps the one that it got,
# and the requests of all are served, also when there are fewer connections
# than hctxs, or one tag for each hctx only.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires mkfifo
requires_nbdreq

# spread HCTXS CONNECTIONS KEY...: they are all open before the first request.
spread ()
{
  local nr_hctxs=$1 nr_connections=$2 clients=() client i bound options opened

  shift 2
  if [ "$program" = blkmqd ]; then
    options=("--threads=$nr_hctxs") opened='export "", hctx'
  else
    options=("${verbose[@]}") opened='connection bound to hctx'
  fi
  start_server "${options[@]}" 64M "submit_queues=$nr_hctxs" "$@"

  # The clients wait for the end of a fifo whose only writer is this shell.
  rm -f "$tmp/hold"
  mkfifo "$tmp/hold"
  exec 9<>"$tmp/hold"
  for ((i = 0; i < nr_connections; i++)); do
    "$nbdreq" "$uri" hold "write,${i}M,64K,$((i + 1))" \
      "check,${i}M,64K,$((i + 1))" "trim,${i}M,4K" flush "check,${i}M,4K,0" \
      <"$tmp/hold" 9>&- >>"$tmp/requests" &
    clients+=($!)
  done
  wait_until log_has_times "$opened" "$nr_connections" \
    || fail "not all connections were opened"
  exec 9>&-
  for client in "${clients[@]}"; do
    wait "$client" || fail "a client failed: $(cat "$tmp/requests")"
  done
  stop_server

  # Lines of the log: "connection bound to hctx 2 of 4" (blkmqd: "hctx 2 of
  # thread 2") when it opens, "hctx 2: 10 requests" at the end.
  for ((i = 0; i < nr_hctxs; i++)); do
    bound=$(grep -c "$opened $i of " "$log" || :)
    if [ "$bound" -lt $((nr_connections / nr_hctxs)) ] \
       || [ "$bound" -gt $(((nr_connections + nr_hctxs - 1) / nr_hctxs)) ]; then
      fail "$bound of $nr_connections connections are on hctx $i of $nr_hctxs"
    fi
    log_has "hctx $i: $((5 * bound)) requests" \
      || fail "not 5 requests of each of its $bound connections on hctx $i"
  done
}

spread 1 3
spread 4 8 irqmode=timer completion_nsec=2ms
spread 4 8 irqmode=timer completion_nsec=2ms hw_queue_depth=1
spread 4 10 irqmode=softirq
spread 8 3
