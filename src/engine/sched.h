/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sched.h: I/O schedulers: in which order the requests of one hctx that wait
 * for the driver go there, and which of them an io may join.
 *
 * A scheduler is a data structure and nothing else.  It has no lock: whoever
 * calls it holds the hctx's, but for sched_finish and sched_nr_queued.  It
 * reads no clock: the time is an argument.  It allocates in sched_alloc only.
 */

#ifndef BLKMQ_ENGINE_SCHED_H
#define BLKMQ_ENGINE_SCHED_H

#include <assert.h>
#include <bsd/sys/tree.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "blkmq.h"

struct request;

/* Where an io joins a request: after it or before it. */
enum merge_kind { MERGE_NONE, MERGE_BACK, MERGE_FRONT };

/* Where a request is, for its scheduler. */
enum sched_where {
  SCHED_NOWHERE, /* not the scheduler's */
  SCHED_SORTED,  /* queued, in the sort order and open to merges */
  SCHED_LISTED,  /* queued, on a list that is served first */
  SCHED_OUT,     /* dispatched, and counted until it is finished */
};

/* The order of service; BLKMQ_PRIO_NONE is best effort. */
enum prio_class { CLASS_RT, CLASS_BE, CLASS_IDLE, NR_CLASSES };

/* A scheduler's part of a request. */
struct sched_node {
  RB_ENTRY (request) sorted;
  TAILQ_ENTRY (request) fifo;
  SLIST_ENTRY (request) hashed;
  uint64_t inserted_ns : 60; /* good for 36 years since boot */
  uint64_t where : 2;        /* enum sched_where */
  uint64_t class : 2;        /* enum prio_class, as it was inserted */
};

static_assert (sizeof (struct sched_node) <= 64, "at most a cache line");

/* Named as in /sys/block/X/queue/iosched/.  Times count from insertion, so a
 * change is in force for what is queued as well. */
struct sched_options {
  uint64_t read_expire_ns, write_expire_ns;
  uint64_t prio_aging_expire_ns;
  unsigned fifo_batch;     /* requests in one go in sort order, at least 1 */
  unsigned writes_starved; /* batches of reads that may pass waiting writes */
  bool front_merges;
};

/* The kernel's. */
#define SCHED_OPTIONS_DEFAULT                                                  \
  {                                                                            \
    .read_expire_ns = UINT64_C (500000000),                                    \
    .write_expire_ns = UINT64_C (5000000000),                                  \
    .prio_aging_expire_ns = UINT64_C (10000000000), .fifo_batch = 16,          \
    .writes_starved = 2, .front_merges = true,                                 \
  }

/* What all schedulers begin with. */
struct sched {
  const struct sched_ops *ops;
  _Atomic unsigned nr_queued; /* inserted, not dispatched or removed */
};

/* Every member is required, except in the entry of "none", which has no
 * scheduler: its alloc is NULL.  Called through the functions below, which
 * say what each does. */
struct sched_ops {
  const char *name;
  const char *help; /* one line */
  int (*alloc) (const struct sched_options *options, unsigned max_requests,
                struct sched **s);
  void (*free) (struct sched *s);
  void (*set_options) (struct sched *s, const struct sched_options *options);
  void (*insert) (struct sched *s, struct request *r, bool at_head,
                  uint64_t now_ns);
  bool (*can_dispatch) (struct sched *s, uint64_t now_ns, uint64_t *again_ns);
  struct request *(*dispatch) (struct sched *s, uint64_t now_ns);
  struct request *(*drain) (struct sched *s);
  void (*remove) (struct sched *s, struct request *r);
  bool (*finish) (struct sched *s, struct request *r);
  struct request *(*find_merge) (struct sched *s,
                                 const struct blkmq_limits *limits,
                                 const struct blkmq_io *io,
                                 enum merge_kind *kind);
  void (*begin_merge) (struct sched *s, struct request *r,
                       enum merge_kind kind);
  void (*end_merge) (struct sched *s, struct request *r, enum merge_kind kind);
};

/* The table, in the order of sched_names, and its names, NULL-terminated, as
 * an enumeration's words; "none" comes first. */
extern const struct sched_ops *const sched_table[];
extern const char *const sched_names[];
const struct sched_ops *sched_find (const char *name);

/* A scheduler for at most MAX_REQUESTS (queued and dispatched together); *S is
 * NULL for "none".  -ENOMEM. */
int sched_alloc (const struct sched_ops *ops,
                 const struct sched_options *options, unsigned max_requests,
                 struct sched **s);

/* S may be NULL.  It must be empty. */
void sched_free (struct sched *s);

void sched_set_options (struct sched *s, const struct sched_options *options);

/* R is QUEUED and filled in, and the scheduler's until it is dispatched,
 * drained or removed.  AT_HEAD: before everything of its class.  One that was
 * dispatched may be inserted once more. */
void sched_insert (struct sched *s, struct request *r, bool at_head,
                   uint64_t now_ns);

/* Would sched_dispatch take one now?  If not, and time alone would change that,
 * *AGAIN_NS is when; else UINT64_MAX. */
bool sched_can_dispatch (struct sched *s, uint64_t now_ns, uint64_t *again_ns);

/* Take the next one; the caller issues it.  NULL: there is none, or what there
 * is has to wait until others are finished. */
struct request *sched_dispatch (struct sched *s, uint64_t now_ns);

/* Take any one, in no order that matters and whatever the rules: to end them
 * all.  It is not to be finished.  NULL: it is empty. */
struct request *sched_drain (struct sched *s);

/* Take out R, if it is queued here (an abort, a timeout): true.  It is not to
 * be finished then. */
bool sched_remove (struct sched *s, struct request *r);

/* R, of which the caller is the only owner, ends its life; it may never have
 * been the scheduler's.  No lock.  True: requests may have waited for this,
 * so look for work (an atomic read-modify-write was made before, so that with
 * barrier_after_rmw a look at sched_nr_queued cannot miss them). */
bool sched_finish (struct sched *s, struct request *r);

/* Merge IO, which passed io_prepare and has no request, into a queued request
 * if there is one that it continues or precedes.  True: it is in.  The caller
 * then owns IO no more, as if it had started it. */
bool sched_merge_io (struct sched *s, const struct blkmq_limits *limits,
                     struct blkmq_io *io);

/* No lock. */
static inline unsigned
sched_nr_queued (struct sched *s)
{
  return atomic_load (&s->nr_queued);
}

static inline enum prio_class
sched_class_of (const struct blkmq_io *io)
{
  switch (io->prio) {
  case BLKMQ_PRIO_RT:
    return CLASS_RT;
  case BLKMQ_PRIO_IDLE:
    return CLASS_IDLE;
  default:
    return CLASS_BE;
  }
}

/* sched-deadline.c */
extern const struct sched_ops sched_mq_deadline;

#endif /* BLKMQ_ENGINE_SCHED_H */
