#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# rotational= is what the client is told; the disk is otherwise the same.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo jq
requires_nbdreq

while read -r keys; do
  # shellcheck disable=SC2086
  start_server 1M $keys
  found=$(nbdinfo --json "$uri" | jq '.exports[0].is_rotational')
  expect_equal "is_rotational with '$keys'" "$found" \
    "$([ "$keys" = rotational=true ] && echo true || echo false)"
  "$nbdreq" "$uri" write,0,4K,7 check,0,4K,7
  stop_server
done <<'KEYS'
rotational=true
rotational=false

KEYS
