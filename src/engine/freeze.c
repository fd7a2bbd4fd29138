/* SPDX-License-Identifier: BSD-3-Clause
 *
 * freeze.c: quiesce, freeze and removal: the three ways to make a disk still.
 * Any thread that may block; control_lock lets one at a time.
 *
 * All three set a flag on each hctx, pass a full barrier, and then look for
 * those who could not see the flag in time: threads by their marks (thread.h),
 * requests by their tags.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <time.h>

#include "engine/barrier.h"
#include "engine/disk.h"
#include "engine/enter.h"
#include "engine/freeze.h"
#include "engine/hctx.h"
#include "engine/poll.h"
#include "engine/queue.h"
#include "engine/thread.h"
#include "engine/yield.h"

static void
set_flag (struct blkmq_disk *disk, unsigned flag)
{
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++)
    atomic_fetch_or (&disk_hctx (disk, i)->flags, flag);
  yield_point ("flag");
  barrier_full ();
}

/* Leave one level of *DEPTH; the last clears FLAG and lets go on what it had
 * held up.  That is done without the lock: callbacks run. */
static void
clear_flag (struct blkmq_disk *disk, unsigned *depth, unsigned flag)
{
  struct thread_slot *slot;
  bool last;

  pthread_mutex_lock (&disk->control_lock);
  assert (*depth > 0);
  last = --*depth == 0;
  if (last) {
    for (unsigned i = 0; i < disk_nr_hctxs (disk); i++)
      atomic_fetch_and (&disk_hctx (disk, i)->flags, ~flag);
  }
  pthread_mutex_unlock (&disk->control_lock);
  if (!last)
    return;

  slot = engine_enter ();

  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++) {
    struct blkmq_hctx *h = disk_hctx (disk, i);

    if (flag == HCTX_QUIESCED)
      atomic_store (&h->stalled, false);
    hctx_ask_run (h);
  }
  engine_leave (slot);
}

/* ---- quiesce ---- */

int
blkmq_quiesce (struct blkmq_disk *disk)
{
  if (thread_must_not_block (thread_self ()))
    return -EDEADLK;
  pthread_mutex_lock (&disk->control_lock);
  if (disk->quiesce_depth++ == 0)
    set_flag (disk, HCTX_QUIESCED);
  pthread_mutex_unlock (&disk->control_lock);

  /* For a nested one as well: it returns when the disk is quiet. */
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++)
    thread_wait_dispatching (disk_hctx (disk, i));
  return 0;
}

void
blkmq_unquiesce (struct blkmq_disk *disk)
{
  clear_flag (disk, &disk->quiesce_depth, HCTX_QUIESCED);
}

/* ---- waiting until nothing is left ---- */

/* Not all that is waited for tells: an outside reference is counted just after
 * it is taken, and what is polled must be asked. */
#define LOOK_NS 20000000
#define POLL_NS 50000

/* Sleep until something was released or ended since EVENTS was read, but no
 * longer than MOST_NS, which is less than a second. */
static void
sleep_for_drain (struct blkmq_disk *disk, uint64_t events, long most_ns)
{
  struct timespec until;

  if (yield_instead_of_sleep ("wait for requests"))
    return;
  clock_gettime (CLOCK_MONOTONIC, &until);
  until.tv_nsec += most_ns;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  pthread_mutex_lock (&disk->drain_lock);
  if (disk->drain_events == events)
    pthread_cond_timedwait (&disk->drained, &disk->drain_lock, &until);
  pthread_mutex_unlock (&disk->drain_lock);
}

static uint64_t
drain_events (struct blkmq_disk *disk)
{
  uint64_t events;

  pthread_mutex_lock (&disk->drain_lock);
  events = disk->drain_events;
  pthread_mutex_unlock (&disk->drain_lock);
  return events;
}

/* Call FN for each taken tag; it says whether that one is to be waited for. */
static bool
any_taken_of (struct blkmq_hctx *h,
              bool (*fn) (struct request *r, uint64_t word, void *opaque),
              void *opaque)
{
  bool wait = false;

  for_each_pool (walk, h)
  {
    struct request_pool *pool = walk.pool;

    for_each_taken (tag, pool)
    {
      struct request *r = pool_request (pool, (unsigned)tag);
      uint64_t word = atomic_load_explicit (&r->word, memory_order_acquire);

      yield_point ("look");
      /* With a scheduler the tag set's tags are driver tags; and some may still
       * be when it is gone, of requests that a timeout has left below. */
      if (word_is_free (word)
          && (pool != hctx_pool (h) || atomic_load (&r->is_lent)))
        continue;
      /* Where the pool is ours alone every tag is, though it may not say so
       * yet.  A tag of another hctx may still look like ours until that one has
       * begun to use it: one more look. */
      if ((!pool->is_shared || request_hctx (r) == h) && fn (r, word, opaque))
        wait = true;
    }
  }
  return wait;
}

static bool
any_taken (struct blkmq_disk *disk,
           bool (*fn) (struct request *r, uint64_t word, void *opaque),
           void *opaque)
{
  struct thread_slot *slot = thread_self ();
  bool wait = false;

  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++) {
    struct blkmq_hctx *h = disk_hctx (disk, i);
    enum hold hold = hctx_hold (slot, h);

    wait |= any_taken_of (h, fn, opaque);
    hctx_let_go (slot, h, hold);
  }
  return wait;
}

/* ---- freeze ---- */

/* What was refused until some time has passed may go at once, now that somebody
 * waits for it (blkmq_hctx_is_frozen).  The epoch moves in any case: who has
 * looked at the flag too early is tried once more. */
static void
try_refused (struct blkmq_disk *disk)
{
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++) {
    struct blkmq_hctx *h = disk_hctx (disk, i);

    hctx_unstall (h);
    if (atomic_load (&h->nr_queued) > 0)
      hctx_ask_run (h);
  }
}

struct held_list {
  blkmq_handle *handles;
  unsigned max, nr;
};

/* All but what a timeout has ended and the driver still holds.  What is ended
 * on the queue is about to leave it; until then a run may take a tag for it. */
static bool
is_unfinished (struct request *r, uint64_t word, void *opaque)
{
  const uint64_t below = WORD_IN_FLIGHT | WORD_HELD | WORD_ENDED;
  struct held_list *list = opaque;
  struct blkmq_hctx *h;

  if ((word & (WORD_STATE | WORD_HELD | WORD_ENDED)) != below
      || atomic_load_explicit (&r->cause, memory_order_relaxed)
             != BLKMQ_CAUSE_TIMEOUT)
    return true;
  /* Given back since WORD was read, and where tags are shared lent to another's
   * request: look once more. */
  h = request_hctx (r);
  if (h == NULL)
    return true;
  if (list->nr < list->max)
    list->handles[list->nr] = name_make (word, h->index, r->tag);
  list->nr++;
  return false;
}

int
blkmq_freeze (struct blkmq_disk *disk, blkmq_handle *held, unsigned max)
{
  struct held_list list = { held, held != NULL ? max : 0, 0 };
  uint64_t events;

  if (thread_must_not_block (thread_self ()))
    return -EDEADLK;
  pthread_mutex_lock (&disk->control_lock);
  if (disk->removed) {
    pthread_mutex_unlock (&disk->control_lock);
    return -ENODEV;
  }
  if (disk->freeze_depth++ == 0) {
    set_flag (disk, HCTX_FROZEN);
    try_refused (disk);
  }
  pthread_mutex_unlock (&disk->control_lock);

  /* A tag that somebody has just taken is not seen to be ours before it is in
   * use; where others take tags as well, wait for that. */
  if (disk->set->is_shared || disk->set->shared_bitmap) {
    for (unsigned i = 0; i < disk_nr_hctxs (disk); i++)
      thread_wait_dispatching (disk_hctx (disk, i));
  }
  for (;;) {
    events = drain_events (disk);
    list.nr = 0;
    if (!any_taken (disk, is_unfinished, &list))
      return (int)list.nr;
    /* Those who polled may be waiting for the freeze to end. */
    if (poll_disk (disk) == 0)
      sleep_for_drain (disk, events, poll_is_needed (disk) ? POLL_NS : LOOK_NS);
  }
}

void
blkmq_unfreeze (struct blkmq_disk *disk)
{
  clear_flag (disk, &disk->freeze_depth, HCTX_FROZEN);
}

/* ---- removal ---- */

/* OPAQUE: the cause. */
static int
claim_offline (struct request *r, void *opaque)
{
  const enum blkmq_cause *cause = opaque;

  if (!(atomic_load_explicit (&r->word, memory_order_acquire) & WORD_ENDED))
    request_claim (r, *cause, BLKMQ_STS_OFFLINE);
  return 0;
}

/* End what is on the engine's own lists. */
static void
end_lists (struct blkmq_hctx *h, enum blkmq_cause cause)
{
  struct request *r, *next;

  wait_abort (h, NULL, NULL, BLKMQ_STS_OFFLINE);

  for (r = queue_take_all (h); r != NULL; r = next) {
    next = r->next;
    /* HELD, by us, stands for a reference here. */
    claim_offline (r, &cause);
    request_drop_queued (r);
  }
}

/* The driver was stopped: what it still has is ours. */
static int
take_back_from_driver (struct request *r, void *opaque)
{
  uint64_t word = atomic_load_explicit (&r->word, memory_order_acquire);

  if (word & WORD_HELD)
    request_take_back (r, request_name (r, word), BLKMQ_CAUSE_REMOVE,
                       BLKMQ_STS_OFFLINE);
  else
    claim_offline (r, opaque);
  return 0;
}

/* Everybody but outside references has let go? */
static bool
is_unreleased (struct request *r, uint64_t word, void *opaque)
{
  unsigned outside = atomic_load (&r->outside);

  yield_point ("released?");
  return (word & WORD_HELD) || word_refs (word) == 0
         || word_refs (word) != outside;
}

static void
wait_released (struct blkmq_disk *disk)
{
  uint64_t events;

  for (;;) {
    events = drain_events (disk);
    if (!any_taken (disk, is_unreleased, NULL))
      return;
    sleep_for_drain (disk, events, LOOK_NS);
  }
}

void
freeze_set_removed_locked (struct blkmq_disk *disk)
{
  set_flag (disk, HCTX_REMOVED);
}

void
freeze_set_off_locked (struct blkmq_disk *disk, bool off)
{
  if (off) {
    set_flag (disk, HCTX_OFF);
    return;
  }
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++)
    atomic_fetch_and (&disk_hctx (disk, i)->flags, ~HCTX_OFF);
}

/* No new request starts.  Twice round the lists: those who were dispatching may
 * still have added to them. */
static void
claim_all (struct blkmq_disk *disk, enum blkmq_cause cause)
{
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++)
    end_lists (disk_hctx (disk, i), cause);
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++)
    thread_wait_dispatching (disk_hctx (disk, i));
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++) {
    end_lists (disk_hctx (disk, i), cause);
    hctx_for_each (disk_hctx (disk, i), claim_offline, &cause);
  }
}

void
freeze_remove (struct blkmq_disk *disk)
{
  struct thread_slot *slot = engine_enter_from_below ();
  enum blkmq_cause cause = BLKMQ_CAUSE_REMOVE;

  claim_all (disk, cause); /* and no queue_rq */

  /* The loops before the driver: a timeout scan may be asking it. */
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++)
    loop_stop (disk_hctx (disk, i)->loop);
  /* A change of settings that does not know yet ends first. */
  pthread_mutex_lock (&disk->level_lock);
  pthread_mutex_unlock (&disk->level_lock);
  if (disk->driver->stop != NULL)
    disk->driver->stop (disk->driver_data);
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++) {
    end_lists (disk_hctx (disk, i), cause); /* requeued before the stop */
    hctx_for_each (disk_hctx (disk, i), take_back_from_driver, &cause);
    hctx_kicked (disk_hctx (disk, i)); /* what was on its way to the loop */
  }
  engine_leave_from_below (slot);

  wait_released (disk);
  tagset_retire_disk (disk->set, disk);
  /* From the last to the first: what waits moves from an hctx that was dropped
   * to one with a lower index, and its mover goes with it. */
  for (unsigned i = disk_nr_hctxs (disk); i-- > 0;)
    hctx_wait_gone (disk_hctx (disk, i));
}

/* ---- power ---- */

void
freeze_end_all (struct blkmq_disk *disk)
{
  struct thread_slot *slot = engine_enter_from_below ();

  claim_all (disk, BLKMQ_CAUSE_POWER);
  engine_leave_from_below (slot);
}
