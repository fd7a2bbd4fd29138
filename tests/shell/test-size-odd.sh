#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A disk need not end at a block's edge: its tail can be written and read, by
# requests that end with the disk.  Its advertised minimum is 1 then, because a
# minimum that does not divide the size makes qemu 7.2 abort and keeps libnbd
# from the tail.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdcopy nbdinfo qemu-img cmp
requires_nbdreq
choose_seed

for block in 512 4096; do
  for size in 1 1000 4097 1048575 1049000; do
    start_server "$size" "blocksize=$block"
    tail=$((size % block))
    last=$((size - tail))
    "$nbdreq" "$uri" "size,$size" minimum,1 \
      "write,$last,$tail,0x5a" "check,$last,$tail,0x5a" \
      "write,0,$size,0x77" "check,0,$size,0x77" \
      "trim,$last,$tail" "check,$last,$tail,0" \
      "write,$last,$tail,0x78,fua" "zero,$last,$tail" "check,$last,$tail,0" \
      "write,$last,$((tail + 1)),1=ENOSPC" "read,$last,$((tail + 1))=EINVAL"
    if [ "$tail" -gt 1 ]; then
      "$nbdreq" "$uri" "check,$((last + 1)),$((tail - 1)),0" \
        "write,$last,$((tail - 1)),1=EINVAL" \
        "write,$((last + 1)),$((tail - 1)),1=EINVAL"
    fi
    stop_server
  done
done

# A file of such a size goes in and comes out the same.
size=1049000
nbdcopy -- [ nbdkit random size="$size" seed="$seed" ] "$tmp/image"
start_server "$size"
nbdcopy "$tmp/image" "$uri"
nbdcopy "$uri" "$tmp/back"
cmp "$tmp/image" "$tmp/back" || fail "nbdcopy's copy differs"
expect_equal "the end of the map" \
  "$(nbdinfo --map "$uri" | awk '{ end = $1 + $2 } END { print end }')" "$size"

# qemu rounds the size up to a sector; it reads zeros behind the end.
qemu-img convert -f raw -O raw "$uri" "$tmp/back"
cmp -n "$size" "$tmp/image" "$tmp/back" || fail "qemu-img's copy differs"
