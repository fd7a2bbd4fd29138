#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# --stdio: one client on standard input and output, a socket or two pipes: it is
# served as any other, nothing else is written there, whoever stops reading is
# waited for, and blkmqd ends when the client has gone.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo nbdcopy socat perl cmp
requires_nbdreq
choose_seed

# ---- as libnbd starts a server ----

"$nbdreq" [ "$blkmqd" --stdio 1M ] \
  size,1M write,0,4K,7 check,0,4K,7 flush >said 2>&1 \
  || fail "nbdreq: $(cat said)"

# ---- two pipes, or one socket, with a client that has neither ----

# between KIND ARGUMENT...: socat listens at sock, and starts blkmqd --stdio
# with KIND: ",pipes", or nothing for a socket.  Sets log.  The status goes to
# the file status, and the process id to p.
between ()
{
  local kind=$1

  shift
  nr_servers=$((nr_servers + 1))
  sock=$tmp/sock-$nr_servers
  uri="nbd+unix:///?socket=$sock"
  log=$tmp/nbdkit-$nr_servers.log
  rm -f p status
  # socat sends SIGTERM when its client has gone, and blkmqd may do without.
  echo 'trap : TERM' >serve
  printf '%q ' "$blkmqd" --stdio --pidfile=p "$@" >>serve
  printf '2>%q; echo $? >status\n' "$log" >>serve
  socat UNIX-LISTEN:"$sock" EXEC:"bash serve$kind" 2>socat.log &
  socat=$!
  wait_until test -S "$sock" || fail "socat does not listen: $(cat socat.log)"
}

# blkmqd has, by itself.
ended ()
{
  wait_until test -s status || fail "blkmqd does not end"
  expect_equal "the status of blkmqd ($(cat "$log"))" "$(cat status)" 0
  is_clean p
  wait "$socat" || :
}

sparse_image image 16M "$seed"
for kind in ,pipes ''; do
  between "$kind" 16M --log-level=debug
  nbdcopy --connections=1 image "$uri" || fail "nbdcopy, '$kind'"
  ended
  between "$kind" 1M
  expect_equal "the size, '$kind'" "$(nbdinfo --size "$uri")" 1048576
  ended
done
# There and back in one connection.
between ,pipes 16M
/usr/bin/env perl - "$sock" image <<'END' || fail "not what was written"
use strict; use warnings; use IO::Socket::UNIX;
my $s = IO::Socket::UNIX->new (Peer => $ARGV[0]) or die "$!\n";
open (my $f, '<:raw', $ARGV[1]) or die; local $/; my $image = <$f>;
sub put { my $n = 0; while ($n < length ($_[0])) {
  $n += syswrite ($s, $_[0], length ($_[0]) - $n, $n) // die "$!\n" } }
sub get { my $b = ''; while (length ($b) < $_[0]) {
  sysread ($s, $b, $_[0] - length ($b), length ($b)) or die "the end\n" } $b }
get (18); put (pack ('N a8 N N', 3, 'IHAVEOPT', 1, 0)); get (10);
put (pack ('N n n Q> Q> N', 0x25609513, 0, 1, 1, 0, length ($image)) . $image);
get (16) eq pack ('N N Q>', 0x67446698, 0, 1) or die "write\n";
put (pack ('N n n Q> Q> N', 0x25609513, 0, 0, 2, 0, length ($image)));
get (16) eq pack ('N N Q>', 0x67446698, 0, 2) or die "read\n";
get (length ($image)) eq $image or die "differs\n";
put (pack ('N n n Q> Q> N', 0x25609513, 0, 2, 3, 0, 0));
sysread ($s, my $x, 1) and die "not the end\n";
END
ended

# ---- who stops reading, and who goes ----

for kind in ,pipes ''; do
  # All that was asked for comes, however late.
  between "$kind" 1M --max-buffers=4M --max-request=1M --threads=1
  start_client
  tell greedy
  tell leave
  tell all end
  end_client
  ended

  # The end without a farewell.
  between "$kind" 1M
  start_client
  tell last
  tell end
  end_client
  ended

  # Killed.
  between "$kind" 1M fault=op=read,hang
  start_client
  tell read
  kill -KILL "$client"
  wait "$client" 2>/dev/null || :
  exec 3>&-
  ended

  # Told to end.
  between "$kind" 1M
  start_client
  wait_until test -s p || fail "no pidfile"
  kill "$(cat p)"
  tell end
  end_client
  ended
  log_has 'SIGTERM: ending; connections: 1' || fail "no word of SIGTERM"

  # Told to end, and nobody reads.
  between "$kind" 1M --max-buffers=64M --threads=1 --drain-timeout=50ms
  start_client
  tell greedy
  wait_until test -s p || fail "no pidfile"
  kill "$(cat p)"
  ended
  log_has '(--drain-timeout)' || fail "no word of the time: $(cat "$log")"
  exec 3>&-
  wait "$client" || :
done

# SIGHUP, and what is open: stdin and stdout are nobody's.
between ,pipes 1M
start_client
wait_until test -s p || fail "no pidfile"
server=$(cat p)
kill -HUP "$server"
wait_until log_has 'SIGHUP: there is nothing to be' || fail "no word of SIGHUP"
for fd in 0 1; do
  expect_equal "descriptor $fd" "$(readlink "/proc/$server/fd/$fd")" /dev/null
done
tell read reply leave end
end_client
ended

# Nobody reads any more: found out when something is written.
mkfifo in
rm -f status
{
  status=0
  "$blkmqd" --stdio 1M <in 2>err || status=$?
  echo "$status" >status
} | head -c 18 >greeting &
exec 4>in
wait_until test -s greeting || fail "no greeting: $(cat err)"
printf '\0\0\0\3IHAVEOPT\0\0\0\3\0\0\0\0' >&4
wait_until test -s status || fail "nobody reads, and blkmqd does not end"
expect_equal "the status when nobody reads" "$(cat status)" 0
exec 4>&-

# ---- files ----

perl -e 'print pack ("N a8 N N", 3, "IHAVEOPT", 1, 0);
  print pack ("N n n Q> Q> N", 0x25609513, 0, @$_)
    for [0, 1, 0, 512], [3, 2, 0, 0], [2, 3, 0, 0]' >requests
"$blkmqd" --stdio 1M <requests >answers 2>err || fail "files: $(cat err)"
expect_equal "the bytes that answer" "$(wc -c <answers)" \
  $((18 + 10 + 16 + 512 + 16))
"$blkmqd" --stdio 1M </dev/null >answers 2>err || fail "nothing: $(cat err)"
expect_equal "the bytes that answer nothing" "$(wc -c <answers)" 18

# ---- inetd has stderr there, too ----

# What is wrong is not told to the client.
expect_equal "what the client reads" \
  "$(socat - EXEC:"$blkmqd --stdio --frob",stderr </dev/null 2>socat.log)" ''
expect_equal "what the client reads" \
  "$(socat - EXEC:"$blkmqd --stdio 1M driver=none",stderr </dev/null \
     2>socat.log)" ''

# ---- what cannot be served ----

refuses 2 '--stdio: there is one client' --stdio --unix s 1M
refuses 2 '--stdio: there is one client' --stdio --tcp 127.0.0.1:0 1M
refuses 2 '--stdio: there is one client' --stdio --run true 1M
status=0
"$blkmqd" --stdio 1M <. >out 2>err || status=$?
expect_equal "the status with a directory" "$status" 1
grep -q 'error: --stdio: standard input is a directory; must be' err \
  || fail "a directory: $(cat err)"
perl -MSocket -MPOSIX -e 'socket (my $s, PF_UNIX, SOCK_STREAM, 0) or die;
  bind ($s, pack_sockaddr_un ("wait")) or die; listen ($s, 1) or die;
  POSIX::dup2 (fileno ($s), $_) // die for 0, 1; exec @ARGV' \
  "$blkmqd" --stdio 1M 2>err && fail "a socket that listens is served"
grep -q 'standard input is a Unix socket that listens; must be' err \
  || fail "a socket that listens: $(cat err)"
requires script
script -qec "exec '$blkmqd' --stdio 1M" /dev/null </dev/null >out 2>&1 \
  && fail "a terminal is served"
grep -q 'standard input is a terminal, or standard output is; must be' out \
  || fail "a terminal: $(cat out)"
