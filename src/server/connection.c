/* SPDX-License-Identifier: BSD-3-Clause
 *
 * connection.c: one client: how it begins, when it is to wait and to go on, and
 * how it ends.
 *
 * The worker's thread, as all that has to do with a connection.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/internal.h"
#include "server/log.h"
#include "server/nbd.h"
#include "server/transport.h"

#define THROW_AWAY_BYTES 16384u /* received at once */

/* ------------------------------------------------------------------------ */
/* The end                                                                   */

static void
free_connection (struct connection *connection)
{
  struct worker *worker = connection->worker;

  assert (connection->phase == PHASE_CLOSED && connection->nr_commands == 0);
  if (connection->is_ready)
    TAILQ_REMOVE (&worker->ready, connection, ready_link);
  TAILQ_REMOVE (&worker->connections, connection, link);
  blkmq_submitter_free (connection->submitter);
  free (connection->outs);
  free (connection);
  atomic_fetch_sub (&worker->nr_connections, 1);
  server_connection_is_gone (worker->server);
}

static void
end_connection (struct connection *connection)
{
  struct worker *worker = connection->worker;

  ev_io_stop (worker->loop, &connection->io);
  transport_end (connection);
  close (connection->io.fd);
  connection->phase = PHASE_CLOSED;
  handshake_end (connection);
  output_drop (connection);
  if (connection->in != NULL)
    buffer_put (connection->in);
  if (connection->reply != NULL)
    buffer_put (connection->reply);
  connection->in = connection->reply = NULL;
  if (connection->is_waiting) {
    connection->is_waiting = false;
    TAILQ_REMOVE (&worker->waiting, connection, waiting_link);
    worker->buffers.has_come_back = true; /* another one is first, maybe */
    if (!worker->serves_waiting)
      worker->buffers.has_queue = !TAILQ_EMPTY (&worker->waiting);
  }
  /* Nobody wants the answers; a write that hangs must not be done later, when
   * the client has sent it again on another connection. */
  if (connection->nr_commands > 0)
    blkmq_abort_submitter (connection->submitter);
}

void
connection_close (struct connection *connection, enum log_level level,
                  const char *format, ...)
{
  char text[1024];
  va_list args;

  if (connection->phase == PHASE_CLOSED)
    return;
  if (log_has_level (level)) {
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    log_line (level, "%s: %s%s", connection->name,
              connection->export != NULL ? connection->export->prefix : "",
              text);
  }
  end_connection (connection);
  if (connection->nr_commands == 0 && !connection->is_running)
    worker_make_ready (connection);
}

void
connection_get_command (struct connection *connection)
{
  if (connection->nr_commands++ > 0)
    return;
  connection->share->nr_busy++;
  if (connection->io_flags & BLKMQ_IO_POLLED) {
    connection->worker->nr_polled++;
    TAILQ_INSERT_TAIL (&connection->worker->polled, connection, polled_link);
  }
}

void
connection_put_command (struct connection *connection)
{
  if (--connection->nr_commands == 0) {
    connection->share->nr_busy--;
    if (connection->io_flags & BLKMQ_IO_POLLED) {
      connection->worker->nr_polled--;
      TAILQ_REMOVE (&connection->worker->polled, connection, polled_link);
    }
    /* What is in the input may be moved now. */
    if (connection->is_waiting)
      connection->worker->buffers.has_come_back = true;
  }
  if (connection->is_running)
    return;
  if (connection->phase != PHASE_CLOSED || connection->nr_commands == 0)
    worker_make_ready (connection);
}

void
connection_say_farewell (struct connection *connection)
{
  if (connection->phase == PHASE_NEGOTIATION) {
    transport_say_bye (connection);
    connection_close (connection, LOG_LEVEL_DEBUG, "the server ends");
    return;
  }
  if (connection->phase == PHASE_TRANSMISSION && !connection->is_eof)
    connection->must_linger = true;
  connection->is_eof = true;
  if (connection->phase == PHASE_CLOSED)
    return;
  worker_want_tick (connection->worker); /* it is read no more */
  worker_make_ready (connection);
}

void
connection_abort (struct connection *connection)
{
  if (connection->phase == PHASE_CLOSED)
    return;
  connection->must_refuse = true;
  if (connection->nr_commands > 0)
    blkmq_abort_submitter (connection->submitter);
  worker_make_ready (connection);
}

/* A socket that is closed with something unread is reset: its client, which may
 * be saying farewell at this moment, would take that for an error. */
static void
linger (struct connection *connection)
{
  struct worker *worker = connection->worker;

  connection->phase = PHASE_LINGERING;
  connection->moved_s = ev_now (worker->loop);
  if (connection->in != NULL)
    buffer_put (connection->in);
  connection->in = NULL;
  connection->in_start = connection->in_end = 0;
  /* If it cannot be done the client is gone, and the next recv says so. */
  (void)shutdown (connection->io.fd, SHUT_WR);
  worker_want_tick (worker);
}

static void
throw_away (struct connection *connection)
{
  uint8_t bytes[THROW_AWAY_BYTES];
  ssize_t nr = recv (connection->io.fd, bytes, sizeof bytes, MSG_DONTWAIT);

  if (nr == 0
      || (nr < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
    connection_close (connection, LOG_LEVEL_DEBUG, "closed");
}

/* ------------------------------------------------------------------------ */
/* What to do next                                                           */

static void
watch (struct connection *connection, int events)
{
  struct ev_loop *loop = connection->worker->loop;

  if (events == (connection->io.events & (EV_READ | EV_WRITE))
      && (events == 0 || ev_is_active (&connection->io)))
    return;
  if (events & ~connection->io.events & EV_WRITE)
    connection->sent_s = ev_now (loop); /* it is the client's turn from now */
  ev_io_stop (loop, &connection->io);
  ev_io_modify (&connection->io, events);
  if (events != 0)
    ev_io_start (loop, &connection->io);
}

/* Whom the connection waits for: the client to send, or to read; else the
 * engine, or others who have the buffers. */
static int
events_of (const struct connection *connection)
{
  int events = 0;

  if (connection->phase == PHASE_NEGOTIATION)
    return connection->negotiation->out_bytes > 0
                   || transport_has_unsent (connection)
               ? EV_WRITE
               : EV_READ;
  if (connection->phase == PHASE_LINGERING)
    return EV_READ;
  if (connection->nr_outs > 0 || transport_has_unsent (connection))
    events |= EV_WRITE;
  if (connection->phase == PHASE_TRANSMISSION && !connection->is_eof
      && !connection->is_waiting && !transmit_has_request (connection))
    events |= EV_READ;
  return events;
}

/* Idle connections have no buffers. */
static void
give_up_buffers (struct connection *connection)
{
  if (connection->in != NULL
      && (connection->in_start == connection->in_end
          || connection->phase == PHASE_FAREWELL)) {
    buffer_put (connection->in);
    connection->in = NULL;
    connection->in_start = connection->in_end = 0;
  }
  if (connection->reply != NULL && connection->nr_commands == 0
      && connection->nr_outs == 0) {
    buffer_put (connection->reply);
    connection->reply = NULL;
  }
}

static void
settle (struct connection *connection)
{
  if (connection->phase == PHASE_TRANSMISSION && connection->is_eof
      && !connection->is_waiting && !transmit_has_request (connection))
    connection->phase = PHASE_FAREWELL;
  if (connection->phase == PHASE_FAREWELL && connection->nr_commands == 0
      && connection->nr_outs == 0 && transport_say_bye (connection)) {
    /* Under TLS clients say a word after the last one. */
    if (!connection->must_linger && connection->tls == NULL) {
      connection_close (connection, LOG_LEVEL_DEBUG, "closed");
      return;
    }
    linger (connection);
  }
  give_up_buffers (connection);
  watch (connection, events_of (connection));
}

/* Something is certain to happen after which it is run again: its client or the
 * engine has to do something, or others have buffers. */
static bool
is_attended (struct connection *connection)
{
  const struct worker *worker = connection->worker;
  const struct buffer_pool *buffers = &worker->buffers;

  if (connection->is_ready || connection->nr_commands > 0
      || ev_is_active (&connection->io))
    return true;
  return connection->is_waiting && !TAILQ_EMPTY (&worker->waiting)
         && (buffers->has_queue || worker->serves_waiting)
         && (buffers->has_come_back || buffers->used_bytes > 0);
}

static void
receive (struct connection *connection)
{
  if (connection->phase == PHASE_NEGOTIATION)
    handshake_receive (connection);
  else if (connection->phase == PHASE_LINGERING)
    throw_away (connection);
  else
    input_receive (connection);
}

static void
run_once (struct connection *connection)
{
  bool any = true;

  if (connection->phase == PHASE_NEGOTIATION)
    handshake_run (connection);
  while (any && connection->phase != PHASE_CLOSED) {
    uint64_t out_bytes;

    any = connection->phase == PHASE_TRANSMISSION && transmit (connection);
    out_bytes = connection->out_bytes;
    if (connection->phase != PHASE_CLOSED)
      output_send (connection);
    /* What had to wait for the socket may be taken now. */
    any |= connection->out_bytes < out_bytes;
  }
}

/* Something that has come is held by TLS, where the loop does not see it. */
static bool
can_receive_held (const struct connection *connection)
{
  return connection->phase != PHASE_CLOSED && transport_has_held (connection)
         && connection->phase != PHASE_LINGERING
         && (events_of (connection) & EV_READ);
}

void
connection_run (struct connection *connection)
{
  connection->is_running = true;
  run_once (connection);
  while (can_receive_held (connection)) {
    receive (connection);
    run_once (connection);
  }
  if (connection->phase != PHASE_CLOSED)
    settle (connection);
  connection->is_running = false;
  if (connection->phase == PHASE_CLOSED && connection->nr_commands == 0)
    free_connection (connection);
  else
    assert (is_attended (connection));
}

void
connection_resume (struct connection *connection)
{
  connection->is_running = true;
  if (connection->phase == PHASE_TRANSMISSION && !connection->is_eof
      && !transmit_has_request (connection))
    input_receive (connection);
  connection_run (connection);
}

bool
connection_is_at_rest (const struct connection *connection)
{
  return connection->phase == PHASE_TRANSMISSION && !connection->is_eof
         && !connection->is_waiting && !connection->is_ready
         && connection->nr_commands == 0 && connection->nr_outs == 0
         && !transmit_has_request (connection);
}

void
connection_poll (struct connection *connection)
{
  connection->is_running = true;
  input_receive (connection);
  if (connection->worker->had_traffic || connection->is_eof
      || transport_has_unsent (connection)
      || connection->phase != PHASE_TRANSMISSION)
    connection_run (connection);
  else {
    connection->is_running = false;
    give_up_buffers (connection);
  }
}

static void
on_io (struct ev_loop *loop, ev_io *watcher, int events)
{
  struct connection *connection = watcher->data;

  worker_want_tick (connection->worker);
  connection->is_running = true; /* it stays, whatever happens */
  if (events & EV_READ)
    receive (connection);
  connection_run (connection);
}

struct connection *
connection_open (struct worker *worker, int fd, const char *name)
{
  size_t name_bytes = strlen (name) + 1;
  struct connection *connection = calloc (1, sizeof *connection + name_bytes);

  if (connection == NULL)
    goto close;
  connection->negotiation = calloc (1, sizeof *connection->negotiation);
  if (connection->negotiation == NULL)
    goto free_connection;
  memcpy (connection->name, name, name_bytes);
  connection->worker = worker;
  connection->phase = PHASE_NEGOTIATION;
  connection->in_wanted_bytes = NBD_REQUEST_BYTES;
  connection->in_size_bytes = connection->reply_size_bytes = BUFFER_MIN_BYTES;
  connection->opened_s = connection->moved_s = ev_now (worker->loop);
  ev_io_init (&connection->io, on_io, fd, 0);
  connection->io.data = connection;
  TAILQ_INSERT_TAIL (&worker->connections, connection, link);
  negotiation_begin (connection->negotiation, worker->server->exports,
                     worker->server->limits.max_request_bytes,
                     worker->server->tls);
  log_debug ("%s: connected", name);
  worker_want_tick (worker);
  worker_make_ready (connection);
  return connection;

free_connection:
  free (connection);
close:
  close (fd);
  return NULL;
}
