/* SPDX-License-Identifier: BSD-3-Clause
 *
 * listen.c: connections are accepted and handed to the server; who cannot be
 * served for want of descriptors or memory is told so by a closed connection,
 * and those who are served are not disturbed.  listen-open.c opens the sockets.
 * The main thread.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/listen-internal.h"
#include "server/log.h"

/* Connections taken before other events have their turn. */
#define ACCEPTS_AT_ONCE 64

/* When a connection cannot even be refused. */
#define ACCEPT_AGAIN_S 0.1

struct listeners *
listeners_alloc (unsigned nr)
{
  struct listeners *listeners = calloc (1, sizeof *listeners);

  if (listeners == NULL)
    return NULL;
  listeners->nr_addresses = nr;
  listeners->spare_fd = -1;
  listeners->addresses = calloc (nr, sizeof listeners->addresses[0]);
  if (listeners->addresses == NULL) {
    free (listeners);
    return NULL;
  }
  return listeners;
}

/* ------------------------------------------------------------------------ */
/* Clients                                                                   */

/* "unix:pid 123 uid 0", "127.0.0.1:1234", "[::1]:1234". */
static void
name_client (const struct socket *socket, int fd,
             const struct sockaddr_storage *address, socklen_t address_bytes,
             char *name, size_t name_bytes)
{
  char host[NI_MAXHOST], port[NI_MAXSERV];
  struct ucred peer;
  socklen_t peer_bytes = sizeof peer;

  if (socket->address->is_tcp) {
    if (getnameinfo ((const struct sockaddr *)address, address_bytes, host,
                     sizeof host, port, sizeof port,
                     NI_NUMERICHOST | NI_NUMERICSERV)
        != 0)
      snprintf (name, name_bytes, "tcp");
    else
      snprintf (name, name_bytes,
                address->ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
                port);
  } else if (getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) == 0)
    snprintf (name, name_bytes, "unix:pid %ld uid %lu", (long)peer.pid,
              (unsigned long)peer.uid);
  else
    snprintf (name, name_bytes, "unix");
}

/* False: it may not connect. */
static bool
take_connection (const struct socket *socket, int fd,
                 const struct sockaddr_storage *address,
                 socklen_t address_bytes)
{
  struct listeners *listeners = socket->address->listeners;
  char name[NI_MAXHOST + NI_MAXSERV + 4];
  int on = 1;

  if (socket->address->is_tcp) {
    /* An answer must not wait for the next one; and who has lost his network
     * is found out some day.  If not, then it is only slower. */
    setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt (fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  }
  name_client (socket, fd, address, address_bytes, name, sizeof name);
  /* Before it counts, and before a thread of the server knows of it. */
  if (!admission_check (&listeners->admission, fd,
                        (const struct sockaddr *)address, name)) {
    close (fd);
    return false;
  }
  server_add_connection (listeners->server, fd, name);
  return true;
}

bool
listeners_take (struct listeners *listeners, int fd, const char *name)
{
  struct sockaddr_storage peer = { .ss_family = AF_UNIX };
  socklen_t bytes = sizeof peer;
  struct address address = { .listeners = listeners };
  struct socket socket = { .address = &address };

  /* If not, then it is gone, and whoever reads from it finds out. */
  (void)getpeername (fd, (struct sockaddr *)&peer, &bytes);
  address.is_tcp = peer.ss_family != AF_UNIX;
  if (name == NULL)
    return take_connection (&socket, fd, &peer, bytes);
  server_add_connection (listeners->server, fd, name);
  return true;
}

/* ------------------------------------------------------------------------ */
/* Want of descriptors or memory                                             */

static void
open_spare (struct listeners *listeners)
{
  if (listeners->spare_fd < 0)
    listeners->spare_fd = open ("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* One that cannot be had is taken in the place of the spare descriptor, and
 * closed.  False: there is none. */
static bool
refuse_one (struct listeners *listeners, const struct socket *socket)
{
  int fd;

  if (listeners->spare_fd < 0)
    return false;
  close (listeners->spare_fd);
  listeners->spare_fd = -1;
  fd = accept4 (socket->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) {
    open_spare (listeners);
    return false;
  }
  listeners->nr_refused++;
  close (fd);
  open_spare (listeners);
  return true;
}

static void
pause_accepting (struct listeners *listeners)
{
  for (unsigned i = 0; i < listeners->nr_sockets; i++)
    ev_io_stop (listeners->loop, &listeners->sockets[i]->io);
  ev_timer_start (listeners->loop, &listeners->again);
}

static void
on_again (struct ev_loop *loop, ev_timer *watcher, int events)
{
  struct listeners *listeners = watcher->data;

  open_spare (listeners);
  for (unsigned i = 0; i < listeners->nr_sockets; i++)
    ev_io_start (loop, &listeners->sockets[i]->io);
}

/* True: go on accepting. */
static bool
cannot_accept (struct listeners *listeners, const struct socket *socket,
               int error)
{
  if (!listeners->is_short) {
    log_warning ("cannot take connections: %s; new clients are refused, those "
                 "that there are go on",
                 strerror (error));
    listeners->is_short = true;
    listeners->nr_refused = 0;
  }
  if ((error == EMFILE || error == ENFILE) && refuse_one (listeners, socket))
    return true;
  pause_accepting (listeners);
  return false;
}

static void
can_accept_again (struct listeners *listeners)
{
  listeners->is_short = false;
  log_info ("takes connections again; %u were refused", listeners->nr_refused);
}

/* ------------------------------------------------------------------------ */
/* Accepting                                                                 */

static void
on_connection (struct ev_loop *loop, ev_io *watcher, int events)
{
  struct socket *socket = watcher->data;
  struct listeners *listeners = socket->address->listeners;
  struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
  socklen_t address_bytes;
  int fd;

  for (unsigned i = 0; i < ACCEPTS_AT_ONCE; i++) {
    address_bytes = sizeof address;
    fd = accept4 (socket->fd, (struct sockaddr *)&address, &address_bytes,
                  SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      if (listeners->is_short)
        can_accept_again (listeners);
      take_connection (socket, fd, &address, address_bytes);
      continue;
    }
    switch (errno) {
    case EAGAIN:
      return;
    case EINTR:
    /* What became of a connection before it was taken. */
    case ECONNABORTED:
    case EPERM:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case EOPNOTSUPP:
      break;
    default:
      if (!cannot_accept (listeners, socket, errno))
        return;
    }
  }
}

void
listeners_start (struct listeners *listeners, struct ev_loop *loop,
                 struct server *server, const struct access *access)
{
  listeners->loop = loop;
  listeners->server = server;
  admission_start (&listeners->admission, loop, access);
  ev_timer_init (&listeners->again, on_again, ACCEPT_AGAIN_S, 0);
  listeners->again.data = listeners;
  open_spare (listeners);
  for (unsigned i = 0; i < listeners->nr_sockets; i++) {
    struct socket *socket = listeners->sockets[i];

    ev_io_init (&socket->io, on_connection, socket->fd, EV_READ);
    socket->io.data = socket;
    ev_io_start (loop, &socket->io);
  }
}

/* The next server replaces it. */
static void
note_removal (const struct address *address, int r)
{
  if (r < 0)
    log_debug ("--unix=%s is left behind: %s", address->path, strerror (-r));
}

void
listeners_stop (struct listeners *listeners)
{
  if (listeners->loop != NULL)
    ev_timer_stop (listeners->loop, &listeners->again);
  admission_stop (&listeners->admission);
  while (listeners->nr_sockets > 0) {
    struct socket *socket = listeners->sockets[--listeners->nr_sockets];

    if (listeners->loop != NULL)
      ev_io_stop (listeners->loop, &socket->io);
    if (socket->address->is_tcp || socket->address->is_passed)
      close (socket->fd);
    else
      note_removal (socket->address,
                    unix_socket_close (&socket->address->unix_socket));
    free (socket);
  }
}

void
listeners_remove (const struct listeners *listeners)
{
  for (unsigned i = 0; i < listeners->nr_sockets; i++) {
    const struct address *address = listeners->sockets[i]->address;

    if (!address->is_tcp && !address->is_passed)
      note_removal (address, unix_socket_remove (&address->unix_socket));
  }
}

void
listeners_free (struct listeners *listeners)
{
  if (listeners == NULL)
    return;
  listeners_stop (listeners);
  for (unsigned i = 0; i < listeners->nr_addresses; i++) {
    free (listeners->addresses[i].path);
    free (listeners->addresses[i].host);
  }
  if (listeners->spare_fd >= 0)
    close (listeners->spare_fd);
  free (listeners->sockets);
  free (listeners->addresses);
  free (listeners);
}
