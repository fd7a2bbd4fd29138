/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sparse.c: where there is nothing: the extents of a range for who asks for
 * them, and reads that do not carry zeros over the wire.
 *
 * The connection's worker.
 */

#include <config.h>

#include <errno.h>

#include "front/nbd-answer.h"
#include "server/internal.h"
#include "server/nbd.h"

/* Told at once; a client that wants to know more asks again from there. */
#define MAX_STATUS_EXTENTS 2000u

/* A read in more pieces than this is cheaper as one. */
#define MAX_READ_EXTENTS 16u

/* A shorter read is looked at only if it may be nothing but zeros. */
#define LONG_READ_BYTES (UINT32_C (64) << 10)

#define EXTENT_BYTES 8u  /* of a block status: length and state */
#define CONTEXT_BYTES 4u /* its number, before them */
#define HOLE_BYTES 12u   /* of a hole in a read: offset and length */
#define OFFSET_BYTES 8u  /* of data in a read */
#define PIECE_BYTES (NBD_CHUNK_BYTES + HOLE_BYTES) /* the longer head */

_Static_assert(BLKMQ_EXTENT_HOLE == NBD_STATE_HOLE, "same bit");
_Static_assert(BLKMQ_EXTENT_ZERO == NBD_STATE_ZERO, "same bit");
_Static_assert(NBD_CHUNK_BYTES + CONTEXT_BYTES
                       + MAX_STATUS_EXTENTS * EXTENT_BYTES
                   <= BUFFER_MIN_BYTES,
               "an answer that can always be made");

struct extent {
  uint32_t bytes;
  unsigned type;
};

/* Neighbours of one type are one.  More than was asked for is not believed: the
 * driver may be anybody's, and what lies behind a buffer is nobody's business.
 */
struct walk {
  struct extent *extents;
  unsigned nr, max;
  uint32_t left_bytes; /* of the range */
};

/* 1: there is no room for it. */
static int
add_extent (uint64_t offset_bytes, uint64_t bytes, unsigned type, void *opaque)
{
  struct walk *walk = opaque;

  if (bytes > walk->left_bytes)
    bytes = walk->left_bytes;
  if (bytes == 0)
    return 0;
  if (walk->nr > 0 && walk->extents[walk->nr - 1].type == type) {
    walk->extents[walk->nr - 1].bytes += (uint32_t)bytes;
    walk->left_bytes -= (uint32_t)bytes;
    return 0;
  }
  if (walk->nr == walk->max)
    return 1;
  walk->extents[walk->nr].bytes = (uint32_t)bytes;
  walk->extents[walk->nr++].type = type;
  walk->left_bytes -= (uint32_t)bytes;
  return 0;
}

void
reply_block_status (struct connection *connection, uint64_t cookie,
                    uint64_t offset_bytes, uint32_t bytes, bool only_one)
{
  struct extent extents[MAX_STATUS_EXTENTS];
  struct walk walk = { .extents = extents,
                       .max = only_one ? 1 : MAX_STATUS_EXTENTS,
                       .left_bytes = bytes };
  struct buffer *buffer;
  uint32_t reply_bytes;
  uint8_t *base;
  int r;

  r = blkmq_disk_extents (connection->export->disk, offset_bytes, bytes,
                          add_extent, &walk);
  if (r < 0 || walk.nr == 0) {
    const struct nbd_answer *answer = nbd_answer_to_errno (r < 0 ? -r : EIO);

    reply_error (connection, cookie, (uint32_t)answer->told, answer->why);
    return;
  }
  reply_bytes = CONTEXT_BYTES + walk.nr * EXTENT_BYTES;
  base = reply_reserve (connection, NBD_CHUNK_BYTES + reply_bytes, &buffer);
  if (base == NULL) {
    connection_close (connection, LOG_LEVEL_WARNING,
                      "cut off: no memory for an answer");
    return;
  }
  reply_put_chunk (base, cookie, NBD_REPLY_FLAG_DONE,
                   NBD_REPLY_TYPE_BLOCK_STATUS, reply_bytes);
  nbd_put32 (base + NBD_CHUNK_BYTES, CONTEXT_ALLOCATION);
  for (unsigned i = 0; i < walk.nr; i++) {
    uint8_t *at
        = base + NBD_CHUNK_BYTES + CONTEXT_BYTES + i * (size_t)EXTENT_BYTES;

    nbd_put32 (at, extents[i].bytes);
    nbd_put32 (at + 4, extents[i].type);
  }
  output_add (connection, base, NBD_CHUNK_BYTES + reply_bytes, buffer);
  buffer_put (buffer);
}

/* ------------------------------------------------------------------------ */
/* Reads                                                                     */

static bool
may_have_holes (const uint8_t *data, uint32_t bytes)
{
  return bytes >= LONG_READ_BYTES
         || (data[0] == 0 && data[bytes / 2] == 0 && data[bytes - 1] == 0);
}

/* The read was done as any other; what has become a hole in the meantime is
 * zeros to whoever reads it now. */
bool
reply_sparse_read (struct command *command)
{
  struct connection *connection = command->connection;
  uint8_t *data = command->segment.iov_base;
  struct extent extents[MAX_READ_EXTENTS];
  struct walk walk = { .extents = extents,
                       .max = MAX_READ_EXTENTS,
                       .left_bytes = command->bytes };
  uint64_t offset_bytes = command->offset_bytes;
  struct buffer *heads;
  uint8_t *head;
  int r;

  data += offset_bytes - command->io.offset_bytes;
  if (!may_have_holes (data, command->bytes))
    return false;
  r = blkmq_disk_extents (connection->export->disk, offset_bytes,
                          command->bytes, add_extent, &walk);
  if (r != 0 || walk.left_bytes > 0
      || (walk.nr == 1 && !(extents[0].type & BLKMQ_EXTENT_ZERO)))
    return false;
  head = reply_reserve (connection, walk.nr * PIECE_BYTES, &heads);
  if (head == NULL)
    return false;

  for (unsigned i = 0; i < walk.nr; i++, head += PIECE_BYTES) {
    unsigned flags = i == walk.nr - 1 ? NBD_REPLY_FLAG_DONE : 0;
    uint32_t bytes = extents[i].bytes;

    nbd_put64 (head + NBD_CHUNK_BYTES, offset_bytes);
    if (extents[i].type & BLKMQ_EXTENT_ZERO) {
      reply_put_chunk (head, command->cookie, flags, NBD_REPLY_TYPE_OFFSET_HOLE,
                       HOLE_BYTES);
      nbd_put32 (head + NBD_CHUNK_BYTES + OFFSET_BYTES, bytes);
      output_add (connection, head, PIECE_BYTES, heads);
    } else {
      reply_put_chunk (head, command->cookie, flags, NBD_REPLY_TYPE_OFFSET_DATA,
                       OFFSET_BYTES + bytes);
      if (output_add (connection, head, NBD_CHUNK_BYTES + OFFSET_BYTES, heads))
        output_add (connection, data, bytes, command->reply_buffer);
    }
    if (connection->phase == PHASE_CLOSED)
      break;
    data += bytes;
    offset_bytes += bytes;
  }
  buffer_put (heads);
  return true;
}
