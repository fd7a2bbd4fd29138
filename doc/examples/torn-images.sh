#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# torn-images.sh [SEED...]: can e2fsck repair a file system of which some writes
# were lost?  Each seed loses others, the same ones each time.  Needs neither
# root nor a kernel's help: it is for containers.  Exits with 0 if all could be
# repaired.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
[ $# -gt 0 ] || set -- 1 2 3 4 5 6 7 8
export tmp
nr_damaged=0
uuid=5e2a1f0c-0000-4000-8000-000000000001

# A tree of files, and an image of it.
mkdir "$tmp/tree"
for ((i = 0; i < 300; i++)); do
  mkdir -p "$tmp/tree/$((i % 17))"
  head -c $((i * 97 % 9000)) <(yes "$i") >"$tmp/tree/$((i % 17))/$i"
done
truncate -s 16M "$tmp/image"
mke2fs -q -t ext4 -U "$uuid" -E "hash_seed=$uuid" -d "$tmp/tree" "$tmp/image"

for seed; do
  # Of all writes five percent are lost, and nobody is told.  They are small
  # and come one after the other, so that the seed says which.
  # shellcheck disable=SC2016 # for blkmqd's shell
  blkmqd 16M fault=op=write,probability=5,status=ok seed="$seed" --run '
    nbdcopy --synchronous --connections=1 --request-size=4096 \
      "$tmp/image" "$uri" &&
    nbdcopy "$uri" "$tmp/torn"'
  e2fsck -fn "$tmp/torn" >"$tmp/damage" 2>&1 || nr_damaged=$((nr_damaged + 1))
  status=0
  e2fsck -fy "$tmp/torn" >"$tmp/repair" 2>&1 || status=$?
  # 1: repaired.  4 and more: not all of it.
  if [ "$status" -ge 4 ] || ! e2fsck -fn "$tmp/torn" >"$tmp/rest" 2>&1; then
    echo "FAILED: seed $seed: e2fsck ended with $status:" >&2
    cat "$tmp/repair" "$tmp/rest" >&2
    exit 1
  fi
  echo "seed $seed: $(wc -l <"$tmp/damage") lines of damage, repaired"
done
[ "$nr_damaged" -gt 0 ] || { echo "FAILED: nothing was damaged" >&2; exit 1; }
