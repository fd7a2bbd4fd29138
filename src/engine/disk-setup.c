/* SPDX-License-Identifier: BSD-3-Clause
 *
 * disk-setup.c: builds a disk from a configuration: stack, tag set, hctxs.  The
 * thread that allocates; an update adds hctxs later.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "engine/config.h"
#include "engine/disk.h"
#include "engine/elevator.h"
#include "engine/fault-rules.h"
#include "engine/flush.h"
#include "engine/inner.h"

/* A page, as null_blk's. */
#define VIRT_BOUNDARY_BYTES 4096u

static void
set_limits (struct blkmq_limits *limits, const struct blkmq_config *config)
{
  uint64_t max_sectors = blkmq_config_number (config, "max_sectors");

  limits->size_bytes = blkmq_config_number (config, "size");
  limits->logical_block_bytes
      = (uint32_t)blkmq_config_number (config, "blocksize");
  /* No limit of the user's: as much as an NBD request can carry. */
  limits->max_transfer_bytes
      = max_sectors != 0 ? (uint32_t)(max_sectors * 512) : UINT32_C (1) << 31;
  limits->max_segments = UINT32_MAX;
  if (blkmq_config_number (config, "virt_boundary"))
    limits->virt_boundary_mask = VIRT_BOUNDARY_BYTES - 1;
  limits->rotational = blkmq_config_number (config, "rotational");
  limits->read_only = blkmq_config_number (config, "readonly");
}

static int
draw_seed (struct blkmq_disk *disk, const struct blkmq_config *config,
           const struct blkmq_disk *outer)
{
  if (outer != NULL)
    disk->seed = outer->seed;
  else if (blkmq_config_is_set (config, "seed"))
    disk->seed = blkmq_config_number (config, "seed");
  else if (getrandom (&disk->seed, sizeof disk->seed, 0) != sizeof disk->seed)
    return -EIO;
  return 0;
}

static void
set_up_hctx (struct blkmq_disk *disk, struct blkmq_hctx *h, unsigned index,
             struct request_pool *tags)
{
  h->disk = disk;
  h->set = disk->set;
  h->index = index;
  h->driver = disk->driver;
  h->driver_data = disk->driver_data;
  h->clock = disk->clock;
  atomic_init (&h->tag_pool, tags);
  atomic_init (&h->pool, tags);
}

int
disk_add_hctx (struct blkmq_disk *disk, unsigned index,
               struct request_pool *tags, unsigned flags)
{
  struct blkmq_hctx *h = aligned_alloc (alignof (struct blkmq_hctx), sizeof *h);
  int r;

  assert (index == disk->nr_hctxs);
  if (h == NULL)
    return -ENOMEM;
  memset (h, 0, sizeof *h);
  set_up_hctx (disk, h, index, tags);
  if (disk->sched_ops->alloc != NULL) {
    struct request_pool *pool = elevator_make_pool (
        disk, index, disk->sched_ops, &disk->hctx_options, tags->depth, &r);

    if (pool == NULL)
      goto free_hctx;
    atomic_init (&h->pool, pool);
  }
  r = hctx_init (h, disk->manual_loops ? LOOP_MANUAL : LOOP_OWN,
                 &disk->hctx_options);
  if (r < 0)
    goto free_pool;
  if (!(flags & HCTX_DROPPED)) {
    r = hctx_init_driver (h);
    if (r < 0)
      goto exit_hctx;
  }

  /* Freeze, quiesce and removal set their flags on what is there under this
   * lock; what comes later is to have them as well. */
  pthread_mutex_lock (&disk->control_lock);
  if (disk->is_blocking)
    flags |= HCTX_BLOCKING;
  if (disk->freeze_depth > 0)
    flags |= HCTX_FROZEN;
  if (disk->quiesce_depth > 0)
    flags |= HCTX_QUIESCED;
  if (disk->is_off)
    flags |= HCTX_OFF;
  if (disk->removed)
    flags |= HCTX_REMOVED;
  else if (disk->started)
    r = loop_start (h->loop);
  if (r == 0) {
    atomic_init (&h->flags, flags);
    hctx_set_type (h, map_type (&disk->maps, index));
    disk->hctxs[index] = h;
    atomic_store_explicit (&disk->nr_hctxs, index + 1, memory_order_release);
  }
  pthread_mutex_unlock (&disk->control_lock);
  if (r < 0)
    goto exit_hctx;
  return 0;

exit_hctx:
  hctx_exit (h);
free_pool:
  if (hctx_pool (h) != tags)
    pool_free (hctx_pool (h));
free_hctx:
  free (h);
  return r;
}

/* What the outer disk does already. */
void
disk_inner_options (struct hctx_options *options)
{
  options->irqmode = IRQMODE_NONE;
  options->spin_ns = 0;
  options->merges = false;
  options->iostats = false;
}

void
disk_read_options (struct hctx_options *options,
                   const struct blkmq_config *config)
{
  options->irqmode = (enum irqmode)blkmq_config_number (config, "irqmode");
  options->completion_ns = blkmq_config_number (config, "completion_nsec");
  options->io_timeout_ns = blkmq_config_number (config, "io_timeout") * 1000000;
  options->merges = blkmq_config_number (config, "nomerges") == 0;
  options->nr_requests = (unsigned)blkmq_config_number (config, "nr_requests");
  options->sched = (struct sched_options){
    .read_expire_ns = blkmq_config_number (config, "read_expire") * 1000000,
    .write_expire_ns = blkmq_config_number (config, "write_expire") * 1000000,
    .prio_aging_expire_ns
    = blkmq_config_number (config, "prio_aging_expire") * 1000000,
    .fifo_batch = (unsigned)blkmq_config_number (config, "fifo_batch"),
    .writes_starved = (unsigned)blkmq_config_number (config, "writes_starved"),
    .front_merges = blkmq_config_number (config, "front_merges") != 0,
  };
  options->spin_ns = blkmq_config_number (config, "spin_ns");
  options->iostats = blkmq_config_number (config, "iostats");
}

static void
set_tagset_options (struct tagset_options *options,
                    const struct blkmq_config *config)
{
  options->nr_poll_queues
      = (unsigned)blkmq_config_number (config, "poll_queues");
  options->nr_hw_queues
      = (unsigned)blkmq_config_number (config, "submit_queues")
        + options->nr_poll_queues;
  options->queue_depth
      = (unsigned)blkmq_config_number (config, "hw_queue_depth");
  options->shared_bitmap
      = blkmq_config_number (config, "shared_tag_bitmap") != 0;
  options->merges = blkmq_config_number (config, "nomerges") == 0;
}

static int
make_tag_set (struct blkmq_disk *disk, const struct blkmq_config *config,
              struct blkmq_error *error)
{
  struct tagset_options options = {
    .driver = disk->driver,
    .driver_data = disk->driver_data,
  };

  set_tagset_options (&options, config);
  return tagset_alloc (&options, &disk->set, error);
}

/* Disks of one set agree on what the set is. */
static int
check_agrees (const struct blkmq_config *config, const char *key,
              uint64_t wanted, struct blkmq_error *error)
{
  uint64_t value = blkmq_config_number (config, key);

  if (value == wanted)
    return 0;
  return error_set (error, -EINVAL,
                    "%s=%llu: contradicts the tag set, which has %llu", key,
                    (unsigned long long)value, (unsigned long long)wanted);
}

/* Returns with the set's update_lock held: it stays as it is until the disk is
 * in it. */
static int
join_tag_set (struct blkmq_disk *disk, struct blkmq_tag_set *set,
              const struct blkmq_config *config, struct blkmq_error *error)
{
  int r;

  if (!stack_is_alike (disk->stack, set->plan))
    return error_set (error, -EINVAL,
                      "driver=%s: contradicts the tag set, which has %s; all "
                      "disks of a set have the same driver and layers",
                      disk->driver->name, set->driver->name);
  pthread_mutex_lock (&set->update_lock);
  r = check_agrees (config, "submit_queues",
                    set->nr_hw_queues - set->nr_poll_queues, error);
  if (r == 0)
    r = check_agrees (config, "poll_queues", set->nr_poll_queues, error);
  if (r == 0)
    r = check_agrees (config, "hw_queue_depth", set->queue_depth, error);
  if (r == 0)
    r = check_agrees (config, "shared_tag_bitmap", set->shared_bitmap, error);
  if (r < 0) {
    pthread_mutex_unlock (&set->update_lock);
    return r;
  }
  tagset_get (set);
  disk->set = set;
  return 0;
}

static int
init_hctxs (struct blkmq_disk *disk, struct blkmq_error *error)
{
  unsigned nr = disk->set->nr_hw_queues;
  int r = map_queues (disk->driver, disk->driver_data, nr,
                      disk->set->nr_poll_queues, &disk->maps, error);

  struct text text;

  if (r < 0)
    return r;
  for (unsigned i = 0; i < nr; i++) {
    r = disk_add_hctx (disk, i, tagset_pool (disk->set, i), 0);
    if (r < 0) {
      text = text_begin_error (error);
      text_add (&text, "setting up hctx %u of %u: ", i, nr);
      return stack_hctx_error (disk->stack, r, &text);
    }
  }
  atomic_store (&disk->nr_hw_queues, nr);
  return 0;
}

static int
open_stack (struct blkmq_disk *disk, struct blkmq_config *config,
            const struct disk_options *options, struct blkmq_error *error)
{
  struct inner_opening opening = { disk, config, options };
  const struct inner_opening *outer;
  int r = stack_plan (config, options->outer != NULL, &disk->stack, error);

  if (r < 0)
    return r;
  set_limits (&disk->limits, config);
  outer = inner_set_opening (&opening);
  r = stack_open (disk->stack, config, disk->seed, &disk->limits, error);
  inner_set_opening (outer);
  if (r < 0)
    return r;
  disk->driver = stack_ops (disk->stack);
  disk->driver_data = stack_data (disk->stack);
  if (!blkmq_config_number (config, "discard"))
    disk->limits.max_discard_bytes = 0;
  /* Nothing to bypass. */
  disk->limits.fua = disk->limits.fua && disk->limits.volatile_cache;
  return 0;
}

int
disk_alloc (struct blkmq_config *config, const struct disk_options *options,
            struct blkmq_tag_set *set, struct blkmq_disk **result,
            struct blkmq_error *error)
{
  pthread_condattr_t attr;
  struct blkmq_disk *disk;
  int r;

  r = blkmq_config_check (config, error);
  if (r < 0)
    return r;
  disk = calloc (1, sizeof *disk);
  if (disk == NULL)
    return error_set (error, -ENOMEM, "no memory for a disk");
  pthread_mutex_init (&disk->change_lock, NULL);
  pthread_mutex_init (&disk->level_lock, NULL);
  pthread_mutex_init (&disk->stats_lock, NULL);
  pthread_mutex_init (&disk->control_lock, NULL);
  pthread_mutex_init (&disk->drain_lock, NULL);
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (&disk->drained, &attr);
  pthread_condattr_destroy (&attr);
  atomic_init (&disk->refs, 1);
  clock_init_real (&disk->own_clock);
  disk->clock = options->clock != NULL ? options->clock : &disk->own_clock;
  disk->manual_loops = options->manual_loops;
  disk->is_blocking = blkmq_config_number (config, "blocking");
  disk_read_options (&disk->hctx_options, config);
  disk->sched_ops = sched_table[blkmq_config_number (config, "scheduler")];
  if (options->outer != NULL) {
    disk_inner_options (&disk->hctx_options);
    disk->sched_ops = sched_find ("none");
  }

  disk->config = config_clone (config);
  if (disk->config == NULL) {
    r = error_set (error, -ENOMEM, "no memory for a disk");
    goto free_disk;
  }
  r = draw_seed (disk, config, options->outer);
  if (r < 0) {
    error_set (error, r, "no random number to be had for a seed");
    goto free_disk;
  }
  r = open_stack (disk, config, options, error);
  if (r < 0)
    goto free_disk;
  fault_number_first (disk);
  r = flush_alloc (disk);
  if (r < 0) {
    error_set (error, r, "no memory for a disk");
    goto free_disk;
  }
  r = set != NULL ? join_tag_set (disk, set, config, error)
                  : make_tag_set (disk, config, error);
  if (r < 0)
    goto free_disk;
  r = init_hctxs (disk, error);
  if (r < 0)
    goto leave_set;
  tagset_add_disk (disk->set, disk);
  if (set != NULL)
    pthread_mutex_unlock (&set->update_lock);
  *result = disk;
  return 0;

leave_set:
  if (set != NULL)
    pthread_mutex_unlock (&set->update_lock);
free_disk:
  disk_free (disk);
  return r;
}

int
blkmq_disk_alloc (struct blkmq_config *config, struct blkmq_disk **disk,
                  struct blkmq_error *error)
{
  static const struct disk_options defaults;

  return disk_alloc (config, &defaults, NULL, disk, error);
}

int
blkmq_tag_set_alloc (struct blkmq_config *config, struct blkmq_tag_set **set,
                     struct blkmq_error *error)
{
  struct tagset_options options = { .is_shared = true };
  int r = blkmq_config_check (config, error);

  if (r < 0)
    return r;
  r = stack_plan (config, false, &options.plan, error);
  if (r < 0)
    return r;
  options.driver = stack_ops (options.plan);
  set_tagset_options (&options, config);
  r = tagset_alloc (&options, set, error);
  if (r < 0)
    stack_free (options.plan);
  return r;
}

void
blkmq_tag_set_put (struct blkmq_tag_set *set)
{
  tagset_put (set);
}

int
blkmq_disk_alloc_in (struct blkmq_tag_set *set, struct blkmq_config *config,
                     struct blkmq_disk **disk, struct blkmq_error *error)
{
  static const struct disk_options defaults;

  return disk_alloc (config, &defaults, set, disk, error);
}

int
blkmq_disk_lend_loop (struct blkmq_disk *disk, unsigned index,
                      struct ev_loop *loop)
{
  int r;

  if (index >= disk->nr_hw_queues)
    return -EINVAL;
  if (disk->is_blocking)
    return -EOPNOTSUPP;
  pthread_mutex_lock (&disk->control_lock);
  r = disk->started ? -EBUSY : hctx_lend_loop (disk_hctx (disk, index), loop);
  pthread_mutex_unlock (&disk->control_lock);
  return r;
}
