#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Several disks in one server: all are listed with their descriptions, each has
# its own data and settings, and what is asked for and is not there is refused
# with its name and those that are there.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo jq qemu-img qemu-io nbdcopy
requires_nbdreq
choose_seed

# uri_of NAME
uri_of ()
{
  echo "nbd+unix:///$1?socket=$sock"
}

# field NAME FIELD: what a client who asks for the export is told.
field ()
{
  nbdinfo --json "$(uri_of "$1")" | jq -r ".exports[0][\"$2\"]"
}

start_server "${verbose[@]}" 8M seed=7 submit_queues=1 \
  export=a \
  export=b 16M blocksize=4096 readonly=1 description='for reading' \
  export= rotational=1 \
  export=slow irqmode=timer completion_nsec=300ms driver=null \
  export=full memory_limit=64K

# What nbdkit logs with all its flags; blkmqd tells the client alone.
logs ()
{
  [ "$program" = blkmqd ] || log_has "$1"
}

# ---- the list ----

list=$(nbdinfo --list --json "$uri")
expect_equal "the list" \
  "$(jq -r '.exports[] | "\(.["export-name"]): \(.description)"' <<<"$list")" \
  "a: blkmq memory disk, 8 MiB, 1 hctx x 64, irqmode none, seed 7
b: for reading
: blkmq memory disk, 8 MiB, 1 hctx x 64, irqmode none, seed 9
slow: blkmq null disk, 8 MiB, 1 hctx x 64, irqmode timer, seed 10
full: blkmq memory disk, 8 MiB, 1 hctx x 64, irqmode none, seed 11"

# ---- settings ----

while read -r key a b default; do
  expect_equal "$key of a" "$(field a "$key")" "$a"
  expect_equal "$key of b" "$(field b "$key")" "$b"
  expect_equal "$key of the default export" "$(field '' "$key")" "$default"
done <<'FIELDS'
export-size        8388608 16777216 8388608
block_size_minimum 512     4096     512
is_read_only       false   true     false
is_rotational      false   false    true
can_multi_conn     true    true     true
can_trim           true    false    true
FIELDS
expect_equal "the description of b" "$(field b description)" 'for reading'

takes_at_least 300 "$nbdreq" "$(uri_of slow)" read,0,4K
"$nbdreq" "$(uri_of b)" read,0,4K write,0,4K,1=EPERM \
  || fail "what is read-only was written"
"$nbdreq" "$(uri_of full)" write,0,128K,1=ENOSPC \
  || fail "memory_limit of one export is not kept"

# ---- data ----

# The same image goes into both, and then one of them is changed.
sparse_image "$tmp/image" 8M "$seed"
qemu-img convert -n -f raw -O raw "$tmp/image" "$(uri_of a)"
qemu-img convert -n -f raw -O raw "$tmp/image" "$(uri_of '')"
qemu-io -f raw -c 'write -P 0x5a 1M 64k' "$(uri_of a)" >/dev/null
qemu-img compare -f raw -F raw "$tmp/image" "$(uri_of '')" >/dev/null \
  || fail "a write to a is seen in the default export"
if qemu-img compare -f raw -F raw "$tmp/image" "$(uri_of a)" >/dev/null; then
  fail "a write to a is not seen in a"
fi
qemu-io -f raw -c 'read -P 0x5a 1M 64k' "$(uri_of a)" >/dev/null \
  || fail "a does not have what was written"
nbdcopy "$(uri_of b)" "$tmp/b"
cmp -n 16777216 "$tmp/b" /dev/zero || fail "b, never written, is not empty"

# Both at a time, so that a worker's connection is now one's and now another's.
clients=()
for ((i = 1; i <= 4; i++)); do
  for name in a ''; do
    "$nbdreq" "$(uri_of "$name")" \
      "write,${i}M,256K,$((i + ${#name} * 100))" flush \
      "check,${i}M,256K,$((i + ${#name} * 100))" "trim,${i}M,128K" \
      "check,${i}M,128K,0" >>"$tmp/answers" 2>&1 &
    clients+=($!)
  done
done
for client in "${clients[@]}"; do
  wait "$client" || fail "a client failed: $(cat "$tmp/answers")"
done

# ---- names ----

for name in c A aa; do
  if nbdinfo "$(uri_of "$name")" >"$tmp/out" 2>&1; then
    fail "export $name was served"
  fi
  logs "export=$name: unknown export; there are export=a, export=b" \
    || fail "the log does not say that there is no $name"
done

stop_server

# What the log says is of a disk says of which.
logs 'export=a: hctx 0: write of 65536 bytes at offset 1048576' \
  || fail "the log does not tell requests of a"
logs 'error: export=full: write of 131072 bytes at offset 0: no space left' \
  || fail "the log does not tell whose error it is"
for name in a b '' slow full; do
  log_has "export=$name: hctx 0: [1-9][0-9]* requests" \
    || fail "the log has no counters of $name"
done

# ---- without a default export, and without any export= ----

start_server 8M export=only
if nbdinfo "$(uri_of '')" >"$tmp/out" 2>&1; then
  fail "a default export was served"
fi
logs 'export=: no default export; there is export=only' \
  || fail "the log does not say that there is no default export"
expect_equal "the size of only" "$(nbdinfo --size "$(uri_of only)")" 8388608
stop_server

start_server 8M description='the one'
expect_equal "the size of any" "$(nbdinfo --size "$(uri_of any)")" 8388608
expect_equal "the description" "$(field '' description)" 'the one'
expect_equal "the number of exports" \
  "$(nbdinfo --list --json "$uri" | jq '.exports | length')" 1
stop_server

# ---- in captive mode, -e chooses ----

if [ "$program" = nbdkit ]; then
  # shellcheck disable=SC2016 # for nbdkit's shell
  expect_equal "the size of b in captive mode" \
    "$(run_server 'nbdinfo --size "$uri"' -eb 8M export=a export=b 16M)" \
    16777216
fi

# ---- a seed that was drawn repeats all ----

start_server "${verbose[@]}" 8M export=a export=b
drawn=$(sed -n 's/.*: seed=\([0-9]*\) was drawn.*/\1/p' "$log")
[ -n "$drawn" ] || fail "the log does not tell the seed"
described=$(nbdinfo --list --json "$uri" | jq -r '.exports[].description')
stop_server
start_server 8M seed="$drawn" export=a export=b
expect_equal "the descriptions with seed=$drawn" \
  "$(nbdinfo --list --json "$uri" | jq -r '.exports[].description')" \
  "$described"
stop_server
