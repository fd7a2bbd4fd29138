# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# functions.sh: what the tests of blkmqctl share, beside those of the shell
# tests.  Sourced, never run.
#
# From the environment:
#   BLKMQ_CTL   path of blkmqctl (required)
#   BLKMQ_PEER  path of peer, built from tests/blkmqctl/peer.c (required)

# shellcheck source-path=SCRIPTDIR source=../shell/functions.sh
. "$top_tests/shell/functions.sh"

ctl=${BLKMQ_CTL:?set it to blkmqctl}
peer=${BLKMQ_PEER:?set it to peer}
control=$tmp/control # the socket of the latest peer or server
greeting='> {"blkmq":"9.8.7","protocol":1}'
peer_pid=

unset BLKMQ_CONTROL COLUMNS

peer_is_there ()
{
  [ -S "$control" ]
}

# start_peer LINE...: a peer that does what these lines of a script say.
start_peer ()
{
  printf '%s\n' "$@" >"$tmp/script"
  "$peer" "$control" <"$tmp/script" >"$tmp/peer.out" 2>"$tmp/peer.err" &
  peer_pid=$!
  wait_until peer_is_there || fail "no peer: $(cat "$tmp/peer.err")"
}

# It must have played its part.
end_peer ()
{
  wait "$peer_pid" || fail "the peer: $(cat "$tmp/peer.err")"
}

# run_ctl ARGUMENT...: blkmqctl at that socket.  Sets status; what it said is in
# the files out and err.
run_ctl ()
{
  status=0
  "$ctl" -s "$control" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null || status=$?
}

# expect STATUS ERROR ARGUMENT...: blkmqctl exits with that status and says
# exactly this.
expect ()
{
  run_ctl "${@:3}"
  expect_equal "the status of blkmqctl ${*:3} ($(cat "$tmp/err"))" \
    "$status" "$1"
  expect_equal "what blkmqctl ${*:3} says" "$(cat "$tmp/err")" "$2"
}

# prints TEXT ARGUMENT...: blkmqctl succeeds and prints exactly this.
prints ()
{
  expect 0 '' "${@:2}"
  expect_equal "what blkmqctl ${*:2} prints" "$(cat "$tmp/out")" "$1"
}

# No line of a file is wider than this.
at_most_columns ()
{
  awk -v max="$1" 'length > max { print FILENAME ": " $0; bad = 1 }
                   END { exit bad }' "$2" \
    || fail "lines of more than $1 columns"
}
