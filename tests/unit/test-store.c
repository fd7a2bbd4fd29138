/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-store.c: the sparse store against a model, at its edges, short of
 * memory and under threads.
 *
 * Every random choice comes from one seed, which is printed; BLKMQ_SEED sets
 * it.
 */

#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "blkmq.h"
#include "drivers/store-internal.h"

#define PAGE STORE_PAGE_BYTES
#define SECTOR 512u
#define KIB UINT64_C (1024)
#define MIB (1024 * KIB)
#define MAX_SIZE ((uint64_t)INT64_MAX)
#define HOLE (BLKMQ_EXTENT_HOLE | BLKMQ_EXTENT_ZERO)

/* Check writes a record for each assertion that holds: not for inner loops,
 * nor for threads.
 */
#define FAIL_UNLESS(cond)                                                      \
  do {                                                                         \
    if (!(cond))                                                               \
      ck_abort_msg ("not so: %s", #cond);                                      \
  } while (0)

static uint64_t base_seed;

/* ------------------------------------------------------------------------ */
/* Helpers                                                                   */

struct rng {
  uint64_t state;
};

/* A stream of its own for each test and thread. */
static struct rng
rng_stream (uint64_t stream)
{
  struct rng rng = { base_seed + stream * UINT64_C (0xd1342543de82ef95) };

  return rng;
}

static uint64_t
rng_next (struct rng *rng)
{
  uint64_t x = rng->state += UINT64_C (0x9e3779b97f4a7c15);

  x = (x ^ (x >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C (0x94d049bb133111eb);
  return x ^ (x >> 31);
}

static uint64_t
rng_below (struct rng *rng, uint64_t n)
{
  return rng_next (rng) % n;
}

static void
rng_fill (struct rng *rng, uint8_t *buf, size_t bytes)
{
  for (size_t i = 0; i < bytes; i++)
    buf[i] = (uint8_t)(rng_next (rng) | 1); /* never zero: not a hole */
}

static void *
must_alloc (size_t bytes)
{
  void *p = calloc (1, bytes > 0 ? bytes : 1);

  ck_assert_ptr_nonnull (p);
  return p;
}

static struct store *
must_store (uint64_t size_bytes, uint64_t limit_bytes)
{
  struct store *store = store_alloc (size_bytes, limit_bytes, base_seed);

  ck_assert_ptr_nonnull (store);
  return store;
}

static void
must_write (struct store *store, const void *buf, size_t bytes,
            uint64_t offset_bytes)
{
  FAIL_UNLESS (store_write (store, buf, bytes, offset_bytes) == 0);
}

static uint8_t
byte_at (struct store *store, uint64_t offset_bytes)
{
  uint8_t byte = 0xee;

  store_read (store, &byte, 1, offset_bytes);
  return byte;
}

static void
ck_all_bytes (const uint8_t *buf, size_t bytes, uint8_t value)
{
  for (size_t i = 0; i < bytes; i++) {
    if (buf[i] != value)
      ck_abort_msg ("byte %zu is %u, not %u", i, buf[i], value);
  }
}

static void
ck_reads_as (struct store *store, uint64_t offset_bytes, size_t bytes,
             uint8_t value)
{
  uint8_t *buf = must_alloc (bytes);

  memset (buf, ~value, bytes);
  store_read (store, buf, bytes, offset_bytes);
  ck_all_bytes (buf, bytes, value);
  free (buf);
}

struct totals {
  uint64_t nr, data_pages, next;
  unsigned last_type;
};

static int
add_up (uint64_t offset_bytes, uint64_t bytes, unsigned type, void *opaque)
{
  struct totals *totals = opaque;

  ck_assert_uint_gt (bytes, 0);
  ck_assert_uint_eq (offset_bytes, totals->next);
  FAIL_UNLESS (type == 0 || type == HOLE);
  FAIL_UNLESS (totals->nr == 0 || type != totals->last_type); /* merged */
  if (type == 0)
    totals->data_pages
        += ((offset_bytes + bytes - 1) / PAGE) - offset_bytes / PAGE + 1;
  totals->next = offset_bytes + bytes;
  totals->last_type = type;
  totals->nr++;
  return 0;
}

/* What extents say of the whole store; at rest it must be what it counts. */
static struct totals
ck_extents_match_count (struct store *store)
{
  struct totals totals = { .nr = 0 };

  ck_assert_int_eq (
      store_extents (store, 0, store->size_bytes, add_up, &totals), 0);
  ck_assert_uint_eq (totals.next, store->size_bytes);
  ck_assert_uint_eq (totals.data_pages * PAGE, store_allocated_bytes (store));
  return totals;
}

/* ------------------------------------------------------------------------ */
/* The model: a window of a store, byte by byte                              */

struct model {
  struct store *store;
  struct rng rng;
  uint64_t base, bytes; /* the window */
  uint64_t limit_pages; /* UINT64_MAX: none */
  uint8_t *data;
  bool *present; /* per page, the first is the one that BASE lies in */
  uint64_t nr_present;
  uint8_t *scratch;
};

static void
model_init (struct model *m, uint64_t size, uint64_t base, uint64_t bytes,
            uint64_t limit_bytes, uint64_t stream)
{
  m->store = must_store (size, limit_bytes);
  m->rng = rng_stream (stream);
  m->base = base;
  m->bytes = bytes;
  m->limit_pages = limit_bytes == 0 ? UINT64_MAX : limit_bytes / PAGE;
  m->data = must_alloc (bytes);
  m->present = must_alloc (bytes / PAGE + 2);
  m->nr_present = 0;
  m->scratch = must_alloc (bytes);
}

static void
model_exit (struct model *m)
{
  store_free (m->store);
  free (m->data);
  free (m->present);
  free (m->scratch);
}

static bool *
model_page (struct model *m, uint64_t offset)
{
  return &m->present[(m->base + offset) / PAGE - m->base / PAGE];
}

static uint64_t
model_missing (struct model *m, uint64_t offset, uint64_t bytes)
{
  uint64_t nr = 0;

  for (bool *p = model_page (m, offset);
       p <= model_page (m, offset + bytes - 1); p++)
    nr += !*p;
  return nr;
}

static void
model_allocate (struct model *m, uint64_t offset, uint64_t bytes)
{
  for (bool *p = model_page (m, offset);
       p <= model_page (m, offset + bytes - 1); p++) {
    m->nr_present += !*p;
    *p = true;
  }
}

static void
model_discard (struct model *m, uint64_t offset, uint64_t bytes)
{
  uint64_t end = m->base + offset + bytes;

  memset (m->data + offset, 0, bytes);
  if (end == m->store->size_bytes)
    end = (end + PAGE - 1) / PAGE * PAGE;
  for (uint64_t page = (m->base + offset + PAGE - 1) / PAGE;
       (page + 1) * PAGE <= end; page++) {
    bool *p = &m->present[page - m->base / PAGE];

    m->nr_present -= *p;
    *p = false;
  }
}

/* Cut BYTES of BUF in odd segments, some of them empty, behind bytes to skip.
 * Returns how many those are.
 */
#define MAX_CUTS 8

static size_t
cut_segments (struct rng *rng, uint8_t *buf, size_t bytes,
              struct iovec segments[MAX_CUTS])
{
  static uint8_t unused[64];
  size_t skip = rng_below (rng, 2) ? rng_below (rng, sizeof unused) : 0;
  size_t first_unused = skip > 0 ? rng_below (rng, skip + 1) : 0;
  unsigned n = 0;

  /* Whatever is skipped lies in a segment of its own and before the data. */
  segments[n++] = (struct iovec){ unused, first_unused };
  if (skip - first_unused > 0)
    segments[n++] = (struct iovec){ unused, skip - first_unused };
  while (n < MAX_CUTS - 1) {
    size_t len = rng_below (rng, 3) == 0 ? 0 : rng_below (rng, bytes + 1);

    segments[n++] = (struct iovec){ buf, len };
    buf += len;
    bytes -= len;
  }
  segments[n] = (struct iovec){ buf, bytes };
  return skip;
}

static void
ck_model_read (struct model *m, uint64_t offset, uint64_t bytes)
{
  memset (m->scratch, 0xa5, bytes);
  if (rng_below (&m->rng, 2)) {
    struct iovec segments[MAX_CUTS];
    size_t skip = cut_segments (&m->rng, m->scratch, bytes, segments);

    store_readv (m->store, segments, skip, bytes, m->base + offset);
  } else
    store_read (m->store, m->scratch, bytes, m->base + offset);
  ck_assert_msg (memcmp (m->scratch, m->data + offset, bytes) == 0,
                 "read of %" PRIu64 " bytes at %" PRIu64, bytes,
                 m->base + offset);
}

static void
model_write (struct model *m, uint64_t offset, uint64_t bytes)
{
  uint64_t missing = model_missing (m, offset, bytes);
  int r;

  rng_fill (&m->rng, m->scratch, bytes);
  if (rng_below (&m->rng, 2)) {
    struct iovec segments[MAX_CUTS];
    size_t skip = cut_segments (&m->rng, m->scratch, bytes, segments);

    r = store_writev (m->store, segments, skip, bytes, m->base + offset);
  } else
    r = store_write (m->store, m->scratch, bytes, m->base + offset);

  if (missing > m->limit_pages - m->nr_present) {
    ck_assert_int_eq (r, -ENOSPC);
    ck_model_read (m, offset, bytes);
    return;
  }
  ck_assert_int_eq (r, 0);
  memcpy (m->data + offset, m->scratch, bytes);
  model_allocate (m, offset, bytes);
}

static void
model_write_zeroes (struct model *m, uint64_t offset, uint64_t bytes,
                    bool nounmap)
{
  int r = store_write_zeroes (m->store, bytes, m->base + offset, nounmap);

  if (!nounmap) {
    ck_assert_int_eq (r, 0);
    model_discard (m, offset, bytes);
    return;
  }
  if (model_missing (m, offset, bytes) > m->limit_pages - m->nr_present) {
    ck_assert_int_eq (r, -ENOSPC);
    ck_model_read (m, offset, bytes);
    return;
  }
  ck_assert_int_eq (r, 0);
  memset (m->data + offset, 0, bytes);
  model_allocate (m, offset, bytes);
}

struct extent_check {
  struct model *m;
  uint64_t at;       /* the next must begin here, in the window */
  unsigned nr_until; /* stop after so many */
  unsigned nr;
  unsigned last_type;
};

static int
check_extent (uint64_t offset_bytes, uint64_t bytes, unsigned type,
              void *opaque)
{
  struct extent_check *check = opaque;

  ck_assert_uint_gt (bytes, 0);
  ck_assert_uint_eq (offset_bytes, check->m->base + check->at);
  FAIL_UNLESS (check->nr == 0 || type != check->last_type);
  for (bool *p = model_page (check->m, check->at);
       p <= model_page (check->m, check->at + bytes - 1); p++)
    ck_assert_uint_eq (type, *p ? 0 : HOLE);
  check->at += bytes;
  check->last_type = type;
  return ++check->nr == check->nr_until ? 42 : 0;
}

static void
ck_model_extents (struct model *m, uint64_t offset, uint64_t bytes)
{
  struct extent_check check = { .m = m, .at = offset };
  unsigned nr;

  ck_assert_int_eq (
      store_extents (m->store, m->base + offset, bytes, check_extent, &check),
      0);
  ck_assert_uint_eq (check.at, offset + bytes);
  nr = check.nr;

  check = (struct extent_check){
    .m = m, .at = offset, .nr_until = 1 + (unsigned)rng_below (&m->rng, nr)
  };
  ck_assert_int_eq (
      store_extents (m->store, m->base + offset, bytes, check_extent, &check),
      42);
  ck_assert_uint_eq (check.nr, check.nr_until);
}

/* A range of the window; short ones, page-sized ones and large ones. */
static void
model_range (struct model *m, uint64_t *offset, uint64_t *bytes)
{
  static const uint64_t longest[] = { 16, 2 * SECTOR, 3 * PAGE, 40 * PAGE };
  uint64_t kind = rng_below (&m->rng, 10);
  uint64_t max = kind < 9 ? longest[kind % 4] : m->bytes;

  if (max > m->bytes)
    max = m->bytes;
  *bytes = 1 + rng_below (&m->rng, max);
  *offset = rng_below (&m->rng, m->bytes - *bytes + 1);
  switch (rng_below (&m->rng, 4)) {
  case 0: /* whole pages, if the window has any there */
  {
    uint64_t begin = (m->base + *offset + PAGE - 1) / PAGE * PAGE - m->base;
    uint64_t end = (m->base + *offset + *bytes) / PAGE * PAGE;

    if (end > m->base + begin) {
      *offset = begin;
      *bytes = end - m->base - begin;
    }
  } break;
  case 1: /* up to the end */
    *offset = m->bytes - *bytes;
    break;
  default:
    break;
  }
}

static void
model_step (struct model *m)
{
  uint64_t offset, bytes;

  model_range (m, &offset, &bytes);
  switch (rng_below (&m->rng, 10)) {
  case 0:
  case 1:
  case 2:
    model_write (m, offset, bytes);
    break;
  case 3:
  case 4:
  case 5:
    ck_model_read (m, offset, bytes);
    break;
  case 6:
    store_discard (m->store, bytes, m->base + offset);
    model_discard (m, offset, bytes);
    break;
  case 7:
    model_write_zeroes (m, offset, bytes, false);
    break;
  case 8:
    model_write_zeroes (m, offset, bytes, true);
    break;
  case 9:
    ck_model_extents (m, offset, bytes);
    break;
  }
  ck_assert_uint_eq (store_allocated_bytes (m->store), m->nr_present * PAGE);
}

/* ------------------------------------------------------------------------ */
/* One thread                                                                */

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
  for (unsigned i = 0; i < model_runs[_i].nr_steps; i++)
    model_step (&m);
  ck_model_read (&m, 0, m.bytes);
  ck_model_extents (&m, 0, m.bytes);

  store_discard (m.store, m.store->size_bytes, 0);
  ck_assert_uint_eq (store_allocated_bytes (m.store), 0);
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
    ck_assert_uint_lt (check->next, check->nr);
    ck_assert_uint_eq (check->islands[check->next].offset / PAGE, page / PAGE);
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
    ck_assert_uint_eq (byte_at (store, islands[i].offset), islands[i].value);
  }
  ck_assert_uint_eq (store_allocated_bytes (store), nr_left * PAGE);
  FAIL_UNLESS (store_extents (store, 0, store->size_bytes, check_island, &check)
               == 0);
  while (check.next < nr && islands[check.next].value == 0)
    check.next++;
  ck_assert_uint_eq (check.next, nr);
}

START_TEST (far_islands_are_found_and_discarded_quickly)
{
  /* Look-ups alone would take 2^47 steps for each call. */
  struct store *store = must_store (MAX_SIZE, 0);
  struct rng rng = rng_stream (200 + (uint64_t)_i);
  static const unsigned strides[] = { 0, 1, 8, 9, 20, 33 };
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

/* ------------------------------------------------------------------------ */
/* Memory                                                                    */

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

static void
ck_resident_fell (uint64_t before, uint64_t by_bytes)
{
  uint64_t after = resident_bytes ();

  ck_assert_msg (after + by_bytes <= before,
                 "resident: %" PRIu64 " before, %" PRIu64
                 " after, which should be %" PRIu64 " less",
                 before, after, by_bytes);
}

START_TEST (scattered_small_writes_take_a_page_each)
{
  struct store *store = must_store (MAX_SIZE, 0);
  uint64_t before = resident_bytes (), after;
  const unsigned nr = 4096;

  for (uint64_t i = 0; i < nr; i++)
    must_write (store, "x", 1, i * 1000 * CHUNK_BYTES + 5000);
  after = resident_bytes ();
  ck_assert_uint_ge (after, before + nr * PAGE * 3 / 4);
  /* A chunk each would be twice this; the rest is for sanitizers. */
  ck_assert_uint_lt (after, before + nr * CHUNK_BYTES / 2);

  store_discard (store, MAX_SIZE, 0);
  ck_resident_fell (after, nr * PAGE * 3 / 4);
  store_free (store);
}
END_TEST

START_TEST (discard_and_write_zeroes_give_memory_back)
{
  struct store *store = must_store (MAX_SIZE, 0);
  const uint64_t bytes = 64 * MIB;
  uint8_t *buf = must_alloc (MIB);
  uint64_t before;

  memset (buf, 1, MIB);
  for (uint64_t at = 0; at < bytes; at += MIB)
    must_write (store, buf, MIB, at);
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
    ck_assert_uint_eq (store_allocated_bytes (store), bytes / 16);
    break;
  }
  ck_resident_fell (before, bytes * 3 / 4);
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
  struct store *store = must_store (MAX_SIZE, MIB);
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
  must_write (store, buf, 0, 0);
  store_discard (store, PAGE, MIB);
  must_write (store, buf, 1, MAX_SIZE / 3);
  ck_assert_int_gt (nr_allocs, 0); /* the hook is there */
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
    ck_assert_int_eq (r, -ENOMEM);
    ck_assert_int_gt (nr_failed, nr_failed_before);
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
    ck_assert_uint_eq (store_allocated_bytes (m->store), m->nr_present * PAGE);

    fail_from = -1;
    must_write (m->store, data, bytes, m->base + offset);
  }
  memcpy (m->data + offset, data, bytes);
  model_allocate (m, offset, bytes);
  free (data);
  free (now);
}

/* Enough work to map several regions and to grow and shrink tables. */
static void
work_with_failures (struct model *m)
{
  for (unsigned i = 0; i < 40; i++) {
    write_with_failures (m, i * 4 * CHUNK_BYTES + 100, 10);
    write_with_failures (m, i * 4 * CHUNK_BYTES + CHUNK_BYTES - PAGE,
                         2 * CHUNK_BYTES);
  }
  /* Discards cannot fail, whatever the tables want. */
  store_discard (m->store, m->bytes - PAGE, m->base);
  model_discard (m, 0, m->bytes - PAGE);
  ck_model_read (m, 0, m->bytes);
  for (unsigned i = 0; i < 10; i++)
    write_with_failures (m, i * 5 * CHUNK_BYTES + 50, CHUNK_BYTES);
  ck_model_read (m, 0, m->bytes);
  ck_assert_uint_eq (store_allocated_bytes (m->store), m->nr_present * PAGE);
}

START_TEST (every_allocation_may_fail)
{
  unsigned nr_runs = 0, nr_refused = 0;
  bool more = true;

  fail_once = _i % 2;
  for (long n = 0; more; n++) {
    uint64_t limit = _i < 2 ? 0 : 12 * MIB;
    struct model m;

    store_alloc_hook = counting_hook;
    nr_allocs = nr_failed = 0;
    fail_from = n;
    if (n == 0) { /* the store itself */
      errno = 0;
      ck_assert_ptr_null (store_alloc (MAX_SIZE, limit, base_seed));
      ck_assert_int_eq (errno, ENOMEM);
      continue;
    }
    /* All chunks together in few shards, or no table would ever grow. */
    model_init (&m, MAX_SIZE, 17 * CHUNK_BYTES, 161 * CHUNK_BYTES, limit, 300);
    for (unsigned s = 0; s < NR_SHARDS; s++)
      ck_assert_ptr_null (m.store->shards[s].table);
    work_with_failures (&m);
    more = nr_failed > 0;
    nr_refused += fail_from < 0;
    fail_from = -1;
    model_exit (&m);
    nr_runs++;
  }
  store_alloc_hook = NULL;
  /* Tables, regions and the list of free slots. */
  ck_assert_uint_gt (nr_runs, 50);
  ck_assert_uint_gt (nr_refused, 20);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Threads                                                                   */

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
        ck_assert_msg (sector[i] == sector[0], "torn: %" PRIx64 " and %" PRIx64,
                       sector[0], sector[i]);
      ck_assert_uint_le (sector[0] >> 32, 2);
      ck_assert_uint_le (sector[0] & UINT32_MAX, me->nr_ops);
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

  run_crew (store, mains, 5, 4000, crew);
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
    ck_assert_uint_le (store_allocated_bytes (me->store),
                       CROWD_LIMIT_PAGES * PAGE);
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

  run_crew (store, mains, 4, 4000, crew);
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
 * and shrink under the walk.  The upper half must not notice.
 */
#define HALF (UINT64_C (1) << 61)
#define NR_KEEPERS 300u

static uint64_t
keeper_offset (uint64_t i)
{
  return HALF + i * 12345 * CHUNK_BYTES;
}

static void *
discard_half_main (void *arg)
{
  struct crew *me = arg;
  struct rng rng = rng_stream (600 + me->index);

  for (unsigned op = 0; op < me->nr_ops / 20; op++) {
    uint64_t mine[40];

    /* What was there before the discard began is gone when it has ended.
     * Odd chunks are this thread's alone.
     */
    for (unsigned i = 0; i < 40; i++) {
      mine[i] = (rng_below (&rng, HALF >> CHUNK_SHIFT) | 1) << CHUNK_SHIFT;
      must_write (me->store, "m", 1, mine[i]);
    }
    store_discard (me->store, HALF, 0);
    for (unsigned i = 0; i < 40; i++)
      ck_assert_uint_eq (byte_at (me->store, mine[i]), 0);
  }
  return NULL;
}

static void *
churn_main (void *arg)
{
  struct crew *me = arg;
  struct rng rng = rng_stream (600 + me->index);

  for (unsigned op = 0; op < me->nr_ops; op++) {
    uint64_t at = rng_below (&rng, HALF >> CHUNK_SHIFT) >> 1 << 1;
    uint64_t keeper = keeper_offset (rng_below (&rng, NR_KEEPERS));

    must_write (me->store, "c", 1, at << CHUNK_SHIFT);
    at = byte_at (me->store, at << CHUNK_SHIFT);
    FAIL_UNLESS (at == 'c' || at == 0);
    ck_assert_uint_eq (byte_at (me->store, keeper), 'k');
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
    ck_assert_uint_eq (nr, NR_KEEPERS);
  }
  return NULL;
}

START_TEST (huge_discard_spares_what_lies_outside)
{
  static void *(*const mains[]) (void *)
      = { discard_half_main, churn_main, churn_main, watch_extents_main };
  struct store *store = must_store (MAX_SIZE, 0);
  struct crew crew[NR_THREADS];

  for (uint64_t i = 0; i < NR_KEEPERS; i++)
    must_write (store, "k", 1, keeper_offset (i));
  run_crew (store, mains, 4, 4000, crew);

  store_discard (store, HALF, 0);
  ck_assert_uint_eq (store_allocated_bytes (store), NR_KEEPERS * PAGE);
  for (uint64_t i = 0; i < NR_KEEPERS; i++)
    ck_assert_uint_eq (byte_at (store, keeper_offset (i)), 'k');
  ck_extents_match_count (store);
  store_free (store);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
store_suite (void)
{
  Suite *suite = suite_create ("store");
  TCase *one = tcase_create ("one thread");
  TCase *memory = tcase_create ("memory");
  TCase *limit = tcase_create ("limit");
  TCase *threads = tcase_create ("threads");

  suite_add_tcase (suite, one);
  tcase_add_loop_test (one, random_operations_agree_with_a_model, 0,
                       sizeof model_runs / sizeof model_runs[0]);
  tcase_add_test (one, both_ends_of_the_largest_store_are_usable);
  tcase_add_test (one, empty_ranges_do_nothing);
  tcase_add_test (one, discard_of_part_of_a_page_zeroes_in_place);
  tcase_add_test (one, discard_to_the_end_frees_the_last_partial_page);
  tcase_add_loop_test (one, far_islands_are_found_and_discarded_quickly, 0, 6);
  tcase_add_test (one, chunks_at_any_stride_spread_over_the_shards);

  suite_add_tcase (suite, memory);
  tcase_add_test (memory, scattered_small_writes_take_a_page_each);
  tcase_add_loop_test (memory, discard_and_write_zeroes_give_memory_back, 0, 4);
  tcase_add_test (memory, memory_that_is_used_again_reads_as_zeros);
  tcase_add_test (memory, locked_memory_is_discarded_too);
  tcase_add_test (memory, parts_of_a_system_page_are_zeroed_and_no_more);
  tcase_add_test (memory, reads_and_overwrites_call_no_allocator);
  tcase_add_loop_test (memory, every_allocation_may_fail, 0, 4);

  suite_add_tcase (suite, limit);
  tcase_add_test (limit, limit_refuses_what_would_pass_it_and_nothing_else);
  tcase_add_test (limit, promises_that_cannot_be_kept_are_refused_at_once);
  tcase_add_test (limit,
                  zeroes_that_stay_allocated_can_be_overwritten_at_the_limit);

  suite_add_tcase (suite, threads);
  tcase_add_test (threads, sectors_never_tear);
  tcase_add_test (threads, limit_holds_in_a_crowd_and_nothing_leaks);
  tcase_add_test (threads, huge_discard_spares_what_lies_outside);

  /* Hangs only: sanitizers and busy machines are slow. */
  tcase_set_timeout (one, 300);
  tcase_set_timeout (memory, 300);
  tcase_set_timeout (limit, 300);
  tcase_set_timeout (threads, 300);
  return suite;
}

int
main (void)
{
  const char *given = getenv ("BLKMQ_SEED");
  SRunner *runner;
  int nr_failures;

  base_seed = given != NULL ? strtoull (given, NULL, 0)
                            : (uint64_t)time (NULL) << 20 ^ (uint64_t)getpid ();
  printf ("BLKMQ_SEED=%" PRIu64 "\n", base_seed);
  fflush (stdout);

  runner = srunner_create (store_suite ());
  srunner_run_all (runner, CK_NORMAL);
  nr_failures = srunner_ntests_failed (runner);
  srunner_free (runner);
  return nr_failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
