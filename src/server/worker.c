/* SPDX-License-Identifier: BSD-3-Clause
 *
 * worker.c: one thread of the server: its loop, what comes from other threads,
 * and the clock against which limits in time are held.
 *
 * The worker's thread, but for what says otherwise.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "server/internal.h"
#include "server/log.h"

/* After this much has gone by: limits in time, memory that is not needed. */
#define TICK_S 1.0

/* A connection that the worker has not seen yet. */
struct newcomer {
  struct newcomer *next;
  int fd;
  char name[];
};

_Thread_local struct worker *worker_self;

/* ------------------------------------------------------------------------ */
/* Commands                                                                  */

struct command *
worker_command_alloc (struct worker *worker)
{
  struct command *command = worker->free_commands;

  if (__builtin_expect (command == NULL, 0)) {
    struct slab *slab = calloc (1, sizeof *slab);

    if (slab == NULL)
      return NULL;
    slab->next = worker->slabs;
    worker->slabs = slab;
    for (unsigned i = 0; i < COMMANDS_A_SLAB; i++)
      worker_command_free (worker, &slab->commands[i]);
    command = worker->free_commands;
  }
  worker->free_commands = command->next;
  return command;
}

void
worker_command_free (struct worker *worker, struct command *command)
{
  command->next = worker->free_commands;
  worker->free_commands = command;
}

/* ------------------------------------------------------------------------ */
/* From other threads                                                        */

void
worker_wake (struct worker *worker)
{
  ev_async_send (worker->loop, &worker->wake);
}

void
worker_send (struct command *command)
{
  struct worker *worker = command->connection->worker;
  struct command *last
      = atomic_load_explicit (&worker->mail, memory_order_relaxed);

  do
    command->next = last;
  /* Pairs with take_mail. */
  while (!atomic_compare_exchange_weak_explicit (&worker->mail, &last, command,
                                                 memory_order_release,
                                                 memory_order_relaxed));
  if (last == NULL)
    worker_wake (worker);
}

static void
take_mail (struct worker *worker)
{
  struct command *last
      = atomic_exchange_explicit (&worker->mail, NULL, memory_order_acquire);
  struct command *first = NULL, *next;

  for (; last != NULL; last = next) {
    next = last->next;
    last->next = first;
    first = last;
  }
  for (; first != NULL; first = next) {
    /* From the exchange on it may be sent again. */
    next = first->next;
    command_was_mailed (first, atomic_exchange (&first->mail, 0));
  }
}

/* Any thread. */
int
worker_add_connection (struct worker *worker, int fd, const char *name)
{
  size_t name_bytes = strlen (name) + 1;
  struct newcomer *newcomer = malloc (sizeof *newcomer + name_bytes);

  if (newcomer == NULL)
    return -ENOMEM;
  newcomer->fd = fd;
  memcpy (newcomer->name, name, name_bytes);
  atomic_fetch_add (&worker->nr_connections, 1);
  pthread_mutex_lock (&worker->lock);
  newcomer->next = worker->newcomers;
  worker->newcomers = newcomer;
  pthread_mutex_unlock (&worker->lock);
  worker_wake (worker);
  return 0;
}

static struct newcomer *
get_newcomers (struct worker *worker)
{
  struct newcomer *newcomers;

  pthread_mutex_lock (&worker->lock);
  newcomers = worker->newcomers;
  worker->newcomers = NULL;
  pthread_mutex_unlock (&worker->lock);
  return newcomers;
}

static void
is_gone (struct worker *worker)
{
  atomic_fetch_sub (&worker->nr_connections, 1);
  server_connection_is_gone (worker->server);
}

static void
take_newcomers (struct worker *worker)
{
  struct newcomer *newcomer, *next;

  for (newcomer = get_newcomers (worker); newcomer != NULL; newcomer = next) {
    next = newcomer->next;
    if (worker->is_draining) {
      close (newcomer->fd);
      is_gone (worker);
    } else if (connection_open (worker, newcomer->fd, newcomer->name) == NULL) {
      log_warning ("%s: refused: no memory for a connection", newcomer->name);
      is_gone (worker);
    }
    free (newcomer);
  }
}

static void
drain (struct worker *worker)
{
  struct connection *connection, *next;

  log_debug ("thread %u takes no requests any more", worker->index);
  worker->is_draining = true;
  for (connection = TAILQ_FIRST (&worker->connections); connection != NULL;
       connection = next) {
    next = TAILQ_NEXT (connection, link);
    connection_say_farewell (connection);
  }
}

static void
abort_all (struct worker *worker)
{
  struct connection *connection;

  for (connection = TAILQ_FIRST (&worker->connections); connection != NULL;
       connection = TAILQ_NEXT (connection, link))
    connection_abort (connection);
}

static void
cut_off_all (struct worker *worker)
{
  struct connection *connection, *next;

  for (connection = TAILQ_FIRST (&worker->connections); connection != NULL;
       connection = next) {
    next = TAILQ_NEXT (connection, link);
    if (connection->phase != PHASE_CLOSED)
      connection_close (connection, LOG_LEVEL_WARNING,
                        "cut off: the server ends");
  }
}

static void
on_wake (struct ev_loop *loop, ev_async *watcher, int events)
{
  struct worker *worker = watcher->data;

  take_newcomers (worker);
  if (atomic_load (&worker->must_drain) && !worker->is_draining)
    drain (worker);
  if (atomic_exchange (&worker->must_abort, false))
    abort_all (worker);
  if (atomic_exchange (&worker->must_cut_off, false))
    cut_off_all (worker);
  take_mail (worker);
  atomic_store (&worker->must_answer, false);
}

/* ------------------------------------------------------------------------ */
/* What is to be done                                                        */

void
worker_make_ready (struct connection *connection)
{
  if (!connection->is_ready) {
    connection->is_ready = true;
    TAILQ_INSERT_TAIL (&connection->worker->ready, connection, ready_link);
  }
}

static void
run_ready (struct worker *worker)
{
  struct connection *connection;

  while ((connection = TAILQ_FIRST (&worker->ready)) != NULL) {
    TAILQ_REMOVE (&worker->ready, connection, ready_link);
    connection->is_ready = false;
    connection_run (connection);
  }
}

/* Those that wait for buffers, in order, as long as buffers come back and the
 * first one has enough of them. */
static void
run_waiting (struct worker *worker)
{
  struct connection *connection;

  while ((connection = TAILQ_FIRST (&worker->waiting)) != NULL
         && worker->buffers.has_come_back) {
    TAILQ_REMOVE (&worker->waiting, connection, waiting_link);
    connection->is_waiting = false;
    worker->serves_waiting = true;
    worker->buffers.has_queue = false;
    connection_resume (connection);
    worker->serves_waiting = false;
    worker->buffers.has_queue = !TAILQ_EMPTY (&worker->waiting);
  }
}

void
worker_wait_for_buffers (struct connection *connection)
{
  struct worker *worker = connection->worker;
  struct buffer_pool *pool = &worker->buffers;

  if (connection->is_waiting)
    return;
  connection->is_waiting = true;
  if (worker->serves_waiting) {
    /* Who was served and has not had enough keeps his place. */
    TAILQ_INSERT_HEAD (&worker->waiting, connection, waiting_link);
    pool->has_come_back = false;
  } else if (TAILQ_EMPTY (&worker->waiting)) {
    TAILQ_INSERT_HEAD (&worker->waiting, connection, waiting_link);
    pool->has_come_back = false;
  } else if (connection->in != NULL
             && connection->in == pool->input_overdraft) {
    /* The others wait for this one, see buffer.h; and it has not asked as the
     * first yet. */
    TAILQ_INSERT_HEAD (&worker->waiting, connection, waiting_link);
    pool->has_come_back = true;
  } else
    TAILQ_INSERT_TAIL (&worker->waiting, connection, waiting_link);
  pool->has_queue = true;
}

/* ------------------------------------------------------------------------ */
/* Time                                                                      */

static double
tick_s (const struct server_limits *limits)
{
  unsigned timeouts_ms[]
      = { limits->handshake_timeout_ms, limits->idle_timeout_ms,
          limits->stall_timeout_ms };
  double s = TICK_S;

  for (unsigned i = 0; i < sizeof timeouts_ms / sizeof timeouts_ms[0]; i++)
    if (timeouts_ms[i] > 0 && timeouts_ms[i] / 4e3 < s)
      s = timeouts_ms[i] / 4e3;
  return s;
}

void
worker_want_tick (struct worker *worker)
{
  if (!ev_is_active (&worker->tick))
    ev_timer_again (worker->loop, &worker->tick);
}

static void
on_tick (struct ev_loop *loop, ev_timer *watcher, int events)
{
  struct worker *worker = watcher->data;
  struct connection *connection, *next;
  ev_tstamp now_s = ev_now (loop);
  bool is_needed = false;

  for (unsigned i = 0; i < exports_nr (worker->server->exports); i++)
    worker->shares[i].depth = blkmq_disk_queue_depth (
        exports_at (worker->server->exports, i)->disk);
  for (connection = TAILQ_FIRST (&worker->connections); connection != NULL;
       connection = next) {
    next = TAILQ_NEXT (connection, link);
    if (connection->phase == PHASE_CLOSED)
      continue;
    connection_trim (connection, now_s);
    is_needed |= connection_check_time (connection, now_s);
  }
  is_needed |= buffer_pool_trim (&worker->buffers);
  if (!is_needed)
    ev_timer_stop (loop, watcher);
}

/* ------------------------------------------------------------------------ */
/* The loop                                                                  */

/* Whoever is served may give others something to do, and those who are ready
 * are never slept on. */
void
worker_turn (struct worker *worker, bool may_sleep)
{
  spin_or_sleep (worker, may_sleep);
  do {
    run_ready (worker);
    run_waiting (worker);
  } while (!TAILQ_EMPTY (&worker->ready));
}

static void *
worker_main (void *opaque)
{
  struct worker *worker = opaque;

  worker_self = worker;
  /* Disks that complete on time want to be woken on time. */
  (void)prctl (PR_SET_TIMERSLACK, 1, 0, 0, 0);
  while (!atomic_load_explicit (&worker->must_stop, memory_order_acquire))
    worker_turn (worker, true);
  worker_self = NULL;
  return NULL;
}

/* ------------------------------------------------------------------------ */
/* Life                                                                      */

struct worker *
worker_alloc (struct server *server, unsigned index)
{
  struct worker *worker = calloc (1, sizeof *worker);
  unsigned nr_exports = exports_nr (server->exports);

  if (worker == NULL)
    return NULL;
  worker->server = server;
  worker->index = index;
  worker->loop = ev_loop_new (EVBACKEND_EPOLL | EVFLAG_NOENV);
  worker->shares = calloc (nr_exports, sizeof *worker->shares);
  if (worker->loop == NULL || worker->shares == NULL)
    goto free_worker;
  for (unsigned i = 0; i < nr_exports; i++)
    worker->shares[i].depth
        = blkmq_disk_queue_depth (exports_at (server->exports, i)->disk);
  TAILQ_INIT (&worker->connections);
  TAILQ_INIT (&worker->ready);
  TAILQ_INIT (&worker->waiting);
  TAILQ_INIT (&worker->polled);
  buffer_pool_init (&worker->buffers,
                    server->limits.max_buffer_bytes / server->nr_workers);
  pthread_mutex_init (&worker->lock, NULL);
  ev_async_init (&worker->wake, on_wake);
  worker->wake.data = worker;
  ev_async_start (worker->loop, &worker->wake);
  ev_timer_init (&worker->tick, on_tick, 0, tick_s (&server->limits));
  worker->tick.data = worker;
  return worker;

free_worker:
  if (worker->loop != NULL)
    ev_loop_destroy (worker->loop);
  free (worker->shares);
  free (worker);
  return NULL;
}

int
worker_start (struct worker *worker)
{
  char name[16];
  int r = pthread_create (&worker->thread, NULL, worker_main, worker);

  if (r != 0)
    return -r;
  snprintf (name, sizeof name, "blkmqd-%u", worker->index);
  (void)pthread_setname_np (worker->thread, name);
  return 0;
}

void
worker_stop (struct worker *worker)
{
  atomic_store_explicit (&worker->must_stop, true, memory_order_release);
  worker_wake (worker);
  pthread_join (worker->thread, NULL);
}

void
worker_free (struct worker *worker)
{
  struct connection *connection;
  struct newcomer *newcomer, *next_newcomer;
  struct slab *slab, *next_slab;

  /* In the place of its thread. */
  worker_self = worker;
  for (newcomer = get_newcomers (worker); newcomer != NULL;
       newcomer = next_newcomer) {
    next_newcomer = newcomer->next;
    close (newcomer->fd);
    is_gone (worker);
    free (newcomer);
  }
  cut_off_all (worker);
  take_mail (worker);
  /* The disks were removed: nothing is in flight. */
  while ((connection = TAILQ_FIRST (&worker->ready)) != NULL) {
    TAILQ_REMOVE (&worker->ready, connection, ready_link);
    connection->is_ready = false;
    connection_run (connection);
  }
  worker_self = NULL;

  ev_async_stop (worker->loop, &worker->wake);
  ev_timer_stop (worker->loop, &worker->tick);
  ev_loop_destroy (worker->loop);
  buffer_pool_exit (&worker->buffers);
  tls_scratch_free (worker->tls_scratch);
  for (slab = worker->slabs; slab != NULL; slab = next_slab) {
    next_slab = slab->next;
    free (slab);
  }
  pthread_mutex_destroy (&worker->lock);
  free (worker->shares);
  free (worker);
}
