#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A volatile write cache over a slow media: clients see a cache, reads find what
# is in it, and it is the flush, or FUA, that waits for the media.  fio's data
# survives a cache that is far too small for it.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo jq fio
requires_nbdreq
fio --enghelp=nbd >/dev/null 2>&1 || skip "fio has no nbd engine"
choose_seed

slow=media_delay_write=400ms

start_server 8M cache_size=1 "$slow"
flags=$(nbdinfo --json "$uri" | jq -c '.exports[0]
  | [.can_flush, .can_fua, .can_multi_conn]')
expect_equal "flush, fua, multi-conn" "$flags" '[true,true,true]'
takes_at_least 400 "$nbdreq" "$uri" write,4K,4K,7 write,64K,512,8 \
  check,4K,4K,7 check,64K,512,8 check,0,4K,0 flush check,4K,4K,7
takes_at_least 400 "$nbdreq" "$uri" write,4K,4K,9,fua check,4K,4K,9
"$nbdreq" "$uri" write,0,12K,3 trim,4K,4K check,0,4K,3 check,4K,4K,0 \
  zero,0,2K check,0,2K,0 check,2K,2K,3 check,8K,4K,3
stop_server

# Another connection's flush is as good.
start_server 8M cache_size=1 fua=0 "$slow" submit_queues=2
"$nbdreq" "$uri" write,4K,4K,7
takes_at_least 400 "$nbdreq" "$uri" flush
takes_at_least 400 "$nbdreq" "$uri" write,8K,4K,7,fua check,4K,8K,7
stop_server

for keys in cache_size=16k 'cache_size=1 submit_queues=2 irqmode=softirq' \
            'cache_size=64k scheduler=mq-deadline io_timeout=300s'; do
  # shellcheck disable=SC2086
  start_server 8M $keys
  fio --name=verify --ioengine=nbd --uri="$uri" --rw=randwrite --bs=512-16k \
    --iodepth=16 --numjobs=2 --size=2M --offset_increment=4M \
    --randseed="$seed" --fsync=100 --verify=crc32c --verify_fatal=1 \
    --do_verify=1 --verify_state_save=0 --output="$tmp/fio" \
    >"$tmp/stdout" 2>&1 || fail "$keys: $(cat "$tmp/stdout" "$tmp/fio")"
  stop_server
done

# Without power all is refused, and the connection stays.
start_server 8M power=0 cache_size=1
"$nbdreq" "$uri" read,0,4K=ESHUTDOWN write,0,4K,1=ESHUTDOWN flush=ESHUTDOWN \
  read,0,4K=ESHUTDOWN size,8M
stop_server

! run_server true 8M cache_size=1k 2>"$tmp/refused" \
  || fail "a cache of 1 KiB was taken"
grep -q 'cache_size=1k: must be 0 (none) or at least 4096 bytes' \
  "$tmp/refused" || fail "not refused as it should be: $(cat "$tmp/refused")"
