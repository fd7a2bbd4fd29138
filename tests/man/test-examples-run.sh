#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The complete examples in libblkmq(3) and blkmq-driver(3) compile with strict
# warnings against the public headers alone, and the first one does what the
# page says.
set -euo pipefail

srcdir=${srcdir:-.}
builddir=${BLKMQ_BUILDDIR:?set by make check}
lib=$builddir/src/.libs
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# The verbatim text of the section whose title begins "A COMPLETE".
example ()
{
  awk '/^=head1/ { inside = /^=head1 A COMPLETE/; next }
       inside && /^( |$)/ { sub (/^ /, ""); print }' "$1"
}

compile ()
{
  ${CC:-cc} -std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror -pedantic \
    -I"$srcdir/src" "$@"
}

example "$srcdir/man/libblkmq.pod" > "$tmp/library.c"
example "$srcdir/man/blkmq-driver.pod" > "$tmp/driver.c"
grep -q 'blkmq_disk_start' "$tmp/library.c"
grep -q 'blkmq_complete' "$tmp/driver.c"

# A program around the driver: serve with it and read through it.
cat > "$tmp/use-driver.c" <<'EOF'
#include <blkmq-driver.h>
#include <stdio.h>

extern const struct blkmq_driver counting_driver;

int
main (void)
{
  static char buf[4096] = "dirty";
  struct blkmq_config *config = blkmq_config_alloc ();
  struct blkmq_submitter *submitter;
  struct blkmq_error error;
  struct blkmq_disk *disk;

  if (blkmq_driver_register (&counting_driver, &error) < 0
      || blkmq_config_set (config, "driver", "counting", &error) < 0
      || blkmq_config_set (config, "size", "1M", &error) < 0
      || blkmq_disk_alloc (config, &disk, &error) < 0
      || blkmq_disk_start (disk, &error) < 0) {
    fprintf (stderr, "%s\n", error.message);
    return 1;
  }
  blkmq_config_free (config);
  submitter = blkmq_submitter_alloc (disk, 0);
  if (blkmq_read (submitter, buf, sizeof buf, 0) < 0 || buf[0] != 0)
    return 1;
  blkmq_submitter_free (submitter);
  blkmq_disk_put (disk);
  return 0;
}
EOF

compile "$tmp/library.c" -o "$tmp/library" -L"$lib" -lblkmq
compile "$tmp/driver.c" "$tmp/use-driver.c" -o "$tmp/driver" \
  -L"$lib" -lblkmq
export LD_LIBRARY_PATH=$lib
[ "$("$tmp/library")" = hello ] || { echo "libblkmq(3): wrong output"; exit 1; }
"$tmp/driver" || { echo "blkmq-driver(3): failed"; exit 1; }
