/* SPDX-License-Identifier: BSD-3-Clause
 *
 * poll.h: reaping from polled hctxs.
 */

#ifndef BLKMQ_ENGINE_POLL_H
#define BLKMQ_ENGINE_POLL_H

#include <stdbool.h>
#include <stdint.h>

struct blkmq_disk;
struct blkmq_submitter;
struct completion;

/* Poll all polled hctxs of DISK once.  The number of requests reaped. */
unsigned poll_disk (struct blkmq_disk *disk);

/* Is anything of DISK polled? */
bool poll_is_needed (struct blkmq_disk *disk);

/* Wait for C as completion_wait_for, but poll for SUBMITTER meanwhile. */
bool poll_wait_for (struct blkmq_submitter *submitter, struct completion *c,
                    uint64_t timeout_ns);
void poll_wait (struct blkmq_submitter *submitter, struct completion *c);

/* loop_ops.poll of an hctx. */
bool poll_from_loop (void *opaque);

#endif /* BLKMQ_ENGINE_POLL_H */
