# SPDX-License-Identifier: BSD-3-Clause
#
# hear.pl PATH: what is sent to the datagram socket PATH, as a service does to
# systemd, a line a line, and an empty one after each message.

use strict;
use warnings;
use IO::Handle;
use Socket;

STDOUT->autoflush (1);
socket (my $socket, AF_UNIX, SOCK_DGRAM, 0) or die "socket: $!\n";
bind ($socket, pack_sockaddr_un ($ARGV[0])) or die "bind: $!\n";
while (defined (recv ($socket, my $message, 4096, 0))) {
  $message =~ s/\n*$//;
  print "$message\n\n";
}
