# SPDX-License-Identifier: BSD-3-Clause
#
# knock.pl ADDRESS [NUMBER [FROM]]: connects so often, one after the other, to a
# Unix socket's path or to HOST:PORT, there from the address FROM; prints its
# process id, and then how many were greeted, and how many were closed before
# they had a byte.

use strict;
use warnings;
use IO::Socket::IP;
use IO::Socket::UNIX;

my ($address, $number, $from) = @ARGV;
my ($greeted, $closed) = (0, 0);

for (1 .. $number // 1) {
  my $socket = $address =~ m{^/}
    ? IO::Socket::UNIX->new (Peer => $address)
    : IO::Socket::IP->new (PeerAddr => $address,
                           $from ? (LocalAddr => $from) : ());
  die "$address: $!$@\n" unless $socket;
  # An error is an end as well: of a connection that was closed already.
  if (sysread ($socket, my $bytes, 18)) { $greeted++ }
  else { $closed++ }
}
print "$$ greeted $greeted closed $closed\n";
