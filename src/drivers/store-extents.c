/* SPDX-License-Identifier: BSD-3-Clause
 *
 * store-extents.c: what a range of a store holds, as extents.
 *
 * The chunks of a range are found in one of two ways.  Looking up one index
 * after the other is quick where the store is dense, and would take years in
 * an empty range of 2^63 bytes.  Scanning the tables for the next so many
 * chunks costs the same however far away they are.  So: look up until the
 * failures in a row have cost as much as a scan, then scan.  That is at most
 * twice the work of always having chosen well.
 *
 * Any thread.  Shard locks are held for one look-up or one table's scan, never
 * around the caller's function.
 */

#include <stdlib.h>

#include "blkmq.h"
#include "store-internal.h"

#define TYPE_DATA 0u
#define TYPE_HOLE (BLKMQ_EXTENT_HOLE | BLKMQ_EXTENT_ZERO)

/* Extents on their way to the caller; the last one may still grow. */
struct report {
  uint64_t end;        /* of the range */
  uint64_t last_start; /* the extent that may still grow: [last_start, at) */
  uint64_t at;
  unsigned last_type;
  int (*fn) (uint64_t offset_bytes, uint64_t bytes, unsigned type,
             void *opaque);
  void *opaque;
};

static int
report_flush (struct report *report)
{
  if (report->at == report->last_start)
    return 0;
  return report->fn (report->last_start, report->at - report->last_start,
                     report->last_type, report->opaque);
}

/* What lies between the last one and TO is of TYPE. */
static int
report_until (struct report *report, uint64_t to, unsigned type)
{
  int r;

  if (to > report->end)
    to = report->end;
  if (to <= report->at)
    return 0;
  if (type != report->last_type) {
    r = report_flush (report);
    if (r != 0)
      return r;
    report->last_start = report->at;
    report->last_type = type;
  }
  report->at = to;
  return 0;
}

/* A chunk, and all before it that was not reported yet, which is a hole. */
static int
report_chunk (struct report *report, uint64_t index, unsigned present)
{
  while (present != 0) {
    unsigned first = (unsigned)__builtin_ctz (present);
    unsigned nr_pages = (unsigned)__builtin_ctz (~(present >> first));
    uint64_t start = (index << CHUNK_SHIFT) + ((uint64_t)first << PAGE_SHIFT);
    int r;

    r = report_until (report, start, TYPE_HOLE);
    if (r == 0)
      r = report_until (report, start + nr_pages * STORE_PAGE_BYTES, TYPE_DATA);
    if (r != 0)
      return r;
    present &= ~(((1u << nr_pages) - 1) << first);
  }
  return 0;
}

/* The lowest chunks of a range, found in any order.  The buffer is sorted and
 * cut to half whenever it is full: what is dropped is higher than what stays.
 */
#define NR_KEPT 512u

struct scan {
  unsigned nr;
  bool cut;       /* some were dropped */
  uint64_t bound; /* keys above it are of no interest */
  uint64_t keys[2 * NR_KEPT];
};

static int
compare_keys (const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

  return (x > y) - (x < y);
}

static void
scan_sort_and_cut (struct scan *scan)
{
  qsort (scan->keys, scan->nr, sizeof scan->keys[0], compare_keys);
  if (scan->nr > NR_KEPT) {
    scan->nr = NR_KEPT;
    scan->cut = true;
    scan->bound = scan->keys[NR_KEPT - 1];
  }
}

static void
scan_tables (struct store *store, struct scan *scan, uint64_t first,
             uint64_t last)
{
  scan->nr = 0;
  scan->cut = false;
  scan->bound = last << CHUNK_PAGES | ((1u << CHUNK_PAGES) - 1);

  for (unsigned s = 0; s < NR_SHARDS; s++) {
    struct shard *shard = &store->shards[s];

    pthread_rwlock_rdlock (&shard->lock);
    for (uint32_t i = 0; shard->table != NULL && i <= shard->mask; i++) {
      const struct chunk *chunk = &shard->table[i];

      if (chunk->data == NULL || chunk_index (chunk) < first
          || chunk->key > scan->bound)
        continue;
      scan->keys[scan->nr++] = chunk->key;
      if (scan->nr == 2 * NR_KEPT)
        scan_sort_and_cut (scan);
    }
    pthread_rwlock_unlock (&shard->lock);
  }
  scan_sort_and_cut (scan);
}

/* The pages of INDEX that are present. */
static unsigned
look_up (struct store *store, uint64_t index)
{
  uint64_t hash = chunk_hash (store, index);
  struct shard *shard = shard_of (store, hash);
  const struct chunk *chunk;
  unsigned present;

  pthread_rwlock_rdlock (&shard->lock);
  chunk = table_find_locked (shard, hash, index);
  present = chunk == NULL ? 0 : chunk_present (chunk);
  pthread_rwlock_unlock (&shard->lock);
  return present;
}

/* Failed look-ups that cost about as much as a scan, which takes every shard's
 * lock and then passes entries at some ten times the speed of look-ups.
 */
static uint64_t
look_up_budget (struct store *store)
{
  return NR_SHARDS
         + atomic_load_explicit (&store->nr_chunks, memory_order_relaxed) / 8;
}

/* Report the chunks from INDEX to LAST. */
static int
report_range (struct store *store, struct report *report, uint64_t index,
              uint64_t last)
{
  uint64_t budget = look_up_budget (store);
  struct scan scan;
  int r;

  while (index <= last) {
    unsigned present = look_up (store, index);

    if (present != 0) {
      r = report_chunk (report, index, present);
      if (r != 0)
        return r;
      budget = look_up_budget (store);
      index++;
      continue;
    }
    index++;
    if (--budget > 0)
      continue;

    scan_tables (store, &scan, index, last);
    for (unsigned i = 0; i < scan.nr; i++) {
      index = scan.keys[i] >> CHUNK_PAGES;
      r = report_chunk (report, index, (unsigned)scan.keys[i] & 0xffff);
      if (r != 0)
        return r;
    }
    if (!scan.cut)
      break;
    index++;
    budget = look_up_budget (store);
  }
  return 0;
}

int
store_extents (struct store *store, uint64_t offset_bytes, uint64_t bytes,
               int (*fn) (uint64_t offset_bytes, uint64_t bytes, unsigned type,
                          void *opaque),
               void *opaque)
{
  struct report report = {
    .end = offset_bytes + bytes,
    .last_start = offset_bytes,
    .at = offset_bytes,
    .last_type = TYPE_HOLE,
    .fn = fn,
    .opaque = opaque,
  };
  int r;

  assert_range (store, bytes, offset_bytes);
  if (bytes == 0)
    return 0;

  r = report_range (store, &report, offset_bytes >> CHUNK_SHIFT,
                    (report.end - 1) >> CHUNK_SHIFT);
  if (r == 0)
    r = report_until (&report, report.end, TYPE_HOLE);
  if (r == 0)
    r = report_flush (&report);
  return r;
}
