/* SPDX-License-Identifier: BSD-3-Clause
 *
 * timer.h: the timer heap of an hctx.
 *
 * A timer stands in its heap at most once.  It carries a token, never a
 * reference: what it fires for may be over by then, and whoever handles the
 * firing asks for a reference with the token.  Arming and cancelling: any
 * thread.  Popping: the hctx's loop.  No allocation after init.
 */

#ifndef BLKMQ_ENGINE_TIMER_H
#define BLKMQ_ENGINE_TIMER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum timer_kind {
  TIMER_REQUEST, /* the end of a request: irqmode=timer */
  TIMER_SCAN,    /* io_timeout */
  TIMER_RERUN,   /* dispatch again: after BUSY, or as a driver has asked */
  TIMER_RUN,     /* dispatch again: by now something may have aged, or others
                  * have gone idle */
  TIMER_KICK,    /* take back what a driver has set aside */
  TIMER_ABORT,   /* ask the driver for what was aborted */
};

struct timer {
  uint64_t deadline_ns;  /* heap lock */
  uint64_t token;        /* heap lock */
  _Atomic uint32_t slot; /* place in the heap + 1, 0: not there; heap lock to
                          * write */
  enum timer_kind kind;  /* fixed */
};

struct timer_heap {
  pthread_mutex_t lock;
  struct timer **timers; /* lock */
  unsigned nr, max;      /* lock */

  /* Called with the lock held when the earliest deadline has changed;
   * UINT64_MAX: there is none. */
  void (*set_deadline) (void *opaque, uint64_t deadline_ns);
  void *opaque;
};

int timer_heap_init (struct timer_heap *heap, unsigned max);
void timer_heap_exit (struct timer_heap *heap);

/* Make room for MAX timers, if there is less.  Not on the I/O path. */
int timer_heap_reserve (struct timer_heap *heap, unsigned max);

void timer_init (struct timer *timer, enum timer_kind kind);

/* No lock: by the time it returns things may have changed. */
static inline bool
timer_is_armed (const struct timer *timer)
{
  return atomic_load_explicit (&timer->slot, memory_order_relaxed) != 0;
}

/* Arm; an armed timer is moved to the new deadline and token. */
void timer_arm (struct timer_heap *heap, struct timer *timer,
                uint64_t deadline_ns, uint64_t token);

/* The same, but what is armed for an earlier time stays as it is. */
void timer_arm_earlier (struct timer_heap *heap, struct timer *timer,
                        uint64_t deadline_ns, uint64_t token);

/* Take the timer out if it is there.  Without the lock when it is not armed,
 * which the caller must know to be stable: nobody else may arm it now. */
void timer_cancel (struct timer_heap *heap, struct timer *timer);

/* Pop the earliest timer that is due at NOW_NS and its token as it was armed
 * with, or NULL, in which case the next deadline has been set. */
struct timer *timer_pop_due (struct timer_heap *heap, uint64_t now_ns,
                             uint64_t *token);

#endif /* BLKMQ_ENGINE_TIMER_H */
