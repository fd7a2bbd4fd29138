/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cache-store.c: the pages of a cache and the index of them.  Any thread, under
 * the lock of the shard.
 *
 * All memory is mapped when the disk is allocated, and is the kernel's to give
 * when it is touched.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "blkmq.h"
#include "cache.h"

/* ---- set-up ---- */

static void *
map_memory (size_t bytes)
{
  void *memory = mmap (NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

  return memory != MAP_FAILED ? memory : NULL;
}

static void
unmap_memory (void *memory, size_t bytes)
{
  if (memory != NULL)
    munmap (memory, bytes);
}

static size_t
buckets_bytes (const struct cache *cache)
{
  return CACHE_NR_SHARDS * cache->nr_buckets * sizeof (struct cache_page *);
}

int
cache_store_init (struct cache *cache, uint64_t bytes)
{
  struct cache_page **buckets;

  cache->nr_pages = bytes / cache->page_bytes;
  cache->nr_buckets = 1;
  while (cache->nr_buckets * CACHE_NR_SHARDS < cache->nr_pages)
    cache->nr_buckets *= 2;
  for (unsigned i = 0; i < CACHE_NR_SHARDS; i++)
    pthread_mutex_init (&cache->shards[i].lock, NULL);
  TAILQ_INIT (&cache->dirty);
  cache->data = map_memory (cache->nr_pages * cache->page_bytes);
  cache->pages = map_memory (cache->nr_pages * sizeof cache->pages[0]);
  buckets = map_memory (buckets_bytes (cache));
  if (cache->data == NULL || cache->pages == NULL || buckets == NULL) {
    unmap_memory (buckets, buckets_bytes (cache));
    return -ENOMEM;
  }
  for (unsigned i = 0; i < CACHE_NR_SHARDS; i++)
    cache->shards[i].buckets = buckets + i * cache->nr_buckets;
  return 0;
}

void
cache_store_exit (struct cache *cache)
{
  unmap_memory (cache->data, cache->nr_pages * cache->page_bytes);
  unmap_memory (cache->pages, cache->nr_pages * sizeof cache->pages[0]);
  unmap_memory (cache->shards[0].buckets, buckets_bytes (cache));
  for (unsigned i = 0; i < CACHE_NR_SHARDS; i++)
    pthread_mutex_destroy (&cache->shards[i].lock);
}

/* ---- the index ---- */

/* Pages side by side go to shards and buckets side by side: no two of a stream
 * meet. */
struct cache_shard *
cache_shard_of (struct cache *cache, uint64_t number)
{
  return &cache->shards[number % CACHE_NR_SHARDS];
}

static struct cache_page **
bucket_of (const struct cache *cache, const struct cache_shard *shard,
           uint64_t number)
{
  return &shard->buckets[number / CACHE_NR_SHARDS & (cache->nr_buckets - 1)];
}

char *
cache_page_data (const struct cache *cache, const struct cache_page *page)
{
  return cache->data + (size_t)(page - cache->pages) * cache->page_bytes;
}

struct cache_page *
cache_find_locked (struct cache *cache, struct cache_shard *shard,
                   uint64_t number)
{
  struct cache_page *page = *bucket_of (cache, shard, number);

  while (page != NULL && page->number != number)
    page = page->chain;
  return page;
}

void
cache_insert_locked (struct cache *cache, struct cache_shard *shard,
                     struct cache_page *page)
{
  struct cache_page **bucket = bucket_of (cache, shard, page->number);

  page->chain = *bucket;
  *bucket = page;
}

void
cache_free_page_locked (struct cache *cache, struct cache_shard *shard,
                        struct cache_page *page)
{
  struct cache_page **link = bucket_of (cache, shard, page->number);

  assert (page->dirty == 0 && page->writing == 0);
  while (*link != page)
    link = &(*link)->chain;
  *link = page->chain;
  page->doomed = 0;
  pthread_mutex_lock (&cache->lock);
  page->chain = cache->free;
  cache->free = page;
  atomic_fetch_sub (&cache->nr_used, 1);
  pthread_mutex_unlock (&cache->lock);
}

/* ---- blocks ---- */

/* The first NR blocks. */
static block_mask
first_blocks (unsigned nr)
{
  return (block_mask)((1u << nr) - 1);
}

block_mask
cache_blocks (const struct cache *cache, uint64_t number, uint64_t offset_bytes,
              uint64_t end_bytes)
{
  uint64_t begin = number * cache->page_bytes;
  uint64_t first = offset_bytes > begin ? offset_bytes - begin : 0;
  uint64_t end = end_bytes - begin;

  if (end > cache->page_bytes)
    end = cache->page_bytes;
  /* What is no whole block ends at the end of the disk, and is all of it. */
  return first_blocks (
             (unsigned)((end + cache->block_bytes - 1) / cache->block_bytes))
         & (block_mask)~first_blocks ((unsigned)(first / cache->block_bytes));
}

block_mask
cache_first_run (block_mask blocks)
{
  unsigned first = (unsigned)__builtin_ctz (blocks);
  unsigned nr = (unsigned)__builtin_ctz (~((unsigned)blocks >> first));

  return (block_mask)(first_blocks (nr) << first);
}

uint64_t
cache_blocks_begin (const struct cache *cache, uint64_t number,
                    block_mask blocks)
{
  return number * cache->page_bytes
         + (uint64_t)__builtin_ctz (blocks) * cache->block_bytes;
}

uint64_t
cache_blocks_bytes (const struct cache *cache, uint64_t number,
                    block_mask blocks)
{
  uint64_t begin = cache_blocks_begin (cache, number, blocks);
  uint64_t bytes = (uint64_t)__builtin_popcount (blocks) * cache->block_bytes;

  return bytes < cache->size_bytes - begin ? bytes : cache->size_bytes - begin;
}

/* ---- data ---- */

/* The next piece of the segments, at most BYTES. */
static struct iovec
next_piece (struct blkmq_segments *it, uint64_t bytes)
{
  struct iovec piece = { NULL, 0 };

  while (piece.iov_len == 0) {
    piece.iov_base = (char *)it->segment->iov_base + it->skip_bytes;
    piece.iov_len = it->segment->iov_len - it->skip_bytes;
    if (piece.iov_len > bytes) {
      piece.iov_len = (size_t)bytes;
      it->skip_bytes += (size_t)bytes;
    } else {
      it->segment++;
      it->skip_bytes = 0;
    }
  }
  it->left_bytes -= piece.iov_len;
  return piece;
}

void
cache_copy_out (struct blkmq_segments *it, char *buf, uint64_t bytes)
{
  while (bytes > 0) {
    struct iovec piece = next_piece (it, bytes);

    memcpy (buf, piece.iov_base, piece.iov_len);
    buf += piece.iov_len;
    bytes -= piece.iov_len;
  }
}

void
cache_copy_in (struct blkmq_segments *it, const char *buf, uint64_t bytes)
{
  while (bytes > 0) {
    struct iovec piece = next_piece (it, bytes);

    memcpy (piece.iov_base, buf, piece.iov_len);
    buf += piece.iov_len;
    bytes -= piece.iov_len;
  }
}

unsigned
cache_take_segments (struct blkmq_segments *it, uint64_t bytes,
                     struct iovec *segments)
{
  unsigned nr = 0;

  while (bytes > 0) {
    assert (nr < CACHE_MAX_SEGMENTS);
    segments[nr] = next_piece (it, bytes);
    bytes -= segments[nr++].iov_len;
  }
  return nr;
}

/* ---- looking ---- */

/* The same within one page.  Extents are asked for from any byte to any. */
static uint64_t
run_in_page (struct cache *cache, uint64_t number, uint64_t offset_bytes,
             uint64_t end_bytes, bool *is_cached, struct blkmq_segments *copy)
{
  struct cache_shard *shard = cache_shard_of (cache, number);
  block_mask wanted = cache_blocks (cache, number, offset_bytes, end_bytes);
  block_mask first = wanted & (block_mask)-wanted, there = 0;
  struct cache_page *page;
  uint64_t run_end_bytes, bytes;

  pthread_mutex_lock (&shard->lock);
  page = cache_find_locked (cache, shard, number);
  if (page != NULL)
    there = page->dirty | page->writing;
  *is_cached = there & first;
  wanted = cache_first_run (*is_cached ? wanted & there
                                       : wanted & (block_mask)~there);
  run_end_bytes = cache_blocks_begin (cache, number, wanted)
                  + cache_blocks_bytes (cache, number, wanted);
  bytes
      = (run_end_bytes < end_bytes ? run_end_bytes : end_bytes) - offset_bytes;
  if (*is_cached && copy != NULL)
    cache_copy_in (
        copy, cache_page_data (cache, page) + offset_bytes % cache->page_bytes,
        bytes);
  pthread_mutex_unlock (&shard->lock);
  return bytes;
}

uint64_t
cache_next_run (struct cache *cache, uint64_t offset_bytes, uint64_t end_bytes,
                bool *is_cached, struct blkmq_segments *copy)
{
  uint64_t at = offset_bytes;
  bool is_same = true;

  *is_cached = false;
  if (atomic_load_explicit (&cache->nr_used, memory_order_acquire) == 0)
    return end_bytes - offset_bytes;
  at += run_in_page (cache, cache_page_of (cache, at), at, end_bytes, is_cached,
                     copy);
  /* A run is more than one page's if it goes to the page's end. */
  while (!(*is_cached && copy != NULL) && is_same && at < end_bytes
         && at % cache->page_bytes == 0) {
    uint64_t bytes;

    bytes = run_in_page (cache, cache_page_of (cache, at), at, end_bytes,
                         &is_same, NULL);
    is_same = is_same == *is_cached;
    if (is_same)
      at += bytes;
  }
  return at - offset_bytes;
}

void
cache_for_each_page (struct cache *cache, uint64_t first, uint64_t last,
                     void (*fn) (struct cache *cache, struct cache_shard *shard,
                                 struct cache_page *page, void *opaque),
                     void *opaque)
{
  struct cache_page *page, *next;

  if (last - first < cache->nr_buckets * CACHE_NR_SHARDS) {
    for (uint64_t number = first; number <= last; number++) {
      struct cache_shard *shard = cache_shard_of (cache, number);

      pthread_mutex_lock (&shard->lock);
      page = cache_find_locked (cache, shard, number);
      if (page != NULL)
        fn (cache, shard, page, opaque);
      pthread_mutex_unlock (&shard->lock);
    }
    return;
  }
  for (size_t i = 0; i < CACHE_NR_SHARDS * cache->nr_buckets; i++) {
    struct cache_shard *shard = &cache->shards[i / cache->nr_buckets];

    pthread_mutex_lock (&shard->lock);
    page = shard->buckets[i % cache->nr_buckets];
    for (; page != NULL; page = next) {
      next = page->chain;
      if (page->number >= first && page->number <= last)
        fn (cache, shard, page, opaque);
    }
    pthread_mutex_unlock (&shard->lock);
  }
}

/* ---- extents ---- */

/* What is cached is data.  The cache is asked first: what it has not got now
 * is below, while the other way round it could be on its way from the one to
 * the other in between. */
int
cache_extents (void *data, uint64_t offset_bytes, uint64_t bytes,
               int (*fn) (uint64_t offset_bytes, uint64_t bytes, unsigned type,
                          void *opaque),
               void *opaque)
{
  struct cache *cache = data;
  uint64_t end_bytes = offset_bytes + bytes, run;
  bool is_cached;
  int r = 0;

  for (; offset_bytes < end_bytes && r == 0; offset_bytes += run) {
    run = cache_next_run (cache, offset_bytes, end_bytes, &is_cached, NULL);
    if (is_cached)
      r = fn (offset_bytes, run, 0, opaque);
    else
      r = blkmq_disk_extents (cache->inner, offset_bytes, run, fn, opaque);
  }
  return r;
}
