# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# stages.sh: the stages of ./dev test, apart from lint, and the commands that
# run the unit tests under some tool.  A stage runs in a process of its own
# with errexit on, talks to its log, and notes what it found with pass, fail
# and skip.

stage_build ()
{
  build_tree build
  pass 'gcc builds it without a warning'
}

# ---------------------------------------------------------------------------
# make check

# tests_of DIR REGEX: the tests of that build whose path matches.
tests_of ()
{
  # shellcheck disable=SC2016 # for make
  make -s -C "$top/$1" --eval='dev-print-tests: ; @echo $(TESTS)' \
    dev-print-tests | tr ' ' '\n' | grep -E "$2" || true
}

# make_check DIR [REGEX [MAKE-ARGUMENT...]]: runs those tests and notes their
# results.  What make itself says is only of interest when no test ran.
make_check ()
{
  local dir=$1 tests=() status=0
  find "$top/$dir" -name '*.trs' -delete
  if (($# > 1)); then
    mapfile -t tests < <(tests_of "$dir" "$2")
    if ((${#tests[@]} == 0)); then
      fail "no test of $dir matches $2"
      return
    fi
    set -- "$dir" "$2" TESTS="${tests[*]}" "${@:3}"
  fi
  foreground "${fixed_addresses[@]}" make --no-print-directory \
    -C "$top/$dir" -j"$nr_jobs" check "${@:3}" || status=$?
  automake_results "$top/$dir"
  if ((status != 0)) && ! grep -q '^fail' "$results_file"; then
    fail "make check in $dir (exit status $status)"
  fi
}

# The tests that have the engine in their own process.
in_process='^tests/((unit|ctl|conformance|stress|fuzz)/|server/test-[a-z-]*$)'

stage_check ()
{
  make_check build
}

# The sanitizers of GCC 12 and clang 14 lose their way where the kernel
# randomises more bits of an address than they know of.
fixed_addresses=()
sanitizer_environment ()
{
  if setarch -R true 2>/dev/null; then
    fixed_addresses=(setarch -R)
  fi
  export UBSAN_OPTIONS=print_stacktrace=1
}

# nbdkit is not built with the sanitizer, so its runtime must be loaded ahead
# of everything else.  Under it nbdkit 1.32 (with its own plugins, too) hangs
# in exit once it has printed the text of an errno: a destructor of gnutls'
# p11-kit calls freelocale and waits for a lock.  At exit nobody needs that.
# Sets asan_preload.
asan_preload=
prepare_asan_nbdkit ()
{
  make_scratch
  gcc -shared -fPIC -w -o "$scratch/freelocale.so" -xc - \
    <<<'void freelocale (void *locale) { (void)locale; }'
  asan_preload="$(gcc -print-file-name=libasan.so) $scratch/freelocale.so"
  # Leaks: nbdkit has some of its own, see leaks_of.
  cat >"$scratch/nbdkit" <<EOF
#!/bin/bash
export LD_PRELOAD='$asan_preload'
export ASAN_OPTIONS=detect_leaks=0:\${ASAN_OPTIONS-}
exec nbdkit "\$@"
EOF
  chmod +x "$scratch/nbdkit"
  # The tests take nbdkit from here.
  export NBDKIT=$scratch/nbdkit
}

# The threads of a server but for the engine's, which have names.
nr_nbdkit_threads ()
{
  cat "/proc/$1"/task/*/comm 2>/dev/null | grep -vc '^blkmq-'
}

# leaks_of KEY=VALUE...: fails if the plugin leaks in a life with some I/O.
# nbdkit unloads it before leaks are looked for, so what only its variables
# pointed to counts; the price is frames without names.
leaks_of ()
{
  local log=$scratch/leaks
  rm -f "$scratch/pid" "$scratch/leaking"
  LD_PRELOAD=$asan_preload ASAN_OPTIONS=detect_leaks=1 \
    nbdkit -f -U "$scratch/leaking" -P "$scratch/pid" --exit-with-parent \
    "$(built_file plugin build-asan)" size=64M "$@" >"$log" 2>&1 &
  server=$!
  started+=("$server")
  wait_for_server "$scratch/pid" "$log"
  qemu-io -f raw -c 'write -P 1 1M 4M' -c 'discard 2M 1M' -c 'aio_read 0 8M' \
    -c aio_flush -c flush "nbd+unix:///?socket=$scratch/leaking" || return 1
  # nbdkit never closes a connection that is about to end when nbdkit is told
  # to stop: let the connection's threads end first.
  until [ "$(nr_nbdkit_threads "$server")" -le 1 ]; do
    sleep 0.02
  done
  stop_process "$server"
  # A block that nbdkit itself has allocated is not ours.
  if ! awk '
    / leak of [0-9]+ byte/ { getline; getline; if (!/\/nbdkit\+/) bad = 1 }
    END { exit bad }' "$log"
  then
    cat "$log"
    return 1
  fi
}

# The servers in processes of their own.  Not all of the shell tests, of which
# each takes its time under the sanitizer: those that reach most of them.
with_server='^tests/(nbd/|shell/test-(io|nbdcopy|qemu-io|size|blocksize|stuck))'

stage_asan ()
{
  local keys
  build_tree build-asan --enable-sanitizer=address
  sanitizer_environment
  prepare_asan_nbdkit
  make_check build-asan "$in_process|$with_server"
  for keys in driver=null irqmode=none irqmode=softirq \
              'irqmode=timer completion_nsec=100us submit_queues=4'; do
    # shellcheck disable=SC2086 # several words
    check "no leak with $keys" leaks_of $keys
  done
}

stage_tsan ()
{
  build_tree build-tsan --enable-sanitizer=thread
  sanitizer_environment
  make_check build-tsan "$in_process"
}

# build_stress DIR [CONFIGURE-ARGUMENT...]
build_stress ()
{
  build_tree "$@"
  logged "$top/$1/dev-build.log" make -C "$top/$1" tests/stress/stress
}

# stress DIR COUNT SEED SEED: two at a time, since one waits as much as it
# works.
# Their last words are their sums.
stress ()
{
  # shellcheck disable=SC2016 # for the inner shell
  check "stress in $1: twice $2 requests, seeds $3 and $4" \
    foreground "${fixed_addresses[@]}" bash -c '
      "$1" "$3" "$2" & first=$!
      "$1" "$4" "$2" & second=$!
      trap "kill $first $second 2>/dev/null" TERM INT
      status=0
      wait "$first" || status=$?
      wait "$second" || status=$?
      exit "$status"' stress "$top/$1/tests/stress/stress" "$2" "$3" "$4"
}

# Ten million requests, each build twice: with a seed that never changes and
# with one that is new each time.  Most are made where they cost least; under
# ThreadSanitizer a request costs eight times as much.
stage_stress ()
{
  local drawn=$((SRANDOM << 16 | SRANDOM & 65535)) build
  build_stress build
  build_stress build-asan --enable-sanitizer=address
  build_stress build-tsan --enable-sanitizer=thread
  sanitizer_environment
  for build in 'build 4550000' 'build-asan 400000' 'build-tsan 60000'; do
    # shellcheck disable=SC2086 # directory and count
    stress $build 20261101 "$drawn"
  done
}

# ---------------------------------------------------------------------------
# What is built and installed

# Each public header is all that a program needs to include.
stage_headers ()
{
  local header cc args
  for header in blkmq.h blkmq-control.h blkmq-driver.h; do
    for cc in 'gcc -xc -std=c11' 'g++ -xc++ -std=c++11' \
              'clang -xc -std=c11' 'clang++ -xc++ -std=c++11'; do
      read -ra args <<<"$cc"
      check "$header with $cc" "${args[@]}" -pedantic -Wall -Wextra -Werror \
        -fsyntax-only -I "$top/src" - <<<"#include <$header>"
    done
  done
}

stage_clang ()
{
  build_tree build-clang CC=clang CXX=clang++
  pass 'clang builds it without a warning'
}

# A release made from this tree's files alone, built and tested by itself (with
# a few tests of each kind: stage check has run them all); and the source is
# afterwards what it was.
quick_tests='tests/conformance/test-conformance tests/unit/test-config
             tests/nbd/test-multi-conn-flush tests/shell/test-info-flags.sh
             tests/man/test-examples-run.sh bench/test-requirements'
quick_tests=$(tr -s ' \n' ' ' <<<"$quick_tests")
stage_distcheck ()
{
  local source tarball
  make_scratch
  source=$scratch/source
  mkdir "$source" "$scratch/build"
  source_files | tar -C "$top" -cf - -T - | tar -C "$source" -xf -
  autoreconf -fi "$source"
  fingerprint "$source" >"$scratch/before"
  foreground env -C "$scratch/build" "$source/configure"
  foreground make -C "$scratch/build" -j"$nr_jobs" distcheck \
    DISTCHECK_CONFIGURE_FLAGS=--enable-werror \
    AM_MAKEFLAGS="TESTS='$quick_tests'"
  pass 'make distcheck'

  fingerprint "$source" >"$scratch/after"
  check 'the source stays as it was' \
    diff "$scratch/before" "$scratch/after"

  tarball=$(find "$scratch/build" -maxdepth 1 -name 'blkmq-*.tar.xz')
  tar -tf "$tarball" | sed 's|^[^/]*/||' | grep -v '/$' | sort \
    >"$scratch/released"
  source_files | grep -vE '^\.(gitignore|ci/.*)$' >"$scratch/expected"
  if comm -23 "$scratch/expected" "$scratch/released" | complain; then
    pass 'the release holds every file'
  else
    fail 'the release holds every file (see above; EXTRA_DIST)'
  fi
  installed
}

fingerprint ()
{
  (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

# What make install puts there works from there: nbdkit finds the plugin by
# name, and a stranger's program finds the library by pkg-config.
installed ()
{
  local root=$scratch/root plugindir flags
  make -s -C "$top/build" install DESTDIR="$root"
  plugindir=$(pkg-config --variable=plugindir nbdkit)

  # nbdkit looks in one directory, fixed when it was built: put ours there, in
  # a mount namespace that ends with the command.
  # shellcheck disable=SC2016 # for the inner shell
  local by_name='mount --bind "$1" "$2" &&
    nbdkit --exit-with-parent blkmq 1G --run "nbdinfo --size \"\$uri\""'
  if [ ! -e "$root$plugindir/nbdkit-blkmq-plugin.so" ]; then
    fail "make install puts the plugin into $plugindir"
  elif ! { unshare "${namespace:=-m}" true ||
           unshare "${namespace:=-rm}" true; }
  then
    skip 'nbdkit blkmq 1G, by name: no mount namespace can be had here'
  else
    check 'nbdkit blkmq 1G, by name' test "$(unshare "$namespace" \
      bash -c "$by_name" - "$root$plugindir" "$plugindir")" = $((1 << 30))
  fi

  cat >"$scratch/stranger.c" <<'EOF'
#include <blkmq-driver.h>
#include <stdio.h>

int
main (void)
{
  puts (blkmq_version ());
  return 0;
}
EOF
  export PKG_CONFIG_SYSROOT_DIR=$root
  PKG_CONFIG_PATH=$(dirname "$(find "$root" -name blkmq.pc)")
  export PKG_CONFIG_PATH
  read -ra flags < <(pkg-config --cflags --libs blkmq)
  gcc -Wall -Werror -o "$scratch/stranger" "$scratch/stranger.c" "${flags[@]}"
  check 'a program built by pkg-config' test \
    "$(LD_LIBRARY_PATH=$(pkg-config --variable=libdir blkmq) \
       "$scratch/stranger")" = "$(pkg-config --modversion blkmq)"
  unset PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_PATH
}

# ---------------------------------------------------------------------------
# Programs that judge themselves

# A last line "N passed, N failed, N skipped" is believed; without one the exit
# status counts: 77 is a skip.  DEV_LOG is where the output of the stage goes.
judge ()
{
  local name=$1 status=0 last sums p f s
  shift
  foreground "$@" || status=$?
  last=$(tail -n 1 "${DEV_LOG-/dev/null}")
  sums=$(grep -xE '[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped' <<<"$last" ||
         true)
  if [ -n "$sums" ]; then
    read -r p _ f _ s _ <<<"$sums"
    ((p == 0)) || pass "$name" "$p"
    ((f == 0)) || fail "$name" "$f"
    ((s == 0)) || skip "$name" "$s"
    ((status == 0 || f > 0)) || fail "$name (exit status $status)"
  elif ((status == 77)); then
    skip "$name: $last"
  elif ((status == 0)); then
    pass "$name"
  else
    fail "$name (exit status $status)"
  fi
}

stage_model ()
{
  judge model "$top/tests/model/run"
}

stage_vm ()
{
  local files
  files=("$(built_file plugin)" "$(built_file blkmqd)"
         "$(built_file blkmqctl)")
  judge vm "$top/tests/vm/run" "${files[@]}"
  judge units "$top/tests/vm/run" --systemd "${files[@]}"
}

# ---------------------------------------------------------------------------
# ./dev asan, tsan, valgrind, bench

# unit_tests DIR [MAKE-ARGUMENT...]
unit_tests ()
{
  local dir=$1 log=$top/$1/dev-check.log reader nr_failed
  shift
  results_file=$top/$dir/dev-results
  : >"$results_file"
  exec 8> >(tee "$log" | grep --line-buffered '^[A-Z]*: tests/')
  reader=$!
  make_check "$dir" "$in_process" "$@" >&8 2>&1
  exec 8>&-
  wait "$reader" || true
  explain "$log"
  nr_failed=$(nr_results fail "$results_file")
  say '' "$(nr_results pass "$results_file") passed, $nr_failed failed,\
 $(nr_results skip "$results_file") skipped"
  ((nr_failed == 0))
}

dev_asan ()
{
  deps build
  build_tree build-asan --enable-sanitizer=address
  sanitizer_environment
  unit_tests build-asan
}

dev_tsan ()
{
  deps build
  build_tree build-tsan --enable-sanitizer=thread
  sanitizer_environment
  unit_tests build-tsan
}

# CK_FORK=no: each test in the process that valgrind watches.  Without stress,
# which would take its time; and the malloc of a test that has its own stays.
dev_valgrind ()
{
  deps build valgrind
  build_tree build
  in_process='^tests/(unit|ctl|conformance)/'
  CK_FORK=no unit_tests build \
    LOG_COMPILER="$top/build/libtool --mode=execute valgrind -q \
--error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
--soname-synonyms=somalloc=nouserintercepts"
}

# ./dev stress [asan|tsan] [SEED [COUNT]]
dev_stress ()
{
  local dir=build options=()
  deps build
  case ${1-} in
    asan) dir=build-asan options=(--enable-sanitizer=address) ;;
    tsan) dir=build-tsan options=(--enable-sanitizer=thread) ;;
  esac
  [ "$dir" = build ] || shift
  build_stress "$dir" "${options[@]}"
  sanitizer_environment
  foreground "${fixed_addresses[@]}" "$top/$dir/tests/stress/stress" "$@"
}

# ./dev jitter [SEED [COUNT]]
dev_jitter ()
{
  local dir=build-jitter
  deps build
  mkdir -p "$top/$dir"
  gcc -O2 -fPIC -Wall -Wextra -c -o "$top/$dir/jitter.o" \
    "$top/tests/stress/jitter.c"
  build_stress "$dir" --disable-lto \
    CFLAGS='-O2 -g -fsanitize-coverage=trace-pc' LIBS="$top/$dir/jitter.o"
  export BLKMQ_JITTER_SEED=${BLKMQ_JITTER_SEED:-$((RANDOM + 1))}
  echo "BLKMQ_JITTER_SEED=$BLKMQ_JITTER_SEED" \
       "BLKMQ_JITTER_EVERY=${BLKMQ_JITTER_EVERY:=6000}" \
       "BLKMQ_JITTER_US=${BLKMQ_JITTER_US:=600}"
  export BLKMQ_JITTER_EVERY BLKMQ_JITTER_US
  foreground "$top/$dir/tests/stress/stress" "$@"
}

dev_mutants ()
{
  deps build
  build_tree build
  foreground "$top/tests/stress/mutants" "$top/build" "$@"
}

dev_bench ()
{
  local status=0
  deps build run bench
  build_tree build
  "$top/bench/blkmqd" "$@" || status=$?
  "$top/bench/servers" "$@" || status=$?
  "$top/bench/filters" || status=$?
  "$top/build/bench/engine" --json "$top/build/bench/engine.json" || status=$?
  "$top/build/bench/timer" --json "$top/build/bench/timer.json" || status=$?
  "$top/bench/plots" || status=$?
  exit "$status"
}
