/* SPDX-License-Identifier: BSD-3-Clause
 *
 * store-discard.c: making a range of a store read as zeros.
 *
 * Any thread.  Pages of a chunk that stays are given back under its shard's
 * lock.  A chunk of which nothing stays is first taken out of the table, so
 * that the rest can happen without the lock.
 */

#include <assert.h>
#include <errno.h>
#include <sys/sysinfo.h>

#include "store-internal.h"

/* Returns true if nothing was left of CHUNK and its entry is gone.  BATCH must
 * have room for one more.
 */
static bool
discard_in_chunk_locked (struct store *store, struct shard *shard,
                         struct chunk *chunk, uint32_t from, uint32_t to,
                         struct slot_batch *batch)
{
  unsigned present = chunk_present (chunk);
  unsigned gone = present & pages_covered (from, to);
  unsigned first, nr_pages;

  if (gone == present) {
    batch->slots[batch->nr_slots++] = chunk->data;
    batch->nr_pages += nr_bits (gone);
    store_table_remove_locked (store, shard, chunk);
    return true;
  }

  store_zero_pages (chunk->data, present & ~gone, from, to);
  if (gone != 0) {
    /* What lies between the first and the last was covered too. */
    first = (unsigned)__builtin_ctz (gone);
    nr_pages = 32 - (unsigned)__builtin_clz (gone) - first;
    store_pool_release (&store->pool, chunk->data + first * STORE_PAGE_BYTES,
                        nr_pages * STORE_PAGE_BYTES);
    chunk->key &= ~(uint64_t)gone;
    store_unreserve_pages (store, nr_bits (gone));
  }
  return false;
}

static void
discard_by_index (struct store *store, uint64_t begin, uint64_t end)
{
  struct slot_batch batch = { .nr_slots = 0 };

  for (uint64_t i = begin >> CHUNK_SHIFT; i << CHUNK_SHIFT < end; i++) {
    uint64_t hash = chunk_hash (store, i);
    struct shard *shard = shard_of (store, hash);
    struct chunk *chunk;

    pthread_rwlock_wrlock (&shard->lock);
    chunk = table_find_locked (shard, hash, i);
    if (chunk != NULL
        && discard_in_chunk_locked (store, shard, chunk,
                                    from_in_chunk (i, begin),
                                    to_in_chunk (i, end), &batch))
      store_table_shrink_locked (store, shard);
    pthread_rwlock_unlock (&shard->lock);
    if (batch.nr_slots == SLOT_BATCH)
      store_slot_batch_flush (store, &batch);
  }
  store_slot_batch_flush (store, &batch);
}

/* Discard what SHARD has of [begin, end).
 *
 * The lock is dropped after each batch.  If the table is then found changed,
 * the walk begins anew, since entries may have moved to where it has been.
 * Each round but the last removes a whole batch, so it comes to an end; a
 * chunk that was written again meanwhile may be discarded again, which is what
 * a writer gets who does not wait for the discard.
 */
static void
discard_shard (struct store *store, struct shard *shard, uint64_t begin,
               uint64_t end)
{
  uint64_t first = begin >> CHUNK_SHIFT, last = (end - 1) >> CHUNK_SHIFT;
  struct slot_batch batch = { .nr_slots = 0 };
  uint64_t nr_changes = UINT64_MAX;
  uint32_t at = 0, nr_left = 0;

  do {
    pthread_rwlock_wrlock (&shard->lock);
    if (nr_changes != shard->nr_changes) {
      /* Begin behind a free entry: removal moves entries back towards the
       * place that the walk is at, but never across a free one, so never to
       * where it has been.
       */
      at = 0;
      nr_left = 0;
      if (shard->nr_chunks > 0) {
        while (shard->table[at].data != NULL)
          at++;
        nr_left = shard->mask;
      }
    }
    while (nr_left > 0 && batch.nr_slots < SLOT_BATCH) {
      uint32_t next = (at + 1) & shard->mask;
      struct chunk *chunk = &shard->table[next];
      uint64_t index = chunk_index (chunk);

      if (chunk->data == NULL || index < first || index > last
          || !discard_in_chunk_locked (store, shard, chunk,
                                       from_in_chunk (index, begin),
                                       to_in_chunk (index, end), &batch)) {
        at = next;
        nr_left--;
      }
    }
    if (nr_left == 0)
      store_table_shrink_locked (store, shard);
    nr_changes = shard->nr_changes;
    pthread_rwlock_unlock (&shard->lock);
    store_slot_batch_flush (store, &batch);
  } while (nr_left > 0);
}

void
store_discard (struct store *store, uint64_t bytes, uint64_t offset_bytes)
{
  uint64_t begin = offset_bytes, end = offset_bytes + bytes;

  assert_range (store, bytes, offset_bytes);
  if (bytes == 0)
    return;
  /* Nobody can see what the last page has behind the end. */
  if (end == store->size_bytes)
    end = (end + STORE_PAGE_BYTES - 1) & ~(uint64_t)(STORE_PAGE_BYTES - 1);

  if (walk_is_shorter (store, ((end - 1) >> CHUNK_SHIFT)
                                  - (begin >> CHUNK_SHIFT) + 1)) {
    for (unsigned s = 0; s < NR_SHARDS; s++)
      discard_shard (store, &store->shards[s], begin, end);
  } else
    discard_by_index (store, begin, end);
}

/* Pages that are promised and not touched yet must at least be possible. */
static bool
memory_can_exist (uint64_t nr_pages)
{
  struct sysinfo info;

  if (sysinfo (&info) < 0)
    return true;
  return nr_pages <= ((uint64_t)info.totalram + info.totalswap)
                         / STORE_PAGE_BYTES * info.mem_unit;
}

int
store_write_zeroes (struct store *store, uint64_t bytes, uint64_t offset_bytes,
                    bool nounmap)
{
  uint64_t end = offset_bytes + bytes;
  uint64_t missing;
  int r;

  if (!nounmap) {
    store_discard (store, bytes, offset_bytes);
    return 0;
  }

  assert_range (store, bytes, offset_bytes);
  if (bytes == 0)
    return 0;
  missing = store_count_missing (store, offset_bytes, end);
  r = store_reserve_pages (store, missing);
  if (r < 0)
    return r;
  if (missing > 0
      && !memory_can_exist (
          atomic_load_explicit (&store->nr_pages, memory_order_relaxed))) {
    store_unreserve_pages (store, missing);
    return -ENOMEM;
  }
  return store_write_range (store, offset_bytes, end, NULL, missing);
}
