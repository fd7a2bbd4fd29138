/* SPDX-License-Identifier: BSD-3-Clause
 *
 * disks.c: what the fuzzed server serves.  They are small, and their seeds are
 * fixed.
 */

#include <config.h>

#include <string.h>

#include "disks.h"
#include "fuzz.h"

const char *const disk_names[NR_DISKS]
    = { "", "readonly", "odd", "late", "bad", "few" };

static const char *const words[][2] = {
  { "driver", "memory" },
  { "size", "256K" },
  { "seed", "1" },
  { "export", "" },
  { "export", "readonly" },
  { "readonly", "1" },
  { "rotational", "1" },
  { "description", "for reading" },
  { "export", "odd" },
  { "size", "250001" },
  { "blocksize", "4096" },
  { "export", "late" },
  { "irqmode", "timer" },
  { "completion_nsec", "1us" },
  { "export", "bad" },
  { "fault", "op=read,every=3,status=medium;op=write,every=5,errno=ENOSPC;op="
             "flush,every=3" },
  { "export", "few" },
  { "hw_queue_depth", "2" },
  { "max_sectors", "8" },
  { "memory_limit", "64K" },
};

struct exports *
disks_alloc (void)
{
  struct exports *exports = exports_alloc ();
  struct blkmq_error error = { "" };
  int r = 0;

  require (exports != NULL);
  for (size_t i = 0; i < NR (words) && r == 0; i++)
    r = exports_set (exports, words[i][0], words[i][1], &error);
  if (r == 0)
    r = exports_check (exports, &error);
  if (r == 0)
    r = exports_set_up (exports, &error);
  if (r != 0)
    fprintf (stderr, "%s\n", error.message);
  require (r == 0);
  return exports;
}
