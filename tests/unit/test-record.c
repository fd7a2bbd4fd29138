/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-record.c: what a debug build does more: the flight record, and the end
 * of a driver that gives a request back twice.  And what every build does: the
 * report of such a driver, and the dump without history.
 */

#include <config.h>
int
main (void)
{
  return 77;
}
