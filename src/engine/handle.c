/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handle.c: for those outside a request's way: look-up, iteration, abort.
 * Any thread that holds a reference to the disk.
 */

#include <config.h>

#include <assert.h>
#include <string.h>

#include "engine/disk.h"
#include "engine/enter.h"
#include "engine/flush.h"
#include "engine/hctx.h"
#include "engine/io.h"
#include "engine/merge.h"
#include "engine/queue.h"
#include "engine/request.h"
#include "engine/timeout.h"
#include "engine/yield.h"

/* ---- references ---- */

/* An outside reference pins the disk as well: removal does not wait for it. */
static bool
get_outside (struct blkmq_hctx *h, struct request *r, blkmq_handle handle)
{
  if (!request_try_get (r, handle))
    return false;
  /* Where hctxs share their requests, the name may be another's. */
  if (request_hctx (r) != h) {
    request_put (r);
    return false;
  }
  yield_point ("got");
  blkmq_disk_get (h->disk);
  atomic_fetch_add (&r->outside, 1);
  return true;
}

struct blkmq_request *
blkmq_request_get (struct blkmq_disk *disk, blkmq_handle handle)
{
  struct thread_slot *slot;
  struct blkmq_hctx *h;
  struct request *r;
  enum hold hold;

  if (name_hctx (handle) >= disk_nr_hctxs (disk)) {
    count (&disk_hctx (disk, 0)->stale_handles);
    return NULL;
  }
  h = disk_hctx (disk, name_hctx (handle));
  slot = engine_enter_from_below ();
  hold = hctx_hold (slot, h);
  r = hctx_find (h, handle);
  if (r != NULL && !get_outside (h, r, handle))
    r = NULL;
  if (r == NULL)
    count (&h->stale_handles);
  hctx_let_go (slot, h, hold);
  engine_leave_from_below (slot);
  return r != NULL ? &r->rq : NULL;
}

void
blkmq_request_put (struct blkmq_request *rq)
{
  struct request *r = request_of (rq);
  struct blkmq_disk *disk = rq->hctx->disk;
  struct thread_slot *slot = engine_enter_from_below ();

  atomic_fetch_sub (&r->outside, 1);
  yield_point ("outside");
  request_put (r);
  engine_leave_from_below (slot);
  blkmq_disk_put (disk);
}

void
blkmq_request_info (struct blkmq_request *rq, struct blkmq_request_info *info)
{
  struct request *r = request_of (rq);
  uint64_t word = atomic_load_explicit (&r->word, memory_order_acquire);

  assert (word_refs (word) > 0);
  info->handle = request_name (r, word);
  info->op = rq->op;
  /* Until it is dispatched ios may join it. */
  if (r->merge != NULL)
    pthread_mutex_lock (&rq->hctx->lock);
  info->offset_bytes = rq->offset_bytes;
  info->bytes = __atomic_load_n (&rq->bytes, __ATOMIC_RELAXED);
  if (r->merge != NULL)
    pthread_mutex_unlock (&rq->hctx->lock);
  info->hctx = rq->hctx->index;
  info->tag = r->tag;
  info->in_flight = word_state (word) == WORD_IN_FLIGHT;
  info->held = word & WORD_HELD;
  info->ended = word & WORD_ENDED;
  info->timed_out = info->ended
                    && atomic_load_explicit (&r->cause, memory_order_relaxed)
                           == BLKMQ_CAUSE_TIMEOUT;
}

/* Those who hold a reference may be looking; nobody else does: nothing joins a
 * request that has been dispatched, a queue does not ask for its length, and it
 * is counted only if it ends well. */
void
blkmq_set_bytes (struct blkmq_request *rq, uint64_t bytes)
{
  assert (bytes > 0);
  /* The request's own, and those of what complete was shown. */
  __atomic_store_n (&request_of (rq)->rq.bytes, bytes, __ATOMIC_RELAXED);
  __atomic_store_n (&rq->bytes, bytes, __ATOMIC_RELAXED);
}

/* ---- iteration ---- */

struct visit {
  int (*fn) (struct blkmq_request *rq, void *opaque);
  void *opaque;
};

static int
visit_one (struct request *r, void *opaque)
{
  const struct visit *visit = opaque;

  return visit->fn (&r->rq, visit->opaque);
}

int
blkmq_for_each_request (struct blkmq_disk *disk,
                        int (*fn) (struct blkmq_request *rq, void *opaque),
                        void *opaque)
{
  struct visit visit = { fn, opaque };
  struct thread_slot *slot = engine_enter_from_below ();
  int ret = 0;

  for (unsigned i = 0; i < disk_nr_hctxs (disk) && ret == 0; i++)
    ret = hctx_for_each (disk_hctx (disk, i), visit_one, &visit);
  engine_leave_from_below (slot);
  return ret;
}

/* ---- abort ---- */

/* End R, to which we have a reference.  A request on the engine's own queue is
 * taken off it, so that its caller need not wait for the queue to move. */
static unsigned
abort_one (struct request *r)
{
  struct blkmq_hctx *h = r->rq.hctx;
  uint64_t word;

  if (!request_claim (r, BLKMQ_CAUSE_ABORT, BLKMQ_STS_ABORTED))
    return 0;
  word = atomic_load_explicit (&r->word, memory_order_acquire);
  if (word_state (word) == WORD_QUEUED)
    queue_remove (h, r);
  else if (word & WORD_HELD)
    timeout_arm_abort (h);
  return 1;
}

unsigned
blkmq_abort_request (struct blkmq_disk *disk, blkmq_handle handle)
{
  struct thread_slot *slot = engine_enter ();
  struct blkmq_request *rq = blkmq_request_get (disk, handle);
  struct blkmq_hctx *h;
  enum hold hold;
  unsigned nr = 0;

  if (rq != NULL) {
    h = rq->hctx;
    hold = hctx_hold (slot, h);
    nr = abort_one (request_of (rq));
    blkmq_request_put (rq);
    hctx_let_go (slot, h, hold);
  }
  engine_leave (slot);
  return nr;
}

struct abort_match {
  const struct blkmq_submitter *submitter;
  const struct blkmq_io *io; /* NULL: any of the submitter's */
  unsigned nr;
};

static int
abort_if_match (struct request *r, void *opaque)
{
  struct abort_match *match = opaque;

  if (r->submitter == match->submitter
      && (match->io == NULL || merge_abort_io (r, match->io))
      && !(atomic_load (&r->word) & WORD_ENDED))
    match->nr += abort_one (r);
  return 0;
}

static bool
is_io (struct blkmq_io *io, void *opaque)
{
  return io == opaque;
}

static bool
is_of_submitter (struct blkmq_io *io, void *opaque)
{
  return io->priv.submitter == opaque;
}

/* End those that MATCH says, wherever they are: a submitter's ios may be on
 * several hctxs, and an update may be moving them. */
static unsigned
abort_all (struct thread_slot *slot, struct abort_match *match,
           bool (*is_waiting) (struct blkmq_io *io, void *opaque), void *opaque)
{
  struct blkmq_disk *disk = match->submitter->disk;

  match->nr += flush_abort (disk, is_waiting, opaque);
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++) {
    struct blkmq_hctx *h = disk_hctx (disk, i);

    match->nr += wait_abort (h, is_waiting, opaque, BLKMQ_STS_ABORTED);
    hctx_for_each (h, abort_if_match, match);
  }
  engine_leave (slot);
  return match->nr;
}

unsigned
blkmq_abort_io (struct blkmq_submitter *submitter, struct blkmq_io *io)
{
  struct thread_slot *slot = engine_enter ();
  struct abort_match match = { submitter, io, 0 };

  /* First see to it that no more parts start, be it that it waits for a tag or
   * that another thread is splitting it; from then on IO is only compared, for
   * its parts may end it at any time. */
  io_mark_aborted (io);
  yield_point ("marked");
  return abort_all (slot, &match, is_io, io);
}

unsigned
blkmq_abort_submitter (struct blkmq_submitter *submitter)
{
  struct thread_slot *slot = engine_enter ();
  struct abort_match match = { submitter, NULL, 0 };

  atomic_fetch_add (&submitter->abort_epoch, 1);
  yield_point ("marked");
  return abort_all (slot, &match, is_of_submitter, submitter);
}
