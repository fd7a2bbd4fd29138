/* SPDX-License-Identifier: BSD-3-Clause
 *
 * histogram.h: which bucket of a blkmq_histogram a time belongs to.
 */

#ifndef BLKMQ_ENGINE_HISTOGRAM_H
#define BLKMQ_ENGINE_HISTOGRAM_H

#include "blkmq.h"

#define HISTOGRAM_SUB (1u << BLKMQ_HISTOGRAM_SUB_BITS)
#define HISTOGRAM_MAX_NS ((UINT64_C (1) << BLKMQ_HISTOGRAM_MAX_BITS) - 1)

/* The leading bit chooses the power of two, the five bits after it the bucket
 * within.  The first two powers have buckets of one nanosecond. */
static inline unsigned
histogram_bucket (uint64_t ns)
{
  unsigned shift;

  if (ns < HISTOGRAM_SUB)
    return (unsigned)ns;
  if (ns > HISTOGRAM_MAX_NS)
    ns = HISTOGRAM_MAX_NS;
  shift = 63 - (unsigned)__builtin_clzll (ns) - BLKMQ_HISTOGRAM_SUB_BITS;
  return (shift << BLKMQ_HISTOGRAM_SUB_BITS) + (unsigned)(ns >> shift);
}

/* The middle of a bucket. */
uint64_t histogram_bucket_ns (unsigned bucket);

#endif /* BLKMQ_ENGINE_HISTOGRAM_H */
