# SPDX-License-Identifier: BSD-3-Clause
#
# client.pl SOCKET: a client of NBD that does what no other would: it connects,
# takes the default export, says "here", and then does what comes on standard
# input, a word a line, printing the word when it is done:
#
#   read      asks for 4 KiB and does not wait
#   reply     gets the answer
#   half      sends half of a request
#   greedy    asks for 16 MiB in pieces, without getting any
#   all       gets what was asked for greedily
#   leave     sends NBD_CMD_DISC, and says that nothing will follow
#   last      says that nothing will follow
#   end       gets the end of the stream, and not an error
#   flood     sends bytes until nobody takes them any more
#
# With a second argument it only says "here" once it was greeted, and goes on
# from there.

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
if (@ARGV < 2) {
  put (pack ('N', 3));                       # fixed newstyle, no zeroes
  put (pack ('a8 N N', 'IHAVEOPT', 1, 0));   # NBD_OPT_EXPORT_NAME
  get (10);
}
print "here\n";

while (my $word = <STDIN>) {
  chomp ($word);
  if ($word eq 'read') { put (request (0, 7, 0, 4096)) }
  elsif ($word eq 'half') { put (substr (request (1, 7, 0, 4096), 0, 14)) }
  elsif ($word eq 'greedy') { put (request (0, $_, 0, 65536)) for 1 .. 256 }
  elsif ($word eq 'all') { get (16 + 65536) for 1 .. 256 }
  elsif ($word eq 'last') { shutdown ($socket, 1) }
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
