/* SPDX-License-Identifier: BSD-3-Clause
 *
 * submit.c: the public ways in (submitters, submission) and the driver's way
 * back.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "engine/dispatch.h"
#include "engine/disk.h"
#include "engine/enter.h"
#include "engine/poll.h"
#include "engine/request.h"
#include "engine/sync.h"

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
  submitter_unbind_locked (submitter);
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

unsigned
blkmq_submitter_hctx_of (const struct blkmq_submitter *submitter,
                         enum blkmq_hctx_type type)
{
  return submitter_hctx_of (submitter, type)->index;
}

unsigned
blkmq_submitter_hctx (const struct blkmq_submitter *submitter)
{
  return blkmq_submitter_hctx_of (submitter, BLKMQ_HCTX_TYPE_DEFAULT);
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

/* Take out of the chain FIRST what goes to H, and first of all FIRST itself
 * (the hctx was its own when the caller looked); in order, as what is left. */
static struct blkmq_io *
take_of_hctx (const struct blkmq_submitter *submitter, struct blkmq_hctx *h,
              struct blkmq_io *first, struct blkmq_io **rest)
{
  struct blkmq_io *io = first->priv.next, **tail = &first->priv.next;

  for (; io != NULL; io = io->priv.next) {
    if (submitter_hctx (submitter, io) == h) {
      *tail = io;
      tail = &io->priv.next;
    } else {
      *rest = io;
      rest = &io->priv.next;
    }
  }
  *tail = *rest = NULL;
  return first;
}

static void
dispatch_by_hctx (struct thread_slot *slot, struct blkmq_submitter *submitter,
                  struct blkmq_io *first)
{
  while (first != NULL) {
    struct blkmq_hctx *h = submitter_hctx (submitter, first);

    dispatch_ios (slot, h, take_of_hctx (submitter, h, first, &first), false);
  }
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
  if (submitter_has_types (submitter))
    dispatch_by_hctx (slot, submitter, first);
  else
    dispatch_ios (slot, submitter_hctx_of (submitter, BLKMQ_HCTX_TYPE_DEFAULT),
                  first, false);
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
  bool is_polled = io->flags & BLKMQ_IO_POLLED;
  struct completion has_tags;

  if (thread_must_not_block (thread_self ()))
    return -EDEADLK;
  completion_init (&has_tags);
  io_init (io, submitter, &has_tags);
  submit_chain (submitter, io);
  if (is_polled)
    poll_wait (submitter, &has_tags); /* tags come back by polling only */
  else
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

enum blkmq_hctx_type
blkmq_hctx_type (const struct blkmq_hctx *hctx)
{
  return (enum blkmq_hctx_type)atomic_load_explicit (&hctx->type,
                                                     memory_order_relaxed);
}

bool
blkmq_hctx_is_frozen (const struct blkmq_hctx *hctx)
{
  return atomic_load (&hctx->flags) & HCTX_FROZEN;
}

uint64_t
blkmq_hctx_now_ns (const struct blkmq_hctx *hctx)
{
  return clock_now_ns (hctx->clock);
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
