/* SPDX-License-Identifier: BSD-3-Clause
 *
 * store-table.c: the hash table of one shard of a store: chunk index to data
 * and present pages.  Linear probing, at most half full; removal shifts the
 * entries behind back instead of leaving tombstones, so that a table which is
 * written and trimmed for years stays as quick as a new one.
 *
 * Any thread, under the shard's lock.
 */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "store-internal.h"

/* Two cache lines; kept when the shard is empty, so that a single chunk that
 * comes and goes does not allocate each time.
 */
#define MIN_ENTRIES 8u

static void
place (struct store *store, struct shard *shard, const struct chunk *chunk)
{
  uint32_t at = table_home (shard, chunk_hash (store, chunk_index (chunk)));

  while (shard->table[at].data != NULL)
    at = (at + 1) & shard->mask;
  shard->table[at] = *chunk;
}

static int
resize (struct store *store, struct shard *shard, uint32_t nr_entries)
{
  struct chunk *old = shard->table;
  uint32_t nr_old = old == NULL ? 0 : shard->mask + 1;
  struct chunk *table;

  assert (shard->nr_chunks <= nr_entries / 2);
  table = alloc_allowed () ? calloc (nr_entries, sizeof *table) : NULL;
  if (table == NULL)
    return -ENOMEM;

  __atomic_store_n (&shard->table, table, __ATOMIC_RELAXED);
  __atomic_store_n (&shard->mask, nr_entries - 1, __ATOMIC_RELAXED);
  shard->nr_changes++;
  for (uint32_t i = 0; i < nr_old; i++) {
    if (old[i].data != NULL)
      place (store, shard, &old[i]);
  }
  free (old);
  return 0;
}

int
store_table_reserve_locked (struct store *store, struct shard *shard)
{
  if (shard->table == NULL)
    return resize (store, shard, MIN_ENTRIES);
  if (shard->nr_chunks < (shard->mask + 1) / 2)
    return 0;
  /* 2^31 entries in each of the shards are more than an address space. */
  assert (shard->mask < UINT32_MAX / 2);
  return resize (store, shard, (shard->mask + 1) * 2);
}

struct chunk *
store_table_insert_locked (struct store *store, struct shard *shard,
                           uint64_t hash, uint64_t index, uint8_t *data)
{
  uint32_t at = table_home (shard, hash);

  assert (shard->nr_chunks < (shard->mask + 1) / 2);
  while (shard->table[at].data != NULL)
    at = (at + 1) & shard->mask;
  shard->table[at] = (struct chunk){ index << CHUNK_PAGES, data };
  shard->nr_chunks++;
  shard->nr_changes++;
  atomic_fetch_add_explicit (&store->nr_chunks, 1, memory_order_relaxed);
  return &shard->table[at];
}

void
store_table_remove_locked (struct store *store, struct shard *shard,
                           struct chunk *chunk)
{
  uint32_t hole = (uint32_t)(chunk - shard->table);
  uint32_t at = hole;

  for (;;) {
    uint32_t home;

    at = (at + 1) & shard->mask;
    chunk = &shard->table[at];
    if (chunk->data == NULL)
      break;
    /* It may move to the hole unless its home lies behind that: a search
     * from its home must still come across it.
     */
    home = table_home (shard, chunk_hash (store, chunk_index (chunk)));
    if (((at - home) & shard->mask) >= ((at - hole) & shard->mask)) {
      shard->table[hole] = *chunk;
      hole = at;
    }
  }
  shard->table[hole] = (struct chunk){ 0, NULL };
  shard->nr_chunks--;
  shard->nr_changes++;
  atomic_fetch_sub_explicit (&store->nr_chunks, 1, memory_order_relaxed);
}

void
store_table_shrink_locked (struct store *store, struct shard *shard)
{
  uint32_t nr_entries = shard->mask + 1;

  if (shard->table == NULL)
    return;
  /* Not before an eighth, and then to a quarter: a store whose fill goes up
   * and down around one point must not resize each time.
   */
  if (shard->nr_chunks >= nr_entries / 8)
    return;
  while (nr_entries > MIN_ENTRIES && shard->nr_chunks <= nr_entries / 8)
    nr_entries /= 2;
  /* Without memory for a smaller table the larger one will do. */
  if (nr_entries <= shard->mask)
    (void)resize (store, shard, nr_entries);
}

/* Of a batch of requests that are spread over a large disk each one's shard and
 * entry are out of the cache, one after the other: a sixth of the time.  No
 * lock: what is fetched may be the wrong line, or no memory any more. */
void
store_prefetch (const struct store *store, uint64_t offset_bytes)
{
  uint64_t hash = chunk_hash (store, offset_bytes >> CHUNK_SHIFT);
  const struct shard *shard = &store->shards[hash % NR_SHARDS];
  const struct chunk *table = __atomic_load_n (&shard->table, __ATOMIC_RELAXED);
  uint32_t mask = __atomic_load_n (&shard->mask, __ATOMIC_RELAXED);

  if (table != NULL)
    __builtin_prefetch ((const char *)table
                        + (hash / NR_SHARDS & mask) * sizeof *table);
}
