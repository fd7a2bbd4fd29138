/* SPDX-License-Identifier: BSD-3-Clause
 *
 * pool.h: an array of preallocated requests and the tags that say which of
 * them are taken.  A tag is the index of a request in its pool.
 *
 * The first nr_reserved tags are kept for ios that ask for one
 * (BLKMQ_IO_RESERVED), so that these never wait for ordinary ones.
 *
 * A pool never changes its size: a live change of depth makes a new one and
 * retires the old (tagset.h).  Generations go on where the old one's stopped,
 * so that a name of the past is never a name of the present.
 *
 * Taking and putting tags: any thread, lock-free.
 */

#ifndef BLKMQ_ENGINE_POOL_H
#define BLKMQ_ENGINE_POOL_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/request.h"
#include "engine/tags.h"

struct mistakes;

struct pool_options {
  const struct blkmq_driver *driver;
  void *driver_data; /* for init_request; NULL if several disks share it */
  unsigned index;    /* of the hctx */
  bool spans_hctxs;  /* several of a disk's, in fact; the index is 0 */
  unsigned depth;    /* all tags, the reserved ones too */
  unsigned nr_reserved;
  unsigned first_tag;       /* what the first request is called in names */
  uint64_t first_gen;       /* above all generations of what it replaces */
  bool is_shared;           /* several hctxs draw on it */
  struct blkmq_disk *owner; /* of a pool with a scheduler */
  bool merges;              /* its requests may have several ios: merge.h */
  struct mistakes *mistakes;
};

struct blkmq_disk;
struct sched;

struct request_pool {
  alignas (CACHE_LINE_BYTES) struct tag_map map; /* but for the reserved ones */
  unsigned depth, first_tag;
  uint16_t nr_reserved, index;
  bool is_shared, spans_hctxs;
  char *requests;
  struct request_merge *merges;    /* one a request, or NULL */
  struct sched *sched;             /* the pool's own; NULL: none; hctx->lock */
  size_t request_bytes, pdu_bytes; /* the latter rounded up */

  struct tag_map reserved_map; /* if nr_reserved > 0 */
  struct pool_options options;
  uint64_t first_gen;        /* of names that can be of this pool */
  _Atomic uint64_t last_gen; /* likewise; the present one's is the largest */
  _Atomic (struct request_pool *) next_retired; /* tagset.c */
  struct request_pool *next_done;

  /* Of shared ones: how many hctxs have used it lately (share.c). */
  alignas (CACHE_LINE_BYTES) _Atomic unsigned nr_active;

  /* Refused tokens are counted here: to whom the request belongs by now is not
   * theirs to ask. */
  _Atomic uint64_t stale_tokens;
};

/* NULL with *ERR set to -errno: no memory, or init_request's error. */
struct request_pool *pool_alloc (const struct pool_options *options, int *err);

/* Nothing is taken, and nobody looks at it any more. */
void pool_free (struct request_pool *pool);

static inline struct request *
pool_request (const struct request_pool *pool, unsigned tag)
{
  return (struct request *)(pool->requests + tag * pool->request_bytes);
}

/* As tag_map_get and tag_map_put: with their barriers. */
int pool_get_tag (struct request_pool *pool, unsigned hint, bool reserved);
void pool_put_tag (struct request_pool *pool, unsigned tag);

unsigned pool_nr_taken (const struct request_pool *pool);

/* The first taken tag at or after FROM, or NO_TAG. */
int pool_next_taken (const struct request_pool *pool, unsigned from);

#define for_each_taken(tag, pool)                                              \
  for (int tag = pool_next_taken (pool, 0); tag != NO_TAG;                     \
       tag = pool_next_taken (pool, (unsigned)tag + 1))

/* Has R a tag that is kept for those who ask for one? */
static inline bool
request_is_reserved (const struct request *r)
{
  return r->tag - r->pool->first_tag < r->pool->nr_reserved;
}

/* Can NAME be of this pool?  The request that it would name, or NULL. */
struct request *pool_find (const struct request_pool *pool, uint64_t name);

/* A generation that none of the pool's requests has reached, nor will before it
 * is taken again: where its successor begins. */
uint64_t pool_next_gen (const struct request_pool *pool);

/* Before the first tag is taken: start at GEN, if that is later. */
void pool_raise_first_gen (struct request_pool *pool, uint64_t gen);

#endif /* BLKMQ_ENGINE_POOL_H */
