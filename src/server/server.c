/* SPDX-License-Identifier: BSD-3-Clause
 *
 * server.c: the workers together, and the limits that are for all of them.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/internal.h"
#include "server/log.h"

#define MIN_REQUEST_BYTES (UINT32_C (64) << 10)
#define MAX_REQUEST_BYTES (UINT32_C (32) << 20)
#define MIN_BUFFER_BYTES (UINT64_C (1) << 20) /* of a thread */

const struct server_limits server_default_limits = {
  .max_connections = 4096,
  .max_request_bytes = MAX_REQUEST_BYTES,
  .max_buffer_bytes = UINT64_C (512) << 20,
  .handshake_timeout_ms = 30000,
  .idle_timeout_ms = 0,
  .stall_timeout_ms = 60000,
};

static int
set_error (struct blkmq_error *error, int r, const char *text)
{
  if (error != NULL)
    snprintf (error->message, sizeof error->message, "%s", text);
  return r;
}

static int
check_limits (const struct server_options *options, struct blkmq_error *error)
{
  const struct server_limits *limits = &options->limits;

  if (options->nr_threads < 1 || options->nr_threads > SERVER_MAX_THREADS)
    return set_error (error, -EINVAL, "threads: 1 to 256");
  if (limits->max_connections < 1)
    return set_error (error, -EINVAL, "connections: at least 1");
  if (limits->max_request_bytes < MIN_REQUEST_BYTES
      || limits->max_request_bytes > MAX_REQUEST_BYTES
      || limits->max_request_bytes % MIN_REQUEST_BYTES != 0)
    return set_error (error, -EINVAL,
                      "longest request: 64K to 32M, and a multiple of 64K");
  if (limits->max_buffer_bytes / options->nr_threads < MIN_BUFFER_BYTES)
    return set_error (error, -EINVAL,
                      "memory for buffers: at least 1M for each thread");
  return 0;
}

/* A disk that may block has threads of its own. */
static int
lend_loops (struct server *server, const struct export *export,
            struct blkmq_error *error)
{
  unsigned nr_hctxs = blkmq_disk_nr_hw_queues (export->disk);

  for (unsigned i = 0; i < nr_hctxs; i++) {
    int r = blkmq_disk_lend_loop (
        export->disk, i, server->workers[i % server->nr_workers]->loop);

    if (r == -EOPNOTSUPP)
      return 0;
    if (r < 0) {
      if (error != NULL)
        snprintf (error->message, sizeof error->message,
                  "%shctx %u has no loop: error %d", export->prefix, i, -r);
      return r;
    }
  }
  return 0;
}

int
server_alloc (const struct server_options *options, struct server **result,
              struct blkmq_error *error)
{
  struct server *server;
  int r = check_limits (options, error);

  if (r < 0)
    return r;
  server = calloc (1, sizeof *server);
  if (server == NULL)
    return set_error (error, -ENOMEM, "the server: no memory");
  server->exports = options->exports;
  server->limits = options->limits;
  server->idle = options->idle;
  server->idle_opaque = options->opaque;
  server->tls = options->tls;
  server->access = options->access;
  pthread_mutex_init (&server->tls_lock, NULL);
  server->busy_poll_ns = UINT64_C (1000) * options->busy_poll_us;
  server->nr_workers = options->nr_threads;
  server->workers = calloc (options->nr_threads, sizeof (struct worker *));
  r = -ENOMEM;
  if (server->workers == NULL)
    goto no_memory;
  for (unsigned i = 0; i < options->nr_threads; i++) {
    server->workers[i] = worker_alloc (server, i);
    if (server->workers[i] == NULL)
      goto no_memory;
  }
  for (unsigned i = 0; i < exports_nr (server->exports); i++) {
    r = lend_loops (server, exports_at (server->exports, i), error);
    if (r < 0)
      goto free_server;
  }
  *result = server;
  return 0;

no_memory:
  set_error (error, r, "the server: no loop for a thread");
free_server:
  server_free (server);
  return r;
}

static void
stop_started (struct server *server)
{
  while (server->nr_started > 0)
    worker_stop (server->workers[--server->nr_started]);
}

int
server_start (struct server *server, struct blkmq_error *error)
{
  for (unsigned i = 0; i < server->nr_workers; i++) {
    int r = worker_start (server->workers[i]);

    if (r < 0) {
      stop_started (server);
      return set_error (error, r, "the server: a thread cannot be started");
    }
    server->nr_started++;
  }
  return 0;
}

void
server_stop (struct server *server)
{
  stop_started (server);
}

void
server_free (struct server *server)
{
  if (server == NULL)
    return;
  for (unsigned i = 0; server->workers != NULL && i < server->nr_workers; i++)
    if (server->workers[i] != NULL)
      worker_free (server->workers[i]);
  free (server->workers);
  tls_credentials_put (server->tls_credentials);
  pthread_mutex_destroy (&server->tls_lock);
  free (server);
}

/* ------------------------------------------------------------------------ */
/* TLS                                                                       */

void
server_set_tls (struct server *server, struct tls_credentials *credentials)
{
  struct tls_credentials *before;

  tls_credentials_get (credentials);
  pthread_mutex_lock (&server->tls_lock);
  before = server->tls_credentials;
  server->tls_credentials = credentials;
  pthread_mutex_unlock (&server->tls_lock);
  tls_credentials_put (before);
}

struct tls_credentials *
server_get_tls (struct server *server)
{
  struct tls_credentials *credentials;

  pthread_mutex_lock (&server->tls_lock);
  credentials = server->tls_credentials;
  if (credentials != NULL)
    tls_credentials_get (credentials);
  pthread_mutex_unlock (&server->tls_lock);
  return credentials;
}

/* ------------------------------------------------------------------------ */
/* Connections                                                               */

static struct worker *
least_busy (struct server *server)
{
  struct worker *best = NULL;
  unsigned fewest = UINT32_MAX;

  /* Round and round, among equals. */
  for (unsigned i = 0; i < server->nr_workers; i++) {
    struct worker *worker
        = server->workers[(server->next_worker + i) % server->nr_workers];
    unsigned nr = atomic_load (&worker->nr_connections);

    if (nr < fewest) {
      fewest = nr;
      best = worker;
    }
  }
  server->next_worker = (best->index + 1) % server->nr_workers;
  return best;
}

static void
refuse (int fd, const char *name, const char *why)
{
  log_warning ("%s: refused: %s", name, why);
  close (fd);
}

void
server_add_connection (struct server *server, int fd, const char *name)
{
  char why[64];

  if (atomic_load (&server->is_draining)) {
    refuse (fd, name, "the server ends");
    return;
  }
  if (atomic_load (&server->nr_connections) >= server->limits.max_connections) {
    snprintf (why, sizeof why, "there are %u connections already",
              server->limits.max_connections);
    refuse (fd, name, why);
    return;
  }
  atomic_fetch_add (&server->nr_connections, 1);
  if (worker_add_connection (least_busy (server), fd, name) < 0) {
    refuse (fd, name, "no memory");
    server_connection_is_gone (server);
  }
}

unsigned
server_nr_connections (const struct server *server)
{
  return atomic_load (&server->nr_connections);
}

void
server_ask (struct server *server)
{
  for (unsigned i = 0; i < server->nr_workers; i++) {
    atomic_store (&server->workers[i]->must_answer, true);
    worker_wake (server->workers[i]);
  }
}

int
server_find_silent (const struct server *server)
{
  for (unsigned i = 0; i < server->nr_workers; i++)
    if (atomic_load (&server->workers[i]->must_answer))
      return (int)i;
  return -1;
}

/* Any thread.  The drain holds a place of its own, so that the last one to go
 * is not missed, nor seen twice. */
void
server_connection_is_gone (struct server *server)
{
  if (atomic_fetch_sub (&server->nr_connections, 1) != 1)
    return;
  if (atomic_load (&server->is_draining))
    server->drained (server->drained_opaque);
  else if (server->idle != NULL)
    server->idle (server->idle_opaque);
}

void
server_drain (struct server *server, void (*drained) (void *opaque),
              void *opaque)
{
  if (atomic_load (&server->is_draining))
    return;
  server->drained = drained;
  server->drained_opaque = opaque;
  atomic_fetch_add (&server->nr_connections, 1);
  atomic_store (&server->is_draining, true);
  for (unsigned i = 0; i < server->nr_workers; i++) {
    atomic_store (&server->workers[i]->must_drain, true);
    worker_wake (server->workers[i]);
  }
  server_connection_is_gone (server);
}

void
server_abort (struct server *server)
{
  for (unsigned i = 0; i < server->nr_workers; i++) {
    atomic_store (&server->workers[i]->must_abort, true);
    worker_wake (server->workers[i]);
  }
}

void
server_cut_off (struct server *server)
{
  for (unsigned i = 0; i < server->nr_workers; i++) {
    atomic_store (&server->workers[i]->must_cut_off, true);
    worker_wake (server->workers[i]);
  }
}
