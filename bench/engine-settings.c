/* SPDX-License-Identifier: BSD-3-Clause
 *
 * engine-settings.c: what bench/engine measures, a row each.  A row with a
 * base is a feature: the table prints what it adds to its base.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "engine.h"

struct setting settings[] = {
  {
      .name = "atomics",
      .about = "no engine: tag bit, 3 CAS, free",
      .drive = DRIVE_ATOMICS,
  },
  {
      .name = "bare",
      .about = "full cycle, 64 outstanding",
      .drive = DRIVE_SINGLE,
      .keys = "driver=ring",
  },
  {
      .name = "io_timeout",
      .about = "armed: one reading of the coarse clock",
      .drive = DRIVE_SINGLE,
      .keys = "driver=ring io_timeout=30s",
      .base = "bare",
      .at_most_ns = 75,
  },
  {
      .name = "iostats",
      .about = "histograms: two readings of the exact clock",
      .drive = DRIVE_SINGLE,
      .keys = "driver=ring iostats=1",
      .base = "bare",
      .at_most_ns = 120,
  },
  {
      .name = "iostats+timeout",
      .about = "both",
      .drive = DRIVE_SINGLE,
      .keys = "driver=ring iostats=1 io_timeout=30s",
      .base = "io_timeout",
      .at_most_ns = 120,
  },
  {
      .name = "complete-op",
      .about = "the driver looks at each request on its way up",
      .drive = DRIVE_SINGLE,
      .keys = "driver=ring-complete",
      .base = "bare",
  },
  {
      .name = "mq-deadline",
      .about = "sorted in, sorted out, a driver tag on the way",
      .drive = DRIVE_SINGLE,
      .keys = "driver=ring scheduler=mq-deadline",
      .base = "bare",
  },
  {
      .name = "nomerges",
      .about = "requests without room for several ios",
      .drive = DRIVE_SINGLE,
      .keys = "driver=ring nomerges=1",
      .base = "bare",
  },
  {
      .name = "live",
      .about = "room for every layer, none of them there",
      .drive = DRIVE_SINGLE,
      .keys = "driver=ring live=1",
      .base = "bare",
  },
  {
      .name = "delay",
      .about = "the layer, with a latency for flushes",
      .drive = DRIVE_SINGLE,
      .keys = "driver=ring delay_flush=1s",
      .base = "bare",
  },
  {
      .name = "badblocks",
      .about = "the layer, with a bad sector far away",
      .drive = DRIVE_SINGLE,
      .keys = "driver=ring badblocks=+2097151-2097151",
      .base = "bare",
  },
  {
      .name = "cache",
      .about = "with nothing in it: the way to the inner disk, and through it",
      .drive = DRIVE_SINGLE,
      .keys = "driver=ring cache_size=64",
      .base = "bare",
  },
  {
      .name = "inline",
      .about = "driver=null, one at a time",
      .drive = DRIVE_SINGLE,
      /* Flush carries no data: a read would time memset. */
      .op = BLKMQ_OP_FLUSH,
      .keys = "driver=null io_timeout=30s",
  },
  {
      .name = "batch",
      .about = "batches of 32, 32 outstanding",
      .drive = DRIVE_BATCH,
      .keys = "driver=ring outstanding=32 io_timeout=30s",
      .base = "io_timeout",
  },
  {
      .name = "batch-inline",
      .about = "batches of 32, completed in queue_rq",
      .drive = DRIVE_BATCH,
      .keys = "driver=ring outstanding=0",
  },
  {
      .name = "softirq",
      .about = "ended by a lent loop, 32 a turn",
      .drive = DRIVE_LOOP,
      .keys = "driver=ring outstanding=0 irqmode=softirq",
      .base = "batch-inline",
  },
  {
      .name = "timer",
      .about = "the same by timers that are due at once",
      .drive = DRIVE_LOOP,
      .keys = "driver=ring outstanding=0 irqmode=timer completion_nsec=0",
      .base = "batch-inline",
  },
  {
      .name = "2-threads",
      .about = "io_timeout, on 2 threads and 2 hctxs",
      .drive = DRIVE_SINGLE,
      .nr_threads = 2,
      .keys = "driver=ring io_timeout=30s submit_queues=2",
      .base = "io_timeout",
  },
};

const unsigned nr_settings = sizeof settings / sizeof settings[0];

struct setting *
setting_named (const char *name)
{
  for (unsigned i = 0; i < nr_settings; i++) {
    if (strcmp (settings[i].name, name) == 0)
      return &settings[i];
  }
  abort (); /* a base that has no row */
}
