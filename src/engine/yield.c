/* SPDX-License-Identifier: BSD-3-Clause
 *
 * yield.c: see yield.h.  Any thread; empty but in a debug build.
 */

#include <config.h>

#include <stdatomic.h>
#include <stddef.h>

#include "engine/yield.h"

#ifdef BLKMQ_DEBUG

static _Atomic (yield_hook_fn) hook;

void
yield_set_hook (yield_hook_fn fn)
{
  atomic_store (&hook, fn);
}

static bool
yield (const char *where, bool is_stuck)
{
  yield_hook_fn fn = atomic_load_explicit (&hook, memory_order_acquire);

  return fn != NULL && fn (where, is_stuck);
}

void
yield_point (const char *where)
{
  yield (where, false);
}

bool
yield_instead_of_sleep (const char *where)
{
  return yield (where, true);
}

#endif
