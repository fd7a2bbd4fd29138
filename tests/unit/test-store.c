/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-store.c: the sparse store against a model, and at the edges of its
 * space.  One thread.
 */

#include "store-model.h"

static const struct {
  uint64_t size, base, bytes, limit;
  unsigned nr_steps;
} model_runs[] = {
  { 1, 0, 1, 0, 200 },
  { 511, 0, 511, 0, 500 },
  { PAGE + 1, 0, PAGE + 1, 0, 1000 },
  { 3 * MIB + 12345, 0, 3 * MIB + 12345, 0, 3000 },
  { 3 * MIB + 12345, 777, MIB, 0, 2000 },
  { 3 * MIB + 12345, 0, 3 * MIB + 12345, 300 * KIB + 5, 3000 },
  { 2 * MIB, 0, 2 * MIB, PAGE, 1000 },
  { MAX_SIZE, 0, MIB, 0, 1000 },
  { MAX_SIZE, MAX_SIZE / 2 - 100001, MIB, 0, 1000 },
  { MAX_SIZE, MAX_SIZE - MIB - 777, MIB + 777, 0, 2000 },
  { MAX_SIZE, MAX_SIZE - MIB - 777, MIB + 777, 64 * PAGE, 2000 },
  /* More chunks than tables are worth walking for. */
  { 1000 * MIB, 100 * MIB + 1, 40 * MIB, 0, 500 },
  { 1000 * MIB, 100 * MIB + 1, 40 * MIB, 6 * MIB, 500 },
};

START_TEST (random_operations_agree_with_a_model)
{
  struct model m;
  struct totals totals;

  model_init (&m, model_runs[_i].size, model_runs[_i].base,
              model_runs[_i].bytes, model_runs[_i].limit, 100 + (uint64_t)_i);
  for (unsigned i = 0; i < model_runs[_i].nr_steps; i++) {
    model_step (&m);
    if (i % 64 == 0)
      ck_assert_uint_le (resident_pages (m.store), m.nr_present);
  }
  ck_model_read (&m, 0, m.bytes);
  ck_model_extents (&m, 0, m.bytes);

  store_discard (m.store, m.store->size_bytes, 0);
  ck_assert_uint_eq (store_allocated_bytes (m.store), 0);
  ck_assert_uint_eq (resident_pages (m.store), 0);
  totals = ck_extents_match_count (m.store);
  ck_assert_uint_eq (totals.nr, 1);
  model_exit (&m);
}
END_TEST

START_TEST (both_ends_of_the_largest_store_are_usable)
{
  struct store *store = must_store (MAX_SIZE, 0);
  const uint8_t first[3] = { 1, 2, 3 }, last[3] = { 4, 5, 6 };
  uint8_t buf[3];
  struct totals totals;

  must_write (store, first, 3, 0);
  must_write (store, last, 3, MAX_SIZE - 3);
  store_read (store, buf, 3, 0);
  ck_assert_mem_eq (buf, first, 3);
  store_read (store, buf, 3, MAX_SIZE - 3);
  ck_assert_mem_eq (buf, last, 3);
  ck_assert_uint_eq (store_allocated_bytes (store), 2 * PAGE);

  totals = ck_extents_match_count (store);
  ck_assert_uint_eq (totals.nr, 3);

  store_discard (store, MAX_SIZE - 1, 0);
  ck_assert_uint_eq (byte_at (store, 0), 0);
  ck_assert_uint_eq (byte_at (store, MAX_SIZE - 2), 0);
  ck_assert_uint_eq (byte_at (store, MAX_SIZE - 1), 6);
  store_discard (store, MAX_SIZE, 0);
  ck_assert_uint_eq (store_allocated_bytes (store), 0);
  store_free (store);
}
END_TEST

START_TEST (empty_ranges_do_nothing)
{
  struct store *store = must_store (5000, PAGE);
  struct totals totals = { .nr = 0 };
  struct iovec none = { NULL, 0 };

  must_write (store, "", 0, 0);
  must_write (store, "", 0, 5000);
  ck_assert_int_eq (store_writev (store, &none, 0, 0, 5000), 0);
  store_readv (store, &none, 0, 0, 5000);
  store_discard (store, 0, 5000);
  ck_assert_int_eq (store_write_zeroes (store, 0, 5000, true), 0);
  ck_assert_int_eq (store_extents (store, 5000, 0, add_up, &totals), 0);
  ck_assert_uint_eq (totals.nr, 0);
  ck_assert_uint_eq (store_allocated_bytes (store), 0);
  store_free (store);
}
END_TEST

START_TEST (discard_of_part_of_a_page_zeroes_in_place)
{
  struct store *store = must_store (MIB, 0);
  uint8_t *buf = must_alloc (2 * PAGE);

  memset (buf, 7, 2 * PAGE);
  must_write (store, buf, 2 * PAGE, 0);
  store_discard (store, PAGE, 512); /* the end of one, the start of another */
  ck_assert_uint_eq (store_allocated_bytes (store), 2 * PAGE);
  ck_reads_as (store, 0, 512, 7);
  ck_reads_as (store, 512, PAGE, 0);
  ck_reads_as (store, PAGE + 512, PAGE - 512, 7);

  store_discard (store, 512, 10 * PAGE + 512); /* of a hole */
  ck_assert_uint_eq (store_allocated_bytes (store), 2 * PAGE);
  store_free (store);
  free (buf);
}
END_TEST

START_TEST (discard_to_the_end_frees_the_last_partial_page)
{
  struct store *store = must_store (3 * PAGE + 100, 0);

  must_write (store, "x", 1, 3 * PAGE + 99);
  must_write (store, "y", 1, 2 * PAGE);
  ck_assert_uint_eq (store_allocated_bytes (store), 2 * PAGE);
  store_discard (store, 99, 3 * PAGE);
  ck_assert_uint_eq (store_allocated_bytes (store), 2 * PAGE);
  store_discard (store, 100, 3 * PAGE);
  ck_assert_uint_eq (store_allocated_bytes (store), PAGE);
  ck_assert_uint_eq (byte_at (store, 3 * PAGE + 99), 0);
  ck_assert_uint_eq (byte_at (store, 2 * PAGE), 'y');
  store_free (store);
}
END_TEST

/* Islands: single pages far apart, over the whole space. */
struct island {
  uint64_t offset;
  uint8_t value; /* 0: discarded */
};

static int
compare_islands (const void *a, const void *b)
{
  const struct island *x = a, *y = b;

  return (x->offset > y->offset) - (x->offset < y->offset);
}

/* STRIDE_SHIFT 0: random chunks; else every 2^n-th. */
static struct island *
make_islands (struct store *store, struct rng *rng, unsigned nr,
              unsigned stride_shift)
{
  struct island *islands = must_alloc (nr * sizeof *islands);

  for (unsigned i = 0; i < nr; i++) {
    uint64_t chunk = stride_shift == 0
                         ? rng_below (rng, store->size_bytes >> CHUNK_SHIFT)
                         : (uint64_t)i << stride_shift;

    islands[i].offset = (chunk << CHUNK_SHIFT) + rng_below (rng, CHUNK_BYTES);
    islands[i].value = (uint8_t)(rng_next (rng) | 1);
  }
  qsort (islands, nr, sizeof *islands, compare_islands);
  for (unsigned i = 0; i < nr; i++)
    must_write (store, &islands[i].value, 1, islands[i].offset);
  return islands;
}

struct island_check {
  const struct island *islands;
  unsigned nr, next;
};

static int
check_island (uint64_t offset_bytes, uint64_t bytes, unsigned type,
              void *opaque)
{
  struct island_check *check = opaque;

  if (type == HOLE)
    return 0;
  for (uint64_t page = offset_bytes; page < offset_bytes + bytes;
       page += PAGE) {
    while (check->next < check->nr && check->islands[check->next].value == 0)
      check->next++;
    FAIL_UNLESS (check->next < check->nr);
    FAIL_UNLESS (check->islands[check->next].offset / PAGE == page / PAGE);
    check->next++;
  }
  return 0;
}

static void
ck_islands (struct store *store, const struct island *islands, unsigned nr)
{
  struct island_check check = { islands, nr, 0 };
  unsigned nr_left = 0;

  for (unsigned i = 0; i < nr; i++) {
    nr_left += islands[i].value != 0;
    FAIL_UNLESS (byte_at (store, islands[i].offset) == islands[i].value);
  }
  FAIL_UNLESS (store_allocated_bytes (store) == nr_left * PAGE);
  FAIL_UNLESS (store_extents (store, 0, store->size_bytes, check_island, &check)
               == 0);
  while (check.next < nr && islands[check.next].value == 0)
    check.next++;
  FAIL_UNLESS (check.next == nr);
}

static const unsigned strides[] = { 0, 1, 8, 9, 20, 33 };

START_TEST (far_islands_are_found_and_discarded_quickly)
{
  /* Look-ups alone would take 2^47 steps for each call. */
  struct store *store = must_store (MAX_SIZE, 0);
  struct rng rng = rng_stream (200 + (uint64_t)_i);
  unsigned nr = 3000, nr_entries = 0;
  struct island *islands = make_islands (store, &rng, nr, strides[_i]);

  ck_islands (store, islands, nr);
  for (unsigned round = 0; round < 20; round++) {
    /* From the neighbourhood of one to that of another. */
    uint64_t a = islands[rng_below (&rng, nr)].offset;
    uint64_t b = islands[rng_below (&rng, nr)].offset;
    uint64_t begin, end;

    if (a > b) {
      uint64_t c = a;

      a = b;
      b = c;
    }
    begin = a / PAGE * PAGE + (rng_below (&rng, 2) ? PAGE : 0);
    end = b / PAGE * PAGE + (rng_below (&rng, 2) ? PAGE : 0);
    if (begin >= end)
      continue;
    store_discard (store, end - begin, begin);
    for (unsigned i = 0; i < nr; i++) {
      if (islands[i].offset >= begin && islands[i].offset < end)
        islands[i].value = 0;
    }
    ck_islands (store, islands, nr);

    /* Some come back, so that there is always something left to do. */
    for (unsigned i = 0; i < nr; i++) {
      if (islands[i].value == 0 && rng_below (&rng, 3) > 0) {
        islands[i].value = 1;
        must_write (store, &islands[i].value, 1, islands[i].offset);
      }
    }
  }

  store_discard (store, MAX_SIZE, 0);
  for (unsigned i = 0; i < nr; i++)
    islands[i].value = 0;
  ck_islands (store, islands, nr);

  /* And the tables have shrunk to their least. */
  for (unsigned s = 0; s < NR_SHARDS; s++) {
    if (store->shards[s].table != NULL)
      nr_entries += store->shards[s].mask + 1;
  }
  ck_assert_uint_le (nr_entries, NR_SHARDS * 8);
  free (islands);
  store_free (store);
}
END_TEST

START_TEST (chunks_at_any_stride_spread_over_the_shards)
{
  for (unsigned shift = 0; shift < 35; shift++) {
    struct store *store = must_store (MAX_SIZE, 0);

    for (uint64_t i = 0; i < 4096; i++) {
      uint64_t hash = chunk_hash (store, i << shift);

      shard_of (store, hash)->nr_chunks++;
    }
    /* 16 on average; four times that does not happen by chance. */
    for (unsigned s = 0; s < NR_SHARDS; s++) {
      ck_assert_uint_lt (store->shards[s].nr_chunks, 64);
      store->shards[s].nr_chunks = 0;
    }
    store_free (store);
  }
}
END_TEST

int
main (void)
{
  TCase *tcase = tcase_create ("one thread");

  tcase_add_loop_test (tcase, random_operations_agree_with_a_model, 0,
                       sizeof model_runs / sizeof model_runs[0]);
  tcase_add_test (tcase, both_ends_of_the_largest_store_are_usable);
  tcase_add_test (tcase, empty_ranges_do_nothing);
  tcase_add_test (tcase, discard_of_part_of_a_page_zeroes_in_place);
  tcase_add_test (tcase, discard_to_the_end_frees_the_last_partial_page);
  tcase_add_loop_test (tcase, far_islands_are_found_and_discarded_quickly, 0,
                       sizeof strides / sizeof strides[0]);
  tcase_add_test (tcase, chunks_at_any_stride_spread_over_the_shards);
  return run_tests ("store", tcase);
}
