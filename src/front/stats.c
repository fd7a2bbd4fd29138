/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stats.c: what a disk has done, for nbdkit's debug log (-v): with
 * iostats=1 a line for each hardware queue and operation that was used, and
 * with -D blkmq.stats=1 each queue's counters.  nbdkit's main thread, when
 * nothing is in flight any more.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "blkmq.h"
#include "plugin.h"

/* -D blkmq.stats=1: log the counters. */
extern int blkmq_debug_stats;
NBDKIT_DLL_PUBLIC int blkmq_debug_stats;

static double
percentile_us (const struct blkmq_histogram *histogram, double percent)
{
  return (double)blkmq_histogram_percentile (histogram, percent) / 1000;
}

static void
log_latency (const struct export *export, unsigned hctx, enum blkmq_op op,
             const struct blkmq_histogram *histogram)
{
  nbdkit_debug ("%shctx %u %s: %" PRIu64 " requests, mean %.1f us, "
                "min %.1f p50 %.1f p90 %.1f p99 %.1f p99.9 %.1f max %.1f",
                export->prefix, hctx, blkmq_op_name (op), histogram->count,
                blkmq_histogram_mean (histogram) / 1000,
                percentile_us (histogram, 0), percentile_us (histogram, 50),
                percentile_us (histogram, 90), percentile_us (histogram, 99),
                percentile_us (histogram, 99.9),
                percentile_us (histogram, 100));
}

static void
log_latencies (const struct export *export, unsigned hctx)
{
  struct blkmq_histogram *histogram = malloc (sizeof *histogram);

  if (histogram == NULL)
    return; /* a summary that nobody can rely on is no reason to fail */
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    /* -ENODATA: iostats=0. */
    if (blkmq_disk_latency (export->disk, hctx, (enum blkmq_op)op, histogram)
            == 0
        && histogram->count > 0)
      log_latency (export, hctx, (enum blkmq_op)op, histogram);
  }
  free (histogram);
}

static void
log_counters (const struct export *export, unsigned hctx)
{
  uint64_t nr_ios = 0, nr_bytes = 0, nr_errors = 0, nr_rejected = 0;
  struct blkmq_stats stats;

  if (blkmq_disk_stats (export->disk, hctx, &stats) < 0)
    return;
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    nr_ios += stats.ios[op];
    nr_bytes += stats.bytes[op];
  }
  for (unsigned status = 0; status < BLKMQ_NR_STATUSES; status++) {
    nr_errors += stats.errors[status];
    nr_rejected += stats.rejected[status];
  }
  nbdkit_debug ("%shctx %u: %" PRIu64 " requests, %" PRIu64 " bytes, "
                "%" PRIu64 " errors, %" PRIu64 " rejected, %" PRIu64 " busy, "
                "%" PRIu64 " requeues, %" PRIu64 " timeouts",
                export->prefix, hctx, nr_ios, nr_bytes, nr_errors, nr_rejected,
                stats.busy, stats.requeues, stats.timeouts);
}

void
log_stats (const struct export *export)
{
  unsigned nr_hctxs = blkmq_disk_nr_hw_queues (export->disk);

  for (unsigned hctx = 0; hctx < nr_hctxs; hctx++) {
    if (blkmq_debug_stats)
      log_counters (export, hctx);
    log_latencies (export, hctx);
  }
}
