/* SPDX-License-Identifier: BSD-3-Clause
 *
 * listen-open.c: from what --unix and --tcp say to sockets that listen, and to
 * the URIs by which they are reached.  The main thread, before anything is
 * served.
 */

#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "text.h"
#include "front/path.h"
#include "server/listen-internal.h"

/* How often a port is drawn that another address of the same name must have
 * as well. */
#define MAX_DRAWS 16

static int
refuse (const char *option, const char *value, int error, const char *what,
        struct blkmq_error *to)
{
  struct text text = text_begin_error (to);

  text_add (&text, "%s=", option);
  text_add_path (&text, value);
  text_add (&text, ": %s", what);
  return -error;
}

/* Takes FD.  0 or -ENOMEM. */
static int
add_socket (struct address *address, int fd)
{
  struct listeners *listeners = address->listeners;
  struct socket *socket = calloc (1, sizeof *socket);
  struct socket **sockets;

  sockets = reallocarray (listeners->sockets, listeners->nr_sockets + 1,
                          sizeof sockets[0]);
  if (sockets != NULL)
    listeners->sockets = sockets;
  if (socket == NULL || sockets == NULL) {
    free (socket);
    close (fd);
    return -ENOMEM;
  }
  socket->address = address;
  socket->fd = fd;
  sockets[listeners->nr_sockets++] = socket;
  return 0;
}

/* ------------------------------------------------------------------------ */
/* Unix sockets                                                              */

int
listeners_open_unix (struct listeners *listeners, unsigned index,
                     const char *path, const struct unix_rights *rights,
                     struct blkmq_error *error)
{
  struct address *address = &listeners->addresses[index];
  int r;

  address->listeners = listeners;
  /* Whoever reads a URI may be elsewhere. */
  address->path = path_absolute (path);
  if (address->path == NULL)
    return refuse ("--unix", path, errno, strerror (errno), error);
  address->unix_socket = (struct unix_socket){
    .option = "--unix=",
    .path = path,
    .rights = rights,
    .backlog = SOMAXCONN,
  };
  r = unix_socket_open (&address->unix_socket, error);
  if (r < 0)
    return r;
  r = add_socket (address, address->unix_socket.fd);
  if (r < 0) {
    unix_socket_remove (&address->unix_socket);
    free (address->unix_socket.full_path);
    refuse ("--unix", path, -r, strerror (-r), error);
  }
  return r;
}

/* ------------------------------------------------------------------------ */
/* TCP                                                                       */

static bool
is_everywhere (const char *host)
{
  return host[0] == '\0' || strcmp (host, "*") == 0;
}

/* "HOST:PORT" or "[HOST]:PORT" into HOST, to be freed, and PORT.  Returns NULL
 * or what is wrong. */
static const char *
split (const char *text, char **host, char port[8])
{
  static const char form[]
      = "must be HOST:PORT; HOST a name, an address, [an IPv6 address], or "
        "empty or * for all";
  const char *colon = strrchr (text, ':');
  size_t host_bytes, digits;
  unsigned number;

  if (colon == NULL)
    return form;
  host_bytes = (size_t)(colon - text);
  digits = strspn (colon + 1, "0123456789");
  if (digits == 0 || digits > 5 || colon[1 + digits] != '\0'
      || (number = (unsigned)atoi (colon + 1)) > 65535)
    return "the port must be a number from 0 to 65535 (0: any that is free)";
  snprintf (port, 8, "%u", number);
  if (text[0] == '[') {
    if (host_bytes < 3 || text[host_bytes - 1] != ']')
      return form;
    *host = strndup (text + 1, host_bytes - 2);
  } else if (memchr (text, ':', host_bytes) != NULL)
    return "an IPv6 address stands in brackets: [ADDRESS]:PORT";
  else
    *host = strndup (text, host_bytes);
  return *host != NULL ? NULL : "out of memory";
}

/* As it stands in a URI: an IPv6 address in brackets, and its zone's % as %25
 * (RFC 6874). */
static char *
host_of_uri (const char *host)
{
  const char *percent = strchr (host, '%');
  char *result;
  int n;

  if (is_everywhere (host))
    return strdup ("localhost");
  if (strchr (host, ':') == NULL)
    return strdup (host);
  if (percent != NULL)
    n = asprintf (&result, "[%.*s%%25%s]", (int)(percent - host), host,
                  percent + 1);
  else
    n = asprintf (&result, "[%s]", host);
  return n < 0 ? NULL : result;
}

static void
set_port (struct sockaddr *address, uint16_t port)
{
  if (address->sa_family == AF_INET6)
    ((struct sockaddr_in6 *)(void *)address)->sin6_port = port;
  else
    ((struct sockaddr_in *)(void *)address)->sin_port = port;
}

/* In network order. */
static uint16_t
port_of (int fd)
{
  struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
  socklen_t bytes = sizeof address;

  if (getsockname (fd, (struct sockaddr *)&address, &bytes) < 0)
    return 0;
  return address.ss_family == AF_INET6
             ? ((struct sockaddr_in6 *)(void *)&address)->sin6_port
             : ((struct sockaddr_in *)(void *)&address)->sin_port;
}

/* A descriptor or a negative errno. */
static int
listen_at (const struct addrinfo *info)
{
  int fd = socket (info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                   IPPROTO_TCP);
  int on = 1, error;

  if (fd < 0)
    return -errno;
  /* Of IPv6 only what is IPv6: IPv4 has a socket of its own. */
  if (setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0
      || (info->ai_family == AF_INET6
          && setsockopt (fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
      || bind (fd, info->ai_addr, info->ai_addrlen) < 0
      || listen (fd, SOMAXCONN) < 0) {
    error = errno;
    close (fd);
    return -error;
  }
  return fd;
}

/* A machine without IPv6, or whose name has an address that it lost. */
static bool
is_not_here (int error)
{
  return error == EAFNOSUPPORT || error == EADDRNOTAVAIL;
}

/* Back to NR. */
static void
close_sockets (struct listeners *listeners, unsigned nr)
{
  while (listeners->nr_sockets > nr) {
    struct socket *socket = listeners->sockets[--listeners->nr_sockets];

    close (socket->fd);
    free (socket);
  }
}

/* Listens at all addresses that there are here, at one port.  Negative errno;
 * -EADDRINUSE with *DREW_PORT: another port may be free. */
static int
listen_at_all (struct address *address, struct addrinfo *infos, bool *drew_port)
{
  struct listeners *listeners = address->listeners;
  unsigned nr_before = listeners->nr_sockets;
  int r = 0, last = -EADDRNOTAVAIL;
  uint16_t port = 0;

  *drew_port = false;
  for (struct addrinfo *info = infos; info != NULL; info = info->ai_next) {
    if (info->ai_family != AF_INET && info->ai_family != AF_INET6)
      continue;
    if (port != 0)
      set_port (info->ai_addr, port);
    r = listen_at (info);
    if (r < 0 && is_not_here (-r)) {
      last = r;
      continue;
    }
    if (r >= 0) {
      if (port == 0) {
        port = port_of (r);
        *drew_port = strcmp (address->port, "0") == 0;
      }
      r = add_socket (address, r);
    }
    if (r < 0) {
      close_sockets (listeners, nr_before);
      break;
    }
  }
  for (struct addrinfo *info = infos; *drew_port && info != NULL;
       info = info->ai_next)
    set_port (info->ai_addr, 0);
  if (r < 0 && !is_not_here (-r))
    return r;
  if (listeners->nr_sockets == nr_before)
    return last;
  snprintf (address->port, sizeof address->port, "%u", ntohs (port));
  return 0;
}

int
listeners_check_tcp (const char *text, struct blkmq_error *error)
{
  char *host = NULL, port[8];
  const char *wrong = split (text, &host, port);

  free (host);
  return wrong != NULL ? refuse ("--tcp", text, EINVAL, wrong, error) : 0;
}

int
listeners_open_tcp (struct listeners *listeners, unsigned index,
                    const char *text, struct blkmq_error *error)
{
  struct addrinfo hints
      = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
  struct address *address = &listeners->addresses[index];
  struct addrinfo *infos = NULL;
  bool drew_port = true;
  char *host = NULL;
  const char *wrong;
  int r;

  address->listeners = listeners;
  address->is_tcp = true;
  wrong = split (text, &host, address->port);
  if (wrong != NULL)
    return refuse ("--tcp", text, EINVAL, wrong, error);
  address->host = host_of_uri (host);
  r = getaddrinfo (is_everywhere (host) ? NULL : host, address->port, &hints,
                   &infos);
  free (host);
  if (r != 0)
    return refuse ("--tcp", text, EINVAL,
                   r == EAI_SYSTEM ? strerror (errno) : gai_strerror (r),
                   error);
  r = address->host != NULL ? -EADDRINUSE : -ENOMEM;
  for (unsigned i = 0; i < MAX_DRAWS && r == -EADDRINUSE && drew_port; i++)
    r = listen_at_all (address, infos, &drew_port);
  freeaddrinfo (infos);
  return r < 0 ? refuse ("--tcp", text, -r, strerror (-r), error) : 0;
}

static bool
is_loopback (const struct sockaddr_storage *address)
{
  const struct sockaddr_in6 *ipv6 = (const void *)address;
  const struct sockaddr_in *ipv4 = (const void *)address;

  switch (address->ss_family) {
  case AF_INET:
    return ntohl (ipv4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  case AF_INET6:
    if (IN6_IS_ADDR_V4MAPPED (&ipv6->sin6_addr))
      return ipv6->sin6_addr.s6_addr[12] == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK (&ipv6->sin6_addr);
  default:
    return address->ss_family == AF_UNIX;
  }
}

bool
listeners_are_reached_from_afar (const struct listeners *listeners)
{
  for (unsigned i = 0; i < listeners->nr_sockets; i++) {
    struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
    socklen_t bytes = sizeof address;

    if (getsockname (listeners->sockets[i]->fd, (struct sockaddr *)&address,
                     &bytes)
            < 0
        || !is_loopback (&address))
      return true;
  }
  return false;
}

/* ------------------------------------------------------------------------ */
/* Sockets that are open                                                     */

static int
find_path (struct address *address, const struct sockaddr_un *name,
           socklen_t bytes)
{
  char path[sizeof name->sun_path + 1] = "";
  size_t prefix = offsetof (struct sockaddr_un, sun_path);

  /* An abstract one begins with a zero. */
  if (bytes > prefix && name->sun_path[0] != '\0')
    memcpy (path, name->sun_path, bytes - prefix);
  address->path = path[0] != '\0' ? path_absolute (path) : strdup ("");
  return address->path != NULL ? 0 : -ENOMEM;
}

static int
find_host (struct address *address, const struct sockaddr *name,
           socklen_t bytes)
{
  static const struct in6_addr any = IN6ADDR_ANY_INIT;
  const struct sockaddr_in6 *in6 = (const void *)name;
  const struct sockaddr_in *in = (const void *)name;
  bool is_any = name->sa_family == AF_INET6
                    ? memcmp (&in6->sin6_addr, &any, sizeof any) == 0
                    : in->sin_addr.s_addr == INADDR_ANY;
  char host[NI_MAXHOST];

  if (getnameinfo (name, bytes, host, sizeof host, address->port,
                   sizeof address->port, NI_NUMERICHOST | NI_NUMERICSERV)
      != 0)
    return -EINVAL;
  address->host = host_of_uri (is_any ? "" : host);
  return address->host != NULL ? 0 : -ENOMEM;
}

int
listeners_add_passed (struct listeners *listeners, unsigned index, int fd,
                      struct blkmq_error *error)
{
  struct address *address = &listeners->addresses[index];
  struct sockaddr_storage name = { .ss_family = AF_UNSPEC };
  socklen_t bytes = sizeof name;
  int flags = fcntl (fd, F_GETFL), r;

  address->listeners = listeners;
  address->is_passed = true;
  if (flags < 0 || fcntl (fd, F_SETFL, flags | O_NONBLOCK) < 0
      || getsockname (fd, (struct sockaddr *)&name, &bytes) < 0)
    r = -errno;
  else if (name.ss_family == AF_UNIX)
    r = find_path (address, (const void *)&name, bytes);
  else {
    address->is_tcp = true;
    r = find_host (address, (const void *)&name, bytes);
  }
  if (r == 0)
    r = add_socket (address, fd);
  else
    close (fd);
  if (r < 0)
    snprintf (error->message, sizeof error->message, "fd %d: %s", fd,
              strerror (-r));
  return r;
}

/* ------------------------------------------------------------------------ */
/* URIs                                                                      */

/* TEXT with all but what may stand in any part of a URI, and in KEPT, as %XX;
 * to be freed. */
static char *
escape (const char *text, const char *kept)
{
  static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "abcdefghijklmnopqrstuvwxyz0123456789-._~";
  char *result = malloc (3 * strlen (text) + 1);
  char *p = result;

  if (result == NULL)
    return NULL;
  for (; *text != '\0'; text++) {
    if (strchr (plain, *text) != NULL || strchr (kept, *text) != NULL)
      *p++ = *text;
    else
      p += sprintf (p, "%%%02X", (unsigned char)*text);
  }
  *p = '\0';
  return result;
}

char *
listeners_uri (const struct listeners *listeners, unsigned index,
               const char *name, bool is_tls)
{
  const char *scheme = is_tls ? "nbds" : "nbd";
  const struct address *address = &listeners->addresses[index];
  char *export = escape (name, "/");
  char *path = escape (listeners_path (listeners, index), "/");
  char *uri = NULL;
  int n = -1;

  if (export != NULL && path != NULL && (address->is_tcp || path[0] != '\0'))
    n = address->is_tcp
            ? asprintf (&uri, "%s://%s:%s%s%s", scheme, address->host,
                        address->port, *name != '\0' ? "/" : "", export)
            : asprintf (&uri, "%s+unix:///%s?socket=%s", scheme, export, path);
  free (export);
  free (path);
  return n < 0 ? NULL : uri;
}

const char *
listeners_path (const struct listeners *listeners, unsigned index)
{
  const struct address *address = &listeners->addresses[index];

  return address->is_tcp ? "" : address->path;
}

const char *
listeners_port (const struct listeners *listeners, unsigned index)
{
  return listeners->addresses[index].port;
}
