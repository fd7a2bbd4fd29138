#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The conversation in blkmq-control(7) is what a server answers that was started
# as the page says; and the page has every command that there is.
# shellcheck source-path=SCRIPTDIR source=../shell/functions.sh
. "$(dirname "$0")/../shell/functions.sh"
page=$top_srcdir/man/blkmq-control.pod

# " nbdkit -U SOCKET blkmq ARGUMENT... control=PATH"
arguments=$(sed -n 's/^ nbdkit -U [^ ]* blkmq \(.*\) control=[^ ]*$/\1/p' \
  "$page")
[ -n "$arguments" ] || fail "the synopsis has no server"
read -ra words <<<"$arguments"
start_server "${words[@]}" submit_queues=1 control="$tmp/control"

cat >"$tmp/converse.pl" <<'PERL'
use strict;
use warnings;
use IO::Socket::UNIX;
use JSON::PP;

my ($path, $page) = @ARGV;
my $socket = IO::Socket::UNIX->new (Peer => $path) or die "$path: $!\n";
my (@lines, %seen);

# "C: " and "S: " begin a line, and what is indented by more goes on with it.
open (my $pod, '<', $page) or die "$page: $!\n";
while (<$pod>) {
  if (/^ ([CS]): (.*)$/) { push (@lines, [$1, $2]) }
  elsif (/^    (\S.*)$/ && @lines && !$lines[-1][2]) { $lines[-1][1] .= $1 }
  elsif (@lines) { $lines[-1][2] = 1 }
}

# What was left out: "..." is any text, [...] any array, and ... at the end of
# an array or object is what else is there.
sub pattern
{
  my ($text) = @_;

  $text =~ s/\[\.\.\.\]/["..."]/g;
  $text =~ s/,\.\.\.\]/,"..."]/g;
  $text =~ s/,\.\.\.\}/,"...":0}/g;
  return decode_json ($text);
}

sub is_any { defined ($_[0]) && !ref ($_[0]) && $_[0] eq '...' }

# Dies unless FOUND is as the pattern WANTED says.
sub compare
{
  my ($where, $found, $wanted) = @_;
  my %rest;

  if (ref ($wanted) eq 'HASH') {
    die "$where: no object\n" unless ref ($found) eq 'HASH';
    %rest = %$found;
    for my $name (grep { $_ ne '...' } keys (%$wanted)) {
      die "$where: no $name\n" unless exists ($found->{$name});
      compare ("$where.$name", $found->{$name}, $wanted->{$name});
      delete ($rest{$name});
    }
    die "$where: also ", join (', ', keys (%rest)), "\n"
      if %rest && !exists ($wanted->{'...'});
  }
  elsif (ref ($wanted) eq 'ARRAY') {
    my @wanted = @$wanted;
    my $is_open = @wanted && is_any ($wanted[-1]) ? pop (@wanted) : undef;
    die "$where: no array\n" unless ref ($found) eq 'ARRAY';
    die "$where: ", scalar (@$found), " elements\n"
      if @$found < @wanted || (@$found > @wanted && !$is_open);
    compare ("$where.$_", $found->[$_], $wanted[$_]) for 0 .. $#wanted;
  }
  elsif ($where =~ /\.now_ns$/) {
    die "$where: no time\n" unless $found =~ /^\d+$/;
  }
  elsif (is_any ($wanted)) {
    die "$where: no text\n" if ref ($found) || !length ($found);
  }
  else {
    # Both as JSON, so that 1, "1" and true differ.
    my $json = JSON::PP->new->allow_nonref->canonical;
    my ($f, $w) = ($json->encode ($found), $json->encode ($wanted));
    die "$where: $f, and not $w\n" unless $f eq $w;
  }
}

for my $line (@lines) {
  my ($who, $text) = @$line;

  if ($who eq 'C') {
    $seen{decode_json ($text)->{command}} = 1;
    print $socket "$text\n";
  }
  else {
    my $answer = <$socket>;
    die "no answer; the page has $text\n" unless defined ($answer);
    eval { compare ('answer', decode_json ($answer), pattern ($text)); 1 }
      or die "${answer}is not\n$text\n$@";
  }
}

# Which commands there are says the error for one that there is not.
print $socket qq({"command":"?"}\n);
my ($known) = decode_json (scalar (<$socket>))->{error}{message}
  =~ /known are (.*)$/;
my @missing = grep { !$seen{$_} } split (/, /, $known);
die "without an example: @missing\n" if @missing;
print scalar (@lines), " lines, ", scalar (keys (%seen)), " commands\n";
PERL
perl "$tmp/converse.pl" "$tmp/control" "$page"
stop_server
[ ! -e "$tmp/control" ] || fail "the control socket was left behind"
