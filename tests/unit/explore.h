/* SPDX-License-Identifier: BSD-3-Clause
 *
 * explore.h: runs two or three threads of a test one at a time, and changes
 * between them at the engine's yield points (engine/yield.h) as a seed says.
 * The same seed is the same interleaving, step by step; another one is another.
 *
 * The threads are real, since the engine knows its threads; but at any time
 * all but one wait here.  Needs an engine with BLKMQ_DEBUG, and the linker's
 * --wrap (explore_ldflags): locks are yield points, too.
 */

#ifndef BLKMQ_TESTS_EXPLORE_H
#define BLKMQ_TESTS_EXPLORE_H

#include "harness.h"

#define EXPLORE_MAX_ACTORS 5
#define EXPLORE_MAX_STEPS 2000

struct actor {
  const char *name;
  void (*fn) (void *opaque);
};

struct exploration {
  unsigned nr_steps;
  struct step {
    unsigned char actor;
    const char *where;
  } steps[EXPLORE_MAX_STEPS]; /* the first */
};

/* Run ACTORS to their ends.  WHAT is what has happened, in order. */
void explore (const struct actor *actors, unsigned nr_actors, void *opaque,
              struct rng *rng, struct exploration *what);

/* In an actor: let others run here, perhaps. */
void explore_yield (const char *where);

/* In an actor: let others run until it is so. */
#define explore_await(condition)                                               \
  do {                                                                         \
    while (!(condition))                                                       \
      explore_stuck (#condition);                                              \
  } while (0)
void explore_stuck (const char *where);

/* "complete:cas abort:load ..." */
void explore_print (const struct exploration *what, const struct actor *actors,
                    FILE *file);

#endif /* BLKMQ_TESTS_EXPLORE_H */
