/* SPDX-License-Identifier: BSD-3-Clause
 *
 * transport.h: how the bytes of a connection come and go: as they are, or under
 * TLS.  Without TLS each of these is one test more than what it stands for.
 *
 * The connection's worker.
 */

#ifndef BLKMQ_SERVER_TRANSPORT_H
#define BLKMQ_SERVER_TRANSPORT_H

#include <sys/socket.h>

#include "server/internal.h"

static inline bool
transport_is_tls (const struct connection *connection)
{
  return __builtin_expect (connection->tls != NULL, 0);
}

/* ---- transport.c: under TLS ---- */

ssize_t transport_recv_tls (struct connection *connection, void *bytes,
                            size_t room);
ssize_t transport_send_tls (struct connection *connection,
                            const struct iovec *iovs, size_t nr_iovs);
bool transport_flush_tls (struct connection *connection);

/* Nothing is left to be said without it.  May close. */
void transport_start_tls (struct connection *connection);

/* A step of TLS' handshake.  True: it is done.  May close. */
bool transport_shake_hands (struct connection *connection);

void transport_end (struct connection *connection);

/* Close, as errno says, or TLS. */
void transport_fail (struct connection *connection);

/* ---- for all ---- */

/* As recv, without waiting: 0 is the end. */
static inline ssize_t
transport_recv (struct connection *connection, void *bytes, size_t room)
{
  if (transport_is_tls (connection))
    return transport_recv_tls (connection, bytes, room);
  return recv (connection->io.fd, bytes, room, MSG_DONTWAIT);
}

/* As sendmsg, without waiting.  0: something moves, but it cannot be said yet
 * what was sent.  Who has got that, or EAGAIN, begins with the same bytes the
 * next time. */
static inline ssize_t
transport_send (struct connection *connection, struct iovec *iovs,
                size_t nr_iovs)
{
  struct msghdr message = { .msg_iov = iovs, .msg_iovlen = nr_iovs };

  if (transport_is_tls (connection))
    return transport_send_tls (connection, iovs, nr_iovs);
  return sendmsg (connection->io.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* What has come can be received at once, though the socket has nothing. */
static inline bool
transport_has_held (const struct connection *connection)
{
  return transport_is_tls (connection)
         && tls_session_has_held (connection->tls);
}

/* What has come is a part of something, and cannot be received yet. */
static inline bool
transport_is_half_way (const struct connection *connection)
{
  return transport_is_tls (connection)
         && tls_session_is_half_way (connection->tls);
}

/* There is something to be sent that is nobody's. */
static inline bool
transport_has_unsent (const struct connection *connection)
{
  return transport_is_tls (connection)
         && tls_session_has_unsent (connection->tls);
}

/* Send that.  True: all of it.  May close. */
static inline bool
transport_flush (struct connection *connection)
{
  return !transport_has_unsent (connection) || transport_flush_tls (connection);
}

/* All was sent: say so.  False: that is still to be sent. */
static inline bool
transport_say_bye (struct connection *connection)
{
  if (!transport_is_tls (connection))
    return true;
  tls_session_say_bye (connection->tls);
  return !transport_has_unsent (connection);
}

#endif /* BLKMQ_SERVER_TRANSPORT_H */
