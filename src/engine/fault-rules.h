/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fault-rules.h: rules of faults, of a disk as a whole.
 */

#ifndef BLKMQ_ENGINE_FAULT_RULES_H
#define BLKMQ_ENGINE_FAULT_RULES_H

#include "engine/disk.h"

/* The levels are open: those rules that are there have their ids. */
void fault_number_first (struct blkmq_disk *disk);

#endif /* BLKMQ_ENGINE_FAULT_RULES_H */
