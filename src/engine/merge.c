/* SPDX-License-Identifier: BSD-3-Clause
 *
 * merge.c: may an io join a request, and what happens when it does.  Who may
 * enter when: merge.h.
 */

#include <config.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/hctx.h"
#include "engine/io.h"
#include "engine/merge.h"
#include "engine/yield.h"

static_assert (MERGE_MAX <= UINT8_MAX + 1, "request.nr_merged counts them");

struct request_merge *
merge_alloc (unsigned nr)
{
  return calloc (nr, sizeof (struct request_merge));
}

/* Empty ones do not count, here as in splitting. */
static unsigned
nr_segments (const struct blkmq_io *io)
{
  unsigned nr = 0;

  if (io->op != BLKMQ_OP_READ && io->op != BLKMQ_OP_WRITE)
    return 0;
  for (unsigned i = 0; i < io->nr_segments; i++)
    nr += io->segments[i].iov_len > 0;
  return nr;
}

/* The kernel merges neither write zeroes nor what must be durable; and who has
 * a tag kept for him does not wait for others. */
bool
merge_is_possible (const struct blkmq_io *io)
{
  switch (io->op) {
  case BLKMQ_OP_READ:
  case BLKMQ_OP_WRITE:
  case BLKMQ_OP_DISCARD:
    return !(io->flags & (BLKMQ_IO_FUA | BLKMQ_IO_RESERVED))
           && !io_is_split (io);
  default:
    return false;
  }
}

/* Where IO would stand: cheap, and asked first. */
static enum merge_kind
place (const struct request *r, const struct blkmq_io *io)
{
  if (r->rq.op != io->op)
    return MERGE_NONE;
  if (r->rq.offset_bytes + r->rq.bytes == io->offset_bytes)
    return MERGE_BACK;
  if (io->offset_bytes + io->bytes == r->rq.offset_bytes)
    return MERGE_FRONT;
  return MERGE_NONE;
}

static unsigned
nr_request_segments (const struct request *r)
{
  return r->nr_merged > 0 ? r->merge->nr_segments : nr_segments (r->io);
}

/* The first, or the last, of NR segments that is not empty. */
static const struct iovec *
edge_of (const struct iovec *segments, unsigned nr, bool last)
{
  const struct iovec *edge = last ? &segments[nr - 1] : segments;

  while (edge->iov_len == 0)
    edge += last ? -1 : 1;
  return edge;
}

/* Would a segment begin, or end, within R where none may?  As the kernel's
 * req_gap_back_merge and req_gap_front_merge. */
static bool
makes_gap (const struct blkmq_limits *limits, const struct request *r,
           const struct blkmq_io *io, enum merge_kind kind)
{
  const struct iovec *segments = r->io->segments, *first, *second;
  unsigned nr = r->io->nr_segments;
  bool is_back = kind == MERGE_BACK;

  if (__builtin_expect (limits->virt_boundary_mask == 0, 1)
      || io->op == BLKMQ_OP_DISCARD)
    return false;
  if (r->nr_merged > 0) {
    segments = r->merge->segments;
    nr = r->merge->nr_segments;
  }
  first = is_back ? edge_of (segments, nr, true)
                  : edge_of (io->segments, io->nr_segments, true);
  second = is_back ? edge_of (io->segments, io->nr_segments, false)
                   : edge_of (segments, nr, false);
  return io_is_gap (limits, (const char *)first->iov_base + first->iov_len,
                    second->iov_base);
}

enum merge_kind
merge_kind_of (const struct blkmq_limits *limits, const struct request *r,
               const struct blkmq_io *io)
{
  enum merge_kind kind = place (r, io);
  unsigned most
      = limits->max_segments < MERGE_MAX ? limits->max_segments : MERGE_MAX;

  if (kind == MERGE_NONE || r->merge == NULL || r->merge_closed
      || r->nr_merged == MERGE_MAX - 1)
    return MERGE_NONE;
  if (r->submitter != io->priv.submitter || r->early != (io->give_back != NULL)
      || ((r->rq.flags ^ io->flags) & IO_REQUEST_FLAGS) != 0
      || sched_class_of (r->io) != sched_class_of (io))
    return MERGE_NONE;
  if (!merge_is_possible (r->io) || !merge_is_possible (io))
    return MERGE_NONE;
  if (r->rq.bytes + io->bytes > io_max_bytes (limits, io->op)
      || nr_request_segments (r) + nr_segments (io) > most
      || makes_gap (limits, r, io, kind))
    return MERGE_NONE;
  /* Ended and not yet unlinked: a claim takes no lock. */
  if (atomic_load_explicit (&r->word, memory_order_relaxed) & WORD_ENDED)
    return MERGE_NONE;
  return kind;
}

static void
put_segments (struct request_merge *m, unsigned at, const struct blkmq_io *io)
{
  for (unsigned i = 0; i < io->nr_segments; i++) {
    if (io->segments[i].iov_len > 0)
      m->segments[at++] = io->segments[i];
  }
}

/* R gets its second io: from here on its own array holds what was the first's
 * alone. */
static void
begin (struct request *r)
{
  struct request_merge *m = r->merge;

  m->ios[0] = r->io;
  m->nr_segments = nr_segments (r->io);
  memset (m->aborted, 0, sizeof m->aborted);
  if (m->nr_segments > 0)
    put_segments (m, 0, r->io);
  r->rq.segment = m->segments;
  r->rq.skip_bytes = 0;
}

void
merge_io (struct request *r, struct blkmq_io *io, enum merge_kind kind)
{
  struct request_merge *m = r->merge;
  unsigned nr = nr_segments (io), nr_ios, at, segment_at;

  yield_point ("merge");
  if (r->nr_merged == 0)
    begin (r);
  nr_ios = 1u + r->nr_merged;
  at = nr_ios;
  segment_at = m->nr_segments;
  if (kind == MERGE_FRONT) {
    at = segment_at = 0;
    memmove (&m->ios[1], &m->ios[0], nr_ios * sizeof m->ios[0]);
    memmove (&m->segments[nr], &m->segments[0],
             m->nr_segments * sizeof m->segments[0]);
    r->rq.offset_bytes = io->offset_bytes;
  }
  m->ios[at] = io;
  if (nr > 0)
    put_segments (m, segment_at, io);
  m->nr_segments += nr;
  r->rq.bytes += io->bytes;
  r->nr_merged++;
  count (&r->rq.hctx->merges);
  io_has_tags (io);
}

struct blkmq_io *
merge_following (struct blkmq_disk *disk, struct request *r,
                 struct blkmq_io *next)
{
  enum merge_kind kind;
  struct blkmq_io *io;

  while (next != NULL && place (r, next) != MERGE_NONE) {
    io = next;
    /* What cannot be merged is prepared once more when its turn comes. */
    if (io_prepare (disk, io) != BLKMQ_STS_OK)
      break;
    kind = merge_kind_of (&disk->limits, r, io);
    if (kind == MERGE_NONE)
      break;
    next = io->priv.next;
    merge_io (r, io, kind);
  }
  return next;
}

/* ---- abort ---- */

static bool
mark_aborted (struct request *r, const struct blkmq_io *io)
{
  struct request_merge *m = r->merge;
  unsigned nr_ios = 1u + r->nr_merged, nr_aborted = 0;
  bool found = false;

  for (unsigned i = 0; i < nr_ios; i++) {
    uint64_t *word = &m->aborted[i / 64], bit = UINT64_C (1) << i % 64;

    if (m->ios[i] == io) {
      *word |= bit;
      found = true;
    }
    nr_aborted += (*word & bit) != 0;
  }
  r->merge_closed |= found;
  return found && nr_aborted == nr_ios;
}

bool
merge_abort_io (struct request *r, const struct blkmq_io *io)
{
  struct blkmq_hctx *h = r->rq.hctx;
  bool end;

  if (r->merge == NULL)
    return r->io == io;
  pthread_mutex_lock (&h->lock);
  if (r->nr_merged > 0)
    end = mark_aborted (r, io);
  else {
    end = r->io == io;
    r->merge_closed |= end;
  }
  pthread_mutex_unlock (&h->lock);
  return end;
}

/* ---- the answers ---- */

/* What is in the array may be gone from its callback on, but nobody looks
 * there for more than a pointer to compare. */
void
merge_answer (struct request *r, enum blkmq_status status)
{
  struct request_merge *m = r->merge;
  unsigned nr_ios = 1u + r->nr_merged;

  for (unsigned i = 0; i < nr_ios; i++)
    io_answer_part (m->ios[i], status);
}

void
merge_give_back (struct request *r)
{
  struct request_merge *m = r->merge;
  unsigned nr_ios = 1u + r->nr_merged;

  for (unsigned i = 0; i < nr_ios; i++)
    io_give_back_part (m->ios[i]);
}
