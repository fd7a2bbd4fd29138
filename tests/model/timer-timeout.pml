/* SPDX-License-Identifier: BSD-3-Clause
 *
 * timer-timeout.pml: irqmode=timer: driver, heap, timeout scan.
 *
 * Covers the scan that finds a request in the heap, or on its way into it,
 * where the engine itself is the holder.
 */
#define IRQMODE IRQ_TIMER
#define NR_SCANS 1
#define DRIVER
#define ACTORS run driver (); run heap (); run timeouts ()
#include "engine.pml"
