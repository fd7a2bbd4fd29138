/* SPDX-License-Identifier: BSD-3-Clause
 *
 * store-internal.h: what the files of the store share with each other and
 * with its unit test.
 *
 *   store.c          reading and writing
 *   store-discard.c  discarding and zeroing
 *   store-table.c    the hash table of one shard
 *   store-extents.c  reporting what is present
 *   store-pages.c    memory: slots for chunks, and giving pages back
 *   store-huge.c     huge pages, where all of one is present
 *
 * Locks, in the order in which they may be taken:
 *
 *   1. struct shard.lock   at most one of them by one thread
 *   2. struct pool.lock, struct huge.busy or struct huge.lock: one of them
 *
 * A page that is not present never holds anything but zeros: the kernel gives
 * zeroed frames, and whoever makes a page absent takes its frame away.
 * Everything else relies on this.
 */

#ifndef BLKMQ_DRIVERS_STORE_INTERNAL_H
#define BLKMQ_DRIVERS_STORE_INTERNAL_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#include "store.h"

#define PAGE_SHIFT 12
#define CHUNK_SHIFT 16
#define CHUNK_BYTES (1u << CHUNK_SHIFT)
#define CHUNK_PAGES (1u << (CHUNK_SHIFT - PAGE_SHIFT))
#define NR_SHARDS 256u

_Static_assert(STORE_PAGE_BYTES == 1u << PAGE_SHIFT, "page size and shift");
_Static_assert(CHUNK_PAGES == 16, "struct chunk has 16 bits for them");

/* Two cache lines: x86 fetches lines in pairs. */
#define SHARD_ALIGN 128

/* An entry of a shard's table.  The chunk's index takes 47 bits (2^63 bytes in
 * chunks of 2^16), which leaves room for the pages in the same word.
 */
struct chunk {
  uint64_t key;  /* index << 16 | one bit for each page that is present */
  uint8_t *data; /* CHUNK_BYTES; NULL: a free entry */
};

struct shard {
  _Alignas(SHARD_ALIGN) pthread_rwlock_t lock; /* protects all that follows */
  struct chunk *table; /* mask + 1 entries, open addressing; NULL at first */
  uint32_t mask;       /* 0 while there is no table */
  uint32_t nr_chunks;  /* entries in use, at most half of them */
  uint64_t nr_changes; /* entries may have moved if this did */
};

/* What may become a huge page; aligned. */
#define PIECE_BYTES ((size_t)2 << 20)

/* The word of a piece: a bit for each slot all of whose pages are present, */
#define PIECE_FULL UINT64_C (0xffffffff)
/* it was so when the thread last came by, */
#define PIECE_RIPE (UINT64_C (1) << 32)
/* the thread has tried since the last discard, */
#define PIECE_TRIED (UINT64_C (1) << 33)
/* the thread is at it, with huge.busy held, */
#define PIECE_BUSY (UINT64_C (1) << 34)
/* and it is one huge page, or parts of one if it was not tried since. */
#define PIECE_HUGE (UINT64_C (1) << 35)

/* A stretch of mapped memory.  Set before it is linked, and then for good. */
struct region {
  struct region *next;
  uint8_t *base;
  size_t bytes;
  _Atomic uint64_t *pieces; /* one for each whole one; see store-huge.c */
  size_t nr_pieces;
};

/* Huge pages, and the thread that makes them. */
struct huge {
  struct store *store;
  unsigned settle_ms;       /* 0: no thread; a test makes the passes */
  pthread_mutex_t busy;     /* held while one is made */
  _Atomic bool is_refused;  /* the kernel cannot */
  _Atomic bool has_work;    /* a pass may find something */
  _Atomic bool is_stopping; /* lock, to set it */
  bool has_made_one;        /* the thread's own */

  pthread_mutex_t lock; /* protects all that follows */
  pthread_cond_t wake;
  pthread_t thread;
  bool has_thread;
};

/* Memory for chunk data, in slots of CHUNK_BYTES. */
struct pool {
  struct huge *huge; /* NULL: small pages.  Constant once the store is used */

  pthread_mutex_t lock;              /* protects all that follows */
  _Atomic (struct region *) regions; /* all that was mapped; lock, to add */
  uint64_t mapped_bytes;
  uint8_t *fresh; /* of the last region: what was never used */
  uint8_t *fresh_end;
  uint8_t **free_slots; /* room for every slot there is, so that giving */
  size_t nr_free_slots; /*   one back cannot fail */
};

struct store {
  uint64_t size_bytes;
  uint64_t limit_pages; /* UINT64_MAX: none */
  uint64_t seed;

  /* Touched only when pages or chunks come or go. */
  _Alignas(SHARD_ALIGN) _Atomic uint64_t nr_pages; /* present or reserved */
  _Atomic uint64_t nr_chunks;

  _Alignas(SHARD_ALIGN) struct pool pool;
  struct shard shards[NR_SHARDS];
};

/* Every allocation of the store asks this first, if it is set, and fails when
 * it says false.  For tests; set it while no other thread is in a store.
 */
extern bool (*store_alloc_hook) (void);

static inline bool
alloc_allowed (void)
{
  return store_alloc_hook == NULL || store_alloc_hook ();
}

static inline uint64_t
chunk_index (const struct chunk *chunk)
{
  return chunk->key >> CHUNK_PAGES;
}

static inline unsigned
chunk_present (const struct chunk *chunk)
{
  return (unsigned)(chunk->key & 0xffff);
}

static inline unsigned
nr_bits (unsigned mask)
{
  return (unsigned)__builtin_popcount (mask);
}

/* The pages of a chunk that [from, to) touches; offsets in the chunk. */
static inline unsigned
pages_touched (uint32_t from, uint32_t to)
{
  unsigned first = from >> PAGE_SHIFT;
  unsigned end = (to + STORE_PAGE_BYTES - 1) >> PAGE_SHIFT;

  return ((1u << end) - 1) & ~((1u << first) - 1);
}

/* The pages that it covers. */
static inline unsigned
pages_covered (uint32_t from, uint32_t to)
{
  unsigned first = (from + STORE_PAGE_BYTES - 1) >> PAGE_SHIFT;
  unsigned end = to >> PAGE_SHIFT;

  return end <= first ? 0 : ((1u << end) - 1) & ~((1u << first) - 1);
}

/* splitmix64's finalizer over the seeded index.  Clients choose the indexes:
 * the seed keeps them from choosing what collides.
 */
static inline uint64_t
chunk_hash (const struct store *store, uint64_t index)
{
  uint64_t x = index ^ store->seed;

  x = (x ^ (x >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C (0x94d049bb133111eb);
  return x ^ (x >> 31);
}

static inline struct shard *
shard_of (struct store *store, uint64_t hash)
{
  return &store->shards[hash % NR_SHARDS];
}

/* Where a chunk stands if nobody stands there. */
static inline uint32_t
table_home (const struct shard *shard, uint64_t hash)
{
  return (uint32_t)(hash / NR_SHARDS) & shard->mask;
}

/* The part of [begin, end) that lies in chunk INDEX. */
static inline uint32_t
from_in_chunk (uint64_t index, uint64_t begin)
{
  uint64_t start = index << CHUNK_SHIFT;

  return begin <= start ? 0 : (uint32_t)(begin - start);
}

static inline uint32_t
to_in_chunk (uint64_t index, uint64_t end)
{
  uint64_t left = end - (index << CHUNK_SHIFT);

  return left >= CHUNK_BYTES ? CHUNK_BYTES : (uint32_t)left;
}

/* Is it less work to visit all entries there are than NR_INDEXES indexes?
 * Visiting them takes every shard's lock.
 */
static inline bool
walk_is_shorter (struct store *store, uint64_t nr_indexes)
{
  return nr_indexes > NR_SHARDS
         && nr_indexes > atomic_load_explicit (&store->nr_chunks,
                                               memory_order_relaxed);
}

static inline void
assert_range (const struct store *store, uint64_t bytes, uint64_t offset_bytes)
{
  assert (bytes <= store->size_bytes);
  assert (offset_bytes <= store->size_bytes - bytes);
}

/* store-table.c.  All need the shard's lock; all but find need it
 * exclusively.
 */

/* The entry of INDEX, whose hash is HASH, or NULL. */
static inline struct chunk *
table_find_locked (const struct shard *shard, uint64_t hash, uint64_t index)
{
  uint32_t at = table_home (shard, hash);
  struct chunk *chunk;

  if (shard->table == NULL)
    return NULL;
  for (; (chunk = &shard->table[at])->data != NULL;
       at = (at + 1) & shard->mask) {
    if (chunk_index (chunk) == index)
      return chunk;
  }
  return NULL;
}

/* Make sure that one more insert fits.  0 or -ENOMEM. */
int store_table_reserve_locked (struct store *store, struct shard *shard);

/* Add INDEX, which is not there, with no page present; room was reserved. */
struct chunk *store_table_insert_locked (struct store *store,
                                         struct shard *shard, uint64_t hash,
                                         uint64_t index, uint8_t *data);

/* Take CHUNK out.  Entries behind it, up to the next free one, may move
 * towards it; nothing else moves.
 */
void store_table_remove_locked (struct store *store, struct shard *shard,
                                struct chunk *chunk);

/* After removals: give memory back if the table is much too large. */
void store_table_shrink_locked (struct store *store, struct shard *shard);

/* store-pages.c */

int store_pool_init (struct pool *pool);
void store_pool_exit (struct pool *pool);

/* A slot that reads as zeros, or NULL. */
uint8_t *store_slot_get (struct pool *pool);

/* Slots on their way back: gathered under a shard's lock, emptied and given
 * back after it was dropped.  Only a flush makes their pages count as free, so
 * that the memory in use stays below the limit all the time.
 */
#define SLOT_BATCH 32
struct slot_batch {
  unsigned nr_slots;
  unsigned nr_pages; /* present in them */
  uint8_t *slots[SLOT_BATCH];
};

/* No shard lock may be held. */
void store_slot_batch_flush (struct store *store, struct slot_batch *batch);

/* All from the first to the last of PAGES of a chunk will be written now, and
 * PAGES are those of them that were not present.
 */
void store_populate_pages (uint8_t *data, unsigned pages);

/* Zero whole pages that nobody else uses, and give their memory back. */
void store_release_pages (uint8_t *data, size_t bytes);

/* The same for a part of a slot, or for slots side by side. */
void store_pool_release (struct pool *pool, uint8_t *data, size_t bytes);

/* store-huge.c: nothing but exit and region with POOL->huge NULL */

void store_huge_exit (struct huge *huge);

/* REGION is new. */
void store_huge_region (struct pool *pool, struct region *region);

/* Under the lock of the shard that has the chunk at DATA, a slot: all its pages
 * are present now.
 */
void store_huge_is_full (struct pool *pool, const uint8_t *data);

/* store_release_pages for a part of a slot, under the lock of the shard that
 * has it, or for slots that no shard has.
 */
void store_huge_release (struct pool *pool, uint8_t *data, size_t bytes);

/* Visit all pieces: make huge pages of those that were full at the last pass
 * already, and cut up those that are not any more.  One thread.  True if
 * another pass may find more.
 */
bool store_huge_pass (struct store *store);

/* store.c */

/* Take NR_PAGES from what the limit leaves.  0 or -ENOSPC. */
int store_reserve_pages (struct store *store, uint64_t nr_pages);
void store_unreserve_pages (struct store *store, uint64_t nr_pages);

/* The pages that a write to [begin, end), which is not empty, would add. */
uint64_t store_count_missing (struct store *store, uint64_t begin,
                              uint64_t end);

/* Zero what [from, to) of a chunk has in common with PAGES. */
void store_zero_pages (uint8_t *data, unsigned pages, uint32_t from,
                       uint32_t to);

/* Write [begin, end) from CURSOR, or zeros if that is NULL, with RESERVED
 * pages, of which those that are not needed go back.  0, -ENOSPC, -ENOMEM.
 */
struct cursor;
int store_write_range (struct store *store, uint64_t begin, uint64_t end,
                       struct cursor *cursor, uint64_t reserved);

#endif /* BLKMQ_DRIVERS_STORE_INTERNAL_H */
