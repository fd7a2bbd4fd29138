/* SPDX-License-Identifier: BSD-3-Clause
 *
 * timeout.c: the timeout scan.  Runs on the hctx's loop; arming is any
 * thread's.
 *
 * All requests of an hctx have the same io_timeout, so one timer at the
 * earliest deadline seen is enough: what starts later runs out later.  The
 * scan never waits.  A request that is still inside queue_rq belongs to a
 * thread that is about to come back; it is left to the next scan.
 */

#include <config.h>

#include "engine/barrier.h"
#include "engine/queue.h"
#include "engine/thread.h"
#include "engine/timeout.h"
#include "engine/yield.h"

/* When to look again at what is inside queue_rq. */
#define RESCAN_NS UINT64_C (10000000)

void
timeout_start_scan (struct blkmq_hctx *h)
{
  if (!atomic_exchange (&h->scan_armed, true))
    timer_arm (&h->heap, &h->scan_timer, timeout_deadline_ns (h), 0);
}

/* io_timeout has changed: not when the old one says. */
void
timeout_restart_scan (struct blkmq_hctx *h)
{
  atomic_store (&h->scan_armed, true);
  timer_arm (&h->heap, &h->scan_timer, timeout_deadline_ns (h), 0);
}

static uint64_t
deadline (struct request *r)
{
  return atomic_load_explicit (&r->deadline_ns, memory_order_relaxed);
}

/* Claim the end of this issue, or nothing.  If it is on the queue by now, it
 * need not wait there for its turn. */
static void
end_issue (struct blkmq_hctx *h, struct request *r, uint64_t token)
{
  if (request_claim_issue (r, token, BLKMQ_CAUSE_TIMEOUT, BLKMQ_STS_TIMEOUT)
      && word_state (atomic_load (&r->word)) == WORD_QUEUED)
    queue_remove (h, r);
}

/* The driver holds R: ask it.  We have a reference. */
static void
ask_driver (struct blkmq_hctx *h, struct request *r, blkmq_token token,
            uint64_t now_ns)
{
  enum blkmq_timeout_result result = BLKMQ_TIMEOUT_RESET;
  uint64_t word;

  if (h->driver->timeout != NULL)
    result = h->driver->timeout (&r->rq, token);
  switch (result) {
  case BLKMQ_TIMEOUT_DONE:
    count (&h->timeouts_done);
    /* Refused: it was given back while the driver was being asked. */
    if (request_take_back (r, token, BLKMQ_CAUSE_TIMEOUT, BLKMQ_STS_TIMEOUT))
      hctx_gave_back (h);
    else
      count (&h->lost_claims[BLKMQ_CAUSE_TIMEOUT]);
    break;
  case BLKMQ_TIMEOUT_RESET:
    count (&h->timeouts_reset);
    atomic_store_explicit (&r->deadline_ns, now_ns + h->io_timeout_ns,
                           memory_order_relaxed);
    break;
  case BLKMQ_TIMEOUT_HELD:
    count (&h->timeouts_held);
    end_issue (h, r, token);
    /* It keeps the tag and is not asked again.  But if it was given back while
     * the driver was being asked, this may be its next issue, which something
     * else has ended: of that one the driver has said nothing. */
    word = atomic_load (&r->word);
    if ((word & WORD_ENDED) && word_gen (word) == name_gen (token))
      atomic_store_explicit (&r->deadline_ns, 0, memory_order_relaxed);
    /* A freeze may have waited for this one. */
    if (atomic_load (&h->flags) & (HCTX_FROZEN | HCTX_REMOVED))
      hctx_notify_drain (h);
    break;
  }
}

/* R, to which we have a reference, has run out. */
static void
expire (struct blkmq_hctx *h, struct request *r, blkmq_token token,
        uint64_t now_ns)
{
  uint64_t word;

  yield_point ("expire");
  word = atomic_load_explicit (&r->word, memory_order_acquire);
  if (word_gen (word) != name_gen (token))
    return; /* issued once more since: it may be inside queue_rq */
  count (&h->timeouts);
  if (word_state (word) == WORD_IN_FLIGHT && (word & WORD_HELD))
    ask_driver (h, r, token, now_ns);
  else {
    /* Given back and waiting for its timer, or queued again: the holder is
     * the engine, which lets go. */
    count (&h->timeouts_done);
    end_issue (h, r, token);
  }
}

/* Nobody needs to be asked: it was answered and given back.  One that was
 * aborted and is still held is asked for, so that it can be. */
static bool
is_over (uint64_t word)
{
  return (word & WORD_ENDED) && !(word & WORD_HELD);
}

/* Look at one request.  The time at which to look again, or UINT64_MAX. */
static uint64_t
scan_request (struct blkmq_hctx *h, struct request *r, uint64_t now_ns)
{
  uint64_t word, token, when, again = UINT64_MAX;

  word = atomic_load_explicit (&r->word, memory_order_acquire);
  when = deadline (r);
  yield_point ("scan");
  if (word_is_free (word) || is_over (word) || when == 0
      || request_hctx (r) != h)
    return UINT64_MAX;
  if (when > now_ns)
    return when;
  if (thread_any_queueing (r))
    return now_ns + RESCAN_NS;

  token = name_make (word, h->index, r->tag);
  if (!request_try_get (r, token))
    return now_ns + RESCAN_NS; /* it has just moved on */
  /* With the reference all this is of this life for certain. */
  when = deadline (r);
  if (when != 0 && when <= now_ns && request_hctx (r) == h)
    expire (h, r, token, now_ns);
  word = atomic_load_explicit (&r->word, memory_order_acquire);
  when = deadline (r);
  if (!is_over (word) && when != 0)
    again = when > now_ns ? when : now_ns + RESCAN_NS;
  request_put (r);
  return again;
}

void
timeout_scan (struct blkmq_hctx *h)
{
  uint64_t now_ns = clock_now_ns (h->clock);
  uint64_t next_ns = now_ns + h->io_timeout_ns + h->clock->coarse_resolution_ns;
  struct request_pool *pool = hctx_pool (h);
  bool any = false;

  /* The driver may have been stopped; removal ends what is left. */
  if (atomic_load (&h->flags) & HCTX_REMOVED)
    return;
  /* It was switched off; who switches it on starts a scan. */
  if (h->io_timeout_ns == 0) {
    atomic_store (&h->scan_armed, false);
    return;
  }
  for_each_taken (tag, pool)
  {
    uint64_t again_ns
        = scan_request (h, pool_request (pool, (unsigned)tag), now_ns);

    any = true;
    if (again_ns < next_ns)
      next_ns = again_ns;
  }

  /* Busy: scan again.  Idle: stop, unless somebody took a tag before he could
   * see that we have stopped. */
  if (!any) {
    atomic_store (&h->scan_armed, false);
    barrier_full (); /* pairs with the taking of a tag */
    if (pool_next_taken (pool, 0) == NO_TAG
        || atomic_exchange (&h->scan_armed, true))
      return;
  }
  timer_arm (&h->heap, &h->scan_timer, next_ns, 0);
}

/* R of H, if the driver has what was aborted: ask it.  True: it must be asked
 * later. */
static bool
ask_aborted (struct blkmq_hctx *h, struct request *r)
{
  uint64_t word = atomic_load_explicit (&r->word, memory_order_acquire);
  blkmq_token token = name_make (word, h->index, r->tag);

  yield_point ("ask aborted");
  if (word_state (word) != WORD_IN_FLIGHT
      || (word & (WORD_HELD | WORD_ENDED)) != (WORD_HELD | WORD_ENDED)
      || request_hctx (r) != h)
    return false;
  if (thread_any_queueing (r))
    return true;
  /* With the reference all this is of this life for certain. */
  if (!request_try_get (r, token))
    return false;
  if (request_hctx (r) == h
      && atomic_load_explicit (&r->cause, memory_order_relaxed)
             == BLKMQ_CAUSE_ABORT
      && request_token_is_alive (r, token) && h->driver->abort (&r->rq, token)
      && request_take_back (r, token, BLKMQ_CAUSE_ABORT, BLKMQ_STS_ABORTED))
    hctx_gave_back (h);
  request_put (r);
  return false;
}

void
timeout_ask_aborted (struct blkmq_hctx *h)
{
  struct request_pool *pool = hctx_pool (h);
  bool again = false;

  if (atomic_load (&h->flags) & HCTX_REMOVED)
    return;
  for_each_taken (tag, pool) again
      |= ask_aborted (h, pool_request (pool, (unsigned)tag));
  if (again)
    timer_arm (&h->heap, &h->abort_timer, clock_now_ns (h->clock) + RESCAN_NS,
               0);
}
