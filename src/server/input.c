/* SPDX-License-Identifier: BSD-3-Clause
 *
 * input.c: what has come from a client and is not taken yet.
 *
 * The connection's worker.
 */

#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/poll.h>

#include "server/internal.h"
#include "server/transport.h"

/* Received at once; it grows with what comes. */
#define MAX_IN_BYTES (UINT32_C (256) << 10)

/* What is kept of a request that is not complete is moved to the front if it is
 * no more than this; what is longer stays where it is as long as the rest fits
 * behind it. */
#define MOVE_BYTES (UINT32_C (8) << 10)

/* What is there, into BUFFER, in place of the one that there is. */
static void
move_to (struct connection *connection, struct buffer *buffer)
{
  uint32_t here = connection->in_end - connection->in_start;

  if (connection->in != NULL) {
    memcpy (buffer->data, connection->in->data + connection->in_start, here);
    buffer_put (connection->in);
  }
  connection->in = buffer;
  connection->in_start = 0;
  connection->in_end = here;
}

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
    buffer = buffer_exchange (pool, connection->in_size_bytes, in);
  if (buffer == NULL)
    buffer = buffer_exchange (pool, wanted, in);
  if (buffer == NULL && errno == EAGAIN) {
    worker_wait_for_buffers (connection);
    return false;
  }
  if (buffer == NULL) {
    connection_close (connection, LOG_LEVEL_WARNING,
                      "cut off: no memory for its request");
    return false;
  }
  move_to (connection, buffer);
  return true;
}

static bool
has_events (const struct connection *connection, short events)
{
  struct pollfd pollfd = { .fd = connection->io.fd, .events = events };

  return poll (&pollfd, 1, 0) == 1 && (pollfd.revents & events) != 0;
}

bool
input_is_cut (const struct connection *connection)
{
  return has_events (connection, POLLHUP | POLLERR);
}

bool
input_has_ended (const struct connection *connection)
{
  return connection->is_eof || has_events (connection, POLLRDHUP);
}

void
input_abandon (struct connection *connection)
{
  connection->is_eof = true;
  if (input_is_cut (connection)) {
    connection_close (connection, LOG_LEVEL_DEBUG, "is gone");
    return;
  }
  if (connection->phase != PHASE_TRANSMISSION)
    return;
  connection->phase = PHASE_FAREWELL;
  if (connection->nr_commands > 0)
    blkmq_abort_submitter (connection->submitter);
  if (!connection->is_running)
    worker_make_ready (connection);
}

/* True if it has brought something. */
bool
input_has_come (struct connection *connection, ssize_t nr)
{
  if (nr > 0) {
    connection->moved_s = ev_now (connection->worker->loop);
    connection->worker->had_traffic = true;
    return true;
  }
  if (nr == 0)
    input_abandon (connection);
  else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
    transport_fail (connection);
  return false;
}

void
input_receive (struct connection *connection)
{
  uint32_t room;
  ssize_t nr;

  if (!make_in_room (connection))
    return;
  room = connection->in->room - connection->in_end;
  nr = transport_recv (connection, connection->in->data + connection->in_end,
                       room);
  if (!input_has_come (connection, nr))
    return;
  connection->in_end += (uint32_t)nr;
  if ((uint32_t)nr == room && connection->in_size_bytes < MAX_IN_BYTES)
    connection->in_size_bytes *= 2;
}

/* Of the first bytes of a request a small buffer is enough. */
void
input_shrink (struct connection *connection)
{
  uint32_t here = connection->in_end - connection->in_start;
  struct buffer *buffer;

  if (connection->in == NULL || connection->in->nr_refs > 1
      || connection->in->size == 0 || here > BUFFER_MIN_BYTES
      || connection->in_wanted_bytes > BUFFER_MIN_BYTES)
    return;
  buffer = buffer_alloc (&connection->worker->buffers, BUFFER_MIN_BYTES,
                         BUFFER_FOR_INPUT);
  if (buffer == NULL)
    return;
  move_to (connection, buffer);
}
