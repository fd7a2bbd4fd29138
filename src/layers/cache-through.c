/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cache-through.c: requests that are done to the media at once: writes with
 * FUA, discards, writes of zeroes.  Any thread.
 *
 * Such a request has its range to itself below: it waits until no write-out and
 * no other such request has pages of it, and then none begins until it is
 * through.  What the cache has of the range stays readable, and stays where it
 * is if the request fails; it is doomed, and dropped when the request has
 * succeeded, unless it was written again meanwhile.
 */

#include <config.h>

#include "cache.h"

/* ---- ranges ---- */

static uint64_t
first_page (const struct cache_rq *crq)
{
  return cache_page_of (crq->cache, crq->rq->offset_bytes);
}

static uint64_t
last_page (const struct cache_rq *crq)
{
  return cache_page_of (crq->cache, crq->rq->offset_bytes + crq->rq->bytes - 1);
}

static bool
is_in_any_locked (const struct cache *cache, enum cache_list list,
                  uint64_t first, uint64_t last)
{
  const struct cache_rq *crq;

  TAILQ_FOREACH (crq, &cache->lists[list], link)
  {
    if (cache_overlap (first_page (crq), last_page (crq), first, last))
      return true;
  }
  return false;
}

/* One that waits keeps others out as well, or it could wait for ever. */
bool
cache_is_in_range_locked (const struct cache *cache, uint64_t number)
{
  return is_in_any_locked (cache, CACHE_HAS_RANGE, number, number)
         || is_in_any_locked (cache, CACHE_WAITS_FOR_RANGE, number, number);
}

static bool
is_range_free_locked (const struct cache *cache, const struct cache_rq *crq)
{
  uint64_t first = first_page (crq), last = last_page (crq);

  for (unsigned i = 0; i < CACHE_NR_SLOTS; i++) {
    const struct cache_slot *slot = &cache->slots[i];

    if (slot->state != CACHE_SLOT_IDLE
        && cache_overlap (slot->number, slot->number, first, last))
      return false;
  }
  return !is_in_any_locked (cache, CACHE_HAS_RANGE, first, last);
}

struct cache_rq *
cache_next_range_locked (struct cache *cache)
{
  struct cache_rq *crq;

  TAILQ_FOREACH (crq, &cache->lists[CACHE_WAITS_FOR_RANGE], link)
  {
    if (is_range_free_locked (cache, crq)) {
      cache_list_remove_locked (crq);
      cache_list_add_locked (crq, CACHE_HAS_RANGE, false);
      return crq;
    }
  }
  return NULL;
}

/* ---- what is cached of a range ---- */

static block_mask
blocks_of (const struct cache_rq *crq, const struct cache_page *page)
{
  return cache_blocks (crq->cache, page->number, crq->rq->offset_bytes,
                       crq->rq->offset_bytes + crq->rq->bytes);
}

static void
doom_page (struct cache *cache, struct cache_shard *shard,
           struct cache_page *page, void *opaque)
{
  (void)cache, (void)shard;
  page->doomed |= page->dirty & blocks_of (opaque, page);
}

static void
drop_page (struct cache *cache, struct cache_shard *shard,
           struct cache_page *page, void *opaque)
{
  block_mask blocks = page->doomed & blocks_of (opaque, page);

  page->doomed &= (block_mask)~blocks;
  if ((page->dirty & blocks) == 0)
    return;
  page->dirty &= (block_mask)~blocks;
  if (page->dirty != 0)
    return;
  pthread_mutex_lock (&cache->lock);
  cache_unlist_page_locked (cache, page);
  pthread_mutex_unlock (&cache->lock);
  cache_free_page_locked (cache, shard, page);
}

/* ---- a request's way ---- */

void
cache_begin_range (struct cache_rq *crq)
{
  const struct blkmq_request *rq = crq->rq;

  if (atomic_load (&crq->cache->nr_used) > 0)
    cache_for_each_page (crq->cache, first_page (crq), last_page (crq),
                         doom_page, crq);
  cache_submit_below (crq, rq->op,
                      rq->flags & (BLKMQ_IO_FUA | BLKMQ_IO_NOUNMAP), rq->bytes);
}

void
cache_through (struct cache_rq *crq)
{
  struct cache *cache = crq->cache;
  bool is_off;

  pthread_mutex_lock (&cache->lock);
  is_off = cache->is_off;
  if (!is_off)
    cache_list_add_locked (crq, CACHE_WAITS_FOR_RANGE, false);
  pthread_mutex_unlock (&cache->lock);
  if (is_off)
    cache_complete (crq, BLKMQ_STS_OFFLINE);
  else
    cache_kick (cache);
}

void
cache_through_done (struct cache_rq *crq)
{
  struct cache *cache = crq->cache;

  if (crq->io_status == BLKMQ_STS_OK && atomic_load (&cache->nr_used) > 0)
    cache_for_each_page (cache, first_page (crq), last_page (crq), drop_page,
                         crq);
  pthread_mutex_lock (&cache->lock);
  cache_list_remove_locked (crq);
  pthread_mutex_unlock (&cache->lock);
  cache_complete (crq, crq->io_status);
  cache_kick (cache);
}
