/* SPDX-License-Identifier: BSD-3-Clause
 *
 * iostat.c: the times of requests, per hctx and operation.  Any thread: several
 * may start and end requests of one hctx at once, and anyone may read.
 *
 * A request costs two readings of the clock and two relaxed additions.
 *
 * The time in which something is in flight is kept in ticks, as the kernel
 * keeps io_ticks: a stamp says up to which tick all is accounted for, and
 * whoever starts or ends a request in a later tick moves it.  Only he who
 * moves it adds anything, so that nothing is counted twice.  Between the stamp
 * and now the hctx was idle all the time or busy all the time, since a change
 * would have moved the stamp:
 *
 *  - who ends a request was in flight since the stamp or before: busy;
 *  - who starts one looks for another that was.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "engine/histogram.h"
#include "engine/iostat.h"

#define TICK_SHIFT 10 /* of 1024 ns */

/* One operation's. */
struct latency {
  alignas (CACHE_LINE_BYTES) _Atomic uint64_t sum_ns;
  _Atomic uint64_t min_ns, max_ns;
  _Atomic uint64_t buckets[BLKMQ_HISTOGRAM_NR_BUCKETS];
};

struct iostat {
  alignas (CACHE_LINE_BYTES) _Atomic uint64_t stamp; /* a tick */
  _Atomic uint64_t busy;                             /* ticks */
  struct latency latencies[BLKMQ_NR_OPS];
  struct base *bases; /* one an operation; NULL: all from the start */
};

/* What is not counted any more; stats_lock. */
struct base {
  uint64_t sum_ns;
  uint64_t buckets[BLKMQ_HISTOGRAM_NR_BUCKETS];
};

int
iostat_prepare (struct blkmq_hctx *h)
{
  struct iostat *stat;

  if (h->iostat_memory != NULL)
    return 0;
  stat = aligned_alloc (CACHE_LINE_BYTES, sizeof *stat);
  if (stat == NULL)
    return -ENOMEM;
  atomic_init (&stat->stamp, 0);
  atomic_init (&stat->busy, 0);
  stat->bases = NULL;
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    struct latency *l = &stat->latencies[op];

    atomic_init (&l->sum_ns, 0);
    atomic_init (&l->min_ns, UINT64_MAX);
    atomic_init (&l->max_ns, 0);
    for (unsigned i = 0; i < BLKMQ_HISTOGRAM_NR_BUCKETS; i++)
      atomic_init (&l->buckets[i], 0);
  }
  h->iostat_memory = stat;
  return 0;
}

void
iostat_exit (struct blkmq_hctx *h)
{
  if (h->iostat_memory != NULL)
    free (h->iostat_memory->bases);
  free (h->iostat_memory);
}

static void
add (_Atomic uint64_t *sum, uint64_t n)
{
  atomic_fetch_add_explicit (sum, n, memory_order_relaxed);
}

static uint64_t
get (const _Atomic uint64_t *value)
{
  return atomic_load_explicit (value, memory_order_relaxed);
}

/* ---- the time in which something is in flight ---- */

/* Whoever has moved it had said before what he starts. */
static uint64_t
read_stamp (const struct iostat *stat)
{
  return atomic_load_explicit (&stat->stamp, memory_order_acquire);
}

/* Has any request been in flight since STAMP?  Those that have just started
 * say so in their start_ns, those that have ended in the absence of one.  The
 * caller holds H, or dispatches. */
static bool
any_since (struct blkmq_hctx *h, uint64_t stamp)
{
  for_each_pool (walk, h)
  {
    struct request_pool *pool = walk.pool;

    for_each_taken (tag, pool)
    {
      struct request *r = pool_request (pool, (unsigned)tag);
      uint64_t start_ns = get (&r->start_ns);

      if (start_ns != 0 && start_ns >> TICK_SHIFT <= stamp
          && request_hctx (r) == h)
        return true;
    }
  }
  return false;
}

static void
account (struct iostat *stat, uint64_t stamp, uint64_t tick, bool busy)
{
  if (atomic_compare_exchange_strong_explicit (&stat->stamp, &stamp, tick,
                                               memory_order_acq_rel,
                                               memory_order_relaxed)
      && busy)
    add (&stat->busy, tick - stamp);
}

/* ---- a request's time ---- */

void
iostat_start_timed (struct request *r)
{
  struct blkmq_hctx *h = r->rq.hctx;
  struct iostat *stat = h->iostat_memory;
  uint64_t now_ns = clock_now_ns (h->clock);
  uint64_t stamp = read_stamp (stat);
  uint64_t tick = now_ns >> TICK_SHIFT;

  /* Before the stamp is moved, so that who sees the new stamp sees us.  For our
   * own look we are too young. */
  atomic_store_explicit (&r->start_ns, now_ns != 0 ? now_ns : 1,
                         memory_order_release);
  if (tick > stamp)
    account (stat, stamp, tick, any_since (h, stamp));
}

static void
lower (_Atomic uint64_t *min, uint64_t value)
{
  uint64_t old = get (min);

  while (value < old
         && !atomic_compare_exchange_weak_explicit (
             min, &old, value, memory_order_relaxed, memory_order_relaxed))
    ;
}

static void
raise_to (_Atomic uint64_t *max, uint64_t value)
{
  uint64_t old = get (max);

  while (value > old
         && !atomic_compare_exchange_weak_explicit (
             max, &old, value, memory_order_relaxed, memory_order_relaxed))
    ;
}

void
iostat_end_timed (struct request *r)
{
  struct blkmq_hctx *h = r->rq.hctx;
  struct iostat *stat = h->iostat_memory;
  struct latency *l = &stat->latencies[r->rq.op];
  uint64_t start_ns = get (&r->start_ns);
  uint64_t now_ns = clock_now_ns (h->clock);
  uint64_t stamp = read_stamp (stat);
  uint64_t tick = now_ns >> TICK_SHIFT;
  uint64_t ns = now_ns - start_ns;

  add (&l->sum_ns, ns);
  lower (&l->min_ns, ns);
  raise_to (&l->max_ns, ns);
  /* Last, for who reads the buckets first: iostat_add_latency. */
  atomic_fetch_add_explicit (&l->buckets[histogram_bucket (ns)], 1,
                             memory_order_release);
  if (tick > stamp)
    account (stat, stamp, tick, true);
  /* After the stamp was moved: until then we count as in flight. */
  atomic_store_explicit (&r->start_ns, 0, memory_order_release);
}

/* ---- reading ---- */

int
iostat_prepare_base (struct blkmq_hctx *h)
{
  struct iostat *stat = h->iostat_memory;

  if (stat == NULL || stat->bases != NULL)
    return 0;
  stat->bases = calloc (BLKMQ_NR_OPS, sizeof stat->bases[0]);
  return stat->bases != NULL ? 0 : -ENOMEM;
}

void
iostat_set_base (struct blkmq_hctx *h)
{
  struct iostat *stat = h->iostat_memory;

  if (stat == NULL || stat->bases == NULL)
    return;
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    struct latency *l = &stat->latencies[op];
    struct base *base = &stat->bases[op];

    for (unsigned i = 0; i < BLKMQ_HISTOGRAM_NR_BUCKETS; i++)
      base->buckets[i]
          = atomic_load_explicit (&l->buckets[i], memory_order_acquire);
    base->sum_ns = get (&l->sum_ns);
  }
}

static void
widen (struct blkmq_histogram *histogram, uint64_t min_ns, uint64_t max_ns)
{
  if (histogram->count == 0 || min_ns < histogram->min_ns)
    histogram->min_ns = min_ns;
  if (max_ns > histogram->max_ns)
    histogram->max_ns = max_ns;
}

void
iostat_add_latency (struct blkmq_hctx *h, enum blkmq_op op,
                    struct blkmq_histogram *histogram)
{
  struct latency *l = &h->iostat_memory->latencies[op];
  const struct base *base
      = h->iostat_memory->bases != NULL ? &h->iostat_memory->bases[op] : NULL;
  uint64_t count = 0;
  unsigned first = 0, last = 0;

  for (unsigned i = 0; i < BLKMQ_HISTOGRAM_NR_BUCKETS; i++) {
    uint64_t nr = atomic_load_explicit (&l->buckets[i], memory_order_acquire);

    nr -= base != NULL ? base->buckets[i] : 0;
    if (nr == 0)
      continue;
    first = count == 0 ? i : first;
    last = i;
    histogram->buckets[i] += nr;
    count += nr;
  }
  if (count == 0)
    return;
  histogram->sum_ns += get (&l->sum_ns) - (base != NULL ? base->sum_ns : 0);
  if (base == NULL)
    widen (histogram, get (&l->min_ns), get (&l->max_ns));
  else
    widen (histogram, histogram_bucket_ns (first), histogram_bucket_ns (last));
  histogram->count += count;
}

void
iostat_add_times (struct blkmq_hctx *h, struct blkmq_stats *stats)
{
  struct iostat *stat = h->iostat_memory;
  uint64_t stamp, tick;

  if (stat == NULL)
    return;
  /* What is in flight now has been so up to now. */
  stamp = read_stamp (stat);
  tick = clock_now_ns (h->clock) >> TICK_SHIFT;
  if (tick > stamp && any_since (h, stamp))
    account (stat, stamp, tick, true);
  stats->busy_ns += get (&stat->busy) << TICK_SHIFT;
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++)
    stats->time_ns[op] += get (&stat->latencies[op].sum_ns);
}
