/* SPDX-License-Identifier: BSD-3-Clause
 *
 * table.c: the list of built-in drivers.  A new driver is one more line.
 */

#include "drivers.h"

const struct blkmq_driver *const blkmq_builtin_drivers[] = {
  &memory_driver,
  &null_driver,
  NULL,
};
