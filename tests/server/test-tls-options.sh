#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Options of TLS that do not go together, and files that are not what they have
# to be, are errors that name the option, the file and the reason; what others
# can read is warned of.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
# shellcheck source-path=SCRIPTDIR source=tls-functions.sh
. "$top_srcdir/tests/server/tls-functions.sh"
requires certtool psktool

make_ca ca
make_certificate ca server 'cn = "localhost"' tls_www_server
make_certificate ca other 'cn = "localhost"' tls_www_server
make_server_dir good ca server
run_quietly psktool --username=alice --pskfile=keys

# What does not go together: nothing is opened.
refuses 2 '--tls=on: there is nothing to show to clients' --tls=on 1M --run true
refuses 2 '--tls=require: there is nothing' --tls=require 1M --run true
for option in --tls-certificates=good --tls-psk=keys --tls-verify-peer \
              --tls-priority=NORMAL; do
  refuses 2 "$option: TLS is off; say --tls=require" "$option" 1M --run true
  refuses 2 "$option: TLS is off; say --tls=require" --tls=off "$option" 1M \
    --run true
done
refuses 2 '--tls-psk=keys: given with --tls-certificates' --tls=on \
  --tls-psk=keys --tls-certificates=good 1M --run true
refuses 2 '--tls-verify-peer: is for --tls-certificates' --tls=on \
  --tls-psk=keys --tls-verify-peer 1M --run true
# --check reads them.
"$blkmqd" --check --tls=on --tls-certificates=good --unix=s 1M >said 2>&1 \
  || fail "--check of good certificates: $(cat said)"
refuses 2 '--tls-certificates=nowhere: server-cert.pem: No such' \
  --check --tls=on --tls-certificates=nowhere --unix=s 1M
# A list of those who need not say who they are keeps nobody out.
for words in '--tls=on --tls-psk=keys' \
             '--tls=require --tls-certificates=good' ''; do
  # shellcheck disable=SC2086 # several words
  refuses 2 '--allow-identity=bob: clients need not say who they are' \
    --allow-identity=bob $words 1M --run true
done
refuses 2 '--tls=maybe' --tls=maybe 1M --run true
refuses 2 '--tls-verify-peer: given twice' --tls=on --tls-certificates=good \
  --tls-verify-peer --tls-verify-peer 1M --run true

# wrong_certificates TEXT COMMAND...: in a copy of the good directory.
wrong_certificates ()
{
  rm -rf bad
  cp -a good bad
  (cd bad && "${@:2}")
  refuses 1 "--tls-certificates=bad: $1" --tls=require --tls-certificates=bad \
    --tls-verify-peer 1M --run true
}
both='server-cert.pem and server-key.pem: '
refuses 1 '--tls-certificates=nowhere: server-cert.pem: No such file or direc' \
  --tls=require --tls-certificates=nowhere 1M --run true
wrong_certificates 'server-cert.pem: No such file or directory' \
  rm server-cert.pem
wrong_certificates 'server-key.pem: No such file or directory' rm server-key.pem
wrong_certificates 'ca-cert.pem: No such file or directory' rm ca-cert.pem
wrong_certificates 'server-key.pem: Is a directory' \
  eval 'rm server-key.pem; mkdir server-key.pem'
wrong_certificates "${both}The certificate and the given key do not match." \
  cp "$tmp/other.key" server-key.pem
wrong_certificates "$both" truncate -s 0 server-cert.pem
wrong_certificates "$both" truncate -s 0 server-key.pem
wrong_certificates "$both" cp server-cert.pem server-key.pem
wrong_certificates 'ca-cert.pem: ' truncate -s 0 ca-cert.pem
wrong_certificates 'ca-crl.pem: ' cp ca-cert.pem ca-crl.pem
wrong_certificates 'server-key.pem: File too large' \
  truncate -s 8M server-key.pem
if [ "$(id -u)" != 0 ]; then
  wrong_certificates 'server-key.pem: Permission denied' chmod 0 server-key.pem
fi

# Without --tls-verify-peer the CA is not needed.
rm good/ca-cert.pem
run_blkmqd --tls=require --tls-certificates=good 1M --run true
expect_equal "the status without a CA ($(cat err))" "$status" 0
! grep -q warning err || fail "a warning of: $(cat err)"

# wrong_keys TEXT LINES
wrong_keys ()
{
  printf '%b' "$2" >bad-keys
  chmod 600 bad-keys
  refuses 1 "--tls-psk=bad-keys: $1" --tls=require --tls-psk=bad-keys 1M \
    --run true
}
key=00112233445566778899aabbccddeeff
refuses 1 '--tls-psk=nowhere: No such file or directory' --tls=require \
  --tls-psk=nowhere 1M --run true
wrong_keys 'has no line NAME:KEY' ''
wrong_keys 'has no line NAME:KEY' '\n\n'
wrong_keys 'line 1: must be NAME:KEY' 'alice\n'
wrong_keys 'line 2: must be NAME:KEY' "alice:$key\nbob\n"
wrong_keys 'line 1: the name must have 1 to 128 bytes' ":$key\n"
wrong_keys 'line 1: the name must have 1 to 128 bytes' \
  "$(printf 'a%.0s' {1..129}):$key\n"
wrong_keys 'line 1: the key must have 16 to 64 bytes' 'alice:\n'
wrong_keys 'line 1: the key must have 16 to 64 bytes' 'alice:00112233\n'
wrong_keys 'line 1: the key must have 16 to 64 bytes' \
  "alice:$key$key$key${key}00\n"
wrong_keys 'line 1: the key is no hexadecimal number' "alice:${key}0\n"
wrong_keys 'line 1: the key is no hexadecimal number' "alice:${key}0g\n"
wrong_keys 'line 1: a name in hexadecimal, or a comment' "#616263:$key\n"
wrong_keys 'has a NUL byte' "alice:$key\n\0\n"
wrong_keys 'has the name "alice" twice' "alice:$key\nbob:$key\nalice:$key\n"

# Ends of lines as elsewhere, and none at the end.
printf 'alice:%s\r\n\r\nbob:%s' "$key" "$key" >keys
chmod 600 keys
run_blkmqd --tls=require --tls-psk=keys 1M --run true
expect_equal "the status ($(cat err))" "$status" 0
! grep -q warning err || fail "a warning of: $(cat err)"

# Algorithms.
refuses 1 '--tls-priority=NONSENSE: ' --tls=require --tls-psk=keys \
  --tls-priority=NONSENSE 1M --run true
refuses 1 '--tls-priority=NORMAL:-VERS-ALL:+VERS-TLS1.1: ' --tls=require \
  --tls-psk=keys --tls-priority=NORMAL:-VERS-ALL:+VERS-TLS1.1 1M --run true

# What everybody can read.
chmod 644 keys good/server-key.pem
run_blkmqd --tls=require --tls-psk=keys 1M --run true
grep -q 'warning: --tls-psk=keys: everybody on this machine can read it' err \
  || fail "no warning: $(cat err)"
run_blkmqd --tls=require --tls-certificates=good 1M --run true
grep -q 'warning: --tls-certificates=good: server-key.pem: everybody on' err \
  || fail "no warning: $(cat err)"
grep -c everybody err | grep -qx 1 || fail "too many warnings: $(cat err)"
