#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# blkmqctl top in a terminal, 80x24 and 132x43: the lines fit, the columns are
# aligned, the numbers are there; it follows the terminal's size, and gives the
# terminal back however it ends.
# shellcheck source-path=SCRIPTDIR source=functions.sh
top_tests=$(cd "$(dirname "$0")/.." && pwd)
. "$top_tests/blkmqctl/functions.sh"
requires tmux jq
requires_nbdreq

in_tmux ()
{
  tmux -S "$tmp/tmux" -f /dev/null "$@"
}
cleanup_fn in_tmux kill-server

# What the terminal shows.
see ()
{
  in_tmux capture-pane -p -t top >"$tmp/screen"
}

shows ()
{
  see
  grep -Eq -e "$1" "$tmp/screen"
}

expect_shown ()
{
  wait_until shows "$1" || fail "the terminal has no $1:
$(cat "$tmp/screen")"
}

# A shell in a terminal of its own.
open_terminal ()
{
  in_tmux new-session -d -s top -x "$1" -y "$2" \
    "env PS1='shell> ' BLKMQ_CONTROL='$control' bash --norc --noprofile -i"
  expect_shown '^shell>'
}

type_line ()
{
  in_tmux send-keys -t top -l "$1"
  in_tmux send-keys -t top Enter
}

# start_top ARGUMENT...
start_top ()
{
  type_line "'$ctl' top $*"
  expect_shown '^q quits; every '
}

# The numbers of each row end where the title of their column does.
expect_aligned ()
{
  awk '
    / IOPS / { titles = $0; next }
    titles == "" || /^$/ { exit }
    { title_columns = split (titles, ignored, "")
      for (i = 1; i <= length ($0); i++)
        if (substr ($0, i, 1) != " " && substr ($0, i + 1, 1) ~ /^ ?$/ \
            && substr ($0, i + 1, 2) !~ /^ [KMGTPEBnum]/ && i > 10 \
            && substr (titles, i + 1, 1) !~ /^ ?$/) {
          print "column " i ": " $0
          bad = 1
        } }
    END { exit bad }' "$tmp/screen" >"$tmp/unaligned" \
    || fail "not aligned: $(cat "$tmp/unaligned" "$tmp/screen")"
}

# Whatever was done, the terminal is as before: the text that was there, its
# cursor, and the echo of what is typed.
expect_terminal_back ()
{
  expect_shown '^before top'
  type_line 'echo status=$?'
  expect_shown "^status=$1"
  expect_equal "the cursor" \
    "$(in_tmux display-message -p -t top '#{cursor_flag}')" 1
  expect_equal "the alternate screen" \
    "$(in_tmux display-message -p -t top '#{alternate_on}')" 0
  # shellcheck disable=SC2016 # for that shell
  type_line 'echo "e"cho=$((20 + 22))'
  expect_shown '^shell> echo "e"cho'
  expect_shown '^echo=42'
  type_line 'clear; echo before top'
  expect_shown '^before top'
}

start_server 1M submit_queues=4 control="$control" live=1

# ---- 80x24 ----

open_terminal 80 24
type_line 'clear; echo before top'
expect_shown '^before top'
start_top -d 0.2
expect_shown '^blkmq  memory 1 MiB, 4 hardware queues of 64, scheduler none$'
expect_shown '^all +0 +0 B +0 +0 +- +- +0$'
expect_shown 'switch that on: blkmqctl set iostats=1$'
"$ctl" -s "$control" set iostats=1 || fail "set"
# Reads without end, until the numbers were seen.
start_reads ()
{
  local requests

  read -ra requests < <(printf 'check,0,4K,0 %.0s' {1..1000}; echo)
  (while "$nbdreq" "$uri" "${requests[@]}" >/dev/null; do :; done) &
  reads=$!
}
stop_reads ()
{
  kill "$reads" 2>/dev/null || :
  wait "$reads" 2>/dev/null || :
}
start_reads
cleanup_fn stop_reads
expect_shown '^read +[1-9][0-9,]* +[0-9.]+ [KM]iB +[01] +[0-9.]+ [num]s +[0-9.]'
expect_shown \
  '^hctx [0-3] +[1-9][0-9,]* +[0-9.]+ [KM]iB +[01] +0 +[0-9.]+ [num]s'
see
at_most_columns 80 "$tmp/screen"
expect_aligned
expect_equal "lines of hctxs" "$(grep -c '^hctx ' "$tmp/screen")" 4
expect_equal "the last line" "$(sed -n '24s/;.*//p' "$tmp/screen")" 'q quits'
if grep -q 'READ/s' "$tmp/screen"; then
  fail "80 columns have room for READ/s"
fi

# ---- resized to 132x43, and to next to nothing ----

in_tmux resize-window -t top -x 132 -y 43
expect_shown 'READ/s +WRITE/s .* READ P99 WRITE P99'
wide_row='^read +[1-9][0-9,]* '
expect_shown "$wide_row"
see
at_most_columns 132 "$tmp/screen"
expect_aligned
expect_equal "the last line" "$(sed -n '43s/;.*//p' "$tmp/screen")" 'q quits'
in_tmux resize-window -t top -x 20 -y 5
expect_shown '^ +IOPS$'
in_tmux resize-window -t top -x 80 -y 24
expect_shown 'ERR/s$'

# ---- the power of the disk, errors: what is out of the ordinary ----

"$ctl" -s "$control" freeze || fail "freeze"
expect_shown '^frozen$'
"$ctl" -s "$control" unfreeze || fail "unfreeze"
stop_reads

# ---- ends ----

in_tmux send-keys -t top q
expect_terminal_back 0
start_top -d 0.2
in_tmux send-keys -t top C-c
expect_terminal_back 130
start_top -d 0.2 -n 3
expect_terminal_back 0

# Stopped and continued.
start_top -d 0.2
in_tmux send-keys -t top C-z
expect_shown 'Stopped'
type_line 'echo in_between'
expect_shown '^in_between'
type_line fg
expect_shown '^q quits'
shell_pid=$(in_tmux display-message -p -t top '#{pane_pid}')
kill -TERM "$(pgrep -P "$shell_pid")"
expect_terminal_back 143

# The disk ends.
start_top -d 0.2
stop_server
expect_shown "^blkmqctl: top: $control: the connection is lost"
expect_terminal_back 3

# ---- more hctxs than lines, and a disk that does not answer ----

# stats NOW_NS IOS...: one hctx for each number of reads.
stats ()
{
  jq -nc --argjson now "$1" '
    def counters: { ios: { read: . }, bytes: { read: (. * 4096) },
                    errors: {}, rejected: {}, in_flight: { read: 0 },
                    waiting: 0, busy: 0, requeues: 0, latency: {} };
    { id: $id, ok: true,
      result: { now_ns: $now, hctxs: [$ARGS.positional[] | counters],
                total: ([$ARGS.positional[]] | add | counters) } }' \
    --argjson id "$2" --jsonargs "${@:3}" | sed 's/^/> /'
}
show ()
{
  jq -nc --argjson id "$1" '
    { id: $id, ok: true,
      result: { name: "many", driver: "null", size_bytes: 1024,
                scheduler: "none", power: false, freezes: 0,
                queues: { hw_queue_depth: 1 }, keys: [],
                hctxs: [range (1024) | { type: "default" }] } }' | sed 's/^/> /'
}
read -ra zeros < <(printf '0 %.0s' {1..1024}; echo)
busy=("${zeros[@]}")
busy[7]=50 busy[900]=100 busy[1023]=70
too_long='{"errno":"EMSGSIZE","message":"too many buckets"}'
start_peer "$greeting" \
  '= {"id":1,"command":"show"}' "$(show 1)" \
  '= {"buckets":true,"id":2,"command":"stats"}' \
  "> {\"id\":2,\"ok\":false,\"error\":$too_long}" \
  '= {"buckets":false,"id":3,"command":"stats"}' \
  "$(stats 1000000000 3 "${zeros[@]}")" \
  '<' "$(show 4)" \
  '= {"buckets":false,"id":5,"command":"stats"}' \
  "$(stats 2000000000 5 "${busy[@]}")" '<' wait
start_top -d 0.1
expect_shown '^many  null 1 KiB, 1024 hardware queues of 1, scheduler none$'
expect_shown '^the power is off$'
expect_shown '^P50 and P99: there are too many hardware queues for them$'
expect_shown '^all +220 +880.0 KiB '
expect_shown '^hctx 900 +100 '
expect_shown '^hctx 1023 +70 '
expect_shown '1009 of 1024 hctxs are not shown$'
see
at_most_columns 80 "$tmp/screen"
expect_equal "lines of hctxs" "$(grep -c '^hctx ' "$tmp/screen")" 15
# It never answers again, and yet one can quit.
expect_shown '^no answer$'
in_tmux send-keys -t top q
expect_terminal_back 0
end_peer

# ---- not a terminal: text, one picture after the other, all hctxs ----

start_server 1M submit_queues=30 control="$control" iostats=1
expect 0 '' top -d 0.1 -n 2
expect_equal "pictures" "$(grep -c '^blkmq  memory' "$tmp/out")" 2
expect_equal "lines of hctxs" "$(grep -c '^hctx ' "$tmp/out")" 60
expect_equal "escapes" "$(grep -c $'\033' "$tmp/out" || :)" 0
at_most_columns 80 "$tmp/out"
