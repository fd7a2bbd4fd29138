#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Who is not what the server wants, or finds that the server is not what he
# wants, is not served: other CAs, certificates whose time is over, that are for
# something else or were revoked, none at all, unknown users, wrong keys, and
# clients without TLS.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
# shellcheck source-path=SCRIPTDIR source=tls-functions.sh
. "$top_srcdir/tests/server/tls-functions.sh"
requires certtool psktool nbdinfo nbdcopy qemu-img

make_ca ca
make_ca other
names=('cn = "localhost"' 'dns_name = "localhost"' tls_www_server)
make_certificate ca server "${names[@]}"
make_certificate ca old-server "${names[@]}" "${expired[@]}"
make_certificate ca elsewhere 'cn = "elsewhere"' 'dns_name = "elsewhere"' \
  tls_www_server
for name in laptop stolen; do
  make_certificate ca $name "cn = \"$name\"" tls_www_client
done
make_certificate ca old-laptop 'cn = "laptop"' tls_www_client "${expired[@]}"
make_certificate other stranger 'cn = "laptop"' tls_www_client
for name in server old-server elsewhere; do
  make_server_dir dir-$name ca $name
done
for name in laptop stolen old-laptop stranger server; do
  make_client_dir dir-client-$name ca $name
done
make_client_dir dir-anybody ca
make_client_dir dir-other other laptop

# What clients find wrong with the server; libnbd goes then, and does not say
# why.
without_a_word='is gone in the middle of the TLS handshake\|the client says'
anybody="?tls-certificates=$tmp/dir-anybody"
start_tcp --log-level=debug --tls=require --tls-certificates=dir-server 8M
is_served "$tcp$anybody"
is_refused "$tcp?tls-certificates=$tmp/dir-other" \
  "$without_a_word"
stop_blkmqd

start_tcp --log-level=debug --tls=require --tls-certificates=dir-elsewhere 8M
is_refused "$tcp$anybody" "$without_a_word"
stop_blkmqd

start_tcp --log-level=debug --tls=require --tls-certificates=dir-old-server 8M
grep -q 'warning: .*dir-old-server: server-cert.pem: has expired at 2020-02' \
  "$log" || fail "no warning in: $(cat "$log")"
is_refused "$tcp$anybody" "$without_a_word"
stop_blkmqd

# Without TLS.
start_blkmqd --tls=require --tls-certificates=dir-server 8M
uri="nbd+unix:///?socket=$sock"
without_tls ()
{
  if timeout 60 "$@" >said 2>&1; then
    fail "$* was served without TLS: $(cat said)"
  fi
}
without_tls nbdinfo --list "$uri"
without_tls nbdinfo --size "$uri"
without_tls nbdcopy "$uri" null:
without_tls qemu-img info "$uri"
grep -qi 'TLS' said || fail "qemu-img does not say why: $(cat said)"
stop_blkmqd

# What the server finds wrong with clients.
start_blkmqd --tls=require --tls-certificates=dir-server --tls-verify-peer 8M
is_served "$(with_certificates "$tmp/dir-client-laptop")"
is_served "$(with_certificates "$tmp/dir-client-stolen")"
is_refused "$(with_certificates "$tmp/dir-anybody")" \
  'refused: TLS handshake: Certificate is required'
is_refused "$(with_certificates "$tmp/dir-client-old-laptop")" \
  'refused: TLS handshake: .*expired'
is_refused "$(with_certificates "$tmp/dir-client-stranger")" \
  'refused: TLS handshake: '
is_refused "$(with_certificates "$tmp/dir-client-server")" \
  'refused: TLS handshake: .*purpose'
is_served "$(with_certificates "$tmp/dir-client-laptop")"
stop_blkmqd

# Who it knows, and who is not on the list.
start_blkmqd --tls=require --tls-certificates=dir-server --tls-verify-peer \
  --allow-identity='CN=lap*,O=Example' --allow-identity=CN=nobody 8M
is_served "$(with_certificates "$tmp/dir-client-laptop")"
is_refused "$(with_certificates "$tmp/dir-client-stolen")" \
  'refused: "CN=stolen,O=Example" is not in --allow-identity'
stop_blkmqd

# What was revoked.
printf '%s\n' 'crl_next_update = 10' 'crl_number = 1' >crl.info
run_quietly certtool --generate-crl --load-ca-certificate ca.pem \
  --load-ca-privkey ca.key --load-certificate stolen.pem --template crl.info \
  --outfile dir-server/ca-crl.pem
start_blkmqd --tls=require --tls-certificates=dir-server --tls-verify-peer 8M
is_served "$(with_certificates "$tmp/dir-client-laptop")"
is_refused "$(with_certificates "$tmp/dir-client-stolen")" \
  'refused: TLS handshake: .*revoked'
stop_blkmqd

# Keys.
run_quietly psktool --username=alice --pskfile=keys
run_quietly psktool --username=alice --pskfile=wrong
run_quietly psktool --username=mallory --pskfile=wrong
start_blkmqd --tls=require --tls-psk=keys 8M
is_served "$(with_key alice "$tmp/keys")"
is_refused "$(with_key alice "$tmp/wrong")" 'refused: TLS handshake: '
cp new wrong-key
is_refused "$(with_key mallory "$tmp/wrong")" 'refused: TLS handshake: '
sed 's/pid [0-9]*//' new >said
expect_equal "what is said of a user that is not there, and of a wrong key" \
  "$(cat said)" "$(sed 's/pid [0-9]*//' wrong-key)"
stop_blkmqd

run_quietly psktool --username=bob --pskfile=keys
start_blkmqd --tls=require --tls-psk=keys --allow-identity=bob 8M
is_served "$(with_key bob "$tmp/keys")"
is_refused "$(with_key alice "$tmp/keys")" \
  'refused: "alice" is not in --allow-identity'
stop_blkmqd

# A client that insists, and a server that has none.
start_blkmqd 8M
if nbdinfo --size "$(with_key alice "$tmp/keys")" >said 2>&1; then
  fail "nbdinfo was served without the TLS that it wants"
fi
is_served "$uri"
