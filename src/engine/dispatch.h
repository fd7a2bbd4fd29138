/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dispatch.h: from an io with or without a tag to the driver's queue_rq.
 */

#ifndef BLKMQ_ENGINE_DISPATCH_H
#define BLKMQ_ENGINE_DISPATCH_H

#include "engine/hctx.h"
#include "engine/thread.h"

/* Enter and leave the engine at a place where noted work may be done; leaving
 * the outermost level does it. */
struct thread_slot *engine_enter (void);
void engine_leave (struct thread_slot *slot);

/* Enter and leave where queue_rq must not run: a driver completes, a reference
 * is put.  What was noted is handed to the loops. */
static inline struct thread_slot *
engine_enter_from_below (void)
{
  struct thread_slot *slot = thread_self ();

  slot->depth++;
  return slot;
}
void engine_hand_over (struct thread_slot *slot);
static inline void
engine_leave_from_below (struct thread_slot *slot)
{
  if (slot->depth == 1
      && __builtin_expect (slot->ios != NULL || slot->nr_runs > 0, 0))
    engine_hand_over (slot);
  slot->depth--;
}

/* Note an io that was submitted inside a callback. */
void engine_note_io (struct thread_slot *slot, struct blkmq_io *io);

/* Submit a chain of ios of one hctx, in order, with one doorbell.  Inside the
 * engine. */
void dispatch_ios (struct thread_slot *slot, struct blkmq_hctx *h,
                   struct blkmq_io *first);

/* Look at the queue and the waiters.  Inside the engine. */
void hctx_run (struct thread_slot *slot, struct blkmq_hctx *h);

/* Put a QUEUED request on the queue, or drop it if it was ended meanwhile.  True
 * if the queue could move now: the caller asks for a run (hctx_ask_run). */
bool queue_insert (struct blkmq_hctx *h, struct request *r, bool at_head);

/* Take a QUEUED request off the queue and let go of it, if it is there. */
void queue_remove (struct blkmq_hctx *h, struct request *r);

/* Wait list.  wait_abort takes off and ends with STATUS all that MATCH says yes
 * to (NULL: all), and returns their number. */
void wait_append (struct blkmq_hctx *h, struct blkmq_io *io);
unsigned wait_abort (struct blkmq_hctx *h,
                     bool (*match) (struct blkmq_io *io, void *opaque),
                     void *opaque, enum blkmq_status status);

#endif /* BLKMQ_ENGINE_DISPATCH_H */
