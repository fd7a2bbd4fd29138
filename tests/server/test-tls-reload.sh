#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# SIGHUP: who comes from then on is shown new keys and certificates; if one is
# wrong those that there were go on.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
# shellcheck source-path=SCRIPTDIR source=tls-functions.sh
. "$top_srcdir/tests/server/tls-functions.sh"
requires certtool psktool nbdinfo

# reload TEXT: and wait until the log has that.
reload ()
{
  logged_bytes=$(stat -c %s "$log")
  kill -HUP "$pid"
  wait_until has_logged "$1" || fail "no '$1' in: $(cat new)"
}
was_read='SIGHUP: certificates or keys of TLS were read anew'

run_quietly psktool --username=alice --pskfile=alice
run_quietly psktool --username=bob --pskfile=bob
cp alice keys
start_blkmqd --tls=require --tls-psk=keys 8M
is_served "$(with_key alice "$tmp/alice")"
is_refused "$(with_key bob "$tmp/bob")" 'refused: TLS handshake: '
cp bob keys
is_served "$(with_key alice "$tmp/alice")"
reload "$was_read"
is_refused "$(with_key alice "$tmp/alice")" 'refused: TLS handshake: '
is_served "$(with_key bob "$tmp/bob")"
echo nonsense >keys
keys=--tls-psk=$tmp/keys
reload "error: SIGHUP: $keys: line 1: .*; going on with what was read"
is_served "$(with_key bob "$tmp/bob")"
rm keys
reload "error: SIGHUP: $keys: No such file .*; going on with what was read"
is_served "$(with_key bob "$tmp/bob")"
stop_blkmqd

# A certificate that is about to expire is replaced.
make_ca ca
make_certificate ca old 'cn = "old"' 'dns_name = "localhost"' "${expired[@]}"
make_certificate ca fresh 'cn = "fresh"' 'dns_name = "localhost"'
make_server_dir server ca old
make_client_dir anybody ca
start_tcp --log-level=debug --tls=require --tls-certificates=server 8M
is_refused "$tcp?tls-certificates=$tmp/anybody" 'TLS handshake'
cp fresh.pem server/server-cert.pem
reload 'do not match.*; going on with what was read before'
is_refused "$tcp?tls-certificates=$tmp/anybody" 'TLS handshake'
cp fresh.key server/server-key.pem
reload "$was_read"
is_served "$tcp?tls-certificates=$tmp/anybody"
