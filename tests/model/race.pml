/* SPDX-License-Identifier: BSD-3-Clause
 *
 * race.pml: driver, timeout scan and abort all want to end the same request;
 * irqmode=none.
 *
 * The three that can claim, two at a time or all at once, with the answer
 * deferred by one and owed by any other.
 */
#define NR_SCANS 1
#define NR_ABORTS 1
#define DRIVER
#define ACTORS run driver (); run timeouts (); run aborter ()
#include "engine.pml"
