/* SPDX-License-Identifier: BSD-3-Clause
 *
 * softirq.pml: irqmode=softirq: driver (and hctx), and two that abort.
 *
 * Covers the list, which keeps a reference; two claims by the same cause; and
 * reference counts at their limit, which is 3 here.
 */
#define IRQMODE IRQ_SOFTIRQ
#define MAX_REFS 3
#define NR_ABORTS 1
#define DRIVER
#define ACTORS run driver (); run aborter (); run aborter ()
#include "engine.pml"
