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

# Exactly what was asked for, and of another umask nothing is seen.
for mode in 0600 660 0666 0 777; do
  (umask 0027; exec "$blkmqd" 64M --unix "$tmp/s" --unix-mode "$mode" \
     --run "stat -c %a '$tmp/s'; umask") >found
  expect_equal "the mode with --unix-mode=$mode" "$(cat found)" \
    "$(printf '%o\n0027' "$((8#$mode))")"
done

# ---- owner ----

# owned OWNER EXPECTED [ARGUMENT...]
owned ()
{
  expect_equal "the owner with --unix-owner=$1" \
    "$("$blkmqd" 64M --unix "$tmp/s" --unix-owner "$1" "${@:3}" \
         --run "stat -c '%u:%g %a' '$tmp/s'")" "$2"
}
me=$(id -u) group=$(id -g)
umask 0022
owned "$(id -un)" "$me:$group 755"
owned "$me:$(id -gn)" "$me:$group 755"
owned ":$group" "$me:$group 755"
for other in $(id -G); do
  owned ":$other" "$me:$other 660" --unix-mode 0660
done
if [ "$me" -eq 0 ]; then
  owned 4242 '4242:0 755'
  owned 4242:4243 '4242:4243 600' --unix-mode 600
  owned :4294967294 '0:4294967294 0' --unix-mode 0

  # Who is let in by it, and who is not.
  requires setpriv
  chmod 711 "$tmp"
  start_blkmqd 64M --unix-mode 0660 --unix-owner 4242:4243
  knock ()
  {
    setpriv --reuid="$1" --regid="$2" --clear-groups \
      nbdinfo --size "$uri" >size 2>knocked
  }
  knock 4242 65534 || fail "the owner is kept out: $(cat knocked)"
  knock 65534 4243 || fail "the group is kept out: $(cat knocked)"
  ! knock 65534 65534 || fail "another one is let in"
  grep -q 'Permission denied' knocked || fail "another one: $(cat knocked)"
  stop_blkmqd
  is_clean "$sock"

  # One that is stale is replaced by one that has the rights as well.
  perl -MSocket -e 'socket (my $s, PF_UNIX, SOCK_STREAM, 0) or die;
    bind ($s, sockaddr_un ($ARGV[0])) or die' "$tmp/s"
  owned 4242:4243 '4242:4243 640' --unix-mode 0640
else
  refuses 1 '--unix=s: chown: Operation not permitted' 64M --unix s \
    --unix-owner 0
  is_clean s
fi

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
