/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clock.c: the real clock and the fake one.  Any thread.
 */

#include <config.h>

#include <assert.h>
#include <time.h>

#include "engine/clock.h"

static uint64_t
read_clock_ns (clockid_t id)
{
  struct timespec ts;

  clock_gettime (id, &ts);
  return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

void
clock_init_real (struct clock *clock)
{
  struct timespec res;

  clock->fake = false;
  atomic_init (&clock->fake_ns, 0);
  clock_getres (CLOCK_MONOTONIC_COARSE, &res);
  clock->coarse_resolution_ns
      = (uint64_t)res.tv_sec * 1000000000 + (uint64_t)res.tv_nsec;
}

void
clock_init_fake (struct clock *clock, uint64_t now_ns)
{
  clock->fake = true;
  clock->coarse_resolution_ns = 0;
  atomic_init (&clock->fake_ns, now_ns);
}

void
clock_advance (struct clock *clock, uint64_t by_ns)
{
  assert (clock->fake);
  atomic_fetch_add (&clock->fake_ns, by_ns);
}

uint64_t
clock_now_ns (struct clock *clock)
{
  if (__builtin_expect (clock->fake, 0))
    return atomic_load (&clock->fake_ns);
  return read_clock_ns (CLOCK_MONOTONIC);
}

uint64_t
clock_coarse_ns (struct clock *clock)
{
  if (__builtin_expect (clock->fake, 0))
    return atomic_load (&clock->fake_ns);
  return read_clock_ns (CLOCK_MONOTONIC_COARSE);
}
