/* SPDX-License-Identifier: BSD-3-Clause
 *
 * flush.h: the flush machinery of a disk with a volatile cache: PREFLUSH, data,
 * POSTFLUSH, one after the other, and flushes shared.
 */

#ifndef BLKMQ_ENGINE_FLUSH_H
#define BLKMQ_ENGINE_FLUSH_H

#include "engine/disk.h"

/* Set up disk->flush, if the disk has a volatile cache.  0 or -ENOMEM. */
int flush_alloc (struct blkmq_disk *disk);
void flush_free (struct blkmq_disk *disk);

/* IO, for which io_prepare said IO_NEEDS_FLUSH.  True: it is the machinery's,
 * or has ended; false: its data comes first and is the caller's to dispatch. */
bool flush_begin (struct blkmq_hctx *h, struct blkmq_io *io);

/* The data of IO, which is IO_POSTFLUSH, was answered with STATUS. */
void flush_data_answered (struct blkmq_io *io, enum blkmq_status status);

/* Submitters were bound anew and some hctxs are not in use any more: so must
 * the flush be that is under way. */
void flush_rebind (struct blkmq_disk *disk);

/* End with ABORTED all ios that wait for a flush and that MATCH says yes to;
 * their number. */
unsigned flush_abort (struct blkmq_disk *disk,
                      bool (*match) (struct blkmq_io *io, void *opaque),
                      void *opaque);

#endif /* BLKMQ_ENGINE_FLUSH_H */
