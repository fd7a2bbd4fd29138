/* SPDX-License-Identifier: BSD-3-Clause
 *
 * inner.h: a disk within a disk, for a layer that makes ios of its own (the
 * cache).  Such a layer is the bottom of its disk's stack.  What stands below
 * it, the driver included, is the stack of another disk, the inner one, to
 * which the layer submits like any caller.  It belongs to the outer one, and
 * starts, turns, changes and loses power with it.
 */

#ifndef BLKMQ_ENGINE_INNER_H
#define BLKMQ_ENGINE_INNER_H

#include "blkmq-driver.h"

struct disk_options;

/* Only inside the layer's open: make the inner disk of the one that is being
 * allocated.  It has the same configuration, but no scheduler and no irqmode of
 * its own.  It goes when the layer has been closed. */
int inner_alloc (struct blkmq_disk **inner, struct blkmq_error *error);

/* Only inside the layer's stop: blkmq_disk_remove. */
void inner_remove (struct blkmq_disk *inner);

/* What RQ, which the layer holds by TOKEN, has below has timed out, and may not
 * come back soon: answer RQ, as if its timeout op had said HELD. */
void inner_time_out (struct blkmq_request *rq, blkmq_token token);

/* For disk-setup.c: layers of DISK are opened by this thread from now on; NULL:
 * no more.  What was said before. */
struct inner_opening {
  struct blkmq_disk *disk;
  struct blkmq_config *config;
  const struct disk_options *options;
};
const struct inner_opening *
inner_set_opening (const struct inner_opening *opening);

#endif /* BLKMQ_ENGINE_INNER_H */
