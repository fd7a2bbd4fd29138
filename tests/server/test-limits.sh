#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Each limit of blkmqd: who runs into it is refused or cut off, with the line
# that blkmqd(8) shows; and who does not is not disturbed.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo nbdcopy cmp perl
requires_nbdreq
ctl=${BLKMQ_CTL:?set it to blkmqctl}
choose_seed

# Without numbers, and on one line.
without_numbers ()
{
  tr -s '\n ' ' ' | sed 's/[0-9]\+/N/g'
}
page=$(without_numbers <"$top_srcdir/man/blkmqd.pod")

# logged LEVEL TEXT: a line of that level about a client, which is also on the
# page.
logged ()
{
  wait_until log_has "^blkmqd: $1: unix:pid [0-9]* uid [0-9]*: $2\$" \
    || fail "no '$2' in: $(cat "$log")"
  grep -qF "$(printf '%s' "$2" | without_numbers)" <<<"$page" \
    || fail "the page has no '$2'"
}

# nr_lines TEXT N: so many lines have it.
nr_lines ()
{
  expect_equal "the number of lines with '$1'" "$(grep -c "$1" "$log")" "$2"
}

# held ARGUMENT...: a client that does this and stays until let_go.
held ()
{
  rm -f hold
  mkfifo hold
  "$nbdreq" "$uri" "$@" <hold >held 2>&1 &
  holder=$!
  exec 4>hold
}
let_go ()
{
  exec 4>&-
  wait "$holder" || fail "the client that stayed: $(cat held)"
}

in_flight ()
{
  "$ctl" -s control inflight --json 2>/dev/null | grep -q '"handle"'
}
nothing_in_flight ()
{
  ! in_flight
}

# ---- --max-connections ----

start_blkmqd 1M --max-connections 2
held write,0,4K,0x5a hold check,0,4K,0x5a
wait_until grep -q write held || fail "no connection: $(cat held)"
start_client
! "$nbdreq" "$uri" read,0,4K >third 2>&1 || fail "a third client was served"
logged warning 'refused: there are 2 connections already'
nr_lines refused: 1
tell read reply
end_client
wait_until "$nbdreq" "$uri" read,0,4K >third 2>&1 || fail "still no room"
let_go
stop_blkmqd

# ---- --handshake-timeout ----

start_blkmqd 1M --handshake-timeout 50ms
start_client greeted
tell end
logged warning 'cut off: has chosen no export in 50 ms'
end_client
# Who is quick enough (on a busy machine not the first time) is served.
wait_until "$nbdreq" "$uri" read,0,4K >quick 2>&1 || fail "nobody is served"
stop_blkmqd

# ---- --idle-timeout ----

# A client whose request is in flight has asked for something.
start_blkmqd 1M --idle-timeout 50 fault=op=flush,hang control=control
in_flight_or_gone ()
{
  in_flight || is_gone "$holder"
}
# On a busy machine it may be cut off before it has asked.
hold_flush ()
{
  held flush
  wait_until in_flight_or_gone || fail "no request is in flight: $(cat held)"
  in_flight
}
wait_until hold_flush || fail "nobody gets to ask: $(cat held)"
nr_cut=$(grep -c 'cut off' "$log" || :)
start_client
tell end
logged warning 'cut off: has asked for nothing in 50 ms'
nr_lines 'cut off' $((nr_cut + 1))
end_client
"$ctl" -s control fault del 1 || fail "the fault cannot be deleted"
# After its answer it may be cut off as well, and find that wrong.
exec 4>&-
wait "$holder" || :
grep -q '^flush: ok' held || fail "what was in flight: $(cat held)"
stop_blkmqd

# ---- --stall-timeout ----

start_blkmqd 1M --stall-timeout 50ms fault=op=read,hang control=control
start_client
tell half
tell end
logged warning 'cut off: for 50 ms it has sent nothing more of a request'
end_client

start_client
tell read leave
tell end
logged warning \
  'cut off: for 50 ms it has been gone, and its requests do not end'
end_client
wait_until nothing_in_flight \
  || fail "the request of a client that was cut off is in flight"

"$ctl" -s control fault del 1 || fail "the fault cannot be deleted"
start_client
tell greedy
logged warning 'cut off: for 50 ms it has read no answer'
end_client
stop_blkmqd

# ---- --max-request ----

start_blkmqd 1M --max-request 64k --log-level debug
"$nbdreq" "$uri" write,0,64K,1 read,0,128K=EINVAL write,0,65K,2=EINVAL \
  check,0,64K,1 >request 2>&1 || fail "$(cat request)"
logged debug "command 0 of 131072 bytes at offset 0 refused: \
length 131072: at most 65536"
nr_lines refused: 2
stop_blkmqd
# shellcheck disable=SC2016 # for the command
expect_equal "the block size that clients are told" \
  "$("$blkmqd" 1M --log-level error --max-request 64k \
       --run 'nbdinfo --json "$uri"' \
     | sed -n 's/.*"block_size_maximum": \([0-9]*\).*/\1/p')" 65536

# ---- --max-buffers ----

# Much less than all these ask for at once; they wait, and are served.
start_blkmqd 16M --threads 1 --max-request 64k --max-buffers 1M \
  hw_queue_depth=1024 irqmode=timer completion_nsec=100us
sparse_image image 16M "$seed"
nbdcopy --connections=8 --requests=64 --request-size=65536 image "$uri" \
  || fail "the copy to the server"
copies=()
for i in 1 2 3; do
  nbdcopy --connections=8 --requests=64 --request-size=65536 "$uri" "copy$i" &
  copies+=("$!")
done
for i in 1 2 3; do
  wait "${copies[i - 1]}" || fail "copy $i from the server"
  cmp image "copy$i" || fail "copy $i differs"
done
! log_has warning || fail "somebody was disturbed: $(cat "$log")"
stop_blkmqd
