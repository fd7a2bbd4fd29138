#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdkit's partition filter finds partitions on the disk and serves one of
# them; writes stay inside it.  For a GPT the filter reads 128 bytes at a time,
# less than a block.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdcopy nbdinfo cmp
requires_filter partition
requires_nbdreq
prefill=${BLKMQ_PREFILL:-}
[ -e "$prefill" ] || skip "BLKMQ_PREFILL names no filter"
choose_seed

for n in 1 2 3; do
  nbdcopy -- [ nbdkit random size=$((n * 512))K seed=$((seed / 2 + n)) ] \
    "$tmp/part-$n"
done

for type in mbr gpt; do
  # A file for the whole disk: the table and the partitions.
  nbdcopy -- [ nbdkit partitioning file="$tmp/part-1" file="$tmp/part-2" \
               file="$tmp/part-3" partition-type=$type ] "$tmp/disk"
  size=$(stat -c %s "$tmp/disk")

  for n in 1 2 3; do
    start_server --filter=partition --filter="$prefill" \
      "size=$size" "prefill=$tmp/disk" "partition=$n"
    expect_equal "the size of partition $n" "$(nbdinfo --size "$uri")" \
      $((n * 512 * 1024))
    nbdcopy "$uri" "$tmp/back"
    cmp "$tmp/part-$n" "$tmp/back" || fail "$type partition $n differs"
    "$nbdreq" "$uri" write,0,4K,0x11 write,end-4K,4K,0x22 trim,64K,64K \
      check,0,4K,0x11 check,end-4K,4K,0x22 check,64K,64K,0 \
      read,end-512,1024=EINVAL
    stop_server
  done

  # A disk without a table has no partitions: the client is turned away.
  start_server --filter=partition "size=$size" partition=1
  if nbdinfo --size "$uri" >"$tmp/out" 2>&1; then
    fail "a partition was found on an empty disk"
  fi
  stop_server
done
