/* SPDX-License-Identifier: BSD-3-Clause
 *
 * enter.c: into the engine and out of it.  What turns up inside callbacks is
 * noted in the thread's slot and done here, on the way out of the outermost
 * entry.  Any thread.
 */

#include <config.h>

#include "engine/disk.h"
#include "engine/dispatch.h"
#include "engine/enter.h"
#include "engine/io.h"

/* How many noted ios a loop's thread dispatches before it looks at its timers
 * again. */
#define LOOP_IO_BUDGET 256

struct thread_slot *
engine_enter (void)
{
  struct thread_slot *slot = thread_self ();

  slot->depth++;
  return slot;
}

void
engine_note_io (struct thread_slot *slot, struct blkmq_io *io)
{
  io->priv.next = NULL;
  *slot->ios_tail = io;
  slot->ios_tail = &io->priv.next;
}

static struct blkmq_io *
pop_noted_io (struct thread_slot *slot)
{
  struct blkmq_io *io = slot->ios;

  slot->ios = io->priv.next;
  if (slot->ios == NULL)
    slot->ios_tail = &slot->ios;
  io->priv.next = NULL;
  return io;
}

static void
hand_over_runs (struct thread_slot *slot)
{
  for (unsigned i = 0; i < THREAD_NR_RUNS; i++) {
    struct blkmq_hctx *h
        = atomic_load_explicit (&slot->runs[i], memory_order_relaxed);

    if (h == NULL)
      continue;
    loop_kick (h->loop);
    atomic_store_explicit (&slot->runs[i], NULL, memory_order_release);
    slot->nr_runs--;
  }
}

void
engine_hand_over (struct thread_slot *slot)
{
  while (slot->ios != NULL) {
    struct blkmq_io *io = pop_noted_io (slot);

    dispatch_ios (slot, submitter_hctx (io->priv.submitter, io), io, true);
  }
  hand_over_runs (slot);
}

static void
drain_runs (struct thread_slot *slot)
{
  for (unsigned i = 0; i < THREAD_NR_RUNS; i++) {
    struct blkmq_hctx *h
        = atomic_load_explicit (&slot->runs[i], memory_order_relaxed);

    if (h == NULL)
      continue;
    /* Note that is kept until the dispatching mark stands in its place. */
    atomic_store_explicit (&slot->dispatching, h, memory_order_relaxed);
    atomic_store_explicit (&slot->runs[i], NULL, memory_order_release);
    slot->nr_runs--;
    hctx_run (slot, h);
  }
}

/* What is dispatched here may complete here and ask for another run: after one
 * round the loop goes on, or a submitter would serve others for ever.  An
 * end_io that submits again is the thread's own affair, but for a loop's,
 * which has timers to serve. */
void
engine_leave (struct thread_slot *slot)
{
  unsigned budget = LOOP_IO_BUDGET;
  bool has_run = false;

  if (slot->depth == 1) {
    while (slot->ios != NULL || slot->nr_runs > 0) {
      if (slot->on_loop > 0 && budget-- == 0)
        engine_hand_over (slot);
      else if (slot->ios != NULL) {
        struct blkmq_io *io = pop_noted_io (slot);

        dispatch_ios (slot, submitter_hctx (io->priv.submitter, io), io, false);
      } else if (!has_run) {
        has_run = true;
        drain_runs (slot);
      } else
        hand_over_runs (slot);
    }
  }
  slot->depth--;
}
