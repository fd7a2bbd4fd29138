/* SPDX-License-Identifier: BSD-3-Clause
 *
 * check.c: may a client ask for this?  Knows no socket and no engine.
 *
 * The connection's worker.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "server/internal.h"
#include "server/nbd.h"

bool
request_has_data (const struct request *request)
{
  return request->type == NBD_CMD_READ || request->type == NBD_CMD_WRITE;
}

static bool
changes_data (const struct request *request)
{
  return request->type == NBD_CMD_WRITE || request->type == NBD_CMD_TRIM
         || request->type == NBD_CMD_WRITE_ZEROES;
}

/* What a client may set that was told of this export's transmission flags. */
static unsigned
allowed_flags (const struct connection *connection, uint16_t type)
{
  switch (type) {
  case NBD_CMD_READ:
    return NBD_CMD_FLAG_FUA
           | (connection->structured_replies ? NBD_CMD_FLAG_DF : 0);
  case NBD_CMD_WRITE_ZEROES:
    return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO;
  case NBD_CMD_BLOCK_STATUS:
    return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE;
  default:
    return NBD_CMD_FLAG_FUA;
  }
}

static bool
is_known (const struct connection *connection, uint16_t type)
{
  switch (type) {
  case NBD_CMD_READ:
  case NBD_CMD_WRITE:
  case NBD_CMD_FLUSH:
  case NBD_CMD_CACHE:
    return true;
  case NBD_CMD_TRIM:
    return connection->limits->max_discard_bytes > 0;
  case NBD_CMD_WRITE_ZEROES:
    return connection->limits->max_write_zeroes_bytes > 0;
  case NBD_CMD_BLOCK_STATUS:
    return connection->context_allocation;
  default:
    return false;
  }
}

static bool
is_unaligned (const struct blkmq_limits *limits, const struct request *request)
{
  uint32_t mask = limits->logical_block_bytes - 1;

  if ((request->offset_bytes & mask) != 0)
    return true;
  /* The tail of a disk whose size is no multiple of the block. */
  return (request->bytes & mask) != 0
         && request->offset_bytes + request->bytes != limits->size_bytes;
}

/* NBD's error, and in TEXT why; 0 if all is well. */
uint32_t
request_check (const struct connection *connection,
               const struct request *request, char text[NR_TEXT_BYTES])
{
  const struct blkmq_limits *limits = connection->limits;
  unsigned unknown
      = request->flags & ~allowed_flags (connection, request->type);

  if (connection->must_refuse) {
    snprintf (text, NR_TEXT_BYTES, SERVER_ENDS);
    return NBD_ESHUTDOWN;
  }
  if (!is_known (connection, request->type)) {
    snprintf (text, NR_TEXT_BYTES, "command %u was not offered", request->type);
    return NBD_EINVAL;
  }
  if (unknown != 0) {
    snprintf (text, NR_TEXT_BYTES, "flag 0x%x is none of this command",
              unknown);
    return NBD_EINVAL;
  }
  if (changes_data (request) && limits->read_only) {
    snprintf (text, NR_TEXT_BYTES, "the disk is read-only");
    return NBD_EPERM;
  }
  if (request->type == NBD_CMD_FLUSH) {
    if (request->offset_bytes == 0 && request->bytes == 0)
      return 0;
    snprintf (text, NR_TEXT_BYTES, "a flush has neither offset nor length");
    return NBD_EINVAL;
  }
  if (request->bytes == 0) {
    snprintf (text, NR_TEXT_BYTES, "length 0");
    return NBD_EINVAL;
  }
  if (request_has_data (request)
      && request->bytes
             > connection->worker->server->limits.max_request_bytes) {
    snprintf (text, NR_TEXT_BYTES, "length %" PRIu32 ": at most %" PRIu32,
              request->bytes,
              connection->worker->server->limits.max_request_bytes);
    return NBD_EINVAL;
  }
  if (request->offset_bytes > limits->size_bytes
      || request->bytes > limits->size_bytes - request->offset_bytes) {
    snprintf (text, NR_TEXT_BYTES, "goes beyond the end of the disk, %" PRIu64,
              limits->size_bytes);
    return request->type == NBD_CMD_WRITE
                   || request->type == NBD_CMD_WRITE_ZEROES
               ? NBD_ENOSPC
               : NBD_EINVAL;
  }
  if (changes_data (request) && is_unaligned (limits, request)) {
    snprintf (text, NR_TEXT_BYTES, "not a multiple of blocksize=%" PRIu32,
              limits->logical_block_bytes);
    return NBD_EINVAL;
  }
  return 0;
}
