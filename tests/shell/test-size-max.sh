#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The largest disk there can be, 2^63-1 bytes, is served, with data at both
# ends; it takes as much memory as was written.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo
requires_nbdreq

start_server 9223372036854775807
expect_equal "the size" "$(nbdinfo --size "$uri")" 9223372036854775807
before=$(resident_kib "$pid")
"$nbdreq" "$uri" size,9223372036854775807 \
  write,0,64K,0x11 write,end-65535,65535,0x22 \
  write,4611686018427387904,4K,0x33 \
  check,0,64K,0x11 check,end-65535,65535,0x22 \
  check,4611686018427387904,4K,0x33 \
  check,64K,1M,0 check,end-131071,64K,0 \
  read,end-511,512=EINVAL write,end-511,512,1=ENOSPC \
  zero,end-65535,65535 check,end-65535,65535,0 \
  trim,0,64K check,0,64K,0 check,4611686018427387904,4K,0x33
after=$(resident_kib "$pid")
# 132 KiB were written; the rest is what a connection takes.
[ $((after - before)) -lt 65536 ] \
  || fail "the server grew by $((after - before)) KiB"
stop_server

# With whole blocks to the very end.
start_server 7E blocksize=4096
"$nbdreq" "$uri" write,0,4K,0x11 write,end-4K,4K,0x22 check,0,4K,0x11 \
  check,end-4K,4K,0x22 check,end-8K,4K,0
