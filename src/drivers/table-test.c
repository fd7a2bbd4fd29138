/* SPDX-License-Identifier: BSD-3-Clause
 *
 * table-test.c: drivers that are built and tested like all others, but not
 * offered to users.  Linked to tests only.
 */

#include "drivers.h"

const struct blkmq_driver *const blkmq_test_drivers[] = {
  &skeleton_driver,
  NULL,
};
