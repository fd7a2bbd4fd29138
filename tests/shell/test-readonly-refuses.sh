#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# readonly=true, like nbdkit's own -r: reads are served, everything that
# changes data is refused, even to a client that does not ask what is allowed.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo jq qemu-io
requires_nbdreq

check_read_only ()
{
  local flags

  flags=$(nbdinfo --json "$uri" | jq -c '.exports[0]
    | [.is_read_only, .can_trim, .can_zero, .can_fua, .can_fast_zero]')
  expect_equal "read-only, trim, zero, fua, fast zero" "$flags" \
    '[true,false,false,false,false]'
  "$nbdreq" "$uri" check,0,4K,0 write,0,4K,1=EPERM write,0,4K,1,fua=EPERM \
    trim,0,4K=EPERM zero,0,4K=EPERM zero,0,4K,nohole=EPERM \
    check,0,4K,0 check,end-4K,4K,0
  if qemu-io -f raw -c 'write 0 4k' "$uri" >"$tmp/out" 2>&1; then
    fail "qemu-io could write"
  fi
}

start_server 1M readonly=true
check_read_only
stop_server

if [ "$program" = nbdkit ]; then
  start_server -r 1M
  check_read_only
  stop_server
fi

# It is the key that did it.
start_server 1M readonly=false
"$nbdreq" "$uri" write,0,4K,1 check,0,4K,1
