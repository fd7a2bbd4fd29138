#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# control=PATH: the disks of a server are changed on a socket while clients use
# them; what cannot be served is refused; and nothing that was asked for there
# keeps the server from ending.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires_nbdreq

# What comes on stdin, said to the socket $1; prints the answers.
cat >"$tmp/say.pl" <<'PERL'
use strict;
use warnings;
use IO::Socket::UNIX;

my $socket = IO::Socket::UNIX->new (Peer => $ARGV[0])
  or die "$ARGV[0]: $!\n";
<$socket>;
print $socket $_ while <STDIN>;
shutdown ($socket, 1);
print while <$socket>;
PERL

# ask REQUEST PATTERN: the answer must have it.
ask ()
{
  perl "$tmp/say.pl" "$tmp/control" <<<"$1" >"$tmp/answer" \
    || fail "$1: no answer"
  grep -q -e "$2" "$tmp/answer" || fail "$1: no $2 in: $(cat "$tmp/answer")"
}

# Of the disk "slow".
delay_reads ()
{
  local setting='{"key":"delay_read","value":"'$1'"}'

  ask '{"command":"set","export":"slow","settings":['"$setting"']}' '"ok":true'
}

# ---- what cannot be served ----

# refuse PATTERN ARGUMENT...
refuse ()
{
  if run_server "touch '$tmp/served'" 1M "${@:2}" 2>"$tmp/err"; then
    fail "served: ${*:2}"
  fi
  [ ! -e "$tmp/served" ] || fail "served: ${*:2}"
  grep -q -e "$1" "$tmp/err" || fail "no '$1' in: $(cat "$tmp/err")"
}

echo kept >"$tmp/file"
refuse 'file: exists and is not a socket' control="$tmp/file"
expect_equal "the file" "$(cat "$tmp/file")" kept
refuse 'none/control: .*No such file' control="$tmp/none/control"
refuse 'a path of 1 to 107 bytes' control="$tmp/$(printf 'x%.0s' {1..120})"
refuse 'a path of 1 to 107 bytes' control=
refuse 'must come before the first' export=a control="$tmp/control"

# ---- disks are changed while they are served ----

# A relative path is one from here, though nbdkit goes elsewhere.
start_server 8M control=control export=fast export=slow
expect_equal "the mode of the socket" "$(stat -c %a "$tmp/control")" 600
ask '{"command":"exports"}' '"name":"fast".*"name":"slow"'
ask '{"command":"get","export":"slow","keys":["live"]}' '"live":"1"'
"$nbdreq" "nbd+unix:///slow?socket=$sock" write,0,64K,7
delay_reads 300ms
takes_at_least 300 "$nbdreq" "nbd+unix:///slow?socket=$sock" check,0,64K,7
ask '{"command":"stats","export":"slow"}' '"total":{"ios":{"read":1,"write":1,'
ask '{"command":"stats","export":"fast"}' '"total":{"ios":{"read":0,"write":0,'
refuse 'another server listens there' control="$tmp/control"

# ---- the end ----

# A disk that is frozen, and a freeze that waits for a request without end.
ask '{"command":"freeze","export":"fast"}' '"ok":true'
"$nbdreq" "nbd+unix:///fast?socket=$sock" check,0,4K,0 2>/dev/null &
frozen=$!
delay_reads 3600s
"$nbdreq" "nbd+unix:///slow?socket=$sock" check,0,4K,7 2>/dev/null &
stuck=$!
in_flight ()
{
  perl "$tmp/say.pl" "$tmp/control" \
    <<<'{"command":"inflight","export":"slow"}' | grep -q '"op":"read"'
}
wait_until in_flight || fail 'the request did not come'
perl "$tmp/say.pl" "$tmp/control" <<<'{"command":"freeze","export":"slow"}' \
  >/dev/null 2>&1 &
waits=$!
stop_server
wait "$frozen" "$stuck" "$waits" || :
[ ! -e "$tmp/control" ] || fail "the control socket was left behind"

# A socket that a killed server has left is no matter.
start_server 8M control="$tmp/control"
kill -KILL "$pid"
wait "$pid" || :
servers=()
[ -S "$tmp/control" ] || fail "a killed server has removed its socket"
start_server 8M control="$tmp/control"
ask '{"command":"exports"}' '"name":""'
stop_server
