#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# With poll_queues every request goes to a polled hctx and is done by the worker
# that polls for it, whatever irqmode says.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo
requires_nbdreq

# An hour each, if they were not polled.
start_server "${verbose[@]}" 64M submit_queues=2 poll_queues=2 \
  irqmode=timer completion_nsec=3600s
for ((i = 0; i < 4; i++)); do
  "$nbdreq" "$uri" "write,${i}M,64K,$((i + 1))" "check,${i}M,64K,$((i + 1))" \
    "trim,${i}M,4K" flush "check,${i}M,4K,0" \
    || fail "a client failed"
done
nbdinfo "$uri" >"$tmp/info"
grep -q '2 hctxs and 2 polled x 64' "$tmp/info" \
  || fail "the description does not tell of polled hctxs: $(cat "$tmp/info")"
stop_server

for i in 0 1; do
  log_has "hctx $i: 0 requests" || fail "a request went to hctx $i"
done
# The connections came one after the other.  In nbdkit each had the first that
# is polled, in blkmqd that of its thread.
if [ "$program" = nbdkit ]; then
  log_has "hctx 3: 0 requests" || fail "a request went to hctx 3"
  log_has_times "hctx 2: write of" 4 || fail "not all writes went to hctx 2"
else
  for i in 2 3; do
    log_has "hctx $i: [1-9]" || fail "no request went to hctx $i"
  done
fi
