#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The units for systemd, as they are installed: systemd finds nothing wrong with
# them, their sandbox is as narrow as it can tell, and blkmqd, started as they
# start it, calls the system for nothing that they forbid.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires systemd-analyze make
requires_systemd

make -s -C "$BLKMQ_BUILDDIR" DESTDIR="$tmp/root" \
  install-dist_systemdsystemunitDATA install-nodist_systemdsystemunitDATA \
  >made 2>&1 || fail "the units are not installed: $(cat made)"
find root -type f >installed
expect_equal "what is installed" \
  "$(sed 's|.*/||' installed | sort | tr '\n' ' ')" \
  'blkmqd.service blkmqd.socket blkmqd@.service blkmqd@.socket '

# The same with this program, and an instance of the templates.
mkdir units
while read -r file; do
  name=${file##*/}
  sed "s|^ExecStart=[^ ]*/blkmqd |ExecStart=$blkmqd |" "$file" \
    >"units/${name/@/@disk}"
done <installed
grep -q "^ExecStart=$blkmqd --config=.*/blkmqd/%i\.conf\$" \
  units/blkmqd@disk.service || fail "the template starts something else"

# ---- what systemd says of them ----

systemd-analyze verify --man=no units/* >said 2>&1 || fail "verify: $(cat said)"
! grep 'blkmqd' said || fail "verify: $(cat said)"
for unit in blkmqd blkmqd@disk; do
  # Tenths; 8 in systemd 252, which knows less than later ones.
  systemd-analyze security --no-pager --offline=true --threshold=12 \
    "units/$unit.service" >said 2>&1 || fail "security of $unit: $(cat said)"
  grep -q 'Overall exposure level' said || fail "security: $(cat said)"
done
# All but their names is the same.
expect_equal "what differs between the services" \
  "$(diff <(sed 's/blkmqd@%i/blkmqd/; s/%i/blkmqd/' \
              units/blkmqd@disk.service | grep -v ^Description) \
          <(grep -v ^Description units/blkmqd.service))" ''

# ---- the filter of system calls ----

requires strace perl nbdcopy
requires_nbdreq
ctl=${BLKMQ_CTL:?set it to blkmqctl}
! ldd "$blkmqd" | grep -q 'lib[at]san' || skip "a sanitizer calls for others"

# members SET...: the calls of these sets, a line each.
members ()
{
  local name

  systemd-analyze --no-pager syscall-filter "$@" | sed -n 's/^ *//; /^#/d; p' \
    | while read -r name; do
        case $name in
          "$1" | '') ;;
          @*) members "$name" ;;
          *) echo "$name" ;;
        esac
      done
}
list_allowed ()
{
  sed -n 's/^SystemCallFilter=\(@.*\)/\1/p' units/blkmqd.service \
    | while read -r name; do members "$name"; done | sort -u >yes
  sed -n 's/^SystemCallFilter=~\(@.*\)/\1/p' units/blkmqd.service \
    | while read -r name; do members "$name"; done | sort -u >no
  comm -23 yes no
}
list_allowed >allowed
[ "$(wc -l <allowed)" -gt 200 ] || fail "only $(wc -l <allowed) calls: $(<yes)"
! grep -qx -e reboot -e mount -e setuid allowed || fail "too much is allowed"

# trace NAME ARGUMENT...: blkmqd as a service, with its calls in the file NAME.
trace ()
{
  local name=$1

  shift
  nr_servers=$((nr_servers + 1))
  log=$tmp/nbdkit-$nr_servers.log
  sock=$tmp/sock-$nr_servers
  uri="nbd+unix:///?socket=$sock"
  rm -f p
  WATCHDOG_USEC=300000 perl "$top_srcdir/tests/server/pass.pl" unix:"$sock" \
    -- strace -D -f -qq -e signal=none -o "$name" "$blkmqd" --pidfile=p "$@" \
    >out 2>"$log" &
  pid=$!
  servers+=("$pid")
}

perl "$top_srcdir/tests/server/hear.pl" "$tmp/notify" >heard &
cleanup_fn kill $!
wait_until test -S notify || fail "nobody hears"
export NOTIFY_SOCKET=$tmp/notify
head -c 4M <(yes blkmq) >image

nr=0
for keys in '' 'irqmode=timer completion_nsec=10us' 'blocking=1' \
            'cache_size=1M' 'poll_queues=1 submit_queues=2 irqmode=none'; do
  nr=$((nr + 1))
  # shellcheck disable=SC2086
  trace "calls-$nr" 16M control="$tmp/control" live=1 $keys
  wait_until test -s p || fail "it does not serve with '$keys': $(cat "$log")"
  nbdcopy image "$uri" || fail "nbdcopy with '$keys'"
  "$nbdreq" "$uri" read,0,4K trim,0,4K zero,4K,4K flush >said 2>&1 \
    || fail "requests with '$keys': $(cat said)"
  "$ctl" -s control stats >said || fail "control with '$keys'"
  kill -HUP "$pid"
  wait_until log_has 'SIGHUP: ' || fail "no word of SIGHUP: $(cat "$log")"
  pings=$(grep -c '^WATCHDOG' heard || :)
  is_pinged () { [ "$(grep -c '^WATCHDOG' heard)" -gt "$pings" ]; }
  wait_until is_pinged || fail "no word to the watchdog"
  stop_blkmqd
  sed -n 's/^[0-9]* *\([a-z_0-9]*\)(.*/\1/p' "calls-$nr" | sort -u >called
  grep -qx accept4 called || fail "nothing is known of it: $(cat called)"
  # What the filter lets through in any case, and what strace starts it with.
  expect_equal "what is forbidden of its calls with '$keys'" \
    "$(comm -23 called allowed | grep -vx -e rseq -e execve || :)" ''
done
