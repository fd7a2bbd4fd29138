/* SPDX-License-Identifier: BSD-3-Clause
 *
 * request.c: an NBD request is done: on its worker's own stack and thread, with
 * nbdkit's own buffer.  Handing it to another thread would cost more than all
 * the rest together.  With poll_queues its worker polls for it, too.  nbdkit's
 * worker threads, several at a time.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "blkmq.h"
#include "front/nbd-answer.h"
#include "plugin.h"

/* How often a worker that waits looks whether anybody still wants the answer.
 * A shutdown waits that long for it. */
#define LOOK_INTERVAL_NS (UINT64_C (100) * 1000 * 1000)

/* -D blkmq.request=1: log each request. */
extern int blkmq_debug_request;
NBDKIT_DLL_PUBLIC int blkmq_debug_request;

/* ERR is a positive errno of the engine's. */
static void __attribute__ ((cold))
report (const struct connection *connection, const char *operation,
        uint64_t bytes, uint64_t offset, int err)
{
  const struct nbd_answer *answer = nbd_answer_to_errno (err);
  const char *prefix = connection->export->prefix;
  char buf[NBD_ANSWER_WHY_BYTES];
  const char *why
      = nbd_answer_why (answer, connection->limits, offset, bytes, buf);
  char range[80] = ""; /* a flush has none */

  if (bytes > 0)
    snprintf (range, sizeof range, " of %" PRIu64 " bytes at offset %" PRIu64,
              bytes, offset);

  /* nbdkit turns an unsupported zero into a write: nothing has failed yet. */
  if (answer->told == EOPNOTSUPP)
    nbdkit_debug ("%s%s%s: %s", prefix, operation, range, why);
  else
    nbdkit_error ("%s%s%s: %s", prefix, operation, range, why);
  nbdkit_set_error (answer->told);
}

/* nbdkit logs a line itself when there is no point in waiting. */
static bool
is_wanted (void *opaque)
{
  return nbdkit_nanosleep (0, 0) == 0;
}

static int
submit (const struct connection *connection, enum blkmq_op op, uint32_t flags,
        uint64_t bytes, uint64_t offset, const struct iovec *segments,
        unsigned nr_segments)
{
  /* Not initialised as a whole: most of it is the engine's, and this is every
   * request's way. */
  struct blkmq_io io;
  int r;

  io.op = op;
  io.flags = flags | connection->io_flags;
  io.offset_bytes = offset;
  io.bytes = bytes;
  io.segments = segments;
  io.nr_segments = nr_segments;
  io.prio = BLKMQ_PRIO_NONE;
  r = blkmq_submit_sync_while (connection->submitter, &io, LOOK_INTERVAL_NS,
                               is_wanted, NULL);

  if (blkmq_debug_request)
    nbdkit_debug ("%shctx %u: %s of %" PRIu64 " bytes at offset %" PRIu64
                  ", flags 0x%" PRIx32 ": %d",
                  connection->export->prefix, hctx_of (connection),
                  blkmq_op_name (op), bytes, offset, flags, r);
  if (r < 0) {
    report (connection, blkmq_op_name (op), bytes, offset, -r);
    return -1;
  }
  return 0;
}

static uint32_t
io_flags (uint32_t flags)
{
  return flags & NBDKIT_FLAG_FUA ? BLKMQ_IO_FUA : 0;
}

static bool
is_unaligned (const struct blkmq_limits *limits, uint32_t count,
              uint64_t offset)
{
  return ((offset | count) & (limits->logical_block_bytes - 1)) != 0;
}

/* Clients keep to the blocks that they are told of, but nbdkit's filters do
 * not all: partition reads the entries of a GPT one by one.  A read is widened
 * to whole blocks, and what was not asked for goes to a place of its own.  (A
 * write would have to read first and could tear: it is refused.) */
static int __attribute__ ((cold))
read_unaligned (const struct connection *connection, void *buf, uint32_t count,
                uint64_t offset)
{
  const struct blkmq_limits *limits = connection->limits;
  uint64_t mask = limits->logical_block_bytes - 1;
  uint64_t first = offset & ~mask, end = (offset + count + mask) & ~mask;
  struct iovec segments[3];
  void *aside;
  int r;

  if (end > limits->size_bytes)
    end = limits->size_bytes;
  aside = malloc (limits->logical_block_bytes);
  if (aside == NULL) {
    nbdkit_error ("%sread of %" PRIu32 " bytes at offset %" PRIu64 ": %m",
                  connection->export->prefix, count, offset);
    return -1;
  }
  segments[0] = (struct iovec){ aside, offset - first };
  segments[1] = (struct iovec){ buf, count };
  segments[2] = (struct iovec){ aside, end - offset - count };
  r = submit (connection, BLKMQ_OP_READ, 0, end - first, first, segments, 3);
  free (aside);
  return r;
}

int
plugin_pread (void *handle, void *buf, uint32_t count, uint64_t offset,
              uint32_t flags)
{
  const struct connection *connection = handle;
  struct iovec segment = { .iov_base = buf, .iov_len = count };

  if (is_unaligned (connection->limits, count, offset))
    return read_unaligned (handle, buf, count, offset);
  return submit (handle, BLKMQ_OP_READ, 0, count, offset, &segment, 1);
}

int
plugin_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset,
               uint32_t flags)
{
  /* An iovec has no const; a write only reads. */
  struct iovec segment
      = { .iov_base = (void *)(uintptr_t)buf, .iov_len = count };

  return submit (handle, BLKMQ_OP_WRITE, io_flags (flags), count, offset,
                 &segment, 1);
}

int
plugin_flush (void *handle, uint32_t flags)
{
  return submit (handle, BLKMQ_OP_FLUSH, 0, 0, 0, NULL, 0);
}

int
plugin_trim (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  return submit (handle, BLKMQ_OP_DISCARD, io_flags (flags), count, offset,
                 NULL, 0);
}

int
plugin_zero (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  uint32_t nounmap = flags & NBDKIT_FLAG_MAY_TRIM ? 0 : BLKMQ_IO_NOUNMAP;

  return submit (handle, BLKMQ_OP_WRITE_ZEROES, io_flags (flags) | nounmap,
                 count, offset, NULL, 0);
}

struct extents_walk {
  struct nbdkit_extents *extents;
  bool one; /* the client wants the first only */
  bool any;
  unsigned type; /* of the last, if any */
};

/* The engine's flags are NBD's. */
_Static_assert(BLKMQ_EXTENT_HOLE == NBDKIT_EXTENT_HOLE, "same bit");
_Static_assert(BLKMQ_EXTENT_ZERO == NBDKIT_EXTENT_ZERO, "same bit");

/* 1: enough.  nbdkit joins neighbours of one type, so the first extent ends
 * where the type changes. */
static int
add_extent (uint64_t offset_bytes, uint64_t bytes, unsigned type, void *opaque)
{
  struct extents_walk *walk = opaque;

  if (walk->one && walk->any && type != walk->type)
    return 1;
  walk->any = true;
  walk->type = type;
  if (nbdkit_add_extent (walk->extents, offset_bytes, bytes, type) == -1)
    return -errno;
  return 0;
}

int
plugin_extents (void *handle, uint32_t count, uint64_t offset, uint32_t flags,
                struct nbdkit_extents *extents)
{
  struct extents_walk walk = {
    .extents = extents,
    .one = (flags & NBDKIT_FLAG_REQ_ONE) != 0,
  };
  const struct connection *connection = handle;
  int r = blkmq_disk_extents (connection->export->disk, offset, count,
                              add_extent, &walk);

  if (r < 0) {
    report (connection, "extents", count, offset, -r);
    return -1;
  }
  return 0;
}

int
plugin_cache (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  const struct connection *connection = handle;
  uint64_t size_bytes = connection->limits->size_bytes;

  if (flags != 0 || offset > size_bytes || count > size_bytes - offset) {
    report (connection, "cache", count, offset, EINVAL);
    return -1;
  }
  return 0;
}
