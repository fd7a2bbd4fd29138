#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What blkmqctl sends for each command, to the letter, and what it prints of
# answers that a small disk does not give.
# shellcheck source-path=SCRIPTDIR source=functions.sh
top_tests=$(cd "$(dirname "$0")/.." && pwd)
. "$top_tests/blkmqctl/functions.sh"
requires jq

# sends REQUEST RESULT PRINTED ARGUMENT...: REQUEST is without id and command.
sends ()
{
  start_peer "$greeting" "= {$1}" "> {\"id\":1,\"ok\":true,\"result\":$2}" wait
  prints "$3" "${@:4}"
  end_peer
}

# What changes something says nothing.
sends '"settings":[{"key":"mbps","value":"10"},{"key":"a","value":"b=c"}],'\
'"id":1,"command":"set"' '{}' '' set mbps=10 a=b=c
sends '"settings":[{"key":"a","value":""}],"id":1,"command":"set","export":"x"'\
  '{}' '' --export x set a=
sends '"on":false,"id":1,"command":"power"' '{}' '' power off
sends '"on":true,"id":1,"command":"power"' '{}' '' power on
sends '"id":1,"command":"unfreeze"' '{}' '' unfreeze
sends '"id":1,"command":"reset-stats"' '{}' '' reset-stats
sends '"id":1,"command":"freeze"' '{"held":[],"nr_held":0}' '' freeze
sends '"id":1,"command":"freeze"' '{"held":["0x12","0x34"],"nr_held":2}' \
'0x12 is still with the driver, after a timeout
0x34 is still with the driver, after a timeout' freeze
sends '"fault":7,"id":1,"command":"fault-delete"' '{}' '' fault del 7

# The parts of a rule may be arguments of their own.
sends '"rule":"op=read,every=3","id":1,"command":"fault-add"' '{"fault":12}' \
  12 fault add op=read every=3
sends '"id":1,"command":"fault-list"' '{"faults":[]}' '' fault list
sends '"id":1,"command":"fault-list"' \
  '{"faults":[{"fault":1,"rule":"op=read","hits":1234,"held":0},'\
'{"fault":12,"rule":"op=any,hang","hits":1,"held":1}]}' \
'ID   HITS  HELD  RULE
 1  1,234     0  op=read
12      1     1  op=any,hang' fault list

# One value alone, of several each with its key, in the order asked for.
sends '"keys":["a"],"id":1,"command":"get"' '{"values":{"a":"x y"}}' 'x y' get a
sends '"keys":["b","a"],"id":1,"command":"get"' '{"values":{"a":"1","b":""}}' \
'b=
a=1' get b a

sends '"id":1,"command":"exports"' \
  '{"exports":[{"name":"","description":"one","size_bytes":1073741824},'\
'{"name":"log","description":"two","size_bytes":512}]}' \
'NAME        SIZE  DESCRIPTION
(default)  1 GiB  one
log        512 B  two' --export ignored exports

# request STATE HELD ENDED TIMED_OUT
request ()
{
  printf '{"handle":"0x1a","op":"read","offset_bytes":4096,"bytes":8192,'
  printf '"hctx":3,"tag":17,"state":"%s","held":%s,"ended":%s,' "${@:1:3}"
  printf '"timed_out":%s}' "$4"
}
sends '"id":1,"command":"inflight"' '{"requests":[],"more":false}' '' inflight
sends '"max":3,"id":1,"command":"inflight"' \
  "{\"requests\":[$(request in_flight true false false),\
$(request queued false false false),$(request in_flight true true true)],\
\"more\":true}" \
'HCTX  TAG  OP    OFFSET   SIZE  HANDLE  STATE
   3   17  read    4096  8 KiB  0x1a    in flight
   3   17  read    4096  8 KiB  0x1a    queued
   3   17  read    4096  8 KiB  0x1a    timed out, held
and more than these 3 (see --max)' inflight --max 3

# --json: the result, with members that this program does not know.
start_peer "$greeting" '<' \
  '> {"id":1,"ok":true,"result":{"faults":[],"new":{"b":1.5,"a":null}}}' wait
run_ctl --json fault list
expect_equal "the result" "$(jq -c . out)" \
  '{"faults":[],"new":{"b":1.5,"a":null}}'
end_peer

# An answer may come in pieces, together with what is not asked for yet.
start_peer "$greeting" '<' '+ {"id":1,"ok":t' '+ rue,"result":{"values":' \
  '> {"a":"1"}}}' '> {"id":2}' wait
prints 1 get a
end_peer
