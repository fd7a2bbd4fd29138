#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdkit --dump-plugin: the plugin is parallel, and has each callback that a
# disk with all of NBD's requests needs.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"

"$nbdkit" --dump-plugin "$plugin" >"$tmp/dump"
while read -r line; do
  grep -qxF -e "$line" "$tmp/dump" || fail "--dump-plugin does not say '$line'"
done <<'LINES'
name=blkmq
api_version=2
thread_model=parallel
max_thread_model=parallel
magic_config_key=size
LINES

for callback in dump_plugin config config_complete config_help get_ready \
                after_fork cleanup list_exports export_description open close \
                get_size block_size is_rotational can_write can_flush can_fua \
                can_trim can_zero can_fast_zero can_cache can_extents \
                can_multi_conn pread pwrite flush trim zero extents cache; do
  grep -qx "has_$callback=1" "$tmp/dump" || fail "there is no .$callback"
done

for driver in memory null; do
  grep -q "^blkmq_driver_$driver=." "$tmp/dump" \
    || fail "--dump-plugin does not know driver=$driver"
done
