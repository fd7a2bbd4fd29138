/* SPDX-License-Identifier: BSD-3-Clause
 *
 * front/unix-socket.h: a Unix socket that listens in the file system: who may
 * replace what, and who removes it.  One thread at a time for each.
 */

#ifndef BLKMQ_FRONT_UNIX_SOCKET_H
#define BLKMQ_FRONT_UNIX_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

#include "blkmq.h"

/* What a socket shall be in the file system, before anybody can connect. */
struct unix_rights {
  bool has_mode, has_owner, has_group; /* else as for any new file */
  mode_t mode;                         /* exactly: umask does not count */
  uid_t owner;
  gid_t group;
};

struct unix_socket {
  /* Before unix_socket_open. */
  const char *option; /* of messages, ahead of the path: "control=" */
  const char *path;   /* the caller's, until unix_socket_close */
  bool is_private;    /* for its owner only; else as RIGHTS, or umask, say */
  const struct unix_rights *rights; /* NULL: none; the caller's.  Some need
                                     * that no other thread makes files */
  int backlog;

  int fd;          /* listens, and does not block */
  char *full_path; /* absolute: it is removed wherever the process is then */
  dev_t dev;
  ino_t ino; /* of the socket at PATH: whether it is still ours */
};

/* Clients may connect from now on, and nobody before: it has its rights when it
 * begins to listen.  A socket at the path that nobody listens on
 * is replaced, anything else is not.  Negative errno with ERROR; nothing is
 * left behind then. */
int unix_socket_open (struct unix_socket *unix_socket,
                      struct blkmq_error *error);

/* Removes it from the file system, if it is still the one that was opened, and
 * goes on listening.  A negative errno: it had to be left behind, as when the
 * process has become a user who may not remove it. */
int unix_socket_remove (const struct unix_socket *unix_socket);

/* Removes it, or not, and closes. */
int unix_socket_close (struct unix_socket *unix_socket);

#endif /* BLKMQ_FRONT_UNIX_SOCKET_H */
