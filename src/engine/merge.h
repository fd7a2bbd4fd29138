/* SPDX-License-Identifier: BSD-3-Clause
 *
 * merge.h: several ios in one request.
 *
 * A request has one io as a rule.  Where its pool gives it a struct
 * request_merge, ios that continue or precede it may join: those of the same
 * submitter, operation, flags and class of priority, which agree in whether
 * they have a give_back, are not split, and together stay within the limits of
 * one request.  Each is answered and given back on its own, with the request's
 * status.
 *
 * Who may change what stands here: its only owner before the request starts;
 * then, while the request is linked in a scheduler, whoever holds the hctx's
 * lock.  From the moment it is unlinked nothing joins it.  Claims of its end
 * are not bound to that lock.  For that reason the end of a QUEUED request is
 * not told before the queue has let go of it (request.c: deliver): the ios
 * are only ever walked when none can be joining.
 *
 * The ios stand in an array and not in a chain, because an abort looks for its
 * io in requests that others may be ending meanwhile: it compares pointers, and
 * never touches an io, which may be gone.
 *
 * Abort of one io: it is marked, and nothing joins its request any more.  When
 * all ios of the request are marked its end is claimed.  Until then they are in
 * the same boat, and each gets whatever status the request has.
 */

#ifndef BLKMQ_ENGINE_MERGE_H
#define BLKMQ_ENGINE_MERGE_H

#include <stdbool.h>

#include "engine/disk.h"
#include "engine/request.h"

/* Ios, and segments, of one request: the kernel's default of segments. */
#define MERGE_MAX 128

/* Means something only while the request has more than one io. */
struct request_merge {
  unsigned nr_segments;
  uint64_t aborted[MERGE_MAX / 64]; /* bits, by place in ios */
  struct blkmq_io *ios[MERGE_MAX];  /* in order of offset */
  struct iovec segments[MERGE_MAX]; /* what the driver is given */
};

/* For NR requests, to be freed as one; NULL with ENOMEM.  Untouched memory that
 * is never used costs nothing. */
struct request_merge *merge_alloc (unsigned nr);

/* May IO, which passed io_prepare, be merged with anything? */
bool merge_is_possible (const struct blkmq_io *io);

/* May IO join R, and at which end?  The caller may change R (see above). */
enum merge_kind merge_kind_of (const struct blkmq_limits *limits,
                               const struct request *r,
                               const struct blkmq_io *io);

/* Do it.  From here IO lives with R, and may be gone as soon as others can
 * end R. */
void merge_io (struct request *r, struct blkmq_io *io, enum merge_kind kind);

/* R was filled in and not started.  Let the ios of a batch, which begins with
 * NEXT, join it while they fit.  The first that does not, or NULL. */
struct blkmq_io *merge_following (struct blkmq_disk *disk, struct request *r,
                                  struct blkmq_io *next);

/* IO, which is only compared, is being aborted, and the caller has a reference
 * to R.  True: IO is in R, and no io of it is left that is not aborted: its end
 * is to be claimed.  Takes the hctx's lock. */
bool merge_abort_io (struct request *r, const struct blkmq_io *io);

/* Answer, give back each.  R has merged ios. */
void merge_answer (struct request *r, enum blkmq_status status);
void merge_give_back (struct request *r);

#endif /* BLKMQ_ENGINE_MERGE_H */
