/* SPDX-License-Identifier: BSD-3-Clause
 *
 * freeze.h: removal, as disk.c calls it.
 */

#ifndef BLKMQ_ENGINE_FREEZE_H
#define BLKMQ_ENGINE_FREEZE_H

struct blkmq_disk;

/* Answer everything, stop the driver and the loops, wait until only outside
 * references are left.  Once, and with no lock held: callbacks run. */
void freeze_remove (struct blkmq_disk *disk);

#endif /* BLKMQ_ENGINE_FREEZE_H */
