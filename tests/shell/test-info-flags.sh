#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdinfo, as text and as JSON, finds every promise of the plugin: size, block
# sizes and flags; and the export in the list, with its description.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo jq

# expect_fields JSON: each line of stdin is a field and its value.
expect_fields ()
{
  local json=$1 name expected found

  while read -r name expected; do
    found=$(jq -r ".exports[0][\"$name\"]" <<<"$json")
    expect_equal "$name" "$found" "$expected"
  done
}

start_server 1G

expect_fields "$(nbdinfo --json "$uri")" <<'FIELDS'
export-name
export-size 1073741824
is_read_only false
is_rotational false
can_cache true
can_df true
can_fast_zero true
can_flush true
can_fua true
can_multi_conn true
can_trim true
can_zero true
block_size_minimum 512
FIELDS

# The sizes that the plugin is free to choose must still make sense.
nbdinfo --json "$uri" | jq -e '
  .exports[0]
  | .block_size_preferred >= .block_size_minimum
    and .block_size_preferred % .block_size_minimum == 0
    and .block_size_maximum >= .block_size_preferred' >/dev/null \
  || fail "the block sizes do not fit together"

nbdinfo "$uri" >"$tmp/text"
for line in 'export-size: 1073741824 (1G)' 'base:allocation' \
            'is_read_only: false' 'is_rotational: false' 'can_fua: true' \
            'can_fast_zero: true' 'can_multi_conn: true' \
            'can_trim: true' 'can_zero: true' 'can_cache: true' \
            'block_size_minimum: 512'; do
  sed 's/^[[:space:]]*//' "$tmp/text" | grep -qxF "$line" \
    || fail "nbdinfo does not print '$line'"
done

# A program that asks one question gets the same answer.
expect_equal "the size" "$(nbdinfo --size "$uri")" 1073741824
nbdinfo --can multi-conn "$uri" || fail "multi-conn is denied"
if nbdinfo --is rotational "$uri"; then
  fail "the disk is said to rotate"
fi

# One export, with the default name.
list=$(nbdinfo --list --json "$uri")
expect_equal "the number of exports" "$(jq '.exports | length' <<<"$list")" 1
expect_fields "$list" <<'FIELDS'
export-name
export-size 1073741824
can_multi_conn true
FIELDS
nbdinfo --list "$uri" | grep -qxF 'export="":' \
  || fail "the list does not show the export"
stop_server

# Its description is a line about the disk, and names the seed by which a run
# can be repeated, whether it was given or drawn.
description ()
{
  nbdinfo --list --json "$uri" | jq -r '.exports[0].description'
}

start_server 3G driver=null submit_queues=2 hw_queue_depth=32 \
  irqmode=softirq seed=42
found=$(description)
for part in null '3 GiB' '2 hctxs' 32 softirq 'seed 42'; do
  [[ $found = *"$part"* ]] || fail "no '$part' in the description '$found'"
done
stop_server

seeds=()
for _ in 1 2; do
  start_server 1M
  found=$(description)
  [[ $found =~ seed\ ([0-9]+)$ ]] || fail "no seed in '$found'"
  seeds+=("${BASH_REMATCH[1]}")
  stop_server
done
[ "${seeds[0]}" != "${seeds[1]}" ] || fail "the same seed was drawn twice"
