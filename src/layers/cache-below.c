/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cache-below.c: the ios that the requests of a cache have on the inner disk,
 * one each at a time.  Any thread.
 */

#include <config.h>

#include "cache.h"
#include "engine/inner.h"

static struct cache_rq *
crq_of (struct blkmq_io *io)
{
  return (struct cache_rq *)((char *)io - offsetof (struct cache_rq, io));
}

/* The io of CRQ is back, and its data. */
static void
below_done (struct cache_rq *crq)
{
  struct cache_queue *queue = crq->queue;

  atomic_store (&crq->io_state, 0);
  if (crq->io.op == BLKMQ_OP_READ && crq->io_status == BLKMQ_STS_OK) {
    crq->offset_bytes += crq->io.bytes;
    cache_read (crq);
  } else if (crq->io.op == BLKMQ_OP_READ || crq->io.op == BLKMQ_OP_FLUSH)
    cache_complete (crq, crq->io_status);
  else
    cache_through_done (crq);
  atomic_fetch_sub (&queue->nr_below, 1); /* the last touch of the cache */
}

/* One that has timed out below is answered at once, though the data may be
 * there for long; whatever else it is can wait for that. */
static void
below_end_io (struct blkmq_io *io, enum blkmq_status status)
{
  struct cache_rq *crq = crq_of (io);

  crq->io_status = status;
  if (status == BLKMQ_STS_TIMEOUT)
    inner_time_out (crq->rq, crq->token);
}

static void
below_give_back (struct blkmq_io *io)
{
  struct cache_rq *crq = crq_of (io);

  if (!(atomic_fetch_or (&crq->io_state, CACHE_IO_BACK) & CACHE_IO_ABORTING))
    below_done (crq);
}

void
cache_submit_below (struct cache_rq *crq, enum blkmq_op op, uint32_t flags,
                    uint64_t bytes)
{
  struct cache *cache = crq->cache;
  struct cache_queue *queue = crq->queue;
  struct blkmq_batch batch;

  crq->io.op = op;
  crq->io.flags = flags;
  crq->io.offset_bytes = op == BLKMQ_OP_FLUSH ? 0 : crq->offset_bytes;
  crq->io.bytes = bytes;
  crq->io.segments = crq->segments;
  crq->io.nr_segments
      = op == BLKMQ_OP_READ || op == BLKMQ_OP_WRITE
            ? cache_take_segments (&crq->data, bytes, crq->segments)
            : 0;
  crq->io.end_io = below_end_io;
  crq->io.give_back = below_give_back;
  atomic_fetch_add (&queue->nr_below, 1);
  /* Pairs with the stop, which looks at nr_below after that. */
  if (atomic_load (&cache->is_stopped)) {
    crq->io_status = BLKMQ_STS_OFFLINE;
    below_done (crq);
    return;
  }
  /* In two steps: once it says OUT a timeout may abort it. */
  blkmq_batch_begin (&batch, queue->submitter);
  blkmq_batch_add (&batch, &crq->io);
  atomic_store (&crq->io_state, CACHE_IO_OUT);
  blkmq_batch_commit (&batch);
}

void
cache_abort_below (struct cache_rq *crq)
{
  unsigned out = CACHE_IO_OUT;

  if (!atomic_compare_exchange_strong (&crq->io_state, &out,
                                       CACHE_IO_OUT | CACHE_IO_ABORTING))
    return;
  blkmq_abort_io (crq->queue->submitter, &crq->io);
  if (atomic_fetch_and (&crq->io_state, ~CACHE_IO_ABORTING) & CACHE_IO_BACK)
    below_done (crq);
}
