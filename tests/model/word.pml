/* SPDX-License-Identifier: BSD-3-Clause
 *
 * word.pml: one request's way: submitter, driver, abort; irqmode=none.
 *
 * Covers submission (direct dispatch, start before issue, waiting for a tag),
 * BUSY, requeue, completions that come late, twice or with an old token, and
 * an abort by handle at any point of all this.
 */
#ifndef NR_UNUSUAL
#define NR_UNUSUAL 2
#endif
#define NR_ABORTS 1
#define SUBMITTER
#define DRIVER
#define ACTORS run submitter (); run driver (); run aborter ()
#include "engine.pml"
