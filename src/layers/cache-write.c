/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cache-write.c: how data gets into a cache and out of it: writes, the wait for
 * room, write-outs, and which of these a flush waits for.  Any thread.
 *
 * Each page that becomes dirty has the next sequence number, so the list of
 * dirty pages is in that order.  A flush has the last number that was given
 * when it came: whatever was answered by then is in a page with that number or
 * a lower one, and the flush waits until there is no such page, neither in the
 * list nor in a slot.
 *
 * A page whose write-out failed is dirty again, with a new number: the flushes
 * that needed it have that error, and do not wait for it any more; the next
 * flush tries again.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"

/* How long writes that wait for room are left alone when the media has failed.
 */
#define RETRY_NS UINT64_C (3000000)

/* How many dirty pages are looked at for one that may be written out: ranges
 * may be in the way of all of them. */
#define MAX_LOOKS 256

/* ---- the dirty ---- */

void
cache_list_page_locked (struct cache *cache, struct cache_page *page)
{
  page->sequence = ++cache->sequence;
  page->is_listed = true;
  TAILQ_INSERT_TAIL (&cache->dirty, page, by_age);
}

void
cache_unlist_page_locked (struct cache *cache, struct cache_page *page)
{
  page->is_listed = false;
  TAILQ_REMOVE (&cache->dirty, page, by_age);
}

/* ---- writes ---- */

static bool
has_free_locked (const struct cache *cache)
{
  return cache->free != NULL || cache->nr_fresh < cache->nr_pages;
}

bool
cache_has_room_locked (const struct cache *cache)
{
  return has_free_locked (cache)
         && !TAILQ_EMPTY (&cache->lists[CACHE_WAITS_FOR_ROOM]);
}

/* A page for NUMBER, which becomes dirty; or NULL. */
static struct cache_page *
take_page (struct cache *cache, struct cache_shard *shard, uint64_t number,
           bool is_next)
{
  struct cache_page *page = NULL;

  pthread_mutex_lock (&cache->lock);
  if (is_next || TAILQ_EMPTY (&cache->lists[CACHE_WAITS_FOR_ROOM])) {
    page = cache->free;
    if (page != NULL)
      cache->free = page->chain;
    else if (cache->nr_fresh < cache->nr_pages)
      page = &cache->pages[cache->nr_fresh++];
  }
  if (page != NULL) {
    atomic_fetch_add (&cache->nr_used, 1);
    page->number = number; /* who finds it listed looks at that */
    cache_list_page_locked (cache, page);
  }
  pthread_mutex_unlock (&cache->lock);
  if (page != NULL)
    cache_insert_locked (cache, shard, page);
  return page;
}

static void
become_dirty_locked (struct cache *cache, struct cache_page *page)
{
  pthread_mutex_lock (&cache->lock);
  if (!page->is_listed)
    cache_list_page_locked (cache, page);
  pthread_mutex_unlock (&cache->lock);
}

/* Write to the page at NUMBER.  False: there is no room. */
static bool
write_page (struct cache *cache, struct cache_rq *crq, uint64_t number,
            bool is_next)
{
  struct cache_shard *shard = cache_shard_of (cache, number);
  uint64_t begin = crq->offset_bytes, end = (number + 1) * cache->page_bytes;
  struct cache_page *page;
  block_mask blocks;

  if (end > crq->end_bytes)
    end = crq->end_bytes;
  pthread_mutex_lock (&shard->lock);
  page = cache_find_locked (cache, shard, number);
  if (page == NULL)
    page = take_page (cache, shard, number, is_next);
  else if (page->dirty == 0)
    become_dirty_locked (cache, page);
  if (page != NULL) {
    blocks = cache_blocks (cache, number, begin, end);
    cache_copy_out (&crq->data,
                    cache_page_data (cache, page) + begin % cache->page_bytes,
                    end - begin);
    page->dirty |= blocks;
    page->doomed &= (block_mask)~blocks;
    crq->offset_bytes = end;
  }
  pthread_mutex_unlock (&shard->lock);
  return page != NULL;
}

/* False: there is some by now. */
static bool
wait_for_room (struct cache *cache, struct cache_rq *crq, bool is_next)
{
  bool is_off, has_room;

  pthread_mutex_lock (&cache->lock);
  is_off = cache->is_off;
  has_room = has_free_locked (cache)
             && (is_next || TAILQ_EMPTY (&cache->lists[CACHE_WAITS_FOR_ROOM]));
  if (!is_off && !has_room)
    cache_list_add_locked (crq, CACHE_WAITS_FOR_ROOM, is_next);
  pthread_mutex_unlock (&cache->lock);
  if (is_off) {
    cache_complete (crq, BLKMQ_STS_OFFLINE);
    return true;
  }
  if (has_room)
    return false;
  if (!is_next)
    cache_kick (cache);
  return true;
}

void
cache_write (struct cache_rq *crq, bool is_next)
{
  struct cache *cache = crq->cache;

  while (crq->offset_bytes < crq->end_bytes) {
    if (!write_page (cache, crq, cache_page_of (cache, crq->offset_bytes),
                     is_next)
        && wait_for_room (cache, crq, is_next))
      return;
  }
  cache_complete (crq, BLKMQ_STS_OK);
}

/* ---- which page is to be written out ---- */

/* Is any of those dirty to be written out because of a flush, and up to which
 * sequence number? */
static uint64_t
wanted_sequence_locked (const struct cache *cache)
{
  const struct cache_rq *crq;
  uint64_t sequence = 0;

  if (!TAILQ_EMPTY (&cache->lists[CACHE_WAITS_FOR_ROOM]))
    return UINT64_MAX;
  TAILQ_FOREACH (crq, &cache->lists[CACHE_FLUSHES], link)
  {
    if (crq->sequence > sequence)
      sequence = crq->sequence;
  }
  return sequence;
}

static bool
is_in_slot_locked (const struct cache *cache, uint64_t first, uint64_t last)
{
  for (unsigned i = 0; i < CACHE_NR_SLOTS; i++) {
    const struct cache_slot *slot = &cache->slots[i];

    if (slot->state != CACHE_SLOT_IDLE
        && cache_overlap (slot->number, slot->number, first, last))
      return true;
  }
  return false;
}

static struct cache_page *
next_page_locked (struct cache *cache)
{
  uint64_t sequence = wanted_sequence_locked (cache);
  struct cache_page *page;
  unsigned nr_looks = 0;

  TAILQ_FOREACH (page, &cache->dirty, by_age)
  {
    /* A page that is listed keeps its number. */
    if (page->sequence > sequence || nr_looks++ == MAX_LOOKS)
      return NULL;
    if (!is_in_slot_locked (cache, page->number, page->number)
        && !cache_is_in_range_locked (cache, page->number))
      return page;
  }
  return NULL;
}

struct cache_slot *
cache_next_write_out_locked (struct cache *cache)
{
  struct cache_slot *slot = NULL;
  struct cache_page *page;

  for (unsigned i = 0; i < CACHE_NR_SLOTS && slot == NULL; i++) {
    if (cache->slots[i].state == CACHE_SLOT_IDLE)
      slot = &cache->slots[i];
  }
  if (slot == NULL)
    return NULL;
  page = next_page_locked (cache);
  if (page == NULL)
    return NULL;
  cache_unlist_page_locked (cache, page);
  slot->state = CACHE_SLOT_OUT;
  slot->page = page;
  slot->number = page->number;
  slot->sequence = page->sequence;
  return slot;
}

bool
cache_writes_out (struct cache *cache)
{
  bool does = false;

  pthread_mutex_lock (&cache->lock);
  for (unsigned i = 0; i < CACHE_NR_SLOTS; i++)
    does |= cache->slots[i].state == CACHE_SLOT_OUT;
  pthread_mutex_unlock (&cache->lock);
  return does;
}

/* ---- write-outs ---- */

static void
slot_release (struct cache_slot *slot)
{
  struct cache *cache = slot->cache;

  struct cache_queue *queue = slot->queue;

  pthread_mutex_lock (&cache->lock);
  slot->page = NULL;
  slot->state = CACHE_SLOT_IDLE;
  pthread_mutex_unlock (&cache->lock);
  cache_kick (cache);
  atomic_fetch_sub (&queue->nr_below, 1); /* the last touch */
}

/* Those who wait for room try again later: at once could mean without end. */
static void
put_off_writes (struct cache_rqs *rqs)
{
  struct cache_rq *crq;

  while ((crq = TAILQ_FIRST (rqs)) != NULL) {
    struct blkmq_hctx *hctx = crq->rq->hctx;

    TAILQ_REMOVE (rqs, crq, link);
    crq->resumes = true;
    blkmq_requeue_aside (crq->rq, crq->token);
    blkmq_delay_kick_requeues (hctx, RETRY_NS);
  }
}

/* What SLOT has left is dirty again; but what is below may have its data for a
 * while. */
static void
slot_fail (struct cache_slot *slot, enum blkmq_status status)
{
  struct cache *cache = slot->cache;
  struct cache_shard *shard = cache_shard_of (cache, slot->number);
  struct cache_rqs put_off = TAILQ_HEAD_INITIALIZER (put_off);
  struct cache_page *page;
  struct cache_rq *crq;

  pthread_mutex_lock (&shard->lock);
  pthread_mutex_lock (&cache->lock);
  page = slot->page;
  assert (page != NULL);
  page->writing = 0;
  page->dirty |= slot->left;
  if (!page->is_listed)
    cache_list_page_locked (cache, page);
  TAILQ_FOREACH (crq, &cache->lists[CACHE_FLUSHES], link)
  {
    if (crq->sequence >= slot->sequence && crq->flush_status == BLKMQ_STS_OK)
      crq->flush_status = status;
  }
  while ((crq = TAILQ_FIRST (&cache->lists[CACHE_WAITS_FOR_ROOM])) != NULL) {
    cache_list_remove_locked (crq);
    TAILQ_INSERT_TAIL (&put_off, crq, link);
  }
  slot->page = NULL;
  slot->state = CACHE_SLOT_FAILED;
  pthread_mutex_unlock (&cache->lock);
  pthread_mutex_unlock (&shard->lock);
  put_off_writes (&put_off);
}

static void
slot_succeed (struct cache_slot *slot)
{
  struct cache *cache = slot->cache;
  struct cache_shard *shard = cache_shard_of (cache, slot->number);
  struct cache_page *page = slot->page;

  pthread_mutex_lock (&shard->lock);
  page->writing = 0;
  if (page->dirty == 0)
    cache_free_page_locked (cache, shard, page);
  pthread_mutex_unlock (&shard->lock);
  slot_release (slot);
}

/* Write out the next blocks in a row. */
static void
slot_submit (struct cache_slot *slot)
{
  struct cache *cache = slot->cache;

  slot->run = cache_first_run (slot->left);
  slot->io.offset_bytes = cache_blocks_begin (cache, slot->number, slot->run);
  slot->io.bytes = cache_blocks_bytes (cache, slot->number, slot->run);
  slot->segment.iov_base
      = slot->data + slot->io.offset_bytes % cache->page_bytes;
  slot->segment.iov_len = (size_t)slot->io.bytes;
  /* Pairs with the stop, which looks at nr_below after that. */
  if (atomic_load (&cache->is_stopped)) {
    slot_fail (slot, BLKMQ_STS_OFFLINE);
    slot_release (slot);
    return;
  }
  blkmq_submit (slot->queue->submitter, &slot->io);
}

static struct cache_slot *
slot_of (struct blkmq_io *io)
{
  return (struct cache_slot *)((char *)io - offsetof (struct cache_slot, io));
}

static void
slot_end_io (struct blkmq_io *io, enum blkmq_status status)
{
  if (status != BLKMQ_STS_OK)
    slot_fail (slot_of (io), status);
}

static void
slot_give_back (struct blkmq_io *io)
{
  struct cache_slot *slot = slot_of (io);

  /* Ours: nobody else changes it while the slot is out. */
  if (slot->state == CACHE_SLOT_FAILED) {
    slot_release (slot);
    return;
  }
  slot->left &= (block_mask)~slot->run;
  if (slot->left != 0)
    slot_submit (slot);
  else
    slot_succeed (slot);
}

void
cache_write_out (struct cache_slot *slot)
{
  struct cache *cache = slot->cache;
  struct cache_shard *shard = cache_shard_of (cache, slot->number);
  struct cache_page *page = slot->page;

  atomic_fetch_add (&slot->queue->nr_below, 1);
  pthread_mutex_lock (&shard->lock);
  page->writing = slot->left = page->dirty;
  page->dirty = 0;
  memcpy (slot->data, cache_page_data (cache, page), cache->page_bytes);
  pthread_mutex_unlock (&shard->lock);
  assert (slot->left != 0);
  slot_submit (slot);
}

int
cache_slots_init (struct cache *cache)
{
  char *data = malloc ((size_t)CACHE_NR_SLOTS * cache->page_bytes);

  if (data == NULL)
    return -ENOMEM;
  for (unsigned i = 0; i < CACHE_NR_SLOTS; i++) {
    struct cache_slot *slot = &cache->slots[i];

    slot->cache = cache;
    slot->queue = &cache->queues[i % cache->nr_queues];
    slot->data = data + (size_t)i * cache->page_bytes;
    slot->io.op = BLKMQ_OP_WRITE;
    slot->io.segments = &slot->segment;
    slot->io.nr_segments = 1;
    slot->io.end_io = slot_end_io;
    slot->io.give_back = slot_give_back;
  }
  return 0;
}

void
cache_slots_exit (struct cache *cache)
{
  free (cache->slots[0].data);
}

/* ---- flushes ---- */

void
cache_flush (struct cache_rq *crq)
{
  struct cache *cache = crq->cache;
  bool is_off;

  pthread_mutex_lock (&cache->lock);
  is_off = cache->is_off;
  crq->sequence = cache->sequence;
  crq->flush_status = BLKMQ_STS_OK;
  if (!is_off)
    cache_list_add_locked (crq, CACHE_FLUSHES, false);
  pthread_mutex_unlock (&cache->lock);
  if (is_off)
    cache_complete (crq, BLKMQ_STS_OFFLINE);
  else
    cache_kick (cache);
}

/* The lowest sequence number of what is not written out. */
static uint64_t
oldest_locked (const struct cache *cache)
{
  const struct cache_page *page = TAILQ_FIRST (&cache->dirty);
  uint64_t oldest = page != NULL ? page->sequence : UINT64_MAX;

  for (unsigned i = 0; i < CACHE_NR_SLOTS; i++) {
    const struct cache_slot *slot = &cache->slots[i];

    if (slot->state == CACHE_SLOT_OUT && slot->sequence < oldest)
      oldest = slot->sequence;
  }
  return oldest;
}

struct cache_rq *
cache_next_flush_locked (struct cache *cache)
{
  struct cache_rq *crq;
  uint64_t oldest;

  if (TAILQ_EMPTY (&cache->lists[CACHE_FLUSHES]))
    return NULL;
  oldest = oldest_locked (cache);
  TAILQ_FOREACH (crq, &cache->lists[CACHE_FLUSHES], link)
  {
    if (crq->sequence < oldest) {
      cache_list_remove_locked (crq);
      return crq;
    }
  }
  return NULL;
}
