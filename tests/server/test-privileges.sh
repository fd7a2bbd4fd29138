#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# --user: all threads and --run's command are another user, who has nothing of
# root's and no way to it; what was opened before is served; what is left behind
# at the end is what the page says, and does not keep the next one from
# starting.  Who is not root is told so.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo setpriv
requires_nbdreq
ctl=${BLKMQ_CTL:?set it to blkmqctl}
umask 0022
user=4242 group=4243 # nobody's, so that nothing is theirs

# ---- not root ----

if [ "$(id -u)" -ne 0 ]; then
  echo "not root: it is only tried to become another user, in vain"
  for name in "$(id -un)" $user; do
    refuses 1 '; only root can become another user' 1M --unix "$tmp/s" \
      --pidfile "$tmp/p" control="$tmp/control" --user "$name" --group $group
    is_clean "$tmp/s" "$tmp/p" "$tmp/control"
  done
  exit 0
fi
mkdir theirs
chown $user:$group theirs
chmod 711 "$tmp"
cp "$blkmqd" theirs/blkmqd
status=0
(cd theirs && setpriv --reuid=$user --regid=$group --clear-groups \
   ./blkmqd 1M --unix s --pidfile p control=control --user nobody) \
  >out 2>err || status=$?
expect_equal "the status without root" "$status" 1
grep -qF -e '--user=nobody: setting its groups: Operation not permitted; only' \
  err || fail "without root: $(cat err)"
is_clean theirs/s theirs/p theirs/control

# ---- every thread ----

# field NAME: of /proc/PID/status on stdin.
field ()
{
  sed -n "s/^$1:[[:space:]]*//p" | tr -s '\t ' ' ' | sed 's/ $//'
}

# is_only UID GID GROUPS FILE...: each is the status of a process or thread that
# has these and no rights beyond them.
is_only ()
{
  local uid=$1 gid=$2 groups=$3 file set

  shift 3
  for file; do
    expect_equal "users in $file" "$(field Uid <"$file")" "$uid $uid $uid $uid"
    expect_equal "groups in $file" "$(field Gid <"$file")" "$gid $gid $gid $gid"
    expect_equal "further groups in $file" \
      "$(field Groups <"$file" | tr ' ' '\n' | sort -n | tr '\n' ' ')" \
      "$(tr ' ' '\n' <<<"$groups" | sort -n | tr '\n' ' ')"
    for set in CapInh CapPrm CapEff CapBnd CapAmb; do
      expect_equal "$set in $file" "$(field "$set" <"$file")" 0000000000000000
    done
    expect_equal "NoNewPrivs in $file" "$(field NoNewPrivs <"$file")" 1
  done
}

# threads_are_only UID GID GROUPS LEAST: all threads of the server, so many at
# least.
threads_are_only ()
{
  local threads=("/proc/$pid/task"/*/status)

  [ "${#threads[@]}" -ge "$4" ] || fail "only ${#threads[@]} threads"
  is_only "$1" "$2" "$3" "${threads[@]}"
}

# A directory of root's, with all that is opened there; and a list that lets
# root in, who the client is.
mkdir roots
chmod 700 roots
start_blkmqd 1M --user $user --group $group --threads 3 --log-level debug \
  control="$tmp/roots/control" --unix "$tmp/roots/s" blocking=1 --allow-uid 0
left=("$pidfile" "$sock" roots/s roots/control)
# Three that serve, as many for a disk that may block, one for the control
# socket, and the one that takes connections.
threads_are_only $user $group '' 8
"$nbdreq" "$uri" write,0,4K,0x5a check,0,4K,0x5a || fail "nobody is served"
expect_equal "the size at the socket in root's directory" \
  "$(nbdinfo --size "nbd+unix:///?socket=$tmp/roots/s")" 1048576
# Changes have a thread of their own.
"$ctl" -s roots/control set irqmode=timer completion_nsec=1us \
  || fail "no change by the control socket"
threads_are_only $user $group '' 8
expect_equal "whose its sockets are" \
  "$(stat -c '%u %a' "$sock" roots/control | tr '\n' ' ')" '0 755 0 600 '

# Others who are that user cannot look into it.
! setpriv --reuid=$user --regid=$group --clear-groups \
  cat "/proc/$pid/environ" >/dev/null 2>environ \
  || fail "its memory can be read by that user"
grep -q 'Permission denied' environ || fail "environ: $(cat environ)"

# ---- its end ----

stop_blkmqd
for file in "${left[@]}"; do
  [ -e "$file" ] || fail "$file is not left behind"
done
[ ! -s "$pidfile" ] || fail "the process id is left behind: $(cat "$pidfile")"
for text in "--unix=$sock is left behind: Permission denied" \
            "--unix=$tmp/roots/s is left behind: Permission denied" \
            "--pidfile=$pidfile is left behind, and empty: Permission denied" \
            "control=$tmp/roots/control is left behind"; do
  grep -qxF "blkmqd: debug: $text" "$log" || fail "no '$text' in: $(cat "$log")"
done
! log_has ': error: ' || fail "an error: $(cat "$log")"

# The next one is not disturbed, be it root's or not.
launch 1M --unix "$sock" --unix "$tmp/roots/s" control="$tmp/roots/control" \
  --user $user --group $group --unix-owner $user
wait_until serves_or_is_gone || fail "the next one does not begin to serve"
[ -s "$pidfile" ] || fail "the next one: $(cat "$log")"
expect_equal "the size of the next one" "$(nbdinfo --size "$uri")" 1048576
stop_blkmqd
run_blkmqd 1M --unix "$sock" --unix "$tmp/roots/s" --pidfile "$pidfile" \
  control="$tmp/roots/control" --run true
expect_equal "the status of root's next one: $(cat err)" "$status" 0
is_clean "$sock" "$pidfile" roots/s roots/control

# A second signal, as well.
start_blkmqd 1M --user $user --group $group --drain-timeout 0 \
  fault=op=read,hang control="$tmp/roots/control"
"$nbdreq" "$uri" read,0,4K >answer 2>&1 &
client=$!
in_flight ()
{
  "$ctl" -s roots/control inflight --json 2>/dev/null | grep -q '"handle"'
}
wait_until in_flight || fail "no request is in flight: $(cat answer)"
kill "$pid"
wait_until log_has 'SIGTERM: ending' || fail "no word of SIGTERM"
kill "$pid"
ends_with 143
! wait "$client" || fail "what hangs was answered"
[ -e "$sock" ] || fail "the socket is gone"
[ ! -s "$pidfile" ] || fail "the process id is left behind: $(cat "$pidfile")"
rm -f "$sock" "$pidfile"

# In a directory of that user's nothing is left.
(cd theirs && "$blkmqd" 1M --user $user --group $group --unix s --pidfile p \
   control=control --run true) || fail "in the user's own directory"
is_clean theirs/s theirs/p theirs/control

# ---- users whom the system knows ----

# With the most groups, but not root.
known=$(getent passwd | awk -F : '$3 != 0 { print $1 }' | while read -r name; do
  echo "$(id -G "$name" | wc -w) $name"
done | sort -n | tail -n 1)
known=${known#* }
if [ -n "$known" ]; then
  for name in "$known" "$(id -u "$known")"; do
    start_blkmqd 1M --user "$name" --threads 2
    threads_are_only "$(id -u "$known")" "$(id -g "$known")" \
      "$(id -G "$known")" 3
    stop_blkmqd
    rm "$sock" "$pidfile"
  done
  start_blkmqd 1M --user "$known" --group $group --threads 2
  field Groups <"/proc/$pid/status" | grep -qw $group \
    || fail "--group is not among the groups"
  expect_equal "the group" "$(field Gid <"/proc/$pid/status")" \
    "$group $group $group $group"
  stop_blkmqd
  rm "$sock" "$pidfile"
else
  echo "there is no user but root: only numbers are tried"
fi

# ---- --run ----

echo secret >roots-own
chmod 600 roots-own
as_user=(--user="$user" --group="$group")
"$blkmqd" 1M "${as_user[@]}" --run 'cat /proc/self/status' >of-command
is_only $user $group '' of-command

# A socket of its own lets it in, and is gone afterwards.
# shellcheck disable=SC2016 # for the command
"$blkmqd" 1M "${as_user[@]}" \
  --run 'nbdinfo --size "$uri" && echo "$unixsocket"' >run
{
  read -r size
  read -r path
} <run
expect_equal "the size under --run" "$size" 1048576
is_clean "$(dirname "$path")"

! "$blkmqd" 1M "${as_user[@]}" --run "cat '$tmp/roots-own'" >run 2>err \
  || fail "the command reads what is root's: $(cat run)"
grep -q 'Permission denied' err || fail "what is root's: $(cat err)"

# Nor through a program that is root's for everybody.
cp "$(command -v cat)" theirs/cat
chmod 4755 theirs/cat
if [ "$(setpriv --reuid=$user --regid=$group --clear-groups \
          theirs/cat roots-own 2>/dev/null)" = secret ]; then
  ! "$blkmqd" 1M "${as_user[@]}" \
    --run "'$tmp/theirs/cat' '$tmp/roots-own'" >run 2>err \
    || fail "a program with the bit of root gives it back: $(cat run)"
  grep -q 'Permission denied' err || fail "with the bit: $(cat err)"
else
  echo "/tmp has no programs with the bit of root: they are not tried"
fi
