#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What blkmqd chooses by itself: a hardware queue for each thread unless
# submit_queues was given, a seed that it prints; and what it logs at each
# level.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo qemu-io

# description ARGUMENT...
description ()
{
  # shellcheck disable=SC2016 # for the command
  "$blkmqd" --log-level error "$@" --run 'nbdinfo "$uri"' \
    | sed -n 's/^[[:space:]]*description: //p'
}
expect_equal "the queues of 3 threads" "$(description --threads 3 1M seed=1)" \
  'blkmq memory disk, 1 MiB, 3 hctxs x 64, irqmode none, seed 1'
expect_equal "the queues that were given" \
  "$(description --threads 3 1M seed=1 submit_queues=2)" \
  'blkmq memory disk, 1 MiB, 2 hctxs x 64, irqmode none, seed 1'
expect_equal "the queues of an export" \
  "$(description --threads 3 1M seed=1 export=a submit_queues=5 export=b)" \
  'blkmq memory disk, 1 MiB, 5 hctxs x 64, irqmode none, seed 1'
nr=$(nproc)
one=$(description --threads $((nr < 8 ? nr : 8)) 1M seed=1)
expect_equal "the queues by default" "$(description 1M seed=1)" "$one"

# The seed that was drawn repeats the run.
# shellcheck disable=SC2016
"$blkmqd" 1M --run 'nbdinfo "$uri"' >info 2>log
drawn=$(sed -n 's/^blkmqd: seed=\([0-9]*\) was drawn; give it to .*/\1/p' log)
[ -n "$drawn" ] || fail "no seed in: $(cat log)"
grep -q ", seed $drawn\$" info || fail "not the seed $drawn: $(cat info)"
run_blkmqd 1M seed=7 --run true
[ ! -s err ] || fail "says $(cat err)"

# ---- levels ----

# shellcheck disable=SC2016
work='qemu-io -f raw -c "read 0 4k" "$uri" >/dev/null; exit 0'
"$blkmqd" --log-level error 1M --run "$work" 2>log
[ ! -s log ] || fail "error: $(cat log)"
"$blkmqd" --log-level debug --threads 1 1M iostats=1 seed=7 --run "$work" 2>log
for text in ': debug: blkmq memory disk, 1 MiB' ': debug: unix:pid [0-9]* uid' \
            ': debug: hctx 0 read: [0-9]* requests, mean ' \
            ': debug: hctx 0: [0-9]* requests, [0-9]* bytes, 0 errors'; do
  grep -q "^blkmqd$text" log || fail "debug: no '$text' in: $(cat log)"
done
! grep -qv '^blkmqd: ' log || fail "a line of something else: $(cat log)"
