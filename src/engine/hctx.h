/* SPDX-License-Identifier: BSD-3-Clause
 *
 * hctx.h: a hardware context: the requests of one queue, its tags, its queue
 * of what could not be dispatched, its waiters, its timers and its loop.
 *
 * Locks of the engine, in the order in which they may be taken:
 *
 *   disk->change_lock     one change of settings, or of power, at a time
 *   set->update_lock      one live update at a time (update.c)
 *   disk->level_lock      the control ops of driver and layers; the settings
 *   disk->stats_lock      since when the counters count; a leaf
 *   set->lock             which disks a tag set has, what its pools are
 *   disk->control_lock    depths and states of freeze, quiesce, start, remove
 *   hctx->lock            queue, waiters, who runs
 *   flush_queue->lock     who waits for which flush (flush.c); a leaf
 *   set->users_lock       the same disks, for those who wake the next in turn
 *   heap->lock            timers (timer.c)
 *   loop->wake_lock       waking the loop (loop.c)
 *   disk->drain_lock      sleepers in freeze and remove; a leaf
 *   registry_lock         thread slots (thread.c); a leaf
 *   module_lock           loading a driver (module.c)
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
#include "engine/pool.h"
#include "engine/request.h"
#include "engine/share.h"
#include "engine/thread.h"
#include "engine/timer.h"

struct iostat;

enum irqmode { IRQMODE_NONE, IRQMODE_SOFTIRQ, IRQMODE_TIMER };

/* hctx->flags */
#define HCTX_QUIESCED (1u << 0) /* start no queue_rq */
#define HCTX_FROZEN (1u << 1)   /* start no request */
#define HCTX_REMOVED (1u << 2)  /* answer everything with OFFLINE */
#define HCTX_DROPPED (1u << 3)  /* not in use: its submitters are elsewhere */
#define HCTX_POLLED (1u << 4)   /* only for ios with BLKMQ_IO_POLLED */
#define HCTX_BLOCKING (1u << 5) /* dispatch on the loop only; fixed */
#define HCTX_OFF (1u << 6)      /* without power: refuse with OFFLINE */

/* Ios end with OFFLINE. */
#define HCTX_IS_OFFLINE (HCTX_REMOVED | HCTX_OFF)
/* No io becomes a request. */
#define HCTX_STARTS_NONE (HCTX_FROZEN | HCTX_REMOVED | HCTX_OFF | HCTX_DROPPED)

/* hctx->watch */
#define WATCHED UINT64_C (1)
#define WATCH_EPOCH UINT64_C (2) /* one step of the epoch */

/* Ios that wait for a tag, first come first served.  Those that may have a
 * reserved one do not wait behind those that may not. */
enum { WAIT_ORDINARY, WAIT_RESERVED, NR_WAIT_LISTS };
struct wait_list {
  struct blkmq_io *first, **tail;
  _Atomic unsigned nr; /* lock to write */
};

struct hctx_options {
  enum irqmode irqmode;
  uint64_t completion_ns, io_timeout_ns, spin_ns;
  unsigned nr_requests; /* with a scheduler; 0: twice the depth */
  bool merges;
  struct sched_options sched;
  bool iostats;
};

struct blkmq_hctx {
  /* Fixed while the disk lives. */
  alignas (CACHE_LINE_BYTES) struct blkmq_disk *disk;
  unsigned index;
  const struct blkmq_driver *driver;
  void *data;                   /* the driver's */
  bool driver_is_ready;         /* its init_hctx was called; set->lock */
  struct iostat *iostat_memory; /* NULL: iostats has never been on */
  struct clock *clock;
  struct loop *loop;
  void *driver_data; /* the disk's */
  struct blkmq_tag_set *set;

  /* Changed while the disk is frozen (hctx_set_options).  Loops look at them
   * even then. */
  _Atomic uint64_t io_timeout_ns; /* 0: off */
  _Atomic uint64_t completion_ns;
  _Atomic (enum irqmode) irqmode;
  _Atomic (struct iostat *) iostat; /* NULL without iostats */

  /* Read on every path, written rarely. */
  alignas (CACHE_LINE_BYTES) _Atomic unsigned flags;
  _Atomic unsigned nr_waiting; /* on both wait lists; lock to write */
  _Atomic unsigned nr_queued;  /* requests on the queue; lock to write */
  /* The driver said BUSY.  stalled: don't try meanwhile.  watch: somebody wants
   * to know of give-backs (WATCHED), which then move the epoch, in the other
   * bits, and end the stall.  One word, because a look at the one is worth
   * nothing without the other of the same moment. */
  _Atomic bool stalled;
  _Atomic uint64_t watch;
  _Atomic bool scan_armed;

  /* What it is for (hctx_set_type), and what follows from that: whether
   * completions end where the driver calls, without a detour; which of an io's
   * flags the driver sees. */
  _Atomic unsigned type;
  _Atomic bool ends_inline;
  _Atomic uint32_t driver_flags;

  /* Where requests come from.  Changed by a live update only, while the hctx is
   * frozen; kept by whoever holds the hctx (hctx_hold, dispatching). */
  _Atomic (struct request_pool *) pool;
  /* Where tags come from: the tag set's pool, which is the same without a
   * scheduler.  Changed likewise. */
  _Atomic (struct request_pool *) tag_pool;

  alignas (CACHE_LINE_BYTES) pthread_mutex_t lock;
  struct request *queue, **queue_tail;  /* lock: QUEUED requests */
  struct request *aside, **aside_tail;  /* lock: likewise, until kicked */
  struct wait_list wait[NR_WAIT_LISTS]; /* lock: ios without a tag */
  bool running;                         /* lock: somebody is in hctx_run */
  bool wants_tag; /* lock: the scheduler waits for a driver tag */

  _Atomic (struct request *) done; /* given back, to be ended on the loop */

  unsigned nr_submitters; /* disk->control_lock */

  /* Holds that did not fit a thread's slot. */
  _Atomic unsigned pins;

  /* With a shared pool (share.c). */
  _Atomic bool active;
  _Atomic unsigned nr_taken;
  _Atomic uint64_t last_taken_ns;

  _Atomic unsigned nr_sleepers; /* threads that are timers (sync.h) */

  struct timer_heap heap;
  struct timer scan_timer;
  struct timer rerun_timer; /* after BUSY_HOST */
  struct timer run_timer;   /* as a driver asks for */
  struct timer age_timer;   /* a lower class has waited for long enough */
  struct timer share_timer; /* others may have gone idle since */
  struct timer kick_timer;
  struct timer abort_timer;

  /* What its requests did in pools that count for several, or are gone. */
  _Atomic uint64_t ios[BLKMQ_NR_OPS], bytes[BLKMQ_NR_OPS];

  /* Rare events. */
  _Atomic uint64_t errors[BLKMQ_NR_STATUSES];
  _Atomic uint64_t rejected[BLKMQ_NR_STATUSES];
  _Atomic uint64_t lost_claims[BLKMQ_NR_CAUSES];
  _Atomic uint64_t busy, requeues, merges;
  _Atomic uint64_t timeouts, timeouts_done, timeouts_reset, timeouts_held;
  _Atomic uint64_t polled;
  _Atomic uint64_t stale_tokens, stale_handles;
  _Atomic uint64_t flushes, flushes_coalesced;
  struct blkmq_stats *stats_base; /* NULL: count from start; stats_lock */
};

static inline bool
hctx_is_polled (const struct blkmq_hctx *h)
{
  return atomic_load_explicit (&h->flags, memory_order_relaxed) & HCTX_POLLED;
}

/* An hctx with these FLAGS: is it one for IO? */
static inline bool
hctx_is_for (unsigned flags, const struct blkmq_io *io)
{
  return !(flags & HCTX_DROPPED)
         && (!(flags & HCTX_POLLED) || (io->flags & BLKMQ_IO_POLLED));
}

static inline struct request_pool *
hctx_pool (struct blkmq_hctx *h)
{
  return atomic_load_explicit (&h->pool, memory_order_acquire);
}

static inline struct request_pool *
hctx_tag_pool (struct blkmq_hctx *h)
{
  return atomic_load_explicit (&h->tag_pool, memory_order_acquire);
}

/* For tests: the request at INDEX of the pool; how many are taken. */
static inline struct request *
hctx_tag_request (struct blkmq_hctx *h, unsigned index)
{
  return pool_request (hctx_pool (h), index);
}
static inline unsigned
hctx_nr_taken (struct blkmq_hctx *h)
{
  return pool_nr_taken (hctx_pool (h));
}

/* What R is called now; WORD is its word.  The caller holds R. */
static inline uint64_t
request_name (const struct request *r, uint64_t word)
{
  return name_make (word, request_hctx (r)->index, r->tag);
}

/* The request that NAME names on this hctx if it is still alive, which is for
 * request_try_get to find out; or NULL.  The caller holds H. */
struct request *hctx_find (struct blkmq_hctx *h, uint64_t name);

static inline void
count (_Atomic uint64_t *counter)
{
  atomic_fetch_add_explicit (counter, 1, memory_order_relaxed);
}

/* Have OPTIONS, of which these are an hctx's, from now on.  Before anything
 * uses it, or while it is frozen.  With iostats after iostat_prepare. */
void hctx_set_options (struct blkmq_hctx *h,
                       const struct hctx_options *options);

/* Set up an hctx whose fixed fields and pool are filled in. */
int hctx_init (struct blkmq_hctx *h, enum loop_kind loop_kind,
               const struct hctx_options *options);
void hctx_exit (struct blkmq_hctx *h);

/* The driver's part of it: each is done once until the other is. */
int hctx_init_driver (struct blkmq_hctx *h);
void hctx_exit_driver (struct blkmq_hctx *h);

/* Before anything uses it, or while it is frozen. */
void hctx_set_type (struct blkmq_hctx *h, enum blkmq_hctx_type type);

/* How many timers may be armed at once: all requests, and the hctx's own. */
unsigned hctx_nr_timers (unsigned nr_requests);

/* Replace the loop before start. */
int hctx_lend_loop (struct blkmq_hctx *h, struct ev_loop *ev);

/* One look at what the loop has to do: done requests, queue, waiters. */
void hctx_kicked (void *opaque);
void hctx_timer_due (void *opaque);

/* Have the queue and the waiters looked at: by this thread when it leaves the
 * engine, or else by the loop. */
void hctx_ask_run (struct blkmq_hctx *h);

/* Show that H, and its pool, are in use beyond the life of any request: removal
 * and updates wait.  In the thread's slot, or, where that shows another hctx
 * already (a callback that completes for another disk), by a count. */
enum hold { HOLD_MARK, HOLD_NESTED, HOLD_PIN };

static inline enum hold
hctx_hold (struct thread_slot *slot, struct blkmq_hctx *h)
{
  struct blkmq_hctx *held
      = atomic_load_explicit (&slot->holding, memory_order_relaxed);

  if (__builtin_expect (held == NULL, 1)) {
    atomic_store_explicit (&slot->holding, h, memory_order_relaxed);
    return HOLD_MARK;
  }
  if (held == h)
    return HOLD_NESTED;
  atomic_fetch_add (&h->pins, 1);
  return HOLD_PIN;
}

static inline void
hctx_let_go (struct thread_slot *slot, struct blkmq_hctx *h, enum hold hold)
{
  if (__builtin_expect (hold == HOLD_MARK, 1))
    atomic_store_explicit (&slot->holding, NULL, memory_order_release);
  else if (hold == HOLD_PIN)
    atomic_fetch_sub (&h->pins, 1);
}

/* Wait until all those who touched H when this was called have let go of it. */
void hctx_wait_gone (struct blkmq_hctx *h);

/* H has put a tag: see to those who wait for one.  A full barrier first. */
static inline void
hctx_tag_was_put (struct blkmq_hctx *h)
{
  if (__builtin_expect (hctx_tag_pool (h)->is_shared, 0))
    share_wake (h);
  else if (atomic_load_explicit (&h->nr_waiting, memory_order_relaxed) > 0)
    hctx_ask_run (h);
}

/* The pools that have requests of H: its own, the tag set's, and retired ones.
 * The caller holds H. */
struct pool_walk {
  struct request_pool *pool; /* NULL: there are no more */
  struct request_pool *own, *tags;
  struct request_pool *retired; /* where it is in their list */
};
struct pool_walk pool_walk_begin (struct blkmq_hctx *h);
void pool_walk_next (struct pool_walk *walk, struct blkmq_hctx *h);

#define for_each_pool(walk, h)                                                 \
  for (struct pool_walk walk = pool_walk_begin (h); walk.pool != NULL;         \
       pool_walk_next (&walk, h))

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

/* Count a request of a pool that several hctxs share. */
static inline void
hctx_account (struct blkmq_hctx *h, enum blkmq_op op, uint64_t bytes)
{
  count (&h->ios[op]);
  atomic_fetch_add_explicit (&h->bytes[op], bytes, memory_order_relaxed);
}

/* Tell those who wait for the disk to drain that something has moved. */
void hctx_notify_drain (struct blkmq_hctx *h);

#endif /* BLKMQ_ENGINE_HCTX_H */
