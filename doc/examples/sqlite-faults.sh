#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# sqlite-faults.sh: what SQLite says, and what it has afterwards, when flushes
# are slow, when one fails, and when writes do.  Exits with 0 if nothing that it
# has said is committed was lost.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=kernel-disk.sh
. "$(dirname "$0")/kernel-disk.sh"
nr_rows=0

# insert: another row, in a transaction of its own.
insert ()
{
  sqlite3 -bail "$mnt/database" \
    "INSERT INTO t VALUES ($((nr_rows + 1)), hex (randomblob (1000)))" \
    2>"$tmp/said" && nr_rows=$((nr_rows + 1))
}

# all_are_there: also after another mount, which is what it takes after ext4 has
# given its journal up.
all_are_there ()
{
  local check found

  umount "$mnt"
  mount -t ext4 "$device" "$mnt"
  check=$(sqlite3 "$mnt/database" 'PRAGMA integrity_check')
  found=$(sqlite3 "$mnt/database" 'SELECT count (*) FROM t')
  # What failed is not committed; but it may be there.
  [ "$check" = ok ] || fail "$1: integrity_check: $check"
  [ "$found" -ge "$nr_rows" ] || fail "$1: $found rows of $nr_rows"
  nr_rows=$found
  echo "$1: all $nr_rows rows are there"
}

start_disk 256M cache_size=64 iostats=1
attach
mkfs.ext4 -q "$device"
mount -t ext4 "$device" "$mnt"
sqlite3 "$mnt/database" 'CREATE TABLE t (n INTEGER PRIMARY KEY, value TEXT)'

# A commit waits for its flushes, however long they take.
disk reset-stats
disk set delay_flush=30ms
for _ in 1 2 3 4 5; do
  insert
done
disk set delay_flush=0
disk stats | sed -n -e '1p' -e '/^min/p' -e '/^p50/p'
all_are_there 'slow flushes'

# A flush that fails is a transaction that fails.
disk fault add op=flush,errno=EIO,once >/dev/null
if insert; then
  fail 'a flush has failed, and nobody was told'
fi
echo "SQLite said: $(cat "$tmp/said")"
all_are_there 'a flush that fails'

# Writes fail, as on a disk that is full: to the kernel's client each error is
# EIO, and to whoever waits for the fsync as well.
rule=$(disk fault add op=write,errno=ENOSPC)
if insert; then
  fail 'writes have failed, and nobody was told'
fi
echo "SQLite said: $(cat "$tmp/said")"
disk fault del "$rule"
all_are_there 'writes that fail'
