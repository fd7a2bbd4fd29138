#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# iostats=1: when nbdkit ends its debug log has a line for each hardware queue
# and operation that was used, and no other; -D blkmq.stats=1 adds the counters;
# without either there is nothing.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires_nbdreq

# run ARGUMENT...: three writes, two reads and one flush; the log in $tmp/log.
run ()
{
  # shellcheck disable=SC2016
  "$nbdkit" -v -U - "$@" --run "'$nbdreq' \"\$uri\" write,0,4K,1 write,4K,4K,1 \
    write,8K,4K,1 check,0,4K,1 check,4K,4K,1 flush" 2>"$tmp/log" \
    || fail "nbdkit $*: $(tail -n 5 "$tmp/log")"
}

# count TEXT: lines of the log that have it.
count ()
{
  grep -c -- "$1" "$tmp/log" || true
}

run "$plugin" 1M
expect_equal "latencies without iostats" "$(count ' us, min ')" 0
expect_equal "counters without the flag" "$(count ' rejected')" 0

run "$plugin" 1M iostats=1 submit_queues=2 irqmode=timer completion_nsec=2ms \
  spin_ns=10us
expect_equal "latencies with iostats" "$(count ' us, min ')" 3
expect_equal "writes" "$(count 'hctx 0 write: 3 requests, mean ')" 1
expect_equal "reads" "$(count 'hctx 0 read: 2 requests, mean ')" 1
expect_equal "flushes" "$(count 'hctx 0 flush: 1 requests, mean ')" 1
expect_equal "counters without the flag" "$(count ' rejected')" 0
# Nothing is faster than completion_nsec.
min=$(sed -n 's/.* read: .* min \([0-9]*\)\..*/\1/p' "$tmp/log")
[ "$min" -ge 2000 ] || fail "reads took 2 ms, but their minimum is $min us"

run -D blkmq.stats=1 "$plugin" 1M submit_queues=2
expect_equal "counters with the flag" "$(count ' rejected')" 2
expect_equal "the used queue's counters" \
  "$(count 'hctx 0: 6 requests, 20480 bytes, 0 errors, 0 rejected')" 1
expect_equal "the other's" "$(count 'hctx 1: 0 requests, 0 bytes')" 1
expect_equal "latencies without iostats" "$(count ' us, min ')" 0
