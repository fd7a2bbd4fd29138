/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tagset.h: the pools of a disk, or of several disks that share their tags.
 *
 * A set has a pool for each hctx index, which the hctxs of that index of all
 * its disks draw on; or one pool for all (shared_tag_bitmap).
 */

#ifndef BLKMQ_ENGINE_TAGSET_H
#define BLKMQ_ENGINE_TAGSET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "engine/pool.h"
#include "engine/stale.h"

#define MAX_HW_QUEUES 1024

struct blkmq_disk;

struct blkmq_tag_set {
  _Atomic unsigned refs;
  const struct blkmq_driver *driver;
  void *driver_data;  /* of the only disk; NULL if several may share it */
  struct stack *plan; /* if several disks may: what they all have */
  bool is_shared;     /* several disks may */
  bool shared_bitmap; /* one pool for all hctxs */
  bool merges;        /* several ios in a request */

  /* One update at a time, and none while a disk joins. */
  pthread_mutex_t update_lock;

  pthread_mutex_t lock;
  unsigned nr_hw_queues;           /* lock: polled ones too */
  _Atomic unsigned nr_poll_queues; /* lock to write */
  _Atomic unsigned queue_depth;    /* lock to write */
  unsigned nr_reserved;            /* fixed */
  uint64_t gen_floor;              /* lock: above those of retired pools */
  unsigned nr_pools;               /* lock: there are */
  struct request_pool *pools[MAX_HW_QUEUES]; /* lock */

  /* Pools that were replaced while some of their requests were still held.
   * Pushed under the lock; walked by those who hold an hctx of the set; freed
   * after a look that nobody does (tagset_reap). */
  /* Odd while pools change places, and counters go from one to its hctx. */
  _Atomic unsigned count_moves;
  /* Of pools that are gone and were several disks': of each of them. */
  _Atomic uint64_t stale_tokens;
  _Atomic (struct request_pool *) retired;

  pthread_mutex_t users_lock;
  struct blkmq_disk *disks; /* both locks to write, either to read */
  unsigned turn;            /* users_lock: who is woken first */
  uint64_t last_retire_ns;  /* users_lock: share.c */

  _Atomic unsigned nr_waiting; /* ios without a tag, in all hctxs */

  struct mistakes mistakes;
};

struct tagset_options {
  const struct blkmq_driver *driver;
  struct stack *plan; /* the set's, once there is one */
  void *driver_data;
  unsigned nr_hw_queues, nr_poll_queues, queue_depth;
  bool is_shared, shared_bitmap, merges;
};

/* The caller has the first reference. */
int tagset_alloc (const struct tagset_options *options,
                  struct blkmq_tag_set **set, struct blkmq_error *error);
void tagset_get (struct blkmq_tag_set *set);
void tagset_put (struct blkmq_tag_set *set);

/* DISK, whose hctxs are set up, begins to use the set; or it is about to be
 * freed.  In between it may be removed, but outside references to its requests
 * still need pools: updates change those of removed disks as well. */
void tagset_add_disk (struct blkmq_tag_set *set, struct blkmq_disk *disk);
void tagset_del_disk (struct blkmq_tag_set *set, struct blkmq_disk *disk);

/* DISK takes no more tags: its share is the others', and when this returns
 * nobody wakes it any more. */
void tagset_retire_disk (struct blkmq_tag_set *set, struct blkmq_disk *disk);

/* The pool of the hctxs with that INDEX. */
static inline struct request_pool *
tagset_pool (struct blkmq_tag_set *set, unsigned index)
{
  return set->pools[set->shared_bitmap ? 0 : index];
}

/* Make a pool of DEPTH for INDEX. */
struct request_pool *tagset_make_pool (struct blkmq_tag_set *set,
                                       unsigned index, unsigned depth,
                                       int *err);

/* POOL goes out of use; its hctxs are frozen.  What comes into use after it
 * begins above its generations: tagset_begin_locked, before anybody sees it. */
void tagset_retire_locked (struct blkmq_tag_set *set,
                           struct request_pool *pool);
void tagset_begin_locked (struct blkmq_tag_set *set, struct request_pool *pool);

/* Free the retired pools of which nothing is held any more.  Blocks until all
 * who might look at one have looked. */
void tagset_reap_locked (struct blkmq_tag_set *set);

/* DISK goes: the same, for its own pools, of which nothing is held. */
void tagset_reap_disk (struct blkmq_tag_set *set, struct blkmq_disk *disk);

#endif /* BLKMQ_ENGINE_TAGSET_H */
