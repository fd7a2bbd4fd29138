/* SPDX-License-Identifier: BSD-3-Clause
 *
 * transport.c: a connection under TLS.
 *
 * Its worker.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "server/access.h"
#include "server/log.h"
#include "server/transport.h"

/* Half a record is something, too. */
static void
note_moves (struct connection *connection)
{
  if (tls_session_has_moved (connection->tls))
    connection->moved_s = ev_now (connection->worker->loop);
}

ssize_t
transport_recv_tls (struct connection *connection, void *bytes, size_t room)
{
  ssize_t nr = tls_session_recv (connection->tls, bytes, room);
  int error = errno;

  note_moves (connection);
  errno = error;
  return nr;
}

ssize_t
transport_send_tls (struct connection *connection, const struct iovec *iovs,
                    size_t nr_iovs)
{
  return tls_session_send (connection->tls, iovs, nr_iovs);
}

bool
transport_flush_tls (struct connection *connection)
{
  int r = tls_session_flush (connection->tls);

  note_moves (connection);
  if (r == 0)
    return true;
  if (r != -EAGAIN) {
    errno = -r;
    transport_fail (connection);
  }
  return false;
}

void
transport_fail (struct connection *connection)
{
  if (connection->tls != NULL && errno == EPROTO)
    connection_close (connection, LOG_LEVEL_WARNING, "cut off: TLS: %s",
                      tls_session_error (connection->tls));
  else
    connection_close (connection, LOG_LEVEL_DEBUG, "is gone: %s",
                      strerror (errno));
}

void
transport_start_tls (struct connection *connection)
{
  struct worker *worker = connection->worker;
  struct tls_credentials *credentials = server_get_tls (worker->server);

  if (worker->tls_scratch == NULL)
    worker->tls_scratch = tls_scratch_alloc ();
  if (credentials != NULL && worker->tls_scratch != NULL)
    connection->tls = tls_session_alloc (credentials, connection->io.fd,
                                         worker->tls_scratch);
  tls_credentials_put (credentials);
  if (connection->tls == NULL)
    connection_close (connection, LOG_LEVEL_WARNING,
                      "refused: no memory for TLS");
}

static void
log_client (const struct connection *connection)
{
  const struct tls_session *tls = connection->tls;
  const char *identity = tls_session_identity (tls);
  char buf[128];

  log_debug ("%s: %s, %s%s", connection->name,
             tls_session_describe (tls, buf, sizeof buf),
             identity != NULL ? "client " : "any client",
             identity != NULL ? identity : "");
}

/* Is the client on the list of those who may?  Closes if not. */
static bool
admit (struct connection *connection)
{
  const struct access *access = connection->worker->server->access;
  const char *identity = tls_session_identity (connection->tls);

  if (access == NULL || access->nr_identities == 0
      || (identity != NULL && access_allows_identity (access, identity)))
    return true;
  connection_close (connection, LOG_LEVEL_WARNING,
                    "refused: \"%s\" is not in --allow-identity",
                    identity != NULL ? identity : "");
  return false;
}

bool
transport_shake_hands (struct connection *connection)
{
  int r = tls_session_handshake (connection->tls);
  const char *why = tls_session_error (connection->tls);

  note_moves (connection);
  if (r == 0) {
    log_client (connection);
    return admit (connection);
  }
  if (r != -EAGAIN && why[0] == '\0')
    connection_close (connection, LOG_LEVEL_DEBUG,
                      "is gone in the middle of the TLS handshake");
  else if (r != -EAGAIN)
    connection_close (connection, LOG_LEVEL_WARNING,
                      "refused: TLS handshake: %s", why);
  return false;
}

void
transport_end (struct connection *connection)
{
  tls_session_free (connection->tls);
  connection->tls = NULL;
}
