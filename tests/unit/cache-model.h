/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cache-model.h: what a block of a cached disk may hold.  Each block has a
 * history of the values that were written to it.  The last that was answered is
 * what a read must find, or one after that, whose write has failed.  From the
 * last durable one on all may be found after a power cut.
 */

#ifndef BLKMQ_TESTS_CACHE_MODEL_H
#define BLKMQ_TESTS_CACHE_MODEL_H

#include <string.h>

#include "harness.h"

#define MAX_HISTORY 256u

struct block_model {
  uint32_t values[MAX_HISTORY];
  unsigned nr;      /* of these; at least 1 */
  unsigned sure;    /* the last that was answered with success */
  unsigned durable; /* that is known to be */
};

static inline void
model_init (struct block_model *m, uint32_t value)
{
  m->values[0] = value;
  m->nr = 1;
  m->sure = m->durable = 0;
}

/* No power cut can bring back what was before the durable one. */
static inline void
model_forget (struct block_model *m)
{
  unsigned first = m->durable;

  memmove (m->values, m->values + first, (m->nr - first) * sizeof m->values[0]);
  m->nr -= first;
  m->sure -= first;
  m->durable = 0;
}

static inline bool
model_has_room (const struct block_model *m)
{
  return m->nr < MAX_HISTORY;
}

/* VALUE was written, or may have been. */
static inline void
model_write (struct block_model *m, uint32_t value, bool is_sure,
             bool is_durable)
{
  require (model_has_room (m));
  m->values[m->nr++] = value;
  if (is_sure)
    m->sure = m->nr - 1;
  if (is_sure && is_durable)
    m->durable = m->nr - 1;
}

static inline bool
model_allows (const struct block_model *m, uint32_t value, bool after_cut)
{
  for (unsigned i = after_cut ? m->durable : m->sure; i < m->nr; i++) {
    if (m->values[i] == value)
      return true;
  }
  return false;
}

/* A block is full of its value; 0 is what a discard leaves. */
static inline void
model_fill (char *data, uint32_t value)
{
  for (unsigned i = 0; i < BLOCK_BYTES; i += sizeof value)
    memcpy (data + i, &value, sizeof value);
}

static inline uint32_t
model_value (const char *data)
{
  uint32_t value;

  memcpy (&value, data, sizeof value);
  require (memcmp (data, data + sizeof value, BLOCK_BYTES - sizeof value) == 0);
  return value;
}

#endif /* BLKMQ_TESTS_CACHE_MODEL_H */
