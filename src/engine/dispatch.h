/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dispatch.h: from an io with or without a tag to the driver's queue_rq. Inside
 * the engine only (enter.h).
 */

#ifndef BLKMQ_ENGINE_DISPATCH_H
#define BLKMQ_ENGINE_DISPATCH_H

#include "engine/hctx.h"
#include "engine/thread.h"

/* Submit a chain of ios of one hctx, in order, with one doorbell.  QUEUE_ONLY:
 * where queue_rq must not run; they get tags and are left to the queue. */
void dispatch_ios (struct thread_slot *slot, struct blkmq_hctx *h,
                   struct blkmq_io *first, bool queue_only);

/* Look at the queue and the waiters. */
void hctx_run (struct thread_slot *slot, struct blkmq_hctx *h);

#endif /* BLKMQ_ENGINE_DISPATCH_H */
