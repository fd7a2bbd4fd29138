/* SPDX-License-Identifier: BSD-3-Clause
 *
 * requeue.c: a driver gives a request back unfinished, and says when the queue
 * is to be tried again.  Any thread of the driver's; queue_rq is never called
 * from inside.
 */

#include <config.h>

#include <errno.h>

#include "engine/disk.h"
#include "engine/elevator.h"
#include "engine/enter.h"
#include "engine/queue.h"
#include "engine/requeue.h"
#include "engine/stale.h"

/* ---- requests ---- */

static enum request_returned
requeue (struct thread_slot *slot, struct request *r, blkmq_token token,
         bool kick)
{
  enum request_returned returned;
  struct blkmq_hctx *h;
  enum hold hold;

  if (!request_token_is_alive (r, token)) {
    stale_token (r, token, "requeue");
    return REQUEST_STALE;
  }
  /* The request may be dropped, or dispatched and gone. */
  h = request_hctx (r);
  hold = hctx_hold (slot, h);
  returned = request_return (r, token);
  if (returned == REQUEST_QUEUED) {
    count (&h->requeues);
    r->accepted = true;
    elevator_give_tag_back (h, r);
    if (!kick)
      queue_set_aside (h, r);
    else if (queue_insert (h, r, false))
      hctx_ask_run (h);
  }
  if (returned != REQUEST_STALE)
    hctx_gave_back (h);
  hctx_let_go (slot, h, hold);
  return returned;
}

static int
requeue_from_below (struct blkmq_request *rq, blkmq_token token, bool kick)
{
  struct thread_slot *slot = engine_enter_from_below ();
  enum request_returned returned = requeue (slot, request_of (rq), token, kick);

  engine_leave_from_below (slot);
  return returned == REQUEST_STALE ? -ESTALE : 0;
}

int
blkmq_requeue (struct blkmq_request *rq, blkmq_token token)
{
  return requeue_from_below (rq, token, true);
}

int
blkmq_requeue_aside (struct blkmq_request *rq, blkmq_token token)
{
  return requeue_from_below (rq, token, false);
}

/* ---- hctxs ---- */

void
requeue_kick (struct blkmq_hctx *h)
{
  if (queue_take_aside (h))
    hctx_ask_run (h);
}

/* Do FN to H, which the driver keeps, from outside the I/O path. */
static void
with_hctx (struct blkmq_hctx *h, void (*fn) (struct blkmq_hctx *h))
{
  struct thread_slot *slot = engine_enter_from_below ();
  enum hold hold = hctx_hold (slot, h);

  fn (h);
  hctx_let_go (slot, h, hold);
  engine_leave_from_below (slot);
}

static void
run (struct blkmq_hctx *h)
{
  hctx_unstall (h);
  hctx_ask_run (h);
}

void
blkmq_kick_requeues (struct blkmq_hctx *hctx)
{
  with_hctx (hctx, requeue_kick);
}

void
blkmq_run_hctx (struct blkmq_hctx *hctx)
{
  with_hctx (hctx, run);
}

static void
arm (struct blkmq_hctx *h, struct timer *timer, uint64_t delay_ns)
{
  timer_arm (&h->heap, timer, clock_now_ns (h->clock) + delay_ns, 0);
}

void
blkmq_delay_kick_requeues (struct blkmq_hctx *hctx, uint64_t delay_ns)
{
  arm (hctx, &hctx->kick_timer, delay_ns);
}

void
blkmq_delay_run_hctx (struct blkmq_hctx *hctx, uint64_t delay_ns)
{
  arm (hctx, &hctx->run_timer, delay_ns);
}
