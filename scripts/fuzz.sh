# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# fuzz.sh: the native server under libFuzzer, AddressSanitizer and UBSan, by
# itself (./dev fuzz) and as a stage of ./dev test.

fuzz_targets=(config negotiate transmit)
declare -A fuzz_dicts=([config]=config [negotiate]=nbd [transmit]=nbd)

# An input takes some milliseconds.  One that takes longer than this, even on a
# machine that is slow and busy, hangs.
fuzz_input_limit_s=240

# Not everything: libraries that are to be complete cannot be with clang's
# sanitizers, which come with programs.
build_fuzz ()
{
  local target build_targets=()
  for target in "${fuzz_targets[@]}"; do
    build_targets+=("tests/fuzz/fuzz-$target")
  done
  build_tree build-fuzz --enable-sanitizer=address CC=clang CXX=clang++ \
    CFLAGS='-g -O1 -fsanitize=fuzzer-no-link'
}

# fuzz TARGET SECONDS: what it finds worth keeping is in
# build-fuzz/found-TARGET, an input that fails in build-fuzz/fail-TARGET-...; of
# the corpus in the source it only reads.  libFuzzer draws and prints its seed.
fuzz ()
{
  local target=$1 found=$top/build-fuzz/found-$1 status=0
  local program=$top/build-fuzz/tests/fuzz/fuzz-$1
  mkdir -p "$found"
  touch "$top/build-fuzz/begun-$target"
  foreground "${fixed_addresses[@]}" "$program" \
    -dict="$top/tests/fuzz/${fuzz_dicts[$target]}.dict" \
    -max_len=4096 -rss_limit_mb=2048 \
    -max_total_time="$2" -timeout="$fuzz_input_limit_s" -print_final_stats=1 \
    -artifact_prefix="$top/build-fuzz/fail-$target-" \
    "$found" "$top/tests/fuzz/corpus-$target" || status=$?
  ((status == 0)) || tell_finds "$target" "$program"
  return "$status"
}

tell_finds ()
{
  local find
  find "$top/build-fuzz" -maxdepth 1 -name "fail-$1-*" \
    -newer "$top/build-fuzz/begun-$1" | while read -r find; do
    say "Repeat it: ${fixed_addresses[*]} $(relative "$2") $(relative "$find")"
    say 'If that passes it needs what came before: the same with -seed=, above.'
  done
}

# ./dev fuzz [SECONDS]: as long as that for each target.
dev_fuzz ()
{
  local target status=0
  deps build clang
  build_fuzz
  sanitizer_environment
  for target in "${fuzz_targets[@]}"; do
    fuzz "$target" "${1-60}" || status=1
  done
  say "Inputs that reach something new are in build-fuzz/found-*/."
  return "$status"
}

# Two minutes of fuzzing, most of it where most can go wrong.
stage_fuzz ()
{
  build_fuzz
  sanitizer_environment
  check 'the configuration file, 15 s' fuzz config 15
  check 'the handshake, 30 s' fuzz negotiate 30
  check 'transmission, 75 s' fuzz transmit 75
}
