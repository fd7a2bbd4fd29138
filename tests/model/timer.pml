/* SPDX-License-Identifier: BSD-3-Clause
 *
 * timer.pml: irqmode=timer: driver, heap, abort.
 *
 * Covers arming against an early end, firing against release and against the
 * tag's next life, and completions that come twice.
 */
#ifndef NR_UNUSUAL
#define NR_UNUSUAL 1
#endif
#define IRQMODE IRQ_TIMER
#define NR_ABORTS 1
#define DRIVER
#define ACTORS run driver (); run heap (); run aborter ()
#include "engine.pml"
