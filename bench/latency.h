/* SPDX-License-Identifier: BSD-3-Clause
 *
 * latency.h: a log-linear histogram of latencies in nanoseconds.  Each power
 * of two is cut into 64 equal buckets, so a percentile is at most 1.6 % off at
 * any scale, and recording is a shift and an increment.  Not locked: one
 * thread owns a histogram.
 */

#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LATENCY_SUB_BITS 6
#define LATENCY_SUB (1 << LATENCY_SUB_BITS)
#define LATENCY_NR_BUCKETS ((64 - LATENCY_SUB_BITS + 1) * LATENCY_SUB)

struct latency {
  uint64_t count;
  uint64_t sum_ns;
  uint64_t min_ns;
  uint64_t max_ns;
  uint64_t bucket[LATENCY_NR_BUCKETS];
};

static inline void
latency_reset (struct latency *l)
{
  memset (l, 0, sizeof *l);
  l->min_ns = UINT64_MAX;
}

/* Below 64 ns a bucket is one nanosecond.  From there on the six bits after
 * the leading one choose the bucket within the power of two.
 */
static inline size_t
latency_bucket (uint64_t ns)
{
  unsigned shift;

  if (ns < LATENCY_SUB)
    return (size_t)ns;
  shift = 63 - (unsigned)__builtin_clzll (ns) - LATENCY_SUB_BITS;
  return ((size_t)shift << LATENCY_SUB_BITS) + (size_t)(ns >> shift);
}

/* The middle of a bucket. */
static inline uint64_t
latency_bucket_ns (size_t bucket)
{
  unsigned shift;
  uint64_t low;

  if (bucket < LATENCY_SUB)
    return bucket;
  shift = (unsigned)(bucket >> LATENCY_SUB_BITS) - 1;
  low = (uint64_t)(bucket - ((size_t)shift << LATENCY_SUB_BITS)) << shift;
  return low + ((UINT64_C (1) << shift) >> 1);
}

static inline void
latency_record (struct latency *l, uint64_t ns)
{
  l->count++;
  l->sum_ns += ns;
  if (ns < l->min_ns)
    l->min_ns = ns;
  if (ns > l->max_ns)
    l->max_ns = ns;
  l->bucket[latency_bucket (ns)]++;
}

/* The smallest latency that at least `fraction' of all do not exceed (nearest
 * rank), within the width of a bucket and never outside of what was seen.
 */
static inline uint64_t
latency_percentile (const struct latency *l, double fraction)
{
  double exact_rank = fraction * (double)l->count;
  uint64_t rank = (uint64_t)exact_rank;
  uint64_t seen = 0;
  uint64_t ns = 0;
  size_t i;

  if (l->count == 0)
    return 0;
  if ((double)rank < exact_rank)
    rank++;
  for (i = 0; i < LATENCY_NR_BUCKETS; i++) {
    seen += l->bucket[i];
    if (seen >= rank && seen > 0) {
      ns = latency_bucket_ns (i);
      break;
    }
  }
  if (ns < l->min_ns)
    return l->min_ns;
  return ns > l->max_ns ? l->max_ns : ns;
}

#endif /* BENCH_LATENCY_H */
