/* SPDX-License-Identifier: BSD-3-Clause
 *
 * transport.h: how the bytes of a connection come and go.
 *
 * The connection's worker.
 */

#ifndef BLKMQ_SERVER_TRANSPORT_H
#define BLKMQ_SERVER_TRANSPORT_H

#include <sys/socket.h>

#include "server/internal.h"

/* As recv, without waiting: 0 is the end. */
static inline ssize_t
transport_recv (struct connection *connection, void *bytes, size_t room)
{
  return recv (connection->io.fd, bytes, room, MSG_DONTWAIT);
}

/* As sendmsg, without waiting. */
static inline ssize_t
transport_send (struct connection *connection, struct iovec *iovs,
                size_t nr_iovs)
{
  struct msghdr message = { .msg_iov = iovs, .msg_iovlen = nr_iovs };

  return sendmsg (connection->io.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

#endif /* BLKMQ_SERVER_TRANSPORT_H */
