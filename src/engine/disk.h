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

#include "blkmq-driver.h"
#include "engine/clock.h"
#include "engine/hctx.h"

struct blkmq_disk {
  const struct blkmq_driver *driver;
  void *driver_data;
  bool opened; /* the driver's close is due */
  struct blkmq_limits limits;
  uint64_t seed;
  unsigned nr_hw_queues, queue_depth;
  unsigned nr_hctxs; /* set up so far */
  struct blkmq_hctx *hctxs;
  struct clock own_clock;
  struct clock *clock;

  _Atomic unsigned refs;

  pthread_mutex_t control_lock;
  bool started, removed;                /* control_lock */
  unsigned freeze_depth, quiesce_depth; /* control_lock */

  pthread_mutex_t drain_lock;
  pthread_cond_t drained;
  uint64_t drain_events; /* drain_lock */
};

struct blkmq_submitter {
  struct blkmq_disk *disk;
  struct blkmq_hctx *hctx;
  _Atomic uint32_t abort_epoch; /* ios of an earlier one are aborted */
};

/* What blkmq_disk_alloc does not offer: for tests. */
struct disk_options {
  struct clock *clock; /* NULL: the real one */
  bool manual_loops;   /* disk_turn instead of threads */
};

int disk_alloc (struct blkmq_config *config, const struct disk_options *options,
                struct blkmq_disk **disk, struct blkmq_error *error);

/* Turn all (manual) loops until nothing is left to do at this instant. */
void disk_turn (struct blkmq_disk *disk);

/* Format ERROR, which may be NULL, and return R. */
int error_set (struct blkmq_error *error, int r, const char *fmt, ...)
    __attribute__ ((format (printf, 3, 4)));

#endif /* BLKMQ_ENGINE_DISK_H */
