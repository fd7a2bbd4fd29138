/* SPDX-License-Identifier: BSD-3-Clause
 *
 * requeue.h: what a driver has set aside comes back to the queue.
 */

#ifndef BLKMQ_ENGINE_REQUEUE_H
#define BLKMQ_ENGINE_REQUEUE_H

struct blkmq_hctx;

/* The caller holds H. */
void requeue_kick (struct blkmq_hctx *h);

#endif /* BLKMQ_ENGINE_REQUEUE_H */
