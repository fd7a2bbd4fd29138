# SPDX-License-Identifier: BSD-3-Clause
#
# Bytes without end from a seed: the same ones for the same seed.  Every 4 KiB
# begin with a counter, so that no two blocks are equal and a block in the
# wrong place is found; the rest is cut out of a random pool, which costs an
# emulated CPU far less than a random number for every word.
package SeededBytes;

use strict;
use warnings;

my $pool_bytes = 256 * 1024;
my $block_bytes = 4096;

sub new
{
  my ($class, $seed) = @_;

  srand ($seed);
  my $pool = pack ('V*', map { int (rand (2 ** 32)) } 1 .. $pool_bytes / 4);
  return bless { seed => $seed, pool => $pool, nr_blocks => 0 }, $class;
}

# A whole number from 0 to BELOW - 1.
sub number
{
  my ($self, $below) = @_;

  return int (rand ($below));
}

# Write BYTES bytes to the file handle FH.
sub write
{
  my ($self, $fh, $bytes) = @_;

  while ($bytes > 0) {
    my $header = pack ('VVVV', $self->{seed} & 0xffffffff,
                       ++$self->{nr_blocks}, rand (2 ** 32), 0x6d6b6c62);
    my $from = int (rand ($pool_bytes - $block_bytes));
    my $block = $header . substr ($self->{pool}, $from,
                                  $block_bytes - length ($header));
    my $take = $bytes < $block_bytes ? $bytes : $block_bytes;

    print {$fh} substr ($block, 0, $take) or die "write: $!\n";
    $bytes -= $take;
  }
}

1;
