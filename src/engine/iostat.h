/* SPDX-License-Identifier: BSD-3-Clause
 *
 * iostat.h: iostats=1: how long each request takes, and how long an hctx has
 * something in flight.  With iostats=0 a request pays for one test at each end.
 */

#ifndef BLKMQ_ENGINE_IOSTAT_H
#define BLKMQ_ENGINE_IOSTAT_H

#include "engine/hctx.h"
#include "engine/request.h"

/* What H needs for iostats, if it is not there yet: 0 or -ENOMEM.  It stays
 * when they are switched off. */
int iostat_prepare (struct blkmq_hctx *h);
void iostat_exit (struct blkmq_hctx *h);

/* Have latencies count from now on; what that needs: 0 or -ENOMEM. */
int iostat_prepare_base (struct blkmq_hctx *h);
void iostat_set_base (struct blkmq_hctx *h);

void iostat_start_timed (struct request *r);
void iostat_end_timed (struct request *r);

/* R has its tag and its operation; whoever started it. */
static inline void
iostat_start (struct request *r)
{
  if (__builtin_expect (
          atomic_load_explicit (&r->rq.hctx->iostat, memory_order_acquire)
              != NULL,
          0))
    iostat_start_timed (r);
}

/* R is about to be answered; whoever answers. */
static inline void
iostat_end (struct request *r)
{
  if (__builtin_expect (
          atomic_load_explicit (&r->rq.hctx->iostat, memory_order_acquire)
              != NULL,
          0))
    iostat_end_timed (r);
}

/* Add H's to what is there. */
void iostat_add_latency (struct blkmq_hctx *h, enum blkmq_op op,
                         struct blkmq_histogram *histogram);
void iostat_add_times (struct blkmq_hctx *h, struct blkmq_stats *stats);

#endif /* BLKMQ_ENGINE_IOSTAT_H */
