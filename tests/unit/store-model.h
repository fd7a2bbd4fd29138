/* SPDX-License-Identifier: BSD-3-Clause
 *
 * store-model.h: what the tests of the store share: random streams from one
 * seed, which is printed and which BLKMQ_SEED sets, and a model of a window of
 * a store, byte by byte.
 */

#ifndef BLKMQ_TESTS_STORE_MODEL_H
#define BLKMQ_TESTS_STORE_MODEL_H

#include <check.h>
#include <errno.h>
#include <inttypes.h>
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
static inline struct rng
rng_stream (uint64_t stream)
{
  struct rng rng = { base_seed + stream * UINT64_C (0xd1342543de82ef95) };

  return rng;
}

static inline uint64_t
rng_next (struct rng *rng)
{
  uint64_t x = rng->state += UINT64_C (0x9e3779b97f4a7c15);

  x = (x ^ (x >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C (0x94d049bb133111eb);
  return x ^ (x >> 31);
}

static inline uint64_t
rng_below (struct rng *rng, uint64_t n)
{
  return rng_next (rng) % n;
}

static inline void
rng_fill (struct rng *rng, uint8_t *buf, size_t bytes)
{
  for (size_t i = 0; i < bytes; i += 8) {
    /* No byte is zero: none looks like a hole. */
    uint64_t word = rng_next (rng) | UINT64_C (0x0101010101010101);

    memcpy (buf + i, &word, bytes - i < 8 ? bytes - i : 8);
  }
}

static inline void *
must_alloc (size_t bytes)
{
  void *p = calloc (1, bytes > 0 ? bytes : 1);

  ck_assert_ptr_nonnull (p);
  return p;
}

static inline struct store *
must_store (uint64_t size_bytes, uint64_t limit_bytes)
{
  struct store *store = store_alloc (size_bytes, limit_bytes, base_seed);

  ck_assert_ptr_nonnull (store);
  return store;
}

static inline void
must_write (struct store *store, const void *buf, size_t bytes,
            uint64_t offset_bytes)
{
  FAIL_UNLESS (store_write (store, buf, bytes, offset_bytes) == 0);
}

static inline uint8_t
byte_at (struct store *store, uint64_t offset_bytes)
{
  uint8_t byte = 0xee;

  store_read (store, &byte, 1, offset_bytes);
  return byte;
}

static inline void
ck_all_bytes (const uint8_t *buf, size_t bytes, uint8_t value)
{
  for (size_t i = 0; i < bytes; i++) {
    if (buf[i] != value)
      ck_abort_msg ("byte %zu is %u, not %u", i, buf[i], value);
  }
}

static inline void
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

static inline int
add_up (uint64_t offset_bytes, uint64_t bytes, unsigned type, void *opaque)
{
  struct totals *totals = opaque;

  FAIL_UNLESS (bytes > 0);
  FAIL_UNLESS (offset_bytes == totals->next);
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
static inline struct totals
ck_extents_match_count (struct store *store)
{
  struct totals totals = { .nr = 0 };

  ck_assert_int_eq (
      store_extents (store, 0, store->size_bytes, add_up, &totals), 0);
  ck_assert_uint_eq (totals.next, store->size_bytes);
  ck_assert_uint_eq (totals.data_pages * PAGE, store_allocated_bytes (store));
  return totals;
}

/* The pages of the store that have a frame of the kernel's.  Exact, unlike the
 * counters of the process, to which sanitizers add what they need.
 */
static inline uint64_t
resident_pages (const struct store *store)
{
  static unsigned char vec[256];
  const size_t step = sizeof vec * PAGE;
  uint64_t nr = 0;

  ck_assert_int_eq (sysconf (_SC_PAGESIZE), PAGE);
  for (const struct region *region = store->pool.regions; region != NULL;
       region = region->next) {
    for (size_t at = 0; at < region->bytes; at += step) {
      size_t bytes = region->bytes - at < step ? region->bytes - at : step;

      FAIL_UNLESS (mincore (region->base + at, bytes, vec) == 0);
      for (size_t i = 0; i < bytes / PAGE; i++)
        nr += vec[i] & 1;
    }
  }
  return nr;
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

static inline void
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

static inline void
model_exit (struct model *m)
{
  store_free (m->store);
  free (m->data);
  free (m->present);
  free (m->scratch);
}

static inline bool *
model_page (struct model *m, uint64_t offset)
{
  return &m->present[(m->base + offset) / PAGE - m->base / PAGE];
}

static inline uint64_t
model_missing (struct model *m, uint64_t offset, uint64_t bytes)
{
  uint64_t nr = 0;

  for (bool *p = model_page (m, offset);
       p <= model_page (m, offset + bytes - 1); p++)
    nr += !*p;
  return nr;
}

static inline void
model_allocate (struct model *m, uint64_t offset, uint64_t bytes)
{
  for (bool *p = model_page (m, offset);
       p <= model_page (m, offset + bytes - 1); p++) {
    m->nr_present += !*p;
    *p = true;
  }
}

static inline void
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

static inline size_t
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

static inline void
ck_model_read (struct model *m, uint64_t offset, uint64_t bytes)
{
  memset (m->scratch, 0xa5, bytes);
  if (rng_below (&m->rng, 2)) {
    struct iovec segments[MAX_CUTS];
    size_t skip = cut_segments (&m->rng, m->scratch, bytes, segments);

    store_readv (m->store, segments, skip, bytes, m->base + offset);
  } else
    store_read (m->store, m->scratch, bytes, m->base + offset);
  FAIL_UNLESS (memcmp (m->scratch, m->data + offset, bytes) == 0);
}

static inline void
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
    FAIL_UNLESS (r == -ENOSPC);
    ck_model_read (m, offset, bytes);
    return;
  }
  FAIL_UNLESS (r == 0);
  memcpy (m->data + offset, m->scratch, bytes);
  model_allocate (m, offset, bytes);
}

static inline void
model_write_zeroes (struct model *m, uint64_t offset, uint64_t bytes,
                    bool nounmap)
{
  int r = store_write_zeroes (m->store, bytes, m->base + offset, nounmap);

  if (!nounmap) {
    FAIL_UNLESS (r == 0);
    model_discard (m, offset, bytes);
    return;
  }
  if (model_missing (m, offset, bytes) > m->limit_pages - m->nr_present) {
    FAIL_UNLESS (r == -ENOSPC);
    ck_model_read (m, offset, bytes);
    return;
  }
  FAIL_UNLESS (r == 0);
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

static inline int
check_extent (uint64_t offset_bytes, uint64_t bytes, unsigned type,
              void *opaque)
{
  struct extent_check *check = opaque;

  FAIL_UNLESS (bytes > 0);
  FAIL_UNLESS (offset_bytes == check->m->base + check->at);
  FAIL_UNLESS (check->nr == 0 || type != check->last_type);
  for (bool *p = model_page (check->m, check->at);
       p <= model_page (check->m, check->at + bytes - 1); p++)
    FAIL_UNLESS (*p ? type == 0 : type == HOLE);
  check->at += bytes;
  check->last_type = type;
  return ++check->nr == check->nr_until ? 42 : 0;
}

static inline void
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
static inline void
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

static inline void
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
  FAIL_UNLESS (store_allocated_bytes (m->store) == m->nr_present * PAGE);
}

/* ------------------------------------------------------------------------ */

/* Run TCASE as a suite of its own. */
static inline int
run_tests (const char *name, TCase *tcase)
{
  const char *given = getenv ("BLKMQ_SEED");
  Suite *suite = suite_create (name);
  SRunner *runner;
  int nr_failures;

  base_seed = given != NULL ? strtoull (given, NULL, 0)
                            : (uint64_t)time (NULL) << 20 ^ (uint64_t)getpid ();
  printf ("BLKMQ_SEED=%" PRIu64 "\n", base_seed);
  fflush (stdout);

  /* For hangs only: sanitizers and busy machines are slow. */
  tcase_set_timeout (tcase, 300);
  suite_add_tcase (suite, tcase);
  runner = srunner_create (suite);
  srunner_run_all (runner, CK_NORMAL);
  nr_failures = srunner_ntests_failed (runner);
  srunner_free (runner);
  return nr_failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif /* BLKMQ_TESTS_STORE_MODEL_H */
