/* SPDX-License-Identifier: BSD-3-Clause
 *
 * front/stats.h: what a disk has done, in words.
 */

#ifndef BLKMQ_FRONT_STATS_H
#define BLKMQ_FRONT_STATS_H

#include <stdbool.h>

#include "front/exports.h"

/* PRINT gets lines without a newline: with iostats=1 one for each hardware
 * queue and operation that was used, and if COUNTERS one for each hardware
 * queue.  When nothing is in flight any more. */
void export_print_stats (const struct export *export, bool counters,
                         void (*print) (const char *line));

#endif /* BLKMQ_FRONT_STATS_H */
