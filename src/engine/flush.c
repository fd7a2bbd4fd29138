/* SPDX-License-Identifier: BSD-3-Clause
 *
 * flush.c: the flush machinery, one for each disk with a volatile cache.  Any
 * thread that may end or dispatch an io.
 *
 * An io goes through up to three steps (the kernel's block/blk-flush.c):
 *
 *                      +-----------------------------------------+
 *    BLKMQ_IO_PREFLUSH | FUA, and the driver has no fua          |
 *          |           v                                         v
 *       PREFLUSH ---> DATA ---> (answered: intercepted) ---> POSTFLUSH ---> end
 *          |           |                                                     ^
 *          +-- empty --+-- no FUA, or the driver does it --------------------+
 *
 * An io that needs a flush joins those that wait.  One flush is under way at a
 * time; those who come meanwhile share the next one, which begins when this
 * one has ended.  Nobody joins a flush that has begun, since it may have been
 * issued, and then need not cover what was answered since.  So a flush covers
 * all that was answered, on any hctx, before any of those who share it came.
 *
 * Everything here happens to ios, above tags: who waits for a flush holds no
 * tag, so that a flush finds one sooner or later.  Both the flush and the data
 * that follows one are put on an hctx's wait list, like any io that is to have
 * a tag when there is one.  There they are seen by freeze (which lets them
 * wait), abort and removal; and nothing recurses from a completion.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "engine/flush.h"
#include "engine/io.h"
#include "engine/queue.h"
#include "engine/yield.h"

struct flush_queue {
  pthread_mutex_t lock;
  bool is_under_way;                        /* lock: the flush below is */
  struct blkmq_io *running;                 /* lock: who share it */
  struct blkmq_io *pending, **pending_tail; /* lock: who share the next */
  unsigned nr_pending;                      /* lock */

  /* What goes to the driver, with a submitter of its own so that an abort of
   * somebody's ios is not everybody's.  It is not among the disk's, for it is
   * bound to an hctx (lock to write) for one flush only. */
  struct blkmq_io flush;
  struct blkmq_submitter submitter;
};

static struct blkmq_hctx *
hctx_of (const struct blkmq_io *io)
{
  return submitter_hctx (io->priv.submitter, io);
}

/* IO needs nothing more, or STATUS says why it ends here. */
static void
finish (struct blkmq_io *io, enum blkmq_status status)
{
  struct blkmq_hctx *h = hctx_of (io);

  if (!io_is_written (io)) {
    io_reject (h, io, status);
    return;
  }
  if (status != BLKMQ_STS_OK)
    count (&h->rejected[status]);
  io_end_sequence (io, status);
}

/* Those who wait become those who share a flush, which the caller submits after
 * unlocking.  False: not now. */
static bool
begin_locked (struct flush_queue *fq)
{
  struct blkmq_hctx *h;

  if (fq->is_under_way || fq->pending == NULL)
    return false;
  /* On the hctx of the one that has waited longest, where there is a thread
   * that works; but not on a polled one, for others share it who do not poll.
   */
  h = submitter_hctx_of (fq->pending->priv.submitter, BLKMQ_HCTX_TYPE_DEFAULT);
  fq->is_under_way = true;
  atomic_store (&fq->submitter.hctxs[BLKMQ_HCTX_TYPE_DEFAULT], h);
  count (&h->flushes);
  atomic_fetch_add_explicit (&h->flushes_coalesced, fq->nr_pending - 1,
                             memory_order_relaxed);
  fq->running = fq->pending;
  fq->pending = NULL;
  fq->pending_tail = &fq->pending;
  fq->nr_pending = 0;
  return true;
}

static void
submit (struct flush_queue *fq)
{
  wait_append (hctx_of (&fq->flush), &fq->flush);
}

/* IO waits for a flush that is to begin from now on. */
static void
join (struct flush_queue *fq, struct blkmq_io *io)
{
  bool aborted, begins = false;

  pthread_mutex_lock (&fq->lock);
  /* An abort leaves its mark first and then looks here. */
  aborted = io_is_aborted (io);
  if (!aborted) {
    io->priv.next = NULL;
    *fq->pending_tail = io;
    fq->pending_tail = &io->priv.next;
    fq->nr_pending++;
    begins = begin_locked (fq);
  }
  pthread_mutex_unlock (&fq->lock);
  if (aborted)
    finish (io, BLKMQ_STS_ABORTED);
  else if (begins)
    submit (fq);
}

/* The flush that IO has waited for has ended. */
static void
advance (struct blkmq_io *io, enum blkmq_status status)
{
  if (status != BLKMQ_STS_OK || io->bytes == 0 || io_is_written (io))
    finish (io, status);
  else
    wait_append (hctx_of (io), io);
}

static void
flush_end_io (struct blkmq_io *flush, enum blkmq_status status)
{
  struct flush_queue *fq
      = (struct flush_queue *)((char *)flush
                               - offsetof (struct flush_queue, flush));
  struct blkmq_io *io, *next, *late = NULL;
  bool begins = false;

  yield_point ("flushed");
  pthread_mutex_lock (&fq->lock);
  io = fq->running;
  fq->running = NULL;
  /* Once the disk is being removed, or has no power, no flush begins. */
  if (atomic_load (&hctx_of (flush)->flags) & HCTX_IS_OFFLINE) {
    late = fq->pending;
    fq->pending = NULL;
    fq->pending_tail = &fq->pending;
    fq->nr_pending = 0;
  }
  fq->is_under_way = false;
  begins = begin_locked (fq);
  pthread_mutex_unlock (&fq->lock);

  if (begins)
    submit (fq);
  for (; io != NULL; io = next) {
    next = io->priv.next;
    advance (io, status);
  }
  for (io = late; io != NULL; io = next) {
    next = io->priv.next;
    finish (io, BLKMQ_STS_OFFLINE);
  }
}

/* A flush has no data: it is free for the next one as soon as it has ended,
 * even if the driver or a reference still has this one's request.  There is a
 * give_back only because without one a timeout's answer would wait for the
 * driver. */
static void
flush_give_back (struct blkmq_io *flush)
{
  (void)flush;
}

int
flush_alloc (struct blkmq_disk *disk)
{
  struct flush_queue *fq;

  if (!disk->limits.volatile_cache)
    return 0;
  fq = calloc (1, sizeof *fq);
  if (fq == NULL)
    return -ENOMEM;
  pthread_mutex_init (&fq->lock, NULL);
  fq->pending_tail = &fq->pending;
  fq->submitter.disk = disk;
  atomic_init (&fq->submitter.abort_epoch, 0);
  /* Nothing of this changes from flush to flush; above all not what is read
   * when the last one is given back. */
  fq->flush.op = BLKMQ_OP_FLUSH;
  fq->flush.end_io = flush_end_io;
  fq->flush.give_back = flush_give_back;
  fq->flush.priv.submitter = &fq->submitter;
  disk->flush = fq;
  return 0;
}

void
flush_free (struct blkmq_disk *disk)
{
  if (disk->flush == NULL)
    return;
  pthread_mutex_destroy (&disk->flush->lock);
  free (disk->flush);
}

bool
flush_begin (struct blkmq_hctx *h, struct blkmq_io *io)
{
  const struct blkmq_limits *limits = &h->disk->limits;

  /* An empty io, and no cache to flush. */
  if (h->disk->flush == NULL) {
    io_reject (h, io,
               atomic_load (&h->flags) & HCTX_IS_OFFLINE ? BLKMQ_STS_OFFLINE
                                                         : BLKMQ_STS_OK);
    return true;
  }
  if (io->bytes == 0) {
    /* It needs no tag, so has all that it needs. */
    io_has_tags (io);
    join (h->disk->flush, io);
    return true;
  }
  if ((io->flags & BLKMQ_IO_FUA) && !limits->fua)
    io_mark (io, IO_POSTFLUSH);
  if (!(io->flags & BLKMQ_IO_PREFLUSH))
    return false;
  join (h->disk->flush, io);
  return true;
}

void
flush_data_answered (struct blkmq_io *io, enum blkmq_status status)
{
  if (status != BLKMQ_STS_OK) {
    io_end_sequence (io, status);
    return;
  }
  io_mark (io, IO_WRITTEN);
  join (io->priv.submitter->disk->flush, io);
}

void
flush_rebind (struct blkmq_disk *disk)
{
  struct flush_queue *fq = disk->flush;
  unsigned first = disk->maps.type[BLKMQ_HCTX_TYPE_DEFAULT].offset, index;

  if (fq == NULL)
    return;
  /* A flush that begins after this finds those who share it bound anew.  The
   * hctxs' own flags say what they are only after all have been bound. */
  pthread_mutex_lock (&fq->lock);
  if (fq->is_under_way) {
    index = hctx_of (&fq->flush)->index;
    if (index >= disk->nr_hw_queues
        || map_type (&disk->maps, index) == BLKMQ_HCTX_TYPE_POLL)
      atomic_store (&fq->submitter.hctxs[BLKMQ_HCTX_TYPE_DEFAULT],
                    disk_hctx (disk, first));
  }
  pthread_mutex_unlock (&fq->lock);
}

/* Move what MATCH says yes to from *LINK on to *TAKEN.  The new end of the
 * list. */
static struct blkmq_io **
take_matching (struct blkmq_io **link, struct blkmq_io ***taken,
               bool (*match) (struct blkmq_io *io, void *opaque), void *opaque,
               unsigned *nr)
{
  while (*link != NULL) {
    struct blkmq_io *io = *link;

    if (!match (io, opaque)) {
      link = &io->priv.next;
      continue;
    }
    *link = io->priv.next;
    io->priv.next = NULL;
    **taken = io;
    *taken = &io->priv.next;
    ++*nr;
  }
  return link;
}

unsigned
flush_abort (struct blkmq_disk *disk,
             bool (*match) (struct blkmq_io *io, void *opaque), void *opaque)
{
  struct flush_queue *fq = disk->flush;
  struct blkmq_io *io, *next, *taken = NULL, **taken_tail = &taken;
  unsigned nr_running = 0, nr_pending = 0;

  if (fq == NULL)
    return 0;
  /* The flush itself goes on, if need be for nobody. */
  pthread_mutex_lock (&fq->lock);
  take_matching (&fq->running, &taken_tail, match, opaque, &nr_running);
  fq->pending_tail
      = take_matching (&fq->pending, &taken_tail, match, opaque, &nr_pending);
  fq->nr_pending -= nr_pending;
  pthread_mutex_unlock (&fq->lock);
  for (io = taken; io != NULL; io = next) {
    next = io->priv.next;
    finish (io, BLKMQ_STS_ABORTED);
  }
  return nr_running + nr_pending;
}
