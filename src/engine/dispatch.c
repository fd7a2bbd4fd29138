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
#include "engine/io.h"
#include "engine/timeout.h"

/* How many requests of others a thread dispatches before it hands over to the
 * loop: a submitter has a reply of its own to send. */
#define RUN_BUDGET_SUBMITTER 32
#define RUN_BUDGET_LOOP 256

/* The kernel's BLK_MQ_RESOURCE_DELAY. */
#define RERUN_DELAY_NS UINT64_C (3000000)

/* ---- the queue and the wait list ---- */

bool
queue_insert (struct blkmq_hctx *h, struct request *r, bool at_head)
{
  bool ended;

  pthread_mutex_lock (&h->lock);
  /* Whoever ends a QUEUED request looks for it here afterwards
   * (queue_remove): one of the two sees the other. */
  ended = atomic_load (&r->word) & WORD_ENDED;
  if (!ended) {
    r->next = at_head ? h->queue : NULL;
    if (r->next == NULL) {
      *h->queue_tail = r;
      h->queue_tail = &r->next;
    }
    else
      h->queue = r;
    atomic_fetch_add (&h->nr_queued, 1);
  }
  pthread_mutex_unlock (&h->lock);
  if (ended) {
    request_drop_queued (r);
    return false;
  }
  /* Read after the insertion: who makes the queue move looks at it then. */
  return !(atomic_load (&h->flags) & HCTX_QUIESCED)
         && !atomic_load (&h->stalled);
}

static void
queue_unlink_locked (struct blkmq_hctx *h, struct request **link)
{
  struct request *r = *link;

  *link = r->next;
  if (h->queue_tail == &r->next)
    h->queue_tail = link;
  atomic_fetch_sub (&h->nr_queued, 1);
}

void
queue_remove (struct blkmq_hctx *h, struct request *r)
{
  struct request **link;
  bool found;

  pthread_mutex_lock (&h->lock);
  for (link = &h->queue; *link != NULL && *link != r; link = &(*link)->next)
    ;
  found = *link != NULL;
  if (found)
    queue_unlink_locked (h, link);
  pthread_mutex_unlock (&h->lock);
  if (!found)
    return;
  /* It may have been the one that the driver had refused, and what stood
   * behind it may be more welcome. */
  atomic_store (&h->stalled, false);
  hctx_ask_run (h);
  request_drop_queued (r);
}

static void
wait_unlink_locked (struct blkmq_hctx *h, struct blkmq_io *io)
{
  *io->priv.link = io->priv.next;
  if (io->priv.next != NULL)
    io->priv.next->priv.link = io->priv.link;
  else
    h->wait_tail = io->priv.link;
  io->priv.link = NULL;
  atomic_fetch_sub (&h->nr_waiting, 1);
  io_has_tags (io);
}

void
wait_append (struct blkmq_hctx *h, struct blkmq_io *io)
{
  bool removed;

  pthread_mutex_lock (&h->lock);
  /* Removal sets the flag before it empties the list under the lock. */
  removed = atomic_load (&h->flags) & HCTX_REMOVED;
  if (!removed) {
    io->priv.next = NULL;
    io->priv.link = h->wait_tail;
    *h->wait_tail = io;
    h->wait_tail = &io->priv.next;
    atomic_fetch_add (&h->nr_waiting, 1);
  }
  pthread_mutex_unlock (&h->lock);
  if (removed) {
    io_reject (h, io, BLKMQ_STS_OFFLINE);
    return;
  }
  /* Look again: a tag put before we were seen is nobody else's to find. */
  hctx_ask_run (h);
}

unsigned
wait_abort (struct blkmq_hctx *h,
            bool (*match) (struct blkmq_io *io, void *opaque), void *opaque,
            enum blkmq_status status)
{
  struct blkmq_io *io, *next, *taken = NULL, **taken_tail = &taken;
  unsigned nr = 0;

  pthread_mutex_lock (&h->lock);
  for (io = h->wait; io != NULL; io = next) {
    next = io->priv.next;
    if (match != NULL && !match (io, opaque))
      continue;
    wait_unlink_locked (h, io);
    io->priv.next = NULL;
    *taken_tail = io;
    taken_tail = &io->priv.next;
  }
  pthread_mutex_unlock (&h->lock);
  for (io = taken; io != NULL; io = next, nr++) {
    next = io->priv.next;
    io_reject (h, io, status);
  }
  return nr;
}

/* ---- to the driver ---- */

static bool
any_other_in_flight (struct blkmq_hctx *h, struct request *self)
{
  int tag = -1;

  while ((tag = tag_map_next_taken (&h->tags, (unsigned)(tag + 1)))
         != NO_TAG) {
    struct request *r = hctx_tag_request (h, (unsigned)tag);
    uint64_t word = atomic_load (&r->word);

    if (r != self && word_state (word) == WORD_IN_FLIGHT
        && (word & WORD_HELD))
      return true;
    if (tag + 1 == (int)h->tags.depth)
      break;
  }
  return false;
}

/* The driver refused R.  Nothing more is dispatched until somebody wakes the
 * queue: the next give-back, if there is one to come, or else the timer.
 *
 * What the driver lacked may have been given back before we could be seen to
 * wait for it.  So the first refusal only sets `watched' and tries once more;
 * a second one with `watched' still set means that nothing was given back
 * since before that try, and that the next give-back will see us. */
static void
busy (struct blkmq_hctx *h, struct request *r, blkmq_token token,
      enum blkmq_queue_result why)
{
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
  queue_insert (h, r, true);

  atomic_store (&h->stalled, true);
  if (!atomic_exchange (&h->watched, true) && why == BLKMQ_BUSY_DEVICE) {
    atomic_store (&h->stalled, false);
    hctx_ask_run (h);
    return;
  }
  barrier_full (); /* pairs with the one in hctx_gave_back */
  if (why == BLKMQ_BUSY_DEVICE && any_other_in_flight (h, r))
    return;
  timer_arm (&h->heap, &h->rerun_timer,
             clock_now_ns (h->clock) + RERUN_DELAY_NS, 0);
}

static void
before_issue (struct thread_slot *slot, struct blkmq_hctx *h,
              struct request *r)
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
  enum blkmq_queue_result result;

  if (h->io_timeout_ns != 0)
    timeout_arm_scan (h);
  result = h->driver->queue_rq (h, &r->rq, token);
  if (__builtin_expect (result != BLKMQ_QUEUED, 0))
    busy (h, r, token, result);
  after_issue (slot);
  return result == BLKMQ_QUEUED;
}

enum issued { ISSUED, REFUSED, DROPPED };

static enum issued
issue_queued (struct thread_slot *slot, struct blkmq_hctx *h,
              struct request *r)
{
  blkmq_token token;

  before_issue (slot, h, r);
  if (request_issue (r, &token))
    return call_queue_rq (slot, h, r, token) ? ISSUED : REFUSED;
  after_issue (slot);
  return DROPPED;
}

/* R has its tag and is filled in: to the driver, or behind those who wait for
 * the driver already.  True if the driver has taken it. */
static bool
start (struct thread_slot *slot, struct blkmq_hctx *h, struct request *r,
       unsigned flags)
{
  atomic_store_explicit (&r->deadline_ns, 0, memory_order_relaxed);
  if ((flags & HCTX_QUIESCED)
      || atomic_load_explicit (&h->nr_queued, memory_order_relaxed) > 0) {
    request_start (r);
    if (queue_insert (h, r, false))
      hctx_ask_run (h);
    return false;
  }
  before_issue (slot, h, r);
  return call_queue_rq (slot, h, r, request_start_issue (r));
}

/* Take a tag for a new request.  FLAGS receives the hctx's flags as they were
 * after the tag was taken; with FROZEN or REMOVED there is no tag. */
static int
take_tag (struct thread_slot *slot, struct blkmq_hctx *h, unsigned *flags)
{
  int tag = tag_map_get (&h->tags, slot->id);

  if (tag == NO_TAG) {
    *flags = atomic_load (&h->flags);
    return NO_TAG;
  }
  barrier_after_rmw (); /* pairs with those who set flags: freeze.c */
  *flags = atomic_load_explicit (&h->flags, memory_order_relaxed);
  if (__builtin_expect (*flags & (HCTX_FROZEN | HCTX_REMOVED), 0)) {
    tag_map_put (&h->tags, (unsigned)tag);
    barrier_after_rmw ();
    hctx_notify_drain (h);
    /* Somebody may have looked for a tag while we had this one. */
    if (atomic_load (&h->nr_waiting) > 0)
      hctx_ask_run (h);
    return NO_TAG;
  }
  return tag;
}

static void
dispatch_io (struct thread_slot *slot, struct blkmq_hctx *h,
             struct blkmq_io *io, bool *ring)
{
  const struct blkmq_limits *limits = &h->disk->limits;
  struct request *r;
  unsigned flags = 0;
  bool more, split = io->priv.state == IO_SPLIT;
  int tag;

  do {
    tag = NO_TAG;
    if (atomic_load_explicit (&h->nr_waiting, memory_order_relaxed) == 0)
      tag = take_tag (slot, h, &flags);
    if (__builtin_expect (tag == NO_TAG, 0)) {
      if (flags & HCTX_REMOVED)
        io_reject (h, io, BLKMQ_STS_OFFLINE);
      else if (io->flags & BLKMQ_IO_NOWAIT)
        io_reject (h, io, BLKMQ_STS_AGAIN);
      else
        wait_append (h, io);
      return;
    }
    r = hctx_tag_request (h, (unsigned)tag);
    io_take_part (limits, io, r);
    more = io_has_more (io);
    if (!more)
      io_has_tags (io);
    /* From here a single io may be gone. */
    *ring |= start (slot, h, r, flags);
  } while (more && !io_is_aborted (io));
  if (split)
    io_parts_end (io, BLKMQ_STS_OK);
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
              struct blkmq_io *first)
{
  struct blkmq_io *io, *next;
  enum blkmq_status status;
  bool ring = false;

  /* Quiesce looks for this mark after it has set its flag; we look at the flag
   * after taking a tag, which is a full barrier. */
  atomic_store_explicit (&slot->dispatching, h, memory_order_relaxed);
  for (io = first; io != NULL; io = next) {
    next = io->priv.next;
    status = io_prepare (h->disk, io);
    if (__builtin_expect (status != BLKMQ_STS_OK, 0))
      io_reject (h, io, status);
    else
      dispatch_io (slot, h, io, &ring);
  }
  dispatch_end (slot, h, ring);
}

/* ---- the queue's runner ---- */

/* The head of the wait list gets a tag and its next part becomes a QUEUED
 * request, all under the lock: an abort finds the one or the other.  NULL: not
 * now.  *SPLIT_ENDS: it was the last part of a split io. */
static struct request *
next_waiting_locked (struct thread_slot *slot, struct blkmq_hctx *h,
                     bool *split_ends)
{
  struct blkmq_io *io = h->wait;
  unsigned flags;
  struct request *r;
  int tag = take_tag (slot, h, &flags);

  if (tag == NO_TAG)
    return NULL;
  r = hctx_tag_request (h, (unsigned)tag);
  atomic_store_explicit (&r->deadline_ns, 0, memory_order_relaxed);
  io_take_part (&h->disk->limits, io, r);
  *split_ends = false;
  if (!io_has_more (io)) {
    *split_ends = io->priv.state == IO_SPLIT;
    wait_unlink_locked (h, io);
  }
  request_start (r);
  return r;
}

/* One step of hctx_run: dispatch the head of the queue, or of the wait list.
 * False: nothing more can be done now.  Called and returns with the lock held;
 * drops it meanwhile. */
static bool
run_one_locked (struct thread_slot *slot, struct blkmq_hctx *h, bool *ring)
{
  unsigned flags = atomic_load (&h->flags);
  struct request *r = h->queue;
  struct blkmq_io *io = h->wait;
  bool split_ends = false;
  enum issued issued;

  if (flags & (HCTX_QUIESCED | HCTX_REMOVED))
    return false;
  if (r != NULL) {
    if (atomic_load (&h->stalled))
      return false;
    queue_unlink_locked (h, &h->queue);
  }
  else {
    if (io == NULL || (flags & HCTX_FROZEN))
      return false;
    r = next_waiting_locked (slot, h, &split_ends);
    if (r == NULL)
      return false;
  }
  pthread_mutex_unlock (&h->lock);
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
  if (h->running) {
    h->rerun = true;
    pthread_mutex_unlock (&h->lock);
    dispatch_end (slot, h, false);
    return;
  }
  h->running = true;
  do {
    h->rerun = false;
    while (run_one_locked (slot, h, &ring)) {
      if (--budget == 0) {
        hand_over = h->queue != NULL || h->wait != NULL;
        break;
      }
    }
  } while (h->rerun && budget > 0);
  hand_over |= h->rerun;
  h->running = false;
  pthread_mutex_unlock (&h->lock);
  if (hand_over)
    loop_kick (h->loop);
  dispatch_end (slot, h, ring);
}

/* ---- in and out ---- */

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
    struct blkmq_hctx *h = io->priv.submitter->hctx;
    enum blkmq_status status = io_prepare (h->disk, io);

    if (status == BLKMQ_STS_OK && (io->flags & BLKMQ_IO_NOWAIT))
      status = BLKMQ_STS_AGAIN; /* a tag can be taken on the loop only */
    if (status == BLKMQ_STS_OK)
      wait_append (h, io);
    else
      io_reject (h, io, status);
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
  unsigned budget = RUN_BUDGET_LOOP;
  bool has_run = false;

  if (slot->depth == 1) {
    while (slot->ios != NULL || slot->nr_runs > 0) {
      if (slot->on_loop > 0 && budget-- == 0)
        engine_hand_over (slot);
      else if (slot->ios != NULL) {
        struct blkmq_io *io = pop_noted_io (slot);

        dispatch_ios (slot, io->priv.submitter->hctx, io);
      }
      else if (!has_run) {
        has_run = true;
        drain_runs (slot);
      }
      else
        hand_over_runs (slot);
    }
  }
  slot->depth--;
}
