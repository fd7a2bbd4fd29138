/* SPDX-License-Identifier: BSD-3-Clause
 *
 * timeout.pml: submitter, driver, timeout scan; irqmode=none.
 *
 * Covers DONE, RESET and HELD against a driver that completes or requeues at
 * the same time or later, against queue_rq that still runs, and against a tag
 * that goes into its next life while the scan looks at it.
 */
#ifndef NR_UNUSUAL
#define NR_UNUSUAL 1
#endif
#define NR_SCANS 1
#define SUBMITTER
#define DRIVER
#define ACTORS run submitter (); run driver (); run timeouts ()
#include "engine.pml"
