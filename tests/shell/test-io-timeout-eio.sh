#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# io_timeout=: a request that takes longer fails with EIO, whatever it is; its
# tag comes back; the same request may be sent again and again, as a kernel
# does that has lost patience; and the server goes on.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo
requires_nbdreq

start_server 1G irqmode=timer completion_nsec=3600s io_timeout=50 \
  hw_queue_depth=2 max_sectors=2048
"$nbdreq" "$uri" read,0,4K=EIO write,0,4K,1=EIO write,0,4K,1,fua=EIO \
  trim,0,4K=EIO zero,0,4K=EIO zero,0,4K,nohole=EIO flush=EIO

# Split into more parts than there are tags.
"$nbdreq" "$uri" read,0,16M=EIO write,0,16M,1=EIO

# The same write, one after the other and then from several clients at once:
# more than there are tags.
"$nbdreq" "$uri" write,4K,4K,7=EIO write,4K,4K,7=EIO write,4K,4K,7=EIO
clients=()
for ((i = 0; i < 6; i++)); do
  "$nbdreq" "$uri" write,4K,4K,7=EIO write,4K,4K,7=EIO read,4K,4K=EIO &
  clients+=($!)
done
for client in "${clients[@]}"; do
  wait "$client" || fail "a duplicate was not answered with EIO"
done
expect_equal "the size after all that" "$(nbdinfo --size "$uri")" 1073741824
stop_server

# A timeout that is armed and not reached does nothing.
start_server 1G irqmode=timer completion_nsec=1ms io_timeout=60s
"$nbdreq" "$uri" write,0,64K,7 check,0,64K,7 trim,0,4K flush check,0,4K,0
stop_server
