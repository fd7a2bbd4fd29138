/* SPDX-License-Identifier: BSD-3-Clause
 *
 * drivers.h: the drivers that come with the library.
 */

#ifndef BLKMQ_DRIVERS_DRIVERS_H
#define BLKMQ_DRIVERS_DRIVERS_H

#include "blkmq-driver.h"

/* table.c: what driver= offers; NULL-terminated, the default first. */
extern const struct blkmq_driver *const blkmq_builtin_drivers[];

/* table-test.c, which is linked to tests only: drivers that nobody should
 * serve, for blkmq_driver_register.
 */
extern const struct blkmq_driver *const blkmq_test_drivers[];

extern const struct blkmq_driver memory_driver;
extern const struct blkmq_driver null_driver;
extern const struct blkmq_driver skeleton_driver;

#endif /* BLKMQ_DRIVERS_DRIVERS_H */
