/* SPDX-License-Identifier: BSD-3-Clause
 *
 * store.c: a sparse, sharded array of bytes: reading, writing, discarding.
 *
 * The space is cut in chunks.  A chunk's index, hashed, names one of many
 * shards, each with a lock and a table of the chunks that have memory; so
 * threads meet only when they are at the same chunk or by chance, and what is
 * empty costs nothing.  store-internal.h has the map and the order of locks.
 *
 * Any thread.
 */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store-internal.h"

static int
shard_init (struct shard *shard)
{
  pthread_rwlockattr_t attr;
  int r;

  r = pthread_rwlockattr_init (&attr);
  if (r != 0)
    return -r;
  /* By default glibc lets readers of a hot chunk starve its writers. */
  (void)pthread_rwlockattr_setkind_np (
      &attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  r = pthread_rwlock_init (&shard->lock, &attr);
  pthread_rwlockattr_destroy (&attr);
  return -r;
}

struct store *
store_alloc (uint64_t size_bytes, uint64_t limit_bytes, uint64_t seed)
{
  struct store *store;
  unsigned nr_shards;
  int r;

  assert (size_bytes > 0 && size_bytes <= INT64_MAX);

  store = alloc_allowed () ? aligned_alloc (SHARD_ALIGN, sizeof *store) : NULL;
  if (store == NULL) {
    errno = ENOMEM;
    return NULL;
  }
  memset (store, 0, sizeof *store);
  store->size_bytes = size_bytes;
  store->limit_pages
      = limit_bytes == 0 ? UINT64_MAX : limit_bytes >> PAGE_SHIFT;
  store->seed = seed;

  r = store_pool_init (&store->pool);
  if (r < 0)
    goto free_store;
  for (nr_shards = 0; nr_shards < NR_SHARDS; nr_shards++) {
    r = shard_init (&store->shards[nr_shards]);
    if (r < 0)
      goto exit_shards;
  }
  return store;

exit_shards:
  while (nr_shards > 0)
    pthread_rwlock_destroy (&store->shards[--nr_shards].lock);
  store_pool_exit (&store->pool);
free_store:
  free (store);
  errno = -r;
  return NULL;
}

void
store_free (struct store *store)
{
  if (store == NULL)
    return;
  for (unsigned i = 0; i < NR_SHARDS; i++) {
    pthread_rwlock_destroy (&store->shards[i].lock);
    free (store->shards[i].table);
  }
  store_pool_exit (&store->pool);
  free (store);
}

uint64_t
store_allocated_bytes (struct store *store)
{
  return atomic_load_explicit (&store->nr_pages, memory_order_relaxed)
         << PAGE_SHIFT;
}

/* ------------------------------------------------------------------------ */
/* A place in the caller's segments                                          */

struct cursor {
  const struct iovec *segment;
  size_t skip_bytes;
};

/* The next stretch of at most BYTES, of which LEN are in one segment. */
static uint8_t *
cursor_next (struct cursor *cursor, size_t bytes, size_t *len)
{
  uint8_t *base;

  while (cursor->skip_bytes >= cursor->segment->iov_len) {
    cursor->skip_bytes -= cursor->segment->iov_len;
    cursor->segment++;
  }
  base = (uint8_t *)cursor->segment->iov_base + cursor->skip_bytes;
  *len = cursor->segment->iov_len - cursor->skip_bytes;
  if (*len > bytes)
    *len = bytes;
  cursor->skip_bytes += *len;
  return base;
}

static void
copy_in (struct cursor *cursor, uint8_t *data, size_t bytes)
{
  size_t len;

  for (; bytes > 0; bytes -= len, data += len) {
    const uint8_t *from = cursor_next (cursor, bytes, &len);

    memcpy (data, from, len);
  }
}

static void
copy_out (struct cursor *cursor, const uint8_t *data, size_t bytes)
{
  size_t len;

  for (; bytes > 0; bytes -= len, data += len) {
    uint8_t *to = cursor_next (cursor, bytes, &len);

    memcpy (to, data, len);
  }
}

static void
zero_out (struct cursor *cursor, size_t bytes)
{
  size_t len;

  for (; bytes > 0; bytes -= len) {
    uint8_t *to = cursor_next (cursor, bytes, &len);

    memset (to, 0, len);
  }
}

/* ------------------------------------------------------------------------ */
/* Reading                                                                   */

/* Of a chunk that lacks some of the pages.  Those are not read: that would
 * make the kernel map its zero page, and fault again when they are written.
 */
static void
read_patchy (const struct chunk *chunk, uint32_t from, uint32_t to,
             struct cursor *cursor)
{
  while (from < to) {
    bool present = chunk_present (chunk) >> (from >> PAGE_SHIFT) & 1;
    uint32_t end = (from | (STORE_PAGE_BYTES - 1)) + 1;

    if (end > to)
      end = to;
    if (present)
      copy_out (cursor, chunk->data + from, end - from);
    else
      zero_out (cursor, end - from);
    from = end;
  }
}

static void
read_chunk (struct store *store, uint64_t index, uint32_t from, uint32_t to,
            struct cursor *cursor)
{
  uint64_t hash = chunk_hash (store, index);
  struct shard *shard = shard_of (store, hash);
  const struct chunk *chunk;

  pthread_rwlock_rdlock (&shard->lock);
  chunk = table_find_locked (shard, hash, index);
  if (chunk == NULL) {
    pthread_rwlock_unlock (&shard->lock);
    zero_out (cursor, to - from);
    return;
  }
  if ((pages_touched (from, to) & ~chunk_present (chunk)) == 0)
    copy_out (cursor, chunk->data + from, to - from);
  else
    read_patchy (chunk, from, to, cursor);
  pthread_rwlock_unlock (&shard->lock);
}

void
store_readv (struct store *store, const struct iovec *segment,
             size_t skip_bytes, uint64_t bytes, uint64_t offset_bytes)
{
  struct cursor cursor = { segment, skip_bytes };
  uint64_t end = offset_bytes + bytes;

  assert_range (store, bytes, offset_bytes);
  for (uint64_t i = offset_bytes >> CHUNK_SHIFT; i << CHUNK_SHIFT < end; i++)
    read_chunk (store, i, from_in_chunk (i, offset_bytes), to_in_chunk (i, end),
                &cursor);
}

void
store_read (struct store *store, void *buf, size_t bytes, uint64_t offset_bytes)
{
  struct iovec segment = { buf, bytes };

  store_readv (store, &segment, 0, bytes, offset_bytes);
}

/* ------------------------------------------------------------------------ */
/* The limit                                                                 */

int
store_reserve_pages (struct store *store, uint64_t nr_pages)
{
  uint64_t old = atomic_load_explicit (&store->nr_pages, memory_order_relaxed);

  do {
    if (nr_pages > store->limit_pages - old)
      return -ENOSPC;
  } while (!atomic_compare_exchange_weak_explicit (
      &store->nr_pages, &old, old + nr_pages, memory_order_relaxed,
      memory_order_relaxed));
  return 0;
}

void
store_unreserve_pages (struct store *store, uint64_t nr_pages)
{
  if (nr_pages > 0)
    atomic_fetch_sub_explicit (&store->nr_pages, nr_pages,
                               memory_order_relaxed);
}

static unsigned
count_chunk (const struct chunk *chunk, uint64_t begin, uint64_t end)
{
  uint64_t index = chunk_index (chunk);

  return nr_bits (
      chunk_present (chunk)
      & pages_touched (from_in_chunk (index, begin), to_in_chunk (index, end)));
}

uint64_t
store_count_missing (struct store *store, uint64_t begin, uint64_t end)
{
  uint64_t first = begin >> CHUNK_SHIFT, last = (end - 1) >> CHUNK_SHIFT;
  uint64_t nr_pages = ((end - 1) >> PAGE_SHIFT) - (begin >> PAGE_SHIFT) + 1;

  if (walk_is_shorter (store, last - first + 1)) {
    for (unsigned s = 0; s < NR_SHARDS; s++) {
      struct shard *shard = &store->shards[s];

      pthread_rwlock_rdlock (&shard->lock);
      for (uint32_t i = 0; shard->table != NULL && i <= shard->mask; i++) {
        const struct chunk *chunk = &shard->table[i];

        if (chunk->data != NULL && chunk_index (chunk) >= first
            && chunk_index (chunk) <= last)
          nr_pages -= count_chunk (chunk, begin, end);
      }
      pthread_rwlock_unlock (&shard->lock);
    }
    return nr_pages;
  }

  for (uint64_t i = first; i <= last; i++) {
    uint64_t hash = chunk_hash (store, i);
    struct shard *shard = shard_of (store, hash);
    const struct chunk *chunk;

    pthread_rwlock_rdlock (&shard->lock);
    chunk = table_find_locked (shard, hash, i);
    if (chunk != NULL)
      nr_pages -= count_chunk (chunk, begin, end);
    pthread_rwlock_unlock (&shard->lock);
  }
  return nr_pages;
}

/* ------------------------------------------------------------------------ */
/* Writing                                                                   */

/* Make PAGES of chunk INDEX present, which some are not; CHUNK is its entry,
 * or NULL.  *RESERVED pages are the caller's already and are used up first.
 * On failure nothing has changed.
 */
static int
add_pages_locked (struct store *store, struct shard *shard, uint64_t hash,
                  uint64_t index, unsigned pages, uint64_t *reserved,
                  struct chunk **chunk)
{
  unsigned present = *chunk == NULL ? 0 : chunk_present (*chunk);
  unsigned missing = nr_bits (pages & ~present);
  uint64_t from_reserved = missing < *reserved ? missing : *reserved;
  uint8_t *data;
  int r;

  r = store_reserve_pages (store, missing - from_reserved);
  if (r < 0)
    return r;
  if (*chunk == NULL) {
    r = store_table_reserve_locked (store, shard);
    if (r < 0)
      goto unreserve;
    data = store_slot_get (&store->pool);
    if (data == NULL) {
      r = -ENOMEM;
      goto unreserve;
    }
    *chunk = store_table_insert_locked (store, shard, hash, index, data);
  }
  (*chunk)->key |= pages;
  if (store->pool.huge != NULL && missing > 0
      && chunk_present (*chunk) == (1u << CHUNK_PAGES) - 1)
    store_huge_is_full (&store->pool, (*chunk)->data);
  *reserved -= from_reserved;
  return 0;

unreserve:
  store_unreserve_pages (store, missing - from_reserved);
  return r;
}

void
store_zero_pages (uint8_t *data, unsigned pages, uint32_t from, uint32_t to)
{
  while (from < to) {
    uint32_t end = (from | (STORE_PAGE_BYTES - 1)) + 1;

    if (end > to)
      end = to;
    if (pages >> (from >> PAGE_SHIFT) & 1)
      memset (data + from, 0, end - from);
    from = end;
  }
}

/* Write chunk INDEX from CURSOR, or zeros if that is NULL. */
static int
write_chunk (struct store *store, uint64_t index, uint32_t from, uint32_t to,
             struct cursor *cursor, uint64_t *reserved)
{
  uint64_t hash = chunk_hash (store, index);
  struct shard *shard = shard_of (store, hash);
  unsigned pages = pages_touched (from, to);
  unsigned old = 0;
  struct chunk *chunk;
  int r = 0;

  pthread_rwlock_wrlock (&shard->lock);
  chunk = table_find_locked (shard, hash, index);
  if (chunk != NULL)
    old = chunk_present (chunk);
  if ((pages & ~old) != 0)
    r = add_pages_locked (store, shard, hash, index, pages, reserved, &chunk);
  if (r == 0) {
    if (cursor != NULL) {
      store_populate_pages (chunk->data, pages & ~old);
      copy_in (cursor, chunk->data + from, to - from);
    } else
      store_zero_pages (chunk->data, old, from, to);
  }
  pthread_rwlock_unlock (&shard->lock);
  return r;
}

int
store_write_range (struct store *store, uint64_t begin, uint64_t end,
                   struct cursor *cursor, uint64_t reserved)
{
  int r = 0;

  for (uint64_t i = begin >> CHUNK_SHIFT; i << CHUNK_SHIFT < end; i++) {
    r = write_chunk (store, i, from_in_chunk (i, begin), to_in_chunk (i, end),
                     cursor, &reserved);
    if (r < 0)
      break;
  }
  /* Somebody else has filled some of the holes, or it failed. */
  store_unreserve_pages (store, reserved);
  return r;
}

int
store_writev (struct store *store, const struct iovec *segment,
              size_t skip_bytes, uint64_t bytes, uint64_t offset_bytes)
{
  struct cursor cursor = { segment, skip_bytes };
  uint64_t end = offset_bytes + bytes;
  uint64_t missing = 0;
  int r;

  assert_range (store, bytes, offset_bytes);
  if (bytes == 0)
    return 0;

  /* All or nothing: the limit is met before the first byte is copied.  One
   * chunk is checked under its lock anyway.
   */
  if (store->limit_pages != UINT64_MAX
      && offset_bytes >> CHUNK_SHIFT != (end - 1) >> CHUNK_SHIFT) {
    missing = store_count_missing (store, offset_bytes, end);
    r = store_reserve_pages (store, missing);
    if (r < 0)
      return r;
  }
  return store_write_range (store, offset_bytes, end, &cursor, missing);
}

int
store_write (struct store *store, const void *buf, size_t bytes,
             uint64_t offset_bytes)
{
  struct iovec segment;

  /* An iovec cannot say const; store_writev only reads from it. */
  memcpy (&segment.iov_base, &buf, sizeof buf);
  segment.iov_len = bytes;
  return store_writev (store, &segment, 0, bytes, offset_bytes);
}
