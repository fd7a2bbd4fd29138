#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# discard=, virt_boundary=, max_sectors= and blocking=: what the client sees of
# them.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo
requires_nbdreq

# A disk that discards says so, and gives zeros; one that is not to, does not,
# and still writes zeroes.
start_server 1M
nbdinfo --can trim "$uri" || fail "trim is denied"
"$nbdreq" "$uri" write,0,8K,7 trim,0,4K check,0,4K,0 check,4K,4K,7
stop_server
start_server 1M discard=0
if nbdinfo --can trim "$uri"; then
  fail "trim is offered with discard=0"
fi
"$nbdreq" "$uri" write,0,8K,7 trim,0,4K=EINVAL check,0,8K,7 \
  zero,0,4K check,0,4K,0 check,4K,4K,7
stop_server

# The others change how a request reaches the driver, and nothing that is read.
# run KEYS...: a write and a read of 1 MiB, and small ones; the log in $tmp/log.
run ()
{
  # shellcheck disable=SC2016
  run_server "'$nbdreq' \"\$uri\" write,512,1M,1 write,1K,4K,2 \
    check,512,512,1 check,1K,4K,2 check,5K,512K,1 flush" \
    "${verbose[@]}" 2M "$@" >"$tmp/out" 2>"$tmp/log" \
    || fail "$*: $(cat "$tmp/out"; tail -n 5 "$tmp/log")"
}

# nr_requests: that the driver has seen.
nr_requests ()
{
  sed -n 's/.*hctx 0: \([0-9]*\) requests, .*/\1/p' "$tmp/log"
}

run
expect_equal "requests without a limit" "$(nr_requests)" 6
run max_sectors=512
expect_equal "requests of at most 256 KiB" "$(nr_requests)" 10
run virt_boundary=1
expect_equal "requests with virt_boundary" "$(nr_requests)" 6
run blocking=1
expect_equal "requests with blocking" "$(nr_requests)" 6
run blocking=1 submit_queues=2 irqmode=timer completion_nsec=100us \
  scheduler=mq-deadline
