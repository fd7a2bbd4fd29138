/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cache.c: a volatile write cache: keys, reads, and what comes from outside:
 * timeouts, power, stop.  Any thread.
 *
 * What is below the cache is a disk of its own, the inner one, to which the
 * cache submits ios like any caller: those of its requests in their pdus, and
 * write-outs from slots of its own.  So its ios enter below it, and nobody
 * waits for a tag at or above his own.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache.h"
#include "text.h"
#include "engine/inner.h"
#include "engine/yield.h"

static const struct blkmq_key cache_keys[] = {
  {
      .name = "cache_size",
      .type = BLKMQ_KEY_SIZE,
      .unit = "MiB",
      .default_value = "0",
      .min = 0,
      .max = INT64_MAX,
      .help = "volatile write cache, 0 for none",
  },
  {
      .name = "fua",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "1",
      .help = "with a cache: writes may ask to pass it",
  },
};

/* ---- what all share ---- */

void
cache_complete (struct cache_rq *crq, enum blkmq_status status)
{
  blkmq_complete (crq->rq,
                  atomic_load_explicit (&crq->token, memory_order_relaxed),
                  status);
}

void
cache_list_add_locked (struct cache_rq *crq, enum cache_list list, bool at_head)
{
  assert (crq->list == CACHE_NOWHERE);
  crq->list = list;
  if (at_head)
    TAILQ_INSERT_HEAD (&crq->cache->lists[list], crq, link);
  else
    TAILQ_INSERT_TAIL (&crq->cache->lists[list], crq, link);
}

void
cache_list_remove_locked (struct cache_rq *crq)
{
  TAILQ_REMOVE (&crq->cache->lists[crq->list], crq, link);
  crq->list = CACHE_NOWHERE;
}

/* One step of cache_kick: something that can be done now.  False: nothing. */
static bool
kick_once (struct cache *cache)
{
  struct cache_rq *range = NULL, *flush = NULL, *write = NULL;
  struct cache_slot *slot = NULL;

  pthread_mutex_lock (&cache->lock);
  if (!cache->is_off) {
    range = cache_next_range_locked (cache);
    if (range == NULL)
      flush = cache_next_flush_locked (cache);
    if (range == NULL && flush == NULL && cache_has_room_locked (cache)) {
      write = TAILQ_FIRST (&cache->lists[CACHE_WAITS_FOR_ROOM]);
      cache_list_remove_locked (write);
    }
    if (range == NULL && flush == NULL && write == NULL)
      slot = cache_next_write_out_locked (cache);
  }
  pthread_mutex_unlock (&cache->lock);

  if (range != NULL)
    cache_begin_range (range);
  else if (flush != NULL && flush->flush_status != BLKMQ_STS_OK)
    cache_complete (flush, flush->flush_status);
  else if (flush != NULL)
    cache_submit_below (flush, BLKMQ_OP_FLUSH, 0, 0);
  else if (write != NULL)
    cache_write (write, true);
  else if (slot != NULL)
    cache_write_out (slot);
  else
    return false;
  return true;
}

void
cache_kick (struct cache *cache)
{
  while (kick_once (cache))
    ;
}

/* ---- reads ---- */

/* What is cached is copied, what is not is read from below, one after the
 * other: so each block is looked for in the cache before it is on the media,
 * and cannot be missed on its way from the one to the other. */
void
cache_read (struct cache_rq *crq)
{
  bool is_cached;

  while (crq->offset_bytes < crq->end_bytes) {
    uint64_t bytes = cache_next_run (crq->cache, crq->offset_bytes,
                                     crq->end_bytes, &is_cached, &crq->data);

    if (!is_cached) {
      cache_submit_below (crq, BLKMQ_OP_READ, 0, bytes);
      return;
    }
    crq->offset_bytes += bytes;
  }
  cache_complete (crq, BLKMQ_STS_OK);
}

/* ---- the ops ---- */

static enum blkmq_queue_result
cache_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                blkmq_token token)
{
  struct cache *cache = rq->driver_data;
  struct cache_rq *crq = rq->pdu;
  blkmq_token before = atomic_load_explicit (&crq->token, memory_order_relaxed);
  bool resumes = crq->resumes && blkmq_token_is_next (before, token);

  crq->rq = rq;
  atomic_store_explicit (&crq->token, token, memory_order_relaxed);
  crq->resumes = false;
  if (!resumes) {
    crq->cache = cache;
    crq->queue = &cache->queues[blkmq_hctx_index (hctx) % cache->nr_queues];
    crq->offset_bytes = rq->offset_bytes;
    crq->end_bytes = rq->offset_bytes + rq->bytes;
    crq->data = blkmq_segments_begin (rq);
  }
  if (rq->op == BLKMQ_OP_READ)
    cache_read (crq);
  else if (rq->op == BLKMQ_OP_FLUSH)
    cache_flush (crq);
  else if (rq->op == BLKMQ_OP_WRITE && !(rq->flags & BLKMQ_IO_FUA))
    cache_write (crq, false);
  else
    cache_through (crq);
  return BLKMQ_QUEUED;
}

/* Let go of what waits in here.  False: it is below, or on its way there. */
static bool
let_go (struct blkmq_request *rq, blkmq_token token)
{
  struct cache *cache = rq->driver_data;
  struct cache_rq *crq = rq->pdu;
  bool waits = false;

  pthread_mutex_lock (&cache->lock);
  if (atomic_load_explicit (&crq->token, memory_order_relaxed) == token
      && crq->list != CACHE_NOWHERE && crq->list != CACHE_HAS_RANGE) {
    waits = true;
    cache_list_remove_locked (crq);
  }
  pthread_mutex_unlock (&cache->lock);
  if (waits)
    cache_kick (cache); /* others may have waited for its range */
  return waits;
}

/* What is below has a timeout of its own there, and says so when it has run
 * out. */
static enum blkmq_timeout_result
cache_timeout (struct blkmq_request *rq, blkmq_token token)
{
  return let_go (rq, token) ? BLKMQ_TIMEOUT_DONE : BLKMQ_TIMEOUT_RESET;
}

static bool
cache_abort (struct blkmq_request *rq, blkmq_token token)
{
  if (let_go (rq, token))
    return true;
  cache_abort_below (rq->pdu);
  return false;
}

/* End all that waits in here; nothing does any more until power is back. */
static void
switch_off (struct cache *cache)
{
  static const enum cache_list waiting[]
      = { CACHE_WAITS_FOR_ROOM, CACHE_WAITS_FOR_RANGE, CACHE_FLUSHES };
  struct cache_rqs ended = TAILQ_HEAD_INITIALIZER (ended);
  struct cache_rq *crq;

  pthread_mutex_lock (&cache->lock);
  cache->is_off = true;
  for (size_t i = 0; i < sizeof waiting / sizeof waiting[0]; i++) {
    while ((crq = TAILQ_FIRST (&cache->lists[waiting[i]])) != NULL) {
      cache_list_remove_locked (crq);
      TAILQ_INSERT_TAIL (&ended, crq, link);
    }
  }
  pthread_mutex_unlock (&cache->lock);
  while ((crq = TAILQ_FIRST (&ended)) != NULL) {
    TAILQ_REMOVE (&ended, crq, link);
    cache_complete (crq, BLKMQ_STS_OFFLINE);
  }
}

static void
cache_power (void *data, bool on)
{
  struct cache *cache = data;

  if (!on) {
    switch_off (cache);
    return;
  }
  pthread_mutex_lock (&cache->lock);
  cache->is_off = false;
  pthread_mutex_unlock (&cache->lock);
}

static void
forget_page (struct cache *cache, struct cache_shard *shard,
             struct cache_page *page, void *opaque)
{
  (void)opaque;
  pthread_mutex_lock (&cache->lock);
  if (page->is_listed)
    cache_unlist_page_locked (cache, page);
  pthread_mutex_unlock (&cache->lock);
  page->dirty = page->writing = 0;
  cache_free_page_locked (cache, shard, page);
}

/* Others are about to do what they need for it. */
static void
wait_a_little (void)
{
  static const struct timespec pause = { 0, 50000 };

  if (!yield_instead_of_sleep ("wait for write-outs"))
    nanosleep (&pause, NULL);
}

/* A write-out may not have got as far as to be refused below. */
static void
cache_power_lost (void *data)
{
  struct cache *cache = data;

  while (cache_writes_out (cache))
    wait_a_little ();
  cache_for_each_page (cache, 0, UINT64_MAX, forget_page, NULL);
}

static bool
is_any_below (const struct cache *cache)
{
  for (unsigned i = 0; i < cache->nr_queues; i++) {
    if (atomic_load (&cache->queues[i].nr_below) > 0)
      return true;
  }
  return false;
}

static void
cache_stop (void *data)
{
  struct cache *cache = data;

  atomic_store (&cache->is_stopped, true);
  switch_off (cache);
  inner_remove (cache->inner);
  while (is_any_below (cache))
    wait_a_little ();
}

/* ---- set-up ---- */

static bool
cache_is_wanted (const struct blkmq_config *config)
{
  return blkmq_config_number (config, "cache_size") > 0;
}

static int
init_queues (struct cache *cache)
{
  unsigned nr = blkmq_disk_nr_hw_queues (cache->inner);

  cache->queues = aligned_alloc (alignof (struct cache_queue),
                                 nr * sizeof cache->queues[0]);
  if (cache->queues == NULL)
    return -ENOMEM;
  memset (cache->queues, 0, nr * sizeof cache->queues[0]);
  for (; cache->nr_queues < nr; cache->nr_queues++) {
    struct cache_queue *queue = &cache->queues[cache->nr_queues];

    queue->submitter = blkmq_submitter_alloc (cache->inner, cache->nr_queues);
    if (queue->submitter == NULL)
      return -ENOMEM;
  }
  return 0;
}

static void
cache_close (void *data)
{
  struct cache *cache = data;

  cache_slots_exit (cache);
  for (unsigned i = 0; i < cache->nr_queues; i++)
    blkmq_submitter_free (cache->queues[i].submitter);
  free (cache->queues);
  cache_store_exit (cache);
  pthread_mutex_destroy (&cache->lock);
  free (cache);
}

static uint32_t
page_bytes_of (uint64_t block_bytes)
{
  return block_bytes > CACHE_MIN_PAGE_BYTES ? (uint32_t)block_bytes
                                            : CACHE_MIN_PAGE_BYTES;
}

/* What is below decides but for what the cache adds. */
static void
stack_limits (struct cache *cache, const struct blkmq_config *config,
              struct blkmq_limits *limits)
{
  *limits = *blkmq_disk_limits (cache->inner);
  if (limits->max_segments > CACHE_MAX_SEGMENTS)
    limits->max_segments = CACHE_MAX_SEGMENTS;
  limits->volatile_cache = true;
  limits->fua = blkmq_config_number (config, "fua") != 0;
  cache->size_bytes = limits->size_bytes;
  cache->block_bytes = limits->logical_block_bytes;
  cache->page_bytes = page_bytes_of (cache->block_bytes);
}

/* "KEY=VALUE: ", with the value that was given. */
static struct text
begin_error (const struct blkmq_config *config, const char *key,
             struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "%s=", key);
  text_add_value (&text, blkmq_config_string (config, key));
  text_add (&text, ": ");
  return text;
}

static int
check_size (const struct blkmq_config *config, uint32_t page_bytes,
            struct blkmq_error *error)
{
  struct text text;

  if (blkmq_config_number (config, "cache_size") >= page_bytes)
    return 0;
  text = begin_error (config, "cache_size", error);
  text_add (&text,
            "must be 0 (none) or at least %" PRIu32 " bytes, with blocksize=%s",
            page_bytes, blkmq_config_string (config, "blocksize"));
  return -EINVAL;
}

static int
cache_check (const struct blkmq_config *config, struct blkmq_error *error)
{
  struct text text;

  if (!cache_is_wanted (config))
    return 0;
  if (blkmq_config_number (config, "poll_queues") == 0)
    return check_size (
        config, page_bytes_of (blkmq_config_number (config, "blocksize")),
        error);
  /* Nobody would poll for what is below. */
  text = begin_error (config, "poll_queues", error);
  text_add (&text, "contradicts cache_size=%s; must be 0 with a cache",
            blkmq_config_string (config, "cache_size"));
  return -EINVAL;
}

static int
cache_open (const struct blkmq_config *config, uint64_t seed,
            struct blkmq_limits *limits, void **data, struct blkmq_error *error)
{
  uint64_t bytes = blkmq_config_number (config, "cache_size");
  struct cache *cache = aligned_alloc (alignof (struct cache), sizeof *cache);
  struct text text;
  int r;

  (void)seed;
  if (cache == NULL)
    return -ENOMEM;
  memset (cache, 0, sizeof *cache);
  pthread_mutex_init (&cache->lock, NULL);
  for (size_t i = 0; i < sizeof cache->lists / sizeof cache->lists[0]; i++)
    TAILQ_INIT (&cache->lists[i]);
  r = inner_alloc (&cache->inner, error);
  if (r < 0)
    goto free_cache;
  stack_limits (cache, config, limits);
  /* The driver's blocks may be larger than was asked for. */
  r = check_size (config, cache->page_bytes, error);
  if (r < 0)
    goto free_cache;
  r = cache_store_init (cache, bytes);
  if (r == 0)
    r = init_queues (cache);
  if (r == 0)
    r = cache_slots_init (cache);
  if (r < 0) {
    text = begin_error (config, "cache_size", error);
    text_add (&text, "no memory for that cache");
    cache_close (cache);
    return r;
  }
  *data = cache;
  return 0;

free_cache:
  pthread_mutex_destroy (&cache->lock);
  free (cache);
  return r;
}

const struct blkmq_driver blkmq_layer_cache = {
  .name = "cache",
  .help = "a volatile write cache",
  .pdu_bytes = sizeof (struct cache_rq),
  .keys = cache_keys,
  .nr_keys = sizeof cache_keys / sizeof cache_keys[0],
  .is_wanted = cache_is_wanted,
  .check = cache_check,
  .open = cache_open,
  .close = cache_close,
  .queue_rq = cache_queue_rq,
  .timeout = cache_timeout,
  .abort = cache_abort,
  .stop = cache_stop,
  .extents = cache_extents,
  .power = cache_power,
  .power_lost = cache_power_lost,
};
