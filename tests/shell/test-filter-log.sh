#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdkit's log filter sees every request on its way to the plugin, with its
# flags and the plugin's answer.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo
requires_filter log
requires_nbdreq

start_server --filter=log 8M blocksize=4096 logfile="$tmp/log"
"$nbdreq" "$uri" write,4K,8K,0x5a check,4K,8K,0x5a write,16K,4K,1,fua \
  trim,4K,4K zero,8K,4K zero,12K,4K,nohole flush cache,0,4K \
  write,512,512,1=EINVAL check,4K,4K,0
nbdinfo --map "$uri" >/dev/null
stop_server

while read -r pattern; do
  grep -q -e "$pattern" "$tmp/log" || {
    cat "$tmp/log"
    fail "the log has no line like '$pattern'"
  }
done <<'PATTERNS'
Write id=.* offset=0x1000 count=0x2000
Write id=.* offset=0x4000 count=0x1000 .*fua=1
Read id=.* offset=0x1000 count=0x2000
Trim id=.* offset=0x1000 count=0x1000
Zero id=.* offset=0x2000 count=0x1000 .*trim=1
Zero id=.* offset=0x3000 count=0x1000 .*trim=0
Flush id=
Cache id=.* offset=0x0 count=0x1000
Extents id=
Read id=.* return=0
Write id=.* return=-1 error=EINVAL
PATTERNS
