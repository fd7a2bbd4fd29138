#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# badblocks=: what touches a bad sector fails with EIO, whatever it is and
# whoever asks; what is beside it does not; badblocks_partial_io= does what
# comes before, badblocks_once= fails once; wrong values are refused.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo nbdcopy qemu-io fio jq
requires_nbdreq

# Sectors 16 to 23, and the last one.
bad=badblocks=+16-23,+2047-2047

start_server 1M "$bad"
"$nbdreq" "$uri" write,0,8K,1 check,0,8K,1 read,8K,512=EIO read,11776,512=EIO \
  write,8K,4K,1=EIO write,0,16K,2=EIO check,0,8K,1 write,12K,4K,3 \
  check,12K,4K,3 trim,0,16K=EIO zero,0,16K=EIO zero,0,16K,nohole=EIO \
  check,0,8K,1 check,12K,4K,3 trim,0,8K check,0,8K,0 flush \
  read,end-512,512=EIO read,end-1024,512
# What a disk holds is not for this layer to say: bad sectors are in a hole.
expect_equal "the map" \
  "$(nbdinfo --json --map "$uri" \
      | jq -c '[.[:2][] | [.offset, .length, .type]]')" \
  '[[0,12288,3],[12288,4096,0]]'
log_has 'the medium is bad at this place' || fail "the log does not say why"
stop_server

# qemu-io and nbdcopy as users of it: both stop with an error.
start_server 1M "$bad"
for command in 'read 0 64k' 'write -P 7 0 64k' 'aio_read 8k 4k' \
  'readv 4k 4096 4096'; do
  qemu-io -f raw -t none -c "$command" -c 'aio_flush' "$uri" \
    >"$tmp/out" 2>&1 || :
  grep -q 'Input/output error' "$tmp/out" \
    || fail "qemu-io $command: $(cat "$tmp/out")"
done
"$nbdreq" "$uri" check,0,8K,0
head -c 1M /dev/zero | tr '\0' 'x' >"$tmp/xs"
if nbdcopy "$tmp/xs" "$uri" 2>"$tmp/out"; then
  fail "nbdcopy copied to a disk with bad blocks"
fi
grep -q 'Input/output error' "$tmp/out" || fail "nbdcopy: $(cat "$tmp/out")"
stop_server

# One transfer, up to the bad sector.
start_server 1M "$bad" badblocks_partial_io=true
"$nbdreq" "$uri" write,4K,60K,5=EIO check,0,4K,0 check,4K,4K,5 \
  check,12K,52K,0 read,0,64K=EIO read,8K,4K=EIO write,12K,4K,6 \
  trim,0,64K=EIO check,0,8K,0 check,12K,4K,6
stop_server

# Blocks of 4096 bytes are bad as a whole.
start_server 1M blocksize=4096 badblocks=+13-13 \
  badblocks_partial_io=1
"$nbdreq" "$uri" write,0,16K,5=EIO check,0,4K,5 read,4K,4K=EIO check,8K,4K,0
stop_server

# Each range once: fio meets each of them and goes on.
start_server 1M badblocks=+16-23,+64-64,+66-66,+2000-2040 \
  badblocks_once=yes
fio --name=once --ioengine=nbd --uri="$uri" --rw=randread --bs=512 --size=1M \
  --iodepth=8 --continue_on_error=read --output-format=json \
  --output="$tmp/fio.json" >"$tmp/out" 2>&1 || :
expect_equal "the number of errors that fio has seen" \
  "$(jq '.jobs[0].total_err' "$tmp/fio.json")" 4
"$nbdreq" "$uri" write,0,1M,9 check,0,1M,9
stop_server

# refused MESSAGE KEY...
refused ()
{
  local message=$1

  shift
  if run_server true 1M "$@" >"$tmp/out" 2>&1; then
    fail "taken: $*"
  fi
  grep -q -F -e "$message" "$tmp/out" || fail "$*: $(cat "$tmp/out")"
}

refused 'badblocks=+0-2048: beyond' badblocks=+0-2048
refused 'badblocks=+9-8: ends before it starts; must be +START-END' \
  badblocks=+9-8
refused 'in sectors of 512 bytes from 0 to 2047' badblocks=8-9
refused 'badblocks_once=maybe' badblocks=+8-9 badblocks_once=maybe
