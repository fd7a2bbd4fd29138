#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Without descriptors for more connections blkmqd refuses clients, says so once,
# serves those that it has, and takes new ones when there is room again.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo perl
requires_nbdreq

# crowd PATH N: N connections; prints how many were closed by the server, and
# holds the others until stdin ends.
cat >crowd.pl <<'PERL'
use strict;
use warnings;
use IO::Socket::UNIX;
use IO::Handle;

my ($path, $nr) = @ARGV;
my @sockets;
for (1 .. $nr) {
  push (@sockets, IO::Socket::UNIX->new (Peer => $path) || die "$path: $!\n");
}
# Who is served is greeted, who is refused gets nothing.
my @held = grep { sysread ($_, my $greeting, 18) } @sockets;
printf ("%d\n", @sockets - @held);
STDOUT->flush ();
<STDIN>;
PERL

mkfifo hold crowd-holds
launch_limited ()
{
  nr_servers=$((nr_servers + 1))
  log=$tmp/nbdkit-$nr_servers.log
  sock=$tmp/sock-$nr_servers
  uri="nbd+unix:///?socket=$sock"
  pidfile=$tmp/pid-$nr_servers
  (ulimit -n 64; exec "$blkmqd" --pidfile="$pidfile" --unix="$sock" "$@") \
    >/dev/null 2>"$log" </dev/null &
  pid=$!
  servers+=("$pid")
  wait_until serves_or_is_gone || fail "blkmqd $* does not begin to serve"
  [ -s "$pidfile" ] || fail "blkmqd $*: $(cat "$log")"
}
launch_limited 1M --threads 1

# One that was there before.
# shellcheck disable=SC2094 # a verb, and a file
"$nbdreq" "$uri" write,0,4K,0x5a hold check,0,4K,0x5a <hold >held 2>&1 &
before=$!
exec 3>hold
wait_until grep -q write held || fail "no connection: $(cat held)"

# More than there is room for.
perl crowd.pl "$sock" 100 <crowd-holds >refused 3>&- &
crowd=$!
exec 4>crowd-holds
wait_until test -s refused || fail "clients wait and are not refused"
[ "$(cat refused)" -ge 40 ] || fail "only $(cat refused) were refused"
[ "$(cat refused)" -lt 100 ] || fail "all were refused"
expect_equal "the number of warnings" \
  "$(grep -c 'warning: cannot take connections: Too many open files' "$log")" 1

# It goes on.
exec 3>&-
wait "$before" || fail "the first client was disturbed: $(cat held)"

# There is room again.
exec 4>&-
wait "$crowd"
wait_until nbdinfo --size "$uri" >size 2>/dev/null || fail "no room again"
expect_equal "the size" "$(cat size)" 1048576
log_has 'takes connections again; [0-9]* were refused' || fail "no word of it"
stop_blkmqd
