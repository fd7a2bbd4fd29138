/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tags.c: the tag bitmap.  Any thread; lock-free.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "engine/tags.h"

/* The bits of word INDEX that stand for tags. */
static uint64_t
word_mask (const struct tag_map *map, unsigned index)
{
  unsigned width = 1u << map->shift;
  unsigned left = map->depth - (index << map->shift);

  if (left < width)
    width = left;
  return width == 64 ? ~UINT64_C (0) : (UINT64_C (1) << width) - 1;
}

int
tag_map_init (struct tag_map *map, unsigned depth)
{
  assert (depth > 0);
  map->depth = depth;

  /* Small depths are spread over at least four words, unless that would
   * leave fewer than four tags in each. */
  map->shift = 6;
  while (map->shift > 2 && (4u << map->shift) > depth)
    map->shift--;
  map->nr_words = (depth + (1u << map->shift) - 1) >> map->shift;

  map->words
      = aligned_alloc (CACHE_LINE_BYTES, map->nr_words * sizeof map->words[0]);
  if (map->words == NULL)
    return -ENOMEM;
  for (unsigned i = 0; i < map->nr_words; i++)
    atomic_init (&map->words[i].bits, 0);
  return 0;
}

void
tag_map_exit (struct tag_map *map)
{
  free (map->words);
  map->words = NULL;
}

int
tag_map_get (struct tag_map *map, unsigned hint)
{
  unsigned index = hint % map->nr_words;

  for (unsigned i = 0; i < map->nr_words; i++) {
    struct tag_word *word = &map->words[index];
    uint64_t mask = word_mask (map, index);
    uint64_t bits = atomic_load_explicit (&word->bits, memory_order_relaxed);

    while ((~bits & mask) != 0) {
      unsigned bit = (unsigned)__builtin_ctzll (~bits & mask);

      /* Acquire pairs with the release in tag_map_put. */
      bits = atomic_fetch_or_explicit (&word->bits, UINT64_C (1) << bit,
                                       memory_order_acq_rel);
      if ((bits & UINT64_C (1) << bit) == 0)
        return (int)((index << map->shift) + bit);
    }
    if (++index == map->nr_words)
      index = 0;
  }
  return NO_TAG;
}

void
tag_map_put (struct tag_map *map, unsigned tag)
{
  uint64_t bit = UINT64_C (1) << (tag & ((1u << map->shift) - 1));
  uint64_t old;

  old = atomic_fetch_and_explicit (&map->words[tag >> map->shift].bits, ~bit,
                                   memory_order_acq_rel);
  assert (old & bit);
  (void)old;
}

bool
tag_map_is_taken (const struct tag_map *map, unsigned tag)
{
  return tag_map_next_taken (map, tag) == (int)tag;
}

unsigned
tag_map_nr_taken (const struct tag_map *map)
{
  unsigned n = 0;

  for (unsigned i = 0; i < map->nr_words; i++)
    n += (unsigned)__builtin_popcountll (
        atomic_load_explicit (&map->words[i].bits, memory_order_acquire));
  return n;
}

int
tag_map_next_taken (const struct tag_map *map, unsigned from)
{
  unsigned index = from >> map->shift;
  uint64_t skip = ~UINT64_C (0) << (from & ((1u << map->shift) - 1));

  for (; index < map->nr_words; index++, skip = ~UINT64_C (0)) {
    uint64_t bits = skip
                    & atomic_load_explicit (&map->words[index].bits,
                                            memory_order_acquire);

    if (bits != 0)
      return (int)((index << map->shift) + (unsigned)__builtin_ctzll (bits));
  }
  return NO_TAG;
}
