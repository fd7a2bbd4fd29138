#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdinfo, nbdcopy and qemu-img speak TLS with blkmqd, with certificates and
# with keys; what they write is what they read, on several connections at once;
# and the server knows who they are.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
# shellcheck source-path=SCRIPTDIR source=tls-functions.sh
. "$top_srcdir/tests/server/tls-functions.sh"
requires certtool psktool nbdinfo nbdcopy qemu-img
choose_seed

make_ca ca
make_certificate ca server 'cn = "localhost"' 'dns_name = "localhost"' \
  tls_www_server
make_certificate ca laptop 'cn = "laptop"' tls_www_client
make_server_dir server ca server
make_client_dir client ca laptop
make_client_dir anybody ca
run_quietly psktool --username=alice --pskfile=keys
run_quietly psktool --username=bob --pskfile=keys
sparse_image image 8M "$seed"

# round_trip URI: several connections, many requests.
round_trip ()
{
  timeout 120 nbdcopy --connections=4 image "$1" || fail "nbdcopy image $1"
  timeout 120 nbdcopy --connections=4 "$1" copy || fail "nbdcopy $1 copy"
  cmp image copy || fail "$1: what was written is not what is read"
}

# qemu_round_trip OBJECT [OPTION]: likewise with qemu-img.
qemu_round_trip ()
{
  local disk=driver=raw,file.driver=nbd,file.path=$sock,file.tls-creds=tls

  disk+=${2:+,file.$2}
  timeout 120 qemu-img convert -n -f raw image --object "$1" \
    --target-image-opts "$disk" || fail "qemu-img convert to $disk"
  timeout 120 qemu-img compare --object "$1" --image-opts \
    driver=raw,file.driver=file,file.filename=image "$disk" >said 2>&1 \
    || fail "qemu-img compare: $(cat said)"
}

# Anybody who knows the CA.
start_blkmqd --log-level=debug --tls=require --tls-certificates=server 8M
grep -qx "nbds+unix:///?socket=$sock" "$out" || fail "URIs: $(cat "$out")"
expect_equal "the number of URIs" "$(wc -l <"$out")" 1
is_served "$(with_certificates "$tmp/anybody")"
grep -q ': TLS1.3, .*, any client$' "$log" || fail "no client in: $(cat "$log")"
nbdinfo "$(with_certificates "$tmp/anybody")" >said
grep -q '^protocol: newstyle-fixed with TLS, using structured packets' said \
  || fail "nbdinfo: $(cat said)"
round_trip "$(with_certificates "$tmp/anybody")"
qemu_round_trip tls-creds-x509,id=tls,endpoint=client,dir="$tmp/anybody" \
  tls-hostname=localhost
stop_blkmqd

# Those that have a certificate, over TCP as well.
start_tcp --log-level=debug --tls=require --tls-certificates=server \
  --tls-verify-peer 8M
[[ $tcp == nbds://localhost:* ]] || fail "not a URI of TLS over TCP: $tcp"
is_served "$tcp?tls-certificates=$tmp/client"
grep -q ': TLS1.3, .*, client CN=laptop,O=Example$' "$log" \
  || fail "who was it? $(cat "$log")"
round_trip "$tcp?tls-certificates=$tmp/client"
stop_blkmqd

# Users with keys; without TLS if they like.
start_blkmqd --log-level=debug --tls=on --tls-psk=keys 8M
expect_equal "the URIs" "$(sort "$out" | tr '\n' ' ')" \
  "nbd+unix:///?socket=$sock nbds+unix:///?socket=$sock "
is_served "$(with_key alice "$tmp/keys")"
is_served "$(with_key bob "$tmp/keys")"
grep -q ': TLS1.3, AES-128-GCM, client alice$' "$log" \
  || fail "alice? $(cat "$log")"
grep -q ', client bob$' "$log" || fail "bob? $(cat "$log")"
is_served "nbd+unix:///?socket=$sock"
round_trip "$(with_key bob "$tmp/keys")"
mkdir user
cp keys user/keys.psk
psk=tls-creds-psk,id=tls,endpoint=client
qemu_round_trip "$psk,dir=$tmp/user,username=bob"
stop_blkmqd

# The command of --run.
cat >commands.sh <<'END'
echo "$uri"
nbdinfo --size \
  "nbds+unix://alice@/?socket=$unixsocket&tls-psk-file=$PWD/keys"
END
run_blkmqd --tls=require --tls-psk=keys 8M --run 'sh ./commands.sh'
expect_equal "the status with --run ($(cat err))" "$status" 0
[[ $(head -n 1 out) == nbds+unix:///?socket=* ]] || fail "uri: $(cat out)"
expect_equal "the size with --run" "$(tail -n 1 out)" "$disk_bytes"

# Algorithms are the server's choice.
start_blkmqd --log-level=debug --tls=require --tls-psk=keys \
  --tls-priority=NORMAL:-VERS-TLS1.3 8M
is_served "$(with_key alice "$tmp/keys")"
grep -q ': TLS1.2, .*, client alice$' "$log" || fail "TLS 1.2? $(cat "$log")"
