#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Memory is taken as data is written and goes back to the system when it is
# trimmed or zeroed, while the server runs.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdcopy
requires_nbdreq

mib=128
slack_kib=$((24 * 1024)) # what connections and the allocator may keep

is_below ()
{
  [ "$(resident_kib "$pid")" -lt "$1" ]
}

fill ()
{
  nbdkit -U - pattern "${mib}M" \
    --run "nbdcopy --request-size=262144 \"\$uri\" '$uri'"
}

start_server 1T
if grep -q 'lib[a-z]*san' "/proc/$pid/maps"; then
  skip "a sanitizer keeps freed memory"
fi
"$nbdreq" "$uri" read,0,1M
empty=$(resident_kib "$pid")

for request in "trim,0,${mib}M" "zero,0,${mib}M"; do
  fill
  full=$(resident_kib "$pid")
  echo "$request: empty $empty KiB, full $full KiB"
  [ $((full - empty)) -ge $((mib * 1024 * 9 / 10)) ] \
    || fail "$mib MiB were written and the server grew by $((full - empty)) KiB"
  "$nbdreq" "$uri" "$request" check,0,1M,0
  wait_until is_below $((empty + slack_kib)) \
    || fail "$request left $(resident_kib "$pid") KiB"
done
