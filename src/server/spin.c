/* SPDX-License-Identifier: BSD-3-Clause
 *
 * spin.c: how a worker waits: asleep in its loop, or for a moment awake.
 *
 * The worker's thread.
 */

#include <config.h>

#include <time.h>

#include "server/internal.h"

/* A spin that was for nothing is not tried again for the next one, and then the
 * next three bursts of traffic. */
#define MAX_SPIN_BACKOFF 3u

/* Neither spin keeps anybody waiting for longer. */
#define MAX_UNSEEN_NS UINT64_C (250000)

static uint64_t
clock_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The connection whose socket may be asked directly, or NULL: it is the only
 * one, and nothing is to be done before its next request. */
static struct connection *
only_connection (const struct worker *worker)
{
  struct connection *connection = TAILQ_FIRST (&worker->connections);

  if (connection == NULL || TAILQ_NEXT (connection, link) != NULL
      || !connection_is_at_rest (connection))
    return NULL;
  return connection;
}

/* Traffic has come after a spin, or without one. */
static void
spin_again (struct worker *worker, bool has_spun, uint64_t now_ns)
{
  if (has_spun)
    worker->spin_backoff = 0; /* it was worth it */
  if (has_spun || worker->spin_skip == 0)
    worker->spin_until_ns = now_ns + worker->server->busy_poll_ns;
  else
    worker->spin_skip--;
}

static void
spin_no_more (struct worker *worker)
{
  worker->spin_until_ns = 0;
  if (worker->spin_backoff < MAX_SPIN_BACKOFF)
    worker->spin_backoff = 2 * worker->spin_backoff + 1;
  worker->spin_skip = worker->spin_backoff;
}

/* Whoever has something polled in flight does not sleep.  A lent loop polls as
 * well, but its hctx may be another one by now: queues change live. */
static void
poll_all (struct worker *worker)
{
  struct connection *connection;

  /* Round and round: others may end in here as well, and leave the list. */
  for (unsigned nr = worker->nr_polled; nr > 0; nr--) {
    connection = TAILQ_FIRST (&worker->polled);
    if (connection == NULL)
      return;
    TAILQ_REMOVE (&worker->polled, connection, polled_link);
    TAILQ_INSERT_TAIL (&worker->polled, connection, polled_link);
    blkmq_poll (connection->submitter);
  }
}

/* A client that waits for an answer before it asks again would have the thread
 * sleep and be woken for each request, which takes longer than all the rest.
 * So for a moment after traffic the thread does not sleep.  The loop turns and
 * serves all that is ready; or, which is faster, the one connection that there
 * is is asked directly, and the loop turns in between. */
void
spin_or_sleep (struct worker *worker, bool may_sleep)
{
  bool spins = worker->spin_until_ns > 0;
  struct connection *only;
  uint64_t now_ns;

  worker->had_traffic = false;
  if (!TAILQ_EMPTY (&worker->polled)) {
    ev_run (worker->loop, EVRUN_NOWAIT);
    poll_all (worker);
    return;
  }
  if (spins && worker->turned_ns + MAX_UNSEEN_NS > worker->spin_until_ns
      && (only = only_connection (worker)) != NULL) {
    do {
      connection_poll (only); /* may free it */
      now_ns = clock_ns ();
    } while (!worker->had_traffic && now_ns < worker->spin_until_ns
             && only_connection (worker) == only);
  } else {
    ev_run (worker->loop, spins || !may_sleep ? EVRUN_NOWAIT : EVRUN_ONCE);
    if (worker->server->busy_poll_ns == 0)
      return;
    now_ns = worker->turned_ns = clock_ns ();
  }
  if (worker->had_traffic)
    spin_again (worker, spins, now_ns);
  else if (spins && now_ns >= worker->spin_until_ns)
    spin_no_more (worker);
}
