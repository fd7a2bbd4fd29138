/* SPDX-License-Identifier: BSD-3-Clause
 *
 * hctx.h: a hardware context: the requests of one queue, its tags, its queue
 * of what could not be dispatched, its waiters, its timers and its loop.
 *
 * Locks of the engine, in the order in which they may be taken:
 *
 *   disk->control_lock    depths and states of freeze, quiesce, start, remove
 *   hctx->lock            queue, waiters, who runs
 *   heap->lock            timers (timer.c)
 *   loop->wake_lock       waking the loop (loop.c)
 *   disk->drain_lock      sleepers in freeze and remove; a leaf
 *   registry_lock         thread slots (thread.c); a leaf
 *   register_lock         registering a driver (registry.c); a leaf
 *
 * No lock is held while a driver, end_io or give_back runs.
 */

#ifndef BLKMQ_ENGINE_HCTX_H
#define BLKMQ_ENGINE_HCTX_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "blkmq-driver.h"
#include "engine/clock.h"
#include "engine/loop.h"
#include "engine/request.h"
#include "engine/tags.h"
#include "engine/timer.h"

enum irqmode { IRQMODE_NONE, IRQMODE_SOFTIRQ, IRQMODE_TIMER };

/* hctx->flags */
#define HCTX_QUIESCED (1u << 0) /* start no queue_rq */
#define HCTX_FROZEN (1u << 1)   /* start no request */
#define HCTX_REMOVED (1u << 2)  /* answer everything with OFFLINE */

/* hctx->watch */
#define WATCHED UINT64_C (1)
#define WATCH_EPOCH UINT64_C (2) /* one step of the epoch */

struct blkmq_hctx {
  /* Fixed while the disk lives. */
  alignas (CACHE_LINE_BYTES) struct blkmq_disk *disk;
  unsigned index;
  const struct blkmq_driver *driver;
  void *data; /* the driver's */
  enum irqmode irqmode;
  bool ends_inline; /* completions end where the driver calls: no detour */
  uint64_t completion_ns;
  uint64_t io_timeout_ns; /* 0: off */
  struct clock *clock;
  struct loop *loop;
  char *requests; /* queue_depth of request_bytes each */
  size_t request_bytes;
  size_t pdu_bytes; /* rounded up */

  /* Read on every path, written rarely. */
  alignas (CACHE_LINE_BYTES) _Atomic unsigned flags;
  _Atomic unsigned nr_waiting; /* ios without a tag; lock to write */
  _Atomic unsigned nr_queued;  /* requests on the queue; lock to write */
  /* The driver said BUSY.  stalled: don't try meanwhile.  watch: somebody wants
   * to know of give-backs (WATCHED), which then move the epoch, in the other
   * bits, and end the stall.  One word, because a look at the one is worth
   * nothing without the other of the same moment. */
  _Atomic bool stalled;
  _Atomic uint64_t watch;
  _Atomic bool scan_armed;
  struct tag_map tags;

  alignas (CACHE_LINE_BYTES) pthread_mutex_t lock;
  struct request *queue, **queue_tail; /* lock: QUEUED requests */
  struct blkmq_io *wait, **wait_tail;  /* lock: ios without a tag */
  bool running;                        /* lock: somebody is in hctx_run */

  _Atomic (struct request *) done; /* given back, to be ended on the loop */

  unsigned nr_submitters; /* disk->control_lock */

  struct timer_heap heap;
  struct timer scan_timer;
  struct timer rerun_timer;

  /* Rare events. */
  _Atomic uint64_t errors[BLKMQ_NR_STATUSES];
  _Atomic uint64_t rejected[BLKMQ_NR_STATUSES];
  _Atomic uint64_t lost_claims[BLKMQ_NR_CAUSES];
  _Atomic uint64_t busy, requeues;
  _Atomic uint64_t timeouts, timeouts_done, timeouts_reset, timeouts_held;
  _Atomic uint64_t stale_tokens, stale_handles;
};

static inline struct request *
hctx_tag_request (struct blkmq_hctx *h, unsigned tag)
{
  return (struct request *)(h->requests + tag * h->request_bytes);
}

static inline void
count (_Atomic uint64_t *counter)
{
  atomic_fetch_add_explicit (counter, 1, memory_order_relaxed);
}

/* Who sets up an hctx; index, disk and the fixed fields are filled in. */
int hctx_init (struct blkmq_hctx *h, unsigned queue_depth,
               enum loop_kind loop_kind);
void hctx_exit (struct blkmq_hctx *h, unsigned queue_depth);

/* Replace the loop before start. */
int hctx_lend_loop (struct blkmq_hctx *h, struct ev_loop *ev);

/* One look at what the loop has to do: done requests, queue, waiters. */
void hctx_kicked (void *opaque);
void hctx_timer_due (void *opaque);

/* Have the queue and the waiters looked at: by this thread when it leaves the
 * engine, or else by the loop. */
void hctx_ask_run (struct blkmq_hctx *h);

/* Show, in the thread's slot, that H is in use beyond the life of any request:
 * removal waits.  Returns what was shown before, for hctx_let_go: such uses
 * nest. */
struct thread_slot;
struct blkmq_hctx *hctx_hold (struct thread_slot *slot, struct blkmq_hctx *h);
void hctx_let_go (struct thread_slot *slot, struct blkmq_hctx *outer);

/* Call FN for each request of H that is not free, with a reference. */
int hctx_for_each (struct blkmq_hctx *h,
                   int (*fn) (struct request *r, void *opaque), void *opaque);

/* A driver has given something back: dispatch again what it had refused for
 * lack of it.  The caller keeps the hctx (hctx_hold, the loop, a reference to
 * a request). */
void hctx_gave_back (struct blkmq_hctx *h);

/* End a stall: the queue is tried again when it runs next. */
void hctx_unstall (struct blkmq_hctx *h);

/* Hand a given-back request with a reference to the loop, to be ended. */
void hctx_push_done (struct blkmq_hctx *h, struct request *r);

/* Tell those who wait for the disk to drain that something has moved. */
void hctx_notify_drain (struct blkmq_hctx *h);

#endif /* BLKMQ_ENGINE_HCTX_H */
