#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A qcow2 image made inside the export: written, checked, resized, rebased
# away and read back.  Its metadata updates are small, unaligned to pages and
# ordered by flushes.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io nbdcopy cmp jq
choose_seed

size=33554432
sparse_image "$tmp/image.raw" "$size" "$seed"

start_server 96M
qemu-img create -q -f qcow2 "$uri" 32M
expect_equal "the format found" \
  "$(qemu-img info --output=json "$uri" | jq -r .format)" qcow2

qemu-io -f qcow2 -c 'write -P 0x11 0 1M' -c 'write -P 0x22 31M 1M' \
  -c 'aio_write -P 0x33 3M 65k' -c 'aio_write -P 0x44 5M 512' -c aio_flush \
  -c flush "$uri" >/dev/null
qemu-img check -q -f qcow2 "$uri" || fail "the image is damaged"
qemu-io -f qcow2 -c 'read -P 0x11 0 1M' -c 'read -P 0x22 31M 1M' \
  -c 'read -P 0x33 3M 65k' -c 'read -P 0x44 5M 512' -c 'read -P 0 16M 1M' \
  "$uri" >/dev/null || fail "the image does not hold what was written"

# An internal snapshot makes it copy on write.
qemu-img snapshot -c before "$uri"
qemu-io -f qcow2 -c 'write -P 0x99 0 32M' "$uri" >/dev/null
qemu-img check -q -f qcow2 "$uri" || fail "the image is damaged by snapshots"
qemu-img snapshot -a before "$uri"
qemu-io -f qcow2 -c 'read -P 0x11 0 1M' -c 'read -P 0 16M 1M' "$uri" \
  >/dev/null || fail "the snapshot lost data"
qemu-img snapshot -d before "$uri"
qemu-img check -q -f qcow2 "$uri" || fail "the image is damaged by deletion"

# An image full of holes and data on top of it.
qemu-img convert -n -f raw -O qcow2 "$tmp/image.raw" "$uri"
qemu-img check -q -f qcow2 "$uri" || fail "the image is damaged by convert"
qemu-img convert -f qcow2 -O raw "$uri" "$tmp/back.raw"
cmp "$tmp/image.raw" "$tmp/back.raw" || fail "the image came back different"
