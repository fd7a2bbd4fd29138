/* SPDX-License-Identifier: BSD-3-Clause
 *
 * histogram.c: log-linear histograms of times, as their owner sees them.  How
 * the engine fills its own, from several threads, is in iostat.c.  Whoever
 * owns the histogram enters.
 */

#include <config.h>

#include "engine/histogram.h"

uint64_t
histogram_bucket_ns (unsigned bucket)
{
  unsigned shift;
  uint64_t low;

  if (bucket < 2 * HISTOGRAM_SUB)
    return bucket;
  shift = (bucket >> BLKMQ_HISTOGRAM_SUB_BITS) - 1;
  low = (uint64_t)(bucket - (shift << BLKMQ_HISTOGRAM_SUB_BITS)) << shift;
  return low + (UINT64_C (1) << shift) / 2;
}

void
blkmq_histogram_record (struct blkmq_histogram *histogram, uint64_t ns)
{
  if (histogram->count == 0 || ns < histogram->min_ns)
    histogram->min_ns = ns;
  if (ns > histogram->max_ns)
    histogram->max_ns = ns;
  histogram->count++;
  histogram->sum_ns += ns;
  histogram->buckets[histogram_bucket (ns)]++;
}

void
blkmq_histogram_merge (struct blkmq_histogram *into,
                       const struct blkmq_histogram *from)
{
  if (from->count == 0)
    return;
  if (into->count == 0 || from->min_ns < into->min_ns)
    into->min_ns = from->min_ns;
  if (from->max_ns > into->max_ns)
    into->max_ns = from->max_ns;
  into->count += from->count;
  into->sum_ns += from->sum_ns;
  for (unsigned i = 0; i < BLKMQ_HISTOGRAM_NR_BUCKETS; i++)
    into->buckets[i] += from->buckets[i];
}

/* The rank, from 1, of the value that PERCENT of NR do not exceed. */
static uint64_t
nearest_rank (double percent, uint64_t nr)
{
  double exact = percent * (double)nr / 100;
  uint64_t rank = (uint64_t)exact;

  /* 2.22 has no exact double: what it is off must not make a rank. */
  if (exact - (double)rank > exact * 1e-12)
    rank++;
  return rank > 0 ? rank : 1;
}

uint64_t
blkmq_histogram_percentile (const struct blkmq_histogram *histogram,
                            double percent)
{
  uint64_t rank, ns, seen = 0;
  unsigned i = 0;

  if (histogram->count == 0)
    return 0;
  if (!(percent > 0))
    return histogram->min_ns;
  if (percent >= 100)
    return histogram->max_ns;

  rank = nearest_rank (percent, histogram->count);
  while ((seen += histogram->buckets[i]) < rank
         && i < BLKMQ_HISTOGRAM_NR_BUCKETS - 1)
    i++;
  /* The middle may lie outside of what was seen. */
  ns = histogram_bucket_ns (i);
  if (ns < histogram->min_ns)
    return histogram->min_ns;
  return ns > histogram->max_ns ? histogram->max_ns : ns;
}

double
blkmq_histogram_mean (const struct blkmq_histogram *histogram)
{
  if (histogram->count == 0)
    return 0;
  return (double)histogram->sum_ns / (double)histogram->count;
}
