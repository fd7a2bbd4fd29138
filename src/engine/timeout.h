/* SPDX-License-Identifier: BSD-3-Clause
 *
 * timeout.h: io_timeout.  One scan timer an hctx finds the requests that have
 * been in flight for too long, and asks whoever holds them; another one those
 * that were aborted.
 */

#ifndef BLKMQ_ENGINE_TIMEOUT_H
#define BLKMQ_ENGINE_TIMEOUT_H

#include "engine/hctx.h"

/* When a request that is taken now runs out.  The coarse clock's lag is added,
 * so that it is not early (but for the lag of a clock whose tick was late, as
 * on a crowded virtual machine). */
static inline uint64_t
timeout_deadline_ns (struct blkmq_hctx *h)
{
  return clock_coarse_ns (h->clock) + h->clock->coarse_resolution_ns
         + h->io_timeout_ns;
}

void timeout_start_scan (struct blkmq_hctx *h);
void timeout_restart_scan (struct blkmq_hctx *h);

/* Make sure that a scan comes.  Called after the request's tag was taken. */
static inline void
timeout_arm_scan (struct blkmq_hctx *h)
{
  if (__builtin_expect (
          !atomic_load_explicit (&h->scan_armed, memory_order_relaxed), 0))
    timeout_start_scan (h);
}

/* The scan timer has fired.  The hctx's loop. */
void timeout_scan (struct blkmq_hctx *h);

/* A request of H was aborted while the driver had it: have it asked soon.  Any
 * thread. */
static inline void
timeout_arm_abort (struct blkmq_hctx *h)
{
  if (h->driver->abort != NULL)
    timer_arm (&h->heap, &h->abort_timer, clock_now_ns (h->clock), 0);
}

/* That timer has fired.  The hctx's loop. */
void timeout_ask_aborted (struct blkmq_hctx *h);

#endif /* BLKMQ_ENGINE_TIMEOUT_H */
