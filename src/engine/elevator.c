/* SPDX-License-Identifier: BSD-3-Clause
 *
 * elevator.c: requests into the scheduler, and out of it with a driver tag.
 * Any thread; the scheduler is under the hctx's lock.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>

#include "engine/barrier.h"
#include "engine/disk.h"
#include "engine/elevator.h"
#include "engine/io.h"
#include "engine/queue.h"
#include "engine/yield.h"

/* ---- in ---- */

bool
elevator_insert (struct blkmq_hctx *h, struct request *r)
{
  bool is_in;

  pthread_mutex_lock (&h->lock);
  /* Whoever ends it looks for it here afterwards (queue_remove). */
  is_in = !(atomic_load (&r->word) & WORD_ENDED);
  if (is_in)
    sched_insert (hctx_sched (h), r, false, clock_coarse_ns (h->clock));
  pthread_mutex_unlock (&h->lock);
  if (!is_in) {
    request_drop_queued (r);
    return false;
  }
  return !(atomic_load (&h->flags) & HCTX_QUIESCED)
         && !atomic_load (&h->stalled);
}

bool
elevator_merge (struct blkmq_hctx *h, struct blkmq_io *io)
{
  struct sched *sched;
  bool merged;

  /* An update may be taking the scheduler away: then it is empty. */
  pthread_mutex_lock (&h->lock);
  sched = hctx_sched (h);
  merged = sched != NULL && sched_merge_io (sched, &h->disk->limits, io);
  pthread_mutex_unlock (&h->lock);
  return merged;
}

/* Be counted, or no more, among those who wait for a tag. */
static void
want_tag_locked (struct blkmq_hctx *h, bool wants)
{
  if (h->wants_tag == wants)
    return;
  h->wants_tag = wants;
  atomic_fetch_add (&h->nr_waiting, wants ? 1u : -1u);
  share_add_waiting (h, wants ? 1 : -1);
}

bool
elevator_remove_locked (struct blkmq_hctx *h, struct request *r)
{
  struct sched *sched = hctx_sched (h);

  return sched != NULL && r->pool->sched == sched && sched_remove (sched, r);
}

void
elevator_removed_locked (struct blkmq_hctx *h)
{
  if (h->queue == NULL && !elevator_has_work (h))
    want_tag_locked (h, false);
}

/* ---- driver tags ---- */

static int
try_get (struct thread_slot *slot, struct blkmq_hctx *h, bool reserved)
{
  struct request_pool *tags = hctx_tag_pool (h);
  int tag;

  if (tags->is_shared && !reserved && !share_may_take (h))
    return NO_TAG;
  tag = pool_get_tag (tags, slot->id, reserved);
  if (tag == NO_TAG)
    return NO_TAG;
  if (tags->is_shared) {
    struct request *r = pool_request (tags, (unsigned)tag);

    /* Only the tag is used.  Whose the request was in its last life must not
     * take it for his, and wait for it. */
    __atomic_store_n (&r->rq.hctx, NULL, __ATOMIC_RELAXED);
    if (!reserved)
      share_took (h, r);
  }
  return tag;
}

static void
put (struct blkmq_hctx *h, struct request_pool *tags, unsigned tag)
{
  struct request *lent = pool_request (tags, tag);

  if (tags->is_shared)
    share_put (h, lent);
  atomic_store (&lent->is_lent, false);
  yield_point ("put driver tag");
  pool_put_tag (tags, tag);
  yield_point ("driver tag put");
}

/* A request keeps its driver tag while it is held, longer perhaps than the pool
 * of that tag is in use. */
static void
set_driver_tag (struct blkmq_hctx *h, struct request *r, int tag)
{
  r->driver_tag = (int16_t)tag;
  if (tag == NO_TAG)
    return;
  r->driver_pool = hctx_tag_pool (h);
  atomic_store (&pool_request (r->driver_pool, (unsigned)tag)->is_lent, true);
}

static int
get_locked (struct thread_slot *slot, struct blkmq_hctx *h, bool reserved)
{
  int tag = try_get (slot, h, reserved);

  if (tag == NO_TAG && !h->wants_tag) {
    yield_point ("no tag");
    want_tag_locked (h, true);
    yield_point ("wants tag");
    barrier_full (); /* pairs with whoever puts one */
    tag = try_get (slot, h, reserved);
  }
  if (tag != NO_TAG)
    want_tag_locked (h, false);
  return tag;
}

/* True, too, where tags are all that there is. */
static bool
get_driver_tag (struct thread_slot *slot, struct blkmq_hctx *h,
                struct request *r)
{
  if (r->pool->sched == NULL)
    return true;
  assert (r->driver_tag == NO_TAG);
  set_driver_tag (h, r, get_locked (slot, h, request_is_reserved (r)));
  return r->driver_tag != NO_TAG;
}

struct request *
elevator_first_locked (struct thread_slot *slot, struct blkmq_hctx *h)
{
  struct request *first = h->queue;

  if (get_driver_tag (slot, h, first))
    return first;
  if (first->pool->nr_reserved == 0 || request_is_reserved (first))
    return NULL;
  for (struct request *r = first->next; r != NULL; r = r->next) {
    if (request_is_reserved (r))
      return get_driver_tag (slot, h, r) ? r : NULL;
  }
  return NULL;
}

void
elevator_put_tag (struct blkmq_hctx *h, struct request *r)
{
  int tag = r->driver_tag;

  if (__builtin_expect (tag == NO_TAG, 1))
    return;
  r->driver_tag = NO_TAG;
  put (h, r->driver_pool, (unsigned)tag);
}

void
elevator_give_tag_back (struct blkmq_hctx *h, struct request *r)
{
  if (__builtin_expect (r->driver_tag == NO_TAG, 1))
    return;
  elevator_put_tag (h, r);
  barrier_after_rmw ();
  hctx_tag_was_put (h);
}

unsigned
blkmq_request_tag (const struct blkmq_request *rq)
{
  const struct request *r = request_of ((struct blkmq_request *)(uintptr_t)rq);

  return r->driver_tag != NO_TAG ? (unsigned)r->driver_tag : r->tag;
}

/* ---- out ---- */

struct request *
elevator_next_locked (struct thread_slot *slot, struct blkmq_hctx *h)
{
  struct sched *sched = hctx_sched (h);
  struct request *r;
  uint64_t now_ns, again_ns = UINT64_MAX;
  int tag;

  /* Not with a tag in hand that would have to be put again: whoever puts one
   * wakes those who wait for one, who may be in the same position. */
  now_ns = sched != NULL ? clock_coarse_ns (h->clock) : 0;
  if (sched == NULL || !sched_can_dispatch (sched, now_ns, &again_ns)) {
    want_tag_locked (h, false);
    if (again_ns != UINT64_MAX)
      timer_arm (&h->heap, &h->age_timer,
                 again_ns + h->clock->coarse_resolution_ns, 0);
    return NULL;
  }
  tag = get_locked (slot, h, false);
  if (tag == NO_TAG)
    return NULL;
  r = sched_dispatch (sched, now_ns);
  assert (r != NULL);
  set_driver_tag (h, r, tag);
  return r;
}

/* ---- set-up ---- */

unsigned
elevator_nr_requests (const struct hctx_options *options, unsigned queue_depth)
{
  return options->nr_requests != 0 ? options->nr_requests : 2 * queue_depth;
}

struct request_pool *
elevator_make_pool (struct blkmq_disk *disk, unsigned index,
                    const struct sched_ops *ops,
                    const struct hctx_options *hctx_options,
                    unsigned queue_depth, int *err)
{
  struct pool_options options = {
    .driver = disk->driver,
    .driver_data = disk->driver_data,
    .owner = disk,
    .mistakes = &disk->set->mistakes,
    .index = index,
    .depth = elevator_nr_requests (hctx_options, queue_depth),
    .nr_reserved = disk->driver->nr_reserved_tags,
    .first_tag = queue_depth,
    .first_gen = 1,
    .merges = hctx_options->merges,
  };
  struct request_pool *pool;
  struct sched *sched;

  *err = sched_alloc (ops, &hctx_options->sched, options.depth, &sched);
  if (*err < 0)
    return NULL;
  pool = pool_alloc (&options, err);
  if (pool == NULL)
    sched_free (sched);
  else
    pool->sched = sched;
  return pool;
}
