/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stale.c: dead tokens in the hands of drivers.  Any thread.
 *
 * A token dies in one of two ways.  Either the driver has given the request
 * back itself, by completing it, by requeueing it or by refusing it.  If it
 * comes with that token once more, it has lost count of its requests: a
 * mistake.  Or the engine has taken the request back, after the driver's
 * timeout said DONE or its stop returned.  A driver with a wheel of its own may
 * then be too late without having done anything twice: no mistake, and the
 * refusal is all that it needs.
 *
 * Tokens that the engine itself finds dead, in a timer, do not come here.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>

#include "engine/hctx.h"
#include "engine/pool.h"
#include "engine/record.h"
#include "engine/request.h"
#include "engine/stale.h"

/* Whose fault?  Of what the engine has taken back only the last generation is
 * known, so a token of before it gets the benefit of the doubt. */
static bool
is_mistake (struct request *r, uint64_t token)
{
  uint64_t taken
      = atomic_load_explicit (&r->taken_generation, memory_order_relaxed);

  if (!request_token_is_of (r, token))
    return true;
  return taken == 0 || name_gen (token) > taken;
}

static void
report (struct request *r, uint64_t token, const char *what, uint64_t word)
{
  const struct request_pool *pool = r->pool;

  fprintf (stderr,
           "blkmq: driver=%s: hctx %u, tag %u: %s with a dead token"
           " (hctx %u, tag %u, generation %" PRIu64 "; the request is at"
           " generation %" PRIu64 "): refused.  The driver has given it back"
           " already.  What follows is only counted, as stale_tokens.\n",
           pool->options.driver->name,
           pool->spans_hctxs ? name_hctx (token) : pool->index, r->tag, what,
           name_hctx (token), name_tag (token), name_gen (token),
           word_gen (word));
}

void
stale_token (struct request *r, uint64_t token, const char *what)
{
  struct mistakes *mistakes = r->pool->options.mistakes;
  /* Acquire: the generation that was taken back was noted before the word
   * changed. */
  uint64_t word = atomic_load_explicit (&r->word, memory_order_acquire);

  count (&r->pool->stale_tokens);
  record_move (r, RECORD_STALE, 0, name_gen (token) << WORD_GEN_SHIFT, word);
  if (!is_mistake (r, token))
    return;
#ifdef BLKMQ_DEBUG
  if (!mistakes->are_borne) {
    report (r, token, what, word);
    record_dump (r, stderr);
    abort ();
  }
#endif
  if (!atomic_exchange_explicit (&mistakes->are_reported, true,
                                 memory_order_relaxed))
    report (r, token, what, word);
}
