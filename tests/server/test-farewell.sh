#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# When blkmqd is told to end, its clients get what they have asked for and then
# the end of the stream, even if they are sending at that moment; and nobody can
# hold it up by not leaving, or by sending on and on.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires perl
ctl=${BLKMQ_CTL:?set it to blkmqctl}

# client SOCKET WORD...: connects, says "here", and does what comes on stdin, a
# word a line, printing the word when it is done:
#   read   asks for 4 KiB and does not wait
#   leave  sends NBD_CMD_DISC and says that nothing will follow
#   reply  gets the answer
#   end    gets the end of the stream, and not an error
#   flood  sends bytes until nobody takes them any more
cat >client.pl <<'PERL'
use strict;
use warnings;
use IO::Handle;
use IO::Socket::UNIX;

$SIG{PIPE} = 'IGNORE';
STDOUT->autoflush (1);

my $socket = IO::Socket::UNIX->new (Peer => $ARGV[0]) or die "$ARGV[0]: $!\n";

sub put { syswrite ($socket, $_[0]) // die "send: $!\n" }

sub get
{
  my ($nr) = @_;
  my $bytes = '';

  while (length ($bytes) < $nr) {
    my $n = sysread ($socket, $bytes, $nr - length ($bytes), length ($bytes));
    die "receive: $!\n" unless defined ($n);
    die "the end\n" if $n == 0;
  }
  return $bytes;
}

sub request { pack ('N n n Q> Q> N', 0x25609513, 0, @_) }

get (18);
put (pack ('N', 3));                                # fixed newstyle, no zeroes
put (pack ('a8 N N', 'IHAVEOPT', 1, 0));            # NBD_OPT_EXPORT_NAME
get (10);
print "here\n";

while (my $word = <STDIN>) {
  chomp ($word);
  if ($word eq 'read') { put (request (0, 7, 0, 4096)) }
  elsif ($word eq 'leave') { put (request (2, 8, 0, 0)); shutdown ($socket, 1) }
  elsif ($word eq 'reply') {
    my ($magic, $error, $cookie) = unpack ('N N Q>', get (16 + 4096));
    die "not an answer\n" unless $magic == 0x67446698 && $cookie == 7;
    die "error $error\n" if $error;
  }
  elsif ($word eq 'end') {
    my $n = sysread ($socket, my $byte, 1);
    die "no end: $!\n" unless defined ($n);
    die "more than was asked for\n" if $n;
  }
  elsif ($word eq 'flood') { 1 while syswrite ($socket, 'x' x 65536) }
  else { die "$word\n" }
  print "$word\n";
}
PERL

# start_client: its words go to descriptor 3, what it says to the file said.
start_client ()
{
  rm -f words said
  mkfifo words
  perl client.pl "$sock" <words >said 2>&1 &
  client=$!
  exec 3>words
  wait_until grep -q here said || fail "no connection: $(cat said)"
}

# tell WORD...: and wait until the last one is done.
tell ()
{
  printf '%s\n' "$@" >&3
  wait_until grep -q -e "^${*: -1}$" said \
    || fail "the client does not get to ${*: -1}: $(cat said)"
}

in_flight ()
{
  "$ctl" -s control inflight --json 2>/dev/null | grep -q '"handle"'
}

# ---- it takes its leave before it has been told ----

# While the answer is to come nothing more is read: the client's last word lies
# in the socket when the connection has nothing left to do.
start_blkmqd 1M --drain-timeout 0 fault=op=read,hang control=control
start_client
tell read
wait_until in_flight || fail "no request is in flight"
kill "$pid"
wait_until test ! -e "$sock" || fail "the socket is there"
tell leave
"$ctl" -s control fault del 1 || fail "the fault cannot be deleted"
tell reply end
ends_with 0
exec 3>&-
wait "$client" || fail "the client: $(cat said)"

# ---- it does not take its leave ----

start_blkmqd 1M --drain-timeout 0
start_client
kill "$pid"
tell end
ends_with 0
exec 3>&-
wait "$client" || fail "the client: $(cat said)"

# ---- it sends on and on ----

start_blkmqd 1M --drain-timeout 0 fault=op=read,hang control=control
start_client
tell read
wait_until in_flight || fail "no request is in flight"
kill "$pid"
wait_until test ! -e "$sock" || fail "the socket is there"
printf 'flood\n' >&3
"$ctl" -s control fault del 1 || fail "the fault cannot be deleted"
ends_with 0
tell flood
exec 3>&-
wait "$client" || fail "the client: $(cat said)"

# ---- a second signal does not wait for it ----

start_blkmqd 1M --drain-timeout 0
start_client
kill "$pid"
wait_until log_has 'SIGTERM: ending' || fail "no word of the signal"
kill "$pid"
wait_until is_gone "$pid" || fail "blkmqd does not end"
status=0
wait "$pid" || status=$?
forget
exec 3>&-
wait "$client" || fail "the client: $(cat said)"
# It had ended already, maybe.
[ "$status" = 143 ] || expect_equal "the status" "$status" 0
