/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-store-huge.c: huge pages of the sparse store: what becomes one, that a
 * discard from one gives memory back, and that data stays what it is.  Where
 * the kernel makes none (it may be told not to, or too old) the same is done
 * with small pages.
 */

#include <pthread.h>
#include <sched.h>

#include "store-model.h"

#define NR_PIECES 4u
#define PIECE_PAGES (PIECE_BYTES / PAGE)

static struct store *
must_huge (uint64_t size)
{
  struct store *store = must_store (size, 0);

  /* Without a thread: passes are made here. */
  ck_assert_int_eq (store_use_huge_pages (store, 0), 0);
  return store;
}

/* What of [base, base + bytes) lies on huge pages. */
static uint64_t
huge_bytes_at (const uint8_t *base, size_t bytes)
{
  FILE *fp = fopen ("/proc/self/smaps", "r");
  bool is_inside = false;
  uint64_t nr = 0, kib;
  char line[512];

  ck_assert_ptr_nonnull (fp);
  while (fgets (line, sizeof line, fp) != NULL) {
    uintptr_t from, to;

    if (sscanf (line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
      is_inside = from < (uintptr_t)base + bytes && to > (uintptr_t)base;
    else if (is_inside && sscanf (line, "AnonHugePages: %" SCNu64, &kib) == 1)
      nr += kib * KIB;
  }
  fclose (fp);
  return nr;
}

static uint64_t
huge_bytes (const struct store *store)
{
  uint64_t nr = 0;

  for (const struct region *region = store->pool.regions; region != NULL;
       region = region->next)
    nr += huge_bytes_at (region->base, region->bytes);
  return nr;
}

static bool
makes_them (const struct store *store)
{
  if (store->pool.huge == NULL || !store->pool.huge->has_made_one) {
    printf ("this kernel makes no huge pages here\n");
    return false;
  }
  return true;
}

static void
fill (struct store *store, uint64_t bytes)
{
  uint8_t *buf = must_alloc (MIB);

  for (uint64_t at = 0; at < bytes; at += MIB) {
    memset (buf, (int)(at / MIB) + 1, MIB);
    must_write (store, buf, MIB, at);
  }
  free (buf);
}

static void
ck_filled (struct store *store, uint64_t bytes, uint64_t hole)
{
  for (uint64_t at = 0; at < bytes; at += PAGE)
    ck_reads_as (store, at, PAGE, at == hole ? 0 : (uint8_t)(at / MIB + 1));
}

START_TEST (what_is_full_becomes_huge_and_a_discard_undoes_it)
{
  const uint64_t bytes = NR_PIECES * PIECE_BYTES, hole = 3 * MIB + 5 * PAGE;
  struct store *store = must_huge (MAX_SIZE);

  fill (store, bytes);
  ck_assert (store_huge_pass (store)); /* they are full */
  ck_assert_uint_eq (huge_bytes (store), 0);
  (void)store_huge_pass (store); /* and still are */
  if (makes_them (store))
    ck_assert_uint_eq (huge_bytes (store), bytes);
  ck_assert (!store_huge_pass (store));
  ck_assert_uint_eq (resident_pages (store), bytes / PAGE);
  ck_filled (store, bytes, UINT64_MAX);

  store_discard (store, PAGE, hole);
  ck_assert_uint_eq (resident_pages (store), bytes / PAGE - 1);
  (void)store_huge_pass (store); /* which cuts it up */
  ck_assert (!store_huge_pass (store));
  if (makes_them (store))
    ck_assert_uint_eq (huge_bytes (store), bytes - PIECE_BYTES);
  ck_assert_uint_eq (resident_pages (store), bytes / PAGE - 1);
  ck_filled (store, bytes, hole);

  fill (store, bytes); /* again all of it */
  for (unsigned i = 0; i < 3; i++)
    (void)store_huge_pass (store);
  if (makes_them (store))
    ck_assert_uint_eq (huge_bytes (store), bytes);
  ck_filled (store, bytes, UINT64_MAX);

  store_discard (store, MAX_SIZE, 0);
  (void)store_huge_pass (store);
  ck_assert_uint_eq (resident_pages (store), 0);
  ck_assert_uint_eq (huge_bytes (store), 0);
  store_free (store);
}
END_TEST

START_TEST (what_lacks_a_page_stays_small)
{
  const uint64_t bytes = NR_PIECES * PIECE_BYTES;
  struct store *store = must_huge (MAX_SIZE);
  struct rng rng = rng_stream (700);

  fill (store, bytes);
  for (uint64_t i = 0; i < NR_PIECES; i++)
    store_discard (store, PAGE,
                   i * PIECE_BYTES + rng_below (&rng, PIECE_PAGES) * PAGE);
  for (unsigned i = 0; i < 4; i++)
    ck_assert (!store_huge_pass (store));
  ck_assert_uint_eq (huge_bytes (store), 0);
  ck_assert_uint_eq (resident_pages (store), bytes / PAGE - NR_PIECES);
  store_free (store);
}
END_TEST

/* A discard and a write between two passes: it must be left alone again. */
START_TEST (what_was_discarded_from_must_settle_anew)
{
  struct store *store = must_huge (MAX_SIZE);

  fill (store, PIECE_BYTES);
  for (unsigned i = 0; i < 5; i++) {
    ck_assert (store_huge_pass (store));
    ck_assert_uint_eq (huge_bytes (store), 0);
    store_discard (store, PAGE, 9 * PAGE);
    must_write (store, "x", 1, 9 * PAGE);
  }
  store_free (store);
}
END_TEST

START_TEST (passes_between_random_operations_change_nothing)
{
  struct model m;
  unsigned nr = 0;

  model_init (&m, 8 * MIB, 0, 8 * MIB, 0, 701);
  ck_assert_int_eq (store_use_huge_pages (m.store, 0), 0);
  for (unsigned i = 0; i < 300; i++) {
    if (i % 30 == 0) {
      model_write (&m, 0, m.bytes);
      for (unsigned pass = 0; pass < 3; pass++)
        (void)store_huge_pass (m.store);
      nr += huge_bytes (m.store) > 0;
    }
    model_step (&m);
    if (rng_below (&m.rng, 4) == 0)
      (void)store_huge_pass (m.store);
    ck_assert_uint_le (resident_pages (m.store), m.nr_present);
  }
  if (makes_them (m.store))
    ck_assert_uint_eq (nr, 10);
  ck_model_read (&m, 0, m.bytes);
  ck_model_extents (&m, 0, m.bytes);
  model_exit (&m);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* With threads                                                              */

/* Makes passes, and the piece ripe as soon as it is full. */
static void *
pass_main (void *arg)
{
  struct store *store = arg;
  struct huge *huge = store->pool.huge;

  while (!atomic_load (&huge->is_stopping)) {
    _Atomic uint64_t *piece = &atomic_load (&store->pool.regions)->pieces[0];
    uint64_t full = PIECE_FULL;

    atomic_compare_exchange_strong (piece, &full, PIECE_FULL | PIECE_RIPE);
    (void)store_huge_pass (store);
    sched_yield ();
  }
  return NULL;
}

/* Until the piece has one of these flags, or none will ever come. */
static void
await (const struct store *store, _Atomic uint64_t *piece, uint64_t flags)
{
  while (!(atomic_load (piece) & flags)
         && !atomic_load (&store->pool.huge->is_refused))
    sched_yield ();
}

START_TEST (a_discard_while_a_piece_becomes_huge_gives_memory_back)
{
  struct store *store = must_huge (MAX_SIZE);
  struct rng rng = rng_stream (710);
  unsigned char is_resident = 0;
  _Atomic uint64_t *piece;
  unsigned nr_met = 0;
  pthread_t thread;
  uint8_t *base;

  fill (store, PIECE_BYTES);
  base = store->pool.regions->base; /* chunks lie there in order */
  piece = &store->pool.regions->pieces[0];
  ck_assert_int_eq (pthread_create (&thread, NULL, pass_main, store), 0);
  for (unsigned i = 0; i < 100; i++) {
    uint64_t at = rng_below (&rng, PIECE_PAGES) * PAGE;

    await (store, piece, PIECE_BUSY | PIECE_TRIED);
    nr_met += (atomic_load (piece) & PIECE_BUSY) != 0;
    store_discard (store, PAGE, at);
    while (atomic_load (piece) & PIECE_BUSY)
      sched_yield ();
    FAIL_UNLESS (mincore (base + at, PAGE, &is_resident) == 0);
    FAIL_UNLESS ((is_resident & 1) == 0);
    FAIL_UNLESS (byte_at (store, at + i) == 0);
    must_write (store, "x", 1, at);
  }
  atomic_store (&store->pool.huge->is_stopping, true);
  ck_assert_int_eq (pthread_join (thread, NULL), 0);
  printf ("%u of 100 discards met one that was being made\n", nr_met);
  ck_assert_uint_eq (resident_pages (store), PIECE_PAGES);
  (void)makes_them (store);
  store_free (store);
}
END_TEST

/* The store's own thread: started by what is full, ended with the store. */
START_TEST (the_thread_comes_and_goes_with_the_store)
{
  for (unsigned i = 0; i < 20; i++) {
    struct store *store = must_store (MAX_SIZE, 0);

    ck_assert_int_eq (store_use_huge_pages (store, 1), 0);
    ck_assert (!store->pool.huge->has_thread);
    fill (store, PIECE_BYTES * (i % 3));
    ck_assert (store->pool.huge->has_thread == (i % 3 > 0));
    ck_filled (store, PIECE_BYTES * (i % 3), UINT64_MAX);
    if (i % 2 == 0)
      store_discard (store, PAGE, 0);
    store_free (store);
  }
}
END_TEST

/* It gets there without anybody's help. */
START_TEST (the_thread_makes_them)
{
  struct store *store = must_store (MAX_SIZE, 0);
  struct huge *huge;

  ck_assert_int_eq (store_use_huge_pages (store, 1), 0);
  huge = store->pool.huge;
  fill (store, NR_PIECES * PIECE_BYTES);
  /* Passes end when there is nothing left to try, or the kernel refuses. */
  for (bool is_done = false; !is_done;) {
    const struct region *region = store->pool.regions;
    unsigned nr_tried = 0;

    for (; region != NULL; region = region->next) {
      for (size_t i = 0; i < region->nr_pieces; i++)
        nr_tried += (atomic_load (&region->pieces[i]) & PIECE_TRIED) != 0;
    }
    is_done = nr_tried >= NR_PIECES || atomic_load (&huge->is_refused);
    usleep (1000);
  }
  ck_filled (store, NR_PIECES * PIECE_BYTES, UINT64_MAX);
  ck_assert_uint_eq (resident_pages (store), NR_PIECES * PIECE_PAGES);
  store_free (store);
}
END_TEST

int
main (void)
{
  TCase *tcase = tcase_create ("huge");

  tcase_add_test (tcase, what_is_full_becomes_huge_and_a_discard_undoes_it);
  tcase_add_test (tcase, what_lacks_a_page_stays_small);
  tcase_add_test (tcase, what_was_discarded_from_must_settle_anew);
  tcase_add_test (tcase, passes_between_random_operations_change_nothing);
  tcase_add_test (tcase,
                  a_discard_while_a_piece_becomes_huge_gives_memory_back);
  tcase_add_test (tcase, the_thread_comes_and_goes_with_the_store);
  tcase_add_test (tcase, the_thread_makes_them);
  return run_tests ("store-huge", tcase);
}
