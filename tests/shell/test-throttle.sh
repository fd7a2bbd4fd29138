#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# mbps= and iops=: requests take the time that they are worth, whoever sends
# them, and none of them fails; not by io_timeout either.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires_nbdreq

# The first one finds an idle disk; after it one every 250 ms.
start_server 64M mbps=4 io_timeout=100
takes_at_least 750 "$nbdreq" "$uri" write,0,1M,1 write,1M,1M,2 check,0,1M,1 \
  check,1M,1M,2
# What is no data costs nothing of it: a disk of 1 MiB/h would not answer.
stop_server
start_server 64M mbps=300b
"$nbdreq" "$uri" write,0,1M,1 zero,0,32M trim,32M,32M flush
stop_server

# Everything is an operation, from all connections together.
start_server 64M iops=10 submit_queues=2
takes_at_least 400 "$nbdreq" "$uri" write,0,512,1 flush trim,0,1M zero,1M,1M \
  read,0,512
four ()
{
  local i clients=()

  for i in 1 2 3 4; do
    "$nbdreq" "$uri" "write,$((i * 4096)),512,$i" &
    clients+=($!)
  done
  for i in "${clients[@]}"; do
    wait "$i" || return 1
  done
}
takes_at_least 300 four
stop_server
