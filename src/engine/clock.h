/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clock.h: where the engine gets its time from.  The real clock is
 * CLOCK_MONOTONIC; a fake one, for tests, stands still until it is moved.
 * Any thread.
 */

#ifndef BLKMQ_ENGINE_CLOCK_H
#define BLKMQ_ENGINE_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct clock {
  bool fake;
  uint64_t coarse_resolution_ns; /* how far coarse_ns may lag behind */
  _Atomic uint64_t fake_ns;
};

void clock_init_real (struct clock *clock);
void clock_init_fake (struct clock *clock, uint64_t now_ns);
void clock_advance (struct clock *clock, uint64_t by_ns);

uint64_t clock_now_ns (struct clock *clock);

/* Lags by up to coarse_resolution_ns, at a fifth of the price. */
uint64_t clock_coarse_ns (struct clock *clock);

#endif /* BLKMQ_ENGINE_CLOCK_H */
