#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Every input that was worth keeping when the native server was fuzzed is still
# answered as it should be.
set -eu

for target in config negotiate transmit; do
  "$BLKMQ_BUILDDIR/tests/fuzz/replay-$target" \
    "$(dirname "$0")/corpus-$target"
done
