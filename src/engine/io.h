/* SPDX-License-Identifier: BSD-3-Clause
 *
 * io.h: the caller's io inside the engine: checks, splitting into requests,
 * and the one answer.
 */

#ifndef BLKMQ_ENGINE_IO_H
#define BLKMQ_ENGINE_IO_H

#include "engine/disk.h"
#include "engine/request.h"

/* io->priv.state: bits, set by atomic operations.  0 before io_prepare. */
#define IO_SPLIT (1u << 0)   /* several requests: nr_unanswered counts */
#define IO_ABORTED (1u << 1) /* no more parts are to start */
/* Of the flush machinery (flush.c). */
#define IO_POSTFLUSH (1u << 2) /* the data's answer is not the caller's yet */
#define IO_WRITTEN (1u << 3)   /* the data was answered, and all went well */
#define IO_SEQ_ENDED (1u << 4) /* IO_POSTFLUSH: end_io has returned */
#define IO_DATA_BACK (1u << 5) /* IO_POSTFLUSH: all parts were given back */

/* What io_prepare says of an io that is in order and is flush_begin's. */
#define IO_NEEDS_FLUSH ((enum blkmq_status)BLKMQ_NR_STATUSES)

/* The flags that a request has from its io. */
#define IO_REQUEST_FLAGS (BLKMQ_IO_FUA | BLKMQ_IO_NOUNMAP)

static inline bool
io_is_split (const struct blkmq_io *io)
{
  return __atomic_load_n (&io->priv.state, __ATOMIC_RELAXED) & IO_SPLIT;
}

static inline bool
io_is_written (const struct blkmq_io *io)
{
  return __atomic_load_n (&io->priv.state, __ATOMIC_RELAXED) & IO_WRITTEN;
}

static inline void
io_mark (struct blkmq_io *io, uint32_t bits)
{
  __atomic_or_fetch (&io->priv.state, bits, __ATOMIC_RELAXED);
}

/* May a segment that begins at BASE not follow, in one request, one that ends
 * at END?  The kernel's bvec_gap_to_prev. */
static inline bool
io_is_gap (const struct blkmq_limits *limits, const void *end, const void *base)
{
  return (((uintptr_t)end | (uintptr_t)base) & limits->virt_boundary_mask) != 0;
}

/* The most bytes that one request of this operation may carry. */
uint64_t io_max_bytes (const struct blkmq_limits *limits, enum blkmq_op op);

/* Make IO ready: check it against the limits and set the cursor to its start.
 * Anything but OK and IO_NEEDS_FLUSH: it must be ended with io_reject. */
enum blkmq_status io_prepare (struct blkmq_disk *disk, struct blkmq_io *io);

/* End an io of which no part has started and no more will.  With OK that is an
 * io that needed none. */
void io_reject (struct blkmq_hctx *h, struct blkmq_io *io,
                enum blkmq_status status);

/* IO needs no more tags: let go its blkmq_submit_wait. */
void io_has_tags (struct blkmq_io *io);

/* Is there a part left that has no request yet? */
bool io_has_more (const struct blkmq_io *io);

/* Fill R, which becomes H's, with the next part of IO and move the cursor. */
void io_take_part (struct blkmq_hctx *h, struct blkmq_io *io,
                   struct request *r);

/* The last part was taken, or STATUS says why no more will be.  After this
 * IO may be gone. */
void io_parts_end (struct blkmq_io *io, enum blkmq_status status);

/* Have whoever has IO in hand (noting, splitting, queueing it) start no more of
 * it; is that so, for this io or for all of its submitter's? */
void io_mark_aborted (struct blkmq_io *io);
bool io_is_aborted (const struct blkmq_io *io);

/* A part's status is decided: answer the caller if it was the last. */
void io_answer_part (struct blkmq_io *io, enum blkmq_status status);

/* The end of an io that is IO_POSTFLUSH, its data answered: give_back follows
 * when the data is back as well. */
void io_end_sequence (struct blkmq_io *io, enum blkmq_status status);

/* A part of an io with a give_back is back. */
void io_give_back_part (struct blkmq_io *io);

#endif /* BLKMQ_ENGINE_IO_H */
