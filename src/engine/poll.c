/* SPDX-License-Identifier: BSD-3-Clause
 *
 * poll.c: reaping from polled hctxs.  Any thread.
 *
 * While it polls a thread is marked as dispatching on the hctx.  So removal,
 * which sets its flag and then waits for those, stops a driver that nobody is
 * polling any more; and a live update knows when the last poller has left an
 * hctx that it drops.
 */

#include <config.h>

#include <errno.h>
#include <sched.h>
#include <time.h>

#include "engine/barrier.h"
#include "engine/disk.h"
#include "engine/enter.h"
#include "engine/poll.h"
#include "engine/sync.h"

/* Between two looks at the clock and at other threads. */
#define SPINS 64

/* An hctx of the submitter's may stop being polled while it waits. */
#define NAP_NS UINT64_C (10000000)

static unsigned
poll_hctx (struct blkmq_hctx *h)
{
  struct thread_slot *slot = engine_enter ();
  unsigned flags, nr = 0;

  atomic_store_explicit (&slot->dispatching, h, memory_order_relaxed);
  barrier_full (); /* the mark before the flags: pairs with freeze.c */
  /* Acquire: what the driver's init_hctx did before it came into use. */
  flags = atomic_load_explicit (&h->flags, memory_order_acquire);
  if ((flags & (HCTX_POLLED | HCTX_REMOVED | HCTX_DROPPED)) == HCTX_POLLED)
    nr = h->driver->poll (h);
  atomic_store_explicit (&slot->dispatching, NULL, memory_order_release);
  if (nr > 0)
    atomic_fetch_add_explicit (&h->polled, nr, memory_order_relaxed);
  engine_leave (slot);
  return nr;
}

/* Its polled hctx, or NULL. */
static struct blkmq_hctx *
polled_hctx_of (const struct blkmq_submitter *submitter)
{
  struct blkmq_hctx *h = submitter_hctx_of (submitter, BLKMQ_HCTX_TYPE_POLL);

  return hctx_is_polled (h) ? h : NULL;
}

int
blkmq_poll (struct blkmq_submitter *submitter)
{
  const struct thread_slot *slot = thread_self ();
  struct blkmq_hctx *h = polled_hctx_of (submitter);

  if (slot->depth > 0 || slot->in_callback > 0)
    return -EDEADLK;
  return h != NULL ? (int)poll_hctx (h) : 0;
}

bool
poll_is_needed (struct blkmq_disk *disk)
{
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++) {
    if (hctx_is_polled (disk_hctx (disk, i)))
      return true;
  }
  return false;
}

unsigned
poll_disk (struct blkmq_disk *disk)
{
  unsigned nr = 0;

  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++) {
    if (hctx_is_polled (disk_hctx (disk, i)))
      nr += poll_hctx (disk_hctx (disk, i));
  }
  return nr;
}

/* ---- waiting ---- */

static uint64_t
now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* One turn of waiting.  The submitter may have other hctxs each time. */
static void
poll_or_nap (struct blkmq_submitter *submitter, struct completion *c,
             uint64_t most_ns)
{
  struct blkmq_hctx *h = polled_hctx_of (submitter);

  if (h == NULL) {
    completion_wait_for (c, most_ns < NAP_NS ? most_ns : NAP_NS);
    return;
  }
  for (unsigned i = 0; i < SPINS && !completion_is_done (c); i++)
    poll_hctx (h);
  /* Whoever is to make progress for us may need this CPU. */
  if (!completion_is_done (c))
    sched_yield ();
}

bool
poll_wait_for (struct blkmq_submitter *submitter, struct completion *c,
               uint64_t timeout_ns)
{
  uint64_t start_ns, passed_ns = 0;

  if (completion_is_done (c))
    return true;
  start_ns = now_ns ();
  while (!completion_is_done (c)) {
    if (passed_ns >= timeout_ns)
      return false;
    poll_or_nap (submitter, c, timeout_ns - passed_ns);
    passed_ns = now_ns () - start_ns;
  }
  return true;
}

void
poll_wait (struct blkmq_submitter *submitter, struct completion *c)
{
  while (!completion_is_done (c))
    poll_or_nap (submitter, c, UINT64_MAX);
}

/* ---- lent loops ---- */

/* The caller holds H. */
static bool
has_requests (struct blkmq_hctx *h)
{
  struct request_pool *pool = hctx_pool (h);

  for_each_taken (tag, pool)
  {
    if (request_hctx (pool_request (pool, (unsigned)tag)) == h)
      return true;
  }
  return false;
}

bool
poll_from_loop (void *opaque)
{
  struct blkmq_hctx *h = opaque;
  struct thread_slot *slot = thread_self ();
  enum hold hold = hctx_hold (slot, h);
  bool again = false;

  if (has_requests (h)) {
    poll_hctx (h);
    again = has_requests (h);
  }
  hctx_let_go (slot, h, hold);
  return again;
}
