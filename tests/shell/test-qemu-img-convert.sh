#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# qemu-img converts an image onto the export and back, finds both ways equal,
# and notices when one byte is not.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires qemu-img qemu-io nbdcopy cmp jq
choose_seed

size=33554432
sparse_image "$tmp/image.raw" "$size" "$seed"
qemu-img convert -f raw -O qcow2 "$tmp/image.raw" "$tmp/image.qcow2"

start_server "$size"
expect_equal "the virtual size" \
  "$(qemu-img info -f raw --output=json "$uri" | jq '."virtual-size"')" "$size"

# Without -n qemu-img would want to create the export.
qemu-img convert -n -f qcow2 -O raw "$tmp/image.qcow2" "$uri"
qemu-img compare -q -f raw -F raw "$tmp/image.raw" "$uri" \
  || fail "the export differs from the image"
qemu-img convert -f raw -O raw "$uri" "$tmp/back.raw"
cmp "$tmp/image.raw" "$tmp/back.raw" || fail "the image came back different"
qemu-img convert -f raw -O qcow2 -m 8 -W "$uri" "$tmp/back.qcow2"
qemu-img compare -q -f raw -F qcow2 "$uri" "$tmp/back.qcow2" \
  || fail "the qcow2 image came back different"

# Zeros arrive as holes, and only they do: what qemu-img calls a hole in the
# export is zero in the image, as the two comparisons above have seen; here,
# that there are holes and data, together the whole disk.
qemu-img map -f raw --output=json "$uri" >"$tmp/map"
jq -e --argjson size "$size" '
  (map(.length) | add) == $size
  and any(.[]; .data) and any(.[]; .zero and (.data | not))' \
  "$tmp/map" >/dev/null || fail "the map is wrong: $(cat "$tmp/map")"

# A comparison that could not fail would prove nothing.
qemu-io -f raw -c "write -P 0x5a $((size - 512)) 512" "$uri" >/dev/null
qemu-io -f raw -c "write -P 0xa5 $((size - 512)) 512" "$tmp/back.raw" \
  >/dev/null
status=0
qemu-img compare -q -f raw -F raw "$tmp/back.raw" "$uri" || status=$?
expect_equal "the status of a comparison that fails" "$status" 1

# A new image is smaller than the disk: the rest stays untouched.
qemu-img create -q -f raw "$tmp/small.raw" 1M
qemu-img convert -n --target-is-zero -f raw -O raw "$tmp/small.raw" "$uri"
qemu-io -f raw -c "read -P 0x5a $((size - 512)) 512" "$uri" >/dev/null \
  || fail "a smaller image reached the end of the disk"
