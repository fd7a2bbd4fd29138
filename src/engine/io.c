/* SPDX-License-Identifier: BSD-3-Clause
 *
 * io.c: checks, splitting and the one answer of an io.
 *
 * Splitting happens here and nowhere below.  An io that fits one request is
 * not counted at all.  One that does not keeps two counts, each with one unit
 * for the splitting itself: parts unanswered, parts not given back.  The
 * cursor in the io is moved by one thread at a time: the submitter's, or
 * under the hctx's lock once the io is on the wait list.
 */

#include <config.h>

#include <assert.h>

#include "engine/flush.h"
#include "engine/io.h"
#include "engine/iostat.h"
#include "engine/sync.h"
#include "engine/thread.h"
#include "engine/yield.h"

static bool
has_data (enum blkmq_op op)
{
  return op == BLKMQ_OP_READ || op == BLKMQ_OP_WRITE;
}

uint64_t
io_max_bytes (const struct blkmq_limits *limits, enum blkmq_op op)
{
  switch (op) {
  case BLKMQ_OP_DISCARD:
    return limits->max_discard_bytes;
  case BLKMQ_OP_WRITE_ZEROES:
    return limits->max_write_zeroes_bytes;
  default:
    return limits->max_transfer_bytes;
  }
}

static enum blkmq_status
check_range (const struct blkmq_limits *limits, const struct blkmq_io *io)
{
  uint64_t mask = limits->logical_block_bytes - 1;

  if (io->offset_bytes > limits->size_bytes
      || io->bytes > limits->size_bytes - io->offset_bytes)
    return BLKMQ_STS_INVAL;
  if (io->offset_bytes & mask)
    return BLKMQ_STS_INVAL;
  /* A size that is no multiple of the block leaves a tail, which can be
   * reached by a request that goes up to the very end. */
  if ((io->bytes & mask) && io->offset_bytes + io->bytes != limits->size_bytes)
    return BLKMQ_STS_INVAL;
  return BLKMQ_STS_OK;
}

/* The segments must hold exactly the data.  A submitter's mistake here would
 * be a driver's access out of bounds. */
static bool
segments_match (const struct blkmq_io *io)
{
  uint64_t left = io->bytes;

  for (unsigned i = 0; i < io->nr_segments; i++) {
    if (io->segments[i].iov_len > left)
      return false;
    left -= io->segments[i].iov_len;
  }
  return left == 0;
}

static const char *
end_of (const struct iovec *segment)
{
  return (const char *)segment->iov_base + segment->iov_len;
}

/* Has IO segments that may not follow each other?  Empty ones do not count. */
static bool
has_gaps (const struct blkmq_limits *limits, const struct blkmq_io *io)
{
  const struct iovec *last = NULL;

  for (unsigned i = 0; i < io->nr_segments; i++) {
    const struct iovec *segment = &io->segments[i];

    if (segment->iov_len == 0)
      continue;
    if (last != NULL && io_is_gap (limits, end_of (last), segment->iov_base))
      return true;
    last = segment;
  }
  return false;
}

static bool
fits_one_request (const struct blkmq_limits *limits, const struct blkmq_io *io)
{
  if (io->bytes > io_max_bytes (limits, io->op))
    return false;
  if (!has_data (io->op) || io->nr_segments <= 1)
    return true;
  return io->nr_segments <= limits->max_segments
         && (__builtin_expect (limits->virt_boundary_mask == 0, 1)
             || !has_gaps (limits, io));
}

/* How much of the data at the cursor one request may have, for its segments;
 * MOST or more if all that it may have for its length. */
static uint64_t
segments_bytes (const struct blkmq_limits *limits, const struct blkmq_io *io,
                uint64_t most)
{
  const struct iovec *segment = io->priv.next_segment, *last = NULL;
  size_t skip = io->priv.next_skip_bytes;
  uint64_t bytes = 0;

  for (unsigned n = 0; n < limits->max_segments && bytes < most;
       segment++, skip = 0) {
    if (segment->iov_len == skip)
      continue;
    if (last != NULL && io_is_gap (limits, end_of (last), segment->iov_base))
      break;
    bytes += segment->iov_len - skip;
    last = segment;
    n++;
  }
  return bytes;
}

/* Where a part of an io that starts at the cursor must end at the latest: its
 * length, limited by the bytes and the segments that one request may have,
 * and whole blocks unless it is the last.  0: not even a block fits. */
static uint64_t
part_bytes (const struct blkmq_limits *limits, const struct blkmq_io *io)
{
  uint64_t left = io->offset_bytes + io->bytes - io->priv.next_offset_bytes;
  uint64_t most = io_max_bytes (limits, io->op), bytes;

  if (most > left)
    most = left;
  bytes = has_data (io->op) ? segments_bytes (limits, io, most) : most;
  if (bytes > most)
    bytes = most;
  if (bytes < left)
    bytes -= bytes % limits->logical_block_bytes;
  return bytes;
}

static void
move_cursor (struct blkmq_io *io, uint64_t bytes)
{
  io->priv.next_offset_bytes += bytes;
  if (!has_data (io->op))
    return;
  while (bytes > 0) {
    size_t rest = io->priv.next_segment->iov_len - io->priv.next_skip_bytes;

    if (rest > bytes) {
      io->priv.next_skip_bytes += bytes;
      return;
    }
    bytes -= rest;
    io->priv.next_segment++;
    io->priv.next_skip_bytes = 0;
  }
}

static void
cursor_to_start (struct blkmq_io *io)
{
  io->priv.next_offset_bytes = io->offset_bytes;
  io->priv.next_segment = io->segments;
  io->priv.next_skip_bytes = 0;
}

/* Can every part of a split io be at least a block?  Walked once, ahead, so
 * that no io fails half way for its shape. */
static bool
can_split (const struct blkmq_limits *limits, struct blkmq_io *io)
{
  uint64_t end = io->offset_bytes + io->bytes, bytes;

  if (!has_data (io->op)
      || (io->nr_segments <= limits->max_segments
          && limits->virt_boundary_mask == 0))
    return true;
  while (io->priv.next_offset_bytes < end) {
    bytes = part_bytes (limits, io);
    if (bytes == 0)
      return false;
    move_cursor (io, bytes);
  }
  cursor_to_start (io);
  return true;
}

/* An io without a range: is it a flush? */
static enum blkmq_status
check_empty (const struct blkmq_limits *limits, const struct blkmq_io *io)
{
  if (io->bytes != 0 || io->offset_bytes != 0)
    return BLKMQ_STS_INVAL;
  if (io->op == BLKMQ_OP_FLUSH)
    return limits->volatile_cache ? IO_NEEDS_FLUSH : BLKMQ_STS_OK;
  /* The kernel's form of it. */
  return io->op == BLKMQ_OP_WRITE && (io->flags & BLKMQ_IO_PREFLUSH)
             ? IO_NEEDS_FLUSH
             : BLKMQ_STS_INVAL;
}

/* An io with PREFLUSH or FUA: does the driver need help with it? */
static enum blkmq_status
check_sequence (const struct blkmq_limits *limits, const struct blkmq_io *io)
{
  if ((io->flags & BLKMQ_IO_PREFLUSH) && io->op != BLKMQ_OP_WRITE)
    return BLKMQ_STS_INVAL;
  if (!limits->volatile_cache || io->op == BLKMQ_OP_READ)
    return BLKMQ_STS_OK;
  return (io->flags & BLKMQ_IO_PREFLUSH) || !limits->fua ? IO_NEEDS_FLUSH
                                                         : BLKMQ_STS_OK;
}

enum blkmq_status
io_prepare (struct blkmq_disk *disk, struct blkmq_io *io)
{
  const struct blkmq_limits *limits = &disk->limits;
  enum blkmq_status status;

  io->priv.link = NULL;
  cursor_to_start (io);
  if (__builtin_expect (io_is_aborted (io), 0))
    return BLKMQ_STS_ABORTED;
  if ((unsigned)io->op >= BLKMQ_NR_OPS || io->prio >= BLKMQ_NR_PRIOS)
    return BLKMQ_STS_INVAL;
  if ((io->flags & BLKMQ_IO_RESERVED) && disk->driver->nr_reserved_tags == 0)
    return BLKMQ_STS_INVAL;
  if (io->op == BLKMQ_OP_FLUSH || io->bytes == 0)
    return check_empty (limits, io);
  status = check_range (limits, io);
  if (status != BLKMQ_STS_OK)
    return status;
  if (limits->read_only && io->op != BLKMQ_OP_READ)
    return BLKMQ_STS_READONLY;
  if (io_max_bytes (limits, io->op) == 0)
    return BLKMQ_STS_NOTSUPP;
  if (has_data (io->op) && !segments_match (io))
    return BLKMQ_STS_INVAL;

  if (!fits_one_request (limits, io)) {
    if (!can_split (limits, io))
      return BLKMQ_STS_INVAL;
    __atomic_or_fetch (&io->priv.state, IO_SPLIT, __ATOMIC_RELAXED);
    io->priv.nr_unanswered = 1;
    io->priv.nr_not_given_back = 1;
    io->priv.first_error = BLKMQ_STS_OK;
  }
  if (__builtin_expect (io->flags & (BLKMQ_IO_PREFLUSH | BLKMQ_IO_FUA), 0))
    return check_sequence (limits, io);
  return BLKMQ_STS_OK;
}

bool
io_has_more (const struct blkmq_io *io)
{
  return io_is_split (io)
         && io->priv.next_offset_bytes < io->offset_bytes + io->bytes;
}

void
io_take_part (struct blkmq_hctx *h, struct blkmq_io *io, struct request *r)
{
  struct blkmq_request *rq = &r->rq;

  __atomic_store_n (&rq->hctx, h, __ATOMIC_RELAXED);
  rq->driver_data = h->driver_data;

  rq->op = io->op;
  rq->flags = io->flags
              & atomic_load_explicit (&h->driver_flags, memory_order_relaxed);
  rq->offset_bytes = io->priv.next_offset_bytes;
  rq->segment = io->priv.next_segment;
  rq->skip_bytes = io->priv.next_skip_bytes;
  rq->bytes = io->bytes;
  if (io_is_split (io)) {
    rq->bytes = part_bytes (&h->disk->limits, io);
    assert (rq->bytes > 0);
    move_cursor (io, rq->bytes);
    __atomic_add_fetch (&io->priv.nr_unanswered, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch (&io->priv.nr_not_given_back, 1, __ATOMIC_RELAXED);
  }
  r->io = io;
  r->submitter = io->priv.submitter;
  r->early = io->give_back != NULL;
  r->accepted = false;
  atomic_store_explicit (
      &r->ends_inline,
      atomic_load_explicit (&h->ends_inline, memory_order_relaxed),
      memory_order_relaxed);
  r->nr_merged = 0;
  r->driver_tag = NO_TAG;
  r->merge_closed = false;
  atomic_store_explicit (&r->cause, BLKMQ_CAUSE_COMPLETE, memory_order_relaxed);
  iostat_start (r);
}

/* The only places where the caller's code runs. */
static void
call_end_io (struct blkmq_io *io, enum blkmq_status status)
{
  struct thread_slot *slot = thread_self ();

  yield_point ("end io");
  slot->in_callback++;
  io->end_io (io, status);
  slot->in_callback--;
}

static void
call_give_back (struct blkmq_io *io)
{
  struct thread_slot *slot = thread_self ();

  slot->in_callback++;
  io->give_back (io);
  slot->in_callback--;
}

void
io_end_sequence (struct blkmq_io *io, enum blkmq_status status)
{
  bool early = io->give_back != NULL;

  call_end_io (io, status);
  /* Each side leaves its bit, and the second one gives back. */
  if (early
      && (__atomic_fetch_or (&io->priv.state, IO_SEQ_ENDED, __ATOMIC_ACQ_REL)
          & IO_DATA_BACK))
    call_give_back (io);
}

static bool
has_postflush (const struct blkmq_io *io)
{
  return __atomic_load_n (&io->priv.state, __ATOMIC_RELAXED) & IO_POSTFLUSH;
}

/* The data of the whole io was answered. */
static void
answer (struct blkmq_io *io, enum blkmq_status status)
{
  if (has_postflush (io))
    flush_data_answered (io, status);
  else
    call_end_io (io, status);
}

/* The data of the whole io is back. */
static void
give_back (struct blkmq_io *io)
{
  if (has_postflush (io)
      && !(__atomic_fetch_or (&io->priv.state, IO_DATA_BACK, __ATOMIC_ACQ_REL)
           & IO_SEQ_ENDED))
    return;
  call_give_back (io);
}

/* The last one out answers, with the first error of any part. */
static void
answer_one (struct blkmq_io *io)
{
  if (__atomic_sub_fetch (&io->priv.nr_unanswered, 1, __ATOMIC_ACQ_REL) == 0)
    answer (io, (enum blkmq_status)__atomic_load_n (&io->priv.first_error,
                                                    __ATOMIC_RELAXED));
}

static void
note_error (struct blkmq_io *io, enum blkmq_status status)
{
  uint32_t none = BLKMQ_STS_OK;

  if (status != BLKMQ_STS_OK)
    __atomic_compare_exchange_n (&io->priv.first_error, &none, status, false,
                                 __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void
io_mark_aborted (struct blkmq_io *io)
{
  __atomic_or_fetch (&io->priv.state, IO_ABORTED, __ATOMIC_SEQ_CST);
}

bool
io_is_aborted (const struct blkmq_io *io)
{
  return (__atomic_load_n (&io->priv.state, __ATOMIC_RELAXED) & IO_ABORTED)
         || io->priv.abort_epoch
                != atomic_load_explicit (&io->priv.submitter->abort_epoch,
                                         memory_order_relaxed);
}

void
io_parts_end (struct blkmq_io *io, enum blkmq_status status)
{
  bool early = io->give_back != NULL;

  note_error (io, status);
  answer_one (io);
  /* Without a give_back the answer was the last that we see of the io. */
  if (early)
    io_give_back_part (io);
}

void
io_answer_part (struct blkmq_io *io, enum blkmq_status status)
{
  uint32_t state = __atomic_load_n (&io->priv.state, __ATOMIC_RELAXED);

  if (__builtin_expect (!(state & (IO_SPLIT | IO_POSTFLUSH)), 1)) {
    call_end_io (io, status);
    return;
  }
  if (!(state & IO_SPLIT)) {
    flush_data_answered (io, status);
    return;
  }
  note_error (io, status);
  answer_one (io);
}

void
io_give_back_part (struct blkmq_io *io)
{
  if (!io_is_split (io)
      || __atomic_sub_fetch (&io->priv.nr_not_given_back, 1, __ATOMIC_ACQ_REL)
             == 0)
    give_back (io);
}

void
io_has_tags (struct blkmq_io *io)
{
  struct completion *tag_wait = io->priv.tag_wait;

  if (tag_wait == NULL)
    return;
  io->priv.tag_wait = NULL;
  completion_signal (tag_wait);
}

void
io_reject (struct blkmq_hctx *h, struct blkmq_io *io, enum blkmq_status status)
{
  bool early = io->give_back != NULL;

  if (status != BLKMQ_STS_OK)
    count (&h->rejected[status]);
  io_has_tags (io);
  if (io_is_split (io)) {
    io_parts_end (io, status);
    return;
  }
  call_end_io (io, status);
  if (early)
    call_give_back (io);
}
