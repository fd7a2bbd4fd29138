/* SPDX-License-Identifier: BSD-3-Clause
 *
 * loop.h: where an hctx's own work runs: timers, softirq completions, reruns.
 *
 * Three kinds.  An own loop has a thread of the engine's; a lent one is the
 * embedder's libev loop; a manual one, for tests, turns when it is told to.
 */

#ifndef BLKMQ_ENGINE_LOOP_H
#define BLKMQ_ENGINE_LOOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ev_loop;
struct loop;

enum loop_kind { LOOP_OWN, LOOP_LENT, LOOP_MANUAL };

struct loop_ops {
  void (*kicked) (void *opaque);    /* at least one kick since the last call */
  void (*timer_due) (void *opaque); /* the deadline has passed */
  /* Lent loops, before each sleep, if asked for by loop_set_polled: do what can
   * be done; true if the loop must not sleep but come back. */
  bool (*poll) (void *opaque);
};

/* EV is the lent loop, else NULL.  INDEX names the thread. */
struct loop *loop_alloc (enum loop_kind kind, struct ev_loop *ev,
                         unsigned index, const struct loop_ops *ops,
                         void *opaque);
void loop_free (struct loop *loop);

/* 0 or -errno.  Own: start the thread.  Lent: the loop's thread calls. */
int loop_start (struct loop *loop);

/* No callback runs when it returns, or will again.  Idempotent.  Not from an
 * own loop's thread; for a lent one: the loop's own thread. */
void loop_stop (struct loop *loop);

/* Have ops->kicked called soon.  Any thread; kicks coalesce.  Nothing happens
 * on a loop that was stopped. */
void loop_kick (struct loop *loop);

/* Was it kicked, and has not come to it yet? */
bool loop_is_kicked (const struct loop *loop);

/* Set the (one) deadline, absolute CLOCK_MONOTONIC; UINT64_MAX: none.  Any
 * thread. */
void loop_set_deadline (struct loop *loop, uint64_t deadline_ns);

/* From now on wake up so long before each deadline, and do not sleep until it
 * has come.  Any thread. */
void loop_set_spin (struct loop *loop, uint64_t spin_ns);
uint64_t loop_spin_ns (const struct loop *loop);

/* From now on call ops->poll, or do not.  Any thread. */
void loop_set_polled (struct loop *loop, bool is_polled);

/* Manual loops: call kicked if there was a kick, and timer_due.  True if there
 * is another kick by now. */
bool loop_turn (struct loop *loop);

#endif /* BLKMQ_ENGINE_LOOP_H */
