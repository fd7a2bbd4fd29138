#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdinfo --map shows what was written as data and the rest as holes; trim
# makes a hole again; the two ends of a large disk are no exception.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo jq
requires_nbdreq

# expect_map LINE...: "OFFSET LENGTH TYPE"; TYPE is nbdinfo's: 0 data, 3 hole.
expect_map ()
{
  expect_equal "the map" \
    "$(nbdinfo --map "$uri" | awk '{ print $1, $2, $3 }')" \
    "$(printf '%s\n' "$@")"
}

mib=1048576
start_server 8M
expect_map "0 $((8 * mib)) 3"

# At the start, in the middle, and two neighbours that must become one.
"$nbdreq" "$uri" write,0,1M,0x11 write,3M,1M,0x22 write,4M,1M,0x33
expect_map "0 $mib 0" "$mib $((2 * mib)) 3" \
           "$((3 * mib)) $((2 * mib)) 0" "$((5 * mib)) $((3 * mib)) 3"

# The same in nbdinfo's other forms.
expect_equal "data in the JSON map" \
  "$(nbdinfo --map --json "$uri" \
     | jq '[.[] | select(.type == 0) | .length] | add')" $((3 * mib))
nbdinfo --map --totals "$uri" | awk '{ print $1, $3 }' >"$tmp/totals"
grep -qx "$((3 * mib)) 0" "$tmp/totals" || fail "wrong total of data"
grep -qx "$((5 * mib)) 3" "$tmp/totals" || fail "wrong total of holes"

# Holes come back, by either request.
"$nbdreq" "$uri" trim,0,1M zero,4M,1M
expect_map "0 $((3 * mib)) 3" "$((3 * mib)) $mib 0" \
           "$((4 * mib)) $((4 * mib)) 3"

# Zeroes that must leave no hole leave none.
"$nbdreq" "$uri" zero,6M,1M,nohole check,6M,1M,0
type=$(nbdinfo --map "$uri" | awk -v at=$((6 * mib)) \
  '$1 <= at && at < $1 + $2 { print $3 }')
[ $((type & 1)) -eq 0 ] || fail "zeroes with nohole left a hole"
stop_server

# More than one answer to NBD_CMD_BLOCK_STATUS can cover.
tib=$((1 << 40))
start_server 1T
"$nbdreq" "$uri" write,0,1M,0x44 write,end-1M,1M,0x55
expect_equal "the total of data" \
  "$(nbdinfo --map --totals "$uri" | awk '$3 == 0 { print $1 }')" \
  $((2 * mib))
expect_equal "the last extent" \
  "$(nbdinfo --map "$uri" | awk '{ l = $1 " " $2 " " $3 } END { print l }')" \
  "$((tib - mib)) $mib 0"
