/* SPDX-License-Identifier: BSD-3-Clause
 *
 * store-huge.c: huge pages for what is full.
 *
 * A piece is 2 MiB of a region, aligned: 32 slots.  Once all pages of all of
 * them are present the kernel is asked to make one huge page of it, which takes
 * no more memory and spares most misses of the TLB.  That copies 2 MiB, and
 * page faults of the whole process wait meanwhile; so it is done by a thread
 * that nobody waits for, a piece at a time, and not before the piece has been
 * left alone by discards for a while.
 *
 * A discard within a huge page takes nothing but the mapping away: the kernel
 * keeps the frames until memory is short.  So the thread has it cut up again.
 *
 * The piece's word changes by atomic operations only.  The thread is started by
 * the first piece that is full, not before, since a server may open its disks
 * and then fork.
 */

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "store-internal.h"

/* Linux 6.1; older headers lack it. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* Between two pieces the thread sleeps so many times as long as one took. */
#define REST_FACTOR 4

int
store_use_huge_pages (struct store *store, unsigned settle_ms)
{
  struct huge *huge;
  pthread_condattr_t attr;

  assert (store->pool.regions == NULL && store->pool.huge == NULL);
  if (sysconf (_SC_PAGESIZE) != STORE_PAGE_BYTES)
    return 0;
  huge = alloc_allowed () ? calloc (1, sizeof *huge) : NULL;
  if (huge == NULL)
    return -ENOMEM;
  huge->store = store;
  huge->settle_ms = settle_ms;
  pthread_mutex_init (&huge->busy, NULL);
  pthread_mutex_init (&huge->lock, NULL);
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (&huge->wake, &attr);
  pthread_condattr_destroy (&attr);
  store->pool.huge = huge;
  return 0;
}

void
store_huge_exit (struct huge *huge)
{
  if (huge == NULL)
    return;
  pthread_mutex_lock (&huge->lock);
  atomic_store (&huge->is_stopping, true);
  pthread_cond_signal (&huge->wake);
  pthread_mutex_unlock (&huge->lock);
  if (huge->has_thread)
    pthread_join (huge->thread, NULL);
  pthread_cond_destroy (&huge->wake);
  pthread_mutex_destroy (&huge->lock);
  pthread_mutex_destroy (&huge->busy);
  free (huge);
}

/* ------------------------------------------------------------------------ */
/* The thread                                                                */

static uint64_t
now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void
sleep_until_locked (struct huge *huge, uint64_t ns)
{
  struct timespec until = { .tv_sec = (time_t)(ns / 1000000000),
                            .tv_nsec = (long)(ns % 1000000000) };

  while (!huge->is_stopping
         && pthread_cond_timedwait (&huge->wake, &huge->lock, &until)
                != ETIMEDOUT)
    ;
}

static void
rest (struct huge *huge, uint64_t start_ns)
{
  uint64_t end_ns = now_ns ();

  if (huge->settle_ms == 0)
    return;
  pthread_mutex_lock (&huge->lock);
  sleep_until_locked (huge, end_ns + (end_ns - start_ns) * REST_FACTOR);
  pthread_mutex_unlock (&huge->lock);
}

/* The region is not for huge pages otherwise (store-pages.c), and stays so:
 * what is set here and taken back leaves no mapping of its own behind.
 */
static bool
collapse (struct huge *huge, uint8_t *data)
{
  int err = 0;

  if (madvise (data, PIECE_BYTES, MADV_HUGEPAGE) < 0
      || madvise (data, PIECE_BYTES, MADV_COLLAPSE) < 0)
    err = errno;
  (void)madvise (data, PIECE_BYTES, MADV_NOHUGEPAGE);
  if (err == 0)
    huge->has_made_one = true;
  /* The kernel does not know how, or must not. */
  if (err == EINVAL && !huge->has_made_one)
    atomic_store (&huge->is_refused, true);
  return err == 0;
}

static void
try_piece (struct huge *huge, _Atomic uint64_t *piece, uint8_t *data)
{
  uint64_t old = PIECE_FULL | PIECE_RIPE;

  /* Whoever makes a page absent now waits for us and does so once more, since
   * we may have made it present again: store_huge_release.
   */
  pthread_mutex_lock (&huge->busy);
  if (atomic_compare_exchange_strong (
          piece, &old, PIECE_FULL | PIECE_RIPE | PIECE_TRIED | PIECE_BUSY)) {
    if (collapse (huge, data))
      atomic_fetch_or (piece, PIECE_HUGE);
    atomic_fetch_and (piece, ~PIECE_BUSY);
  }
  pthread_mutex_unlock (&huge->busy);
}

/* True if it is to be looked at again soon. */
static bool
visit_piece (struct huge *huge, _Atomic uint64_t *piece, uint8_t *data)
{
  uint64_t old = atomic_load (piece), start_ns;

  if ((old & PIECE_HUGE) && !(old & PIECE_TRIED)) {
    /* To make a part of a huge page cold the kernel must cut it up. */
    start_ns = now_ns ();
    atomic_fetch_and (piece, ~PIECE_HUGE);
    (void)madvise (data, PIECE_BYTES, MADV_COLD);
    rest (huge, start_ns);
    return (old & PIECE_FULL) == PIECE_FULL;
  }
  if (old == PIECE_FULL)
    return atomic_compare_exchange_strong (piece, &old, old | PIECE_RIPE);
  if (old == (PIECE_FULL | PIECE_RIPE)) {
    start_ns = now_ns ();
    try_piece (huge, piece, data);
    rest (huge, start_ns);
    /* A discard came in between: it may be full again already. */
    return true;
  }
  return false;
}

bool
store_huge_pass (struct store *store)
{
  struct huge *huge = store->pool.huge;
  bool again = false;

  for (struct region *region = atomic_load (&store->pool.regions);
       region != NULL; region = region->next) {
    for (size_t i = 0; i < region->nr_pieces; i++) {
      if (atomic_load (&huge->is_stopping) || atomic_load (&huge->is_refused))
        return false;
      again |= visit_piece (huge, &region->pieces[i],
                            region->base + i * PIECE_BYTES);
    }
  }
  return again;
}

static void *
huge_main (void *arg)
{
  struct huge *huge = arg;

  pthread_mutex_lock (&huge->lock);
  while (!huge->is_stopping) {
    if (!atomic_exchange (&huge->has_work, false)) {
      pthread_cond_wait (&huge->wake, &huge->lock);
      continue;
    }
    sleep_until_locked (huge, now_ns () + (uint64_t)huge->settle_ms * 1000000);
    pthread_mutex_unlock (&huge->lock);
    if (store_huge_pass (huge->store))
      atomic_store (&huge->has_work, true);
    pthread_mutex_lock (&huge->lock);
  }
  pthread_mutex_unlock (&huge->lock);
  return NULL;
}

/* There is something for the thread to look at. */
static void
kick (struct huge *huge)
{
  sigset_t all, old;

  if (huge->settle_ms == 0 || atomic_exchange (&huge->has_work, true))
    return;
  pthread_mutex_lock (&huge->lock);
  if (huge->has_thread)
    pthread_cond_signal (&huge->wake);
  else {
    /* The program's signals are for the program's own threads. */
    sigfillset (&all);
    pthread_sigmask (SIG_SETMASK, &all, &old);
    /* Without the thread pages stay small, and has_work set. */
    huge->has_thread
        = pthread_create (&huge->thread, NULL, huge_main, huge) == 0;
    pthread_sigmask (SIG_SETMASK, &old, NULL);
  }
  pthread_mutex_unlock (&huge->lock);
}

/* ------------------------------------------------------------------------ */
/* What changes pieces                                                       */

void
store_huge_region (struct pool *pool, struct region *region)
{
  size_t nr = pool->huge == NULL ? 0 : region->bytes / PIECE_BYTES;

  /* Without them its pages stay small. */
  region->pieces
      = nr > 0 && alloc_allowed () ? calloc (nr, sizeof *region->pieces) : NULL;
  region->nr_pieces = region->pieces == NULL ? 0 : nr;
}

/* The word of the piece that DATA lies in, and its slot's bit there. */
static _Atomic uint64_t *
piece_of (struct pool *pool, const uint8_t *data, uint64_t *bit)
{
  struct region *region
      = atomic_load_explicit (&pool->regions, memory_order_acquire);
  size_t at;

  while ((uintptr_t)data - (uintptr_t)region->base >= region->bytes)
    region = region->next;
  at = (size_t)(data - region->base);
  *bit = UINT64_C (1) << (at % PIECE_BYTES / CHUNK_BYTES);
  return at / PIECE_BYTES < region->nr_pieces
             ? &region->pieces[at / PIECE_BYTES]
             : NULL;
}

void
store_huge_is_full (struct pool *pool, const uint8_t *data)
{
  _Atomic uint64_t *piece;
  uint64_t bit;

  if (atomic_load_explicit (&pool->huge->is_refused, memory_order_relaxed))
    return;
  piece = piece_of (pool, data, &bit);
  if (piece != NULL
      && ((atomic_fetch_or (piece, bit) | bit) & PIECE_FULL) == PIECE_FULL)
    kick (pool->huge);
}

void
store_huge_release (struct pool *pool, uint8_t *data, size_t bytes)
{
  bool is_busy = false;

  for (uint8_t *slot = data; slot < data + bytes; slot += CHUNK_BYTES) {
    uint64_t bit, old;
    _Atomic uint64_t *piece = piece_of (pool, slot, &bit);

    if (piece == NULL)
      continue;
    old = atomic_fetch_and (piece, ~(bit | PIECE_RIPE | PIECE_TRIED));
    is_busy |= (old & PIECE_BUSY) != 0;
    if ((old & (PIECE_HUGE | PIECE_BUSY)) && (old & PIECE_TRIED))
      kick (pool->huge);
  }
  store_release_pages (data, bytes);
  if (is_busy) {
    pthread_mutex_lock (&pool->huge->busy);
    pthread_mutex_unlock (&pool->huge->busy);
    store_release_pages (data, bytes);
  }
}
