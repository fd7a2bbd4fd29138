#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# With nbdkit's cow filter the client reads what it wrote, and none of it
# reaches the plugin, which the log filter below the cow filter tells.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires_filter cow log
requires_nbdreq

start_server --filter=cow --filter=log 8M logfile="$tmp/log"
"$nbdreq" "$uri" check,0,1M,0 write,0,1M,0x11 check,0,1M,0x11 \
  write,4K,512,0x22 check,4K,512,0x22 check,4608,3584,0x11 \
  trim,128K,64K flush check,64K,64K,0x11 check,1M,1M,0
"$nbdreq" "$uri" check,0,4K,0x11 check,4K,512,0x22
stop_server

grep -q ' Read ' "$tmp/log" || fail "the log shows no read"
if grep -E ' (Write|Zero|Trim) ' "$tmp/log"; then
  fail "a change reached the plugin"
fi
