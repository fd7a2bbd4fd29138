#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# TCP: a port of one's own or one that is free, names and addresses, and URIs
# that are printed are those by which the disks are reached.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo

start_tcp ()
{
  launch "$@"
  wait_until serves_or_is_gone || fail "blkmqd $* does not begin to serve"
  [ -s "$pidfile" ] || fail "blkmqd $*: $(cat "$log")"
}

# serves URI: 64 MiB.
serves ()
{
  expect_equal "the size at $1" "$(nbdinfo --size "$1")" 67108864
}

# ---- a free port ----

addresses=(127.0.0.1:0 localhost:0)
if has_ipv6; then
  addresses+=('[::1]:0')
fi
for address in "${addresses[@]}"; do
  start_tcp 64M --log-level debug --tcp "$address"
  uri=$(cat "$out")
  [[ $uri =~ ^nbd://(.*):([0-9]+)$ ]] || fail "$address: printed $uri"
  expect_equal "the host" "${BASH_REMATCH[1]}" "${address%:0}"
  port=${BASH_REMATCH[2]}
  [ "$port" -gt 0 ] || fail "$address: port $port"
  serves "$uri"
  # The client's name.
  log_has '^blkmqd: debug: \(127\.0\.0\.1:\|\[::1\]:\)[0-9]\+: ' \
    || fail "$address: no client in the log"

  # It is taken.
  refuses 1 "--tcp=${address%0}$port: Address already in use" \
    64M --tcp "${address%0}$port"
  serves "$uri"
  # And can be had again at once, with connections of before.
  stop_blkmqd
  start_tcp 64M --tcp "${address%0}$port"
  expect_equal "what is printed" "$(cat "$out")" "$uri"
  serves "$uri"
  stop_blkmqd
done

# ---- no other address ----

# All of 127.0.0.0/8 is this machine.
start_tcp 64M --tcp 127.0.0.1:0
uri=$(cat "$out")
serves "$uri"
! nbdinfo --size "nbd://127.0.0.2:${uri##*:}" >other 2>&1 \
  || fail "--tcp 127.0.0.1 is reached at 127.0.0.2"
grep -q 'Connection refused' other || fail "127.0.0.2: $(cat other)"
stop_blkmqd

# ---- all addresses, at one port ----

for host in '' '*'; do
  start_tcp 64M --tcp "$host:0"
  uri=$(cat "$out")
  [[ $uri =~ ^nbd://localhost:([0-9]+)$ ]] || fail "printed $uri"
  serves "$uri"
  serves "nbd://127.0.0.1:${BASH_REMATCH[1]}"
  if has_ipv6; then
    serves "nbd://[::1]:${BASH_REMATCH[1]}"
  fi
  stop_blkmqd
done

# ---- several sockets, several disks ----

start_tcp 64M --tcp 127.0.0.1:0 --unix "$tmp/s" --tcp 127.0.0.1:0 \
  export='a b/ä?' export=
expect_equal "the number of lines" "$(wc -l <"$out")" 6
expect_equal "the lines in the middle" "$(sed -n 3,4p "$out")" \
  "nbd+unix:///a%20b/%C3%A4%3F?socket=$tmp/s
nbd+unix:///?socket=$tmp/s"
while read -r uri; do
  serves "$uri"
done <"$out"
stop_blkmqd
