#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Who may connect: users, groups and addresses that are listed and nobody else;
# who is refused has not a byte, does not count, and is named in the log, in a
# flood only by number; and who is served does not notice.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo nbdcopy cmp perl id
requires_nbdreq
choose_seed

# What other users' clients need.
chmod 711 "$tmp"
cp "$top_srcdir/tests/server/knock.pl" .
umask 0

me=$(id -u)
name=$(id -un)
group=$(id -g)
other=$((me == 4242 ? 4243 : 4242)) # some other user, and group
! id -G | grep -qw "$other" || skip "this user is in group $other"

# knocks GREETED CLOSED COMMAND...: the client says so.  Sets knocker, its
# process id.
knocks ()
{
  local said

  said=$("${@:3}") || fail "${*:3}: cannot connect"
  knocker=${said%% *}
  expect_equal "what became of ${*:3}" "${said#* }" "greeted $1 closed $2"
}

# let_in PATH, kept_out PATH TEXT: this user is, and the log has the text.
let_in ()
{
  knocks 1 0 perl knock.pl "$1"
}
kept_out ()
{
  knocks 0 1 perl knock.pl "$1"
  # Exactly the name that the system has.
  grep -qxF "blkmqd: warning: unix:pid $knocker uid $me: refused: $2" "$log" \
    || fail "no '$2' of $knocker in: $(cat "$log")"
}

# As nobody, and with others' groups, root alone can be.
as ()
{
  local user=$1 group=$2 groups=$3

  shift 3
  if [ -n "$groups" ]; then
    setpriv --reuid="$user" --regid="$group" --groups="$groups" "$@"
  else
    setpriv --reuid="$user" --regid="$group" --clear-groups "$@"
  fi
}
if [ "$me" -eq 0 ]; then
  requires setpriv
else
  echo "not root: other users and their groups are not tried"
fi

# ---- users ----

start_blkmqd 1M
let_in "$sock"
stop_blkmqd

for list in "--allow-uid=$me" "--allow-uid=$name" "--allow-uid=$other,$me" \
            "--allow-uid=$other --allow-uid=$name"; do
  # shellcheck disable=SC2086 # options are words
  start_blkmqd 1M $list
  let_in "$sock"
  ! log_has refused || fail "$list: $(cat "$log")"
  if [ "$me" -eq 0 ]; then
    knocks 0 1 as 65534 65534 '' perl knock.pl "$sock"
    log_has "unix:pid $knocker uid 65534: refused: the user[ a-z]* is not in" \
      || fail "no word of the other user: $(cat "$log")"
    # Groups do not help.
    knocks 0 1 as 65534 "$other" "$me,$other" perl knock.pl "$sock"
    knocks $(($([[ $list = *"$other"* ]] && echo 1 || echo 0))) \
      $(($([[ $list = *"$other"* ]] && echo 0 || echo 1))) \
      as "$other" 65534 '' perl knock.pl "$sock"
  fi
  stop_blkmqd
done

start_blkmqd 1M --allow-uid="$other"
kept_out "$sock" "the user $name is not in --allow-uid"
! nbdinfo "$uri" >info 2>&1 || fail "a client is served: $(cat info)"
stop_blkmqd

# The socket that --run makes has the same clients.
# shellcheck disable=SC2016 # for the command
expect_equal "who is let in under --run" \
  "$("$blkmqd" 1M --allow-uid="$name" --run 'nbdinfo --size "$uri"')" 1048576
# shellcheck disable=SC2016
! "$blkmqd" 1M --allow-uid="$other" --run 'nbdinfo --size "$uri"' \
  >run 2>&1 || fail "served under --run: $(cat run)"
grep -q 'refused: the user .* is not in --allow-uid$' run \
  || fail "no word of it: $(cat run)"

# ---- groups ----

start_blkmqd 1M --allow-gid="$group"
let_in "$sock"
if [ "$me" -eq 0 ]; then
  knocks 1 0 as 65534 "$group" '' perl knock.pl "$sock"
  knocks 1 0 as 65534 65534 "1,$group,2" perl knock.pl "$sock"
  knocks 0 1 as 65534 65534 '1,2' perl knock.pl "$sock"
  knocks 0 1 as "$me" 65534 '' perl knock.pl "$sock"
  log_has "uid $me: refused: the user $name is not in a group of --allow-gid" \
    || fail "no word of the group: $(cat "$log")"
fi
stop_blkmqd

for gid in $(id -G); do
  start_blkmqd 1M --allow-gid="$other,$gid"
  let_in "$sock"
  stop_blkmqd
done

start_blkmqd 1M --allow-gid="$other"
kept_out "$sock" "the user $name is not in a group of --allow-gid"
stop_blkmqd

# One of the lists is enough.
start_blkmqd 1M --allow-gid="$other" --allow-uid="$me"
let_in "$sock"
stop_blkmqd
start_blkmqd 1M --allow-gid="$group" --allow-uid="$other"
let_in "$sock"
stop_blkmqd
start_blkmqd 1M --allow-gid="$other" --allow-uid="$other"
kept_out "$sock" \
  "the user $name is neither in --allow-uid nor in a group of --allow-gid"
stop_blkmqd

# ---- addresses ----

# start_tcp HOST ARGUMENT...: sets port.
start_tcp ()
{
  launch 1M --tcp="$1:0" "${@:2}"
  wait_until serves_or_is_gone || fail "blkmqd ${*:2} does not begin to serve"
  [ -s "$pidfile" ] || fail "blkmqd ${*:2}: $(cat "$log")"
  uri=$(cat "$out")
  port=${uri##*:}
}

# All of 127.0.0.0/8 is this machine.
start_tcp 127.0.0.1 --allow-from=127.0.0.1
knocks 1 0 perl knock.pl "127.0.0.1:$port" 1 127.0.0.1
knocks 0 1 perl knock.pl "127.0.0.1:$port" 1 127.0.0.2
log_has 'warning: 127\.0\.0\.2:[0-9]*: refused: the address is not in --al' \
  || fail "no word of 127.0.0.2: $(cat "$log")"
nbdinfo --size "$uri" >/dev/null || fail "nobody is served"
stop_blkmqd

start_tcp 127.0.0.1 --allow-from=10.0.0.0/8,127.0.0.2/31 --allow-from=::1
for last in 2 3; do
  knocks 1 0 perl knock.pl "127.0.0.1:$port" 1 "127.0.0.$last"
done
for last in 1 4; do
  knocks 0 1 perl knock.pl "127.0.0.1:$port" 1 "127.0.0.$last"
done
stop_blkmqd

# Users are not looked at here, and addresses not at the other socket.
sock=$tmp/both
start_tcp 127.0.0.1 --allow-uid="$other" --allow-from=127.0.0.0/8 \
  --unix="$sock"
port=$(sed -n 's|^nbd://.*:||p' "$out")
knocks 1 0 perl knock.pl "127.0.0.1:$port"
kept_out "$sock" "the user $name is not in --allow-uid"
stop_blkmqd
start_tcp 127.0.0.1 --allow-from=192.0.2.1 --unix="$sock"
port=$(sed -n 's|^nbd://.*:||p' "$out")
knocks 0 1 perl knock.pl "127.0.0.1:$port"
let_in "$sock"
stop_blkmqd

if has_ipv6; then
  start_tcp '[::1]' --allow-from=::1
  knocks 1 0 perl knock.pl "[::1]:$port"
  stop_blkmqd
  start_tcp '[::1]' --allow-from=127.0.0.1,0.0.0.0/0,::2,fd00::/8
  knocks 0 1 perl knock.pl "[::1]:$port"
  log_has 'warning: \[::1\]:[0-9]*: refused: the address is not in' \
    || fail "no word of ::1: $(cat "$log")"
  stop_blkmqd
else
  echo "there is no IPv6 here: ::1 is not tried"
fi

# ---- nobody is kept from the port ----

warning='warning: whoever reaches the TCP port has the disks'
start_tcp '*'
expect_equal "the number of warnings" "$(grep -c "$warning" "$log")" 1
stop_blkmqd
start_tcp '*' --allow-from=127.0.0.0/8,::1
! log_has "$warning" || fail "warns of a list: $(cat "$log")"
stop_blkmqd
for host in 127.0.0.1 127.0.0.2 localhost; do
  start_tcp "$host"
  ! log_has "$warning" || fail "warns of $host: $(cat "$log")"
  stop_blkmqd
done

# ---- a flood ----

# There is room for these two only.
start_tcp 127.0.0.1 --unix="$tmp/flooded" --max-connections=2 \
  --allow-from=127.0.0.1 --threads=1
uri="nbd+unix:///?socket=$tmp/flooded"
port=$(sed -n 's|^nbd://.*:||p' "$out")
mkfifo hold
# shellcheck disable=SC2094 # a verb, and a file
"$nbdreq" "$uri" write,0,4K,0x5a hold check,0,4K,0x5a <hold >held 2>&1 &
before=$!
exec 3>hold
wait_until grep -q write held || fail "no connection: $(cat held)"
nr=1000
began=$(uptime_cs)
(knocks 0 "$nr" perl knock.pl "127.0.0.1:$port" "$nr" 127.0.0.2) 3>&- &
flood=$!
sparse_image image 1M "$seed"
while
  nbdcopy --connections=1 image "$uri" || fail "the copy to the server"
  nbdcopy --connections=1 "$uri" copy || fail "the copy from the server"
  cmp image copy || fail "the copy differs"
  ! is_gone "$flood"
do :; done
wait "$flood" || fail "not all of the flood were refused"
"$nbdreq" "$uri" write,0,4K,0x5a || fail "nobody is served any more"
exec 3>&-
wait "$before" || fail "the first client was disturbed: $(cat held)"
! log_has 'connections already' || fail "the refused counted: $(cat "$log")"
stop_blkmqd
# Each was told of, by itself or in a number; and there are ten lines in ten
# seconds at most, however long it has taken.
singles=$(grep -c 'refused: the address is not in --allow-from$' "$log")
hidden=$(sed -n 's/^blkmqd: warning: \([0-9]*\) more w[a-z]* refused.*/\1/p' \
           "$log")
[ -n "$hidden" ] || fail "$singles lines, and no number"
expect_equal "all who were told of" "$((singles + ${hidden//$'\n'/+}))" "$nr"
most=$((10 * (($(uptime_cs) - began) / 1000 + 2)))
[ "$singles" -le "$most" ] || fail "$singles lines, more than $most"
