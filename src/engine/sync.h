/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sync.h: a one-shot completion that a thread sleeps on: a futex, no lock, no
 * system call when the event has happened before the wait.
 */

#ifndef BLKMQ_ENGINE_SYNC_H
#define BLKMQ_ENGINE_SYNC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct blkmq_hctx;
struct blkmq_io;
struct request;
struct thread_slot;

struct completion {
  _Atomic uint32_t state;
};

void completion_init (struct completion *c);

/* Any thread, once.  C may be gone when this returns. */
void completion_signal (struct completion *c);

bool completion_is_done (const struct completion *c);

/* One thread.  Signals to the thread do not end the wait. */
void completion_wait (struct completion *c);

/* False: TIMEOUT_NS passed first. */
bool completion_wait_for (struct completion *c, uint64_t timeout_ns);

/* A thread that waits for an io of its own can as well be the timer that the
 * io's request waits for: that saves the way to the loop and back. */
struct sync_sleep {
  const struct blkmq_io *io; /* that the thread is about to wait for */
  struct request *request;   /* NULL: nothing to wake up for */
  struct blkmq_hctx *hctx;   /* of the request */
  uint64_t token, deadline_ns;
};

/* R, which was given back, is to go on at DEADLINE_NS if TOKEN is alive then.
 * True: this thread sees to it. */
bool sync_takes_timer (struct thread_slot *slot, struct request *r,
                       uint64_t deadline_ns, uint64_t token);

#endif /* BLKMQ_ENGINE_SYNC_H */
