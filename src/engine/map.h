/* SPDX-License-Identifier: BSD-3-Clause
 *
 * map.h: which hctxs are for which ios: the maps of a disk, and the binding of
 * its submitters.
 */

#ifndef BLKMQ_ENGINE_MAP_H
#define BLKMQ_ENGINE_MAP_H

#include "blkmq-driver.h"

struct queue_maps {
  struct blkmq_queue_map type[BLKMQ_NR_HCTX_TYPES];
};

/* Can a disk of DRIVER have so many?  -EINVAL with ERROR. */
int map_check_counts (const struct blkmq_driver *driver, unsigned submit_queues,
                      unsigned poll_queues, struct blkmq_error *error);

/* Ask DRIVER for the maps of NR_HW_QUEUES hctxs, of which NR_POLL_QUEUES are
 * polled, and check what it says.  -EINVAL with ERROR. */
int map_queues (const struct blkmq_driver *driver, void *driver_data,
                unsigned nr_hw_queues, unsigned nr_poll_queues,
                struct queue_maps *maps, struct blkmq_error *error);

/* What the hctx INDEX is for.  DEFAULT as well if it is in no map yet. */
enum blkmq_hctx_type map_type (const struct queue_maps *maps, unsigned index);

/* Bind SUBMITTER to hctxs in use; for the first time or after an update.
 * disk->control_lock. */
void submitter_bind_locked (struct blkmq_submitter *submitter);
void submitter_unbind_locked (struct blkmq_submitter *submitter);

#endif /* BLKMQ_ENGINE_MAP_H */
