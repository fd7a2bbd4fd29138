/* SPDX-License-Identifier: BSD-3-Clause
 *
 * pool.c: allocates requests and hands out their tags.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/merge.h"
#include "engine/poison.h"
#include "engine/pool.h"
#include "engine/sched.h"

/* ---- set-up ---- */

static int
alloc_requests (struct request_pool *pool)
{
  size_t header = sizeof (struct request);

  static_assert (sizeof (struct request) % CACHE_LINE_BYTES == 0,
                 "the pdu behind it is aligned");
  pool->pdu_bytes = (pool->options.driver->pdu_bytes + CACHE_LINE_BYTES - 1)
                    & ~(size_t)(CACHE_LINE_BYTES - 1);
  pool->request_bytes = header + pool->pdu_bytes;
  pool->requests
      = aligned_alloc (CACHE_LINE_BYTES, pool->depth * pool->request_bytes);
  if (pool->requests == NULL)
    return -ENOMEM;
  memset (pool->requests, 0, pool->depth * pool->request_bytes);
  if (pool->options.merges) {
    pool->merges = merge_alloc (pool->depth);
    if (pool->merges == NULL) {
      free (pool->requests);
      return -ENOMEM;
    }
  }
  for (unsigned tag = 0; tag < pool->depth; tag++) {
    struct request *r = pool_request (pool, tag);

    request_init (r, pool, tag, (char *)r + header);
    r->merge = pool->merges != NULL ? &pool->merges[tag] : NULL;
  }
  return 0;
}

static void
exit_requests (struct request_pool *pool, unsigned nr)
{
  const struct pool_options *options = &pool->options;

  while (nr-- > 0) {
    struct request *r = pool_request (pool, nr);

    unpoison (request_pdu (r), pool->pdu_bytes);
    if (options->driver->exit_request != NULL)
      options->driver->exit_request (options->driver_data, &r->rq,
                                     options->index, nr);
  }
}

static int
init_requests (struct request_pool *pool)
{
  const struct pool_options *options = &pool->options;

  for (unsigned tag = 0; tag < pool->depth; tag++) {
    struct request *r = pool_request (pool, tag);
    int err;

    r->rq.driver_data = options->driver_data;
    if (options->driver->init_request != NULL) {
      err = options->driver->init_request (options->driver_data, &r->rq,
                                           options->index, tag);
      if (err < 0) {
        exit_requests (pool, tag);
        return err;
      }
    }
    poison (request_pdu (r), pool->pdu_bytes);
  }
  return 0;
}

static int
init_maps (struct request_pool *pool)
{
  int err;

  assert (pool->nr_reserved < pool->depth);
  err = tag_map_init (&pool->map, pool->depth - pool->nr_reserved);
  if (err < 0 || pool->nr_reserved == 0)
    return err;
  err = tag_map_init (&pool->reserved_map, pool->nr_reserved);
  if (err < 0)
    tag_map_exit (&pool->map);
  return err;
}

static void
exit_maps (struct request_pool *pool)
{
  tag_map_exit (&pool->map);
  if (pool->nr_reserved > 0)
    tag_map_exit (&pool->reserved_map);
}

struct request_pool *
pool_alloc (const struct pool_options *options, int *err)
{
  struct request_pool *pool
      = aligned_alloc (alignof (struct request_pool), sizeof *pool);

  if (pool == NULL) {
    *err = -ENOMEM;
    return NULL;
  }
  memset (pool, 0, sizeof *pool);
  pool->options = *options;
  pool->depth = options->depth;
  pool->nr_reserved = (uint16_t)options->nr_reserved;
  pool->index = (uint16_t)options->index;
  pool->spans_hctxs = options->spans_hctxs;
  pool->first_tag = options->first_tag;
  pool->first_gen = options->first_gen;
  atomic_init (&pool->last_gen, UINT64_MAX);
  pool->is_shared = options->is_shared;

  *err = init_maps (pool);
  if (*err < 0)
    goto free_pool;
  *err = alloc_requests (pool);
  if (*err < 0)
    goto exit_maps;
  *err = init_requests (pool);
  if (*err < 0)
    goto free_requests;
  return pool;

free_requests:
  free (pool->merges);
  free (pool->requests);
exit_maps:
  exit_maps (pool);
free_pool:
  free (pool);
  return NULL;
}

void
pool_free (struct request_pool *pool)
{
  if (pool == NULL)
    return;
  exit_requests (pool, pool->depth);
  sched_free (pool->sched);
  free (pool->merges);
  free (pool->requests);
  exit_maps (pool);
  free (pool);
}

/* ---- tags ---- */

int
pool_get_tag (struct request_pool *pool, unsigned hint, bool reserved)
{
  int tag;

  if (__builtin_expect (reserved && pool->nr_reserved > 0, 0))
    return tag_map_get (&pool->reserved_map, hint);
  tag = tag_map_get (&pool->map, hint);
  return tag == NO_TAG ? NO_TAG : tag + (int)pool->nr_reserved;
}

void
pool_put_tag (struct request_pool *pool, unsigned tag)
{
  if (__builtin_expect (tag < pool->nr_reserved, 0))
    tag_map_put (&pool->reserved_map, tag);
  else
    tag_map_put (&pool->map, tag - pool->nr_reserved);
}

unsigned
pool_nr_taken (const struct request_pool *pool)
{
  unsigned nr = tag_map_nr_taken (&pool->map);

  if (pool->nr_reserved > 0)
    nr += tag_map_nr_taken (&pool->reserved_map);
  return nr;
}

int
pool_next_taken (const struct request_pool *pool, unsigned from)
{
  int tag;

  if (from < pool->nr_reserved) {
    tag = tag_map_next_taken (&pool->reserved_map, from);
    if (tag != NO_TAG)
      return tag;
    from = pool->nr_reserved;
  }
  if (from >= pool->depth)
    return NO_TAG;
  tag = tag_map_next_taken (&pool->map, from - pool->nr_reserved);
  return tag == NO_TAG ? NO_TAG : tag + (int)pool->nr_reserved;
}

/* ---- names ---- */

struct request *
pool_find (const struct request_pool *pool, uint64_t name)
{
  unsigned tag = name_tag (name);

  if (tag < pool->first_tag || tag - pool->first_tag >= pool->depth
      || name_gen (name) < pool->first_gen
      || name_gen (name) > atomic_load (&pool->last_gen))
    return NULL;
  return pool_request (pool, tag - pool->first_tag);
}

uint64_t
pool_next_gen (const struct request_pool *pool)
{
  uint64_t most = pool->first_gen;

  for (unsigned tag = 0; tag < pool->depth; tag++) {
    uint64_t gen = word_gen (atomic_load (&pool_request (pool, tag)->word));

    if (gen > most)
      most = gen;
  }
  /* One that is still held was answered: it is released once more, no more. */
  return most + 2;
}

void
pool_raise_first_gen (struct request_pool *pool, uint64_t gen)
{
  if (gen <= pool->first_gen)
    return;
  assert (pool_nr_taken (pool) == 0);
  pool->first_gen = gen;
  for (unsigned tag = 0; tag < pool->depth; tag++)
    atomic_store (&pool_request (pool, tag)->word, gen << WORD_GEN_SHIFT);
}
