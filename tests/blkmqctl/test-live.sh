#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# blkmqctl and a disk that is served: what it shows is what the disk was told,
# what it sets is in force, what it refuses changes nothing, what it counts was
# done.
# shellcheck source-path=SCRIPTDIR source=functions.sh
top_tests=$(cd "$(dirname "$0")/.." && pwd)
. "$top_tests/blkmqctl/functions.sh"
requires jq
requires_nbdreq

start_server 1M submit_queues=2 live=1 control="$control"

# field FILTER: of what --json printed.
field ()
{
  jq -r "$1" "$tmp/out"
}

# ---- show, get, exports ----

expect 0 '' show
at_most_columns 200 out
grep -qx 'size         1 MiB (1,048,576 bytes)' out || fail "show: $(cat out)"
grep -qx 'queues       2 for submission, 0 polled, depth 64' out \
  || fail "show: $(cat out)"
grep -Eqx 'submit_queues +2 +\* +yes +number .*' out || fail "show: $(cat out)"
COLUMNS=80 "$ctl" -s "$control" show >out
at_most_columns 80 out
expect 0 '' show --json
expect_equal "size_bytes" "$(field .size_bytes)" 1048576
[ "$(field '.keys | length')" -ge 20 ] || fail "few keys: $(cat out)"
keys=$(field '.keys[].key')
expect 0 '' show iostats size
expect_equal "what show has of two keys" "$(grep -c '^what ' out)" 2
grep -qx 'live     yes: set changes it' out || fail "show: $(cat out)"

prints 1M get size
expect 0 '' get
expect_equal "the keys of get" "$(sed 's/=.*//' out)" "$keys"
expect 0 '' get --live --json
expect_equal "iostats" "$(field .values.iostats)" 0
expect_equal "size, which is not live" "$(field .values.size)" null
prints "$(printf 'submit_queues=2\nsize=1M')" get submit_queues size
run_ctl get size nothing
expect_equal "the status for a key that is none" "$status" 1
grep -q '^blkmqctl: get: nothing=: unknown key' err || fail "get: $(cat err)"
expect_equal "what get prints then" "$(cat out)" ''
run_ctl show nothing
expect_equal "the status for a key that is none" "$status" 1
expect 0 '' exports --json
expect_equal "the default export" "$(field '.exports[0].name')" ''
run_ctl --export nothing show
expect_equal "the status for an export that is none" "$status" 1
grep -q nothing err || fail "--export: $(cat err)"

# ---- set ----

prints '' set iostats=1 scheduler=mq-deadline
prints "$(printf 'iostats=1\nscheduler=mq-deadline')" get iostats scheduler
# All or nothing.
run_ctl set scheduler=none iostats=2
expect_equal "the status of a wrong set" "$status" 1
grep -q '^blkmqctl: set: iostats=2: ' err || fail "set: $(cat err)"
prints mq-deadline get scheduler
run_ctl set size=2M
expect_equal "the status of setting what is fixed" "$status" 1
grep -q '^blkmqctl: set: size=2M: ' err || fail "set: $(cat err)"
prints '' set scheduler=none
prints '{}' set --json scheduler=none

# ---- stats ----

"$nbdreq" "$uri" write,0,4K,1 write,4K,4K,1 check,0,8K,1 flush
expect 0 '' stats
grep -Eqx 'requests +1 +2 +1 +0 +0' out || fail "stats: $(cat out)"
grep -Eqx 'data +8.0 KiB +8.0 KiB +0 B +0 B +0 B' out \
  || fail "stats: $(cat out)"
grep -Eq '^p99.9 +[0-9.]+ [num]?s' out || fail "stats: $(cat out)"
at_most_columns 80 out
expect 0 '' stats --json
expect_equal "writes" "$(field .total.ios.write)" 2
expect_equal "hctxs" "$(field '.hctxs | length')" 2
prints '' reset-stats
expect 0 '' stats --json
expect_equal "writes after reset-stats" "$(field .total.ios.write)" 0
prints '' set iostats=0
expect 0 '' stats
grep -qx 'latencies are not measured: blkmqctl set iostats=1' out \
  || fail "stats: $(cat out)"

# ---- freeze, inflight ----

prints '' inflight
prints '' freeze
prints '' freeze
expect 0 '' show --json
expect_equal "freezes" "$(field .freezes)" 2
prints '' unfreeze
# A request waits meanwhile and is done afterwards.
"$nbdreq" "$uri" check,0,8K,1 &
reader=$!
waits ()
{
  run_ctl stats --json
  [ "$(field .total.waiting)" -eq 1 ]
}
wait_until waits || fail "nothing waits for a frozen disk: $(cat out)"
expect 0 '' stats
grep -q '^waits  *1 waiting for a tag' out || fail "stats: $(cat out)"
prints '' unfreeze
wait "$reader" || fail "the read failed"
run_ctl unfreeze
expect_equal "the status of one unfreeze too many" "$status" 1

# What hangs is in flight.
prints '' set irqmode=timer completion_nsec=3600s
"$nbdreq" "$uri" check,0,8K,1 >/dev/null 2>&1 &
reader=$!
hangs ()
{
  run_ctl inflight --json
  [ "$(field '.requests | length')" -eq 1 ]
}
wait_until hangs || fail "nothing is in flight: $(cat out)"
expect 0 '' inflight
grep -Eqx ' +[01] +[0-9]+  read +0  8 KiB  0x[0-9a-f]+ +in flight' out \
  || fail "inflight: $(cat out)"
at_most_columns 80 out
kill "$reader"
wait "$reader" || :
prints '' set irqmode=none

# ---- faults, power ----

prints '' fault list
prints 1 fault add op=write every=2 status=medium
prints 2 fault add op=trim,hang
"$nbdreq" "$uri" write,0,4K,1 write,0,4K,1=EIO write,0,4K,1
prints 'ID  HITS  HELD  RULE
 1     1     0  at=bus,op=write,every=2,status=medium
 2     0     0  at=bus,op=trim,hang' fault list
# Both ids, and then there is no such rule.
prints '' fault del 1 2
prints '' fault list
run_ctl fault del 1
expect_equal "the status of deleting what is not there" "$status" 1
run_ctl fault add op=nothing
expect_equal "the status of a rule that is none" "$status" 1
grep -q '^blkmqctl: fault add: fault=op=nothing: ' err \
  || fail "fault add: $(cat err)"

prints '' power off
expect 0 '' show
grep -qx 'power        off' out || fail "show: $(cat out)"
if "$nbdreq" "$uri" read,0,4K; then
  fail "a disk without power has answered"
fi
expect 0 '' top -d 0.1 -n 1
grep -q '^the power is off' out || fail "top: $(cat out)"
prints '' power on
"$nbdreq" "$uri" check,0,4K,1
stop_server

# ---- several disks ----

start_server size=1M control="$control" \
  export=one submit_queues=2 export=two size=2M
expect 0 '' exports
expect_equal "the disks" "$(sed -n '2,$s/ .*//p' out | sort | tr '\n' ' ')" \
  'one two '
prints 2M --export two get size
expect 0 '' stats --export=one --json
expect_equal "hctxs of one" "$(field '.hctxs | length')" 2
prints '' --export one set iostats=1
prints 0 --export two get iostats
expect 0 '' --export two top -d 0.1 -n 1
grep -q '^two  memory 2 MiB' out || fail "top: $(cat out)"
run_ctl show
expect_equal "the status without a default export" "$status" 1
# Their names are completed.
# shellcheck source=../../src/blkmqctl/completion/blkmqctl
. "$top_srcdir/src/blkmqctl/completion/blkmqctl"
COMP_WORDS=("$ctl" -s "$control" --export t)
COMP_CWORD=4
_blkmqctl
expect_equal "what completes --export t" "${COMPREPLY[*]}" two
