/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tags.h: which tags of an hctx are taken.  A bitmap spread over cache lines;
 * each thread starts its search in a word of its own, so that threads meet
 * only when the words run out.  No lock.  Waiting is not here: see wait.h.
 * Any thread.
 */

#ifndef BLKMQ_ENGINE_TAGS_H
#define BLKMQ_ENGINE_TAGS_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/line.h"

struct tag_word {
  alignas (CACHE_LINE_BYTES) _Atomic uint64_t bits; /* 1: taken */
};

struct tag_map {
  unsigned depth;
  unsigned shift; /* log2 of the tags in a word */
  unsigned nr_words;
  struct tag_word *words;
};

#define NO_TAG (-1)

int tag_map_init (struct tag_map *map, unsigned depth);
void tag_map_exit (struct tag_map *map);

/* Take a free tag, looking first in the word that HINT selects; NO_TAG if
 * there is none.  A full barrier on success with barrier_after_rmw. */
int tag_map_get (struct tag_map *map, unsigned hint);

/* Give a tag back.  Everything done to its request before is visible to the
 * next taker.  A full barrier with barrier_after_rmw. */
void tag_map_put (struct tag_map *map, unsigned tag);

bool tag_map_is_taken (const struct tag_map *map, unsigned tag);
unsigned tag_map_nr_taken (const struct tag_map *map);

/* The first taken tag at or after FROM (at most the depth), or NO_TAG. */
int tag_map_next_taken (const struct tag_map *map, unsigned from);

#endif /* BLKMQ_ENGINE_TAGS_H */
