# SPDX-License-Identifier: BSD-3-Clause
#
# The examples of a manual page: what is verbatim in it, each block behind a
# paragraph "=for example KIND [ARGUMENT]".
#
#   guide.pl split PAGE DIRECTORY   each block in a file NNN; prints NNN KIND
#                                   ARGUMENT for each
#   guide.pl shows BLOCK PRINTED    each line of BLOCK is among those that were
#                                   printed; "..." is any text
#   guide.pl holds BLOCK FILE       the block is in the file as it is
use strict;
use warnings;

sub contents
{
  my ($path) = @_;

  open (my $fh, '<', $path) or die "$path: $!\n";
  local $/;
  return scalar (<$fh>);
}

sub split_page
{
  my ($page, $directory) = @_;
  my ($tag, $was_verbatim, @blocks);

  for my $paragraph (split (/\n\n+/, contents ($page))) {
    if ($paragraph =~ /^=for example +(.*)$/) {
      $tag = $1;
      $was_verbatim = 0;
    }
    elsif ($paragraph =~ /^ /) {
      $paragraph =~ s/^ //mg;
      if ($was_verbatim) {
        $blocks[-1]{text} .= "\n$paragraph\n";
      }
      else {
        die "nobody says what this is for:\n$paragraph\n" unless $tag;
        push (@blocks, { tag => $tag, text => "$paragraph\n" });
      }
      ($tag, $was_verbatim) = (undef, 1);
    }
    else {
      die "no example behind '=for example $tag'\n" if $tag;
      $was_verbatim = 0;
    }
  }
  for my $nr (1 .. @blocks) {
    my $name = sprintf ('%03d', $nr);

    open (my $fh, '>', "$directory/$name") or die "$directory/$name: $!\n";
    print $fh $blocks[$nr - 1]{text};
    close ($fh) or die "$directory/$name: $!\n";
    print "$name $blocks[$nr - 1]{tag}\n";
  }
}

sub shows
{
  my ($block, $printed) = @_;
  my $text = contents ($printed);

  for my $line (split (/\n/, contents ($block))) {
    my $pattern = join ('.*', map { quotemeta } split (/\.\.\./, $line, -1));
    die "there is no line '$line' in:\n$text" unless $text =~ /^$pattern$/m;
  }
}

sub holds
{
  my ($block, $file) = @_;

  die "$file has not got:\n" . contents ($block)
    if index (contents ($file), contents ($block)) < 0;
}

my ($what, @arguments) = @ARGV;
my %does = (split => \&split_page, shows => \&shows, holds => \&holds);
die "guide.pl: $what?\n" unless $does{$what};
$does{$what}->(@arguments);
