#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdkit's delay filter on top of the plugin: requests are late, not wrong.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires_filter delay
requires_nbdreq

start_server --filter=delay 8M irqmode=softirq \
  delay-read=200ms delay-write=100ms
takes_at_least 500 "$nbdreq" "$uri" write,0,64K,0x5a zero,64K,64K \
  check,0,64K,0x5a check,64K,64K,0
