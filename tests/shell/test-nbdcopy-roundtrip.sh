#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdcopy brings an image of random data and holes in and out unharmed, over
# one connection and over several, from a file and from server to server.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdcopy nbdinfo cmp
choose_seed

size=33554432
sparse_image "$tmp/image" "$size" "$seed"

# data_bytes: what the map of a server calls data.
data_bytes ()
{
  nbdinfo --map --totals "$1" | awk '$3 == 0 { n = $1 } END { print n + 0 }'
}

copy_both_ways ()
{
  nbdcopy "$@" "$tmp/image" "$uri"
  nbdcopy "$@" "$uri" "$tmp/back"
  cmp "$tmp/image" "$tmp/back" || fail "nbdcopy $*: the copy differs"
}

start_server "$size" submit_queues=4
copy_both_ways
copy_both_ways --connections=4 --threads=4 --requests=16
copy_both_ways --synchronous --flush
copy_both_ways --request-size=4096 --sparse=4096 --connections=2
stop_server

# What the source knows to be zero stays a hole.
start_server "$size"
nbdcopy --destination-is-zero "$tmp/image" "$uri"
[ "$(data_bytes "$uri")" -lt "$size" ] || fail "the copy has no hole"
nbdcopy "$uri" "$tmp/back"
cmp "$tmp/image" "$tmp/back" || fail "the copy onto an empty disk differs"

# From this server to a second one; what that one held before must go.
source_uri=$uri
start_server "$size" irqmode=softirq
nbdkit -U - pattern "$size" \
  --run "nbdcopy \"\$uri\" '$uri'"
nbdcopy "$source_uri" "$uri"
nbdcopy "$uri" "$tmp/back"
cmp "$tmp/image" "$tmp/back" || fail "the copy from server to server differs"
