# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# tls-functions.sh: certificates and keys for the tests of TLS, made afresh in
# the test's directory.  Sourced after functions.sh, never run.

# run_quietly COMMAND...: its words are shown if it fails.
run_quietly ()
{
  "$@" >quiet 2>&1 || fail "$*: $(cat quiet)"
}

# make_ca NAME: NAME.key and NAME.pem.
make_ca ()
{
  run_quietly certtool --generate-privkey --key-type=ecdsa --outfile "$1.key"
  printf '%s\n' "cn = \"$1\"" ca cert_signing_key 'expiration_days = 10' \
    >"$1.info"
  run_quietly certtool --generate-self-signed --load-privkey "$1.key" \
    --template "$1.info" --outfile "$1.pem"
}

# make_certificate CA NAME LINE...: NAME.key and NAME.pem, signed by CA, with
# what the lines say.  Its time begins now and lasts for days unless they say
# otherwise.
make_certificate ()
{
  local ca=$1 name=$2

  shift 2
  printf '%s\n' 'organization = "Example"' signing_key "$@" >"$name.info"
  grep -q expiration "$name.info" || echo 'expiration_days = 5' >>"$name.info"
  run_quietly certtool --generate-privkey --key-type=ecdsa \
    --outfile "$name.key"
  run_quietly certtool --generate-certificate --load-privkey "$name.key" \
    --load-ca-certificate "$ca.pem" --load-ca-privkey "$ca.key" \
    --template "$name.info" --outfile "$name.pem"
}

# Its time is over.
expired=('activation_date = "2020-01-01 00:00:00"'
         'expiration_date = "2020-02-01 00:00:00"')

# make_server_dir DIR CA NAME: what blkmqd wants.
make_server_dir ()
{
  mkdir "$1"
  cp "$2.pem" "$1/ca-cert.pem"
  cp "$3.pem" "$1/server-cert.pem"
  cp "$3.key" "$1/server-key.pem"
}

# make_client_dir DIR CA [NAME]: what a client wants, with a certificate or
# without.
make_client_dir ()
{
  mkdir "$1"
  cp "$2.pem" "$1/ca-cert.pem"
  [ $# -lt 3 ] || cp "$3.pem" "$1/client-cert.pem"
  [ $# -lt 3 ] || cp "$3.key" "$1/client-key.pem"
}

# start_tcp OPTION...: blkmqd on localhost.  Sets what launch does, and tcp: its
# URI.  libnbd looks at a server's certificate only there.
start_tcp ()
{
  launch --tcp=localhost:0 "$@"
  wait_until serves_or_is_gone || fail "blkmqd $* does not begin to serve"
  [ -s "$pidfile" ] || fail "blkmqd $*: $(cat "$log")"
  # shellcheck disable=SC2034
  tcp=$(head -n 1 "$out")
}

# with_certificates DIR: the URI of the latest server for a client with DIR.
with_certificates ()
{
  echo "nbds+unix:///?socket=$sock&tls-certificates=$1"
}

# with_key USER FILE: likewise.
with_key ()
{
  echo "nbds+unix://$1@/?socket=$sock&tls-psk-file=$2"
}

# The server has logged TEXT behind what it had logged before, to the file new.
has_logged ()
{
  tail -c +$((logged_bytes + 1)) "$log" >new
  grep -q -e "$1" new
}

# is_refused URI TEXT: a client fails, and the server's log says why.
is_refused ()
{
  logged_bytes=$(stat -c %s "$log")
  if timeout 60 nbdinfo --size "$1" >said 2>&1; then
    fail "nbdinfo $1 was served: $(cat said)"
  fi
  wait_until has_logged "$2" \
    || fail "nbdinfo $1: no '$2' in: $(cat new); it says: $(cat said)"
}

# is_served URI
is_served ()
{
  timeout 60 nbdinfo --size "$1" >said 2>&1 \
    || fail "nbdinfo $1: $(cat said); the server: $(cat "$log")"
  expect_equal "the size that $1 has" "$(cat said)" "$disk_bytes"
}
disk_bytes=8388608
