/* SPDX-License-Identifier: BSD-3-Clause
 *
 * thread.h: what the engine knows about each thread that enters it.
 *
 * A thread announces what it is in the middle of in its own slot, with plain
 * stores that cost nothing.  Whoever must know (quiesce: is anybody dispatching
 * on this hctx?  the timeout scan: is this request still inside queue_rq?
 * removal: is anybody still releasing?) walks all slots.  That moves the whole
 * cost of the question to the one who rarely asks it.
 *
 * The slot also makes the engine's entry points flat: work that turns up
 * inside a callback (an io submitted by an end_io, an hctx that has to be run)
 * is noted here and done when the outermost call leaves, so the stack does not
 * grow and queue_rq is never entered from within a completion.
 */

#ifndef BLKMQ_ENGINE_THREAD_H
#define BLKMQ_ENGINE_THREAD_H

#include <stdatomic.h>
#include <stdbool.h>

#include "blkmq.h"

struct request;
struct sync_sleep;

#define THREAD_NR_RUNS 4

struct thread_slot {
  /* Read by others. */
  _Atomic (struct blkmq_hctx *) dispatching; /* may be inside queue_rq */
  _Atomic (struct request *) queueing;       /* this one is */
  _Atomic (struct blkmq_hctx *) holding;     /* touches the hctx: hctx_hold */

  /* Hctxs to run when the engine is left: written by the thread, read by
   * removal, which must not free them under it. */
  _Atomic (struct blkmq_hctx *) runs[THREAD_NR_RUNS];

  /* The thread's own. */
  bool registered;
  _Atomic unsigned on_loop; /* hctx loops that run on this thread: it must
                             * not block.  Own to raise; registry lock to
                             * lower, perhaps by another thread. */
  unsigned id;              /* spreads threads over the words of a tag map */
  unsigned depth;       /* entry points that will drain what is noted below */
  unsigned in_callback; /* end_io or give_back is running */
  unsigned nr_runs;     /* of runs[] that may be set */
  uint64_t busy_ns;     /* of queue_rq's result: blkmq_busy_for; 0: not said */
  struct blkmq_io *ios, **ios_tail; /* ios to submit */
  struct sync_sleep *sleep;         /* NULL: waits for no io of its own */

  struct thread_slot *prev, *next; /* registry lock */
};

extern __thread struct thread_slot thread_slot_storage
    __attribute__ ((tls_model ("initial-exec"), visibility ("hidden")));

void thread_register (struct thread_slot *slot)
    __attribute__ ((visibility ("hidden")));

static inline struct thread_slot *
thread_self (void)
{
  struct thread_slot *slot = &thread_slot_storage;

  if (__builtin_expect (!slot->registered, 0))
    thread_register (slot);
  return slot;
}

/* Must a blocking call be refused on this thread? */
static inline bool
thread_must_not_block (const struct thread_slot *slot)
{
  return slot->on_loop > 0 || slot->depth > 0 || slot->in_callback > 0;
}

/* A loop that ran on the thread of SLOT, with that ID, runs there no more.  The
 * thread itself may be gone. */
void thread_leave_loop (struct thread_slot *slot, unsigned id);

/* Is any thread inside queue_rq for RQ? */
bool thread_any_queueing (struct request *rq);

/* Note HCTX to be run when SLOT's thread leaves the engine.  False: no room.
 * The caller keeps the hctx until this returns; from then on the note does. */
bool thread_note_run (struct thread_slot *slot, struct blkmq_hctx *hctx);

/* Wait until each other thread was seen, since the call, not to dispatch on
 * HCTX; or not to touch it at all (dispatching, holding, noted to run): what it
 * does on HCTX after that it has begun after that.  The caller has published
 * what the new ones must see, and this passes a full barrier.  Sleeps between
 * looks. */
void thread_wait_dispatching (struct blkmq_hctx *hctx);
void thread_wait_gone (struct blkmq_hctx *hctx);

#endif /* BLKMQ_ENGINE_THREAD_H */
