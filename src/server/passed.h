/* SPDX-License-Identifier: BSD-3-Clause
 *
 * passed.h: sockets that were opened by whoever started blkmqd, as systemd does
 * for a service (sd_listen_fds(3)).  The main thread, before others run.
 */

#ifndef BLKMQ_SERVER_PASSED_H
#define BLKMQ_SERVER_PASSED_H

#include "blkmq.h"

enum passed_kind {
  PASSED_OTHER,     /* none that NBD could be spoken on */
  PASSED_LISTENS,   /* a stream socket of Unix or TCP */
  PASSED_CONNECTED, /* likewise */
};

/* What it is, for messages: "a pipe", "a TCP socket that listens". */
const char *passed_describe (int fd, enum passed_kind *kind);

struct passed_socket {
  int fd;     /* not inherited by what blkmqd starts; else as it came */
  char *name; /* who passed it has given it that */
};

struct passed {
  struct passed_socket *sockets;
  unsigned nr;
};

/* Take what there is, whatever it is, and clean the environment of it.
 * Negative errno with ERROR. */
int passed_take (struct passed *passed, struct blkmq_error *error);

/* Is it a Unix or TCP stream socket that listens?  -EINVAL with ERROR. */
int passed_check (const struct passed_socket *socket,
                  struct blkmq_error *error);

/* Descriptors stay open. */
void passed_free (struct passed *passed);

#endif /* BLKMQ_SERVER_PASSED_H */
