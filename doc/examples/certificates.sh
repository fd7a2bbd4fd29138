#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# certificates.sh DIRECTORY HOST CLIENT...: a CA, a certificate for the server
# by the name HOST, and one for each client.  DIRECTORY/server is what blkmqd
# wants as --tls-certificates, DIRECTORY/CLIENT what goes to that client, and
# DIRECTORY/ca-key.pem stays here.
set -euo pipefail
umask 077
mkdir -p "$1"
cd "$1"
host=$2
shift 2

# certificate NAME server|client LINE...
certificate ()
{
  mkdir -p "$1"
  cp ca-cert.pem "$1"
  printf '%s\n' "cn = \"$1\"" signing_key "tls_www_$2" "${@:3}" >"$1/template"
  certtool --generate-privkey --key-type=ecdsa --outfile "$1/$2-key.pem"
  certtool --generate-certificate --load-privkey "$1/$2-key.pem" \
    --load-ca-certificate ca-cert.pem --load-ca-privkey ca-key.pem \
    --template "$1/template" --outfile "$1/$2-cert.pem"
}

printf '%s\n' 'cn = "CA of the disks"' ca cert_signing_key >template
certtool --generate-privkey --key-type=ecdsa --outfile ca-key.pem
certtool --generate-self-signed --load-privkey ca-key.pem \
  --template template --outfile ca-cert.pem
certificate server server "dns_name = \"$host\""
for client; do
  certificate "$client" client
done
