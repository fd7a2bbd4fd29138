#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# qemu-io: patterns, aio, vectors, discard, write zeroes with and without
# unmap, FUA and flush; and requests that are not aligned to blocks, which qemu
# has to make of aligned ones.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires qemu-io
requires_nbdreq

# run COMMAND...: every command must work; a pattern that does not match makes
# qemu-io exit with an error.
run ()
{
  local args=() command

  for command; do
    args+=(-c "$command")
  done
  qemu-io -f raw -t none -d unmap "${args[@]}" "$uri" >"$tmp/out" 2>&1 \
    || fail "qemu-io: $(cat "$tmp/out")"
  if grep -qi -e 'fail' -e 'error' "$tmp/out"; then
    fail "qemu-io: $(cat "$tmp/out")"
  fi
}

# expect_pattern_found / _missed: the check itself must be able to fail.
expect_missed ()
{
  if qemu-io -f raw -c "$1" "$uri" >"$tmp/out" 2>&1; then
    fail "qemu-io found a pattern that is not there: $1"
  fi
}

each_block_size ()
{
  local blocksize=$1

  start_server 32M "blocksize=$blocksize"

  run 'write -P 0xab 0 1M' 'write -P 0xcd 1M 1M' 'read -P 0xab 0 1M' \
    'read -P 0xcd 1M 1M' 'read -P 0 2M 30M'
  expect_missed 'read -P 0xab 0 1025k'

  # Vectors of uneven parts, in and out.
  run 'writev -P 0x42 4M 4096 8192 12288' 'readv -P 0x42 4M 12288 4096 8192'

  # Many at once, in no order.
  run 'aio_write -P 1 8M 64k' 'aio_write -P 2 9M 1M' 'aio_write -P 3 11M 4k' \
    'aio_write -P 4 12M 2M' 'aio_write -P 5 15M 512k' 'aio_flush' \
    'aio_read -P 5 15M 512k' 'aio_read -P 4 12M 2M' 'aio_read -P 3 11M 4k' \
    'aio_read -P 2 9M 1M' 'aio_read -P 1 8M 64k' 'aio_flush'

  run 'write -f -P 0x77 20M 4k' 'read -P 0x77 20M 4k' 'flush'

  run 'discard 0 512k' 'read -P 0 0 512k' 'read -P 0xab 512k 512k'
  run 'write -z 1M 256k' 'read -P 0 1M 256k' 'read -P 0xcd 1280k 256k'
  run 'write -z -u 1280k 256k' 'read -P 0 1280k 256k' 'read -P 0xcd 1536k 512k'
  run 'aio_write -z -u 1536k 256k' 'aio_flush' 'read -P 0 1M 768k'

  # 3 bytes across a block's edge: the rest of both blocks must survive.
  run 'write -P 0x10 24M 64k' 'write -P 0x20 25169919 3' \
    'read -P 0x10 24M 4095' 'read -P 0x20 25169919 3' \
    'read -P 0x10 25169922 61438' \
    'write -z 25170000 1000' 'read -P 0 25170000 1000' \
    'read -P 0x10 25169922 78' 'read -P 0x10 25171000 60360'

  # The last bytes of the disk, and none behind them.
  run 'write -P 0xee 33550336 4096' 'read -P 0xee 33550336 4096' \
    'read -P 0xee 33554431 1'
  expect_missed 'read 33554431 2'

  # The same through another client: qemu-io's cache is not what was read.
  "$nbdreq" "$uri" check,0,512K,0 check,512K,512K,0xab check,1M,768K,0 \
    check,1792K,256K,0xcd check,4M,24K,0x42 check,end-4K,4K,0xee
  stop_server
}

each_block_size 512
each_block_size 4096
