#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# blkmqctl and blkmqd: disks are shown and changed while clients on all threads
# write and verify what they have written; faults and a cut of power are seen by
# clients, and then no more.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires fio
requires_nbdreq
ctl=${BLKMQ_CTL:?set it to blkmqctl}
choose_seed

control ()
{
  "$ctl" -s control "$@" || fail "blkmqctl $*"
}

start_blkmqd 64M --threads 2 control=control live=1 seed="$seed" \
  export=a export=b
control show --export a >shown
grep -q '^submit_queues .* 2 ' shown || fail "show: $(cat shown)"
control exports >shown
for name in a b; do
  grep -q "^$name " shown || fail "exports: $(cat shown)"
done

# ---- under load ----

# load NAME: until there is a file stop.
load ()
{
  local nr=0

  until [ -e stop ]; do
    fio --name="$1" --ioengine=nbd --rw=randrw --bsrange=512-64k --iodepth=16 \
      --uri="nbd+unix:///$1?socket=$sock" --size=4M --numjobs=3 \
      --offset_increment=8M --verify=crc32c --verify_fatal=1 \
      --verify_state_save=0 --randseed=$((seed + nr)) --output="fio-$1" \
      || return 1
    nr=$((nr + 1))
    echo "$nr" >"rounds-$1"
  done
}
loads=()
for name in a b; do
  load "$name" &
  loads+=("$!")
done
for name in a b; do
  wait_until test -s "rounds-$name" || fail "no load: $(cat "fio-$name")"
done

# Queues come and go between threads, requests end elsewhere, or late.
changes=('submit_queues=1' 'irqmode=timer completion_nsec=50us'
         'submit_queues=5 hw_queue_depth=3' 'irqmode=softirq'
         'scheduler=mq-deadline' 'submit_queues=2 poll_queues=1' 'poll_queues=0'
         'scheduler=none hw_queue_depth=64' 'irqmode=none' 'iostats=1')
for change in "${changes[@]}" "${changes[@]}"; do
  read -ra words <<<"$change"
  for name in a b; do
    control --export "$name" set "${words[@]}"
    control --export "$name" get --live >got
    for word in "${words[@]}"; do
      grep -qx "$word" got || fail "set $word: $(cat got)"
    done
  done
done
touch stop
for i in 0 1; do
  wait "${loads[i]}" || fail "the load: $(cat fio-a fio-b)"
done
control --export a stats >got
grep -q read got || fail "stats: $(cat got)"

# ---- faults ----

uri="nbd+unix:///a?socket=$sock"
id=$(control --export a fault add op=write status=medium)
"$nbdreq" "$uri" write,0,4K,1=EIO read,0,4K || fail "the fault is not seen"
control --export a fault list | grep -q "^ *$id  *1 " \
  || fail "fault list: $(control --export a fault list)"
"$nbdreq" "nbd+unix:///b?socket=$sock" write,0,4K,1 \
  || fail "the other disk has the fault"
control --export a fault del "$id"
"$nbdreq" "$uri" write,0,4K,1 check,0,4K,1 || fail "the fault is still there"

# ---- power ----

# A connection outlives it.
mkfifo hold
# shellcheck disable=SC2094 # a verb, and a file
"$nbdreq" "$uri" read,0,4K hold check,0,4K,1 <hold >held 2>&1 &
holder=$!
exec 3>hold
wait_until grep -q read held || fail "no connection: $(cat held)"
control --export a power off
"$nbdreq" "$uri" read,0,4K=ESHUTDOWN flush=ESHUTDOWN write,0,4K,2=ESHUTDOWN \
  || fail "power is off"
control --export a power on
exec 3>&-
wait "$holder" || fail "a connection is lost with the power: $(cat held)"
stop_blkmqd
