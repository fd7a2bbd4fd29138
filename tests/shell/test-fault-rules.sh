#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# fault=, timeout=, requeue= and init_hctx=: what clients see of them, with the
# examples of blkmq-layers(7); and what hangs keeps neither a client nor the
# server from ending.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires jq
requires_nbdreq

# ---- the examples ----

manual=$top_srcdir/man/blkmq-layers.pod
nr_examples=0

# example KEYS REQUEST...: the manual has " nbdkit -U - blkmq 1G KEYS"; serve
# that.
example ()
{
  local keys

  grep -qFx -- " nbdkit -U - blkmq 1G $1" "$manual" \
    || fail "the manual has no example with $1"
  nr_examples=$((nr_examples + 1))
  eval "keys=($1)"
  shift
  start_server 1G seed=1 "${keys[@]}" # of chance the same
  "$nbdreq" "$uri" "$@" || fail "${keys[*]}: not as expected: $*"
  stop_server
}

example 'fault=op=read,sectors=8-15,status=medium' \
  read,0,4K read,4K,4K=EIO read,2K,4K=EIO read,8K,4K write,4K,4K,1
example 'fault=op=write,after=2,errno=ENOSPC' \
  write,0,4K,1 write,0,4K,1 write,0,4K,1=ENOSPC read,0,4K write,0,4K,1=ENOSPC
example 'fault=op=flush,every=3' \
  flush flush flush=EIO flush flush flush=EIO write,0,4K,1
example "'fault=op=write|zero,once,status=ok'" \
  write,0,4K,7 check,0,4K,0 write,0,4K,7 check,0,4K,7
example "'fault=at=media,probability=0.1;op=read,delay=100ms'" read,0,4K
example 'fault=op=trim,once,hang io_timeout=200' trim,0,4K=EIO trim,0,4K
example 'io_timeout=100 timeout=3,100,0,-1' \
  read,0,4K write,0,4K,1 read,0,4K=EIO read,0,4K read,0,4K flush=EIO
example 'requeue=1,50,0,-1' write,0,1M,3 check,0,1M,3 flush
expect_equal "the number of examples of faults in the manual" \
  "$(grep -cE '^ nbdkit .*(fault|timeout|requeue|init_hctx)=' "$manual")" \
  "$nr_examples"

# ---- errors ----

# refuse MESSAGE KEY...: it does not come up, and says why.
refuse ()
{
  local message=$1

  shift
  if run_server true 1G "$@" 2>"$tmp/refused"; then
    fail "came up with $*"
  fi
  grep -qF -- "$message" "$tmp/refused" \
    || fail "$*: '$message' is not in $(cat "$tmp/refused")"
}

refuse 'fault=op=red: op=red: must be one of read, write, flush, trim, zero' \
  fault=op=red
refuse "fault=hang,once,: : a name is missing" "fault=op=read;hang,once,"
refuse 'the last sector of the disk is 2097151' fault=sectors=0-2097152
refuse 'timeout=1,50,0,-1: contradicts io_timeout=0' timeout=1,50,0,-1
refuse 'requeue=1,50: must be <interval>,<probability>,<space>,<times>' \
  requeue=1,50
refuse 'setting up hctx 1 of 4: fault: Cannot allocate memory' \
  submit_queues=4 init_hctx=2,100,0,-1

# ---- what hangs ----

# stuck REQUEST: a client sends it, and it hangs.
stuck ()
{
  "$nbdreq" "$uri" "$1" >>"$tmp/answers" 2>&1 &
  client=$!
  wait_until holds 1 || fail "$1 does not arrive"
  kill -0 "$client" 2>/dev/null || fail "$1 did not hang"
}

start_server 1G 'fault=op=read|write,hang' hw_queue_depth=2 submit_queues=1 \
  control="$tmp/control"
for request in read,0,4K write,0,4K,1; do
  stuck "$request"
  kill -KILL "$client"
  wait "$client" 2>/dev/null || :
  wait_until holds 0 || fail "$request does not end with its client"
done
# Both tags are back.
"$nbdreq" "$uri" flush trim,0,4K
stuck read,0,4K
stop_server
if wait "$client"; then
  fail "what hung has succeeded"
fi
