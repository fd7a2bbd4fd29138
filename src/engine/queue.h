/* SPDX-License-Identifier: BSD-3-Clause
 *
 * queue.h: the queue of requests and the wait list of ios.
 */

#ifndef BLKMQ_ENGINE_QUEUE_H
#define BLKMQ_ENGINE_QUEUE_H

#include "engine/hctx.h"

/* Put a QUEUED request on the queue, or drop it if it was ended meanwhile. True
 * if the queue could move now: the caller asks for a run (hctx_ask_run). */
bool queue_insert (struct blkmq_hctx *h, struct request *r, bool at_head);

/* The same, but leave it aside until queue_take_aside puts all that is there
 * behind those on the queue; true if there was any. */
void queue_set_aside (struct blkmq_hctx *h, struct request *r);
bool queue_take_aside (struct blkmq_hctx *h);

/* Unlink R, which is on the queue, or all (a chain), also what was set aside.
 */
void queue_unlink_locked (struct blkmq_hctx *h, struct request *r);
struct request *queue_take_all (struct blkmq_hctx *h);

/* Take a QUEUED request off the queue and let go of it, if it is there. */
void queue_remove (struct blkmq_hctx *h, struct request *r);

/* The list that IO is on, or belongs to. */
static inline struct wait_list *
wait_list_of (struct blkmq_hctx *h, const struct blkmq_io *io)
{
  return &h->wait[io->flags & BLKMQ_IO_RESERVED ? WAIT_RESERVED
                                                : WAIT_ORDINARY];
}

/* Wait list.  wait_append puts IO there; or on that of the hctx to which its
 * submitter has gone, if H was dropped.  wait_abort takes off and ends with
 * STATUS all that MATCH says yes to (NULL: all), and returns their number. */
void wait_append (struct blkmq_hctx *h, struct blkmq_io *io);

/* H was dropped, or is for others now: have its ios wait where they belong. */
void wait_move (struct blkmq_hctx *h);
unsigned wait_abort (struct blkmq_hctx *h,
                     bool (*match) (struct blkmq_io *io, void *opaque),
                     void *opaque, enum blkmq_status status);

/* Unlink IO, which the caller then holds. */
void wait_unlink_locked (struct blkmq_hctx *h, struct blkmq_io *io);

#endif /* BLKMQ_ENGINE_QUEUE_H */
