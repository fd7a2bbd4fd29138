#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Unix sockets of blkmqd: their mode is umask's, a stale one is replaced, a live
# one and what is no socket are not, and at the end it is removed if it is still
# the server's own.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo perl

# serves PATH: an NBD server of 64 MiB.
serves ()
{
  expect_equal "the size behind $1" \
    "$(nbdinfo --size "nbd+unix:///?socket=$1")" 67108864
}

# ---- mode ----

for mask in 0022 0077 0000; do
  (umask "$mask"; exec "$blkmqd" 64M --unix "$tmp/s" \
     --run "stat -c %a '$tmp/s'") >mode
  expect_equal "the mode with umask $mask" "$(cat mode)" \
    "$(printf '%o' $((0777 & ~mask)))"
done

# ---- what is there already ----

# A socket that a server has left.
perl -MSocket -e 'socket (my $s, PF_UNIX, SOCK_STREAM, 0) or die;
  bind ($s, sockaddr_un ($ARGV[0])) or die; listen ($s, 1) or die' "$tmp/stale"
[ -S stale ] || fail "there is no stale socket"
start_blkmqd 64M --unix stale
serves "$tmp/stale"

# That is live now.
refuses 1 '--unix=stale: another server listens there' 64M --unix stale
serves "$tmp/stale"

echo kept >file
ln -s "$tmp/stale" link
mkdir dir
for path in file link dir; do
  refuses 1 "--unix=$path: exists and is not a socket" 64M --unix "$path"
done
expect_equal "the file" "$(cat file)" kept
# What was opened before the refusal is gone.
refuses 1 "--unix=file: " 64M --unix first --unix file control=control
is_clean first control

# ---- the end ----

stop_blkmqd
is_clean stale "$sock"

# Another server's, put in its place, stays.
start_blkmqd 64M --unix again
first=$pid
mv again elsewhere
start_blkmqd 64M --unix again
end_server "$first" || fail "blkmqd did not end cleanly"
serves "$tmp/again"
# So does that which was moved: it is not known any more.
[ -S elsewhere ] || fail "the moved socket is gone"
stop_blkmqd
is_clean again

# ---- several, and a path that is not absolute ----

mkdir 'a dir'
cd 'a dir'
launch 64M --unix one --unix ../two
wait_until serves_or_is_gone || fail "does not begin to serve"
[ -s "$pidfile" ] || fail "$(cat "$log")"
expect_equal "what is printed" "$(cat "$out")" \
  "nbd+unix:///?socket=$tmp/a%20dir/one
nbd+unix:///?socket=$tmp/a%20dir/../two"
cd "$tmp"
while read -r printed; do
  expect_equal "the size at $printed" "$(nbdinfo --size "$printed")" 67108864
done <"$out"
stop_blkmqd
