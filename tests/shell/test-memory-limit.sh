#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# memory_limit=: a write that would pass it fails with ENOSPC and leaves all
# other data, and its own range, as they were; trim makes room again.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires_nbdreq

start_server 64M memory_limit=8M
"$nbdreq" "$uri" \
  write,0,6M,0x11 \
  write,32M,4M,0x22=ENOSPC check,32M,4M,0 check,0,6M,0x11 \
  write,4M,6M,0x22=ENOSPC check,4M,2M,0x11 check,6M,4M,0 \
  write,32M,2M,0x22 write,40M,4K,0x33=ENOSPC check,40M,4K,0 \
  write,0,1M,0x44 check,0,1M,0x44 check,1M,5M,0x11 check,32M,2M,0x22 \
  zero,50M,1M zero,50M,4K,nohole=ENOSPC trim,50M,1M flush \
  trim,1M,1M write,40M,1M,0x55 write,48M,4K,0x66=ENOSPC \
  zero,0,1M write,48M,1M,0x66 write,56M,4K,0x77=ENOSPC \
  check,0,2M,0 check,2M,4M,0x11 check,32M,2M,0x22 check,40M,1M,0x55 \
  check,48M,1M,0x66 check,50M,14M,0
stop_server

# Without it the same disk takes it all.
start_server 16M
"$nbdreq" "$uri" write,0,16M,0x11 check,0,16M,0x11
