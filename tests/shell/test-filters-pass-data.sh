#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# An image goes in and comes out unharmed through each of nbdkit's filters that
# passes data on, alone and stacked.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdcopy cmp
requires_nbdreq
choose_seed
sparse_image "$tmp/image" 4M "$seed"

# Each line: filters, outermost first | their parameters
while IFS='|' read -r filters parameters; do
  arguments=()
  for filter in $filters; do
    if ! nbdkit --filter="$filter" null --dump-plugin >/dev/null 2>&1; then
      echo "not tried: nbdkit has no $filter filter"
      continue 2
    fi
    arguments+=("--filter=$filter")
  done
  # shellcheck disable=SC2086
  start_server "${arguments[@]}" 8M submit_queues=2 $parameters
  nbdcopy "$tmp/image" "$uri"
  "$nbdreq" "$uri" write,6M,64K,0x5a,fua flush \
    check,6M,64K,0x5a check,6208K,64K,0 >"$tmp/out" \
    || fail "$filters: $(cat "$tmp/out")"
  nbdcopy "$uri" "$tmp/back"
  cmp -n 4194304 "$tmp/image" "$tmp/back" || fail "$filters: the copy differs"
  stop_server
  echo "passed: $filters"
done <<'FILTERS'
cow|
log|logfile=/dev/null
delay|delay-write=1ms
blocksize|minblock=4K maxdata=64K
blocksize-policy|blocksize-minimum=512 blocksize-error-policy=error
cache|cache=writeback
cache|cache=writethrough
readahead|
readahead cache|
fua|fuamode=force
multi-conn|multi-conn-mode=emulate
noextents|
noparallel|serialize=requests
nozero|
nozero|zeromode=emulate
offset|offset=65536
rate|rate=4G
retry|
stats|statsfile=/dev/null
truncate|round-up=1M
swab|swab-bits=16
log stats cow cache|logfile=/dev/null statsfile=/dev/null
FILTERS
