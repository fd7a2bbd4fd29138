/* SPDX-License-Identifier: BSD-3-Clause
 *
 * barrier.h: the one memory barrier that C11 cannot say cheaply.
 *
 * Several protocols here have the form "store mine, full barrier, load
 * yours" (Dekker), where the step between is a read-modify-write that the
 * path needs anyway.  On x86 a locked instruction is a full barrier, and an
 * mfence after it would be a waste; elsewhere a real fence is needed.
 */

#ifndef BLKMQ_ENGINE_BARRIER_H
#define BLKMQ_ENGINE_BARRIER_H

#include <stdatomic.h>

static inline void
barrier_full (void)
{
  atomic_thread_fence (memory_order_seq_cst);
}

/* Order everything before an atomic read-modify-write with everything after
 * this call. */
static inline void
barrier_after_rmw (void)
{
#if defined(__x86_64__) || defined(__i386__)
  atomic_signal_fence (memory_order_seq_cst);
#else
  barrier_full ();
#endif
}

#endif /* BLKMQ_ENGINE_BARRIER_H */
