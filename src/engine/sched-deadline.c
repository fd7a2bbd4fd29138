/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sched-deadline.c: mq-deadline.  The rules are Linux's
 * (Documentation/block/deadline-iosched.rst):
 *
 *  - Reads, and apart from them all that writes, are each in a tree by offset
 *    and in a queue by age, once for each class of priority.
 *  - A batch is up to fifo_batch requests of one direction in rising order of
 *    offset.  It goes on where the last one of that direction was, unless the
 *    oldest has expired: then there.
 *  - Reads go first, but not more than writes_starved batches of them while
 *    writes wait.
 *  - A class is served only while nothing of a higher one is queued or in
 *    flight, except for requests that are older than prio_aging_expire.
 *  - Flushes have no place in any order and pass everything.
 *
 * Unlike Linux's, a look for aged requests that finds none changes nothing:
 * there it counts as a batch of reads.  Under the hctx's lock, but for
 * deadline_finish.
 */

#include <config.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "engine/merge.h"
#include "engine/request.h"
#include "engine/sched.h"

enum direction { READS, WRITES, NR_DIRECTIONS };

#define ANY_AGE UINT64_MAX

RB_HEAD (tree, request);
TAILQ_HEAD (fifo, request);
SLIST_HEAD (bucket, request);

struct class
{
  struct tree sorted[NR_DIRECTIONS];
  struct fifo by_age[NR_DIRECTIONS];
  struct fifo at_head;
  uint64_t position_bytes[NR_DIRECTIONS]; /* of the last one dispatched */
  _Atomic unsigned nr_unfinished;         /* queued or out */
};

struct deadline {
  struct sched sched;
  struct sched_options options;
  struct class classes[NR_CLASSES];
  struct fifo flushes;
  enum direction last_direction;
  unsigned nr_in_batch; /* dispatched of the present batch */
  unsigned nr_starved;  /* batches of reads while writes waited */
  unsigned hash_shift;
  struct bucket buckets[]; /* of sorted requests, by where they end */
};

/* The newcomer is LEFT: among requests of one offset it goes to the right, so
 * that they stay in the order in which they came. */
static int
compare (const struct request *left, const struct request *right)
{
  return left->rq.offset_bytes < right->rq.offset_bytes ? -1 : 1;
}

/* libbsd defines no __unused, which its own _STATIC forms need. */
RB_GENERATE_INTERNAL (tree, request, sched.sorted, compare,
                      __attribute__ ((unused)) static)

static struct deadline *
deadline_of (struct sched *s)
{
  return (struct deadline *)s;
}

static enum direction
direction_of (enum blkmq_op op)
{
  return op == BLKMQ_OP_READ ? READS : WRITES;
}

static struct class *
class_of (struct deadline *d, const struct request *r)
{
  return &d->classes[r->sched.class];
}

static uint64_t
end_of (const struct request *r)
{
  return r->rq.offset_bytes + r->rq.bytes;
}

/* Of those at or above OFFSET the first, and among equals the oldest. */
static struct request *
first_from (struct tree *tree, uint64_t offset)
{
  struct request *r = RB_ROOT (tree), *found = NULL;

  while (r != NULL) {
    if (r->rq.offset_bytes >= offset) {
      found = r;
      r = RB_LEFT (r, sched.sorted);
    } else
      r = RB_RIGHT (r, sched.sorted);
  }
  return found;
}

static struct bucket *
bucket_of (struct deadline *d, uint64_t end)
{
  /* Ends are multiples of a block; Knuth's multiplicative hash. */
  return &d->buckets[(end >> 9) * UINT64_C (0x9e3779b97f4a7c15)
                     >> d->hash_shift];
}

static void
hash (struct deadline *d, struct request *r)
{
  SLIST_INSERT_HEAD (bucket_of (d, end_of (r)), r, sched.hashed);
}

static void
unhash (struct deadline *d, struct request *r)
{
  SLIST_REMOVE (bucket_of (d, end_of (r)), r, request, sched.hashed);
}

/* ---- alloc, free ---- */

static void
deadline_set_options (struct sched *s, const struct sched_options *options)
{
  assert (options->fifo_batch > 0);
  deadline_of (s)->options = *options;
}

static int
deadline_alloc (const struct sched_options *options, unsigned max_requests,
                struct sched **s)
{
  struct deadline *d;
  unsigned log = 1;

  while (log < 31 && 1u << log < max_requests)
    log++;
  d = calloc (1, sizeof *d + ((size_t)1 << log) * sizeof d->buckets[0]);
  if (d == NULL)
    return -ENOMEM;
  d->hash_shift = 64 - log;
  for (unsigned class = 0; class < NR_CLASSES; class ++) {
    struct class *c = &d->classes[class];

    TAILQ_INIT (&c->at_head);
    for (unsigned direction = 0; direction < NR_DIRECTIONS; direction++) {
      RB_INIT (&c->sorted[direction]);
      TAILQ_INIT (&c->by_age[direction]);
    }
  }
  TAILQ_INIT (&d->flushes);
  d->nr_in_batch = UINT_MAX; /* the first one begins a batch */
  deadline_set_options (&d->sched, options);
  *s = &d->sched;
  return 0;
}

static void
deadline_free (struct sched *s)
{
  free (deadline_of (s));
}

/* ---- in ---- */

static void
deadline_insert (struct sched *s, struct request *r, bool at_head,
                 uint64_t now_ns)
{
  struct deadline *d = deadline_of (s);
  enum direction direction = direction_of (r->rq.op);
  bool was_out = r->sched.where == SCHED_OUT;
  struct class *c;

  r->sched.inserted_ns = now_ns;
  r->sched.where = SCHED_LISTED;
  if (r->rq.op == BLKMQ_OP_FLUSH) {
    if (at_head)
      TAILQ_INSERT_HEAD (&d->flushes, r, sched.fifo);
    else
      TAILQ_INSERT_TAIL (&d->flushes, r, sched.fifo);
    return;
  }

  r->sched.class = sched_class_of (r->io);
  c = class_of (d, r);
  if (!was_out)
    atomic_fetch_add (&c->nr_unfinished, 1);
  if (at_head) {
    TAILQ_INSERT_HEAD (&c->at_head, r, sched.fifo);
    return;
  }
  r->sched.where = SCHED_SORTED;
  RB_INSERT (tree, &c->sorted[direction], r);
  TAILQ_INSERT_TAIL (&c->by_age[direction], r, sched.fifo);
  hash (d, r);
}

/* ---- out ---- */

static void
unlink_request (struct deadline *d, struct request *r)
{
  enum direction direction = direction_of (r->rq.op);
  struct class *c = class_of (d, r);

  if (r->sched.where == SCHED_SORTED) {
    RB_REMOVE (tree, &c->sorted[direction], r);
    TAILQ_REMOVE (&c->by_age[direction], r, sched.fifo);
    unhash (d, r);
  } else if (r->rq.op == BLKMQ_OP_FLUSH)
    TAILQ_REMOVE (&d->flushes, r, sched.fifo);
  else
    TAILQ_REMOVE (&c->at_head, r, sched.fifo);
}

static void
deadline_remove (struct sched *s, struct request *r)
{
  struct deadline *d = deadline_of (s);

  unlink_request (d, r);
  r->sched.where = SCHED_NOWHERE;
  if (r->rq.op != BLKMQ_OP_FLUSH)
    atomic_fetch_sub (&class_of (d, r)->nr_unfinished, 1);
}

static bool
deadline_finish (struct sched *s, struct request *r)
{
  r->sched.where = SCHED_NOWHERE;
  return atomic_fetch_sub (&class_of (deadline_of (s), r)->nr_unfinished, 1)
         == 1;
}

static struct request *
deadline_drain (struct sched *s)
{
  struct deadline *d = deadline_of (s);
  struct request *r = TAILQ_FIRST (&d->flushes);

  for (unsigned class = 0; class < NR_CLASSES && r == NULL; class ++) {
    struct class *c = &d->classes[class];

    r = TAILQ_FIRST (&c->at_head);
    for (unsigned direction = 0; direction < NR_DIRECTIONS && r == NULL;
         direction++)
      r = TAILQ_FIRST (&c->by_age[direction]);
  }
  if (r != NULL)
    deadline_remove (s, r);
  return r;
}

static bool
is_older (const struct request *r, uint64_t latest_ns)
{
  return r != NULL
         && (latest_ns == ANY_AGE || r->sched.inserted_ns <= latest_ns);
}

static bool
has_expired (const struct deadline *d, const struct request *r,
             enum direction direction, uint64_t now_ns)
{
  uint64_t expire_ns = direction == READS ? d->options.read_expire_ns
                                          : d->options.write_expire_ns;

  return now_ns >= r->sched.inserted_ns
         && now_ns - r->sched.inserted_ns >= expire_ns;
}

/* Take R out, as the next one of a class. */
static struct request *
take (struct deadline *d, struct request *r)
{
  enum direction direction = direction_of (r->rq.op);

  if (r->sched.where == SCHED_SORTED) {
    class_of (d, r)->position_bytes[direction] = r->rq.offset_bytes;
    d->nr_in_batch++;
  }
  unlink_request (d, r);
  r->sched.where = SCHED_OUT;
  return r;
}

/* The next one of a class, of those inserted no later than LATEST_NS. */
static struct request *
take_from_class (struct deadline *d, struct class *c, uint64_t now_ns,
                 uint64_t latest_ns)
{
  enum direction direction = d->last_direction;
  struct request *r = TAILQ_FIRST (&c->at_head), *oldest;
  bool reads, writes;

  if (is_older (r, latest_ns))
    return take (d, r);

  if (d->nr_in_batch < d->options.fifo_batch) {
    r = first_from (&c->sorted[direction], c->position_bytes[direction]);
    if (is_older (r, latest_ns))
      return take (d, r);
  }

  /* A new batch: which way? */
  reads = is_older (TAILQ_FIRST (&c->by_age[READS]), latest_ns);
  writes = is_older (TAILQ_FIRST (&c->by_age[WRITES]), latest_ns);
  if (!reads && !writes)
    return NULL;
  if (reads && !(writes && d->nr_starved >= d->options.writes_starved)) {
    direction = READS;
    if (writes)
      d->nr_starved++;
  } else {
    direction = WRITES;
    d->nr_starved = 0;
  }

  /* And from where? */
  oldest = TAILQ_FIRST (&c->by_age[direction]);
  r = first_from (&c->sorted[direction], c->position_bytes[direction]);
  if (!is_older (r, latest_ns) || has_expired (d, oldest, direction, now_ns))
    r = oldest;
  d->last_direction = direction;
  d->nr_in_batch = 0;
  return take (d, r);
}

static unsigned
nr_unfinished (struct deadline *d, enum prio_class class)
{
  return atomic_load (&d->classes[class].nr_unfinished);
}

/* What a lower class has had to wait for too long. */
static struct request *
take_aged (struct deadline *d, uint64_t now_ns)
{
  unsigned nr_busy = 0;
  struct request *r;
  uint64_t latest_ns;

  if (now_ns < d->options.prio_aging_expire_ns)
    return NULL;
  latest_ns = now_ns - d->options.prio_aging_expire_ns;
  for (unsigned class = 0; class < NR_CLASSES; class ++)
    nr_busy += nr_unfinished (d, class) > 0;
  if (nr_busy < 2)
    return NULL;
  for (unsigned class = CLASS_BE; class < NR_CLASSES; class ++) {
    r = take_from_class (d, &d->classes[class], now_ns, latest_ns);
    if (r != NULL)
      return r;
  }
  return NULL;
}

static struct request *
deadline_dispatch (struct sched *s, uint64_t now_ns)
{
  struct deadline *d = deadline_of (s);
  struct request *r = TAILQ_FIRST (&d->flushes);

  if (r != NULL) {
    unlink_request (d, r);
    r->sched.where = SCHED_NOWHERE;
    return r;
  }
  r = take_aged (d, now_ns);
  for (unsigned class = 0; class < NR_CLASSES && r == NULL; class ++) {
    r = take_from_class (d, &d->classes[class], now_ns, ANY_AGE);
    if (r == NULL && nr_unfinished (d, class) > 0)
      break;
  }
  return r;
}

static bool
is_queued (const struct class *c)
{
  return !TAILQ_EMPTY (&c->at_head) || !TAILQ_EMPTY (&c->by_age[READS])
         || !TAILQ_EMPTY (&c->by_age[WRITES]);
}

/* When take_aged would find something; UINT64_MAX: never. */
static uint64_t
aged_at_ns (const struct deadline *d)
{
  uint64_t oldest_ns = UINT64_MAX;

  for (unsigned class = CLASS_BE; class < NR_CLASSES; class ++) {
    const struct class *c = &d->classes[class];
    const struct request *firsts[]
        = { TAILQ_FIRST (&c->at_head), TAILQ_FIRST (&c->by_age[READS]),
            TAILQ_FIRST (&c->by_age[WRITES]) };

    for (unsigned i = 0; i < 3; i++) {
      if (firsts[i] != NULL && firsts[i]->sched.inserted_ns < oldest_ns)
        oldest_ns = firsts[i]->sched.inserted_ns;
    }
  }
  return oldest_ns < UINT64_MAX - d->options.prio_aging_expire_ns
             ? oldest_ns + d->options.prio_aging_expire_ns
             : UINT64_MAX;
}

/* As deadline_dispatch would find.  What is finished meanwhile, without the
 * lock, can only open the way: a yes stays a yes. */
static bool
deadline_can_dispatch (struct sched *s, uint64_t now_ns, uint64_t *again_ns)
{
  struct deadline *d = deadline_of (s);

  if (!TAILQ_EMPTY (&d->flushes))
    return true;
  for (unsigned class = 0; class < NR_CLASSES; class ++) {
    if (is_queued (&d->classes[class]))
      return true;
    if (nr_unfinished (d, class) > 0) {
      *again_ns = aged_at_ns (d);
      return *again_ns <= now_ns;
    }
  }
  return false;
}

/* ---- merges ---- */

static struct request *
deadline_find_merge (struct sched *s, const struct blkmq_limits *limits,
                     const struct blkmq_io *io, enum merge_kind *kind)
{
  struct deadline *d = deadline_of (s);
  uint64_t end = io->offset_bytes + io->bytes;
  struct class *c = &d->classes[sched_class_of (io)];
  struct request *r;

  *kind = MERGE_BACK;
  SLIST_FOREACH (r, bucket_of (d, io->offset_bytes), sched.hashed)
  {
    if (merge_kind_of (limits, r, io) == MERGE_BACK)
      return r;
  }
  if (!d->options.front_merges)
    return NULL;
  *kind = MERGE_FRONT;
  r = first_from (&c->sorted[direction_of (io->op)], end);
  for (; r != NULL && r->rq.offset_bytes == end;
       r = RB_NEXT (tree, &c->sorted[direction_of (io->op)], r)) {
    if (merge_kind_of (limits, r, io) == MERGE_FRONT)
      return r;
  }
  return NULL;
}

/* One end of R is about to move: that is what one of the two indices goes by.
 * Its age stays that of its first io. */
static void
deadline_begin_merge (struct sched *s, struct request *r, enum merge_kind kind)
{
  struct deadline *d = deadline_of (s);

  if (kind == MERGE_BACK)
    unhash (d, r);
  else
    RB_REMOVE (tree, &class_of (d, r)->sorted[direction_of (r->rq.op)], r);
}

static void
deadline_end_merge (struct sched *s, struct request *r, enum merge_kind kind)
{
  struct deadline *d = deadline_of (s);

  if (kind == MERGE_BACK)
    hash (d, r);
  else
    RB_INSERT (tree, &class_of (d, r)->sorted[direction_of (r->rq.op)], r);
}

const struct sched_ops sched_mq_deadline = {
  .name = "mq-deadline",
  .help = "sorted batches, reads first, each request in time",
  .alloc = deadline_alloc,
  .free = deadline_free,
  .set_options = deadline_set_options,
  .insert = deadline_insert,
  .can_dispatch = deadline_can_dispatch,
  .dispatch = deadline_dispatch,
  .drain = deadline_drain,
  .remove = deadline_remove,
  .finish = deadline_finish,
  .find_merge = deadline_find_merge,
  .begin_merge = deadline_begin_merge,
  .end_merge = deadline_end_merge,
};
