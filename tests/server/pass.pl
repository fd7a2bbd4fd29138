# SPDX-License-Identifier: BSD-3-Clause
#
# pass.pl KIND[=NAME]... -- COMMAND [ARGUMENT...]: run COMMAND with these as
# descriptors 3, 4, ..., passed as systemd passes them to a service:
#
#   unix:PATH abstract:NAME tcp tcp6  listen
#   connected                         one end of a pair; the other end, as a
#                                     program, answers by "greeted" on stderr
#                                     when it has been greeted, and goes
#   unbound dgram udp pipe file       are nothing that can be served
#
# The port of a TCP socket is printed on stderr as "port N".

use strict;
use warnings;
use Socket qw(:all);
use POSIX ();

my (@names, @kinds);
while (defined (my $word = shift @ARGV)) {
  last if $word eq '--';
  my ($kind, $name) = split /=/, $word, 2;
  push @kinds, $kind;
  push @names, $name // 'unknown';
}

# Whatever is opened stays open in what is executed.
$^F = 1000;
# Numbers from 3 on are the sockets'.
POSIX::close ($_) for 3 .. 20;

my @kept;

sub place
{
  my ($handle, $number) = @_;
  my $fd = fileno ($handle);

  push @kept, $handle;
  return if $fd == $number;
  POSIX::dup2 ($fd, $number) // die "dup2: $!\n";
  POSIX::close ($fd);
}

sub listening
{
  my ($domain, $address) = @_;

  socket (my $socket, $domain, SOCK_STREAM, 0) or die "socket: $!\n";
  bind ($socket, $address) or die "bind: $!\n";
  listen ($socket, 10) or die "listen: $!\n";
  printf STDERR "port %d\n", $domain == AF_INET
    ? (sockaddr_in (getsockname ($socket)))[0]
    : (sockaddr_in6 (getsockname ($socket)))[0] if $domain != AF_UNIX;
  return $socket;
}

my $number = 3;
for my $kind (@kinds) {
  my $handle;

  if ($kind =~ /^unix:(.*)/) {
    $handle = listening (AF_UNIX, pack_sockaddr_un ($1));
  } elsif ($kind =~ /^abstract:(.*)/) {
    $handle = listening (AF_UNIX, pack ('S a*', AF_UNIX, "\0$1"));
  } elsif ($kind eq 'tcp') {
    $handle = listening (AF_INET, pack_sockaddr_in (0, INADDR_LOOPBACK));
  } elsif ($kind eq 'tcp6') {
    $handle = listening (AF_INET6, pack_sockaddr_in6 (0, IN6ADDR_LOOPBACK));
  } elsif ($kind eq 'unbound') {
    socket ($handle, AF_UNIX, SOCK_STREAM, 0) or die;
  } elsif ($kind eq 'dgram') {
    socket ($handle, AF_UNIX, SOCK_DGRAM, 0) or die;
  } elsif ($kind eq 'udp') {
    socket ($handle, AF_INET, SOCK_DGRAM, 0) or die;
  } elsif ($kind eq 'pipe') {
    pipe ($handle, my $other) or die;
    close ($other);
  } elsif ($kind eq 'file') {
    open ($handle, '<', $0) or die;
  } elsif ($kind eq 'connected') {
    socketpair ($handle, my $other, AF_UNIX, SOCK_STREAM, 0) or die;
    if (!fork ()) {
      close ($handle);
      my $bytes = '';
      while (length ($bytes) < 18) {
        sysread ($other, $bytes, 18 - length ($bytes), length ($bytes))
          or die "not greeted\n";
      }
      print STDERR "greeted\n";
      POSIX::_exit (0);
    }
    close ($other);
  } else {
    die "$kind?\n";
  }
  place ($handle, $number++);
}

$ENV{LISTEN_FDS} = @kinds;
$ENV{LISTEN_FDNAMES} = join (':', @names);
$ENV{LISTEN_PID} = $$;
exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!\n";
