/* SPDX-License-Identifier: BSD-3-Clause
 *
 * passed.c: sockets that were opened by whoever started blkmqd.  The main
 * thread, before others run.
 */

#include <config.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "server/passed.h"
#include "text.h"

#ifdef HAVE_LIBSYSTEMD

static void
say_wrong (const char *number, const char *names, struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "LISTEN_FDS=");
  text_add_value (&text, number != NULL ? number : "");
  text_add (&text, ", LISTEN_FDNAMES=");
  text_add_value (&text, names != NULL ? names : "");
  text_add (&text, ": invalid; must be how many descriptors are "
                   "open from 3 on, and as many names");
}

int
passed_take (struct passed *passed, struct blkmq_error *error)
{
  struct blkmq_error wrong;
  char **names = NULL;
  int nr;

  *passed = (struct passed){ .nr = 0 };
  /* What was wrong is gone from the environment afterwards. */
  say_wrong (getenv ("LISTEN_FDS"), getenv ("LISTEN_FDNAMES"), &wrong);
  nr = sd_listen_fds_with_names (1, &names);
  if (nr <= 0) {
    if (nr < 0)
      *error = wrong;
    return nr;
  }
  passed->sockets = calloc ((size_t)nr, sizeof passed->sockets[0]);
  for (int i = 0; i < nr; i++)
    if (passed->sockets != NULL)
      passed->sockets[passed->nr++]
          = (struct passed_socket){ SD_LISTEN_FDS_START + i, names[i] };
    else
      free (names[i]);
  free (names);
  if (passed->sockets != NULL)
    return 0;
  snprintf (error->message, sizeof error->message, "out of memory");
  return -ENOMEM;
}

#else

int
passed_take (struct passed *passed, struct blkmq_error *error)
{
  *passed = (struct passed){ .nr = 0 };
  return 0;
}

#endif

void
passed_free (struct passed *passed)
{
  for (unsigned i = 0; i < passed->nr; i++)
    free (passed->sockets[i].name);
  free (passed->sockets);
  *passed = (struct passed){ .nr = 0 };
}

/* ------------------------------------------------------------------------ */
/* What it is                                                                */

static int
option_of (int fd, int option)
{
  int value = -1;
  socklen_t bytes = sizeof value;

  return getsockopt (fd, SOL_SOCKET, option, &value, &bytes) < 0 ? -1 : value;
}

static bool
is_connected (int fd)
{
  struct sockaddr_storage peer;
  socklen_t bytes = sizeof peer;

  return getpeername (fd, (struct sockaddr *)&peer, &bytes) == 0;
}

static const char *
describe_socket (int fd, enum passed_kind *kind)
{
  int domain = option_of (fd, SO_DOMAIN);
  bool is_unix = domain == AF_UNIX;

  if (!is_unix && domain != AF_INET && domain != AF_INET6)
    return "a socket of neither Unix nor IP";
  if (option_of (fd, SO_TYPE) == SOCK_DGRAM)
    return is_unix ? "a Unix datagram socket" : "a UDP socket";
  if (option_of (fd, SO_TYPE) != SOCK_STREAM)
    return "a socket that is no stream";
  if (option_of (fd, SO_ACCEPTCONN) == 1) {
    *kind = PASSED_LISTENS;
    return is_unix ? "a Unix socket that listens" : "a TCP socket that listens";
  }
  if (is_connected (fd)) {
    *kind = PASSED_CONNECTED;
    return is_unix ? "a connected Unix socket" : "a connected TCP socket";
  }
  return "a socket that neither listens nor is connected";
}

const char *
passed_describe (int fd, enum passed_kind *kind)
{
  struct stat st;

  *kind = PASSED_OTHER;
  if (fstat (fd, &st) < 0)
    return "not open";
  switch (st.st_mode & S_IFMT) {
  case S_IFSOCK:
    return describe_socket (fd, kind);
  case S_IFIFO:
    return "a pipe";
  case S_IFREG:
    return "a file";
  case S_IFDIR:
    return "a directory";
  case S_IFCHR:
  case S_IFBLK:
    return "a device";
  default:
    return "no socket";
  }
}

int
passed_check (const struct passed_socket *socket, struct blkmq_error *error)
{
  enum passed_kind kind;
  const char *what = passed_describe (socket->fd, &kind);
  struct text text;

  if (kind == PASSED_LISTENS)
    return 0;
  text = text_begin_error (error);
  text_add (&text, "fd %d, which was passed as ", socket->fd);
  text_add_value (&text, socket->name);
  text_add (&text, ": is %s; must be a Unix or TCP socket that listens", what);
  return -EINVAL;
}
