/* SPDX-License-Identifier: BSD-3-Clause
 *
 * limits.c: how long a client may take: to choose an export, to say nothing, to
 * stop half way, to take its leave.  And what it need not keep meanwhile.
 *
 * The connection's worker.
 */

#include <config.h>

#include <stdlib.h>

#include "server/log.h"
#include "server/transport.h"

/* Nothing has moved for so long: what it would need again is freed. */
#define TRIM_S 1.0

/* So long a client has to take its leave, once it was told of the end. */
#define LINGER_S 1.0

static bool
is_over (ev_tstamp since_s, ev_tstamp now_s, unsigned limit_ms)
{
  return limit_ms > 0 && now_s - since_s >= limit_ms / 1e3;
}

/* It is the client's turn, half way through a request or an answer; or it has
 * left us alone with what it had asked for.  (When the server ends, others know
 * how long it waits for that.) */
static bool
is_half_way (const struct connection *connection)
{
  if (connection->nr_outs > 0 || transport_has_unsent (connection))
    return true;
  if (connection->is_eof || connection->phase == PHASE_FAREWELL)
    return !connection->must_linger;
  return !connection->is_waiting && !transmit_has_request (connection)
         && (connection->in_end > connection->in_start
             || transport_is_half_way (connection)
             || connection->discard_bytes > 0);
}

/* Nothing is read or written while its requests are under way and there is no
 * room for more; but a client that is gone is not waited for. */
static bool
is_unwatched (struct connection *connection)
{
  return connection->phase != PHASE_NEGOTIATION
         && !ev_is_active (&connection->io);
}

static void
close_stalled (struct connection *connection)
{
  const char *what = "sent nothing more of a request";

  if (connection->nr_outs > 0 || transport_has_unsent (connection))
    what = "read no answer";
  else if (connection->is_eof || connection->phase == PHASE_FAREWELL)
    what = "been gone, and its requests do not end";
  connection_close (connection, LOG_LEVEL_WARNING,
                    "cut off: for %u ms it has %s",
                    connection->worker->server->limits.stall_timeout_ms, what);
}

bool
connection_check_time (struct connection *connection, ev_tstamp now_s)
{
  const struct server_limits *limits = &connection->worker->server->limits;

  if (is_unwatched (connection)) {
    if (connection->phase == PHASE_TRANSMISSION && !connection->is_eof
        && input_has_ended (connection))
      input_abandon (connection);
    else if (input_is_cut (connection))
      connection_close (connection, LOG_LEVEL_DEBUG, "is gone");
    else if (is_half_way (connection)
             && is_over (connection->moved_s, now_s, limits->stall_timeout_ms))
      close_stalled (connection);
    return true;
  }
  if (connection->phase == PHASE_NEGOTIATION) {
    if (is_over (connection->opened_s, now_s, limits->handshake_timeout_ms))
      connection_close (connection, LOG_LEVEL_WARNING,
                        "cut off: has chosen no export in %u ms",
                        limits->handshake_timeout_ms);
    return limits->handshake_timeout_ms > 0;
  }
  if (connection->phase == PHASE_LINGERING) {
    if (now_s - connection->moved_s >= LINGER_S)
      connection_close (connection, LOG_LEVEL_DEBUG,
                        "closed: does not take its leave");
    return true;
  }
  if (is_half_way (connection)) {
    /* Whoever reads nothing may send what he likes. */
    if (is_over (connection->nr_outs > 0 ? connection->sent_s
                                         : connection->moved_s,
                 now_s, limits->stall_timeout_ms))
      close_stalled (connection);
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

void
connection_trim (struct connection *connection, ev_tstamp now_s)
{
  if (now_s - connection->moved_s < TRIM_S)
    return;
  connection->in_size_bytes = connection->reply_size_bytes = BUFFER_MIN_BYTES;
  input_shrink (connection);
  if (connection->nr_outs == 0) {
    free (connection->outs);
    connection->outs = NULL;
    connection->outs_room = 0;
  }
}
