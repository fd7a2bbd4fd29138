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

#include "engine/config.h"
#include "engine/elevator.h"
#include "engine/enter.h"
#include "engine/flush.h"
#include "engine/queue.h"
#include "engine/update.h"
#include "engine/yield.h"

/* ---- commit: what cannot ---- */

/* Whatever is replaced is retired first, so that it is known where the new ones
 * begin. */
static void
retire_pools_locked (struct update *update)
{
  struct blkmq_tag_set *set = update->set;

  for (unsigned i = 0; i < update->nr_pools; i++) {
    if (update->pools[i] != NULL)
      tagset_retire_locked (set, set->pools[i]);
  }
  for (unsigned d = 0; d < update->nr_disks; d++) {
    struct update_disk *ud = &update->disks[d];

    for (unsigned i = 0; ud->frozen && i < update->nr_hw_queues; i++) {
      struct request_pool *pool = hctx_pool (disk_hctx (ud->disk, i));

      if (pool->sched != NULL
          && !update_has_scheduler (disk_hctx (ud->disk, i), update, ud))
        tagset_retire_locked (set, pool);
    }
  }
}

static void
install_hctx_locked (struct blkmq_hctx *h, struct request_pool *tags,
                     struct request_pool *pool)
{
  if (hctx_tag_pool (h) != tags) {
    pthread_mutex_lock (&h->set->users_lock);
    share_leave_locked (h);
    atomic_store (&h->tag_pool, tags);
    pthread_mutex_unlock (&h->set->users_lock);
  }
  if (hctx_pool (h) != pool)
    atomic_store (&h->pool, pool);
}

/* Hctxs that are not in use, and those of disks that are on their way out, get
 * the set's pools as well: the old ones go. */
static void
install_others_locked (struct update *update)
{
  struct blkmq_tag_set *set = update->set;

  for (struct blkmq_disk *d = set->disks; d != NULL; d = d->set_next) {
    for (unsigned i = 0; i < disk_nr_hctxs (d); i++) {
      struct blkmq_hctx *h = disk_hctx (d, i);
      struct request_pool *tags = tagset_pool (set, i);

      if (hctx_tag_pool (h) != tags)
        install_hctx_locked (
            h, tags, hctx_pool (h)->sched != NULL ? hctx_pool (h) : tags);
    }
  }
}

static void
install_pools_locked (struct update *update)
{
  struct blkmq_tag_set *set = update->set;

  atomic_fetch_add (&set->count_moves, 1);
  retire_pools_locked (update);
  for (unsigned i = 0; i < update->nr_pools; i++) {
    if (update->pools[i] != NULL) {
      tagset_begin_locked (set, update->pools[i]);
      set->pools[i] = update->pools[i];
    }
  }
  for (unsigned d = 0; d < update->nr_disks; d++) {
    struct update_disk *ud = &update->disks[d];

    /* Removed meanwhile: its requests may be waiting in its schedulers, and the
     * removal looks for them there. */
    if (!ud->frozen) {
      for (unsigned i = 0; i < update->nr_hw_queues; i++)
        pool_free (ud->pools[i]);
      continue;
    }
    for (unsigned i = 0; i < update->nr_hw_queues; i++) {
      struct blkmq_hctx *h = disk_hctx (ud->disk, i);
      struct request_pool *pool = ud->pools[i];

      if (pool != NULL)
        tagset_begin_locked (set, pool);
      else if (update_has_scheduler (h, update, ud))
        pool = hctx_pool (h);
      else
        pool = tagset_pool (set, i);
      install_hctx_locked (h, tagset_pool (set, i), pool);
    }
    ud->disk->sched_ops = ud->sched_ops;
    ud->disk->hctx_options.sched = ud->options->sched;
    ud->disk->hctx_options.nr_requests = ud->options->nr_requests;
  }
  install_others_locked (update);
  atomic_fetch_add (&set->count_moves, 1);
}

/* Of the hctxs in use those that are polled from now on, or the others. */
static void
set_types (struct blkmq_disk *disk, bool polled)
{
  for (unsigned i = 0; i < disk->nr_hw_queues; i++) {
    enum blkmq_hctx_type type = map_type (&disk->maps, i);

    if ((type == BLKMQ_HCTX_TYPE_POLL) == polled)
      hctx_set_type (disk_hctx (disk, i), type);
  }
}

static void
use_hctxs (struct update *update, const struct update_disk *ud)
{
  struct blkmq_disk *disk = ud->disk;
  const struct queue_maps *maps = &ud->maps;
  bool is_new = memcmp (&disk->maps, maps, sizeof *maps) != 0;

  pthread_mutex_lock (&disk->control_lock);
  atomic_store (&disk->nr_hw_queues, update->nr_hw_queues);
  disk->maps = *maps;
  for (unsigned i = 0; i < update->nr_hw_queues; i++)
    atomic_fetch_and (&disk_hctx (disk, i)->flags, ~HCTX_DROPPED);
  set_types (disk, false);
  if (is_new) {
    for (struct blkmq_submitter *s = disk->submitters; s != NULL; s = s->next)
      submitter_bind_locked (s);
    flush_rebind (disk);
  }
  /* After the submitters have left: who finds it dropped, or polled, asks where
   * his is. */
  set_types (disk, true);
  for (unsigned i = update->nr_hw_queues; i < disk_nr_hctxs (disk); i++)
    atomic_fetch_or (&disk_hctx (disk, i)->flags, HCTX_DROPPED);
  pthread_mutex_unlock (&disk->control_lock);
}

/* What is still held in a retired pool is not of the share of the new one, or
 * an hctx whose driver is stuck could never take a tag again. */
static int
leave_share_if_retired (struct request *r, void *opaque)
{
  struct blkmq_hctx *h = opaque;
  struct request_pool *tags = r->pool;

  if (r->driver_tag != NO_TAG) {
    tags = r->driver_pool;
    r = pool_request (tags, (unsigned)r->driver_tag);
  }
  if (tags != hctx_tag_pool (h))
    share_put (h, r);
  return 0;
}

/* After those who were on them have left: what waits on an hctx that is not in
 * use any more, or is polled by now, goes where it belongs. */
static void
leave_dropped (struct blkmq_disk *disk)
{
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++) {
    struct blkmq_hctx *h = disk_hctx (disk, i);

    if (i >= disk->nr_hw_queues) {
      wait_move (h);
      update_forget (h);
    } else if (hctx_is_polled (h))
      wait_move (h);
  }
}

static void
commit_locked (struct update *update)
{
  struct blkmq_tag_set *set = update->set;

  yield_point ("install");
  install_pools_locked (update);
  yield_point ("installed");
  set->nr_hw_queues = update->nr_hw_queues;
  atomic_store (&set->nr_poll_queues, update->nr_poll_queues);
  atomic_store (&set->queue_depth, update->queue_depth);
  for (unsigned i = 0; i < update->nr_disks; i++)
    use_hctxs (update, &update->disks[i]);
  yield_point ("in use");

  /* Who had looked at the old state before it was frozen. */
  for (struct blkmq_disk *d = set->disks; d != NULL; d = d->set_next) {
    for (unsigned i = 0; i < disk_nr_hctxs (d); i++) {
      struct blkmq_hctx *h = disk_hctx (d, i);

      hctx_wait_gone (h);
      pthread_mutex_lock (&h->lock);
      elevator_removed_locked (h);
      pthread_mutex_unlock (&h->lock);
      if (hctx_tag_pool (h)->is_shared)
        hctx_for_each (h, leave_share_if_retired, h);
    }
  }
  for (unsigned i = 0; i < update->nr_disks; i++)
    leave_dropped (update->disks[i].disk);
  tagset_reap_locked (set);
}

/* The disks are frozen meanwhile, but for those that were removed since they
 * were collected; there wait until no request starts any more. */
static int
freeze_and_commit (struct update *update, struct blkmq_disk *disk,
                   const struct update_wanted *wanted,
                   struct blkmq_error *error)
{
  struct thread_slot *slot;
  int r = 0;

  for (unsigned i = 0; i < update->nr_disks; i++) {
    struct update_disk *ud = &update->disks[i];

    ud->frozen = blkmq_freeze (ud->disk, NULL, 0) >= 0;
    for (unsigned n = 0; n < disk_nr_hctxs (ud->disk) && !ud->frozen; n++)
      thread_wait_dispatching (disk_hctx (ud->disk, n));
  }
  if (wanted->frozen != NULL)
    r = wanted->frozen (disk, wanted->opaque, error);
  slot = engine_enter ();
  pthread_mutex_lock (&update->set->lock);
  if (r == 0)
    commit_locked (update);
  else
    update_roll_back_locked (update);
  pthread_mutex_unlock (&update->set->lock);
  engine_leave (slot); /* not under the lock: this calls out */
  return r;
}

/* ---- the whole ---- */

static void
update_free (struct update *update)
{
  for (unsigned i = 0; i < update->nr_disks; i++) {
    free (update->disks[i].pools);
    if (update->disks[i].frozen)
      blkmq_unfreeze (update->disks[i].disk);
    blkmq_disk_put (update->disks[i].disk); /* maybe the last reference */
  }
  free (update->disks);
  free (update->pools);
}

static void
set_wanted_locked (struct update *update, const struct blkmq_disk *disk,
                   const struct blkmq_queues *queues)
{
  struct blkmq_queues present;

  if (queues == NULL) {
    blkmq_disk_queues (disk, &present);
    queues = &present;
  }
  update->submit_queues = queues->submit_queues;
  update->nr_poll_queues = queues->poll_queues;
  update->nr_hw_queues = queues->submit_queues + queues->poll_queues;
  update->queue_depth = queues->hw_queue_depth;
}

int
disk_update (struct blkmq_disk *disk, const struct update_wanted *wanted,
             struct blkmq_error *error)
{
  struct blkmq_tag_set *set = disk->set;
  struct update update = { .set = set };
  int r;

  if (thread_must_not_block (thread_self ()))
    return error_set (error, -EDEADLK,
                      "a live update cannot be made from a callback");
  if (update_is_removed (disk))
    return error_set (error, -ENODEV, "the disk was removed");
  pthread_mutex_lock (&set->update_lock);
  pthread_mutex_lock (&set->lock);
  set_wanted_locked (&update, disk, wanted->queues);
  r = update_prepare_locked (&update, disk, wanted, error);
  if (r < 0)
    update_roll_back_locked (&update);
  pthread_mutex_unlock (&set->lock);

  if (r == 0)
    r = freeze_and_commit (&update, disk, wanted, error);
  pthread_mutex_unlock (&set->update_lock);
  update_free (&update);
  return r;
}

int
blkmq_update_queues (struct blkmq_disk *disk, const struct blkmq_queues *queues,
                     struct blkmq_error *error)
{
  struct update_wanted wanted = { .queues = queues };

  return disk_update (disk, &wanted, error);
}

int
blkmq_disk_set_scheduler (struct blkmq_disk *disk, const char *name,
                          struct blkmq_error *error)
{
  struct update_wanted wanted = { .sched_ops = sched_find (name) };
  struct text text;

  if (wanted.sched_ops == NULL) {
    text = text_begin_error (error);
    text_add (&text, "scheduler=");
    text_add_value (&text, name);
    text_add (&text, ": must be one of");
    for (unsigned i = 0; sched_names[i] != NULL; i++)
      text_add (&text, "%s %s", i > 0 ? "," : "", sched_names[i]);
    return -EINVAL;
  }
  return disk_update (disk, &wanted, error);
}

const char *
blkmq_disk_scheduler (const struct blkmq_disk *disk)
{
  return disk->sched_ops->name;
}
