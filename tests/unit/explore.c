/* SPDX-License-Identifier: BSD-3-Clause
 *
 * explore.c: see explore.h.  The baton (turn) says who runs; whoever has it is
 * the only one to touch anything here, and passes it on at a yield point.
 *
 * Locks are yield points as well: the program is linked so that the engine's
 * (and the test's) locking comes here.  An actor that finds a lock taken lets
 * others run, so an actor may stand at a yield point with a lock held.
 */

#include <config.h>

#include "engine/yield.h"
#include "explore.h"

/* All wait for each other, be it in small circles: no run takes so many steps
 * that gets anywhere. */
#define STEP_LIMIT 400000

#define NOBODY EXPLORE_MAX_ACTORS
#define EVERYBODY (EXPLORE_MAX_ACTORS + 1) /* has finished, and may go */

int __real_pthread_mutex_lock (pthread_mutex_t *lock);
int __wrap_pthread_mutex_lock (pthread_mutex_t *lock);
int __real_pthread_mutex_unlock (pthread_mutex_t *lock);
int __wrap_pthread_mutex_unlock (pthread_mutex_t *lock);

static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed[EXPLORE_MAX_ACTORS];
  unsigned turn; /* lock to change hands */

  /* Whoever's turn it is. */
  const struct actor *actors;
  void *opaque;
  unsigned nr_actors;
  bool finished[EXPLORE_MAX_ACTORS];
  struct rng *rng;
  unsigned percent; /* how readily it changes */
  unsigned nr_steps;
  struct exploration *what;
} scene = { .lock = PTHREAD_MUTEX_INITIALIZER };

static __thread unsigned self = NOBODY;

static void
pass_baton (unsigned to)
{
  __real_pthread_mutex_lock (&scene.lock);
  scene.turn = to;
  for (unsigned i = 0; i < scene.nr_actors; i++) {
    if (i == to || to == EVERYBODY)
      pthread_cond_signal (&scene.changed[i]);
  }
  __real_pthread_mutex_unlock (&scene.lock);
}

static void
await_turn (unsigned me, unsigned turn)
{
  __real_pthread_mutex_lock (&scene.lock);
  while (scene.turn != turn)
    pthread_cond_wait (&scene.changed[me], &scene.lock);
  __real_pthread_mutex_unlock (&scene.lock);
}

/* One of those that are not finished, but for SELF; NOBODY if there is none. */
static unsigned
draw_other (void)
{
  unsigned others[EXPLORE_MAX_ACTORS], nr = 0;

  for (unsigned i = 0; i < scene.nr_actors; i++) {
    if (i != self && !scene.finished[i])
      others[nr++] = i;
  }
  return nr > 0 ? others[rng_below (scene.rng, nr)] : NOBODY;
}

static bool
yield (const char *where, bool is_stuck)
{
  struct exploration *what = scene.what;
  unsigned next = NOBODY, me = self;

  if (me == NOBODY)
    return false;
  if (what->nr_steps < EXPLORE_MAX_STEPS)
    what->steps[what->nr_steps++] = (struct step){ (unsigned char)me, where };
  require (++scene.nr_steps < STEP_LIMIT);
  if (is_stuck || rng_percent (scene.rng, scene.percent))
    next = draw_other ();
  if (next != NOBODY) {
    pass_baton (next);
    await_turn (me, me);
  }
  return true;
}

void
explore_yield (const char *where)
{
  yield (where, false);
}

void
explore_stuck (const char *where)
{
  require (self != NOBODY);
  yield (where, true);
}

/* ---- locks ---- */

int
__wrap_pthread_mutex_lock (pthread_mutex_t *lock)
{
  if (self == NOBODY)
    return __real_pthread_mutex_lock (lock);
  yield ("lock", false);
  while (pthread_mutex_trylock (lock) != 0)
    yield ("wait for lock", true);
  return 0;
}

int
__wrap_pthread_mutex_unlock (pthread_mutex_t *lock)
{
  int r = __real_pthread_mutex_unlock (lock);

  yield ("unlock", false);
  return r;
}

/* ---- the scene ---- */

static void *
act (void *opaque)
{
  const struct actor *actor = opaque;
  unsigned me = (unsigned)(actor - scene.actors), next;

  self = me;
  await_turn (me, me);
  actor->fn (scene.opaque);
  scene.finished[me] = true;
  next = draw_other ();
  self = NOBODY;
  /* What a thread does at its end (its slot is unregistered) is not a step, and
   * is nothing to run into for those who still go on. */
  pass_baton (next != NOBODY ? next : EVERYBODY);
  await_turn (me, EVERYBODY);
  return NULL;
}

void
explore (const struct actor *actors, unsigned nr_actors, void *opaque,
         struct rng *rng, struct exploration *what)
{
  static const unsigned percents[] = { 3, 10, 25, 50, 80 };
  pthread_t threads[EXPLORE_MAX_ACTORS];

  require (nr_actors <= EXPLORE_MAX_ACTORS);
  what->nr_steps = 0;
  scene.actors = actors;
  scene.nr_actors = nr_actors;
  scene.opaque = opaque;
  scene.rng = rng;
  scene.what = what;
  scene.nr_steps = 0;
  /* Some bugs need many changes, others a long stretch between two. */
  scene.percent = percents[rng_below (rng, NR (percents))];
  scene.turn = NOBODY;
  for (unsigned i = 0; i < nr_actors; i++) {
    pthread_cond_init (&scene.changed[i], NULL);
    scene.finished[i] = false;
  }
  yield_set_hook (yield);
  for (unsigned i = 0; i < nr_actors; i++)
    threads[i] = thread_start (act, (void *)(uintptr_t)&actors[i]);
  pass_baton ((unsigned)rng_below (rng, nr_actors));
  for (unsigned i = 0; i < nr_actors; i++)
    thread_join (threads[i]);
  yield_set_hook (NULL);
  for (unsigned i = 0; i < nr_actors; i++)
    pthread_cond_destroy (&scene.changed[i]);
}

void
explore_print (const struct exploration *what, const struct actor *actors,
               FILE *file)
{
  for (unsigned i = 0; i < what->nr_steps; i++)
    fprintf (file, "%s%s:%s", i % 6 == 0 ? "\n    " : " ",
             actors[what->steps[i].actor].name, what->steps[i].where);
  fputc ('\n', file);
}
