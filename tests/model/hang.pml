/* SPDX-License-Identifier: BSD-3-Clause
 *
 * hang.pml: the driver never gives back, and the queue never moves; timeout
 * scan and two aborts.
 *
 * The driver lets go when it is asked (DONE), or asks for more time.  Then
 * every io is answered and every tag comes back, whoever had the answer first.
 */
#ifndef NR_UNUSUAL
#define NR_UNUSUAL 1
#endif
#define NR_SCANS 0
#define NR_ABORTS 2
#define ACTORS run timeouts (); run aborter ()
#include "engine.pml"
