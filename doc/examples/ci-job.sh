#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# ci-job.sh COMMAND...: run a test on a disk of its own.  COMMAND finds the disk
# in $uri, and its control socket in $BLKMQ_CONTROL.  The disk's log and its
# counters are left in $ARTIFACTS; the exit status is COMMAND's, or 1 if the
# server did not end well.  DISK has the disk's keys.
set -uo pipefail
artifacts=${ARTIFACTS:-artifacts}
disk=${DISK:-1G iostats=1 live=1}
tmp=$(mktemp -d)
mkdir -p "$artifacts"

# shellcheck disable=SC2086 # several keys
blkmqd --unix="$tmp/socket" --pidfile="$tmp/pid" \
  $disk control="$tmp/control" 2>"$artifacts/blkmqd.log" >"$artifacts/uris" &
server=$!
trap 'kill "$server" 2>/dev/null; rm -rf "$tmp"' EXIT

# The process id is written when clients can connect.
until [ -s "$tmp/pid" ]; do
  kill -0 "$server" || { cat "$artifacts/blkmqd.log"; exit 1; }
  sleep 0.1
done

export uri="nbd+unix:///?socket=$tmp/socket" BLKMQ_CONTROL=$tmp/control
"$@"
status=$?

blkmqctl --json stats >"$artifacts/stats.json" || status=1
kill "$server"
wait "$server" || status=1
trap 'rm -rf "$tmp"' EXIT
exit "$status"
