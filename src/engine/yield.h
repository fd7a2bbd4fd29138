/* SPDX-License-Identifier: BSD-3-Clause
 *
 * yield.h: the places at which another thread may come between two steps of
 * the engine.  In a debug build a test can put a scheduler there, which lets
 * one thread run at a time and so replays an interleaving from a seed.
 * Elsewhere there is nothing.
 *
 * One that is under a lock needs a hook that sees locks, too (the tests'
 * explore.c): the thread that runs next may want it, and wait.
 */

#ifndef BLKMQ_ENGINE_YIELD_H
#define BLKMQ_ENGINE_YIELD_H

#include <stdbool.h>

#ifdef BLKMQ_DEBUG

/* WHERE is the point's name, and does not change from build to build.
 * IS_STUCK: the thread cannot go on until another has done something.  True
 * if the hook has let others run in the place of a sleep. */
typedef bool (*yield_hook_fn) (const char *where, bool is_stuck);

/* NULL takes it away.  While no other thread is in the engine. */
void yield_set_hook (yield_hook_fn fn);

void yield_point (const char *where);

/* In place of a sleep that waits for other threads: true if it is to be left
 * out, because they have been run here. */
bool yield_instead_of_sleep (const char *where);

#else

static inline void
yield_point (const char *where)
{
}

static inline bool
yield_instead_of_sleep (const char *where)
{
  return false;
}

#endif

#endif /* BLKMQ_ENGINE_YIELD_H */
