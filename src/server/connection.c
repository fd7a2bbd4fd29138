/* SPDX-License-Identifier: BSD-3-Clause
 *
 * connection.c: one client: its socket, the bytes that come and go, and when it
 * is to wait, to go on and to end.
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
#include <sys/poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/internal.h"
#include "server/log.h"
#include "server/nbd.h"

/* Received at once; it grows with what comes. */
#define MAX_IN_BYTES (UINT32_C (256) << 10)

/* What is kept of a request that is not complete is moved to the front if it is
 * no more than this; what is longer stays where it is as long as the rest fits
 * behind it. */
#define MOVE_BYTES (UINT32_C (8) << 10)

#define NEGOTIATION_BYTES 4096u /* received at once */
#define MAX_IOVS 256u

/* Nothing has moved for so long: what it would need again is freed. */
#define TRIM_S 1.0

/* ------------------------------------------------------------------------ */
/* The end                                                                   */

static void
drop_output (struct connection *connection)
{
  for (uint32_t i = 0; i < connection->nr_outs; i++)
    buffer_put (
        connection
            ->outs[(connection->first_out + i) & (connection->outs_room - 1)]
            .buffer);
  connection->nr_outs = 0;
  connection->out_bytes = 0;
}

static void
drop_negotiation (struct connection *connection)
{
  if (connection->negotiation != NULL)
    negotiation_end (connection->negotiation);
  free (connection->negotiation);
  connection->negotiation = NULL;
}

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
  close (connection->io.fd);
  connection->phase = PHASE_CLOSED;
  drop_negotiation (connection);
  drop_output (connection);
  if (connection->in != NULL)
    buffer_put (connection->in);
  if (connection->reply != NULL)
    buffer_put (connection->reply);
  connection->in = connection->reply = NULL;
  if (connection->is_waiting) {
    connection->is_waiting = false;
    TAILQ_REMOVE (&worker->waiting, connection, waiting_link);
    worker->waited_at_bytes = UINT64_MAX; /* another one is first, maybe */
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
  if (format != NULL && log_has_level (level)) {
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    log_line (level, "%s: %s", connection->name, text);
  }
  /* The abort may end commands in here, one after the other. */
  connection->is_closing = true;
  end_connection (connection);
  connection->is_closing = false;
  if (connection->nr_commands == 0 && !connection->is_running)
    free_connection (connection);
}

void
connection_put_command (struct connection *connection)
{
  if (--connection->nr_commands == 0)
    connection->share->nr_busy--;
  if (connection->is_running || connection->is_closing)
    return;
  if (connection->phase != PHASE_CLOSED)
    worker_make_ready (connection);
  else if (connection->nr_commands == 0)
    free_connection (connection);
}

void
connection_say_farewell (struct connection *connection)
{
  if (connection->phase == PHASE_NEGOTIATION) {
    connection_close (connection, LOG_LEVEL_DEBUG, "the server ends");
    return;
  }
  connection->is_eof = true;
  if (connection->phase != PHASE_CLOSED)
    worker_make_ready (connection);
}

/* ------------------------------------------------------------------------ */
/* Sending                                                                   */

static void
drop_sent (struct connection *connection, size_t bytes)
{
  connection->out_bytes -= bytes;
  while (bytes > 0) {
    struct out *out = &connection->outs[connection->first_out];

    if (bytes < out->bytes) {
      out->base += bytes;
      out->bytes -= (uint32_t)bytes;
      return;
    }
    bytes -= out->bytes;
    buffer_put (out->buffer);
    connection->first_out
        = (connection->first_out + 1) & (connection->outs_room - 1);
    connection->nr_outs--;
  }
}

static unsigned
fill_iovs (const struct connection *connection, struct iovec iovs[MAX_IOVS])
{
  unsigned nr = connection->nr_outs < MAX_IOVS ? connection->nr_outs : MAX_IOVS;

  for (unsigned i = 0; i < nr; i++) {
    const struct out *out = &connection->outs[(connection->first_out + i)
                                              & (connection->outs_room - 1)];

    iovs[i].iov_base = out->base;
    iovs[i].iov_len = out->bytes;
  }
  return nr;
}

/* All that the socket takes.  Closes the connection if the client is gone. */
static void
send_output (struct connection *connection)
{
  struct iovec iovs[MAX_IOVS];
  struct msghdr message = { .msg_iov = iovs };
  ssize_t nr;

  while (connection->nr_outs > 0) {
    message.msg_iovlen = fill_iovs (connection, iovs);
    nr = sendmsg (connection->io.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (nr > 0) {
      drop_sent (connection, (size_t)nr);
      connection->moved_s = ev_now (connection->worker->loop);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK)
      return;
    else if (errno != EINTR) {
      connection_close (connection, LOG_LEVEL_DEBUG, "is gone: %s",
                        strerror (errno));
      return;
    }
  }
}

/* ------------------------------------------------------------------------ */
/* Receiving                                                                 */

/* Make room for more behind what is there.  False: it has to wait, or was
 * closed. */
static bool
make_in_room (struct connection *connection)
{
  struct buffer_pool *pool = &connection->worker->buffers;
  uint32_t here = connection->in_end - connection->in_start;
  uint32_t wanted = connection->in_wanted_bytes;
  struct buffer *in = connection->in, *buffer = NULL;

  if (in != NULL && in->nr_refs == 1 && wanted <= in->room
      && (here <= MOVE_BYTES || connection->in_start + wanted > in->room)) {
    memmove (in->data, in->data + connection->in_start, here);
    connection->in_start = 0;
    connection->in_end = here;
  }
  if (in != NULL && connection->in_start + wanted <= in->room
      && (in->nr_refs == 1 || here > MOVE_BYTES
          || in->room - connection->in_end >= connection->in_size_bytes / 4))
    return true;

  if (wanted < connection->in_size_bytes)
    buffer = buffer_alloc (pool, connection->in_size_bytes);
  if (buffer == NULL)
    buffer = buffer_alloc (pool, wanted);
  if (buffer == NULL && errno == EAGAIN) {
    worker_wait_for_buffers (connection);
    return false;
  }
  if (buffer == NULL) {
    connection_close (connection, LOG_LEVEL_WARNING,
                      "cut off: no memory for its request");
    return false;
  }
  if (in != NULL) {
    memcpy (buffer->data, in->data + connection->in_start, here);
    buffer_put (in);
  }
  connection->in = buffer;
  connection->in_start = 0;
  connection->in_end = here;
  return true;
}

/* The client will send nothing more.  If it has closed the socket altogether
 * there is nobody to answer to; a client that has only said its last word
 * waits for the answers. */
static void
end_of_input (struct connection *connection)
{
  struct pollfd pollfd = { .fd = connection->io.fd };

  connection->is_eof = true;
  if (poll (&pollfd, 1, 0) == 1 && (pollfd.revents & (POLLHUP | POLLERR)))
    connection_close (connection, LOG_LEVEL_DEBUG, "is gone");
}

/* NR is what recv has returned.  True if it has brought something. */
static bool
has_received (struct connection *connection, ssize_t nr)
{
  if (nr > 0) {
    connection->moved_s = ev_now (connection->worker->loop);
    connection->worker->had_traffic = true;
    return true;
  }
  if (nr == 0)
    end_of_input (connection);
  else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
    connection_close (connection, LOG_LEVEL_DEBUG, "is gone: %s",
                      strerror (errno));
  return false;
}

static void
receive (struct connection *connection)
{
  uint32_t room;
  ssize_t nr;

  if (!make_in_room (connection))
    return;
  room = connection->in->room - connection->in_end;
  nr = recv (connection->io.fd, connection->in->data + connection->in_end, room,
             MSG_DONTWAIT);
  if (!has_received (connection, nr))
    return;
  connection->in_end += (uint32_t)nr;
  if ((uint32_t)nr == room && connection->in_size_bytes < MAX_IN_BYTES)
    connection->in_size_bytes *= 2;
}

/* ------------------------------------------------------------------------ */
/* Negotiation                                                               */

/* The client's first requests have come with its last option, maybe. */
static bool
keep_rest (struct connection *connection, const uint8_t *rest, size_t nr)
{
  if (nr == 0)
    return true;
  connection->in = buffer_alloc (&connection->worker->buffers, (uint32_t)nr);
  if (connection->in == NULL)
    return false;
  memcpy (connection->in->data, rest, nr);
  connection->in_end = (uint32_t)nr;
  return true;
}

static void
begin_transmission (struct connection *connection)
{
  struct negotiation *negotiation = connection->negotiation;
  struct worker *worker = connection->worker;
  const struct exports *exports = worker->server->exports;
  struct blkmq_disk *disk = negotiation->export->disk;
  unsigned poll_hctx;

  connection->export = negotiation->export;
  connection->limits = blkmq_disk_limits (disk);
  connection->structured_replies = negotiation->structured_replies;
  connection->context_allocation = negotiation->context_allocation;
  for (unsigned i = 0; i < exports_nr (exports); i++)
    if (exports_at (exports, i) == connection->export)
      connection->share = &worker->shares[i];
  connection->submitter = blkmq_submitter_alloc (
      disk, worker->index % blkmq_disk_nr_hw_queues (disk));
  if (connection->submitter == NULL) {
    connection_close (connection, LOG_LEVEL_WARNING,
                      "refused: no memory to serve it");
    return;
  }
  /* A loop polls for what is submitted on its own thread. */
  poll_hctx
      = blkmq_submitter_hctx_of (connection->submitter, BLKMQ_HCTX_TYPE_POLL);
  if (blkmq_disk_hctx_type (disk, poll_hctx) == BLKMQ_HCTX_TYPE_POLL
      && poll_hctx % worker->server->nr_workers == worker->index)
    connection->io_flags = BLKMQ_IO_POLLED;
  log_debug ("%s: export \"%s\", hctx %u of thread %u%s", connection->name,
             connection->export->name,
             blkmq_submitter_hctx (connection->submitter), worker->index,
             connection->structured_replies ? ", structured replies" : "");
  drop_negotiation (connection);
  connection->phase = PHASE_TRANSMISSION;
}

static void
send_negotiation (struct connection *connection)
{
  struct negotiation *negotiation = connection->negotiation;
  ssize_t nr;

  while (negotiation->out_bytes > 0) {
    nr = send (connection->io.fd, negotiation->out, negotiation->out_bytes,
               MSG_NOSIGNAL | MSG_DONTWAIT);
    if (nr > 0) {
      negotiation->out_bytes -= (size_t)nr;
      memmove (negotiation->out, negotiation->out + nr, negotiation->out_bytes);
      connection->moved_s = ev_now (connection->worker->loop);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK)
      return;
    else if (errno != EINTR) {
      connection_close (connection, LOG_LEVEL_DEBUG, "is gone: %s",
                        strerror (errno));
      return;
    }
  }
}

static void
negotiate (struct connection *connection)
{
  struct negotiation *negotiation = connection->negotiation;
  uint8_t bytes[NEGOTIATION_BYTES];
  size_t taken;
  ssize_t nr;

  nr = recv (connection->io.fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (!has_received (connection, nr)) {
    if (connection->is_eof)
      connection_close (connection, LOG_LEVEL_DEBUG,
                        "is gone before it has chosen an export");
    return;
  }
  taken = negotiation_feed (negotiation, bytes, (size_t)nr);
  if (negotiation->state == NEGOTIATION_DONE
      && !keep_rest (connection, bytes + taken, (size_t)nr - taken))
    connection_close (connection, LOG_LEVEL_WARNING,
                      "refused: no memory to serve it");
}

/* Send what there is to say; and then, if all was said, go on. */
static void
run_negotiation (struct connection *connection)
{
  struct negotiation *negotiation = connection->negotiation;

  send_negotiation (connection);
  if (connection->phase == PHASE_CLOSED)
    return;
  if (negotiation->state == NEGOTIATION_CLOSE) {
    if (negotiation->why[0] == '\0')
      connection_close (connection, LOG_LEVEL_DEBUG, "disconnects");
    else
      connection_close (connection, LOG_LEVEL_WARNING, "%s", negotiation->why);
  } else if (negotiation->state == NEGOTIATION_DONE
             && negotiation->out_bytes == 0)
    begin_transmission (connection);
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
    return connection->negotiation->out_bytes > 0 ? EV_WRITE : EV_READ;
  if (connection->nr_outs > 0)
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
  if (connection->in != NULL && connection->in_start == connection->in_end) {
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
      && connection->nr_outs == 0) {
    connection_close (connection, LOG_LEVEL_DEBUG, "closed");
    return;
  }
  give_up_buffers (connection);
  watch (connection, events_of (connection));
}

void
connection_run (struct connection *connection)
{
  bool any = true;

  connection->is_running = true;
  if (connection->phase == PHASE_NEGOTIATION)
    run_negotiation (connection);
  while (any && connection->phase != PHASE_CLOSED) {
    uint64_t out_bytes;

    any = connection->phase == PHASE_TRANSMISSION && transmit (connection);
    out_bytes = connection->out_bytes;
    if (connection->phase != PHASE_CLOSED)
      send_output (connection);
    /* What had to wait for the socket may be taken now. */
    any |= connection->out_bytes < out_bytes;
  }
  if (connection->phase != PHASE_CLOSED)
    settle (connection);
  connection->is_running = false;
  if (connection->phase == PHASE_CLOSED && connection->nr_commands == 0)
    free_connection (connection);
}

static void
on_io (struct ev_loop *loop, ev_io *watcher, int events)
{
  struct connection *connection = watcher->data;

  worker_want_tick (connection->worker);
  connection->is_running = true; /* it stays, whatever happens */
  if (events & EV_READ) {
    if (connection->phase == PHASE_NEGOTIATION)
      negotiate (connection);
    else
      receive (connection);
  }
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
                     worker->server->limits.max_request_bytes);
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

/* ------------------------------------------------------------------------ */
/* Time                                                                      */

static bool
is_over (ev_tstamp since_s, ev_tstamp now_s, unsigned limit_ms)
{
  return limit_ms > 0 && now_s - since_s >= limit_ms / 1e3;
}

/* It is the client's turn, half way through a request or an answer; or it has
 * left us alone with what it had asked for. */
static bool
is_half_way (const struct connection *connection)
{
  if (connection->nr_outs > 0 || connection->is_eof)
    return true;
  return !connection->is_waiting && !transmit_has_request (connection)
         && (connection->in_end > connection->in_start
             || connection->discard_bytes > 0);
}

bool
connection_check_time (struct connection *connection, ev_tstamp now_s)
{
  const struct server_limits *limits = &connection->worker->server->limits;

  if (connection->phase == PHASE_NEGOTIATION) {
    if (is_over (connection->opened_s, now_s, limits->handshake_timeout_ms))
      connection_close (connection, LOG_LEVEL_WARNING,
                        "cut off: has chosen no export in %u ms",
                        limits->handshake_timeout_ms);
    return limits->handshake_timeout_ms > 0;
  }
  if (is_half_way (connection)) {
    if (is_over (connection->moved_s, now_s, limits->stall_timeout_ms))
      connection_close (
          connection, LOG_LEVEL_WARNING, "cut off: for %u ms it has %s",
          limits->stall_timeout_ms,
          connection->nr_outs > 0 ? "read no answer"
          : connection->is_eof    ? "been gone, and its requests do not end"
                                  : "sent nothing more of a request");
    return limits->stall_timeout_ms > 0;
  }
  if (connection->nr_commands > 0)
    return false;
  if (is_over (connection->moved_s, now_s, limits->idle_timeout_ms))
    connection_close (connection, LOG_LEVEL_WARNING,
                      "cut off: has asked for nothing in %u ms",
                      limits->idle_timeout_ms);
  return limits->idle_timeout_ms > 0;
}

/* Of the first bytes of a request a small buffer is enough. */
static void
shrink_input (struct connection *connection)
{
  uint32_t here = connection->in_end - connection->in_start;
  struct buffer *buffer;

  if (connection->in == NULL || connection->in->nr_refs > 1
      || connection->in->size == 0 || here > BUFFER_MIN_BYTES
      || connection->in_wanted_bytes > BUFFER_MIN_BYTES)
    return;
  buffer = buffer_alloc (&connection->worker->buffers, BUFFER_MIN_BYTES);
  if (buffer == NULL)
    return;
  memcpy (buffer->data, connection->in->data + connection->in_start, here);
  buffer_put (connection->in);
  connection->in = buffer;
  connection->in_start = 0;
  connection->in_end = here;
}

void
connection_trim (struct connection *connection, ev_tstamp now_s)
{
  if (now_s - connection->moved_s < TRIM_S)
    return;
  connection->in_size_bytes = connection->reply_size_bytes = BUFFER_MIN_BYTES;
  shrink_input (connection);
  if (connection->nr_outs == 0) {
    free (connection->outs);
    connection->outs = NULL;
    connection->outs_room = 0;
  }
}
