/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-store-threads.c: the sparse store under several threads.  Counts of
 * operations are fixed; how the threads meet is up to the machine, so failures
 * are repeatable only in what each thread tries.
 */

#include <pthread.h>

#include "store-model.h"

#define NR_THREADS 8

struct crew {
  struct store *store;
  unsigned index;
  unsigned nr_ops;
  uint64_t nr_seen; /* what the thread counts */
};

static void
run_crew (struct store *store, void *(*const *mains) (void *), unsigned nr,
          unsigned nr_ops, struct crew crew[NR_THREADS])
{
  pthread_t threads[NR_THREADS];

  for (unsigned i = 0; i < nr; i++) {
    crew[i] = (struct crew){ store, i, nr_ops, 0 };
    ck_assert_int_eq (pthread_create (&threads[i], NULL, mains[i], &crew[i]),
                      0);
  }
  for (unsigned i = 0; i < nr; i++)
    ck_assert_int_eq (pthread_join (threads[i], NULL), 0);
}

/* Six chunks in the middle of nowhere, full of stamped sectors. */
#define STAMPED_SECTORS (6 * CHUNK_BYTES / SECTOR)
#define STAMPED_BASE (UINT64_C (1) << 50)
#define MAX_RUN 200u /* sectors in one operation: up to three chunks */

static void
stamped_range (struct rng *rng, uint64_t *offset, size_t *bytes)
{
  uint64_t nr = 1 + rng_below (rng, rng_below (rng, 4) == 0 ? MAX_RUN : 8);

  *offset = STAMPED_BASE + rng_below (rng, STAMPED_SECTORS - nr + 1) * SECTOR;
  *bytes = nr * SECTOR;
}

static void *
stamp_main (void *arg)
{
  struct crew *me = arg;
  struct rng rng = rng_stream (400 + me->index);
  uint64_t *buf = must_alloc (MAX_RUN * SECTOR);
  struct iovec segments[MAX_CUTS];

  for (uint64_t op = 1; op <= me->nr_ops; op++) {
    uint64_t offset, stamp = (uint64_t)(me->index + 1) << 32 | op;
    size_t bytes, skip;

    stamped_range (&rng, &offset, &bytes);
    for (size_t i = 0; i < bytes / sizeof *buf; i++)
      buf[i] = stamp;
    skip = cut_segments (&rng, (uint8_t *)buf, bytes, segments);
    FAIL_UNLESS (store_writev (me->store, segments, skip, bytes, offset) == 0);
  }
  free (buf);
  return NULL;
}

static void *
trim_stamps_main (void *arg)
{
  struct crew *me = arg;
  struct rng rng = rng_stream (400 + me->index);

  for (unsigned op = 0; op < me->nr_ops / 4; op++) {
    uint64_t offset;
    size_t bytes;

    stamped_range (&rng, &offset, &bytes);
    switch (rng_below (&rng, 3)) {
    case 0:
      store_discard (me->store, bytes, offset);
      break;
    case 1:
      FAIL_UNLESS (store_write_zeroes (me->store, bytes, offset, true) == 0);
      break;
    case 2: /* by the tables */
      store_discard (me->store, UINT64_C (1) << 40, offset);
      break;
    }
  }
  return NULL;
}

static void *
check_stamps_main (void *arg)
{
  struct crew *me = arg;
  struct rng rng = rng_stream (400 + me->index);
  uint64_t *buf = must_alloc (MAX_RUN * SECTOR);
  struct iovec segments[MAX_CUTS];

  for (unsigned op = 0; op < me->nr_ops; op++) {
    const size_t nr_words = SECTOR / sizeof *buf;
    uint64_t offset;
    size_t bytes, skip;

    stamped_range (&rng, &offset, &bytes);
    memset (buf, 0xee, bytes);
    skip = cut_segments (&rng, (uint8_t *)buf, bytes, segments);
    store_readv (me->store, segments, skip, bytes, offset);
    for (size_t s = 0; s < bytes / SECTOR; s++) {
      const uint64_t *sector = buf + s * nr_words;

      for (size_t i = 1; i < nr_words; i++)
        FAIL_UNLESS (sector[i] == sector[0]);
      FAIL_UNLESS (sector[0] >> 32 <= 2);
      FAIL_UNLESS ((sector[0] & UINT32_MAX) <= me->nr_ops);
      me->nr_seen += sector[0] != 0;
    }
  }
  free (buf);
  return NULL;
}

START_TEST (sectors_never_tear)
{
  static void *(*const mains[]) (void *)
      = { stamp_main, stamp_main, check_stamps_main, check_stamps_main,
          trim_stamps_main };
  struct store *store = must_store (MAX_SIZE, 0);
  struct crew crew[NR_THREADS];

  run_crew (store, mains, 5, 20000, crew);
  ck_assert_uint_gt (crew[2].nr_seen + crew[3].nr_seen, 0);
  ck_extents_match_count (store);
  store_free (store);
}
END_TEST

#define CROWD_LIMIT_PAGES 64u

static void *
crowd_main (void *arg)
{
  struct crew *me = arg;
  struct rng rng = rng_stream (500 + me->index);
  uint8_t *buf = must_alloc (32 * PAGE);

  memset (buf, (int)me->index + 1, 32 * PAGE);
  for (unsigned op = 0; op < me->nr_ops; op++) {
    /* Far more than the limit allows; some across chunks, some not. */
    uint64_t offset = rng_below (&rng, 300) * PAGE + rng_below (&rng, PAGE);
    size_t bytes = 1 + rng_below (&rng, 24 * PAGE);
    int r = 0;

    switch (rng_below (&rng, 4)) {
    case 0:
    case 1:
      r = store_write (me->store, buf, bytes, offset);
      break;
    case 2:
      r = store_write_zeroes (me->store, bytes, offset, true);
      break;
    case 3:
      store_discard (me->store, 4 * bytes, offset);
      break;
    }
    FAIL_UNLESS (r == 0 || r == -ENOSPC);
    me->nr_seen += r == -ENOSPC;
    FAIL_UNLESS (store_allocated_bytes (me->store) <= CROWD_LIMIT_PAGES * PAGE);
  }
  free (buf);
  return NULL;
}

START_TEST (limit_holds_in_a_crowd_and_nothing_leaks)
{
  static void *(*const mains[]) (void *)
      = { crowd_main, crowd_main, crowd_main, crowd_main };
  struct store *store = must_store (8 * MIB, CROWD_LIMIT_PAGES * PAGE);
  struct crew crew[NR_THREADS];
  uint8_t *buf = must_alloc (CROWD_LIMIT_PAGES * PAGE);

  run_crew (store, mains, 4, 20000, crew);
  for (unsigned i = 0; i < 4; i++)
    ck_assert_uint_gt (crew[i].nr_seen, 0);
  ck_extents_match_count (store);

  /* All of the limit can be had again. */
  store_discard (store, 8 * MIB, 0);
  ck_assert_uint_eq (store_allocated_bytes (store), 0);
  must_write (store, buf, CROWD_LIMIT_PAGES * PAGE, PAGE / 2 * 4);
  store_free (store);
  free (buf);
}
END_TEST

/* The lower half of the space is discarded over and over, while tables grow
 * and shrink under the walk.  The upper half must not notice.  All chunks fall
 * into two shards, so that a walk takes many rounds and others come in between.
 */
#define HALF (UINT64_C (1) << 61)
#define NR_KEEPERS 300u
#define NR_MINE 300u

static uint64_t keepers[NR_KEEPERS];

/* A random chunk, odd or even, in the two shards. */
static uint64_t
crowded_chunk (const struct store *store, struct rng *rng, uint64_t odd)
{
  uint64_t index;

  do
    index = (rng_below (rng, HALF >> CHUNK_SHIFT) & ~UINT64_C (1)) | odd;
  while (chunk_hash (store, index) % NR_SHARDS >= 2);
  return index << CHUNK_SHIFT;
}

static void *
discard_half_main (void *arg)
{
  struct crew *me = arg;
  struct rng rng = rng_stream (600 + me->index);

  for (unsigned op = 0; op < me->nr_ops / 200; op++) {
    uint64_t mine[NR_MINE];

    /* What was there before the discard began is gone when it has ended.
     * Odd chunks are this thread's alone.
     */
    for (unsigned i = 0; i < NR_MINE; i++) {
      mine[i] = crowded_chunk (me->store, &rng, 1);
      must_write (me->store, "m", 1, mine[i]);
    }
    store_discard (me->store, HALF, 0);
    for (unsigned i = 0; i < NR_MINE; i++)
      FAIL_UNLESS (byte_at (me->store, mine[i]) == 0);
  }
  return NULL;
}

static void *
churn_main (void *arg)
{
  struct crew *me = arg;
  struct rng rng = rng_stream (600 + me->index);

  for (unsigned op = 0; op < me->nr_ops; op++) {
    uint64_t at = crowded_chunk (me->store, &rng, 0);
    uint8_t byte;

    store_prefetch (me->store, at); /* beside a table that is replaced */
    must_write (me->store, "c", 1, at);
    byte = byte_at (me->store, at);
    FAIL_UNLESS (byte == 'c' || byte == 0);
    FAIL_UNLESS (byte_at (me->store, keepers[rng_below (&rng, NR_KEEPERS)])
                 == 'k');
  }
  return NULL;
}

static int
see_keepers (uint64_t offset_bytes, uint64_t bytes, unsigned type, void *opaque)
{
  uint64_t *nr = opaque;

  (void)bytes;
  *nr += type == 0 && offset_bytes >= HALF;
  return 0;
}

static void *
watch_extents_main (void *arg)
{
  struct crew *me = arg;

  for (unsigned op = 0; op < me->nr_ops / 100; op++) {
    uint64_t nr = 0;

    FAIL_UNLESS (store_extents (me->store, 0, MAX_SIZE, see_keepers, &nr) == 0);
    FAIL_UNLESS (nr == NR_KEEPERS);
  }
  return NULL;
}

START_TEST (huge_discard_spares_what_lies_outside)
{
  static void *(*const mains[]) (void *)
      = { discard_half_main, churn_main, churn_main, watch_extents_main };
  struct store *store = must_store (MAX_SIZE, 0);
  struct crew crew[NR_THREADS];

  for (unsigned i = 0; i < NR_KEEPERS; i++) {
    keepers[i] = HALF + 2 * i * CHUNK_BYTES;
    while (chunk_hash (store, keepers[i] >> CHUNK_SHIFT) % NR_SHARDS >= 2)
      keepers[i] += NR_KEEPERS * 2 * CHUNK_BYTES;
    must_write (store, "k", 1, keepers[i]);
  }
  run_crew (store, mains, 4, 20000, crew);

  store_discard (store, HALF, 0);
  ck_assert_uint_eq (store_allocated_bytes (store), NR_KEEPERS * PAGE);
  for (unsigned i = 0; i < NR_KEEPERS; i++)
    ck_assert_uint_eq (byte_at (store, keepers[i]), 'k');
  ck_extents_match_count (store);
  store_free (store);
}
END_TEST

int
main (void)
{
  TCase *tcase = tcase_create ("threads");

  tcase_add_test (tcase, sectors_never_tear);
  tcase_add_test (tcase, limit_holds_in_a_crowd_and_nothing_leaks);
  tcase_add_test (tcase, huge_discard_spares_what_lies_outside);
  return run_tests ("store-threads", tcase);
}
