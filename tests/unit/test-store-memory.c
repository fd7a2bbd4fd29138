/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-store-memory.c: the memory of the sparse store: what is resident, what
 * the limit allows, and what happens when there is none.  One thread.
 */

#include "store-model.h"

static uint64_t
resident_bytes (void)
{
  FILE *fp = fopen ("/proc/self/statm", "r");
  uint64_t pages;

  ck_assert_ptr_nonnull (fp);
  ck_assert_int_eq (fscanf (fp, "%*u %" SCNu64, &pages), 1);
  fclose (fp);
  return pages * (uint64_t)sysconf (_SC_PAGESIZE);
}

START_TEST (scattered_small_writes_take_a_page_each)
{
  struct store *store = must_store (MAX_SIZE, 0);
  uint8_t *buf = must_alloc (CHUNK_BYTES);
  const unsigned nr = 4096;

  for (uint64_t i = 0; i < nr; i++)
    must_write (store, "x", 1, i * 1000 * CHUNK_BYTES + 5000);
  ck_assert_uint_eq (resident_pages (store), nr);

  /* Reading round about them takes nothing. */
  for (uint64_t i = 0; i < nr; i++)
    store_read (store, buf, CHUNK_BYTES, i * 1000 * CHUNK_BYTES + 10 * PAGE);
  ck_assert_uint_eq (resident_pages (store), nr);

  store_discard (store, MAX_SIZE, 0);
  ck_assert_uint_eq (resident_pages (store), 0);
  store_free (store);
  free (buf);
}
END_TEST

START_TEST (discard_and_write_zeroes_give_memory_back)
{
  struct store *store = must_store (MAX_SIZE, 0);
  const uint64_t bytes = 64 * MIB;
  uint8_t *buf = must_alloc (MIB);
  uint64_t left = 0, before, after;

  memset (buf, 1, MIB);
  for (uint64_t at = 0; at < bytes; at += MIB)
    must_write (store, buf, MIB, at);
  ck_assert_uint_eq (resident_pages (store), bytes / PAGE);
  before = resident_bytes ();

  switch (_i) {
  case 0: /* all at once, by the tables */
    store_discard (store, MAX_SIZE, 0);
    break;
  case 1: /* in pieces of an odd number of chunks, by index */
    for (uint64_t at = 0; at < bytes; at += 65 * CHUNK_BYTES)
      store_discard (store, 65 * CHUNK_BYTES, at);
    break;
  case 2:
    ck_assert_int_eq (store_write_zeroes (store, bytes, 0, false), 0);
    break;
  case 3: /* page by page, so that chunks stay with holes in them */
    for (uint64_t at = 0; at < bytes; at += PAGE) {
      if (at % CHUNK_BYTES != 5 * PAGE)
        store_discard (store, PAGE, at);
    }
    left = bytes / CHUNK_PAGES;
    break;
  }
  ck_assert_uint_eq (store_allocated_bytes (store), left);
  ck_assert_uint_eq (resident_pages (store), left / PAGE);

  /* And the process as a whole shows it. */
  after = resident_bytes ();
  ck_assert_msg (after + bytes * 3 / 4 <= before,
                 "resident: %" PRIu64 " bytes before, %" PRIu64 " after",
                 before, after);
  store_free (store);
  free (buf);
}
END_TEST

START_TEST (memory_that_is_used_again_reads_as_zeros)
{
  struct store *store = must_store (MAX_SIZE, 0);
  uint8_t *buf = must_alloc (16 * CHUNK_BYTES);
  uint64_t mapped_bytes = 0;

  memset (buf, 0xff, 16 * CHUNK_BYTES);
  for (uint64_t round = 0; round < 200; round++) {
    uint64_t at = round * 1000 * CHUNK_BYTES;

    must_write (store, buf, 16 * CHUNK_BYTES, at);
    store_discard (store, 16 * CHUNK_BYTES, at);
    must_write (store, "x", 1, at + 500 * CHUNK_BYTES + 4 * PAGE + 10);
    ck_reads_as (store, at + 500 * CHUNK_BYTES, 4 * PAGE + 10, 0);
    ck_assert_uint_eq (byte_at (store, at + 500 * CHUNK_BYTES + 4 * PAGE + 10),
                       'x');
    ck_reads_as (store, at + 500 * CHUNK_BYTES + 4 * PAGE + 11, 11 * PAGE - 11,
                 0);
    store_discard (store, MAX_SIZE, 0);
    if (round == 0)
      mapped_bytes = store->pool.mapped_bytes;
  }
  ck_assert_uint_eq (store->pool.mapped_bytes, mapped_bytes);
  ck_assert_uint_eq (resident_pages (store), 0);
  store_free (store);
  free (buf);
}
END_TEST

/* madvise refuses locked memory on kernels before 5.18: it must be zeroed
 * all the same.  Where locking is not permitted (or a sanitizer makes it do
 * nothing) this is the ordinary case once more.
 */
START_TEST (locked_memory_is_discarded_too)
{
  struct store *store;
  uint8_t *buf = must_alloc (8 * CHUNK_BYTES);

  memset (buf, 0xff, 8 * CHUNK_BYTES);
  if (mlockall (MCL_CURRENT | MCL_FUTURE) < 0)
    printf ("locked_memory_is_discarded_too: mlockall: %s\n", strerror (errno));
  store = must_store (MAX_SIZE, 0);
  must_write (store, buf, 8 * CHUNK_BYTES, 0);
  store_discard (store, 6 * PAGE, 3 * PAGE);
  ck_reads_as (store, 0, 3 * PAGE, 0xff);
  ck_reads_as (store, 3 * PAGE, 6 * PAGE, 0);
  ck_reads_as (store, 9 * PAGE, 7 * PAGE, 0xff);
  must_write (store, "x", 1, 5 * PAGE);
  ck_reads_as (store, 5 * PAGE + 1, PAGE - 1, 0);
  store_discard (store, MAX_SIZE, 0);
  for (uint64_t i = 0; i < 8; i++)
    must_write (store, "x", 1, i * CHUNK_BYTES);
  for (uint64_t i = 0; i < 8; i++)
    ck_reads_as (store, i * CHUNK_BYTES + 1, CHUNK_BYTES - 1, 0);
  store_free (store);
  munlockall ();
  free (buf);
}
END_TEST

/* On a system with larger pages our pages are parts of its. */
START_TEST (parts_of_a_system_page_are_zeroed_and_no_more)
{
  uint8_t *data = mmap (NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  ck_assert_ptr_ne (data, MAP_FAILED);
  memset (data, 9, 4 * PAGE);
  store_release_pages (data + PAGE + 512, 1024);
  ck_all_bytes (data, PAGE + 512, 9);
  ck_all_bytes (data + PAGE + 512, 1024, 0);
  ck_all_bytes (data + PAGE + 1536, 3 * PAGE - 1536, 9);
  store_release_pages (data + 3 * PAGE, 512); /* madvise would round it up */
  ck_all_bytes (data + 3 * PAGE, 512, 0);
  ck_all_bytes (data + 3 * PAGE + 512, PAGE - 512, 9);
  munmap (data, 4 * PAGE);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* The limit                                                                 */

START_TEST (limit_refuses_what_would_pass_it_and_nothing_else)
{
  const uint64_t limit = 10 * PAGE;
  struct store *store = must_store (MIB, limit + PAGE - 1);
  uint8_t *old = must_alloc (CHUNK_BYTES), *new = must_alloc (CHUNK_BYTES);

  memset (old, 1, CHUNK_BYTES);
  memset (new, 2, CHUNK_BYTES);

  /* Across a chunk's border: 4 pages before it, 4 behind. */
  must_write (store, old, 8 * PAGE, CHUNK_BYTES - 4 * PAGE);
  ck_assert_uint_eq (store_allocated_bytes (store), 8 * PAGE);

  /* 3 missing, 2 free. */
  ck_assert_int_eq (store_write (store, new, 11 * PAGE, CHUNK_BYTES - 6 * PAGE),
                    -ENOSPC);
  ck_assert_int_eq (store_write (store, new, 3 * PAGE, 8 * CHUNK_BYTES),
                    -ENOSPC);
  ck_assert_uint_eq (store_allocated_bytes (store), 8 * PAGE);
  ck_reads_as (store, 0, CHUNK_BYTES - 4 * PAGE, 0);
  ck_reads_as (store, CHUNK_BYTES - 4 * PAGE, 8 * PAGE, 1);
  ck_reads_as (store, CHUNK_BYTES + 4 * PAGE, MIB - CHUNK_BYTES - 4 * PAGE, 0);

  /* 2 missing, 2 free; a byte of a page is a page. */
  must_write (store, new, 8 * PAGE + 2, CHUNK_BYTES - 4 * PAGE - 1);
  ck_assert_uint_eq (store_allocated_bytes (store), limit);

  /* At the limit: all that is there can be overwritten. */
  must_write (store, old, 10 * PAGE, CHUNK_BYTES - 5 * PAGE);
  ck_reads_as (store, CHUNK_BYTES - 5 * PAGE, 10 * PAGE, 1);
  ck_assert_int_eq (store_write_zeroes (store, 2 * PAGE, CHUNK_BYTES, true), 0);
  ck_assert_int_eq (store_write (store, new, 1, 0), -ENOSPC);
  ck_assert_int_eq (store_write (store, new, 1, 9 * CHUNK_BYTES), -ENOSPC);
  ck_assert_int_eq (store_write_zeroes (store, 1, 9 * CHUNK_BYTES, true),
                    -ENOSPC);

  /* A discard makes room for as much as it frees. */
  store_discard (store, PAGE, CHUNK_BYTES);
  ck_assert_int_eq (store_write (store, new, PAGE + 1, 9 * CHUNK_BYTES),
                    -ENOSPC);
  must_write (store, new, PAGE, 9 * CHUNK_BYTES);
  ck_assert_int_eq (store_write_zeroes (store, CHUNK_BYTES, 0, false), 0);
  ck_assert_uint_eq (store_allocated_bytes (store), 5 * PAGE);
  ck_assert_int_eq (store_write_zeroes (store, 5 * PAGE, PAGE, true), 0);
  ck_assert_uint_eq (store_allocated_bytes (store), limit);
  ck_extents_match_count (store);
  store_free (store);
  free (old);
  free (new);
}
END_TEST

START_TEST (limit_counts_what_the_range_lacks_and_nothing_outside)
{
  /* So long that the tables are walked to count it. */
  const size_t bytes = 2 * NR_SHARDS * CHUNK_BYTES;
  const uint64_t begin = 1000 * CHUNK_BYTES - PAGE, end = begin + bytes;
  const uint64_t nr_outside = 40;
  struct store *store = must_store (MAX_SIZE, bytes + (nr_outside - 1) * PAGE);
  uint8_t *buf = must_alloc (bytes);

  memset (buf, 5, bytes);
  must_write (store, buf, nr_outside / 4 * PAGE, begin - nr_outside / 4 * PAGE);
  must_write (store, buf, nr_outside / 4 * PAGE, end);
  must_write (store, buf, nr_outside / 2 * PAGE, end + 100 * MIB);
  must_write (store, buf, 7 * PAGE, begin);
  must_write (store, buf, 7 * PAGE, end - 7 * PAGE);

  memset (buf, 6, bytes);
  ck_assert_int_eq (store_write (store, buf, bytes, begin), -ENOSPC);
  ck_assert_int_eq (store_write_zeroes (store, bytes, begin, true), -ENOSPC);
  ck_assert_uint_eq (store_allocated_bytes (store), (nr_outside + 14) * PAGE);
  ck_reads_as (store, begin, 7 * PAGE, 5);
  ck_reads_as (store, begin + 7 * PAGE, bytes - 14 * PAGE, 0);

  store_discard (store, PAGE, end);
  must_write (store, buf, bytes, begin);
  ck_reads_as (store, begin, bytes, 6);
  ck_extents_match_count (store);
  store_free (store);
  free (buf);
}
END_TEST

START_TEST (promises_that_cannot_be_kept_are_refused_at_once)
{
  struct store *limited = must_store (MAX_SIZE, UINT64_C (1) << 40);
  struct store *store = must_store (MAX_SIZE, 0);

  /* One by one these pages would take for ever. */
  must_write (limited, "x", 1, MAX_SIZE / 2);
  must_write (store, "x", 1, MAX_SIZE / 2);
  ck_assert_int_eq (store_write_zeroes (limited, MAX_SIZE, 0, true), -ENOSPC);
  ck_assert_int_eq (store_write_zeroes (store, MAX_SIZE, 0, true), -ENOMEM);
  ck_assert_uint_eq (store_allocated_bytes (limited), PAGE);
  ck_assert_uint_eq (store_allocated_bytes (store), PAGE);
  ck_assert_uint_eq (byte_at (store, MAX_SIZE / 2), 'x');
  store_free (limited);
  store_free (store);
}
END_TEST

START_TEST (zeroes_that_stay_allocated_can_be_overwritten_at_the_limit)
{
  struct store *store = must_store (MAX_SIZE, 100 * PAGE);
  uint8_t *buf = must_alloc (100 * PAGE);

  memset (buf, 3, 100 * PAGE);
  ck_assert_int_eq (store_write_zeroes (store, 100 * PAGE, 5 * PAGE, true), 0);
  ck_assert_uint_eq (ck_extents_match_count (store).data_pages, 100);
  ck_reads_as (store, 5 * PAGE, 100 * PAGE, 0);
  ck_assert_int_eq (store_write (store, buf, 1, 0), -ENOSPC);
  must_write (store, buf, 100 * PAGE, 5 * PAGE);
  store_free (store);
  free (buf);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Failing allocations                                                       */

static long nr_allocs;      /* seen by the hook */
static long fail_from = -1; /* the number of the first that fails */
static bool fail_once;
static long nr_failed;

static bool
counting_hook (void)
{
  long n = nr_allocs++;

  if (fail_from < 0 || n < fail_from || (fail_once && n > fail_from))
    return true;
  nr_failed++;
  return false;
}

START_TEST (reads_and_overwrites_call_no_allocator)
{
  struct store *store = must_store (MAX_SIZE, 4 * MIB);
  uint8_t *buf = must_alloc (MIB);

  must_write (store, buf, MIB, PAGE);
  nr_allocs = 0;
  store_alloc_hook = counting_hook;
  for (unsigned i = 0; i < 100; i++) {
    store_read (store, buf, MIB, i * PAGE);
    must_write (store, buf, MIB - i * PAGE, PAGE + i * PAGE);
    ck_assert_int_eq (store_write_zeroes (store, PAGE, PAGE, true), 0);
  }
  ck_assert_int_eq (nr_allocs, 0);

  /* The hook is where it should be: there are more chunks than shards. */
  for (uint64_t i = 0; i < 2 * NR_SHARDS; i++)
    must_write (store, buf, 1, MAX_SIZE / 2 + i * CHUNK_BYTES);
  ck_assert_int_gt (nr_allocs, 0);
  store_alloc_hook = NULL;
  store_free (store);
  free (buf);
}
END_TEST

/* A write of BYTES at OFFSET that may fail for lack of memory.  If it does,
 * each chunk must be as it was or hold the new data, and nothing more is
 * allocated than was written; then, with memory again, it must succeed.
 */
static void
write_with_failures (struct model *m, uint64_t offset, uint64_t bytes)
{
  uint64_t end = m->base + offset + bytes;
  uint8_t *data = must_alloc (bytes), *now = must_alloc (bytes);
  long nr_failed_before = nr_failed;
  int r;

  rng_fill (&m->rng, data, bytes);
  r = store_write (m->store, data, bytes, m->base + offset);
  if (r < 0) {
    FAIL_UNLESS (r == -ENOMEM);
    FAIL_UNLESS (nr_failed > nr_failed_before);
    store_read (m->store, now, bytes, m->base + offset);
    for (uint64_t at = m->base + offset, next; at < end; at = next) {
      uint64_t o = at - m->base;

      next = (at / CHUNK_BYTES + 1) * CHUNK_BYTES;
      if (next > end)
        next = end;
      if (memcmp (now + (o - offset), data + (o - offset), next - at) == 0) {
        memcpy (m->data + o, data + (o - offset), next - at);
        model_allocate (m, o, next - at);
      }
    }
    ck_model_read (m, 0, m->bytes);
    ck_model_extents (m, 0, m->bytes);
    fail_from = -1;
    must_write (m->store, data, bytes, m->base + offset);
  }
  memcpy (m->data + offset, data, bytes);
  model_allocate (m, offset, bytes);
  free (data);
  free (now);
}

/* Chunks outside the window that all fall into two shards, so that tables grow
 * large; one byte in each.
 */
#define NR_PACKED 100u

struct packed {
  uint64_t offset[NR_PACKED];
  unsigned nr_written;
};

static void
packed_init (struct packed *packed, const struct store *store)
{
  uint64_t index = UINT64_C (1) << 30;

  for (unsigned i = 0; i < NR_PACKED; index++) {
    if (chunk_hash (store, index) % NR_SHARDS < 2)
      packed->offset[i++] = (index << CHUNK_SHIFT) + 3 * PAGE + 99;
  }
  packed->nr_written = 0;
}

static void
ck_packed (struct model *m, const struct packed *packed)
{
  for (unsigned i = 0; i < NR_PACKED; i++)
    FAIL_UNLESS (byte_at (m->store, packed->offset[i])
                 == (i < packed->nr_written ? (uint8_t)(i + 1) : 0));
  FAIL_UNLESS (store_allocated_bytes (m->store)
               == (m->nr_present + packed->nr_written) * PAGE);
}

static void
packed_write (struct model *m, struct packed *packed)
{
  uint8_t value = (uint8_t)(packed->nr_written + 1);
  uint64_t offset = packed->offset[packed->nr_written];
  int r = store_write (m->store, &value, 1, offset);

  if (r < 0) {
    FAIL_UNLESS (r == -ENOMEM);
    FAIL_UNLESS (nr_failed > 0);
    ck_packed (m, packed);
    fail_from = -1;
    must_write (m->store, &value, 1, offset);
  }
  packed->nr_written++;
}

/* Enough to map two regions, to grow tables and to shrink them. */
static void
work_with_failures (struct model *m)
{
  struct packed packed;

  packed_init (&packed, m->store);
  for (unsigned i = 0; i < 4; i++)
    write_with_failures (m, i * 3 * CHUNK_BYTES + CHUNK_BYTES - PAGE,
                         2 * CHUNK_BYTES);
  while (packed.nr_written < NR_PACKED)
    packed_write (m, &packed);
  ck_packed (m, &packed);

  /* Discards cannot fail, whatever the tables want. */
  while (packed.nr_written > 1)
    store_discard (m->store, PAGE, packed.offset[--packed.nr_written] - 99);
  ck_packed (m, &packed);
  store_discard (m->store, m->bytes - PAGE, m->base);
  model_discard (m, 0, m->bytes - PAGE);
  ck_model_read (m, 0, m->bytes);

  for (unsigned i = 0; i < 2; i++)
    write_with_failures (m, i * 4 * CHUNK_BYTES + 50, 2 * CHUNK_BYTES);
  while (packed.nr_written < NR_PACKED)
    packed_write (m, &packed);
  ck_packed (m, &packed);
  ck_model_read (m, 0, m->bytes);
}

/* Only the n-th fails, or all from the n-th on; with a limit or without. */
START_TEST (every_allocation_may_fail)
{
  const uint64_t limit = _i < 2 ? 0 : 12 * MIB;
  unsigned nr_runs = 0, nr_refused = 0;
  bool more = true;

  fail_once = _i % 2;
  store_alloc_hook = counting_hook;
  for (long n = 0; more; n++) {
    struct model m;

    nr_allocs = nr_failed = 0;
    fail_from = n;
    if (n == 0) { /* the store itself */
      errno = 0;
      ck_assert_ptr_null (store_alloc (MAX_SIZE, limit, base_seed));
      ck_assert_int_eq (errno, ENOMEM);
      continue;
    }
    model_init (&m, MAX_SIZE, 17 * CHUNK_BYTES, 14 * CHUNK_BYTES, limit, 300);
    work_with_failures (&m);
    more = nr_failed > 0;
    nr_refused += fail_from < 0;
    fail_from = -1;
    model_exit (&m);
    nr_runs++;
  }
  store_alloc_hook = NULL;
  /* Two regions with their lists, two tables that grow to 128 entries. */
  ck_assert_uint_gt (nr_runs, 2 * 3 + 2 * 5);
  ck_assert_uint_gt (nr_refused, 10);
}
END_TEST

int
main (void)
{
  TCase *tcase = tcase_create ("memory");

  tcase_add_test (tcase, scattered_small_writes_take_a_page_each);
  tcase_add_loop_test (tcase, discard_and_write_zeroes_give_memory_back, 0, 4);
  tcase_add_test (tcase, memory_that_is_used_again_reads_as_zeros);
  tcase_add_test (tcase, locked_memory_is_discarded_too);
  tcase_add_test (tcase, parts_of_a_system_page_are_zeroed_and_no_more);

  tcase_add_test (tcase, limit_refuses_what_would_pass_it_and_nothing_else);
  tcase_add_test (tcase, limit_counts_what_the_range_lacks_and_nothing_outside);
  tcase_add_test (tcase, promises_that_cannot_be_kept_are_refused_at_once);
  tcase_add_test (tcase,
                  zeroes_that_stay_allocated_can_be_overwritten_at_the_limit);

  tcase_add_test (tcase, reads_and_overwrites_call_no_allocator);
  tcase_add_loop_test (tcase, every_allocation_may_fail, 0, 4);
  return run_tests ("store-memory", tcase);
}
