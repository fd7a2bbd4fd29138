/* SPDX-License-Identifier: BSD-3-Clause
 *
 * word.h: the 64-bit word that says where a request is in its life, and the
 * tokens and handles that name one issue of it.  Pure arithmetic: the
 * transitions, and who may make each, are in request.c.
 *
 *   63                    24 23          8 7        0
 *  +------------------------+-------------+----------+
 *  | generation          40 | references 16 | flags 8 |
 *  +------------------------+-------------+----------+
 *
 * The generation changes at each issue to the driver and at release.  It
 * wraps after 2^40 changes of one tag; see blkmq_handle in blkmq.h.
 */

#ifndef BLKMQ_ENGINE_WORD_H
#define BLKMQ_ENGINE_WORD_H

#include <stdbool.h>
#include <stdint.h>

/* State, two bits. */
#define WORD_FREE UINT64_C (0)
#define WORD_QUEUED UINT64_C (1)
#define WORD_IN_FLIGHT UINT64_C (2)
#define WORD_STATE UINT64_C (3)

/* Somebody below the caller owes a give-back: the engine's queue while
 * QUEUED, the driver while IN_FLIGHT. */
#define WORD_HELD (UINT64_C (1) << 2)
/* The status is decided; whoever set this answers or arranges the answer. */
#define WORD_ENDED (UINT64_C (1) << 3)
/* The answer waits for the give-back, and the giver-back delivers it. */
#define WORD_DEFERRED (UINT64_C (1) << 4)

#define WORD_REF_SHIFT 8
#define WORD_ONE_REF (UINT64_C (1) << WORD_REF_SHIFT)
#define WORD_REFS (UINT64_C (0xffff) << WORD_REF_SHIFT)
#define WORD_GEN_SHIFT 24
#define WORD_ONE_GEN (UINT64_C (1) << WORD_GEN_SHIFT)

/* Tokens and handles: generation 40, hctx 10, tag 14. */
#define NAME_TAG_BITS 14
#define NAME_HCTX_BITS 10
#define NAME_TAG_MASK ((UINT64_C (1) << NAME_TAG_BITS) - 1)
#define NAME_HCTX_MASK ((UINT64_C (1) << NAME_HCTX_BITS) - 1)
#define NAME_GEN_SHIFT (NAME_TAG_BITS + NAME_HCTX_BITS)

static inline uint64_t
word_gen (uint64_t word)
{
  return word >> WORD_GEN_SHIFT;
}

static inline unsigned
word_refs (uint64_t word)
{
  return (unsigned)((word & WORD_REFS) >> WORD_REF_SHIFT);
}

/* No room for one more from outside: the last is the completion's, which takes
 * one on its way to a loop and cannot be refused. */
static inline bool
word_refs_are_full (uint64_t word)
{
  return word_refs (word) >= 0xfffe;
}

static inline uint64_t
word_state (uint64_t word)
{
  return word & WORD_STATE;
}

/* The word of a released tag: the next generation, nothing else.  The
 * generation is never 0, so that no name of an issue is 0. */
static inline uint64_t
word_next_free (uint64_t word)
{
  uint64_t gen = (word >> WORD_GEN_SHIFT) + 1;

  gen &= (UINT64_C (1) << 40) - 1;
  if (gen == 0)
    gen = 1;
  return gen << WORD_GEN_SHIFT;
}

/* The same word in the next generation. */
static inline uint64_t
word_next_issue (uint64_t word)
{
  return word_next_free (word) | (word & (WORD_ONE_GEN - 1));
}

static inline bool
word_is_free (uint64_t word)
{
  return word_state (word) == WORD_FREE;
}

/* Nobody needs the request any more: the condition for release. */
static inline bool
word_is_done (uint64_t word)
{
  return (word & (WORD_REFS | WORD_HELD)) == 0;
}

static inline uint64_t
name_make (uint64_t word, unsigned hctx, unsigned tag)
{
  return word_gen (word) << NAME_GEN_SHIFT | (uint64_t)hctx << NAME_TAG_BITS
         | tag;
}

static inline uint64_t
name_gen (uint64_t name)
{
  return name >> NAME_GEN_SHIFT;
}

static inline unsigned
name_hctx (uint64_t name)
{
  return (unsigned)((name >> NAME_TAG_BITS) & NAME_HCTX_MASK);
}

static inline unsigned
name_tag (uint64_t name)
{
  return (unsigned)(name & NAME_TAG_MASK);
}

#endif /* BLKMQ_ENGINE_WORD_H */
