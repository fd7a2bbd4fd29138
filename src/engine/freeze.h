/* SPDX-License-Identifier: BSD-3-Clause
 *
 * freeze.h: removal, as disk.c calls it, and what it shares with power.c.
 */

#ifndef BLKMQ_ENGINE_FREEZE_H
#define BLKMQ_ENGINE_FREEZE_H

#include <stdbool.h>

struct blkmq_disk;

/* From here no new request starts.  disk->control_lock. */
void freeze_set_removed_locked (struct blkmq_disk *disk);

/* Then: answer everything, stop the driver and the loops, wait until only
 * outside references are left.  Once, and with no lock held: callbacks run. */
void freeze_remove (struct blkmq_disk *disk);

/* From here on no new request starts either, until it is taken back.
 * disk->control_lock. */
void freeze_set_off_locked (struct blkmq_disk *disk, bool off);

/* Then: end all that waits, and claim all that has started.  With no lock held:
 * callbacks run.  Waits for those who are in queue_rq. */
void freeze_end_all (struct blkmq_disk *disk);

#endif /* BLKMQ_ENGINE_FREEZE_H */
