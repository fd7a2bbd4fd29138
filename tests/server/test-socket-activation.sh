#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Sockets that somebody else has opened, as systemd does for a service: they are
# served, with others or alone, and left where they are; what cannot be served
# is refused by its number, its name and what it is; and --run's command sees
# nothing of it all.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo nbdcopy perl cmp
choose_seed
requires_systemd

pass=$top_srcdir/tests/server/pass.pl

# launch_passed KIND... -- ARGUMENT...: as start_blkmqd does, but with sockets.
launch_passed ()
{
  nr_servers=$((nr_servers + 1))
  log=$tmp/nbdkit-$nr_servers.log
  out=$tmp/out-$nr_servers
  pidfile=$tmp/pid-$nr_servers
  local kinds=()
  while [ "$1" != -- ]; do
    kinds+=("$1")
    shift
  done
  shift
  perl "$pass" "${kinds[@]}" -- "$blkmqd" --pidfile="$pidfile" "$@" \
    >"$out" 2>"$log" </dev/null &
  pid=$!
  servers+=("$pid")
  wait_until serves_or_is_gone || fail "blkmqd $* does not begin to serve"
}

# ---- served, and left ----

launch_passed unix:"$tmp/s=front" abstract:"blkmqd-$$" tcp -- 1M --unix own
port=$(sed -n 's/^port //p' "$log")
for uri in "nbd+unix:///?socket=$tmp/s" "nbd://127.0.0.1:$port"; do
  log_has "blkmqd: fd [35]: $uri\$" || fail "no $uri in: $(cat "$log")"
  expect_equal "the size at $uri" "$(nbdinfo --size "$uri")" 1048576
done
log_has 'fd 4: an abstract socket' || fail "no abstract socket: $(cat "$log")"
# stdout is left to who has passed them.
expect_equal "stdout" "$(cat "$out")" "nbd+unix:///?socket=$tmp/own"
expect_equal "the size at its own" \
  "$(nbdinfo --size "nbd+unix:///?socket=$tmp/own")" 1048576
perl -MSocket -e 'socket (my $s, PF_UNIX, SOCK_STREAM, 0) or die;
  connect ($s, pack ("S a*", AF_UNIX, "\0blkmqd-$ARGV[0]")) or die "$!\n";
  sysread ($s, $x, 8) == 8 && $x eq "NBDMAGIC" or die "not greeted\n"' $$ \
  || fail "the abstract socket"
stop_blkmqd
[ -S s ] || fail "a socket that was passed is removed"
is_clean own
rm s

# Who may connect is asked here, too; one list does not shut the other kind out.
launch_passed unix:"$tmp/s" tcp -- 1M --allow-from=127.0.0.1
port=$(sed -n 's/^port //p' "$log")
for uri in "nbd+unix:///?socket=$tmp/s" "nbd://127.0.0.1:$port"; do
  expect_equal "the size at $uri" "$(nbdinfo --size "$uri")" 1048576
done
stop_blkmqd
rm s
launch_passed unix:"$tmp/s" tcp -- 1M --allow-from=192.0.2.1 --allow-uid=4000000
port=$(sed -n 's/^port //p' "$log")
for uri in "nbd+unix:///?socket=$tmp/s" "nbd://127.0.0.1:$port"; do
  ! nbdinfo --size "$uri" >said 2>&1 || fail "anybody is let in at $uri"
done
wait_until log_has 'refused: the address is not in --allow-from$' \
  || fail "the address: $(cat "$log")"
wait_until log_has 'refused: the user .* is not in --allow-uid$' \
  || fail "the user: $(cat "$log")"
stop_blkmqd
rm s

# Also when it ends at once.
launch_passed unix:"$tmp/s" -- 1M fault=op=read,hang --drain-timeout=0 \
  --unix own
sock=$tmp/s
start_client
tell read
kill "$pid"
wait_until log_has 'SIGTERM: ending; connections: 1' || fail "no word of it"
kill "$pid"
ends_with 143
end_client
[ -S s ] || fail "a socket that was passed is removed at once"
is_clean own
rm s

# IPv6, where there is any.
if perl -MSocket=:all -e 'socket (my $s, AF_INET6, SOCK_STREAM, 0) or exit 1;
     bind ($s, sockaddr_in6 (0, IN6ADDR_LOOPBACK)) or exit 1'; then
  launch_passed tcp6 -- 1M export=a/b
  port=$(sed -n 's/^port //p' "$log")
  log_has "fd 3: nbd://\[::1\]:$port/a/b\$" || fail "IPv6: $(cat "$log")"
  expect_equal "the size over IPv6" \
    "$(nbdinfo --size "nbd://[::1]:$port/a/b")" 1048576
  stop_blkmqd
fi

# ---- --run ----

# shellcheck disable=SC2016
perl "$pass" unix:"$tmp/s" -- "$blkmqd" 1M --run \
  'env >environment; ls -l /proc/self/fd >descriptors; nbdinfo --size "$uri"' \
  >out || fail "--run with a socket that was passed"
expect_equal "what --run sees" "$(cat out)" 1048576
! grep -e '^LISTEN_' environment || fail "--run has LISTEN_*"
! grep -e 'socket:' descriptors || fail "--run has a socket: $(cat descriptors)"
grep -q "^uri=nbd+unix:///?socket=$tmp/s\$" environment \
  || fail "--run's uri: $(cat environment)"
rm s

# Somebody else's: that process has another number.
status=0
LISTEN_FDS=1 LISTEN_PID=1 "$blkmqd" 1M >out 2>err || status=$?
expect_equal "the status with another one's sockets" "$status" 2
grep -q 'nobody could connect' err || fail "another one's: $(cat err)"

# ---- what cannot be served ----

listens='must be a Unix or TCP socket that listens'
while read -r kind what; do
  status=0
  perl "$pass" unix:"$tmp/s=good" "$kind=bad" -- "$blkmqd" 1M \
    >out 2>err || status=$?
  expect_equal "the status with $kind" "$status" 1
  grep -qF "error: fd 4, which was passed as bad: is $what; $listens" err \
    || fail "$kind: $(cat err)"
  [ -S s ] || fail "$kind: the other one is removed"
  rm s
done <<'END'
pipe a pipe
file a file
dgram a Unix datagram socket
udp a UDP socket
unbound a socket that neither listens nor is connected
connected a connected Unix socket
END
# shellcheck disable=SC2016
status=0
sh -c 'LISTEN_FDS=x LISTEN_PID=$$ exec "$@"' sh "$blkmqd" 1M \
  >out 2>err || status=$?
expect_equal "the status with LISTEN_FDS=x" "$status" 1
grep -q 'error: LISTEN_FDS=x, LISTEN_FDNAMES=: invalid' err \
  || fail "LISTEN_FDS=x: $(cat err)"

# ---- a connection ----

# It is served alone, and blkmqd ends with it.
perl "$pass" connected=client -- "$blkmqd" 1M >out 2>err \
  || fail "a connection: $(cat err)"
grep -q '^greeted' err || fail "the connection was not served: $(cat err)"
[ ! -s out ] || fail "something is printed: $(cat out)"

# ---- who uses it ----

sparse_image image 16M "$seed"
nbdcopy image -- [ "$blkmqd" 16M ] || fail "nbdcopy to blkmqd"
expect_equal "the size that nbdinfo prints, alone" \
  "$(nbdinfo --size -- [ "$blkmqd" 64M ])" 67108864
if command -v systemd-socket-activate >/dev/null; then
  log=$tmp/nbdkit-activated.log
  systemd-socket-activate -l "$tmp/s" --fdname=front "$blkmqd" 16M \
    >out 2>"$log" </dev/null &
  pid=$!
  servers+=("$pid")
  wait_until log_has 'Listening on' || fail "nobody listens: $(cat "$log")"
  uri="nbd+unix:///?socket=$tmp/s"
  nbdcopy image "$uri" || fail "nbdcopy to systemd-socket-activate"
  nbdcopy "$uri" back || fail "nbdcopy back"
  cmp image back || fail "the copy differs"
  stop_blkmqd

  # A server for each connection.
  rm s
  log=$tmp/nbdkit-accepting.log
  systemd-socket-activate --accept -l "$tmp/s" "$blkmqd" 16M \
    >out 2>"$log" </dev/null &
  pid=$!
  wait_until log_has 'Listening on' || fail "nobody listens: $(cat "$log")"
  expect_equal "the size, once" "$(nbdinfo --size "$uri")" 16777216
  expect_equal "the size, again" "$(nbdinfo --size "$uri")" 16777216
  wait_until log_has_times 'died with code 0' 2 \
    || fail "servers do not end: $(cat "$log")"
  kill "$pid"
  wait "$pid" || :
fi
