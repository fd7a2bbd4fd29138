#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# SIGHUP opens the log anew and ends no connection and no request; a log that
# cannot be opened goes on where it was.  And what goes where: to stderr, to a
# file, to systemd's journal; a terminal that is gone ends blkmqd.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo perl
requires_nbdreq
ctl=${BLKMQ_CTL:?set it to blkmqctl}

# file_has PATTERN FILE
file_has ()
{
  grep -q -e "$1" "$2" 2>/dev/null
}

# ---- what goes to the file ----

mkdir logs
start_blkmqd 1M --log-file=logs/log --log-level=debug control="$tmp/control" \
  fault=op=read,hang --drain-timeout=0
time='^20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\.'
time+='[0-9][0-9][0-9]Z blkmqd: '
file_has "${time}debug: blkmq memory disk" logs/log \
  || fail "not in the file: $(cat logs/log)"
! grep -qv "$time" logs/log || fail "lines without a time: $(cat logs/log)"
expect_equal "the mode of the file" "$(stat -c %a logs/log)" \
  "$(printf '%o' $((0640 & ~$(umask))))"
log_has 'blkmqd: debug: blkmq memory disk' \
  || fail "not on stderr: $(cat "$log")"
lines=$(wc -l <"$log")

# ---- SIGHUP, with a request in flight ----

"$nbdreq" "$uri" read,0,4K >answer 2>&1 &
client=$!
in_flight ()
{
  [ "$("$ctl" -s control inflight --json 2>/dev/null \
         | grep -o '"handle"' | wc -l)" -eq "$1" ]
}
wait_until in_flight 1 || fail "no request is in flight: $(cat answer)"
mv logs/log logs/log.1
kill -HUP "$pid"
wait_until file_has 'blkmqd: SIGHUP: the log' logs/log || fail "no new log"
! file_has SIGHUP logs/log.1 || fail "the old log knows of SIGHUP"
in_flight 1 || fail "SIGHUP: the request is gone"

# Nobody can open it there: it goes on in the old one.
mv logs moved
kill -HUP "$pid"
wait_until file_has "error: SIGHUP: --log-file=$tmp/logs/log: No such file" \
  moved/log || fail "no word of the failure: $(cat moved/log)"
"$ctl" -s control fault del 1 || fail "the fault cannot be deleted"
wait "$client" || fail "the client: $(cat answer)"
grep -q '^read,0,4K: ok' answer || fail "no answer: $(cat answer)"
expect_equal "the lines on stderr since it serves" "$(wc -l <"$log")" "$lines"
stop_blkmqd
file_has 'SIGTERM: ending' moved/log || fail "the old log does not go on"

# Without a log there is nothing to do, and it is said.
start_blkmqd 1M
kill -HUP "$pid"
wait_until log_has 'SIGHUP: there is nothing to be reloaded' \
  || fail "no word of SIGHUP: $(cat "$log")"
expect_equal "the size after SIGHUP" "$(nbdinfo --size "$uri")" 1048576
stop_blkmqd

# ---- errors ----

refuses 1 "--log-file=none/log: No such file" --log-file=none/log 1M --run true
# Until it serves stderr has them, too.
refuses 1 "--unix=none/s: bind" --log-file=log --unix=none/s 1M
file_has 'error: --unix=none/s: bind' log || fail "not in the file: $(cat log)"

# ---- the journal ----

# A line's priority, and nothing that the journal knows.
: >journal
stream=$(stat -c %d:%i journal)
JOURNAL_STREAM=$stream "$blkmqd" --log-level=debug 1M --run true 2>>journal
file_has '^<7>blkmq memory disk' journal || fail "the journal: $(cat journal)"
! grep -qv '^<[67]>[^:]' journal || fail "in the journal: $(cat journal)"
# Something else's journal.
JOURNAL_STREAM=$stream "$blkmqd" --log-level=debug 1M --run true 2>plain
file_has '^blkmqd: debug: blkmq memory disk' plain \
  || fail "no journal: $(cat plain)"

# ---- a terminal that goes ----

requires script
sock=$tmp/terminal
script -qc "exec '$blkmqd' 1M --unix '$sock' --pidfile '$tmp/p'" /dev/null \
  </dev/null >seen 2>&1 &
terminal=$!
wait_until test -s p || fail "no server in a terminal: $(cat seen)"
served=$(cat p)
kill -HUP "$served"
wait_until file_has 'nothing to be reloaded' seen \
  || fail "SIGHUP in a terminal: $(cat seen)"
kill -KILL "$terminal"
wait "$terminal" 2>/dev/null || :
wait_until test ! -e p || fail "it does not end with its terminal"
is_clean "$sock"
