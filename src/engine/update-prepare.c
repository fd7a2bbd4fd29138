/* SPDX-License-Identifier: BSD-3-Clause
 *
 * update-prepare.c: the part of an update that can fail: pools, hctxs,
 * schedulers, the driver's init_hctx.  Whoever updates, with the set's locks.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/config.h"
#include "engine/elevator.h"
#include "engine/update.h"

#define MAX_QUEUE_DEPTH 10240

/* ---- hctxs that are not in use ---- */

static int
one_is_enough (struct request *r, void *opaque)
{
  return 1;
}

/* The driver may forget H, unless it still has requests of it. */
void
update_forget (struct blkmq_hctx *h)
{
  if (hctx_for_each (h, one_is_enough, NULL) == 0)
    hctx_exit_driver (h);
}

/* ---- prepare: what can fail ---- */

static int
check_bounds (const struct update *update, struct blkmq_error *error)
{
  unsigned least = update->set->nr_reserved + 1;

  if (update->submit_queues < 1 || update->submit_queues > MAX_HW_QUEUES)
    return error_set (error, -EINVAL,
                      "submit_queues=%u: must be a whole number from 1 to %d",
                      update->submit_queues, MAX_HW_QUEUES);
  if (update->queue_depth < least || update->queue_depth > MAX_QUEUE_DEPTH)
    return error_set (error, -EINVAL,
                      "hw_queue_depth=%u: must be a whole number from %u to %d",
                      update->queue_depth, least, MAX_QUEUE_DEPTH);
  return map_check_counts (update->set->driver, update->submit_queues,
                           update->nr_poll_queues, error);
}

bool
update_is_removed (struct blkmq_disk *disk)
{
  bool removed;

  pthread_mutex_lock (&disk->control_lock);
  removed = disk->removed;
  pthread_mutex_unlock (&disk->control_lock);
  return removed;
}

/* The disks of the set but for those that are on their way out. */
static int
collect_disks_locked (struct update *update)
{
  unsigned nr = 0;

  for (struct blkmq_disk *d = update->set->disks; d != NULL; d = d->set_next)
    nr++;
  update->disks = calloc (nr + 1, sizeof update->disks[0]);
  if (update->disks == NULL)
    return -ENOMEM;
  for (struct blkmq_disk *d = update->set->disks; d != NULL; d = d->set_next) {
    struct update_disk *ud = &update->disks[update->nr_disks];

    if (update_is_removed (d) || !disk_try_get (d))
      continue;
    update->nr_disks++;
    ud->disk = d;
    ud->sched_ops = d->sched_ops;
    ud->options = &d->hctx_options;
    ud->pools = calloc (update->nr_hw_queues, sizeof ud->pools[0]);
    if (ud->pools == NULL)
      return -ENOMEM;
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
    pool = tagset_make_pool (set, i, update->queue_depth, &err);
    if (pool == NULL)
      return err;
    if (old != NULL) {
      update->pools[i] = pool;
      continue;
    }
    /* Nobody uses it before there is an hctx; it may as well stay. */
    tagset_begin_locked (set, pool);
    set->pools[i] = pool;
    set->nr_pools = i + 1;
  }
  return 0;
}

/* Has H the scheduler that is wanted, and one for that depth? */
bool
update_has_scheduler (struct blkmq_hctx *h, const struct update *update,
                      const struct update_disk *ud)
{
  struct request_pool *pool = hctx_pool (h);

  return pool->sched != NULL && pool->sched->ops == ud->sched_ops
         && !ud->has_new_options && pool->first_tag == update->queue_depth;
}

static int
make_schedulers_locked (struct update *update, struct update_disk *ud,
                        struct blkmq_error *error)
{
  const struct hctx_options *options = ud->options;
  int err;

  if (ud->sched_ops->alloc == NULL)
    return 0;
  if (!elevator_fits (update->queue_depth, options->nr_requests))
    return error_set (error, -EINVAL,
                      "hw_queue_depth=%u: contradicts scheduler=%s with "
                      "nr_requests=%u, which must be 0 (twice the depth) or "
                      "more than that, and both together at most %u",
                      update->queue_depth, ud->sched_ops->name,
                      options->nr_requests, ELEVATOR_MAX_NAMES);
  for (unsigned i = 0; i < update->nr_hw_queues; i++) {
    if (update_has_scheduler (disk_hctx (ud->disk, i), update, ud))
      continue;
    ud->pools[i] = elevator_make_pool (ud->disk, i, ud->sched_ops, options,
                                       update->queue_depth, &err);
    if (ud->pools[i] == NULL)
      return error_set (error, err, "scheduler=%s: hctx %u: %s",
                        ud->sched_ops->name, i, strerror (-err));
  }
  return 0;
}

/* New hctxs are not in use: marked so before anybody can see them. */
static int
make_hctxs_locked (struct update *update, const struct update_disk *ud)
{
  struct blkmq_disk *disk = ud->disk;
  unsigned nr_timers = hctx_nr_timers (
      update->queue_depth
      + elevator_nr_requests (ud->options, update->queue_depth));
  int r;

  for (unsigned i = 0; i < update->nr_hw_queues; i++) {
    if (i >= disk_nr_hctxs (disk)) {
      r = disk_add_hctx (disk, i, tagset_pool (update->set, i), HCTX_DROPPED);
      if (r < 0)
        return r;
    }
    r = timer_heap_reserve (&disk_hctx (disk, i)->heap, nr_timers);
    if (r < 0)
      return r;
  }
  return 0;
}

static int
init_driver_locked (struct update *update, struct blkmq_disk *disk,
                    struct blkmq_error *error)
{
  struct text text;

  for (unsigned i = update->old_nr_hw_queues; i < update->nr_hw_queues; i++) {
    int r = hctx_init_driver (disk_hctx (disk, i));

    if (r < 0) {
      text = text_begin_error (error);
      text_add (&text, "submit_queues=%u poll_queues=%u: setting up hctx %u: ",
                update->submit_queues, update->nr_poll_queues, i);
      return stack_hctx_error (disk->stack, r, &text);
    }
  }
  return 0;
}

static int
make_maps (struct update *update, struct blkmq_error *error)
{
  int r = 0;

  for (unsigned i = 0; i < update->nr_disks && r == 0; i++) {
    struct update_disk *ud = &update->disks[i];

    r = map_queues (update->set->driver, ud->disk->driver_data,
                    update->nr_hw_queues, update->nr_poll_queues, &ud->maps,
                    error);
  }
  return r;
}

int
update_prepare_locked (struct update *update, const struct blkmq_disk *disk,
                       const struct update_wanted *wanted,
                       struct blkmq_error *error)
{
  int r = check_bounds (update, error);

  if (r < 0)
    return r;
  update->old_nr_hw_queues = update->set->nr_hw_queues;
  r = collect_disks_locked (update);
  for (unsigned i = 0; i < update->nr_disks; i++) {
    struct update_disk *ud = &update->disks[i];

    if (ud->disk != disk)
      continue;
    if (wanted->sched_ops != NULL)
      ud->sched_ops = wanted->sched_ops;
    if (wanted->options != NULL) {
      ud->options = wanted->options;
      ud->has_new_options = true;
    }
  }
  if (r == 0)
    r = make_pools_locked (update);
  for (unsigned i = 0; i < update->nr_disks && r == 0; i++)
    r = make_hctxs_locked (update, &update->disks[i]);
  if (r < 0)
    return error_set (error, r,
                      "submit_queues=%u poll_queues=%u hw_queue_depth=%u: %s",
                      update->submit_queues, update->nr_poll_queues,
                      update->queue_depth, strerror (-r));
  r = make_maps (update, error);
  for (unsigned i = 0; i < update->nr_disks && r == 0; i++)
    r = make_schedulers_locked (update, &update->disks[i], error);
  for (unsigned i = 0; i < update->nr_disks && r == 0; i++)
    r = init_driver_locked (update, update->disks[i].disk, error);
  return r;
}

void
update_roll_back_locked (struct update *update)
{
  for (unsigned d = 0; d < update->nr_disks; d++) {
    struct update_disk *ud = &update->disks[d];

    for (unsigned i = 0; i < update->nr_hw_queues; i++)
      pool_free (ud->pools != NULL ? ud->pools[i] : NULL);
    for (unsigned i = update->old_nr_hw_queues; i < disk_nr_hctxs (ud->disk);
         i++)
      update_forget (disk_hctx (ud->disk, i));
  }
  for (unsigned i = 0; update->pools != NULL && i < update->nr_pools; i++)
    pool_free (update->pools[i]);
}
