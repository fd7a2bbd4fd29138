/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cache.h: what the files of the cache layer share.
 *
 *   cache.c           the layer's ops: reads, power, stop
 *   cache-below.c     the ios of its requests on the inner disk
 *   cache-store.c     pages, and the index of them
 *   cache-write.c     writes, flushes, and what makes room: write-out
 *   cache-through.c   what is done to the media at once: FUA, discard, zeroes
 *
 * A page is DIRTY where it holds what the media has not got, and WRITING where
 * that is on its way; it is readable where it is either.  What is written out
 * is a copy, so nobody waits for a page that is being written out; who writes
 * to it makes it dirty again.  A page that is neither is free: nothing is kept
 * to be read only.
 *
 * Locks, in the order in which they may be taken:
 *
 *   shard->lock   some pages: where they are, what they hold
 *   cache->lock   who waits for what, the order of the dirty pages, slots; held
 *                 for a few instructions, never for a transfer
 *
 * Neither is held while a request is completed or an io submitted.
 */

#ifndef BLKMQ_LAYERS_CACHE_H
#define BLKMQ_LAYERS_CACHE_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "engine/line.h"
#include "layers.h"

#define CACHE_MIN_PAGE_BYTES 4096u
#define CACHE_NR_SHARDS 64u
/* Write-outs under way at most. */
#define CACHE_NR_SLOTS 32u
/* Of one request; the kernel's BLK_MAX_SEGMENTS. */
#define CACHE_MAX_SEGMENTS 128u

/* A page's blocks, a bit each. */
typedef uint8_t block_mask;

struct cache_page {
  uint64_t number;           /* its place on the disk, in pages; shard->lock */
  struct cache_page *chain;  /* of its bucket, or of the free; as that */
  block_mask dirty, writing; /* shard->lock */
  /* Of those dirty: were there when a request came that goes through, and that
   * will have overwritten them when it succeeds.  Likewise. */
  block_mask doomed;
  bool is_listed;                  /* cache->lock: in the list of the dirty */
  uint64_t sequence;               /* cache->lock: since when; grows along it */
  TAILQ_ENTRY (cache_page) by_age; /* cache->lock */
};

struct cache_shard {
  alignas (CACHE_LINE_BYTES) pthread_mutex_t lock;
  struct cache_page **buckets; /* lock */
};

/* Where a request of the layer waits; cache->lock. */
enum cache_list {
  CACHE_NOWHERE = 0, /* below, or in some thread's hands */
  CACHE_WAITS_FOR_ROOM,
  CACHE_WAITS_FOR_RANGE,
  CACHE_HAS_RANGE, /* goes through: nothing else touches its range below */
  CACHE_FLUSHES,
};

/* rq->io_state */
#define CACHE_IO_OUT (1u << 0)
#define CACHE_IO_BACK (1u << 1)
#define CACHE_IO_ABORTING (1u << 2) /* its aborter sees to what follows */

/* The pdu. */
struct cache_rq {
  struct blkmq_request *rq;
  _Atomic blkmq_token token;
  bool resumes; /* was requeued by the layer, and goes on where it was */
  struct cache *cache;
  struct cache_queue *queue;

  /* What is still to be done of it, and the data of that. */
  uint64_t offset_bytes, end_bytes;
  struct blkmq_segments data;

  enum cache_list list;           /* cache->lock */
  TAILQ_ENTRY (cache_rq) link;    /* cache->lock: in that list */
  uint64_t sequence;              /* a flush: the last that it covers */
  enum blkmq_status flush_status; /* cache->lock */

  /* What it has below. */
  struct blkmq_io io;
  enum blkmq_status io_status;
  _Atomic unsigned io_state;
  struct iovec segments[CACHE_MAX_SEGMENTS];
};

TAILQ_HEAD (cache_rqs, cache_rq);

/* One write-out. */
enum cache_slot_state {
  CACHE_SLOT_IDLE = 0,
  CACHE_SLOT_OUT,
  CACHE_SLOT_FAILED, /* but what is below may still have the data */
};
struct cache_slot {
  struct blkmq_io io;
  struct iovec segment;
  struct cache *cache;
  struct cache_queue *queue;
  enum cache_slot_state state; /* cache->lock */
  struct cache_page *page;     /* cache->lock; NULL: forgotten by now */
  uint64_t number;             /* cache->lock: the page's */
  uint64_t sequence;           /* cache->lock: the page's */
  block_mask left, run;        /* what it has in hand, and below */
  char *data;                  /* a page */
};

/* The way down for the requests of some hctxs. */
struct cache_queue {
  alignas (CACHE_LINE_BYTES) struct blkmq_submitter *submitter;
  _Atomic unsigned nr_below;
};

struct cache {
  /* Fixed. */
  struct blkmq_disk *inner;
  uint64_t size_bytes;
  uint32_t block_bytes, page_bytes;
  unsigned nr_queues;
  struct cache_queue *queues;
  size_t nr_pages, nr_buckets; /* of each shard */
  struct cache_page *pages;
  char *data;
  struct cache_shard shards[CACHE_NR_SHARDS];

  _Atomic bool is_stopped;

  alignas (CACHE_LINE_BYTES) pthread_mutex_t lock;
  _Atomic size_t nr_used;  /* lock to write: pages that are not free */
  size_t nr_fresh;         /* lock: those from here on were never used */
  struct cache_page *free; /* lock */
  TAILQ_HEAD (cache_pages, cache_page) dirty; /* lock: by sequence */
  uint64_t sequence;                          /* lock: the last one given */
  struct cache_rqs lists[CACHE_FLUSHES + 1];  /* lock */
  bool is_off;                                /* lock: without power */
  struct cache_slot slots[CACHE_NR_SLOTS];
};

static inline uint64_t
cache_page_of (const struct cache *cache, uint64_t offset_bytes)
{
  return offset_bytes / cache->page_bytes;
}

/* Two ranges of pages, with their ends. */
static inline bool
cache_overlap (uint64_t first, uint64_t last, uint64_t other_first,
               uint64_t other_last)
{
  return first <= other_last && other_first <= last;
}

/* ---- cache.c ---- */

/* Give CRQ back.  It may be gone afterwards. */
void cache_complete (struct cache_rq *crq, enum blkmq_status status);

/* Put CRQ, which is on no list, on LIST, at its end or head; or take it off
 * the one where it is. */
void cache_list_add_locked (struct cache_rq *crq, enum cache_list list,
                            bool at_head);
void cache_list_remove_locked (struct cache_rq *crq);

/* Do whatever can be done now for those who wait. */
void cache_kick (struct cache *cache);

/* Read what is left of CRQ, and complete it. */
void cache_read (struct cache_rq *crq);

/* ---- cache-below.c ---- */

/* Submit an io of CRQ's for the next BYTES of it, with that operation and those
 * flags; when it is back, the request goes on. */
void cache_submit_below (struct cache_rq *crq, enum blkmq_op op, uint32_t flags,
                         uint64_t bytes);

/* CRQ was answered: what it has below is for nobody. */
void cache_abort_below (struct cache_rq *crq);

/* ---- cache-store.c ---- */

int cache_store_init (struct cache *cache, uint64_t bytes);
void cache_store_exit (struct cache *cache);

struct cache_shard *cache_shard_of (struct cache *cache, uint64_t number);
char *cache_page_data (const struct cache *cache,
                       const struct cache_page *page);

/* The page at NUMBER, or NULL. */
struct cache_page *cache_find_locked (struct cache *cache,
                                      struct cache_shard *shard,
                                      uint64_t number);
void cache_insert_locked (struct cache *cache, struct cache_shard *shard,
                          struct cache_page *page);
/* PAGE is free from now on. */
void cache_free_page_locked (struct cache *cache, struct cache_shard *shard,
                             struct cache_page *page);

/* The blocks of the page at NUMBER that a range, cut to it, covers. */
block_mask cache_blocks (const struct cache *cache, uint64_t number,
                         uint64_t offset_bytes, uint64_t end_bytes);
/* Where these start, and the bytes of them that there are on the disk; they are
 * in a row. */
uint64_t cache_blocks_begin (const struct cache *cache, uint64_t number,
                             block_mask blocks);
uint64_t cache_blocks_bytes (const struct cache *cache, uint64_t number,
                             block_mask blocks);
/* The first in BLOCKS that are in a row. */
block_mask cache_first_run (block_mask blocks);

/* How many bytes from OFFSET_BYTES on, up to END_BYTES, are in the cache, or
 * are not, as *IS_CACHED says.  With COPY the former are copied into it, and
 * are of one page. */
uint64_t cache_next_run (struct cache *cache, uint64_t offset_bytes,
                         uint64_t end_bytes, bool *is_cached,
                         struct blkmq_segments *copy);

/* Call FN under its shard's lock for each page that is there between these two
 * and with them. */
void cache_for_each_page (struct cache *cache, uint64_t first, uint64_t last,
                          void (*fn) (struct cache *cache,
                                      struct cache_shard *shard,
                                      struct cache_page *page, void *opaque),
                          void *opaque);

/* Copy BYTES from the segments to BUF, or the other way, and move on. */
void cache_copy_out (struct blkmq_segments *it, char *buf, uint64_t bytes);
void cache_copy_in (struct blkmq_segments *it, const char *buf, uint64_t bytes);
/* The next BYTES of the segments, as segments of their own.  Their number. */
unsigned cache_take_segments (struct blkmq_segments *it, uint64_t bytes,
                              struct iovec *segments);

int cache_extents (void *data, uint64_t offset_bytes, uint64_t bytes,
                   int (*fn) (uint64_t offset_bytes, uint64_t bytes,
                              unsigned type, void *opaque),
                   void *opaque);

/* ---- cache-write.c ---- */

int cache_slots_init (struct cache *cache);
void cache_slots_exit (struct cache *cache);

/* Write what is left of CRQ into the cache, and complete it; or have it wait
 * for room. IS_NEXT: it has done so already. */
void cache_write (struct cache_rq *crq, bool is_next);

/* A flush comes; it is to be passed on when the cache has nothing left that it
 * covers. */
void cache_flush (struct cache_rq *crq);

/* PAGE has become dirty, or is dirty no more. */
void cache_list_page_locked (struct cache *cache, struct cache_page *page);
void cache_unlist_page_locked (struct cache *cache, struct cache_page *page);

/* Take a slot and a page that should be written out, if there are both. */
struct cache_slot *cache_next_write_out_locked (struct cache *cache);
void cache_write_out (struct cache_slot *slot);

/* The next flush that has nothing to wait for any more, or NULL. */
struct cache_rq *cache_next_flush_locked (struct cache *cache);

/* Is there a page for the first of those who wait for one? */
bool cache_has_room_locked (const struct cache *cache);

/* Is any write-out under way?  Not one that has failed, and that what is below
 * still has. */
bool cache_writes_out (struct cache *cache);

/* ---- cache-through.c ---- */

void cache_through (struct cache_rq *crq);
void cache_through_done (struct cache_rq *crq);

/* The next that waits for its range and can have it, or NULL. */
struct cache_rq *cache_next_range_locked (struct cache *cache);
void cache_begin_range (struct cache_rq *crq);

/* Is the page at NUMBER in a range that is, or is to be, gone through? */
bool cache_is_in_range_locked (const struct cache *cache, uint64_t number);

#endif /* BLKMQ_LAYERS_CACHE_H */
