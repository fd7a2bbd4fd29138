#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# qemu-img bench: reads and writes at several depths, with flushes in between;
# what its writes leave behind is there.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires qemu-img
requires_nbdreq

# bench ARGUMENT...: 4 KiB requests over 8 MiB, as many as fit.
bench ()
{
  qemu-img bench -f raw -t none -s 4096 -c 2048 "$@" "$uri" >"$tmp/bench" \
    || fail "qemu-img bench $*: $(cat "$tmp/bench")"
  grep -q '^Run completed in' "$tmp/bench" \
    || fail "qemu-img bench $* ended early"
}

start_server 8M submit_queues=2
pattern=16
for depth in 1 16 128; do
  pattern=$((pattern + 1))
  bench -w -d "$depth" --pattern="$pattern"
  "$nbdreq" "$uri" "check,0,8M,$pattern"
  bench -d "$depth"
done

# -S: only each other block is written.
bench -w -d 32 -S 8192 -c 1024 --pattern=0x77 --flush-interval=64
"$nbdreq" "$uri" check,0,4K,0x77 "check,4K,4K,$pattern" \
  check,end-8K,4K,0x77 "check,end-4K,4K,$pattern"
