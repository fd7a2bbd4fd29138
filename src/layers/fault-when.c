/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fault-when.c: which calls fire.  Any thread, several at once: all that
 * changes is two counters.
 *
 * The order is that of the kernel's should_fail_ex (lib/fault-inject.c): first
 * those that pass, then each so manieth, then chance, then the limit.
 */

#include <config.h>

#include "fault.h"

/* splitmix64: its output function, and the step between states. */
#define GAMMA UINT64_C (0x9e3779b97f4a7c15)

static uint64_t
mix (uint64_t x)
{
  x = (x ^ (x >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C (0x94d049bb133111eb);
  return x ^ (x >> 31);
}

void
fault_when_init (struct fault_when *when, const struct fault_terms *terms,
                 uint64_t seed, uint64_t id)
{
  when->terms = *terms;
  when->stream = mix (seed + GAMMA) ^ mix (~id);
  atomic_init (&when->nr_seen, 0);
  atomic_init (&when->nr_hits, 0);
}

static bool
draw (const struct fault_when *when, uint64_t n)
{
  uint64_t random = mix (when->stream + (n + 1) * GAMMA);

  return (random >> 32) * FAULT_ALWAYS >> 32 < when->terms.probability;
}

/* No more hits than there may be, whoever else has one. */
static bool
count_hit (struct fault_when *when, uint64_t *hit)
{
  uint64_t nr = atomic_load_explicit (&when->nr_hits, memory_order_relaxed);

  do {
    if (nr >= when->terms.times)
      return false;
  } while (!atomic_compare_exchange_weak_explicit (
      &when->nr_hits, &nr, nr + 1, memory_order_relaxed, memory_order_relaxed));
  *hit = nr + 1;
  return true;
}

bool
fault_when_fires (struct fault_when *when, uint64_t *hit)
{
  const struct fault_terms *terms = &when->terms;
  uint64_t n;

  if (!fault_terms_are_on (terms))
    return false;
  n = atomic_fetch_add_explicit (&when->nr_seen, 1, memory_order_relaxed);
  if (n < terms->after || (n - terms->after + 1) % terms->every != 0)
    return false;
  return draw (when, n) && count_hit (when, hit);
}
