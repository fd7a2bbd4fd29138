#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# --daemon: whoever starts blkmqd goes on when it serves, with what it printed;
# or has its message and status if it cannot.  The daemon has let go of all that
# it was started with, and still finds its files.
# shellcheck source-path=SCRIPTDIR source=functions.sh
. "$(dirname "$0")/functions.sh"
requires nbdinfo

# has_ended: it is nobody's child here, and some pid 1 leave zombies.
has_ended ()
{
  ! kill -0 "$daemon" 2>/dev/null \
    || grep -q '^State:[[:space:]]*Z' "/proc/$daemon/status" 2>/dev/null
}

end_daemon ()
{
  kill "$daemon"
  wait_until has_ended || fail "the daemon does not end: $(cat log)"
}

# Relative names, from a pipe that ends only when nobody has it any more.
out=$("$blkmqd" --daemon --unix sock --pidfile pid --log-file log 1M \
        control=control seed=1 2>err | cat) || fail "--daemon: $(cat err)"
daemon=$(cat pid)
cleanup_fn kill "$daemon"
expect_equal "what it prints" "$out" "nbd+unix:///?socket=$tmp/sock"
[ ! -s err ] || fail "it says: $(cat err)"
expect_equal "the size" "$(nbdinfo --size "$out")" 1048576
expect_equal "its directory" "$(readlink "/proc/$daemon/cwd")" /
for fd in 0 1 2; do
  expect_equal "descriptor $fd" "$(readlink "/proc/$daemon/fd/$fd")" /dev/null
done
expect_equal "its session" "$(cut -d ' ' -f 6 "/proc/$daemon/stat")" "$daemon"

# It finds its log from where it is now; and a terminal that it has not got
# cannot be lost.
mv log log.1
kill -HUP "$daemon"
wait_until grep -qs 'SIGHUP: the log goes on' log || fail "no new log"
end_daemon
grep -q 'SIGTERM: ending' log || fail "no word of the end: $(cat log)"
is_clean sock pid control

# ---- what cannot be ----

refuses 1 'error: --unix=none/s: bind: No such file' \
  --daemon --unix none/s --pidfile pid --log-file log 1M
grep -q 'error: --unix=none/s: bind' log || fail "not in the log: $(cat log)"
is_clean pid
refuses 1 'error: --log-file=none/log: No such file' \
  --daemon --unix s --log-file none/log 1M
refuses 2 '--daemon: nobody could see messages' --daemon --unix s 1M
refuses 2 '--daemon: neither --stdio nor --run' --daemon --stdio --syslog 1M
refuses 2 '--daemon: neither --stdio nor --run' --daemon --run true --syslog 1M
refuses 2 'size=foo: not a number' --daemon --unix s --log-file log foo
is_clean s
