/* SPDX-License-Identifier: BSD-3-Clause
 *
 * disk.h: a disk: configuration made real, its hctxs, its submitters, and the
 * state of freeze, quiesce and removal.
 */

#ifndef BLKMQ_ENGINE_DISK_H
#define BLKMQ_ENGINE_DISK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "blkmq-driver.h"
#include "engine/clock.h"
#include "engine/hctx.h"
#include "engine/map.h"
#include "engine/stack.h"
#include "engine/tagset.h"

struct blkmq_disk {
  const struct blkmq_driver *driver;
  void *driver_data;
  struct stack *stack; /* what the driver is, if there are layers */
  struct blkmq_limits limits;
  uint64_t seed;
  struct blkmq_tag_set *set;
  struct blkmq_disk *set_next; /* set->lock and users_lock to write */
  bool manual_loops;
  bool is_blocking; /* HCTX_BLOCKING */

  /* An hctx lives as long as the disk.  Of those that there are, the first
   * nr_hw_queues are in use; others were dropped by a live update. */
  _Atomic unsigned nr_hw_queues; /* set->lock to write */
  _Atomic unsigned nr_hctxs;     /* likewise; hctxs[] below it are fixed */
  struct blkmq_hctx *hctxs[MAX_HW_QUEUES];
  struct hctx_options hctx_options;
  _Atomic (const struct sched_ops *) sched_ops; /* set->update_lock to write */
  struct queue_maps maps;                       /* control_lock to write */
  struct clock own_clock;
  struct clock *clock;
  struct flush_queue *flush; /* NULL: no volatile cache */
  struct blkmq_disk *inner;  /* below the bottom of the stack; or NULL */

  _Atomic unsigned refs;

  /* Settings (control.c).  level_lock is for the ops of driver and layers that
   * are for control, and is held by whoever calls one; never while waiting.
   * Rules of faults are deleted and listed without it (fault-rules.c). */
  pthread_mutex_t change_lock, level_lock;
  struct blkmq_config *config; /* a copy; level_lock */
  uint64_t last_fault_id;      /* level_lock */
  pthread_mutex_t stats_lock;  /* since when they count; hctx->stats_base */

  pthread_mutex_t control_lock;
  bool started, removed; /* control_lock */
  _Atomic bool is_off;   /* without power; control_lock to write */
  unsigned freeze_depth, quiesce_depth; /* control_lock */
  struct blkmq_submitter *submitters;   /* control_lock */

  pthread_mutex_t drain_lock;
  pthread_cond_t drained;
  uint64_t drain_events; /* drain_lock */
};

static inline unsigned
disk_nr_hctxs (const struct blkmq_disk *disk)
{
  return atomic_load_explicit (&disk->nr_hctxs, memory_order_acquire);
}

static inline struct blkmq_hctx *
disk_hctx (const struct blkmq_disk *disk, unsigned index)
{
  return disk->hctxs[index];
}

struct blkmq_submitter {
  struct blkmq_disk *disk;
  /* Where its ios go.  disk->control_lock to write. */
  _Atomic (struct blkmq_hctx *) hctxs[BLKMQ_NR_HCTX_TYPES];
  _Atomic bool has_types; /* not all of them are one; likewise */
  unsigned index;         /* what it was bound to */
  struct blkmq_hctx *bound[BLKMQ_NR_HCTX_TYPES]; /* control_lock: counted */
  struct blkmq_submitter *prev, *next;           /* disk->control_lock */
  _Atomic uint32_t abort_epoch; /* ios of an earlier one are aborted */
};

static inline bool
submitter_has_types (const struct blkmq_submitter *submitter)
{
  return __builtin_expect (
      atomic_load_explicit (&submitter->has_types, memory_order_relaxed), 0);
}

static inline struct blkmq_hctx *
submitter_hctx_of (const struct blkmq_submitter *submitter,
                   enum blkmq_hctx_type type)
{
  /* An update may have made it just now. */
  return atomic_load_explicit (&submitter->hctxs[type], memory_order_acquire);
}

/* The hctx that IO, which is SUBMITTER's, goes to.  By the time that it gets
 * there this may be another's (hctx_is_for). */
static inline struct blkmq_hctx *
submitter_hctx (const struct blkmq_submitter *submitter,
                const struct blkmq_io *io)
{
  enum blkmq_hctx_type type = BLKMQ_HCTX_TYPE_DEFAULT;

  if (submitter_has_types (submitter)) {
    if (io->flags & BLKMQ_IO_POLLED)
      type = BLKMQ_HCTX_TYPE_POLL;
    else if (io->op == BLKMQ_OP_READ)
      type = BLKMQ_HCTX_TYPE_READ;
  }
  return submitter_hctx_of (submitter, type);
}

/* What blkmq_disk_alloc does not offer: for tests. */
struct disk_options {
  struct clock *clock;            /* NULL: the real one */
  bool manual_loops;              /* disk_turn instead of threads */
  const struct blkmq_disk *outer; /* whose inner disk it is to be (inner.h) */
};

/* What of OPTIONS is different for those of an inner disk. */
void disk_inner_options (struct hctx_options *options);

/* What CONFIG says of hctxs. */
void disk_read_options (struct hctx_options *options,
                        const struct blkmq_config *config);

/* SET may be NULL: one of its own. */
int disk_alloc (struct blkmq_config *config, const struct disk_options *options,
                struct blkmq_tag_set *set, struct blkmq_disk **disk,
                struct blkmq_error *error);

/* Add the hctx INDEX, the next one, with those FLAGS.  While the disk is
 * started its loop runs from now on; without flags, the driver knows it, too.
 */
int disk_add_hctx (struct blkmq_disk *disk, unsigned index,
                   struct request_pool *pool, unsigned flags);

/* Works for a disk that is set up in part as well. */
void disk_free (struct blkmq_disk *disk);

/* A reference, unless the last was put. */
bool disk_try_get (struct blkmq_disk *disk);

/* Turn all (manual) loops until nothing is left to do at this instant. */
void disk_turn (struct blkmq_disk *disk);

/* A line for each hctx, also those that are not in use: why it does nothing. No
 * lock. */
void disk_dump_hctxs (struct blkmq_disk *disk, FILE *file);

/* Format ERROR, which may be NULL, and return R. */
int error_set (struct blkmq_error *error, int r, const char *fmt, ...)
    __attribute__ ((format (printf, 3, 4)));

#endif /* BLKMQ_ENGINE_DISK_H */
