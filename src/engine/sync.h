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

#endif /* BLKMQ_ENGINE_SYNC_H */
