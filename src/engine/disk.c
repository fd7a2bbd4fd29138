/* SPDX-License-Identifier: BSD-3-Clause
 *
 * disk.c: the life of a disk: start, removal, references, and what it is.  It
 * is built in disk-setup.c.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/disk.h"
#include "engine/elevator.h"
#include "engine/flush.h"
#include "engine/freeze.h"
#include "engine/power.h"
#include "engine/thread.h"

int
error_set (struct blkmq_error *error, int r, const char *fmt, ...)
{
  va_list args;

  if (error != NULL) {
    va_start (args, fmt);
    vsnprintf (error->message, sizeof error->message, fmt, args);
    va_end (args);
  }
  return r;
}

/* ---- start, remove, references ---- */

int
blkmq_disk_start (struct blkmq_disk *disk, struct blkmq_error *error)
{
  unsigned i, nr;
  int r = 0;

  pthread_mutex_lock (&disk->control_lock);
  assert (!disk->started && !disk->removed);
  /* Those that an update has dropped as well: they may come back. */
  nr = disk_nr_hctxs (disk);
  for (i = 0; i < nr; i++) {
    r = loop_start (disk_hctx (disk, i)->loop);
    if (r < 0)
      break;
  }
  if (r < 0)
    error_set (error, r, "starting the thread of hctx %u of %u: %s", i, nr,
               strerror (-r));
  else if (disk->inner != NULL)
    r = blkmq_disk_start (disk->inner, error);
  if (r < 0) {
    while (i-- > 0)
      loop_stop (disk_hctx (disk, i)->loop);
  } else
    disk->started = true;
  pthread_mutex_unlock (&disk->control_lock);
  if (r == 0 && blkmq_config_number (disk->config, "power") == 0)
    power_start_off (disk);
  return r;
}

void
blkmq_disk_remove (struct blkmq_disk *disk)
{
  bool remove;

  pthread_mutex_lock (&disk->control_lock);
  remove = disk->started && !disk->removed;
  if (remove) {
    disk->removed = true;
    /* In one with that: who finds the disk removed relies on the flag. */
    freeze_set_removed_locked (disk);
  }
  pthread_mutex_unlock (&disk->control_lock);
  if (!remove)
    return;
  /* A callback would wait for its own end. */
  assert (thread_self ()->depth == 0);
  freeze_remove (disk);
}

void
blkmq_disk_get (struct blkmq_disk *disk)
{
  atomic_fetch_add_explicit (&disk->refs, 1, memory_order_relaxed);
}

bool
disk_try_get (struct blkmq_disk *disk)
{
  unsigned refs = atomic_load (&disk->refs);

  while (refs > 0) {
    if (atomic_compare_exchange_weak (&disk->refs, &refs, refs + 1))
      return true;
  }
  return false;
}

void
disk_free (struct blkmq_disk *disk)
{
  if (disk->set != NULL) {
    /* No sooner: until now references held some of them. */
    tagset_reap_disk (disk->set, disk);
    tagset_del_disk (disk->set, disk);
  }
  while (disk->nr_hctxs > 0) {
    struct blkmq_hctx *h = disk->hctxs[--disk->nr_hctxs];

    hctx_exit (h);
    if (hctx_pool (h) != hctx_tag_pool (h))
      pool_free (hctx_pool (h));
    free (h);
  }
  tagset_put (disk->set);
  flush_free (disk);
  if (disk->stack != NULL)
    stack_close (disk->stack);
  blkmq_disk_put (disk->inner);
  stack_free (disk->stack);
  pthread_cond_destroy (&disk->drained);
  pthread_mutex_destroy (&disk->drain_lock);
  pthread_mutex_destroy (&disk->control_lock);
  pthread_mutex_destroy (&disk->stats_lock);
  pthread_mutex_destroy (&disk->level_lock);
  pthread_mutex_destroy (&disk->change_lock);
  blkmq_config_free (disk->config);
  free (disk);
}

void
blkmq_disk_put (struct blkmq_disk *disk)
{
  if (disk == NULL
      || atomic_fetch_sub_explicit (&disk->refs, 1, memory_order_acq_rel) > 1)
    return;
  blkmq_disk_remove (disk);
  disk_free (disk);
}

/* ---- what it is ---- */

const struct blkmq_limits *
blkmq_disk_limits (const struct blkmq_disk *disk)
{
  return &disk->limits;
}

unsigned
blkmq_disk_nr_hw_queues (const struct blkmq_disk *disk)
{
  return disk->nr_hw_queues;
}

enum blkmq_hctx_type
blkmq_disk_hctx_type (const struct blkmq_disk *disk, unsigned index)
{
  assert (index < disk_nr_hctxs (disk));
  return blkmq_hctx_type (disk_hctx (disk, index));
}

void
blkmq_disk_queues (const struct blkmq_disk *disk, struct blkmq_queues *queues)
{
  queues->poll_queues = disk->set->nr_poll_queues;
  queues->submit_queues = disk->nr_hw_queues - queues->poll_queues;
  queues->hw_queue_depth = disk->set->queue_depth;
}

unsigned
blkmq_disk_queue_depth (const struct blkmq_disk *disk)
{
  return disk->set->queue_depth;
}

uint64_t
blkmq_disk_seed (const struct blkmq_disk *disk)
{
  return disk->seed;
}

const char *
blkmq_disk_driver_name (const struct blkmq_disk *disk)
{
  return stack_driver (disk->stack)->name;
}

int
blkmq_disk_extents (struct blkmq_disk *disk, uint64_t offset_bytes,
                    uint64_t bytes,
                    int (*fn) (uint64_t offset_bytes, uint64_t bytes,
                               unsigned type, void *opaque),
                    void *opaque)
{
  uint64_t size = disk->limits.size_bytes;

  if (bytes == 0 || offset_bytes > size || bytes > size - offset_bytes)
    return -EINVAL;
  if (disk->driver->extents == NULL)
    return fn (offset_bytes, bytes, 0, opaque);
  return disk->driver->extents (disk->driver_data, offset_bytes, bytes, fn,
                                opaque);
}

/* ---- tests ---- */

/* True if there was something to do. */
static bool
turn_once (struct blkmq_disk *disk)
{
  bool again = false;

  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++)
    again |= loop_turn (disk_hctx (disk, i)->loop);
  if (disk->inner != NULL)
    again |= turn_once (disk->inner);
  return again;
}

void
disk_turn (struct blkmq_disk *disk)
{
  while (turn_once (disk))
    ;
}
