#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# ext4-power-cut.sh [MOUNT-OPTION...]: does ext4 keep what it has promised when
# the power is cut?  Processes write files and fsync them, the power goes and
# comes back, the journal recovers, and then all that had been fsynced must be
# there, and e2fsck content.  Exits with 0 if so.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=kernel-disk.sh
. "$(dirname "$0")/kernel-disk.sh"
nr_rounds=${ROUNDS:-3}

# write_files NUMBER: until one cannot be written.  A file is promised when its
# fsync and its directory's have returned.
write_files ()
{
  local n file

  mkdir -p "$mnt/$1"
  for ((n = 0; ; n++)); do
    file=$mnt/$1/$round-$n
    {
      head -c $(((seed + n * 7919) % 60000)) <(yes "$seed $round $1 $n") \
        >"$file" && sync "$file" "$mnt/$1" &&
        sha256sum "$file" >>"$tmp/promised.$1"
    } || return 0
  done
}

nr_promised ()
{
  cat "$tmp"/promised.* | wc -l
}

are_promised ()
{
  [ "$(nr_promised)" -ge "$1" ]
}

touch "$tmp"/promised.{1,2,3}
start_disk 256M cache_size=64
attach
mkfs.ext4 -q "$device"
mount -t ext4 "$@" "$device" "$mnt"

for ((round = 1; round <= nr_rounds; round++)); do
  writers=()
  before=$(nr_promised)
  for writer in 1 2 3; do
    write_files "$writer" 2>/dev/null &
    writers+=($!)
  done
  within_a_minute are_promised $((before + 8 + (seed + round) % 12))
  cut_power
  wait "${writers[@]}"
  restore_power "$@"
  cat "$tmp"/promised.* | sha256sum --check --quiet ||
    fail "round $round: what had been fsynced is not there"
  umount "$mnt"
  e2fsck -fn "$device" >"$tmp/fsck" 2>&1 ||
    fail "round $round: $(cat "$tmp/fsck")"
  mount -t ext4 "$@" "$device" "$mnt"
  echo "round $round: all $(nr_promised) files are there"
done
