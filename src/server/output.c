/* SPDX-License-Identifier: BSD-3-Clause
 *
 * output.c: what is to be sent to a client, in order: stretches of buffers.
 *
 * The connection's worker.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/internal.h"
#include "server/transport.h"

#define MIN_OUTS 32u
#define MAX_IOVS 256u

/* Number N of those to be sent. */
static struct out *
out_at (const struct connection *connection, uint32_t n)
{
  return &connection
              ->outs[(connection->first_out + n) & (connection->outs_room - 1)];
}

static bool
more_outs (struct connection *connection)
{
  uint32_t room
      = connection->outs_room > 0 ? 2 * connection->outs_room : MIN_OUTS;
  struct out *outs = malloc (room * sizeof *outs);

  if (outs == NULL)
    return false;
  for (uint32_t i = 0; i < connection->nr_outs; i++)
    outs[i] = *out_at (connection, i);
  free (connection->outs);
  connection->outs = outs;
  connection->outs_room = room;
  connection->first_out = 0;
  return true;
}

bool
output_add (struct connection *connection, uint8_t *base, uint32_t bytes,
            struct buffer *buffer)
{
  struct out *out;

  assert (connection->phase != PHASE_CLOSED);
  if (!connection->is_running)
    worker_make_ready (connection);
  connection->out_bytes += bytes;
  if (connection->nr_outs > 0) {
    out = out_at (connection, connection->nr_outs - 1);
    if (out->base + out->bytes == base && out->buffer == buffer
        && bytes <= UINT32_MAX - out->bytes) {
      out->bytes += bytes;
      return true;
    }
  }
  if (connection->nr_outs == connection->outs_room && !more_outs (connection)) {
    connection_close (connection, LOG_LEVEL_WARNING,
                      "cut off: no memory for its answers");
    return false;
  }
  out = out_at (connection, connection->nr_outs++);
  out->base = base;
  out->bytes = bytes;
  out->buffer = buffer_get (buffer);
  return true;
}

void
output_drop (struct connection *connection)
{
  for (uint32_t i = 0; i < connection->nr_outs; i++)
    buffer_put (out_at (connection, i)->buffer);
  connection->nr_outs = 0;
  connection->out_bytes = 0;
}

static void
drop_sent (struct connection *connection, size_t bytes)
{
  connection->out_bytes -= bytes;
  while (bytes > 0) {
    struct out *out = out_at (connection, 0);

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
    const struct out *out = out_at (connection, i);

    iovs[i].iov_base = out->base;
    iovs[i].iov_len = out->bytes;
  }
  return nr;
}

/* All that the socket takes.  Closes the connection if the client is gone. */
void
output_send (struct connection *connection)
{
  struct iovec iovs[MAX_IOVS];
  unsigned nr_iovs;
  ssize_t nr;

  while (connection->nr_outs > 0) {
    nr_iovs = fill_iovs (connection, iovs);
    nr = transport_send (connection, iovs, nr_iovs);
    if (nr >= 0) {
      drop_sent (connection, (size_t)nr);
      connection->moved_s = connection->sent_s
          = ev_now (connection->worker->loop);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK)
      return;
    else if (errno != EINTR) {
      transport_fail (connection);
      return;
    }
  }
  transport_flush (connection);
}
