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
#include "engine/request.h"
#include "engine/sync.h"

/* Not in turn: a program that opens each connection twice (nbdkit does, for a
 * client that asks before it connects) would use every other hctx only. */
static struct blkmq_hctx *
least_used_locked (struct blkmq_disk *disk)
{
  struct blkmq_hctx *least = disk_hctx (disk, 0);

  for (unsigned i = 1; i < disk->nr_hw_queues; i++) {
    if (disk_hctx (disk, i)->nr_submitters < least->nr_submitters)
      least = disk_hctx (disk, i);
  }
  return least;
}

void
submitter_bind_locked (struct blkmq_submitter *submitter)
{
  struct blkmq_disk *disk = submitter->disk;
  struct blkmq_hctx *h = atomic_load (&submitter->hctx);

  if (h != NULL)
    h->nr_submitters--;
  /* One that was bound to an hctx goes back to it when there is one again. */
  if (submitter->index != BLKMQ_HCTX_ANY)
    h = disk_hctx (disk, submitter->index % disk->nr_hw_queues);
  else
    h = least_used_locked (disk);
  h->nr_submitters++;
  atomic_store (&submitter->hctx, h);
}

struct blkmq_submitter *
blkmq_submitter_alloc (struct blkmq_disk *disk, unsigned index)
{
  struct blkmq_submitter *submitter;

  if (index != BLKMQ_HCTX_ANY && index >= disk->nr_hw_queues) {
    errno = EINVAL;
    return NULL;
  }
  submitter = calloc (1, sizeof *submitter);
  if (submitter == NULL)
    return NULL;
  submitter->disk = disk;
  submitter->index = index;
  blkmq_disk_get (disk);

  pthread_mutex_lock (&disk->control_lock);
  submitter_bind_locked (submitter);
  submitter->next = disk->submitters;
  if (submitter->next != NULL)
    submitter->next->prev = submitter;
  disk->submitters = submitter;
  pthread_mutex_unlock (&disk->control_lock);
  return submitter;
}

void
blkmq_submitter_free (struct blkmq_submitter *submitter)
{
  struct blkmq_disk *disk;

  if (submitter == NULL)
    return;
  disk = submitter->disk;
  pthread_mutex_lock (&disk->control_lock);
  atomic_load (&submitter->hctx)->nr_submitters--;
  if (submitter->prev != NULL)
    submitter->prev->next = submitter->next;
  else
    disk->submitters = submitter->next;
  if (submitter->next != NULL)
    submitter->next->prev = submitter->prev;
  pthread_mutex_unlock (&disk->control_lock);
  free (submitter);
  blkmq_disk_put (disk);
}

static struct blkmq_hctx *
hctx_of (const struct blkmq_submitter *submitter)
{
  /* It may be a new one: acquire pairs with the store in
   * submitter_bind_locked. */
  return atomic_load_explicit (&submitter->hctx, memory_order_acquire);
}

unsigned
blkmq_submitter_hctx (const struct blkmq_submitter *submitter)
{
  return hctx_of (submitter)->index;
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
  dispatch_ios (slot, hctx_of (submitter), first, false);
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
  struct thread_slot *slot = thread_self ();
  struct request *r = NULL;
  enum hold hold;

  if (name_hctx (token) != hctx->index)
    return NULL;
  hold = hctx_hold (slot, hctx);
  r = hctx_find (hctx, token);
  hctx_let_go (slot, hctx, hold);
  return r != NULL ? &r->rq : NULL;
}
