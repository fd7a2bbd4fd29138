#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# --run: a command is served, with $uri and others in its environment; its exit
# status becomes blkmqd's; nothing is left behind; and it is told when blkmqd is
# told to end.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo nbdcopy cmp
requires_nbdreq
choose_seed

# ---- what it finds ----

sparse_image image 16M "$seed"
# shellcheck disable=SC2016 # for the command
"$blkmqd" 16M --run 'nbdcopy image "$uri" && nbdcopy "$uri" back' \
  || fail "nbdcopy under --run"
cmp image back || fail "the copy differs"

# shellcheck disable=SC2016
show='printf "%s\n" "$uri" "$unixsocket" "$port" "$exportname" end'
expect_equal "the variables of a Unix socket" \
  "$("$blkmqd" 1M --unix s --tcp 127.0.0.1:0 --run "$show")" \
  "nbd+unix:///?socket=$tmp/s
$tmp/s


end"
port=inherited "$blkmqd" 1M export=a/b export=c --tcp 127.0.0.1:0 \
  --run "$show" >out || fail "--run with TCP"
{
  read -r uri
  read -r path
  read -r port
  read -r name
} <out
expect_equal "the URI" "$uri" "nbd://127.0.0.1:$port/a/b"
[[ $port =~ ^[1-9][0-9]*$ ]] || fail "the port is '$port'"
expect_equal "the path" "$path" ''
expect_equal "the export" "$name" a/b

# A socket of its own, for nobody else, and gone afterwards.
# shellcheck disable=SC2016
"$blkmqd" 1M --run \
  'echo "$unixsocket" && stat -c %a "$(dirname "$unixsocket")"' >out
{
  read -r path
  read -r mode
} <out
expect_equal "the mode of the directory" "$mode" 700
is_clean "$(dirname "$path")"

# stdin and stdout are the command's alone; and what blkmqd does to its process
# is not seen.
expect_equal "what goes through" \
  "$(echo through | "$blkmqd" 1M --run cat)" through
expect_equal "the limit of descriptors" \
  "$(ulimit -Sn 100; "$blkmqd" 1M --run 'ulimit -n')" 100
expect_equal "the descriptors" "$("$blkmqd" 1M control=control \
  --tcp 127.0.0.1:0 --pidfile p --run 'exec ls /proc/self/fd' | tr '\n' ' ')" \
  "$(sh -c 'exec ls /proc/self/fd' | tr '\n' ' ')"

# ---- its end ----

ends ()
{
  run_blkmqd 1M --unix s --pidfile p control=control --run "$2"
  expect_equal "the status of --run '$2'" "$status" "$1"
  is_clean s p control
}
ends 0 'test -S s && test -s p && test -S control'
ends 3 'exit 3'
# shellcheck disable=SC2016
ends 137 'kill -KILL $$'
# Signals are not blocked and not ignored, as blkmqd has them.
for signal in PIPE TERM INT; do
  ends $((128 + $(kill -l "$signal"))) "kill -$signal "'$$; exit 0'
done
ends 127 './no-such-command 2>/dev/null'

# A client that it leaves is cut off.
mkfifo hold
exec 3<>hold
export nbdreq
# shellcheck disable=SC2016
ends 4 '"$nbdreq" "$uri" read,0,4K hold <hold >held 2>&1 &
        until grep -q read held; do sleep 0.02; done; exit 4' 3>&-
exec 3>&-
grep -q '^read,0,4K: ok' held || fail "the client left behind: $(cat held)"

# ---- when blkmqd is told ----

launch 1M --unix "$tmp/s" --run \
  'trap "echo told; exit 7" TERM; echo runs; while :; do sleep 0.05; done'
wait_until grep -q runs "$out" || fail "the command does not run"
kill "$pid"
ends_with 7
grep -q told "$out" || fail "the command was not told"

# A command that goes on is waited for.
mkfifo go
launch 1M --unix "$tmp/s" --run 'trap "" TERM; echo runs; cat <go; exit 8'
wait_until grep -q runs "$out" || fail "the command does not run"
kill "$pid"
wait_until log_has 'SIGTERM: ending' || fail "no word of the signal"
echo over >go
ends_with 8
grep -q over "$out" || fail "the command was not waited for"
