/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stats.c: what a disk has done, as lines for a log.  The server's main thread,
 * when nothing is in flight any more.
 */

#include <config.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "blkmq.h"
#include "front/stats.h"

static void __attribute__ ((format (printf, 2, 3)))
print_line (void (*print) (const char *line), const char *format, ...)
{
  char line[512];
  va_list args;

  va_start (args, format);
  vsnprintf (line, sizeof line, format, args);
  va_end (args);
  print (line);
}

static double
percentile_us (const struct blkmq_histogram *histogram, double percent)
{
  return (double)blkmq_histogram_percentile (histogram, percent) / 1000;
}

static void
print_latency (const struct export *export, unsigned hctx, enum blkmq_op op,
               const struct blkmq_histogram *histogram,
               void (*print) (const char *line))
{
  print_line (print,
              "%shctx %u %s: %" PRIu64 " requests, mean %.1f us, "
              "min %.1f p50 %.1f p90 %.1f p99 %.1f p99.9 %.1f max %.1f",
              export->prefix, hctx, blkmq_op_name (op), histogram->count,
              blkmq_histogram_mean (histogram) / 1000,
              percentile_us (histogram, 0), percentile_us (histogram, 50),
              percentile_us (histogram, 90), percentile_us (histogram, 99),
              percentile_us (histogram, 99.9), percentile_us (histogram, 100));
}

static void
print_latencies (const struct export *export, unsigned hctx,
                 void (*print) (const char *line))
{
  struct blkmq_histogram *histogram = malloc (sizeof *histogram);

  if (histogram == NULL)
    return; /* a summary that nobody can rely on is no reason to fail */
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    /* -ENODATA: iostats=0. */
    if (blkmq_disk_latency (export->disk, hctx, (enum blkmq_op)op, histogram)
            == 0
        && histogram->count > 0)
      print_latency (export, hctx, (enum blkmq_op)op, histogram, print);
  }
  free (histogram);
}

static void
print_counters (const struct export *export, unsigned hctx,
                void (*print) (const char *line))
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
  print_line (print,
              "%shctx %u: %" PRIu64 " requests, %" PRIu64 " bytes, "
              "%" PRIu64 " errors, %" PRIu64 " rejected, %" PRIu64 " busy, "
              "%" PRIu64 " requeues, %" PRIu64 " timeouts",
              export->prefix, hctx, nr_ios, nr_bytes, nr_errors, nr_rejected,
              stats.busy, stats.requeues, stats.timeouts);
}

void
export_print_stats (const struct export *export, bool counters,
                    void (*print) (const char *line))
{
  unsigned nr_hctxs = blkmq_disk_nr_hw_queues (export->disk);

  for (unsigned hctx = 0; hctx < nr_hctxs; hctx++) {
    if (counters)
      print_counters (export, hctx, print);
    print_latencies (export, hctx, print);
  }
}
