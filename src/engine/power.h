/* SPDX-License-Identifier: BSD-3-Clause
 *
 * power.h: power, for those who hold change_lock, or start a disk.
 */

#ifndef BLKMQ_ENGINE_POWER_H
#define BLKMQ_ENGINE_POWER_H

#include <stdbool.h>

struct blkmq_disk;
struct blkmq_error;

/* blkmq_disk_set_power.  disk->change_lock. */
int power_set_locked (struct blkmq_disk *disk, bool on,
                      struct blkmq_error *error);

/* As if the power had been cut; nothing was submitted yet. */
void power_start_off (struct blkmq_disk *disk);

#endif /* BLKMQ_ENGINE_POWER_H */
