/* SPDX-License-Identifier: BSD-3-Clause
 *
 * store-pages.c: where the memory of a store comes from and how it goes back.
 *
 * Address space is mapped in large regions that are never unmapped before the
 * end: unmapping slots one by one would leave a mapping between any two holes,
 * and their number is limited (vm.max_map_count).  Frames come one page at a
 * time, when a page is first written, and go back by madvise.
 *
 * Any thread; the pool has its own lock.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store-internal.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STORE_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define STORE_ASAN
#endif

/* Touching a slot that was given back is an error that only a build with
 * AddressSanitizer can see.
 */
#ifdef STORE_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(slot) __asan_poison_memory_region (slot, CHUNK_BYTES)
#define UNPOISON(slot) __asan_unpoison_memory_region (slot, CHUNK_BYTES)
#else
#define POISON(slot) ((void)(slot))
#define UNPOISON(slot) ((void)(slot))
#endif

/* A region is a quarter of what there is already, between these.  Address
 * space costs nothing as a rule, but where it does (strict overcommit, locked
 * memory, RLIMIT_AS) it stays in proportion to the data.
 */
#define MIN_REGION_BYTES (UINT64_C (4) << 20)
#define MAX_REGION_BYTES (UINT64_C (1) << 30)
/* When memory is short smaller ones are tried, down to this. */
#define LAST_REGION_BYTES (UINT64_C (1) << 20)

#define MIN_POPULATE_PAGES 4

bool (*store_alloc_hook) (void);

int
store_pool_init (struct pool *pool)
{
  return -pthread_mutex_init (&pool->lock, NULL);
}

void
store_pool_exit (struct pool *pool)
{
  store_huge_exit (pool->huge);

  /* The next owner of these addresses knows nothing of our poison. */
  for (size_t i = 0; i < pool->nr_free_slots; i++)
    UNPOISON (pool->free_slots[i]);
  free (pool->free_slots);

  for (struct region *region = pool->regions, *next; region != NULL;
       region = next) {
    next = region->next;
    munmap (region->base, region->bytes);
    free (region->pieces);
    free (region);
  }
  pthread_mutex_destroy (&pool->lock);
}

/* Aligned to ALIGN, 1 for any. */
static uint8_t *
map_region (uint64_t bytes, size_t align)
{
  uint64_t mapped_bytes = bytes + align - 1;
  uint8_t *base;
  size_t before;

  if (mapped_bytes > SIZE_MAX || !alloc_allowed ())
    return NULL;
  mapped_bytes
      = (mapped_bytes + CHUNK_BYTES - 1) & ~(uint64_t)(CHUNK_BYTES - 1);
  base = mmap (NULL, (size_t)mapped_bytes, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED)
    return NULL;

  before = -(uintptr_t)base & (align - 1);
  if (before > 0)
    munmap (base, before);
  base += before;
  mapped_bytes -= before;
  if (mapped_bytes > bytes)
    munmap (base + bytes, (size_t)(mapped_bytes - bytes));
  return base;
}

static int
add_region_locked (struct pool *pool)
{
  uint64_t bytes = pool->mapped_bytes / 4 & ~(uint64_t)(CHUNK_BYTES - 1);
  struct region *region;
  uint8_t **free_slots;
  size_t align = 1;

  if (bytes < MIN_REGION_BYTES)
    bytes = MIN_REGION_BYTES;
  if (bytes > MAX_REGION_BYTES)
    bytes = MAX_REGION_BYTES;

  region = alloc_allowed () ? malloc (sizeof *region) : NULL;
  if (region == NULL)
    return -ENOMEM;

  if (pool->huge != NULL) {
    bytes &= ~(uint64_t)(PIECE_BYTES - 1);
    align = PIECE_BYTES;
  }
  while ((region->base = map_region (bytes, align)) == NULL) {
    bytes = bytes / 2 & ~(uint64_t)(CHUNK_BYTES - 1);
    if (bytes < LAST_REGION_BYTES)
      goto free_region;
  }
  region->bytes = (size_t)bytes;

  /* One huge page for a 4 KiB write would undo what the pages are for.  A
   * kernel that refuses this has no huge pages.
   */
  (void)madvise (region->base, region->bytes, MADV_NOHUGEPAGE);

  free_slots = NULL;
  if (alloc_allowed ())
    free_slots = realloc (pool->free_slots,
                          (size_t)((pool->mapped_bytes + bytes) / CHUNK_BYTES
                                   * sizeof *free_slots));
  if (free_slots == NULL)
    goto unmap_region;

  pool->free_slots = free_slots;
  pool->mapped_bytes += bytes;
  pool->fresh = region->base;
  pool->fresh_end = pool->fresh + bytes;
  store_huge_region (pool, region);
  region->next = pool->regions;
  atomic_store_explicit (&pool->regions, region, memory_order_release);
  return 0;

unmap_region:
  munmap (region->base, region->bytes);
free_region:
  free (region);
  return -ENOMEM;
}

uint8_t *
store_slot_get (struct pool *pool)
{
  uint8_t *slot = NULL;

  pthread_mutex_lock (&pool->lock);
  if (pool->nr_free_slots > 0) {
    slot = pool->free_slots[--pool->nr_free_slots];
    UNPOISON (slot);
  } else if (pool->fresh < pool->fresh_end || add_region_locked (pool) == 0) {
    slot = pool->fresh;
    pool->fresh += CHUNK_BYTES;
  }
  pthread_mutex_unlock (&pool->lock);
  return slot;
}

void
store_populate_pages (uint8_t *data, unsigned pages)
{
#ifdef MADV_POPULATE_WRITE
  unsigned first, nr_pages;

  /* One call instead of a fault for each page halves the cost of filling a
   * chunk, but does not pay for a page or two.  Pages in between are about to
   * be written too.
   */
  if (nr_bits (pages) < MIN_POPULATE_PAGES)
    return;
  first = (unsigned)__builtin_ctz (pages);
  nr_pages = 32 - (unsigned)__builtin_clz (pages) - first;
  /* Kernels before 5.14 do not know it; then the pages fault. */
  (void)madvise (data + first * STORE_PAGE_BYTES, nr_pages * STORE_PAGE_BYTES,
                 MADV_POPULATE_WRITE);
#else
  (void)data, (void)pages;
#endif
}

void
store_release_pages (uint8_t *data, size_t bytes)
{
  uintptr_t system_page_mask = (uintptr_t)sysconf (_SC_PAGESIZE) - 1;

  /* Where the system's pages are larger than ours, madvise would round up to
   * a neighbour's.
   */
  if ((((uintptr_t)data | bytes) & system_page_mask) == 0) {
    if (madvise (data, bytes, MADV_DONTNEED) == 0)
      return;
#ifdef MADV_DONTNEED_LOCKED
    /* mlockall (nbdkit --swap) */
    if (madvise (data, bytes, MADV_DONTNEED_LOCKED) == 0)
      return;
#endif
  }
  memset (data, 0, bytes);
}

void
store_pool_release (struct pool *pool, uint8_t *data, size_t bytes)
{
  if (pool->huge != NULL)
    store_huge_release (pool, data, bytes);
  else
    store_release_pages (data, bytes);
}

static int
compare_slots (const void *a, const void *b)
{
  uintptr_t x = (uintptr_t) * (uint8_t *const *)a;
  uintptr_t y = (uintptr_t) * (uint8_t *const *)b;

  return (x > y) - (x < y);
}

void
store_slot_batch_flush (struct store *store, struct slot_batch *batch)
{
  struct pool *pool = &store->pool;

  if (batch->nr_slots == 0)
    return;

  /* Chunks that were written in order lie side by side: one call for each
   * stretch of them.
   */
  if (batch->nr_slots > 1)
    qsort (batch->slots, batch->nr_slots, sizeof batch->slots[0],
           compare_slots);
  for (unsigned i = 0, next; i < batch->nr_slots; i = next) {
    for (next = i + 1;
         next < batch->nr_slots
         && batch->slots[next] == batch->slots[next - 1] + CHUNK_BYTES;)
      next++;
    store_pool_release (pool, batch->slots[i],
                        (size_t)(next - i) * CHUNK_BYTES);
  }

  /* Highest first, so that they are handed out again in ascending order. */
  pthread_mutex_lock (&pool->lock);
  while (batch->nr_slots > 0) {
    uint8_t *slot = batch->slots[--batch->nr_slots];

    POISON (slot);
    pool->free_slots[pool->nr_free_slots++] = slot;
  }
  pthread_mutex_unlock (&pool->lock);

  atomic_fetch_sub_explicit (&store->nr_pages, batch->nr_pages,
                             memory_order_relaxed);
  batch->nr_pages = 0;
}
