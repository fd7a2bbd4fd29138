#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# sqlite-power-cut.sh [PRAGMA...]: does SQLite have every row that it has said
# is committed, when the power is cut between two commits or in the middle of
# one?  Exits with 0 if so.  With 'synchronous=EXTRA', or 'journal_mode=WAL' and
# 'synchronous=FULL', it has; with SQLite's defaults the last row may be lost,
# and with 'synchronous=OFF' everything.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=kernel-disk.sh
. "$(dirname "$0")/kernel-disk.sh"
nr_rounds=${ROUNDS:-3}
rows_a_round=$((20 + seed % 20))

pragmas ()
{
  local pragma

  for pragma; do
    echo "PRAGMA $pragma;"
  done
}

# commit_rows FIRST: each in a transaction of its own, for as long as it goes.
# When one is committed its number is the last in $tmp/committed.
commit_rows ()
{
  local n

  for ((n = $1; ; n++)); do
    echo "INSERT INTO t VALUES ($n, printf ('%0300d', $n * $seed));"
    echo "SELECT writefile ('$tmp/committed', '$n');"
  done 2>/dev/null
}

nr_committed ()
{
  cat "$tmp/committed"
}

are_committed ()
{
  local nr

  # It is empty while it is being written.
  nr=$(nr_committed)
  [ "${nr:-0}" -ge "$1" ]
}

ask ()
{
  sqlite3 "$mnt/database" "$1"
}

start_disk 256M cache_size=64
attach
mkfs.ext4 -q "$device"
mount -t ext4 "$device" "$mnt"
ask 'CREATE TABLE t (n INTEGER PRIMARY KEY, value TEXT)'
sync
echo 0 >"$tmp/committed"

for ((round = 1; round <= nr_rounds; round++)); do
  first=$(($(ask 'SELECT count (*) FROM t') + 1))
  {
    pragmas "$@"
    commit_rows "$first"
  } | sqlite3 -bail "$mnt/database" >/dev/null 2>"$tmp/said" &
  writer=$!
  within_a_minute are_committed $((first + rows_a_round))
  cut_power
  wait "$writer" || :
  restore_power -o rw

  committed=$(nr_committed)
  found=$(ask 'SELECT count (*) FROM t') || fail "round $round: no table"
  [ "$found" -ge "$committed" ] ||
    fail "round $round: $committed rows were committed, and $found are there"
  wrong=$(ask "SELECT count (*) FROM t
               WHERE n > $found OR value != printf ('%0300d', n * $seed)")
  [ "$wrong" = 0 ] || fail "round $round: $wrong rows are wrong"
  check=$(ask 'PRAGMA integrity_check')
  [ "$check" = ok ] || fail "round $round: integrity_check: $check"
  echo "round $round: $committed rows were committed, $found are there;" \
       "SQLite said: $(tail -n 1 "$tmp/said")"
done
