#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The options of blkmqd --help, of blkmqd(8) and of its synopsis are the same,
# with the same defaults; and what --help says of a key is blkmqd's own default.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
manual=$top_srcdir/man/blkmqd.pod

run_blkmqd --help
expect_equal "the status of --help" "$status" 0
mv out text

# "  --name=VALUE   text (default X)"; or "  --name   text".
sed -n 's/^  \(--[a-z-]*=\?[A-Z:]*\) .*/\1/p' text | sort >help
[ "$(wc -l <help)" -ge 14 ] || fail "--help has only: $(cat help)"

# "=item B<--name=>VALUE", in a line with its text.
awk '
  /^=head1/ { inside = ($2 == "OPTIONS") }
  !inside { next }
  /^=/ { if (item != "") print item "\t" text; item = text = "" }
  /^=item/ { item = substr ($0, 7); next }
  NF { text = text " " $0 }' "$manual" >items
sed -n -e 's/^B<\(--[a-z-]*=\)>\([A-Z:]*\)\t.*/\1\2/p' \
  -e 's/^B<\(--[a-z-]*\)>\t.*/\1/p' items | grep -vxe --help -e --version \
  | sort >page
expect_equal "the options of the page" "$(cat page)" "$(cat help)"
awk '/^=head1/ { inside = ($2 == "SYNOPSIS") } inside' "$manual" \
  | grep -o -e '--[a-z-]*=\?[A-Z:]*' | grep -vxe --help -e --version \
  | sort >synopsis
expect_equal "the options of the synopsis" "$(cat synopsis)" "$(cat help)"

nr=0
while IFS='=' read -r name value; do
  [ -n "$value" ] || continue # a switch
  default=$(sed -n "s/^  $name=.*(default \([a-zA-Z0-9]*\))\$/\1/p" text)
  text=$(awk -F '\t' -v name="B<$name=>" 'index ($1, name) == 1 { print $2 }' \
    items)
  found=$(sed -n -e 's/.*C<\([a-z]*\)> (the default).*/\1/p;t' \
    -e 's/.*\bDefault \([a-zA-Z0-9]*\).*/\1/p' <<<"$text")
  expect_equal "the default of $name on the page" "$found" "$default"
  [ -z "$default" ] || nr=$((nr + 1))
done <help
[ "$nr" -ge 9 ] || fail "only $nr defaults were compared"
grep -q '^  --threads=N .*(default: CPUs, at most 8)$' text \
  || fail "--help: --threads"
grep -q 'Default: the number of CPUs .*, at most 8\.' items \
  || fail "the page: --threads"

# Bare numbers are in these units.
for option in --handshake-timeout=86400000 --idle-timeout=86400s \
              --stall-timeout=86400s --drain-timeout=86400000ms \
              --busy-poll=1ms --busy-poll=1000; do
  run_blkmqd "$option" 1M --run true
  expect_equal "the status of $option: $(cat err)" "$status" 0
done
refuses 2 '--handshake-timeout=86400001: must be' \
  --handshake-timeout=86400001 1M --run true
refuses 2 '--busy-poll=1001: must be' --busy-poll=1001 1M --run true

# Keys.
expect_equal "submit_queues in --help" \
  "$(sed -n 's/^submit_queues=.*(default \(.*\))$/\1/p' text)" \
  'the number of threads'
expect_equal "hw_queue_depth in --help" \
  "$(sed -n 's/^hw_queue_depth=.*(default \(.*\))$/\1/p' text)" 64
