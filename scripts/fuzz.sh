# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# fuzz.sh: the native server under libFuzzer, AddressSanitizer and UBSan, by
# itself (./dev fuzz) and as a stage of ./dev test.

fuzz_targets=(negotiate transmit)

# An input that takes longer hangs.
fuzz_input_limit_s=60

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
# build-fuzz/found-TARGET, an input that fails in build-fuzz/fail-TARGET-...
# libFuzzer draws and prints its seed, but threads meet as they like.
fuzz ()
{
  local target=$1 found=$top/build-fuzz/found-$1
  mkdir -p "$found"
  foreground "${fixed_addresses[@]}" \
    "$top/build-fuzz/tests/fuzz/fuzz-$target" \
    -dict="$top/tests/fuzz/nbd.dict" -max_len=4096 -rss_limit_mb=2048 \
    -max_total_time="$2" -timeout="$fuzz_input_limit_s" -print_final_stats=1 \
    -artifact_prefix="$top/build-fuzz/fail-$target-" \
    "$found" "$top/tests/fuzz/corpus-$target"
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

# The target that has threads finds less in a second.
stage_fuzz ()
{
  build_fuzz
  sanitizer_environment
  check 'the handshake, 30 s' fuzz negotiate 30
  check 'transmission, 90 s' fuzz transmit 90
}
