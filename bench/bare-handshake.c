/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bare-handshake.c: as much negotiation as the bench's clients need: fixed
 * newstyle with GO, INFO and EXPORT_NAME, any export name, simple replies.  It
 * waits for the client while its thread serves nobody else, which a measure may
 * do and a server must not.
 */

#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "bare-loop.h"
#include "server/nbd.h"

#define PATIENCE_S 10
#define MAX_OPTION_BYTES 8192u

static bool
send_all (int fd, const uint8_t *bytes, size_t nr)
{
  while (nr > 0) {
    ssize_t n = send (fd, bytes, nr, MSG_NOSIGNAL);

    if (n == -1 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    bytes += n;
    nr -= (size_t)n;
  }
  return true;
}

static bool
recv_all (int fd, uint8_t *bytes, size_t nr)
{
  while (nr > 0) {
    ssize_t n = recv (fd, bytes, nr, 0);

    if (n == -1 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    bytes += n;
    nr -= (size_t)n;
  }
  return true;
}

static bool
reply (int fd, uint32_t option, uint32_t type, const uint8_t *data, uint32_t nr)
{
  uint8_t head[20];

  nbd_put64 (head, NBD_REP_MAGIC);
  nbd_put32 (head + 8, option);
  nbd_put32 (head + 12, type);
  nbd_put32 (head + 16, nr);
  return send_all (fd, head, sizeof head) && send_all (fd, data, nr);
}

static const uint16_t flags
    = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_CAN_MULTI_CONN;

static bool
reply_info (int fd, uint32_t option, const struct memory *memory)
{
  uint8_t info[12], sizes[14];

  nbd_put16 (info, NBD_INFO_EXPORT);
  nbd_put64 (info + 2, memory->nr_bytes);
  nbd_put16 (info + 10, flags);
  nbd_put16 (sizes, NBD_INFO_BLOCK_SIZE);
  nbd_put32 (sizes + 2, 1);
  nbd_put32 (sizes + 6, 4096);
  nbd_put32 (sizes + 10, 32u << 20);
  return reply (fd, option, NBD_REP_INFO, info, sizeof info)
         && reply (fd, option, NBD_REP_INFO, sizes, sizeof sizes)
         && reply (fd, option, NBD_REP_ACK, NULL, 0);
}

/* The answer to EXPORT_NAME: no head, and zeroes that were once reserved. */
static bool
send_export (int fd, const struct memory *memory, bool zeroes)
{
  uint8_t export[10 + 124] = { 0 };

  nbd_put64 (export, memory->nr_bytes);
  nbd_put16 (export + 8, flags);
  return send_all (fd, export, zeroes ? sizeof export : 10);
}

bool
handshake (int fd, const struct memory *memory)
{
  const struct timeval patience = { .tv_sec = PATIENCE_S };
  uint8_t greeting[18], client_flags[4], head[16], data[MAX_OPTION_BYTES];

  setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  nbd_put64 (greeting, NBD_MAGIC);
  nbd_put64 (greeting + 8, NBD_OPTS_MAGIC);
  nbd_put16 (greeting + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
  if (!send_all (fd, greeting, sizeof greeting)
      || !recv_all (fd, client_flags, sizeof client_flags))
    return false;

  for (;;) {
    uint32_t option, nr;

    if (!recv_all (fd, head, sizeof head) || nbd_get64 (head) != NBD_OPTS_MAGIC)
      return false;
    option = nbd_get32 (head + 8);
    nr = nbd_get32 (head + 12);
    if (nr > sizeof data || !recv_all (fd, data, nr))
      return false;
    switch (option) {
    case NBD_OPT_GO:
    case NBD_OPT_INFO:
      if (!reply_info (fd, option, memory))
        return false;
      if (option == NBD_OPT_GO)
        return true;
      break;
    case NBD_OPT_EXPORT_NAME:
      return send_export (fd, memory,
                          !(nbd_get32 (client_flags) & NBD_FLAG_NO_ZEROES));
    case NBD_OPT_ABORT:
      reply (fd, option, NBD_REP_ACK, NULL, 0);
      return false;
    default:
      if (!reply (fd, option, NBD_REP_ERR_UNSUP, NULL, 0))
        return false;
    }
  }
}
