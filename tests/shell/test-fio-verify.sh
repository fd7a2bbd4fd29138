#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# fio's nbd engine writes blocks with a checksum in each, at several depths and
# numbers of jobs, and reads all of them back, in part while it still writes.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires fio jq
fio --enghelp=nbd >/dev/null 2>&1 || skip "fio has no nbd engine"
choose_seed

part_mib=4
nr_parts=4

# verify IODEPTH NUMJOBS RW BS: each job has a part of the disk and a
# connection of its own.
verify ()
{
  local iodepth=$1 numjobs=$2 rw=$3 bs=$4 what="$*"

  fio --name=verify --ioengine=nbd --uri="$uri" --rw="$rw" --bs="$bs" \
    --iodepth="$iodepth" --numjobs="$numjobs" --size="${part_mib}M" \
    --offset_increment="${part_mib}M" --randseed="$seed" --fsync=200 \
    --verify=crc32c --verify_fatal=1 --do_verify=1 --verify_backlog=64 \
    --verify_state_save=0 --group_reporting --output-format=json \
    --output="$tmp/fio" >"$tmp/stdout" 2>&1 \
    || fail "$what: $(cat "$tmp/stdout" "$tmp/fio")"

  # Every byte of a pure writer's part was written, and read again.
  case $rw in
  randwrite | write)
    jq -e --argjson bytes $((numjobs * part_mib << 20)) '
      .jobs[0]
      | .error == 0 and .write.io_bytes == $bytes
        and .read.io_bytes >= $bytes' \
      "$tmp/fio" >/dev/null || fail "$what: not everything was verified"
    ;;
  esac
}

# Where a request completes makes no difference: all of it is done for each.
for keys in irqmode=none irqmode=softirq \
            'irqmode=timer completion_nsec=20us io_timeout=300s'; do
  echo "$keys"
  # shellcheck disable=SC2086
  start_server "$((nr_parts * part_mib))M" submit_queues=2 $keys
  verify 1 1 randwrite 4k
  verify 32 4 randwrite 4k
  verify 128 1 randwrite 512
  verify 16 4 write 64k
  verify 32 2 randrw 8k
  stop_server
done
