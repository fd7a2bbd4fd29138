/* SPDX-License-Identifier: BSD-3-Clause
 *
 * enter.h: the ways into the engine, and what is done on the way out.
 */

#ifndef BLKMQ_ENGINE_ENTER_H
#define BLKMQ_ENGINE_ENTER_H

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

#endif /* BLKMQ_ENGINE_ENTER_H */
