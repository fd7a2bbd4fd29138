/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tagset.c: sets of pools: made, shared between disks, replaced.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/disk.h"
#include "engine/tagset.h"
#include "engine/yield.h"

/* ---- pools ---- */

struct request_pool *
tagset_make_pool (struct blkmq_tag_set *set, unsigned index, unsigned depth,
                  int *err)
{
  struct pool_options options = {
    .driver = set->driver,
    .driver_data = set->driver_data,
    .index = index,
    .spans_hctxs = set->shared_bitmap,
    .depth = depth,
    .nr_reserved = set->nr_reserved,
    .first_gen = 1,
    .merges = set->merges,
    .is_shared = set->is_shared || set->shared_bitmap,
    .mistakes = &set->mistakes,
  };

  return pool_alloc (&options, err);
}

void
tagset_retire_locked (struct blkmq_tag_set *set, struct request_pool *pool)
{
  uint64_t floor = pool_next_gen (pool);

  if (floor > set->gen_floor)
    set->gen_floor = floor;
  atomic_store (&pool->next_retired, atomic_load (&set->retired));
  atomic_store (&pool->last_gen, floor - 1);
  atomic_store (&set->retired, pool);
}

void
tagset_begin_locked (struct blkmq_tag_set *set, struct request_pool *pool)
{
  pool_raise_first_gen (pool, set->gen_floor);
}

static struct blkmq_hctx *
hctx_of_pool_locked (struct blkmq_tag_set *set, const struct request_pool *pool)
{
  struct blkmq_disk *disk
      = pool->options.owner != NULL ? pool->options.owner : set->disks;

  if (disk == NULL || pool->index >= disk_nr_hctxs (disk))
    return NULL;
  return disk_hctx (disk, pool->index);
}

static void
keep_stale_tokens_locked (struct blkmq_tag_set *set, struct request_pool *pool)
{
  struct blkmq_hctx *h = hctx_of_pool_locked (set, pool);
  uint64_t nr = atomic_exchange (&pool->stale_tokens, 0);

  if (set->is_shared && pool->options.owner == NULL)
    atomic_fetch_add (&set->stale_tokens, nr);
  else if (h != NULL)
    atomic_fetch_add (&h->stale_tokens, nr);
}

/* What the pool has counted goes on in its hctx. */
static void
keep_counts_locked (struct blkmq_tag_set *set, struct request_pool *pool)
{
  struct blkmq_hctx *h = hctx_of_pool_locked (set, pool);

  keep_stale_tokens_locked (set, pool);
  if (h == NULL)
    return;
  for (unsigned tag = 0; tag < pool->depth; tag++) {
    struct request *r = pool_request (pool, tag);

    for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
      atomic_fetch_add (&h->ios[op], atomic_load (&r->ios[op]));
      atomic_fetch_add (&h->bytes[op], atomic_load (&r->bytes[op]));
    }
  }
}

static void
wait_for_lookers_locked (struct blkmq_tag_set *set)
{
  for (struct blkmq_disk *d = set->disks; d != NULL; d = d->set_next) {
    for (unsigned i = 0; i < disk_nr_hctxs (d); i++)
      hctx_wait_gone (disk_hctx (d, i));
  }
}

/* Reap those of OWNER; of all, if that is NULL. */
static void
reap_locked (struct blkmq_tag_set *set, const struct blkmq_disk *owner)
{
  _Atomic (struct request_pool *) *link = &set->retired;
  struct request_pool *pool, *done = NULL;

  /* What nothing is held of is unlinked; who looks at it meanwhile goes on from
   * there as if it were not.  Who adds up counters looks again. */
  atomic_fetch_add (&set->count_moves, 1);
  while ((pool = atomic_load (link)) != NULL) {
    if (pool_nr_taken (pool) == 0
        && (owner == NULL || pool->options.owner == owner)) {
      atomic_store (link, atomic_load (&pool->next_retired));
      keep_counts_locked (set, pool);
      pool->next_done = done;
      done = pool;
    } else
      link = &pool->next_retired;
  }
  atomic_fetch_add (&set->count_moves, 1);
  if (done == NULL)
    return;
  yield_point ("reap");
  wait_for_lookers_locked (set);
  while ((pool = done) != NULL) {
    done = pool->next_done;
    keep_stale_tokens_locked (set, pool); /* those since */
    pool_free (pool);
  }
}

void
tagset_reap_locked (struct blkmq_tag_set *set)
{
  reap_locked (set, NULL);
}

void
tagset_reap_disk (struct blkmq_tag_set *set, struct blkmq_disk *disk)
{
  pthread_mutex_lock (&set->lock);
  reap_locked (set, disk);
  pthread_mutex_unlock (&set->lock);
}

/* ---- the set ---- */

static void
set_free (struct blkmq_tag_set *set)
{
  struct request_pool *pool, *next;

  for (unsigned i = 0; i < set->nr_pools; i++)
    pool_free (set->pools[i]);
  for (pool = atomic_load (&set->retired); pool != NULL; pool = next) {
    next = atomic_load (&pool->next_retired);
    pool_free (pool);
  }
  stack_free (set->plan);
  pthread_mutex_destroy (&set->users_lock);
  pthread_mutex_destroy (&set->lock);
  pthread_mutex_destroy (&set->update_lock);
  free (set);
}

int
tagset_alloc (const struct tagset_options *options,
              struct blkmq_tag_set **result, struct blkmq_error *error)
{
  struct blkmq_tag_set *set = calloc (1, sizeof *set);
  unsigned nr = options->shared_bitmap ? 1 : options->nr_hw_queues;
  int err;

  if (set == NULL)
    return error_set (error, -ENOMEM, "no memory for a tag set");
  pthread_mutex_init (&set->update_lock, NULL);
  pthread_mutex_init (&set->lock, NULL);
  pthread_mutex_init (&set->users_lock, NULL);
  atomic_init (&set->refs, 1);
  set->driver = options->driver;
  set->driver_data = options->driver_data;
  set->is_shared = options->is_shared;
  set->shared_bitmap = options->shared_bitmap;
  set->merges = options->merges;
  set->nr_hw_queues = options->nr_hw_queues;
  set->nr_poll_queues = options->nr_poll_queues;
  set->queue_depth = options->queue_depth;
  set->nr_reserved = options->driver->nr_reserved_tags;
  if (set->nr_reserved >= set->queue_depth) {
    err = error_set (error, -EINVAL,
                     "hw_queue_depth=%u: driver %s reserves %u tags; must be "
                     "at least %u",
                     set->queue_depth, set->driver->name, set->nr_reserved,
                     set->nr_reserved + 1);
    goto free_set;
  }
  for (unsigned i = 0; i < nr; i++) {
    set->pools[i] = tagset_make_pool (set, i, set->queue_depth, &err);
    if (set->pools[i] == NULL) {
      error_set (error, err, "setting up hctx %u of %u with %u requests: %s", i,
                 set->nr_hw_queues, set->queue_depth, strerror (-err));
      goto free_set;
    }
    set->nr_pools++;
  }
  set->plan = options->plan;
  *result = set;
  return 0;

free_set:
  set_free (set);
  return err;
}

void
tagset_get (struct blkmq_tag_set *set)
{
  atomic_fetch_add_explicit (&set->refs, 1, memory_order_relaxed);
}

void
tagset_put (struct blkmq_tag_set *set)
{
  if (set != NULL
      && atomic_fetch_sub_explicit (&set->refs, 1, memory_order_acq_rel) == 1)
    set_free (set);
}

void
tagset_add_disk (struct blkmq_tag_set *set, struct blkmq_disk *disk)
{
  pthread_mutex_lock (&set->lock);
  pthread_mutex_lock (&set->users_lock);
  disk->set_next = set->disks;
  set->disks = disk;
  pthread_mutex_unlock (&set->users_lock);
  pthread_mutex_unlock (&set->lock);
}

static void
leave_shares_locked (struct blkmq_disk *disk)
{
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++)
    share_leave_locked (disk_hctx (disk, i));
}

void
tagset_retire_disk (struct blkmq_tag_set *set, struct blkmq_disk *disk)
{
  /* Whoever chose one of its hctxs to be woken did so under this lock, and has
   * noted it; who comes later sees that none of them waits. */
  pthread_mutex_lock (&set->users_lock);
  leave_shares_locked (disk);
  pthread_mutex_unlock (&set->users_lock);
}

void
tagset_del_disk (struct blkmq_tag_set *set, struct blkmq_disk *disk)
{
  struct blkmq_disk **link;

  pthread_mutex_lock (&set->lock);
  pthread_mutex_lock (&set->users_lock);
  leave_shares_locked (disk);
  for (link = &set->disks; *link != NULL; link = &(*link)->set_next) {
    if (*link == disk) {
      *link = disk->set_next;
      break;
    }
  }
  pthread_mutex_unlock (&set->users_lock);
  pthread_mutex_unlock (&set->lock);
}
