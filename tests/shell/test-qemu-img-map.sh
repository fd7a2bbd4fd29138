#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# qemu-img map shows exactly what qemu-io wrote, zeroed and discarded.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io jq

# expect_map WORD...: "START+LENGTH:data" or ":hole", in MiB.
expect_map ()
{
  local found

  found=$(qemu-img map -f raw --output=json "$uri" | jq -r '
    .[] | "\(.start / 1048576)+\(.length / 1048576):"
          + (if .data then "data" elif .zero then "hole" else "?" end)')
  expect_equal "the map" "${found//$'\n'/ }" "$*"
}

start_server 16M
expect_map 0+16:hole
qemu-io -f raw -c 'write -P 1 2M 3M' -c 'write -P 2 15M 1M' "$uri" >/dev/null
expect_map 0+2:hole 2+3:data 5+10:hole 15+1:data
qemu-io -f raw -d unmap -c 'discard 3M 1M' "$uri" >/dev/null
expect_map 0+2:hole 2+1:data 3+1:hole 4+1:data 5+10:hole 15+1:data
qemu-io -f raw -d unmap -c 'write -z -u 2M 1M' -c 'write -z -u 15M 1M' "$uri" \
  >/dev/null
expect_map 0+4:hole 4+1:data 5+11:hole
