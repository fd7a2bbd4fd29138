/* SPDX-License-Identifier: BSD-3-Clause
 *
 * disks.h: what the fuzzed server serves.
 */

#ifndef BLKMQ_TESTS_FUZZ_DISKS_H
#define BLKMQ_TESTS_FUZZ_DISKS_H

#include "front/exports.h"

/* A plain disk, one that is read-only, one of large blocks that ends inside a
 * block, one that answers late, one that fails at times, one with few tags. */
#define NR_DISKS 6
extern const char *const disk_names[NR_DISKS];

/* Set up, not started. */
struct exports *disks_alloc (void);

#endif /* BLKMQ_TESTS_FUZZ_DISKS_H */
