/* SPDX-License-Identifier: BSD-3-Clause
 *
 * listen-internal.h: what listen.c and listen-open.c share.
 */

#ifndef BLKMQ_SERVER_LISTEN_INTERNAL_H
#define BLKMQ_SERVER_LISTEN_INTERNAL_H

#include <stdbool.h>

#include "front/unix-socket.h"
#include "server/admission.h"
#include "server/listen.h"

/* What one --unix or --tcp asks for, or a socket that was passed. */
struct address {
  struct listeners *listeners;
  bool is_tcp, is_passed;
  struct unix_socket unix_socket;
  char *path; /* absolute; "": of an abstract socket */
  char *host; /* as it stands in a URI */
  char port[8];
};

/* A name may have several addresses. */
struct socket {
  struct address *address;
  int fd;
  ev_io io;
};

struct listeners {
  struct address *addresses;
  unsigned nr_addresses;
  struct socket **sockets;
  unsigned nr_sockets;

  struct ev_loop *loop; /* NULL: not started */
  struct server *server;
  struct admission admission;
  ev_timer again;

  bool is_short; /* of descriptors or memory, and that was logged */
  unsigned nr_refused;
  int spare_fd; /* given up to refuse a client; -1: there is none */
};

#endif /* BLKMQ_SERVER_LISTEN_INTERNAL_H */
