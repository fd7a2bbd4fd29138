/* SPDX-License-Identifier: BSD-3-Clause
 *
 * update.h: what update.c and update-prepare.c share: one update of a tag set.
 */

#ifndef BLKMQ_ENGINE_UPDATE_H
#define BLKMQ_ENGINE_UPDATE_H

#include "engine/disk.h"
#include "engine/map.h"
#include "engine/tagset.h"

/* A disk of the set that is alive: we have a reference. */
struct update_disk {
  struct blkmq_disk *disk;
  const struct sched_ops *sched_ops;  /* wanted */
  const struct hctx_options *options; /* the scheduler's: wanted */
  bool has_new_options;
  bool frozen;
  struct queue_maps maps;      /* wanted */
  struct request_pool **pools; /* new ones with a scheduler, by hctx */
};

struct update {
  struct blkmq_tag_set *set;
  unsigned nr_hw_queues, nr_poll_queues, queue_depth; /* wanted */
  unsigned submit_queues; /* nr_hw_queues without the polled ones */
  unsigned old_nr_hw_queues;
  struct update_disk *disks;
  unsigned nr_disks;
  struct request_pool **pools; /* to replace those of the set */
  unsigned nr_pools;
};

/* What is to be changed of a disk and its tag set; NULL: stays as it is. */
struct update_wanted {
  const struct blkmq_queues *queues;
  const struct sched_ops *sched_ops;
  const struct hctx_options *options; /* of which the scheduler's count */
  /* Called when all that can fail was done, and all disks of the set are frozen
   * (or removed), ahead of the change itself: an error undoes all. */
  int (*frozen) (struct blkmq_disk *disk, void *opaque,
                 struct blkmq_error *error);
  void *opaque;
};

int disk_update (struct blkmq_disk *disk, const struct update_wanted *wanted,
                 struct blkmq_error *error);

/* Do all that can fail, and nothing of it to be seen yet.  After an error: roll
 * back. */
int update_prepare_locked (struct update *update, const struct blkmq_disk *disk,
                           const struct update_wanted *wanted,
                           struct blkmq_error *error);
void update_roll_back_locked (struct update *update);

/* Is DISK removed, or about to be? */
bool update_is_removed (struct blkmq_disk *disk);

/* Has H the scheduler that is wanted, and one for that depth? */
bool update_has_scheduler (struct blkmq_hctx *h, const struct update *update,
                           const struct update_disk *ud);

/* H is not in use: the driver may forget it, unless it still has requests of
 * it. */
void update_forget (struct blkmq_hctx *h);

#endif /* BLKMQ_ENGINE_UPDATE_H */
