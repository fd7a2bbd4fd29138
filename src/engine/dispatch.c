/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dispatch.c: takes tags for ios and hands requests to the driver.
 *
 * Two ways lead to queue_rq.  The fast one, dispatch_ios, is the submitter's
 * own: tag, fill, issue, without a lock.  Whatever cannot go that way (no tag,
 * BUSY, quiesced, frozen, others waiting already) is put on the wait list (an
 * io) or the queue (a request), and hctx_run, one thread at a time, takes it
 * from there in order.
 *
 * No lost wake-up: whoever makes something possible (puts a tag, gives back,
 * unfreezes, unquiesces) does so first and then looks for somebody who waits;
 * whoever waits enters the list first and then looks again (its own hctx_run).
 * A full barrier stands between the two steps on both sides.
 *
 * No starvation: a newcomer joins the list while somebody is on it.
 */

#include <config.h>

#include <assert.h>

#include "engine/barrier.h"
#include "engine/disk.h"
#include "engine/dispatch.h"
#include "engine/elevator.h"
#include "engine/flush.h"
#include "engine/io.h"
#include "engine/merge.h"
#include "engine/queue.h"
#include "engine/record.h"
#include "engine/timeout.h"
#include "engine/yield.h"

/* How many requests of others a thread dispatches before it hands over to the
 * loop: a submitter has a reply of its own to send. */
#define RUN_BUDGET_SUBMITTER 32
#define RUN_BUDGET_LOOP 256

/* The kernel's BLK_MQ_RESOURCE_DELAY. */
#define RERUN_DELAY_NS UINT64_C (3000000)

/* ---- to the driver ---- */

static bool
any_other_in_flight (struct blkmq_hctx *h, struct request *self)
{
  struct request_pool *pool = hctx_pool (h);

  for_each_taken (tag, pool)
  {
    struct request *r = pool_request (pool, (unsigned)tag);
    uint64_t word = atomic_load (&r->word);

    if (r != self && word_state (word) == WORD_IN_FLIGHT && (word & WORD_HELD)
        && request_hctx (r) == h)
      return true;
  }
  return false;
}

static void
try_again (struct blkmq_hctx *h)
{
  atomic_store (&h->stalled, false);
  hctx_ask_run (h);
}

enum blkmq_queue_result
blkmq_busy_for (uint64_t ns)
{
  thread_self ()->busy_ns = ns;
  return BLKMQ_BUSY_HOST;
}

/* The driver refused R, for BUSY_NS if it has said so.  Nothing more is
 * dispatched until somebody wakes the queue: the next give-back, if there is
 * one to come, or else the timer.
 *
 * What the driver lacked may be given back while it is refusing us, and before
 * we can be seen to wait.  So a refusal counts only if give-backs were watched
 * from before the try (in SEEN) and none has come since; else it is tried
 * again, watched this time. */
static void
busy (struct blkmq_hctx *h, struct request *r, blkmq_token token,
      enum blkmq_queue_result why, uint64_t seen, uint64_t busy_ns)
{
  uint64_t watch;

  record_move (r, RECORD_BUSY, 0, r->word, r->word);
  switch (request_return (r, token)) {
  case REQUEST_STALE: /* completed as well: the driver's mistake, counted */
    return;
  case REQUEST_DROPPED:
    hctx_gave_back (h);
    return;
  case REQUEST_QUEUED:
    break;
  }
  count (&h->busy);
  if (!r->accepted)
    atomic_store_explicit (&r->deadline_ns, 0, memory_order_relaxed);
  elevator_give_tag_back (h, r);
  queue_insert (h, r, true);

  atomic_store (&h->stalled, true);
  yield_point ("stalled");
  atomic_fetch_or (&h->watch, WATCHED);
  yield_point ("watched");
  barrier_full (); /* pairs with the one in hctx_gave_back */
  watch = atomic_load (&h->watch);
  if (why == BLKMQ_BUSY_DEVICE) {
    if (!(seen & WATCHED) || seen != watch) {
      try_again (h);
      return;
    }
    if (any_other_in_flight (h, r))
      return;
  } else if (busy_ns != 0 && ((seen ^ watch) & ~WATCHED)) {
    /* It was to be tried again in the middle of the try; the next time may be
     * far off. */
    try_again (h);
    return;
  }
  /* Who was refused beside it may have to be back before. */
  timer_arm_earlier (
      &h->heap, &h->rerun_timer,
      clock_now_ns (h->clock) + (busy_ns != 0 ? busy_ns : RERUN_DELAY_NS), 0);
}

/* Nothing is left that a give-back could help: stop watching.  Whoever had
 * begun a try before this must not trust what he saw, hence the epoch.  The
 * stall goes as well: one whose request was ended before it was queued may be
 * left, and from here nobody would end it. */
static void
unwatch_locked (struct blkmq_hctx *h)
{
  if (__builtin_expect (
          atomic_load_explicit (&h->stalled, memory_order_relaxed), 0))
    atomic_store (&h->stalled, false);
  /* Nobody else ends the watch: the bit stands, and one more carries out of it
   * into the epoch. */
  if (atomic_load_explicit (&h->watch, memory_order_relaxed) & WATCHED)
    atomic_fetch_add (&h->watch, WATCHED);
}

static void
before_issue (struct thread_slot *slot, struct blkmq_hctx *h, struct request *r)
{
  if (h->io_timeout_ns != 0 && !r->accepted)
    atomic_store_explicit (&r->deadline_ns, timeout_deadline_ns (h),
                           memory_order_relaxed);
  /* Before the word says IN_FLIGHT, so that a scan that sees that sees us. */
  atomic_store_explicit (&slot->queueing, r, memory_order_relaxed);
}

static void
after_issue (struct thread_slot *slot)
{
  atomic_store_explicit (&slot->queueing, NULL, memory_order_release);
}

/* True if the driver has taken it. */
static bool
call_queue_rq (struct thread_slot *slot, struct blkmq_hctx *h,
               struct request *r, blkmq_token token)
{
  uint64_t seen = atomic_load_explicit (&h->watch, memory_order_acquire);
  enum blkmq_queue_result result;

  if (h->io_timeout_ns != 0)
    timeout_arm_scan (h);
  result = h->driver->queue_rq (h, &r->rq, token);
  if (__builtin_expect (result != BLKMQ_QUEUED, 0)) {
    uint64_t busy_ns = slot->busy_ns;

    slot->busy_ns = 0;
    busy (h, r, token, result, seen, busy_ns);
  }
  after_issue (slot);
  return result == BLKMQ_QUEUED;
}

enum issued { ISSUED, REFUSED, DROPPED };

static enum issued
issue_queued (struct thread_slot *slot, struct blkmq_hctx *h, struct request *r)
{
  blkmq_token token;

  before_issue (slot, h, r);
  if (request_issue (r, &token))
    return call_queue_rq (slot, h, r, token) ? ISSUED : REFUSED;
  after_issue (slot);
  return DROPPED;
}

/* R is QUEUED and on no list yet: to the scheduler, if there is one and R has
 * not a tag of its own.  True if there is something to run. */
static bool
queue_up (struct blkmq_hctx *h, struct request *r)
{
  if (r->pool->sched != NULL && !request_is_reserved (r))
    return elevator_insert (h, r);
  return queue_insert (h, r, false);
}

/* R has its tag and is filled in: to the driver; or behind those who wait for
 * the driver already, and if it must not be entered here (QUEUE_ONLY; it may
 * block).  True if the driver has taken it. */
static bool
start (struct thread_slot *slot, struct blkmq_hctx *h, struct request *r,
       unsigned flags, bool queue_only)
{
  atomic_store_explicit (&r->deadline_ns, 0, memory_order_relaxed);
  if (queue_only || __builtin_expect (r->pool->sched != NULL, 0)
      || (flags & (HCTX_QUIESCED | HCTX_BLOCKING))
      || atomic_load_explicit (&h->nr_queued, memory_order_relaxed) > 0) {
    request_start (r);
    if (queue_up (h, r))
      hctx_ask_run (h);
    return false;
  }
  yield_point ("start");
  before_issue (slot, h, r);
  return call_queue_rq (slot, h, r, request_start_issue (r));
}

/* May IO start on an hctx with these FLAGS?  One that is not for it may as well
 * have been dropped: IO belongs elsewhere. */
static bool
may_start (const struct blkmq_io *io, unsigned *flags)
{
  if (!hctx_is_for (*flags, io))
    *flags |= HCTX_DROPPED;
  return !(*flags & HCTX_STARTS_NONE);
}

/* Take a tag for a new request.  FLAGS receives the hctx's flags as they were
 * after the tag was taken; with STARTS_NONE there is no tag. */
static struct request *
take_request (struct thread_slot *slot, struct blkmq_hctx *h,
              const struct blkmq_io *io, unsigned *flags)
{
  struct request_pool *pool = hctx_pool (h);
  bool reserved = io->flags & BLKMQ_IO_RESERVED;
  struct request *r;
  int tag = NO_TAG;

  yield_point ("take tag");
  /* Reserved ones are nobody's share: they would wait for ordinary ones. */
  if (__builtin_expect (!pool->is_shared, 1) || reserved || share_may_take (h))
    tag = pool_get_tag (pool, slot->id, reserved);
  if (tag == NO_TAG) {
    *flags = atomic_load (&h->flags);
    return NULL;
  }
  r = pool_request (pool, (unsigned)tag);
  if (__builtin_expect (pool->is_shared, 0) && !reserved)
    share_took (h, r);
  yield_point ("has tag");
  barrier_after_rmw (); /* pairs with those who set flags: freeze.c */
  /* Acquire: what an update did before it let the hctx be used. */
  *flags = atomic_load_explicit (&h->flags, memory_order_acquire);
  if (__builtin_expect (*flags & (HCTX_STARTS_NONE | HCTX_POLLED), 0)
      && !may_start (io, flags)) {
    if (pool->is_shared)
      share_put (h, r);
    pool_put_tag (pool, (unsigned)tag);
    yield_point ("tag put");
    barrier_after_rmw ();
    hctx_notify_drain (h);
    /* Somebody may have looked for a tag while we had this one. */
    hctx_tag_was_put (h);
    return NULL;
  }
  yield_point ("may start");
  return r;
}

/* A newcomer does not overtake those who wait for the same. */
static bool
nobody_waits (struct blkmq_hctx *h, const struct blkmq_io *io)
{
  if (__builtin_expect (
          atomic_load_explicit (&h->nr_waiting, memory_order_relaxed) == 0, 1))
    return __builtin_expect (!hctx_pool (h)->is_shared, 1)
           || share_is_free (h, io->flags);
  return atomic_load (&wait_list_of (h, io)->nr) == 0;
}

/* NEXT: what follows IO in its batch, from which it may take some with it. */
static void
dispatch_io (struct thread_slot *slot, struct blkmq_hctx *h,
             struct blkmq_io *io, struct blkmq_io **next, bool queue_only,
             bool *ring)
{
  struct request *r;
  bool more, split = io_is_split (io);
  unsigned flags = 0;

  if (__builtin_expect (hctx_sched (h) != NULL, 0) && elevator_merge (h, io))
    return;

  do {
    r = NULL;
    if (nobody_waits (h, io))
      r = take_request (slot, h, io, &flags);
    if (__builtin_expect (r == NULL, 0)) {
      if (flags & HCTX_IS_OFFLINE)
        io_reject (h, io, BLKMQ_STS_OFFLINE);
      else if ((io->flags & BLKMQ_IO_NOWAIT) && !(flags & HCTX_DROPPED))
        io_reject (h, io, BLKMQ_STS_AGAIN);
      else
        wait_append (h, io);
      return;
    }
    io_take_part (h, io, r);
    more = io_has_more (io);
    if (!more)
      io_has_tags (io);
    if (r->merge != NULL && *next != NULL)
      *next = merge_following (h->disk, r, *next);
    /* From here a single io may be gone. */
    *ring |= start (slot, h, r, flags, queue_only);
  } while (more && !io_is_aborted (io));
  if (split)
    io_parts_end (io, more ? BLKMQ_STS_ABORTED : BLKMQ_STS_OK);
}

/* Ring the doorbell and leave the dispatch section. */
static void
dispatch_end (struct thread_slot *slot, struct blkmq_hctx *h, bool ring)
{
  if (ring && h->driver->commit_rqs != NULL)
    h->driver->commit_rqs (h);
  atomic_store_explicit (&slot->dispatching, NULL, memory_order_release);
}

void
dispatch_ios (struct thread_slot *slot, struct blkmq_hctx *h,
              struct blkmq_io *first, bool queue_only)
{
  struct blkmq_io *io, *next;
  enum blkmq_status status;
  bool ring = false;

  yield_point ("dispatch");
  /* Quiesce looks for this mark after it has set its flag; we look at the flag
   * after taking a tag, which is a full barrier. */
  atomic_store_explicit (&slot->dispatching, h, memory_order_relaxed);
  for (io = first; io != NULL; io = next) {
    next = io->priv.next;
    if (next != NULL && h->driver->prefetch != NULL)
      h->driver->prefetch (h->driver_data, next->offset_bytes);
    status = io_prepare (h->disk, io);
    if (__builtin_expect (status != BLKMQ_STS_OK, 0)) {
      if (status != IO_NEEDS_FLUSH) {
        io_reject (h, io, status);
        continue;
      }
      if (flush_begin (h, io))
        continue;
    }
    dispatch_io (slot, h, io, &next, queue_only, &ring);
  }
  dispatch_end (slot, h, ring);
}

/* ---- the queue's runner ---- */

/* IO, the head of a wait list, gets a tag and its next part becomes a QUEUED
 * request, all under the lock: an abort finds the one or the other.  NULL: not
 * now.  *SPLIT_ENDS: it was the last part of a split io. */
static struct request *
next_of_locked (struct thread_slot *slot, struct blkmq_hctx *h,
                struct blkmq_io *io, bool *split_ends)
{
  struct request *r;
  unsigned flags;

  r = take_request (slot, h, io, &flags);
  if (r == NULL)
    return NULL;
  atomic_store_explicit (&r->deadline_ns, 0, memory_order_relaxed);
  io_take_part (h, io, r);
  *split_ends = false;
  if (!io_has_more (io)) {
    *split_ends = io_is_split (io);
    wait_unlink_locked (h, io);
  }
  request_start (r);
  return r;
}

/* The next of those who wait, and its io. */
static struct request *
next_waiting_locked (struct thread_slot *slot, struct blkmq_hctx *h,
                     struct blkmq_io **io, bool *split_ends)
{
  struct request *r = NULL;

  for (unsigned i = NR_WAIT_LISTS; i-- > 0 && r == NULL;) {
    *io = h->wait[i].first;
    if (*io != NULL)
      r = next_of_locked (slot, h, *io, split_ends);
  }
  return r;
}

static bool
anybody_waits (struct blkmq_hctx *h)
{
  return atomic_load (&h->wait[WAIT_ORDINARY].nr) > 0
         || atomic_load (&h->wait[WAIT_RESERVED].nr) > 0;
}

/* One step of hctx_run: dispatch the head of the queue, or of the wait list.
 * False: nothing more can be done now.  Called and returns with the lock held;
 * drops it meanwhile. */
static bool
run_one_locked (struct thread_slot *slot, struct blkmq_hctx *h, bool *ring)
{
  unsigned flags = atomic_load (&h->flags);
  struct request *r = h->queue;
  struct blkmq_io *io = NULL;
  bool split_ends = false, has_internal_tag = false;
  enum issued issued = DROPPED;

  if (flags & (HCTX_QUIESCED | HCTX_REMOVED))
    return false;
  if (r != NULL) {
    r = atomic_load (&h->stalled) ? NULL : elevator_first_locked (slot, h);
    if (r == NULL)
      return false;
    queue_unlink_locked (h, r);
  } else {
    unwatch_locked (h);
    r = elevator_next_locked (slot, h);
    if (r == NULL) {
      if (!anybody_waits (h) || (flags & HCTX_FROZEN))
        return false;
      r = next_waiting_locked (slot, h, &io, &split_ends);
      if (r == NULL)
        return false;
      has_internal_tag = r->pool->sched != NULL;
    }
  }
  pthread_mutex_unlock (&h->lock);
  if (has_internal_tag)
    queue_up (h, r); /* and the next step looks there */
  else
    issued = issue_queued (slot, h, r);
  *ring |= issued == ISSUED;
  if (split_ends)
    io_parts_end (io, BLKMQ_STS_OK);
  pthread_mutex_lock (&h->lock);
  return issued != REFUSED || !atomic_load (&h->stalled);
}

void
hctx_run (struct thread_slot *slot, struct blkmq_hctx *h)
{
  unsigned budget = slot->on_loop > 0 ? RUN_BUDGET_LOOP : RUN_BUDGET_SUBMITTER;
  bool ring = false, hand_over = false;

  atomic_store_explicit (&slot->dispatching, h, memory_order_relaxed);
  barrier_full (); /* the mark before the flags: pairs with quiesce */
  pthread_mutex_lock (&h->lock);
  /* Whoever runs looks again each time that he has dropped the lock. */
  if (h->running) {
    pthread_mutex_unlock (&h->lock);
    dispatch_end (slot, h, false);
    return;
  }
  h->running = true;
  while (run_one_locked (slot, h, &ring)) {
    if (--budget == 0) {
      hand_over
          = h->queue != NULL || anybody_waits (h) || elevator_has_work (h);
      break;
    }
  }
  h->running = false;
  pthread_mutex_unlock (&h->lock);
  if (hand_over)
    loop_kick (h->loop);
  dispatch_end (slot, h, ring);
}
