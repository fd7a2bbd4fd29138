# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# functions.sh: what the shell tests share.  Sourced, never run.
#
# From the environment:
#   BLKMQ_SERVER      what is tested: plugin (if it is not set), or blkmqd
#   BLKMQ_PLUGIN      path of nbdkit-blkmq-plugin.so (required)
#   BLKMQ_BLKMQD      path of blkmqd (required if it is the server)
#   BLKMQ_CTL         path of blkmqctl
#   BLKMQ_NBDREQ      path of nbdreq, built from tests/nbd/nbdreq.c
#   BLKMQ_PREFILL     path of nbdkit-prefill-filter.so, likewise
#   BLKMQ_SEED        seed of a test that uses random data (else drawn)
#   BLKMQ_TEST_LIMIT  seconds after which a test counts as hung (300)
#   NBDKIT            nbdkit, or a wrapper that execs it (sanitizers, valgrind)
#
# A test exits with 0 (passed), 1 (failed) or 77 (a tool is missing).  It also
# fails when a server that it started crashed or did not end cleanly.

set -euo pipefail

# Against hangs only.  timeout makes a process group of the test, so whatever
# the test has started ends with it.  The clean-up has a minute for a server
# that does not end (wait_until).
if [ -z "${BLKMQ_TEST_LIMITED:-}" ]; then
  export BLKMQ_TEST_LIMITED=1
  exec timeout --kill-after=90 "${BLKMQ_TEST_LIMIT:-300}" bash "$0" "$@"
fi

# Messages of other programs are compared here and there.
export LC_ALL=C

# shellcheck disable=SC2034
plugin=$(realpath "${BLKMQ_PLUGIN:?set it to nbdkit-blkmq-plugin.so}")
nbdkit=${NBDKIT:-nbdkit}
under_test=${BLKMQ_SERVER:-plugin}
case $under_test in
  plugin)
    verbose=(-v -Dblkmq.stats=1 -Dblkmq.request=1)
    program=nbdkit ;;
  blkmqd)
    verbose=()
    program=blkmqd
    blkmqd=$(realpath "${BLKMQ_BLKMQD:?set it to blkmqd}") ;;
  *) echo "BLKMQ_SERVER=$under_test: must be plugin or blkmqd" >&2; exit 1 ;;
esac
nbdreq=${BLKMQ_NBDREQ:-}
ctl=${BLKMQ_CTL:-}

# The source tree.
# shellcheck disable=SC2034
top_srcdir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

tmp= # the test's directory; made below, when it is sure to be removed
cleanup_commands=()
servers=() # process ids of servers that were started and not stopped
nr_servers=0

# Print a message and fail.
fail ()
{
  echo "$0: FAILED: $*" >&2
  exit 1
}

# Run a command when the test ends, the latest first.
cleanup_fn ()
{
  cleanup_commands+=("$(printf '%q ' "$@")")
}

run_cleanup ()
{
  local status=$? i server

  trap '' EXIT INT TERM HUP
  set +e
  for ((i = ${#cleanup_commands[@]} - 1; i >= 0; i--)); do
    eval "${cleanup_commands[i]}"
  done
  for server in "${servers[@]}"; do
    end_server "$server" || status=1
  done
  if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
    for i in "$tmp"/nbdkit-*.log; do
      if [ -s "$i" ]; then
        echo "--- the end of ${i##*/}:" >&2
        tail -n 40 "$i" >&2
      fi
    done
  fi
  if [ -n "$tmp" ]; then
    rm -rf "$tmp"
  fi
  exit "$status"
}
trap run_cleanup EXIT
trap 'exit 1' INT TERM HUP

# Unix sockets live here, and their path has room for 108 bytes: not TMPDIR.
tmp=$(mktemp -d /tmp/blkmq-test.XXXXXX)
cd "$tmp"

skip ()
{
  echo "$0: skipped: $*"
  exit 77
}

# Skip the test unless all of these programs exist.
requires ()
{
  local program

  for program; do
    command -v "$program" >/dev/null || skip "there is no $program"
  done
}

# Skip unless nbdkit has these filters.
requires_filter ()
{
  local filter

  for filter; do
    nbdkit --filter="$filter" null --dump-plugin >/dev/null 2>&1 \
      || skip "nbdkit has no $filter filter"
  done
}

# Skip unless nbdreq was built, which needs libnbd.
requires_nbdreq ()
{
  [ -x "$nbdreq" ] || skip "BLKMQ_NBDREQ names no program"
}

# wait_until COMMAND...: run it until it succeeds, for a minute at most.
wait_until ()
{
  local tries

  for ((tries = 0; tries < 3000; tries++)); do
    if "$@"; then
      return 0
    fi
    sleep 0.02
  done
  return 1
}

# True when a child of this shell has ended.  bash reaps it by itself and
# keeps the status for `wait'.
is_gone ()
{
  ! kill -0 "$1" 2>/dev/null
}

serves_or_is_gone ()
{
  [ -s "$pidfile" ] || is_gone "$pid"
}

# start_server [--OPTION...] KEY=VALUE...: start the server under test on a Unix
# socket of its own; returns when it serves.  Options are those of nbdkit, or
# of blkmqd.  Sets, for the latest server:
#   pid, sock, uri  process, socket and NBD URI
#   log             the file that has what it printed
start_server ()
{
  local argv=()

  nr_servers=$((nr_servers + 1))
  sock=$tmp/sock-$nr_servers
  # shellcheck disable=SC2034
  uri="nbd+unix:///?socket=$sock"
  log=$tmp/nbdkit-$nr_servers.log
  pidfile=$tmp/pid-$nr_servers
  server_command "$@"
  "${argv[@]}" --pidfile="$pidfile" --unix="$sock" >"$log" 2>&1 </dev/null &
  pid=$!
  servers+=("$pid")
  wait_until serves_or_is_gone || fail "${argv[*]} does not begin to serve"
  [ -s "$pidfile" ] || fail "${argv[*]} ended before it served"
}

# run_server COMMAND [--OPTION...] KEY=VALUE...: serve while a shell runs
# COMMAND, with $uri; its status is that of the command.
run_server ()
{
  local run=$1 argv=()

  shift
  server_command "$@"
  case $under_test in
    plugin) "${argv[@]}" --unix=- --run "$run" ;;
    blkmqd) "${argv[@]}" --run="$run" ;;
  esac
}

# server_command [--OPTION...] KEY=VALUE...: sets argv.  blkmqd with what
# nbdkit says without being asked.
server_command ()
{
  local options=()

  while [[ ${1-} == -* ]]; do
    options+=("$1")
    shift
  done
  case $under_test in
    plugin) argv=("$nbdkit" --foreground "${options[@]}" "$plugin" "$@") ;;
    blkmqd) argv=("$blkmqd" --log-level=debug "${options[@]}" "$@") ;;
  esac
}

# Tell a server to end.  Fails unless it does so, and cleanly: status 134
# would be an assertion or a sanitizer's, 139 a segmentation fault.
end_server ()
{
  local server=$1 left=() s status=0

  for s in "${servers[@]}"; do
    [ "$s" = "$server" ] || left+=("$s")
  done
  servers=("${left[@]}")

  kill "$server" 2>/dev/null || :
  if ! wait_until is_gone "$server"; then
    echo "$0: the server does not end on SIGTERM" >&2
    kill -KILL "$server" || :
  fi
  wait "$server" || status=$?
  if [ "$status" -ne 0 ]; then
    echo "$0: the server ended with status $status" >&2
    return 1
  fi
}

# Stop the latest server.
stop_server ()
{
  end_server "$pid" || fail "the server did not end cleanly"
}

log_has ()
{
  grep -q -e "$1" "$log"
}

# log_has_times PATTERN N: at least N lines.
log_has_times ()
{
  [ "$(grep -c -e "$1" "$log")" -ge "$2" ]
}

# holds N: that many requests are in the engine of the latest server, which has
# control="$tmp/control".
holds ()
{
  [ "$("$ctl" -s "$tmp/control" --json stats \
       | jq '.total | .waiting + ([.in_flight[]] | add)')" = "$1" ]
}

nr_descriptors ()
{
  find "/proc/$1/fd" -type l | wc -l
}

# Threads of a process, and its resident memory.
nr_threads ()
{
  sed -n 's/^Threads:[[:space:]]*//p' "/proc/$1/status"
}

resident_kib ()
{
  sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB$/\1/p' "/proc/$1/status"
}

# expect_equal WHAT FOUND EXPECTED
expect_equal ()
{
  [ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"
}

# Hundredths of a second since boot: unlike the date it never goes back.
uptime_cs ()
{
  local up _

  read -r up _ </proc/uptime
  echo "$((10#${up/./}))"
}

# takes_at_least MS COMMAND...: it must succeed, and not before MS are over.
# There is no such thing as a check that it does not take longer.
takes_at_least ()
{
  local ms=$1 start end

  shift
  start=$(uptime_cs)
  "$@" || fail "failed: $*"
  end=$(uptime_cs)
  # Both ends are rounded down, hence the 1.
  [ $(((end - start + 1) * 10)) -ge "$ms" ] \
    || fail "took $(((end - start) * 10)) ms and not $ms: $*"
}

# Draw and print the seed of this run.
choose_seed ()
{
  seed=${BLKMQ_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
  echo "seed: BLKMQ_SEED=$seed"
}

# sparse_image FILE SIZE SEED: a file with holes and with random data, the
# same for the same seed.
sparse_image ()
{
  nbdcopy -- [ nbdkit sparse-random "size=$2" "seed=$3" percent=40 \
                runlength=65536 random-content=true ] "$1"
}
