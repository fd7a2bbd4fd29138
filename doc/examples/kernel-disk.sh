# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kernel-disk.sh: a disk of blkmqd's as a kernel block device with a file system
# on it, whose power can be cut.  Sourced by the recipes beside it; needs root
# and the kernel's module nbd, so use a virtual machine.  Sets:
#   device   /dev/nbd0, or what NBD_DEVICE says
#   tmp      a directory that is removed at the end
#   mnt      where the file system is, in $tmp
#   seed     BLKMQ_SEED, or drawn

device=${NBD_DEVICE:-/dev/nbd0}
seed=${BLKMQ_SEED:-$RANDOM}
tmp=$(mktemp -d /tmp/disk.XXXXXX)
mnt=$tmp/mnt
mkdir "$mnt"
server=''
echo "BLKMQ_SEED=$seed repeats this"

fail ()
{
  echo "FAILED: $*" >&2
  exit 1
}

# within_a_minute COMMAND...: try it until it succeeds.
within_a_minute ()
{
  local tries

  for ((tries = 0; tries < 300; tries++)); do
    if "$@"; then
      return 0
    fi
    sleep 0.2
  done
  fail "not within a minute: $*"
}

is_mounted ()
{
  grep -q " $mnt " /proc/mounts
}

is_there ()
{
  [ "$(cat "/sys/block/${device#/dev/}/size")" != 0 ]
}

is_gone ()
{
  [ ! -e "/sys/block/${device#/dev/}/pid" ] && ! is_there
}

clean_up ()
{
  local status=$?

  if is_mounted; then
    umount "$mnt"
  fi
  is_gone || nbd-client -d "$device" >/dev/null
  [ -z "$server" ] || kill "$server"
  wait
  rm -rf "$tmp"
  exit "$status"
}

# start_disk KEY=VALUE...: serve, and return when clients can connect.
start_disk ()
{
  trap clean_up EXIT
  blkmqd --unix="$tmp/socket" --pidfile="$tmp/pid" "$@" seed="$seed" \
    control="$tmp/control" live=1 >"$tmp/log" 2>&1 &
  server=$!
  within_a_minute test -s "$tmp/pid"
}

disk ()
{
  blkmqctl -s "$tmp/control" "$@"
}

attach ()
{
  nbd-client -unix "$tmp/socket" "$device" -b 512 -timeout 60 \
    >"$tmp/attached" 2>&1 || fail "nbd-client: $(cat "$tmp/attached")"
  within_a_minute is_there
}

detach ()
{
  nbd-client -d "$device" >"$tmp/attached"
  within_a_minute is_gone
}

# cut_power: all that was not flushed is gone, and nothing works any more.
cut_power ()
{
  disk power off
}

# restore_power [OPTION...]: as after a boot; the file system is mounted with
# these options, and its journal recovers.
restore_power ()
{
  umount "$mnt"
  detach
  disk power on
  attach
  mount -t ext4 "$@" "$device" "$mnt" || fail "it cannot be mounted any more"
}
