#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdkit's blocksize-policy filter on top of the plugin: its sizes are the ones
# advertised, and it refuses what the plugin alone would take.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo jq
requires_filter blocksize-policy
requires_nbdreq

start_server --filter=blocksize-policy 8M blocksize-minimum=8192 \
  blocksize-preferred=65536 blocksize-maximum=1M blocksize-error-policy=error
expect_equal "the block sizes" \
  "$(nbdinfo --json "$uri" | jq -c '.exports[0]
     | [.block_size_minimum, .block_size_preferred, .block_size_maximum]')" \
  '[8192,65536,1048576]'
"$nbdreq" "$uri" write,8K,16K,0x5a check,8K,16K,0x5a check,0,8K,0 \
  write,4K,8K,1=EINVAL read,512,8K=EINVAL read,0,512=EINVAL \
  read,0,2M=EINVAL write,0,2M,1=EINVAL \
  check,0,8K,0 check,8K,16K,0x5a check,24K,8K,0
stop_server

# Without the policy of errors the filter only advertises.
start_server --filter=blocksize-policy 8M blocksize-minimum=8192 \
  blocksize-preferred=65536 blocksize-maximum=1M
"$nbdreq" "$uri" minimum,8K write,4K,4K,0x5a check,4K,4K,0x5a
