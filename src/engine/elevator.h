/* SPDX-License-Identifier: BSD-3-Clause
 *
 * elevator.h: between an hctx and its scheduler.
 *
 * With a scheduler an hctx has a pool of its own (nr_requests of them), and
 * what an io takes there is its internal tag.  The request waits in the
 * scheduler, QUEUED, and gets a driver tag, one of the tag set's, on its way to
 * the driver. It has that until it is given back unfinished, or released.
 * Requests with a reserved tag, and what the driver has refused or requeued,
 * pass the scheduler by, on the hctx's queue.
 */

#ifndef BLKMQ_ENGINE_ELEVATOR_H
#define BLKMQ_ENGINE_ELEVATOR_H

#include "engine/hctx.h"
#include "engine/sched.h"
#include "engine/thread.h"

static inline struct sched *
hctx_sched (struct blkmq_hctx *h)
{
  return hctx_pool (h)->sched;
}

/* R was QUEUED: give it to the scheduler; or drop it, if it was ended
 * meanwhile.  True if there is something to run. */
bool elevator_insert (struct blkmq_hctx *h, struct request *r);

/* Let IO, which is prepared, join a request that waits.  True: it did, and is
 * no more the caller's. */
bool elevator_merge (struct blkmq_hctx *h, struct blkmq_io *io);

/* The next request for the driver, with a driver tag.  NULL: none, or no tag,
 * for which the hctx then waits. */
struct request *elevator_next_locked (struct thread_slot *slot,
                                      struct blkmq_hctx *h);

/* The first request on the queue, which is not empty, with a driver tag where
 * it needs one; or, while there is none for that, the first reserved one. NULL:
 * none now, and the hctx waits for a tag. */
struct request *elevator_first_locked (struct thread_slot *slot,
                                       struct blkmq_hctx *h);

/* R needs it no longer, if it has one.  A full barrier with
 * barrier_after_rmw. */
void elevator_put_tag (struct blkmq_hctx *h, struct request *r);

/* R was given back unfinished: the same, and others may have the tag while it
 * waits. */
void elevator_give_tag_back (struct blkmq_hctx *h, struct request *r);

/* Its end or removal: take R out if it waits here. */
bool elevator_remove_locked (struct blkmq_hctx *h, struct request *r);

/* Requests were taken off the queue or out of here, to be ended: if none is
 * left, H does not wait for a driver tag any more. */
void elevator_removed_locked (struct blkmq_hctx *h);

/* Is there something that waits here?  No lock. */
static inline bool
elevator_has_work (struct blkmq_hctx *h)
{
  struct sched *sched = hctx_sched (h);

  return sched != NULL && sched_nr_queued (sched) > 0;
}

/* A pool with a scheduler for hctx INDEX of DISK, in place of OLD, if that is
 * not NULL, for a tag set of that depth.  *ERR as pool_alloc's. */
struct request_pool *elevator_make_pool (
    struct blkmq_disk *disk, unsigned index, const struct sched_ops *ops,
    const struct hctx_options *hctx_options, unsigned queue_depth, int *err);

/* Names have room for so many tags, driver tags and internal ones. */
#define ELEVATOR_MAX_NAMES (1u << NAME_TAG_BITS)

/* Can an hctx of that depth have so many requests (0: twice the depth)? */
static inline bool
elevator_fits (uint64_t queue_depth, uint64_t nr_requests)
{
  uint64_t least = 2 * queue_depth;

  if (nr_requests == 0)
    nr_requests = least;
  return nr_requests >= least
         && queue_depth + nr_requests <= ELEVATOR_MAX_NAMES;
}

/* How many requests such a pool has. */
unsigned elevator_nr_requests (const struct hctx_options *options,
                               unsigned queue_depth);

#endif /* BLKMQ_ENGINE_ELEVATOR_H */
