/* SPDX-License-Identifier: BSD-3-Clause
 *
 * request.c: the life of a request.  Every change of a request's word is in
 * this file.  Any thread enters.
 *
 * The states, and who may leave each:
 *
 *               start                        issue
 *           (tag's taker)                (queue's runner)
 *    +------+           +--------+ ------------------> +-----------+
 *    | FREE | --------> | QUEUED |                     | IN_FLIGHT |
 *    +------+           |  HELD  | <------------------ |   HELD    |
 *     ^   |             +--------+    BUSY, requeue    +-----------+
 *     |   |                 |          (the token)       ^       |
 *     |   +-----------------|----------------------------+       |
 *     |      direct dispatch (tag's taker)                       |
 *     |                     | drop, if ended         give-back   |
 *     |                     | (queue's owner)       (the token)  |
 *     |                     v                                    |
 *     |                 +---------------+                        |
 *     +---------------- |   not HELD    | <----------------------+
 *          release      | on its way up |
 *   (who makes it so)   +---------------+
 *
 * Independent of these, ENDED is claimed once, by whoever is first:
 * completion (with the give-back, or later from a timer or softirq), timeout,
 * abort, removal.  Release needs all of: ENDED and answered (the answer
 * reference is gone), not HELD, no references.
 *
 * Rules, each enforced by the compare-and-swap that makes the move:
 *
 *  1. A FREE word is written by the taker of its tag only, with plain stores.
 *     Everybody else compares a generation that no FREE word of the present
 *     has in a name.
 *  2. A token acts while generation, IN_FLIGHT and HELD all still hold.  Each
 *     act ends one of them, so a token acts once.
 *  3. A name gets a reference while its generation is the word's and the
 *     request is not FREE.
 *  4. The winner of ENDED writes status and cause after winning, before it
 *     answers or sets DEFERRED; the giver-back that finds DEFERRED answers in
 *     the winner's place.  Both are in one word, so exactly one of them does.
 *  5. The step that leaves neither HELD nor references goes to FREE and the
 *     next generation at once.  Its maker is the releaser, and owns the
 *     request until it has put the tag.
 *
 * Memory order: every change is acquire and release (on success), so that each
 * holder sees what the holders before it did.  The store in request_start*
 * publishes the request's fields to those who acquire the word.
 */

#include <config.h>

#include <assert.h>

#include "engine/barrier.h"
#include "engine/disk.h"
#include "engine/elevator.h"
#include "engine/hctx.h"
#include "engine/io.h"
#include "engine/iostat.h"
#include "engine/merge.h"
#include "engine/poison.h"
#include "engine/pool.h"
#include "engine/record.h"
#include "engine/request.h"
#include "engine/stale.h"
#include "engine/sync.h"
#include "engine/thread.h"
#include "engine/yield.h"

static bool
cas (struct request *r, uint64_t *expected, uint64_t desired)
{
  yield_point ("cas");
  return atomic_compare_exchange_weak_explicit (
      &r->word, expected, desired, memory_order_acq_rel, memory_order_acquire);
}

static uint64_t
load (struct request *r)
{
  yield_point ("load");
  return atomic_load_explicit (&r->word, memory_order_acquire);
}

void
request_init (struct request *r, struct request_pool *pool, unsigned index,
              void *pdu)
{
  atomic_init (&r->word, pool->first_gen << WORD_GEN_SHIFT);
  r->rq.pdu = pdu;
  r->pool = pool;
  r->tag = (uint16_t)(pool->first_tag + index);
  timer_init (&r->timer, TIMER_REQUEST);
}

/* ---- release ---- */

/* The word is FREE and the tag still taken: we are the only owner. */
static void
release (struct request *r)
{
  struct thread_slot *slot = thread_self ();
  struct request_pool *pool = r->pool;
  struct blkmq_hctx *h = r->rq.hctx;
  bool is_awaited = false;
  enum hold hold;
  unsigned flags;

  record_move (r, RECORD_RELEASE, 0, r->word, r->word);
  yield_point ("release");
  /* It may still be armed when an abort or a timeout came first.  If it has
   * been popped already, its token is dead. */
  timer_cancel (&h->heap, &r->timer);
  poison (request_pdu (r), pool->pdu_bytes);

  if (r->early) {
    if (__builtin_expect (r->nr_merged > 0, 0))
      merge_give_back (r);
    else
      io_give_back_part (r->io);
  }

  /* From the put on, nothing keeps the hctx but this mark: removal waits for
   * it (thread_wait_gone).  The put's barrier orders the mark before the
   * loads, as removal's orders the flag before its look at the marks. */
  hold = hctx_hold (slot, h);
  if (__builtin_expect (pool->sched != NULL, 0)) {
    elevator_put_tag (h, r);
    is_awaited = sched_finish (pool->sched, r);
  }
  /* The share first: with the tag the request goes to its next taker. */
  if (__builtin_expect (pool->is_shared, 0))
    share_put (h, r);
  yield_point ("put tag");
  pool_put_tag (pool, r->tag - pool->first_tag);
  yield_point ("tag put");
  barrier_after_rmw (); /* pairs with wait_append, freeze and removal */
  flags = atomic_load_explicit (&h->flags, memory_order_relaxed);
  if (__builtin_expect (flags & (HCTX_FROZEN | HCTX_REMOVED), 0))
    hctx_notify_drain (h);
  hctx_tag_was_put (h);
  /* After the others that want the tag, or it would always be ours. */
  if (__builtin_expect (is_awaited, 0))
    hctx_ask_run (h);
  hctx_let_go (slot, h, hold);
}

static void
put_refs (struct request *r, unsigned n)
{
  uint64_t word = load (r), next;

  record_move (r, RECORD_PUT, 0, word, word - n * WORD_ONE_REF);
  do {
    assert (word_refs (word) >= n);
    next = word - n * WORD_ONE_REF;
    if (word_is_done (next))
      next = word_next_free (word);
  } while (!cas (r, &word, next));

  if (word_is_free (next))
    release (r);
}

void
request_put (struct request *r)
{
  put_refs (r, 1);
}

/* ---- answer ---- */

static void
bump (_Atomic uint64_t *counter, uint64_t by)
{
  /* One writer at a time: no read-modify-write needed. */
  atomic_store_explicit (
      counter, atomic_load_explicit (counter, memory_order_relaxed) + by,
      memory_order_relaxed);
}

/* Tell the caller.  We won ENDED, or found DEFERRED at give-back; the answer
 * reference is ours, and drops with DROP - 1 others. */
static void
answer (struct request *r, unsigned drop)
{
  enum blkmq_status status = r->status;

  record_move (r, RECORD_ANSWER, status, r->word, r->word);
  if (__builtin_expect (r->pool->is_shared, 0))
    hctx_account (r->rq.hctx, r->rq.op,
                  status == BLKMQ_STS_OK ? r->rq.bytes : 0);
  else {
    bump (&r->ios[r->rq.op], 1);
    if (status == BLKMQ_STS_OK)
      bump (&r->bytes[r->rq.op], r->rq.bytes);
  }
  if (status != BLKMQ_STS_OK)
    count (&r->rq.hctx->errors[status]);
  iostat_end (r);

  yield_point ("answer");
  if (__builtin_expect (r->nr_merged > 0, 0))
    merge_answer (r, status);
  else
    io_answer_part (r->io, status);
  put_refs (r, drop);
}

static void
decide (struct request *r, enum blkmq_cause cause, enum blkmq_status status)
{
  yield_point ("decide");
  r->status = (uint8_t)status;
  atomic_store_explicit (&r->cause, (uint8_t)cause, memory_order_relaxed);
}

/* H: the hctx of R's life that this was about, for R may have another by now,
 * if it was given back in the same step. */
static void
lose (struct request *r, struct blkmq_hctx *h, enum blkmq_cause cause)
{
  record_move (r, RECORD_LOSE, cause, r->word, r->word);
  count (&h->lost_claims[cause]);
}

/* The winner of a claim answers, unless the data is still held and the caller
 * wants it back first; or the request is on a queue, where ios may still be
 * joining it.  The queue lets go soon: whoever claims sees to that. */
static void
deliver (struct request *r)
{
  uint64_t word = load (r);

  while ((word & WORD_HELD)
         && (!r->early || word_state (word) == WORD_QUEUED)) {
    if (cas (r, &word, word | WORD_DEFERRED)) {
      record_move (r, RECORD_DEFER, 0, word, word | WORD_DEFERRED);
      return;
    }
  }
  answer (r, 1);
}

/* Claim ENDED; of the issue NAME only, unless that is 0. */
static bool
claim (struct request *r, uint64_t name, enum blkmq_cause cause,
       enum blkmq_status status)
{
  uint64_t word = load (r);

  do {
    if (name != 0 && word_gen (word) != name_gen (name))
      return false;
    if (word & WORD_ENDED) {
      lose (r, r->rq.hctx, cause);
      return false;
    }
  } while (!cas (r, &word, word | WORD_ENDED));

  record_move (r, RECORD_CLAIM, cause, word, word | WORD_ENDED);
  decide (r, cause, status);
  deliver (r);
  return true;
}

bool
request_claim (struct request *r, enum blkmq_cause cause,
               enum blkmq_status status)
{
  return claim (r, 0, cause, status);
}

bool
request_claim_issue (struct request *r, uint64_t name, enum blkmq_cause cause,
                     enum blkmq_status status)
{
  return claim (r, name, cause, status);
}

/* ---- give-back ---- */

/* The word after a give-back that ends nothing: WORD was ENDED before. */
static uint64_t
word_let_go (uint64_t word)
{
  word &= ~(WORD_HELD | WORD_DEFERRED);
  return word_is_done (word) ? word_next_free (word) : word;
}

/* HELD of an ended request was just cleared, from WORD: do what is left to do
 * for its giver-back. */
static void
after_let_go (struct request *r, uint64_t word)
{
  if (word & WORD_DEFERRED)
    answer (r, 1);
  else if (word_is_free (word_let_go (word)))
    release (r);
}

static bool
token_is_alive (uint64_t word, uint64_t token)
{
  return word_gen (word) == name_gen (token)
         && (word & (WORD_STATE | WORD_HELD)) == (WORD_IN_FLIGHT | WORD_HELD);
}

/* Where several hctxs draw on the same requests the generation tells them
 * apart. */
bool
request_token_is_of (const struct request *r, uint64_t token)
{
  return name_tag (token) == r->tag
         && (r->pool->spans_hctxs || name_hctx (token) == r->pool->index);
}

bool
request_token_is_alive (struct request *r, blkmq_token token)
{
  return request_token_is_of (r, token) && token_is_alive (load (r), token);
}

/* Completions that end where the driver calls: give-back and claim in one. */
static bool
complete_inline (struct request *r, uint64_t token, enum blkmq_status status)
{
  struct blkmq_hctx *h = request_hctx (r);
  uint64_t word = load (r), next;

  do {
    if (!token_is_alive (word, token))
      return false;
    next = word & WORD_ENDED ? word_let_go (word)
                             : (word & ~WORD_HELD) | WORD_ENDED;
  } while (!cas (r, &word, next));

  record_move (r, RECORD_COMPLETE, status, word, next);
  if (!(word & WORD_ENDED)) {
    decide (r, BLKMQ_CAUSE_COMPLETE, status);
    answer (r, 1);
  } else {
    lose (r, h, BLKMQ_CAUSE_COMPLETE);
    after_let_go (r, word);
  }
  return true;
}

/* R, to which we have a reference, is finished when DELAY_NS have passed.  The
 * timer gets the token, not our reference: an abort meanwhile frees the tag at
 * once, and the timer then finds nothing. */
static void
go_on_after (struct request *r, uint64_t delay_ns, uint64_t token)
{
  struct blkmq_hctx *h = r->rq.hctx;
  uint64_t deadline_ns = clock_now_ns (h->clock) + delay_ns;

  record_move (r, RECORD_TIMER_ARM, 0, r->word, r->word);
  if (!sync_takes_timer (thread_self (), r, deadline_ns, token))
    timer_arm (&h->heap, &r->timer, deadline_ns, token);
  request_put (r);
}

/* Completions that end later: give-back, and a reference for the way there. */
static bool
complete_later (struct request *r, uint64_t token, enum blkmq_status status)
{
  struct blkmq_hctx *h = request_hctx (r);
  uint64_t word = load (r), next;

  do {
    if (!token_is_alive (word, token))
      return false;
    next = word & WORD_ENDED ? word_let_go (word)
                             : (word & ~WORD_HELD) + WORD_ONE_REF;
  } while (!cas (r, &word, next));

  record_move (r, RECORD_COMPLETE, status, word, next);
  if (word & WORD_ENDED) {
    lose (r, h, BLKMQ_CAUSE_COMPLETE);
    after_let_go (r, word);
    return true;
  }

  r->driver_status = (uint8_t)status;
  switch (hctx_is_polled (h) ? IRQMODE_NONE : h->irqmode) {
  case IRQMODE_NONE:
    request_finish (r);
    break;
  case IRQMODE_SOFTIRQ:
    hctx_push_done (h, r);
    break;
  case IRQMODE_TIMER:
    go_on_after (r, h->completion_ns, token);
    break;
  }
  return true;
}

bool
request_complete (struct request *r, blkmq_token token,
                  enum blkmq_status status)
{
  struct thread_slot *slot = thread_self ();
  bool alive = false;

  if (request_token_is_alive (r, token)) {
    /* Ours, unless a second one completes it at this very moment; so nothing
     * is looked at in there before the token has acted. */
    struct blkmq_hctx *h = request_hctx (r);
    enum hold hold = hctx_hold (slot, h);

    if (atomic_load_explicit (&r->ends_inline, memory_order_relaxed))
      alive = complete_inline (r, token, status);
    else
      alive = complete_later (r, token, status);
    if (alive)
      hctx_gave_back (h);
    hctx_let_go (slot, h, hold);
  }
  if (!alive)
    stale_token (r, token, "completion");
  return alive;
}

void
blkmq_keep (struct blkmq_request *rq, uint64_t ns)
{
  request_of (rq)->keep_ns = ns;
}

void
request_finish (struct request *r)
{
  const struct blkmq_driver *driver = r->rq.hctx->driver;
  enum blkmq_status status = r->driver_status;
  uint64_t word = load (r);

  if (driver->complete != NULL && !(word & WORD_ENDED)) {
    r->keep_ns = 0;
    status = driver->complete (&r->rq, status);
    if (__builtin_expect (request_is_kept (r), 0)) {
      r->driver_status = (uint8_t)status;
      go_on_after (r, r->keep_ns, request_name (r, word));
      return;
    }
  }

  do {
    if (word & WORD_ENDED) {
      lose (r, r->rq.hctx, BLKMQ_CAUSE_COMPLETE);
      request_put (r);
      return;
    }
  } while (!cas (r, &word, word | WORD_ENDED));

  record_move (r, RECORD_CLAIM, BLKMQ_CAUSE_COMPLETE, word, word | WORD_ENDED);
  decide (r, BLKMQ_CAUSE_COMPLETE, status);
  answer (r, 2);
}

bool
request_take_back (struct request *r, blkmq_token token, enum blkmq_cause cause,
                   enum blkmq_status status)
{
  uint64_t word = load (r), next;

  do {
    if (!token_is_alive (word, token))
      return false;
    next = (word & ~(WORD_HELD | WORD_DEFERRED)) | WORD_ENDED;
    /* Before the word, so that who finds his token dead finds out why. */
    atomic_store_explicit (&r->taken_generation, name_gen (token),
                           memory_order_relaxed);
  } while (!cas (r, &word, next));

  record_move (r, RECORD_TAKE_BACK, cause, word, next);
  if (!(word & WORD_ENDED)) {
    decide (r, cause, status);
    answer (r, 1);
  } else {
    /* Who claimed it for the same cause before has not lost now. */
    if (atomic_load_explicit (&r->cause, memory_order_relaxed) != cause)
      lose (r, r->rq.hctx, cause);
    if (word & WORD_DEFERRED)
      answer (r, 1);
  }
  return true;
}

/* ---- down: start, issue, return ---- */

void
request_start (struct request *r)
{
  uint64_t word = atomic_load_explicit (&r->word, memory_order_relaxed), next;

  assert (word_is_free (word));
  unpoison (request_pdu (r), r->pool->pdu_bytes);
  next = word | WORD_QUEUED | WORD_HELD | WORD_ONE_REF;
  atomic_store_explicit (&r->word, next, memory_order_release);
  record_move (r, RECORD_START, 0, word, next);
}

blkmq_token
request_start_issue (struct request *r)
{
  uint64_t word = atomic_load_explicit (&r->word, memory_order_relaxed), next;

  assert (word_is_free (word));
  unpoison (request_pdu (r), r->pool->pdu_bytes);
  next = word_next_issue (word) | WORD_IN_FLIGHT | WORD_HELD | WORD_ONE_REF;
  atomic_store_explicit (&r->word, next, memory_order_release);
  record_move (r, RECORD_ISSUE, 0, word, next);
  return request_name (r, next);
}

bool
request_issue (struct request *r, blkmq_token *token)
{
  uint64_t word = load (r), next;

  do {
    assert (word_state (word) == WORD_QUEUED && (word & WORD_HELD));
    if (word & WORD_ENDED)
      next = word_let_go (word);
    else
      next = (word_next_issue (word) & ~WORD_STATE) | WORD_IN_FLIGHT;
  } while (!cas (r, &word, next));

  record_move (r, word & WORD_ENDED ? RECORD_DROP : RECORD_ISSUE, 0, word,
               next);
  if (word & WORD_ENDED) {
    after_let_go (r, word);
    return false;
  }
  *token = request_name (r, next);
  return true;
}

void
request_drop_queued (struct request *r)
{
  uint64_t word = load (r);

  do {
    assert (word_state (word) == WORD_QUEUED && (word & WORD_HELD)
            && (word & WORD_ENDED));
  } while (!cas (r, &word, word_let_go (word)));
  record_move (r, RECORD_DROP, 0, word, word_let_go (word));
  after_let_go (r, word);
}

enum request_returned
request_return (struct request *r, blkmq_token token)
{
  uint64_t word = load (r), next;

  do {
    if (!request_token_is_of (r, token) || !token_is_alive (word, token)) {
      stale_token (r, token, "requeue, or BUSY,");
      return REQUEST_STALE;
    }
    next = word & WORD_ENDED ? word_let_go (word)
                             : (word & ~WORD_STATE) | WORD_QUEUED;
  } while (!cas (r, &word, next));

  record_move (r, RECORD_RETURN, 0, word, next);
  if (word & WORD_ENDED) {
    after_let_go (r, word);
    return REQUEST_DROPPED;
  }
  return REQUEST_QUEUED;
}

/* ---- references ---- */

bool
request_try_get (struct request *r, uint64_t name)
{
  uint64_t word = load (r);

  do {
    if (word_gen (word) != name_gen (name) || word_is_free (word)
        || word_refs_are_full (word))
      return false;
  } while (!cas (r, &word, word + WORD_ONE_REF));
  record_move (r, RECORD_GET, 0, word, word + WORD_ONE_REF);
  return true;
}
