/* SPDX-License-Identifier: BSD-3-Clause
 *
 * freeze.h: removal, as disk.c calls it.
 */

#ifndef BLKMQ_ENGINE_FREEZE_H
#define BLKMQ_ENGINE_FREEZE_H

struct blkmq_disk;

/* From here no new request starts.  disk->control_lock. */
void freeze_set_removed_locked (struct blkmq_disk *disk);

/* Then: answer everything, stop the driver and the loops, wait until only
 * outside references are left.  Once, and with no lock held: callbacks run. */
void freeze_remove (struct blkmq_disk *disk);

#endif /* BLKMQ_ENGINE_FREEZE_H */
