/* SPDX-License-Identifier: BSD-3-Clause
 *
 * listen.h: the sockets that clients connect to, and what their URIs are.  One
 * thread, which is none of the server's.
 */

#ifndef BLKMQ_SERVER_LISTEN_H
#define BLKMQ_SERVER_LISTEN_H

#include <ev.h>
#include <stdbool.h>

#include "front/unix-socket.h"
#include "server/access.h"
#include "server/server.h"

struct listeners;

/* Room for NR addresses.  NULL: no memory. */
struct listeners *listeners_alloc (unsigned nr);

/* Is that "HOST:PORT"?  -EINVAL with ERROR. */
int listeners_check_tcp (const char *address, struct blkmq_error *error);

/* Listen on "HOST:PORT", as address INDEX.  Both fail with a negative errno and
 * ERROR.  May ask a name server. */
int listeners_open_tcp (struct listeners *listeners, unsigned index,
                        const char *address, struct blkmq_error *error);

/* Listen on a socket at PATH with these RIGHTS; both stay the caller's. */
int listeners_open_unix (struct listeners *listeners, unsigned index,
                         const char *path, const struct unix_rights *rights,
                         struct blkmq_error *error);

/* Take FD, which listens; others opened it, and may go on using it, so it stays
 * in the file system.  Closes it, whatever happens. */
int listeners_add_passed (struct listeners *listeners, unsigned index, int fd,
                          struct blkmq_error *error);

/* Of address INDEX: for a client of the export NAME, which uses TLS or not; to
 * be freed.  NULL: no memory, or it is an abstract socket, which no URI can
 * name. */
char *listeners_uri (const struct listeners *listeners, unsigned index,
                     const char *name, bool is_tls);

/* "": not of that kind. */
const char *listeners_path (const struct listeners *listeners, unsigned index);
const char *listeners_port (const struct listeners *listeners, unsigned index);

/* Can clients reach it from another machine? */
bool listeners_are_reached_from_afar (const struct listeners *listeners);

/* Connections of those who may connect go to SERVER from now on, on LOOP.
 * ACCESS says who may, and stays the caller's. */
void listeners_start (struct listeners *listeners, struct ev_loop *loop,
                      struct server *server, const struct access *access);

/* Take FD, a client that has come by another way.  NAME is for messages; NULL:
 * as if it had been accepted.  False: it may not connect.  Between start and
 * stop. */
bool listeners_take (struct listeners *listeners, int fd, const char *name);

/* From now on clients cannot connect.  Removes what is in the file system. */
void listeners_stop (struct listeners *listeners);

/* Only what is in the file system. */
void listeners_remove (const struct listeners *listeners);

/* Stops first.  NULL is nothing. */
void listeners_free (struct listeners *listeners);

#endif /* BLKMQ_SERVER_LISTEN_H */
