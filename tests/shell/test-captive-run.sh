#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The other ways to run nbdkit: captive with --run, as a daemon (both fork
# before anything is served, so every thread must come after), on standard
# input and output, and on a socket that was passed in.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdcopy nbdinfo cmp
requires_nbdreq
choose_seed
sparse_image "$tmp/image" 16M "$seed"

for keys in irqmode=none irqmode=softirq \
            'irqmode=timer completion_nsec=50us io_timeout=300s'; do
  # shellcheck disable=SC2086
  "$nbdkit" -U - "$plugin" 16M submit_queues=2 $keys \
    --run "nbdcopy '$tmp/image' \"\$uri\" && nbdcopy \"\$uri\" '$tmp/back'" \
    || fail "captive nbdkit with $keys"
  cmp "$tmp/image" "$tmp/back" || fail "captive with $keys: the copy differs"

  # shellcheck disable=SC2086
  "$nbdreq" [ "$nbdkit" -s --exit-with-parent "$plugin" 16M $keys ] \
    write,0,1M,0x5a check,0,1M,0x5a check,1M,1M,0 trim,0,1M check,0,1M,0 \
    || fail "nbdkit -s with $keys"
done

# The command's exit status becomes nbdkit's.
status=0
"$nbdkit" -U - "$plugin" 16M --run 'exit 3' || status=$?
expect_equal "the exit status of captive nbdkit" "$status" 3

# A socket passed in by the client.
expect_equal "the size on a socket passed in" \
  "$(nbdinfo --size -- [ "$nbdkit" "$plugin" 16M ])" 16777216

# A daemon is nobody's child: wait until its process id is free again.
daemon_is_gone ()
{
  [ ! -e "/proc/$daemon" ]
}

end_daemon ()
{
  if ! daemon_is_gone; then
    kill "$daemon"
  fi
}

"$nbdkit" --unix="$tmp/daemon" --pidfile="$tmp/daemon.pid" "$plugin" 16M \
  irqmode=softirq
wait_until test -s "$tmp/daemon.pid" || fail "the daemon does not serve"
daemon=$(cat "$tmp/daemon.pid")
cleanup_fn end_daemon
"$nbdreq" "nbd+unix:///?socket=$tmp/daemon" write,0,1M,0x5a check,0,1M,0x5a
end_daemon
wait_until daemon_is_gone || fail "the daemon does not end on SIGTERM"
