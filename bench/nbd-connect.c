/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nbd-connect.c: connects to a Unix socket and negotiates an export: fixed
 * newstyle, NBD_OPT_GO, nothing optional, so replies will be simple ones.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "nbd-client.h"

static void
send_all (int fd, const void *data, size_t bytes)
{
  const unsigned char *p = data;
  ssize_t n;

  while (bytes > 0) {
    n = send (fd, p, bytes, MSG_NOSIGNAL);
    if (n == -1 && errno == EINTR)
      continue;
    if (n == -1)
      die ("send: %s", strerror (errno));
    p += n;
    bytes -= (size_t)n;
  }
}

static void
recv_all (int fd, void *data, size_t bytes)
{
  unsigned char *p = data;
  ssize_t n;

  while (bytes > 0) {
    n = recv (fd, p, bytes, 0);
    if (n == -1 && errno == EINTR)
      continue;
    if (n == -1)
      die ("negotiation: recv: %s", strerror (errno));
    if (n == 0)
      die ("negotiation: the server closed the connection");
    p += n;
    bytes -= (size_t)n;
  }
}

static int
connect_unix (const char *path)
{
  /* A server that stops answering is an error, not a hang. */
  const struct timeval hang = { .tv_sec = HANG_MS / 1000 };
  struct sockaddr_un addr = { .sun_family = AF_UNIX };
  int fd;

  if (strlen (path) >= sizeof addr.sun_path)
    die ("%s: the path of a socket has at most %zu bytes", path,
         sizeof addr.sun_path - 1);
  strcpy (addr.sun_path, path);
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd == -1)
    die ("socket: %s", strerror (errno));
  if (connect (fd, (struct sockaddr *)&addr, sizeof addr) == -1)
    die ("connect to %s: %s", path, strerror (errno));
  if (setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &hang, sizeof hang) == -1
      || setsockopt (fd, SOL_SOCKET, SO_SNDTIMEO, &hang, sizeof hang) == -1)
    die ("setsockopt: %s", strerror (errno));
  return fd;
}

/* One reply to NBD_OPT_GO; false when it was the last. */
static bool
take_reply (struct connection *c)
{
  unsigned char head[20], body[4096 + 1];
  uint32_t type, bytes;

  recv_all (c->fd, head, sizeof head);
  type = get32 (head + 12);
  bytes = get32 (head + 16);
  if (get64 (head) != NBD_OPTION_REPLY_MAGIC || get32 (head + 8) != NBD_OPT_GO
      || bytes >= sizeof body)
    die ("negotiation: malformed option reply");
  recv_all (c->fd, body, bytes);
  body[bytes] = '\0';
  if (type & NBD_REP_IS_ERROR)
    die ("the server refuses the export: error %" PRIu32 "%s%s",
         type & ~NBD_REP_IS_ERROR, bytes > 0 ? ": " : "", (char *)body);
  if (type == NBD_REP_INFO && bytes == 12 && get16 (body) == NBD_INFO_EXPORT) {
    c->device_bytes = get64 (body + 2);
    c->read_only = (get16 (body + 10) & NBD_FLAG_READ_ONLY) != 0;
  } else if (type == NBD_REP_INFO && bytes == 14
             && get16 (body) == NBD_INFO_BLOCK_SIZE) {
    c->min_block_bytes = get32 (body + 2);
    c->max_block_bytes = get32 (body + 10);
  }
  return type != NBD_REP_ACK;
}

void
connection_open (struct connection *c, const char *socket_path,
                 const char *export_name)
{
  uint32_t name_bytes = (uint32_t)strlen (export_name);
  uint32_t option_bytes = 4 + name_bytes + 2 + 2;
  unsigned char greeting[18];
  unsigned char *go = xcalloc (1, 4 + 16 + option_bytes), *at = go;
  uint16_t flags;

  *c = (struct connection){
    .fd = connect_unix (socket_path),
    .min_block_bytes = 1,
    .max_block_bytes = MAX_BLOCK_BYTES,
  };
  recv_all (c->fd, greeting, sizeof greeting);
  flags = get16 (greeting + 16);
  if (get64 (greeting) != NBD_MAGIC || get64 (greeting + 8) != NBD_OPTION_MAGIC
      || !(flags & NBD_FLAG_FIXED_NEWSTYLE))
    die ("negotiation: not a fixed newstyle NBD server");

  /* The client's flags, then the only option: GO, with a request for one
   * piece of information, the block sizes.
   */
  put32 (at, NBD_FLAG_FIXED_NEWSTYLE | (flags & NBD_FLAG_NO_ZEROES));
  put64 (at += 4, NBD_OPTION_MAGIC);
  put32 (at += 8, NBD_OPT_GO);
  put32 (at += 4, option_bytes);
  put32 (at += 4, name_bytes);
  memcpy (at += 4, export_name, name_bytes);
  put16 (at += name_bytes, 1);
  put16 (at + 2, NBD_INFO_BLOCK_SIZE);
  send_all (c->fd, go, 4 + 16 + option_bytes);
  free (go);

  while (take_reply (c))
    ;
  if (c->device_bytes == 0)
    die ("negotiation: the server told no size, or a size of 0");
  if (c->min_block_bytes == 0 || c->max_block_bytes < c->min_block_bytes)
    die ("negotiation: impossible block sizes, %" PRIu32 " to %" PRIu32,
         c->min_block_bytes, c->max_block_bytes);
}

void
connection_close (struct connection *c)
{
  unsigned char request[NBD_REQUEST_BYTES] = { 0 };

  put32 (request, NBD_REQUEST_MAGIC);
  put16 (request + 6, NBD_CMD_DISC);
  send_all (c->fd, request, sizeof request);
  close (c->fd);
}
