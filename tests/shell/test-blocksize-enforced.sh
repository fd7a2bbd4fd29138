#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# blocksize= is advertised as the minimum.  A client that ignores it may read,
# and is refused with EINVAL where it would change something.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires_nbdreq

for block in 512 4096 65536; do
  half=$((block / 2))
  for driver in memory null; do
    start_server 1M "blocksize=$block" "driver=$driver"
    "$nbdreq" "$uri" "minimum,$block" \
      "write,0,$((2 * block)),0" "read,$block,$block" \
      "check,$half,$block,0" "check,0,$half,0" \
      "check,1,1,0" "check,0,$((block + 1)),0" "check,end-1,1,0" \
      "write,$half,$block,1=EINVAL" "write,0,$half,1=EINVAL" \
      "write,$block,1,1=EINVAL" "write,end-1,1,1=EINVAL" \
      "write,$half,$block,1,fua=EINVAL" \
      "trim,$half,$block=EINVAL" "trim,0,$half=EINVAL" \
      "zero,$half,$block=EINVAL" "zero,0,$half=EINVAL" \
      "zero,0,$half,nohole=EINVAL" \
      "check,0,$((2 * block)),0"
    stop_server
  done
done

# Reads that begin and end inside blocks of different contents.
start_server 1M blocksize=4096
"$nbdreq" "$uri" write,0,4K,0x11 write,4K,4K,0x22 write,8K,4K,0x33 \
  check,1,4095,0x11 check,4095,1,0x11 check,4096,1,0x22 check,4097,4000,0x22 \
  check,8191,1,0x22 check,8192,4095,0x33 check,12287,1,0x33 check,12288,1,0 \
  read,4095,4098 read,1,12286 write,4095,2,1=EINVAL check,4096,4096,0x22
stop_server

# Past the end is refused too, whatever the alignment.
start_server 1M
"$nbdreq" "$uri" read,1M,512=EINVAL read,end-512,1024=EINVAL \
  write,1M,512,1=ENOSPC write,end-512,1024,1=ENOSPC \
  trim,end-512,1024=EINVAL zero,end-512,1024=ENOSPC check,0,1M,0
