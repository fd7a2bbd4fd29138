/* SPDX-License-Identifier: BSD-3-Clause
 *
 * update.c: changes the number of hctxs and their depth while ios are under
 * way.  Any thread that may block; one update of a tag set at a time.
 *
 * All that can fail is done before anything is seen of it: pools, hctxs, the
 * driver's init_hctx.  Then every disk of the set is frozen, the new pools take
 * the place of the old, submitters are bound anew, and all goes on.
 *
 * An hctx that is no longer in use is kept, and is the first to be used again.
 * The driver is told (exit_hctx) unless it still holds requests of it; then it
 * is told when the disk goes.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/disk.h"
#include "engine/enter.h"
#include "engine/queue.h"
#include "engine/tagset.h"

#define MAX_QUEUE_DEPTH 10240

struct update {
  struct blkmq_tag_set *set;
  unsigned nr_hw_queues, queue_depth; /* wanted */
  unsigned old_nr_hw_queues;
  struct blkmq_disk **disks; /* that are alive, with a reference */
  bool *frozen;              /* one for each */
  unsigned nr_disks;
  struct request_pool **pools; /* to replace those of the set */
  unsigned nr_pools;
};

/* ---- hctxs that are not in use ---- */

static int
one_is_enough (struct request *r, void *opaque)
{
  return 1;
}

/* The driver may forget H, unless it still has requests of it. */
static void
forget (struct blkmq_hctx *h)
{
  if (hctx_for_each (h, one_is_enough, NULL) == 0)
    hctx_exit_driver (h);
}

/* ---- prepare: what can fail ---- */

static int
check_bounds (const struct update *update, struct blkmq_error *error)
{
  unsigned least = update->set->nr_reserved + 1;

  if (update->nr_hw_queues < 1 || update->nr_hw_queues > MAX_HW_QUEUES)
    return error_set (error, -EINVAL,
                      "submit_queues=%u: must be a whole number from 1 to %d",
                      update->nr_hw_queues, MAX_HW_QUEUES);
  if (update->queue_depth < least || update->queue_depth > MAX_QUEUE_DEPTH)
    return error_set (error, -EINVAL,
                      "hw_queue_depth=%u: must be a whole number from %u to %d",
                      update->queue_depth, least, MAX_QUEUE_DEPTH);
  return 0;
}

/* The disks of the set but for those that are on their way out. */
static int
collect_disks_locked (struct update *update)
{
  unsigned nr = 0;

  for (struct blkmq_disk *d = update->set->disks; d != NULL; d = d->set_next)
    nr++;
  update->disks = calloc (nr + 1, sizeof update->disks[0]);
  update->frozen = calloc (nr + 1, sizeof update->frozen[0]);
  if (update->disks == NULL || update->frozen == NULL)
    return -ENOMEM;
  for (struct blkmq_disk *d = update->set->disks; d != NULL; d = d->set_next) {
    if (disk_try_get (d))
      update->disks[update->nr_disks++] = d;
  }
  return 0;
}

static int
make_pools_locked (struct update *update)
{
  struct blkmq_tag_set *set = update->set;
  int err;

  update->nr_pools = set->shared_bitmap ? 1 : update->nr_hw_queues;
  update->pools = calloc (update->nr_pools, sizeof update->pools[0]);
  if (update->pools == NULL)
    return -ENOMEM;
  for (unsigned i = 0; i < update->nr_pools; i++) {
    const struct request_pool *old = set->pools[i];
    struct request_pool *pool;

    if (old != NULL && old->depth == update->queue_depth)
      continue;
    pool = tagset_make_pool (set, i, update->queue_depth, old, &err);
    if (pool == NULL)
      return err;
    if (old != NULL) {
      update->pools[i] = pool;
      continue;
    }
    /* Nobody uses it before there is an hctx; it may as well stay. */
    set->pools[i] = pool;
    set->nr_pools = i + 1;
  }
  return 0;
}

/* New hctxs are not in use: marked so before anybody can see them. */
static int
make_hctxs_locked (struct update *update, struct blkmq_disk *disk)
{
  int r;

  for (unsigned i = 0; i < update->nr_hw_queues; i++) {
    if (i >= disk_nr_hctxs (disk)) {
      r = disk_add_hctx (disk, i, tagset_pool (update->set, i), HCTX_DROPPED);
      if (r < 0)
        return r;
    }
    r = timer_heap_reserve (&disk_hctx (disk, i)->heap,
                            hctx_nr_timers (update->queue_depth));
    if (r < 0)
      return r;
  }
  return 0;
}

static int
init_driver_locked (struct update *update, struct blkmq_disk *disk,
                    struct blkmq_error *error)
{
  for (unsigned i = update->old_nr_hw_queues; i < update->nr_hw_queues; i++) {
    int r = hctx_init_driver (disk_hctx (disk, i));

    if (r < 0)
      return error_set (error, r, "submit_queues=%u: setting up hctx %u: %s",
                        update->nr_hw_queues, i, strerror (-r));
  }
  return 0;
}

static int
prepare_locked (struct update *update, struct blkmq_error *error)
{
  int r = check_bounds (update, error);

  if (r < 0)
    return r;
  update->old_nr_hw_queues = update->set->nr_hw_queues;
  r = collect_disks_locked (update);
  if (r == 0)
    r = make_pools_locked (update);
  for (unsigned i = 0; i < update->nr_disks && r == 0; i++)
    r = make_hctxs_locked (update, update->disks[i]);
  if (r < 0)
    return error_set (error, r, "submit_queues=%u hw_queue_depth=%u: %s",
                      update->nr_hw_queues, update->queue_depth, strerror (-r));
  for (unsigned i = 0; i < update->nr_disks && r == 0; i++)
    r = init_driver_locked (update, update->disks[i], error);
  return r;
}

static void
roll_back_locked (struct update *update)
{
  for (unsigned d = 0; d < update->nr_disks; d++) {
    struct blkmq_disk *disk = update->disks[d];

    for (unsigned i = update->old_nr_hw_queues; i < disk_nr_hctxs (disk); i++)
      forget (disk_hctx (disk, i));
  }
  for (unsigned i = 0; i < update->nr_pools; i++)
    pool_free (update->pools[i]);
}

/* ---- commit: what cannot ---- */

/* All hctxs of the set have the set's pools, dropped ones and those of disks
 * that are on their way out as well. */
static void
install_pools_locked (struct update *update)
{
  struct blkmq_tag_set *set = update->set;

  for (unsigned i = 0; i < update->nr_pools; i++)
    tagset_replace_locked (set, i, update->pools[i]);
  for (struct blkmq_disk *d = set->disks; d != NULL; d = d->set_next) {
    for (unsigned i = 0; i < disk_nr_hctxs (d); i++) {
      struct blkmq_hctx *h = disk_hctx (d, i);

      if (hctx_pool (h) == tagset_pool (set, i))
        continue;
      atomic_store (&h->active, false); /* it was in the old one's count */
      atomic_store (&h->pool, tagset_pool (set, i));
    }
  }
}

static void
use_hctxs (struct update *update, struct blkmq_disk *disk)
{
  pthread_mutex_lock (&disk->control_lock);
  atomic_store (&disk->nr_hw_queues, update->nr_hw_queues);
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++) {
    if (i < update->nr_hw_queues)
      atomic_fetch_and (&disk_hctx (disk, i)->flags, ~HCTX_DROPPED);
    else
      atomic_fetch_or (&disk_hctx (disk, i)->flags, HCTX_DROPPED);
  }
  if (update->nr_hw_queues != update->old_nr_hw_queues) {
    for (struct blkmq_submitter *s = disk->submitters; s != NULL; s = s->next)
      submitter_bind_locked (s);
  }
  pthread_mutex_unlock (&disk->control_lock);
}

/* After those who were on them have left. */
static void
leave_dropped (struct blkmq_disk *disk)
{
  for (unsigned i = disk->nr_hw_queues; i < disk_nr_hctxs (disk); i++) {
    wait_move (disk_hctx (disk, i));
    forget (disk_hctx (disk, i));
  }
}

static void
commit_locked (struct update *update)
{
  struct blkmq_tag_set *set = update->set;
  struct thread_slot *slot = engine_enter ();

  install_pools_locked (update);
  set->nr_hw_queues = update->nr_hw_queues;
  atomic_store (&set->queue_depth, update->queue_depth);
  for (unsigned i = 0; i < update->nr_disks; i++)
    use_hctxs (update, update->disks[i]);

  /* Who had looked at the old state before it was frozen. */
  for (struct blkmq_disk *d = set->disks; d != NULL; d = d->set_next) {
    for (unsigned i = 0; i < disk_nr_hctxs (d); i++)
      hctx_wait_gone (disk_hctx (d, i));
  }
  for (unsigned i = 0; i < update->nr_disks; i++)
    leave_dropped (update->disks[i]);
  tagset_reap_locked (set);
  engine_leave (slot);
}

/* ---- the whole ---- */

int
blkmq_update_queues (struct blkmq_disk *disk, unsigned nr_hw_queues,
                     unsigned queue_depth, struct blkmq_error *error)
{
  struct blkmq_tag_set *set = disk->set;
  struct update update = { .set = set };
  int r;

  if (thread_must_not_block (thread_self ()))
    return error_set (error, -EDEADLK,
                      "a live update cannot be made from a callback");
  pthread_mutex_lock (&set->update_lock);
  pthread_mutex_lock (&set->lock);
  update.nr_hw_queues = nr_hw_queues != 0 ? nr_hw_queues : set->nr_hw_queues;
  update.queue_depth = queue_depth != 0 ? queue_depth : set->queue_depth;
  r = prepare_locked (&update, error);
  if (r < 0)
    roll_back_locked (&update);
  pthread_mutex_unlock (&set->lock);

  if (r == 0) {
    for (unsigned i = 0; i < update.nr_disks; i++)
      update.frozen[i] = blkmq_freeze (update.disks[i], NULL, 0) >= 0;
    pthread_mutex_lock (&set->lock);
    commit_locked (&update);
    pthread_mutex_unlock (&set->lock);
    for (unsigned i = 0; i < update.nr_disks; i++) {
      if (update.frozen[i])
        blkmq_unfreeze (update.disks[i]);
    }
  }
  pthread_mutex_unlock (&set->update_lock);

  /* May be the last references. */
  for (unsigned i = 0; i < update.nr_disks; i++)
    blkmq_disk_put (update.disks[i]);
  free (update.disks);
  free (update.frozen);
  free (update.pools);
  return r;
}
