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
#include "engine/hctx.h"
#include "engine/io.h"
#include "engine/queue.h"
#include "engine/request.h"

/* ---- references ---- */

/* An outside reference pins the disk as well: removal does not wait for it. */
static bool
get_outside (struct blkmq_hctx *h, struct request *r, blkmq_handle handle)
{
  if (!request_try_get (r, handle))
    return false;
  blkmq_disk_get (h->disk);
  atomic_fetch_add (&r->outside, 1);
  return true;
}

struct blkmq_request *
blkmq_request_get (struct blkmq_disk *disk, blkmq_handle handle)
{
  struct blkmq_hctx *h;
  struct request *r;

  if (name_hctx (handle) >= disk->nr_hw_queues) {
    count (&disk->hctxs[0].stale_handles);
    return NULL;
  }
  h = &disk->hctxs[name_hctx (handle)];
  if (name_tag (handle) >= disk->queue_depth)
    goto stale;
  r = hctx_tag_request (h, name_tag (handle));
  if (!get_outside (h, r, handle))
    goto stale;
  return &r->rq;

stale:
  count (&h->stale_handles);
  return NULL;
}

void
blkmq_request_put (struct blkmq_request *rq)
{
  struct request *r = request_of (rq);
  struct blkmq_disk *disk = rq->hctx->disk;
  struct thread_slot *slot = engine_enter_from_below ();

  atomic_fetch_sub (&r->outside, 1);
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
  info->handle = name_make (word, rq->hctx->index, r->tag);
  info->op = rq->op;
  info->offset_bytes = rq->offset_bytes;
  info->bytes = rq->bytes;
  info->hctx = rq->hctx->index;
  info->tag = r->tag;
  info->in_flight = word_state (word) == WORD_IN_FLIGHT;
  info->held = word & WORD_HELD;
  info->ended = word & WORD_ENDED;
  info->timed_out = info->ended
                    && atomic_load_explicit (&r->cause, memory_order_relaxed)
                           == BLKMQ_CAUSE_TIMEOUT;
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

  for (unsigned i = 0; i < disk->nr_hw_queues && ret == 0; i++)
    ret = hctx_for_each (&disk->hctxs[i], visit_one, &visit);
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
  return 1;
}

unsigned
blkmq_abort_request (struct blkmq_disk *disk, blkmq_handle handle)
{
  struct thread_slot *slot = engine_enter ();
  struct blkmq_request *rq = blkmq_request_get (disk, handle);
  struct blkmq_hctx *outer;
  unsigned nr = 0;

  if (rq != NULL) {
    outer = hctx_hold (slot, rq->hctx);
    nr = abort_one (request_of (rq));
    blkmq_request_put (rq);
    hctx_let_go (slot, outer);
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
      && (match->io == NULL || r->io == match->io)
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

unsigned
blkmq_abort_io (struct blkmq_submitter *submitter, struct blkmq_io *io)
{
  struct blkmq_hctx *h = submitter->hctx;
  struct thread_slot *slot = engine_enter ();
  struct abort_match match = { submitter, io, 0 };

  /* First see to it that no more parts start, be it that it waits for a tag or
   * that another thread is splitting it; from then on IO is only compared, for
   * its parts may end it at any time. */
  io_mark_aborted (io);
  match.nr = wait_abort (h, is_io, io, BLKMQ_STS_ABORTED);
  hctx_for_each (h, abort_if_match, &match);
  engine_leave (slot);
  return match.nr;
}

unsigned
blkmq_abort_submitter (struct blkmq_submitter *submitter)
{
  struct blkmq_hctx *h = submitter->hctx;
  struct thread_slot *slot = engine_enter ();
  struct abort_match match = { submitter, NULL, 0 };

  atomic_fetch_add (&submitter->abort_epoch, 1);
  match.nr = wait_abort (h, is_of_submitter, submitter, BLKMQ_STS_ABORTED);
  hctx_for_each (h, abort_if_match, &match);
  engine_leave (slot);
  return match.nr;
}
