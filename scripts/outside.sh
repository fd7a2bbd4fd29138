# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# outside.sh: stages symbols and outside: what the library shows to the world,
# and drivers that are built by somebody who has nothing but what is installed.

# The functions that the public headers declare.
declared_symbols ()
{
  # A macro's text is no declaration.
  sed -e ':join; /\\$/ { N; s/\\\n/ /; b join' -e '}' -e '/^#/d' \
    "$top"/src/blkmq{,-control,-driver}.h | tr '\n' ' ' |
    grep -oE 'BLKMQ_PUBLIC [^;]*;' |
    sed -E 's/^[^(]*[^a-z0-9_](blkmq_[a-z0-9_]+) \(.*/\1/' | LC_ALL=C sort
}

# exported_symbols FILE: without versions.
exported_symbols ()
{
  nm -D --defined-only "$1" | awk '{ sub (/@.*/, "", $3); print $3 }' |
    LC_ALL=C sort -u
}

# Those that are kept: tests/symbols.list.
kept_symbols ()
{
  grep -v '^#' "$top/tests/symbols.list"
}

# The names of the public headers' inline functions.
inline_functions ()
{
  grep -hA 1 '^static inline' "$top"/src/blkmq{,-control,-driver}.h |
    grep -oE '^blkmq_[a-z0-9_]+'
}

# stub_library FILE VERSION: has the kept symbols and nothing else.
stub_library ()
{
  {
    printf 'const char *blkmq_version (void) { return "%s"; }\n' "$2"
    kept_symbols | grep -vx blkmq_version | sed 's/.*/void & (void) {}/'
  } | gcc -shared -fPIC -w -fno-builtin -o "$1" -Wl,-soname,libblkmq.so.0 -xc -
}

# The library exports what the headers declare and the list keeps: nothing
# more, nothing less.  So does the plugin, for drivers that it loads, besides
# what nbdkit calls.  And the headers' inline functions need no more than that.
stage_symbols ()
{
  local lib plugin cc
  lib=$(built_file lib)
  plugin=$(built_file plugin)
  check 'symbols of the headers (< kept only, > declared only)' \
    diff <(kept_symbols) <(declared_symbols)
  check 'symbols of libblkmq (< kept only, > exported only)' \
    diff <(kept_symbols) <(exported_symbols "$lib")
  check 'symbols of the plugin (< kept or nbdkit'\''s, > exported only)' \
    diff <({
             kept_symbols
             printf '%s\n' blkmq_debug_request blkmq_debug_stats plugin_init
           } | LC_ALL=C sort) <(exported_symbols "$plugin")

  make_scratch
  stub_library "$scratch/libblkmq.so" 0
  # Not optimised, an inline function whose address is taken is there, with all
  # that it refers to.
  {
    printf '#include <blkmq-driver.h>\n'
    inline_functions | awk '
      { printf "void *used_%d (void) { return (void *)%s; }\n", NR, $0 }'
  } >"$scratch/inline.c"
  check 'the headers have inline functions to test' \
    test "$(grep -c used_ "$scratch/inline.c")" -ge 5
  for cc in gcc clang; do
    check "inline functions refer to exported symbols only, $cc" \
      "$cc" -O0 -w -shared -fPIC -I "$top/src" -o "$scratch/inline.so" \
      "$scratch/inline.c" -L "$scratch" -lblkmq -Wl,-z,defs
    check "all inline functions are in it, $cc" \
      diff <(inline_functions | LC_ALL=C sort) \
           <(nm "$scratch/inline.so" |
             sed -n 's/.* [tT] \(blkmq_.*\)/\1/p' | LC_ALL=C sort)
  done
}

# ---------------------------------------------------------------------------
# Drivers built outside of the tree

# What somebody outside has: sets cflags, libs, plugin and LD_LIBRARY_PATH.
install_outside ()
{
  make -s -C "$top/build" install DESTDIR="$scratch/root"
  export PKG_CONFIG_SYSROOT_DIR=$scratch/root
  PKG_CONFIG_PATH=$(dirname "$(find "$scratch/root" -name blkmq.pc)")
  export PKG_CONFIG_PATH
  read -ra cflags < <(pkg-config --cflags blkmq)
  read -ra libs < <(pkg-config --libs blkmq)
  LD_LIBRARY_PATH=$(pkg-config --variable=libdir blkmq)
  # Where pkg-config does not prefix variables by itself.
  [ -e "$LD_LIBRARY_PATH/libblkmq.so" ] ||
    LD_LIBRARY_PATH=$scratch/root$LD_LIBRARY_PATH
  export LD_LIBRARY_PATH
  plugin=$(find "$scratch/root" -name nbdkit-blkmq-plugin.so)
  unset PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_PATH
}

# build_driver COMPILER OUTPUT SOURCE [ARGUMENT...]
build_driver ()
{
  "$1" -Wall -Wextra -Werror -O2 -g -shared -fPIC -o "$2" "$3" \
    "${cflags[@]}" "${@:4}"
}

# conformance NAME DRIVER: every check of the suite counts.
conformance ()
{
  local log=$scratch/conformance.log sum
  if BLKMQ_TEST_DRIVER=$2 "$top/build/tests/conformance/test-conformance" \
     >"$log" 2>&1 &&
     sum=$(sed -n 's/^100%: Checks: \([0-9]*\), .*/\1/p' "$log") &&
     [ -n "$sum" ] && ((sum > 0)); then
    pass "conformance of $1" "$sum"
  else
    cat "$log"
    fail "conformance of $1"
  fi
}

# serves DRIVER: data that goes out through nbdkit comes back.
serves ()
{
  local back=$scratch/back
  rm -f "$back"
  # shellcheck disable=SC2016 # for nbdkit's shell
  nbdkit -U - "$plugin" 4M driver="$1" ring_entries=4 \
    --run 'nbdcopy '"'$scratch/data'"' "$uri" && nbdcopy "$uri" '"'$back'"' &&
      qemu-io -f raw -c "write -P 0x5a 64k 128k" -c flush \
        -c "read -P 0x5a 64k 128k" -c "discard 64k 64k" \
        -c "read -P 0 64k 64k" "$uri"' >"$scratch/out" 2>&1 || return 1
  ! grep -q 'failed' "$scratch/out" && cmp "$scratch/data" "$back"
}

# refuses WORDS COMMAND...: fails, and says so.
refuses ()
{
  local words=$1 status=0
  shift
  "$@" >"$scratch/out" 2>&1 || status=$?
  cat "$scratch/out"
  ((status == 1)) && grep -qF -e "$words" "$scratch/out"
}

# A program with the engine inside, however it came there, and a driver that
# was linked with libblkmq or was not: the driver calls the program's engine, or
# is refused.
engine_once ()
{
  local engine=$top/build/src/.libs/libblkmq-engine.a host=$top/tests/outside
  local plain=$scratch/plain.so linked=$scratch/linked.so driver
  cp "$scratch/gcc/skeleton.so" "$plain"
  build_driver gcc "$linked" "$scratch/gcc/skeleton.c" "${libs[@]}"
  readelf -d "$linked" | grep -q 'NEEDED.*libblkmq'

  host_program shared "${libs[@]}"
  host_program inside "$engine" -lev -pthread -rdynamic
  host_program chosen "$engine" -lev -pthread \
    -Wl,--export-dynamic-symbol='blkmq_*'
  host_program nopie "$engine" -lev -pthread -rdynamic -no-pie
  host_program stub -no-pie -fno-pic "${libs[@]}"
  host_program mute "$engine" -lev -pthread
  host_program clash "$engine" -lev -pthread -rdynamic -DHOST_CLASHES
  gcc -shared -fPIC -DHOST_IS_LIBRARY -o "$scratch/host.so" "$host/host.c" \
    "${cflags[@]}" "${libs[@]}"
  gcc -o "$scratch/loader" "$host/loader.c"

  for driver in "$plain" "$linked"; do
    check "engine in libblkmq, ${driver##*/}" "$scratch/shared" "$driver"
    check "engine in libblkmq, program at a fixed place, ${driver##*/}" \
      "$scratch/stub" "$driver"
    check "engine in the program, ${driver##*/}" "$scratch/inside" "$driver"
    check "engine in the program, exported by name, ${driver##*/}" \
      "$scratch/chosen" "$driver"
    check "engine in a program at a fixed place, ${driver##*/}" \
      "$scratch/nopie" "$driver"
    check "engine in libblkmq, behind a plugin, ${driver##*/}" \
      "$scratch/loader" "$scratch/host.so" "$driver"
    check "engine in nbdkit's plugin, ${driver##*/}" serves "$driver"
  done
  check 'engine not exported: says what to do' \
    refuses 'link it with -rdynamic' "$scratch/mute" "$plain"
  check 'engine not exported, driver with another one' \
    refuses 'its calls would reach another engine' "$scratch/mute" "$linked"
  check 'engine of nbdkit'\''s plugin, another one ahead of it' \
    refuses 'its calls would reach another engine' \
    env LD_PRELOAD="$LD_LIBRARY_PATH/libblkmq.so" \
    nbdkit -U - "$plugin" 1M driver="$plain" --run true
  check 'a driver'\''s struct that the program has too' \
    refuses 'make it static' "$scratch/clash" "$plain"

  # A driver linked with another version's library could find functions there
  # that the engine at hand does not have.
  mkdir "$scratch/other"
  stub_library "$scratch/other/libblkmq.so.0" 9.9.9
  check 'a driver linked with another version' \
    refuses 'linked with blkmq 9.9.9' \
    env LD_LIBRARY_PATH="$scratch/other" \
    nbdkit -U - "$plugin" 1M driver="$linked" --run true
}

# host_program NAME ARGUMENT...
host_program ()
{
  gcc -Wall -Wextra -Werror -o "$scratch/$1" "$top/tests/outside/host.c" \
    "${cflags[@]}" "${@:2}"
}

# What is installed for a user: programs, manuals, completions, an example.
installs_all ()
{
  local root=$scratch/root file name
  for name in bin/blkmqd bin/blkmqctl bash-completion/completions/blkmqd \
              bash-completion/completions/blkmqctl include/blkmq.h \
              include/blkmq-control.h include/blkmq-driver.h \
              pkgconfig/blkmq.pc libblkmq.so libblkmq.so.0 \
              plugins/nbdkit-blkmq-plugin.so examples/blkmqd.conf \
              system/blkmqd.service system/blkmqd.socket \
              system/blkmqd@.service system/blkmqd@.socket; do
    find "$root" -path "*/$name" | grep . >/dev/null || echo "$name"
  done
  for file in "$top"/man/*.pod; do
    name=$(basename "$file" .pod)
    find "$root" -path "*/man/man*/$name.[0-9]" | grep . >/dev/null ||
      echo "$name: no page"
  done
}

# Of what `make install' has put there `make uninstall' leaves nothing.
uninstall_outside ()
{
  check 'make install puts everything there' complain < <(installs_all)
  check 'make uninstall' \
    make -s -C "$top/build" uninstall DESTDIR="$scratch/root"
  check 'make uninstall leaves nothing' complain < <(
    find "$scratch/root" -not -type d)
}

stage_outside ()
{
  local cflags libs plugin cc
  make -s -C "$top/build" -j"$nr_jobs" tests/conformance/test-conformance
  make_scratch
  install_outside
  head -c 4M /dev/urandom >"$scratch/data"

  for cc in gcc clang; do
    mkdir "$scratch/$cc"
    cp "$top/src/drivers/skeleton.c" "$scratch/$cc/"
    build_driver "$cc" "$scratch/$cc/skeleton.so" "$scratch/$cc/skeleton.c"
    pass "$cc builds the skeleton from the installed headers alone"
    conformance "the skeleton built by $cc" "$scratch/$cc/skeleton.so"
    check "nbdkit serves the skeleton built by $cc" \
      serves "$scratch/$cc/skeleton.so"
  done
  for cc in g++ clang++; do
    build_driver "$cc" "$scratch/$cc.so" "$top/tests/outside/zeros.cc" \
      -std=c++11 -pedantic
    conformance "a driver in C++ built by $cc" "$scratch/$cc.so"
  done
  engine_once
  uninstall_outside
}
