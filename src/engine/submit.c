/* SPDX-License-Identifier: BSD-3-Clause
 *
 * submit.c: the public ways in (submitters, submission) and the driver's way
 * back (complete, requeue).
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "engine/dispatch.h"
#include "engine/disk.h"
#include "engine/enter.h"
#include "engine/queue.h"
#include "engine/request.h"
#include "engine/sync.h"

/* Not in turn: a program that opens each connection twice (nbdkit does, for a
 * client that asks before it connects) would use every other hctx only. */
static struct blkmq_hctx *
bind_submitter (struct blkmq_disk *disk, unsigned index)
{
  struct blkmq_hctx *h;

  pthread_mutex_lock (&disk->control_lock);
  if (index == BLKMQ_HCTX_ANY) {
    index = 0;
    for (unsigned i = 1; i < disk->nr_hw_queues; i++) {
      if (disk->hctxs[i].nr_submitters < disk->hctxs[index].nr_submitters)
        index = i;
    }
  }
  h = &disk->hctxs[index];
  h->nr_submitters++;
  pthread_mutex_unlock (&disk->control_lock);
  return h;
}

struct blkmq_submitter *
blkmq_submitter_alloc (struct blkmq_disk *disk, unsigned index)
{
  struct blkmq_submitter *submitter;

  if (index != BLKMQ_HCTX_ANY && index >= disk->nr_hw_queues) {
    errno = EINVAL;
    return NULL;
  }
  submitter = malloc (sizeof *submitter);
  if (submitter == NULL)
    return NULL;
  submitter->disk = disk;
  submitter->hctx = bind_submitter (disk, index);
  atomic_init (&submitter->abort_epoch, 0);
  blkmq_disk_get (disk);
  return submitter;
}

void
blkmq_submitter_free (struct blkmq_submitter *submitter)
{
  if (submitter == NULL)
    return;
  pthread_mutex_lock (&submitter->disk->control_lock);
  submitter->hctx->nr_submitters--;
  pthread_mutex_unlock (&submitter->disk->control_lock);
  blkmq_disk_put (submitter->disk);
  free (submitter);
}

unsigned
blkmq_submitter_hctx (const struct blkmq_submitter *submitter)
{
  return submitter->hctx->index;
}

/* Before its checks (io_prepare) an io has no state. */
static void
io_init (struct blkmq_io *io, struct blkmq_submitter *submitter,
         struct completion *tag_wait)
{
  io->priv.submitter = submitter;
  io->priv.next = NULL;
  io->priv.tag_wait = tag_wait;
  io->priv.state = 0;
  io->priv.abort_epoch
      = atomic_load_explicit (&submitter->abort_epoch, memory_order_relaxed);
}

/* All ios of the chain have their submitter set. */
static void
submit_chain (struct blkmq_submitter *submitter, struct blkmq_io *first)
{
  struct thread_slot *slot = thread_self ();

  if (__builtin_expect (slot->depth > 0 || slot->in_callback > 0, 0)) {
    while (first != NULL) {
      struct blkmq_io *next = first->priv.next;

      engine_note_io (slot, first);
      first = next;
    }
    return;
  }
  slot->depth++;
  dispatch_ios (slot, submitter->hctx, first, false);
  engine_leave (slot);
}

void
blkmq_submit (struct blkmq_submitter *submitter, struct blkmq_io *io)
{
  io_init (io, submitter, NULL);
  submit_chain (submitter, io);
}

int
blkmq_submit_wait (struct blkmq_submitter *submitter, struct blkmq_io *io)
{
  struct completion has_tags;

  if (thread_must_not_block (thread_self ()))
    return -EDEADLK;
  completion_init (&has_tags);
  io_init (io, submitter, &has_tags);
  submit_chain (submitter, io);
  completion_wait (&has_tags);
  return 0;
}

void
blkmq_batch_begin (struct blkmq_batch *batch, struct blkmq_submitter *submitter)
{
  batch->submitter = submitter;
  batch->first = NULL;
  batch->last = &batch->first;
}

void
blkmq_batch_add (struct blkmq_batch *batch, struct blkmq_io *io)
{
  io_init (io, batch->submitter, NULL);
  *batch->last = io;
  batch->last = &io->priv.next;
}

void
blkmq_batch_commit (struct blkmq_batch *batch)
{
  struct blkmq_io *first = batch->first;

  blkmq_batch_begin (batch, batch->submitter);
  if (first != NULL)
    submit_chain (batch->submitter, first);
}

/* ---- from the driver ---- */

int
blkmq_complete (struct blkmq_request *rq, blkmq_token token,
                enum blkmq_status status)
{
  struct thread_slot *slot = engine_enter_from_below ();
  bool alive = request_complete (request_of (rq), token, status);

  engine_leave_from_below (slot);
  return alive ? 0 : -ESTALE;
}

int
blkmq_requeue (struct blkmq_request *rq, blkmq_token token)
{
  struct thread_slot *slot = engine_enter_from_below ();
  struct request *r = request_of (rq);
  struct blkmq_hctx *h = rq->hctx;
  /* The request may be dropped, or dispatched and gone. */
  struct blkmq_hctx *outer = hctx_hold (slot, h);
  enum request_returned returned = request_return (r, token);

  if (returned == REQUEST_QUEUED) {
    count (&h->requeues);
    r->accepted = true;
    if (queue_insert (h, r, false))
      hctx_ask_run (h);
  }
  if (returned != REQUEST_STALE)
    hctx_gave_back (h);
  hctx_let_go (slot, outer);
  engine_leave_from_below (slot);
  return returned == REQUEST_STALE ? -ESTALE : 0;
}

void
blkmq_hctx_set_data (struct blkmq_hctx *hctx, void *data)
{
  hctx->data = data;
}

void *
blkmq_hctx_data (const struct blkmq_hctx *hctx)
{
  return hctx->data;
}

unsigned
blkmq_hctx_index (const struct blkmq_hctx *hctx)
{
  return hctx->index;
}

struct blkmq_request *
blkmq_hctx_request (struct blkmq_hctx *hctx, blkmq_token token)
{
  if (name_hctx (token) != hctx->index || name_tag (token) >= hctx->tags.depth)
    return NULL;
  return &hctx_tag_request (hctx, name_tag (token))->rq;
}
