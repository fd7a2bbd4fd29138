/* SPDX-License-Identifier: BSD-3-Clause
 *
 * hctx.c: set-up of a hardware context, and what its loop does: end the
 * requests on the done list, fire timers, run the queue.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/barrier.h"
#include "engine/disk.h"
#include "engine/dispatch.h"
#include "engine/enter.h"
#include "engine/hctx.h"
#include "engine/io.h"
#include "engine/poll.h"
#include "engine/record.h"
#include "engine/iostat.h"
#include "engine/requeue.h"
#include "engine/timeout.h"
#include "engine/yield.h"

static const struct loop_ops loop_ops
    = { hctx_kicked, hctx_timer_due, poll_from_loop };

static void
set_deadline (void *opaque, uint64_t deadline_ns)
{
  struct blkmq_hctx *h = opaque;

  loop_set_deadline (h->loop, deadline_ns);
}

unsigned
hctx_nr_timers (unsigned nr_requests)
{
  return nr_requests + 7; /* scan, rerun, run, age, share, kick, abort */
}

int
hctx_init_driver (struct blkmq_hctx *h)
{
  int r = 0;

  if (!h->driver_is_ready && h->driver->init_hctx != NULL)
    r = h->driver->init_hctx (h, h->driver_data, h->index);
  if (r >= 0)
    h->driver_is_ready = true;
  return r;
}

void
hctx_exit_driver (struct blkmq_hctx *h)
{
  if (h->driver_is_ready && h->driver->exit_hctx != NULL)
    h->driver->exit_hctx (h, h->driver_data, h->index);
  h->driver_is_ready = false;
}

int
hctx_init (struct blkmq_hctx *h, enum loop_kind loop_kind,
           const struct hctx_options *options)
{
  int r;

  h->queue_tail = &h->queue;
  h->aside_tail = &h->aside;
  for (unsigned i = 0; i < NR_WAIT_LISTS; i++)
    h->wait[i].tail = &h->wait[i].first;
  timer_init (&h->scan_timer, TIMER_SCAN);
  timer_init (&h->rerun_timer, TIMER_RERUN);
  timer_init (&h->run_timer, TIMER_RERUN);
  timer_init (&h->age_timer, TIMER_RUN);
  timer_init (&h->share_timer, TIMER_RUN);
  timer_init (&h->kick_timer, TIMER_KICK);
  timer_init (&h->abort_timer, TIMER_ABORT);

  pthread_mutex_init (&h->lock, NULL);
  r = timer_heap_init (&h->heap, hctx_nr_timers (hctx_pool (h)->depth));
  if (r < 0)
    goto destroy_lock;
  h->loop = loop_alloc (loop_kind, NULL, h->index, &loop_ops, h);
  if (h->loop == NULL) {
    r = -ENOMEM;
    goto exit_heap;
  }
  h->heap.set_deadline = set_deadline;
  h->heap.opaque = h;
  if (options->iostats) {
    r = iostat_prepare (h);
    if (r < 0)
      goto free_loop;
  }
  hctx_set_options (h, options);
  return 0;

free_loop:
  loop_free (h->loop);
exit_heap:
  timer_heap_exit (&h->heap);
destroy_lock:
  pthread_mutex_destroy (&h->lock);
  return r;
}

void
hctx_exit (struct blkmq_hctx *h)
{
  hctx_exit_driver (h);
  iostat_exit (h);
  free (h->stats_base);
  loop_free (h->loop);
  timer_heap_exit (&h->heap);
  pthread_mutex_destroy (&h->lock);
}

int
hctx_lend_loop (struct blkmq_hctx *h, struct ev_loop *ev)
{
  struct loop *loop = loop_alloc (LOOP_LENT, ev, h->index, &loop_ops, h);

  if (loop == NULL)
    return -ENOMEM;
  loop_set_spin (loop, loop_spin_ns (h->loop));
  loop_free (h->loop);
  h->loop = loop;
  loop_set_polled (loop, hctx_is_polled (h));
  return 0;
}

static void
set_ends_inline (struct blkmq_hctx *h)
{
  atomic_store (&h->ends_inline,
                (hctx_is_polled (h) || h->irqmode == IRQMODE_NONE)
                    && h->driver->complete == NULL);
}

void
hctx_set_options (struct blkmq_hctx *h, const struct hctx_options *options)
{
  atomic_store (&h->irqmode, options->irqmode);
  atomic_store (&h->completion_ns, options->completion_ns);
  atomic_store (&h->io_timeout_ns, options->io_timeout_ns);
  atomic_store (&h->iostat, options->iostats ? h->iostat_memory : NULL);
  loop_set_spin (h->loop, options->spin_ns);
  set_ends_inline (h);
}

void
hctx_set_type (struct blkmq_hctx *h, enum blkmq_hctx_type type)
{
  bool is_polled = type == BLKMQ_HCTX_TYPE_POLL;
  /* Without a cache FUA means nothing, and what the driver cannot do is done by
   * a flush. */
  uint32_t driver_flags = h->disk->limits.fua
                              ? IO_REQUEST_FLAGS
                              : IO_REQUEST_FLAGS & ~BLKMQ_IO_FUA;

  if (is_polled)
    atomic_fetch_or (&h->flags, HCTX_POLLED);
  else
    atomic_fetch_and (&h->flags, ~HCTX_POLLED);
  /* Who polls takes the end with it; there is nothing to be delayed. */
  atomic_store (&h->type, type);
  set_ends_inline (h);
  atomic_store (&h->driver_flags,
                is_polled ? driver_flags | BLKMQ_IO_POLLED : driver_flags);
  loop_set_polled (h->loop, is_polled);
}

/* ---- the loop's work ---- */

void
hctx_push_done (struct blkmq_hctx *h, struct request *r)
{
  struct request *head = atomic_load_explicit (&h->done, memory_order_relaxed);

  do {
    r->next = head;
  } while (!atomic_compare_exchange_weak_explicit (
      &h->done, &head, r, memory_order_release, memory_order_relaxed));
  if (head == NULL)
    loop_kick (h->loop);
}

static void
end_done (struct blkmq_hctx *h)
{
  struct request *r, *next, *in_order = NULL;

  /* Last come is first on the list: turn it round. */
  r = atomic_exchange_explicit (&h->done, NULL, memory_order_acquire);
  for (; r != NULL; r = next) {
    next = r->next;
    r->next = in_order;
    in_order = r;
  }
  for (r = in_order; r != NULL; r = next) {
    next = r->next;
    request_finish (r);
  }
}

void
hctx_kicked (void *opaque)
{
  struct blkmq_hctx *h = opaque;
  struct thread_slot *slot = engine_enter ();
  enum hold hold = hctx_hold (slot, h);

  end_done (h);
  hctx_run (slot, h);
  hctx_let_go (slot, h, hold);
  engine_leave (slot);
}

static void
fire (struct thread_slot *slot, struct blkmq_hctx *h, struct timer *timer,
      uint64_t token)
{
  struct request *r;

  switch (timer->kind) {
  case TIMER_REQUEST:
    /* The timer itself is popped; what it was armed for may be long over. */
    r = hctx_find (h, token);
    if (r != NULL && request_try_get (r, token)) {
      record_move (r, RECORD_TIMER_FIRE, 0, r->word, r->word);
      request_finish (r);
    } else
      count (&h->stale_tokens);
    break;
  case TIMER_SCAN:
    timeout_scan (h);
    break;
  case TIMER_RERUN:
    hctx_unstall (h);
    hctx_run (slot, h);
    break;
  case TIMER_RUN:
    hctx_run (slot, h);
    break;
  case TIMER_KICK:
    requeue_kick (h);
    break;
  case TIMER_ABORT:
    timeout_ask_aborted (h);
    break;
  }
}

void
hctx_timer_due (void *opaque)
{
  struct blkmq_hctx *h = opaque;
  struct thread_slot *slot = engine_enter ();
  enum hold hold = hctx_hold (slot, h);
  uint64_t now_ns = clock_now_ns (h->clock), token;
  struct timer *timer;

  while ((timer = timer_pop_due (&h->heap, now_ns, &token)) != NULL)
    fire (slot, h, timer, token);
  hctx_let_go (slot, h, hold);
  engine_leave (slot);
}

void
hctx_ask_run (struct blkmq_hctx *h)
{
  struct thread_slot *slot = thread_self ();

  if (!(atomic_load_explicit (&h->flags, memory_order_relaxed) & HCTX_BLOCKING)
      && slot->depth > 0 && thread_note_run (slot, h))
    return;
  loop_kick (h->loop);
}

void
hctx_gave_back (struct blkmq_hctx *h)
{
  yield_point ("gave back");
  barrier_after_rmw (); /* the give-back first: pairs with dispatch.c:busy */
  if (__builtin_expect (atomic_load_explicit (&h->watch, memory_order_relaxed)
                            & WATCHED,
                        0)) {
    hctx_unstall (h);
    hctx_ask_run (h);
  }
}

void
hctx_unstall (struct blkmq_hctx *h)
{
  atomic_fetch_add (&h->watch, WATCH_EPOCH);
  yield_point ("unstall");
  atomic_store (&h->stalled, false);
}

void
hctx_wait_gone (struct blkmq_hctx *h)
{
  const struct timespec pause = { 0, 100000 };

  /* The pins first: whoever has one may leave a note when he lets go of it,
   * and never the other way round. */
  while (atomic_load (&h->pins) > 0) {
    if (!yield_instead_of_sleep ("wait for pins"))
      nanosleep (&pause, NULL);
  }
  thread_wait_gone (h);
}

/* ---- all requests ---- */

/* Does the retired POOL hold requests of H? */
static bool
is_pool_of (const struct request_pool *pool, const struct blkmq_hctx *h)
{
  if (pool->options.owner != NULL && pool->options.owner != h->disk)
    return false;
  return pool->spans_hctxs || pool->index == h->index;
}

struct pool_walk
pool_walk_begin (struct blkmq_hctx *h)
{
  struct pool_walk walk = { .own = hctx_pool (h) };

  walk.tags = hctx_tag_pool (h);
  walk.pool = walk.own;
  return walk;
}

/* An update may retire the first two meanwhile: they are not visited again in
 * that list, which is walked from its beginning whatever becomes of them. */
void
pool_walk_next (struct pool_walk *walk, struct blkmq_hctx *h)
{
  struct request_pool *pool;

  if (walk->pool == walk->own && walk->tags != walk->own) {
    walk->pool = walk->tags;
    return;
  }
  pool = walk->retired != NULL ? atomic_load (&walk->retired->next_retired)
                               : atomic_load (&h->set->retired);
  while (pool != NULL
         && (pool == walk->own || pool == walk->tags || !is_pool_of (pool, h)))
    pool = atomic_load (&pool->next_retired);
  walk->retired = pool;
  walk->pool = pool;
}

struct request *
hctx_find (struct blkmq_hctx *h, uint64_t name)
{
  struct request *r = NULL;

  for_each_pool (walk, h)
  {
    yield_point ("find");
    r = pool_find (walk.pool, name);
    if (r != NULL)
      break;
  }
  return r;
}

/* A reference to whatever life or issue of R is the present one. */
static bool
get_present (struct request *r)
{
  uint64_t word;

  do {
    word = atomic_load_explicit (&r->word, memory_order_acquire);
    if (word_is_free (word) || word_refs_are_full (word))
      return false;
    /* A failed get means that the generation has moved: look again. */
  } while (!request_try_get (r, name_make (word, 0, 0)));
  return true;
}

static int
for_each_in (struct request_pool *pool, struct blkmq_hctx *h,
             int (*fn) (struct request *r, void *opaque), void *opaque)
{
  int ret = 0;

  for_each_taken (tag, pool)
  {
    struct request *r = pool_request (pool, (unsigned)tag);

    if (!get_present (r))
      continue;
    if (request_hctx (r) == h)
      ret = fn (r, opaque);
    request_put (r);
    if (ret != 0)
      break;
  }
  return ret;
}

int
hctx_for_each (struct blkmq_hctx *h,
               int (*fn) (struct request *r, void *opaque), void *opaque)
{
  struct thread_slot *slot = thread_self ();
  enum hold hold = hctx_hold (slot, h);
  int ret = 0;

  for_each_pool (walk, h)
  {
    ret = for_each_in (walk.pool, h, fn, opaque);
    if (ret != 0)
      break;
  }
  hctx_let_go (slot, h, hold);
  return ret;
}

void
hctx_notify_drain (struct blkmq_hctx *h)
{
  struct blkmq_disk *disk = h->disk;

  pthread_mutex_lock (&disk->drain_lock);
  disk->drain_events++;
  pthread_cond_broadcast (&disk->drained);
  pthread_mutex_unlock (&disk->drain_lock);
}
