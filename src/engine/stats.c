/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stats.c: adds up the counters, which live where they cost nothing to write:
 * per tag for what happens to every request, per hctx for what is rare.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blkmq-control.h"
#include "engine/disk.h"
#include "engine/enter.h"
#include "engine/hctx.h"
#include "engine/iostat.h"
#include "engine/request.h"

static uint64_t
get (const _Atomic uint64_t *counter)
{
  return atomic_load_explicit (counter, memory_order_relaxed);
}

static void
add_all (uint64_t *sums, const _Atomic uint64_t *counters, unsigned nr)
{
  for (unsigned i = 0; i < nr; i++)
    sums[i] += get (&counters[i]);
}

/* Started and not released, by operation: read under a reference, since without
 * it the tag may be in its next life. */
static int
add_in_flight (struct request *r, void *opaque)
{
  struct blkmq_stats *stats = opaque;

  stats->in_flight[r->rq.op]++;
  return 0;
}

static void
add_hctx (struct thread_slot *slot, struct blkmq_hctx *h,
          struct blkmq_stats *stats)
{
  enum hold hold = hctx_hold (slot, h);

  for_each_pool (walk, h)
  {
    struct request_pool *pool = walk.pool;

    /* Where the hctxs share one it is the first one's. */
    if (!pool->spans_hctxs || h->index == 0)
      stats->stale_tokens += get (&pool->stale_tokens);
    if (pool->is_shared)
      continue; /* counted by hctx */
    for (unsigned tag = 0; tag < pool->depth; tag++) {
      struct request *r = pool_request (pool, tag);

      add_all (stats->ios, r->ios, BLKMQ_NR_OPS);
      add_all (stats->bytes, r->bytes, BLKMQ_NR_OPS);
    }
  }
  if (h->index == 0)
    stats->stale_tokens += get (&h->set->stale_tokens);
  add_all (stats->ios, h->ios, BLKMQ_NR_OPS);
  add_all (stats->bytes, h->bytes, BLKMQ_NR_OPS);
  hctx_for_each (h, add_in_flight, stats);
  add_all (stats->errors, h->errors, BLKMQ_NR_STATUSES);
  add_all (stats->rejected, h->rejected, BLKMQ_NR_STATUSES);
  add_all (stats->lost_claims, h->lost_claims, BLKMQ_NR_CAUSES);
  for (unsigned i = 0; i < NR_WAIT_LISTS; i++)
    stats->waiting += atomic_load (&h->wait[i].nr);
  stats->busy += get (&h->busy);
  stats->requeues += get (&h->requeues);
  stats->merges += get (&h->merges);
  stats->timeouts += get (&h->timeouts);
  stats->timeouts_done += get (&h->timeouts_done);
  stats->timeouts_reset += get (&h->timeouts_reset);
  stats->timeouts_held += get (&h->timeouts_held);
  stats->polled += get (&h->polled);
  stats->stale_tokens += get (&h->stale_tokens);
  stats->stale_handles += get (&h->stale_handles);
  iostat_add_times (h, stats);
  stats->flushes += get (&h->flushes);
  stats->flushes_coalesced += get (&h->flushes_coalesced);
  hctx_let_go (slot, h, hold);
}

/* ---- since when ---- */

/* All of it is numbers of one size, so that it can be treated as an array. */
#define NR_NUMBERS (sizeof (struct blkmq_stats) / sizeof (uint64_t))
static_assert (sizeof (struct blkmq_stats) % sizeof (uint64_t) == 0,
               "counters are 64 bits");

/* What is there now is not counted since anything. */
static void
forget_present (struct blkmq_stats *stats)
{
  memset (stats->in_flight, 0, sizeof stats->in_flight);
  stats->waiting = 0;
}

static void
subtract (struct blkmq_stats *stats, const struct blkmq_stats *base)
{
  uint64_t *numbers = (uint64_t *)(void *)stats;
  const uint64_t *bases = (const uint64_t *)(const void *)base;

  for (size_t i = 0; i < NR_NUMBERS; i++)
    numbers[i] -= bases[i];
}

/* Counters of a pool that goes move to its hctx, or to the set, which the first
 * hctx shows (tagset.c: reap_locked).  Did they since the caller has read
 * MOVES?  Then what it has added up is no sum. */
static bool
counts_have_moved (struct blkmq_disk *disk, unsigned moves)
{
  return moves % 2 != 0 || moves != atomic_load (&disk->set->count_moves);
}

static int
prepare_bases (struct blkmq_disk *disk, unsigned nr_hctxs)
{
  int r = 0;

  for (unsigned i = 0; i < nr_hctxs && r == 0; i++) {
    struct blkmq_hctx *h = disk_hctx (disk, i);

    if (h->stats_base == NULL)
      h->stats_base = calloc (1, sizeof *h->stats_base);
    r = h->stats_base != NULL ? iostat_prepare_base (h) : -ENOMEM;
  }
  return r;
}

int
blkmq_disk_reset_stats (struct blkmq_disk *disk)
{
  struct thread_slot *slot = engine_enter_from_below ();
  unsigned nr_hctxs = disk_nr_hctxs (disk), moves;
  int r;

  pthread_mutex_lock (&disk->stats_lock);
  r = prepare_bases (disk, nr_hctxs);
  if (r == 0) {
    do {
      moves = atomic_load (&disk->set->count_moves);
      for (unsigned i = 0; i < nr_hctxs; i++) {
        struct blkmq_hctx *h = disk_hctx (disk, i);

        memset (h->stats_base, 0, sizeof *h->stats_base);
        add_hctx (slot, h, h->stats_base);
        forget_present (h->stats_base);
      }
    } while (counts_have_moved (disk, moves));
    for (unsigned i = 0; i < nr_hctxs; i++)
      iostat_set_base (disk_hctx (disk, i));
  }
  pthread_mutex_unlock (&disk->stats_lock);
  engine_leave_from_below (slot); /* not under the lock: this calls out */
  return r;
}

/* ---- reading ---- */

int
blkmq_disk_stats (struct blkmq_disk *disk, unsigned index,
                  struct blkmq_stats *stats)
{
  struct thread_slot *slot;
  unsigned first = 0, end, moves;

  end = disk_nr_hctxs (disk);
  if (index != BLKMQ_HCTX_ANY) {
    if (index >= end)
      return -EINVAL;
    first = index;
    end = index + 1;
  }
  slot = engine_enter_from_below ();
  pthread_mutex_lock (&disk->stats_lock);
  do {
    moves = atomic_load (&disk->set->count_moves);
    memset (stats, 0, sizeof *stats);
    for (unsigned i = first; i < end; i++) {
      struct blkmq_hctx *h = disk_hctx (disk, i);

      add_hctx (slot, h, stats);
      if (h->stats_base != NULL)
        subtract (stats, h->stats_base);
    }
  } while (counts_have_moved (disk, moves));
  pthread_mutex_unlock (&disk->stats_lock);
  engine_leave_from_below (slot);
  return 0;
}

int
blkmq_disk_latency (struct blkmq_disk *disk, unsigned index, enum blkmq_op op,
                    struct blkmq_histogram *histogram)
{
  if (index != BLKMQ_HCTX_ANY && index >= disk_nr_hctxs (disk))
    return -EINVAL;
  if ((unsigned)op >= BLKMQ_NR_OPS)
    return -EINVAL;
  /* All hctxs say the same, but for the moment in which that changes. */
  if (atomic_load (&disk_hctx (disk, 0)->iostat) == NULL)
    return -ENODATA;
  memset (histogram, 0, sizeof *histogram);
  pthread_mutex_lock (&disk->stats_lock);
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++) {
    if (index == BLKMQ_HCTX_ANY || index == i)
      iostat_add_latency (disk_hctx (disk, i), op, histogram);
  }
  pthread_mutex_unlock (&disk->stats_lock);
  return 0;
}
