/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ring-driver.h: see ring-driver.c.
 */

#ifndef BLKMQ_BENCH_RING_DRIVER_H
#define BLKMQ_BENCH_RING_DRIVER_H

#include "blkmq-driver.h"

extern const struct blkmq_driver ring_driver;
extern const struct blkmq_driver ring_complete_driver;

#endif /* BLKMQ_BENCH_RING_DRIVER_H */
