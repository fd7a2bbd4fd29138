#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Good values mean what the manual says: suffixes of sizes, suffixes and bare
# numbers of times, words of booleans and of irqmode.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo
requires_nbdreq

# serve KEYS COMMAND: run it captive, with $uri set.
serve ()
{
  # shellcheck disable=SC2086
  run_server "$2" $1
}

while read -r value bytes; do
  # shellcheck disable=SC2016
  expect_equal "size=$value" "$(serve "size=$value" 'nbdinfo --size "$uri"')" \
    "$bytes"
done <<'SIZES'
512 512
1 1
1000b 1000
3s 1536
3S 1536
5k 5120
5K 5120
7M 7340032
7m 7340032
2G 2147483648
1T 1099511627776
1P 1125899906842624
7E 8070450532247928832
9223372036854775807 9223372036854775807
SIZES

while read -r value answer; do
  # shellcheck disable=SC2016
  found=$(serve "1M readonly=$value" \
    'if nbdinfo --is read-only "$uri"; then echo yes; else echo no; fi')
  expect_equal "readonly=$value" "$found" "$answer"
done <<'BOOLEANS'
1 yes
true yes
yes yes
on yes
TRUE yes
0 no
false no
no no
off no
BOOLEANS

# Times.  A request cannot come back before completion_nsec is over; so much
# is certain on the slowest machine.  $1 ms must pass for one request.
while read -r ms keys; do
  takes_at_least "$ms" serve "1M $keys" "'$nbdreq' \"\$uri\" read,0,4K"
done <<'LATENCIES'
0   irqmode=timer completion_nsec=100
0   irqmode=timer completion_nsec=10us
0   irqmode=timer completion_nsec=1.5us
0   irqmode=timer
200 irqmode=timer completion_nsec=200000000
200 irqmode=timer completion_nsec=200000us
200 irqmode=timer completion_nsec=200ms
200 irqmode=timer completion_nsec=0.2s
200 irqmode=2     completion_nsec=200000000ns
0   irqmode=1
0   irqmode=0
LATENCIES

# The bare number of io_timeout is in milliseconds.  Neither sooner: see the
# clock; nor 1000 times later: the test would hang.
while read -r ms keys; do
  takes_at_least "$ms" serve "1M irqmode=timer completion_nsec=3600s $keys" \
    "'$nbdreq' \"\$uri\" read,0,4K=EIO"
done <<'TIMEOUTS'
300 io_timeout=300
300 io_timeout=300ms
300 io_timeout=300000us
300 io_timeout=0.3s
TIMEOUTS
