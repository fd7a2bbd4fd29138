#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# blkmqctl tells by its status, and by what it says, a refusal from wrong usage,
# a lost connection and an answer that it does not understand.
# shellcheck source-path=SCRIPTDIR source=functions.sh
top_tests=$(cd "$(dirname "$0")/.." && pwd)
. "$top_tests/blkmqctl/functions.sh"
try="Try 'blkmqctl --help'."

# ---- 0 ----

"$ctl" --help >out || fail "--help fails"
grep -q '^usage: blkmqctl ' out || fail "--help: $(cat out)"
at_most_columns 80 out
[[ $("$ctl" --version) =~ ^blkmqctl\ [0-9.]+$ ]] || fail "--version"

# ---- 1: what the disk refuses, in its words ----

start_peer "$greeting" \
  '= {"settings":[{"key":"mbps","value":"x"}],"id":1,"command":"set"}' \
  '> {"id":1,"ok":false,"error":{"errno":"EINVAL","message":"mbps=x: no"}}' \
  wait
expect 1 'blkmqctl: set: mbps=x: no' set mbps=x
end_peer

# The message may come before all of the request was read.
start_peer "$greeting" \
  '> {"id":null,"ok":false,"error":{"errno":"EMSGSIZE","message":"too long"}}'
expect 1 'blkmqctl: fault add: too long' fault add "$(printf '%070000d' 0)"
end_peer

# What cannot be written was not done.
start_peer "$greeting" '<' \
  '> {"id":1,"ok":true,"result":{"values":{"a":"b"}}}' wait
"$ctl" -s "$control" get a >/dev/full 2>err && fail "writes to /dev/full"
expect_equal "what it says" "$(cat err)" \
  'blkmqctl: cannot write: No space left on device'
end_peer

# ---- 2: usage; nobody is asked ----

control=$tmp/nobody
wrong ()
{
  expect 2 "blkmqctl: $1
$try" "${@:2}"
}
wrong 'say what to do'
wrong "there is no command 'see'" see
wrong 'set: say KEY=VALUE...' set
wrong "stats: 'x' is one argument too many" stats x
wrong "power: 'y' is one argument too many" power on y
wrong 'power: say on|off' power
wrong 'fault: say add, del or list' fault
wrong 'top has no --json' top --json
wrong 'show has no --live' show --live
wrong 'show has no --max' show --max 1
wrong 'stats has no -d and no -n' stats -d 1
wrong '-n 0: must be a whole number from 1' top -n 0
wrong '-n 1x: must be a whole number from 1' top -n 1x
wrong '-n -1: must be a whole number from 1' top -n -1
wrong '--max 99999999999999999999: must be a whole number from 1' \
  inflight --max 99999999999999999999
for delay in 0 0.09 -1 nan inf 3601 1s ''; do
  wrong "-d $delay: must be a number of seconds from 0.1 to 3600" \
    top -d "$delay"
done
expect 2 'blkmqctl: set: mbps: must be KEY=VALUE' set iops=1 mbps
expect 2 'blkmqctl: set: =1: must be KEY=VALUE' set =1
expect 2 "blkmqctl: power: 'of': say on or off" power of
expect 2 "blkmqctl: fault: 'remove': say add, del or list" fault remove
expect 2 'blkmqctl: fault add: say a rule (blkmq-layers(7))' fault add
expect 2 'blkmqctl: fault del: say the id of a rule' fault del
expect 2 "blkmqctl: fault del: x: must be the id of a rule, as fault list has \
it" fault del 1 x
expect 2 "blkmqctl: fault list: 'x' is one argument too many" fault list x
expect 2 'blkmqctl: get: --live is for all keys: name none' get --live size
expect 2 $'blkmqctl: set: a=\xff: not valid UTF-8' set $'a=\xff'
run_ctl --frob show
expect_equal "the status of --frob" "$status" 2
"$ctl" show 2>err && fail "shows nothing of nobody"
expect_equal "what it says without a socket" "$(head -n 1 err)" \
  'blkmqctl: which disk?  Say -s PATH, the control socket, or set BLKMQ_CONTROL'

# ---- 3: no connection ----

expect 3 "blkmqctl: show: cannot connect to $control: No such file or \
directory (a disk makes it when it is served with control=)" show
expect 3 "blkmqctl: top: cannot connect to $control: No such file or directory \
(a disk makes it when it is served with control=)" top
control=$(printf "$tmp/%0100d" 0)
expect 3 "blkmqctl: show: $control: a socket's path has at most 107 bytes" show
control=$tmp/control
# What a server leaves that was killed.
start_peer "$greeting"
kill "$peer_pid"
wait "$peer_pid" || :
expect 3 "blkmqctl: show: cannot connect to $control: Connection refused \
(nobody listens: its disk has ended)" show
rm "$control"

# lost MESSAGE LINE...: after these lines of the peer the connection is lost.
lost ()
{
  start_peer "${@:2}"
  expect 3 "blkmqctl: stats: $control: $1" stats
  end_peer
}
gone='the connection is lost: the other side has closed it'
lost "$gone" '+ {"blkmq":"9"'
lost "$gone" "$greeting" '<'
lost "$gone" "$greeting" '<' '+ {"id":1,"ok":true,'
lost 'there is no place for one more' \
  '> {"id":null,"ok":false,"error":{"errno":"EBUSY",'\
'"message":"there is no place for one more"}}'

# ---- 4: not understood ----

# strange COMMAND MESSAGE LINE...
strange ()
{
  start_peer "${@:3}"
  expect 4 "blkmqctl: $1: $control: $2" "$1"
  end_peer
}
answer ()
{
  printf '> {"id":1,"ok":true,"result":%s}' "$1"
}
strange stats 'this is not a blkmq control socket' '> {"hello":"world"}'
strange stats 'this is not a blkmq control socket' '> [1]'
strange stats "what was received is not JSON: '[' or '{' expected near 'SSH'" \
  '> SSH-2.0'
strange stats "blkmq 2.0 speaks version 2 of the control protocol; this \
$("$ctl" --version | sed 's/ /, /'), knows 1" '> {"blkmq":"2.0","protocol":2}'
strange stats "what was received is not JSON: string or '}' expected near 'x'" \
  "$greeting" '<' '> {x'
strange stats 'an answer to something else' "$greeting" '<' \
  '> {"id":7,"ok":true,"result":{}}'
strange stats 'an answer to something else' "$greeting" '<' \
  '> {"ok":true,"result":{}}'
strange stats \
  'the answer to stats is not understood: Object item not found: ok' \
  "$greeting" '<' '> {"id":1}'
strange stats \
  'the answer to stats is not understood: Object item not found: error' \
  "$greeting" '<' '> {"id":1,"ok":false}'
strange stats \
  'the answer to stats is not understood: Object item not found: result' \
  "$greeting" '<' '> {"id":1,"ok":true}'
strange stats \
  'the answer to stats is not understood: there is no array "hctxs"' \
  "$greeting" '<' "$(answer '{}')"
strange exports \
  'the answer to exports is not understood: there is no array "exports"' \
  "$greeting" '<' "$(answer '{"exports":{}}')"
strange show \
  'the answer to show is not understood: there is no array "keys"' \
  "$greeting" '<' "$(answer '{}')"
strange inflight \
  "the answer to inflight is not understood: Expected true or false, got \
integer" \
  "$greeting" '<' "$(answer '{"more":1}')"
strange top \
  'the answer to show is not understood: Object item not found: name' \
  "$greeting" '<' "$(answer '{}')"
start_peer "$greeting" '<' "$(answer '{"values":{"a":1}}')"
expect 4 "blkmqctl: get: $control: the answer to get is not understood: \
Expected string, got integer" get a
end_peer
