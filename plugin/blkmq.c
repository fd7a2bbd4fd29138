/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkmq.c: the nbdkit plugin: one disk, served to any number of connections.
 *
 * nbdkit's main thread configures, starts and removes the disk; its worker
 * threads, one for each request in flight, make the rest of the calls, several
 * at a time (THREAD_MODEL).  A connection is a submitter.  A request is done
 * on its worker's own stack and thread, with nbdkit's own buffer: handing it
 * to another thread would cost more than all the rest together.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "blkmq.h"
#include "plugin.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* How often a worker that waits looks whether anybody still wants the answer.
 * A shutdown waits that long for it. */
#define LOOK_INTERVAL_NS (UINT64_C (100) * 1000 * 1000)

/* The most that nbdkit takes in one read or write. */
#define MAX_REQUEST_BYTES (64u << 20)

/* -D blkmq.request=1: log each request. */
extern int blkmq_debug_request;
NBDKIT_DLL_PUBLIC int blkmq_debug_request;

/* Written by the main thread before anything is served, then only read. */
static struct blkmq_config *config;
static struct blkmq_disk *disk;
static const struct blkmq_limits *limits;
static char description[128];
static char help[8192];

/* ------------------------------------------------------------------------ */
/* The life of the disk                                                      */

static void
plugin_load (void)
{
  /* nbdkit has copied the pointer already, but reads the text later. */
  print_help (help, sizeof help);
}

static int
plugin_config (const char *key, const char *value)
{
  struct blkmq_error error;

  if (config == NULL)
    config = blkmq_config_alloc ();
  if (config == NULL) {
    nbdkit_error ("%s: %m", key);
    return -1;
  }
  if (blkmq_config_set (config, key, value, &error) < 0) {
    nbdkit_error ("%s", error.message);
    return -1;
  }
  return 0;
}

static int
plugin_config_complete (void)
{
  struct blkmq_error error;

  if (config == NULL)
    config = blkmq_config_alloc (); /* no key was given: check says so */
  if (config == NULL) {
    nbdkit_error ("configuration: %m");
    return -1;
  }
  if (blkmq_config_check (config, &error) < 0) {
    nbdkit_error ("%s", error.message);
    return -1;
  }
  return 0;
}

/* In the largest unit that needs no fraction. */
static void
describe (uint64_t bytes)
{
  static const char *const units[]
      = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
  unsigned nr_hctxs = blkmq_disk_nr_hw_queues (disk);
  unsigned unit = 0;

  while (bytes % 1024 == 0 && unit < 6) {
    bytes /= 1024;
    unit++;
  }
  snprintf (description, sizeof description,
            "blkmq %s disk, %" PRIu64 " %s, %u hctx%s x %u, irqmode %s, "
            "seed %" PRIu64,
            blkmq_disk_driver_name (disk), bytes, units[unit], nr_hctxs,
            nr_hctxs == 1 ? "" : "s", blkmq_disk_queue_depth (disk),
            blkmq_config_string (config, "irqmode"), blkmq_disk_seed (disk));
}

/* All that can fail fails here, where the user sees the message. */
static int
plugin_get_ready (void)
{
  struct blkmq_error error;

  if (blkmq_disk_alloc (config, &disk, &error) < 0) {
    nbdkit_error ("%s", error.message);
    return -1;
  }
  limits = blkmq_disk_limits (disk);
  describe (limits->size_bytes);
  nbdkit_debug ("%s", description);
  if (!blkmq_config_is_set (config, "seed"))
    nbdkit_debug ("seed=%" PRIu64 " was drawn; give it to repeat this run",
                  blkmq_disk_seed (disk));
  return 0;
}

/* Threads do not survive nbdkit's fork: they are started after it. */
static int
plugin_after_fork (void)
{
  struct blkmq_error error;

  if (blkmq_disk_start (disk, &error) < 0) {
    nbdkit_error ("%s", error.message);
    return -1;
  }
  return 0;
}

/* The last connection is closed: nothing is in flight. */
static void
plugin_cleanup (void)
{
  blkmq_disk_remove (disk);
}

/* Also without cleanup, when the configuration had an error.  nbdkit does not
 * close the connections that a shutdown interrupts: their submitters then keep
 * the disk's memory, but nothing runs in it any more, and the process ends.
 */
static void
plugin_unload (void)
{
  if (disk != NULL)
    blkmq_disk_put (disk);
  blkmq_config_free (config);
}

/* ------------------------------------------------------------------------ */
/* Connections                                                               */

static int
plugin_list_exports (int readonly, int is_tls, struct nbdkit_exports *exports)
{
  /* Whatever name a client asks for, it gets the one disk. */
  return nbdkit_add_export (exports, "", description);
}

static const char *
plugin_export_description (void *handle)
{
  return description;
}

/* -r and readonly= come back to nbdkit by can_write. */
static void *
plugin_open (int readonly)
{
  struct blkmq_submitter *submitter
      = blkmq_submitter_alloc (disk, BLKMQ_HCTX_ANY);

  if (submitter == NULL) {
    nbdkit_error ("connection: %m");
    return NULL;
  }
  nbdkit_debug ("connection bound to hctx %u of %u",
                blkmq_submitter_hctx (submitter),
                blkmq_disk_nr_hw_queues (disk));
  return submitter;
}

static void
plugin_close (void *handle)
{
  blkmq_submitter_free (handle);
}

static int64_t
plugin_get_size (void *handle)
{
  return (int64_t)limits->size_bytes;
}

/* Advice to the client: nbdkit enforces nothing, the engine does.  NBD wants
 * a minimum that divides the size.  If the disk ends inside a block there is
 * none to give: with a false one libnbd would not read the tail, and qemu 7.2
 * aborts.
 */
static int
plugin_block_size (void *handle, uint32_t *minimum, uint32_t *preferred,
                   uint32_t *maximum)
{
  uint32_t block_bytes = limits->logical_block_bytes;

  *minimum = limits->size_bytes % block_bytes == 0 ? block_bytes : 1;
  *preferred = block_bytes > 4096 ? block_bytes : 4096;
  *maximum = MAX_REQUEST_BYTES; /* what is larger than a request is split */
  return 0;
}

static int
plugin_is_rotational (void *handle)
{
  return limits->rotational;
}

static int
plugin_can_write (void *handle)
{
  return !limits->read_only;
}

/* Also without a volatile cache: a client that cannot flush must assume the
 * worst. */
static int
plugin_can_flush (void *handle)
{
  return 1;
}

static int
plugin_can_fua (void *handle)
{
  return NBDKIT_FUA_NATIVE;
}

static int
plugin_can_trim (void *handle)
{
  return limits->max_discard_bytes > 0;
}

static int
plugin_can_zero (void *handle)
{
  return limits->max_write_zeroes_bytes > 0;
}

/* This promises no speed but that the answer comes fast.  A driver that has
 * write zeroes does them without the data, which is faster than a write; for
 * one that has none nbdkit refuses fast zeroes on its own. */
static int
plugin_can_fast_zero (void *handle)
{
  return 1;
}

/* A hint to fetch what will be read soon.  Between nbdkit and the drivers
 * there is nothing to fetch it into: it is taken and nothing is done, which is
 * cheaper than the read that nbdkit would make of it. */
static int
plugin_can_cache (void *handle)
{
  return NBDKIT_CACHE_NATIVE;
}

static int
plugin_can_extents (void *handle)
{
  return 1;
}

/* A flush covers what was answered before it on any connection: there is one
 * disk, and no cache in front of it that belongs to a connection. */
static int
plugin_can_multi_conn (void *handle)
{
  return 1;
}

/* ------------------------------------------------------------------------ */
/* Requests                                                                  */

/* What ends an io, what the client is told, and what the log says.  Of errnos
 * NBD has EPERM (for EROFS), EIO, ENOMEM, EINVAL, ENOSPC, ENOTSUP and
 * ESHUTDOWN; anything else would reach the client as EINVAL, which is the
 * client's fault and not the disk's. */
static const struct {
  enum blkmq_status status;
  int told;
  const char *why;
} answers[] = {
  { BLKMQ_STS_NOTSUPP, EOPNOTSUPP, "the driver does not do this" },
  { BLKMQ_STS_TIMEOUT, EIO, "io_timeout has passed" },
  { BLKMQ_STS_NOSPC, ENOSPC, "no space left on the disk" },
  { BLKMQ_STS_RESOURCE, ENOMEM, "out of memory" },
  { BLKMQ_STS_IOERR, EIO, "input/output error of the disk" },
  { BLKMQ_STS_MEDIUM, EIO, "the medium is bad at this place" },
  { BLKMQ_STS_AGAIN, EIO, "no tag was free" },
  { BLKMQ_STS_OFFLINE, ESHUTDOWN, "the disk was removed" },
  { BLKMQ_STS_INVAL, EINVAL, "out of bounds" },
  { BLKMQ_STS_READONLY, EROFS, "the disk is read-only" },
  { BLKMQ_STS_ABORTED, EIO, "given up by the client or by a shutdown" },
};

_Static_assert(sizeof answers / sizeof answers[0] == BLKMQ_NR_STATUSES - 1,
               "every status but OK has its answer");

/* ERR is a positive errno of the engine's. */
static void __attribute__ ((cold))
report (const char *operation, uint64_t bytes, uint64_t offset, int err)
{
  const char *why = "failed";
  char unaligned[64];
  char range[80] = ""; /* a flush has none */
  int told = EIO;
  size_t i;

  for (i = 0; i < sizeof answers / sizeof answers[0]; i++)
    if (blkmq_status_to_errno (answers[i].status) == err) {
      told = answers[i].told;
      why = answers[i].why;
    }
  if (err == EINVAL && (offset | bytes) % limits->logical_block_bytes != 0) {
    snprintf (unaligned, sizeof unaligned,
              "not a multiple of blocksize=%" PRIu32,
              limits->logical_block_bytes);
    why = unaligned;
  }

  if (bytes > 0)
    snprintf (range, sizeof range, " of %" PRIu64 " bytes at offset %" PRIu64,
              bytes, offset);

  /* nbdkit turns an unsupported zero into a write: nothing has failed yet. */
  if (told == EOPNOTSUPP)
    nbdkit_debug ("%s%s: %s", operation, range, why);
  else
    nbdkit_error ("%s%s: %s", operation, range, why);
  nbdkit_set_error (told);
}

/* nbdkit logs a line itself when there is no point in waiting. */
static bool
is_wanted (void *opaque)
{
  return nbdkit_nanosleep (0, 0) == 0;
}

static int
submit (struct blkmq_submitter *submitter, enum blkmq_op op, uint32_t flags,
        uint64_t bytes, uint64_t offset, const struct iovec *segments,
        unsigned nr_segments)
{
  /* Not initialised as a whole: most of it is the engine's, and this is every
   * request's way. */
  struct blkmq_io io;
  int r;

  io.op = op;
  io.flags = flags;
  io.offset_bytes = offset;
  io.bytes = bytes;
  io.segments = segments;
  io.nr_segments = nr_segments;
  r = blkmq_submit_sync_while (submitter, &io, LOOK_INTERVAL_NS, is_wanted,
                               NULL);

  if (blkmq_debug_request)
    nbdkit_debug ("hctx %u: %s of %" PRIu64 " bytes at offset %" PRIu64
                  ", flags 0x%" PRIx32 ": %d",
                  blkmq_submitter_hctx (submitter), blkmq_op_name (op), bytes,
                  offset, flags, r);
  if (r < 0) {
    report (blkmq_op_name (op), bytes, offset, -r);
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
is_unaligned (uint32_t count, uint64_t offset)
{
  return ((offset | count) & (limits->logical_block_bytes - 1)) != 0;
}

/* Clients keep to the blocks that they are told of, but nbdkit's filters do
 * not all: partition reads the entries of a GPT one by one.  A read is widened
 * to whole blocks, and what was not asked for goes to a place of its own.  (A
 * write would have to read first and could tear: it is refused.) */
static int __attribute__ ((cold))
read_unaligned (struct blkmq_submitter *submitter, void *buf, uint32_t count,
                uint64_t offset)
{
  uint64_t mask = limits->logical_block_bytes - 1;
  uint64_t first = offset & ~mask, end = (offset + count + mask) & ~mask;
  struct iovec segments[3];
  void *aside;
  int r;

  if (end > limits->size_bytes)
    end = limits->size_bytes;
  aside = malloc (limits->logical_block_bytes);
  if (aside == NULL) {
    nbdkit_error ("read of %" PRIu32 " bytes at offset %" PRIu64 ": %m", count,
                  offset);
    return -1;
  }
  segments[0] = (struct iovec){ aside, offset - first };
  segments[1] = (struct iovec){ buf, count };
  segments[2] = (struct iovec){ aside, end - offset - count };
  r = submit (submitter, BLKMQ_OP_READ, 0, end - first, first, segments, 3);
  free (aside);
  return r;
}

static int
plugin_pread (void *handle, void *buf, uint32_t count, uint64_t offset,
              uint32_t flags)
{
  struct iovec segment = { .iov_base = buf, .iov_len = count };

  if (is_unaligned (count, offset))
    return read_unaligned (handle, buf, count, offset);
  return submit (handle, BLKMQ_OP_READ, 0, count, offset, &segment, 1);
}

static int
plugin_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset,
               uint32_t flags)
{
  /* An iovec has no const; a write only reads. */
  struct iovec segment
      = { .iov_base = (void *)(uintptr_t)buf, .iov_len = count };

  return submit (handle, BLKMQ_OP_WRITE, io_flags (flags), count, offset,
                 &segment, 1);
}

static int
plugin_flush (void *handle, uint32_t flags)
{
  return submit (handle, BLKMQ_OP_FLUSH, 0, 0, 0, NULL, 0);
}

static int
plugin_trim (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  return submit (handle, BLKMQ_OP_DISCARD, io_flags (flags), count, offset,
                 NULL, 0);
}

static int
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

static int
plugin_extents (void *handle, uint32_t count, uint64_t offset, uint32_t flags,
                struct nbdkit_extents *extents)
{
  struct extents_walk walk = {
    .extents = extents,
    .one = (flags & NBDKIT_FLAG_REQ_ONE) != 0,
  };
  int r = blkmq_disk_extents (disk, offset, count, add_extent, &walk);

  if (r < 0) {
    report ("extents", count, offset, -r);
    return -1;
  }
  return 0;
}

static int
plugin_cache (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  if (flags != 0 || offset > limits->size_bytes
      || count > limits->size_bytes - offset) {
    report ("cache", count, offset, EINVAL);
    return -1;
  }
  return 0;
}

/* ------------------------------------------------------------------------ */

static struct nbdkit_plugin plugin = {
  .name = "blkmq",
  .longname = "nbdkit blkmq plugin",
  .version = PACKAGE_VERSION,
  .description = "A multi-queue block device: blk-mq in user space.",
  .magic_config_key = "size",
  .config_help = help,

  .load = plugin_load,
  .dump_plugin = print_dump,
  .config = plugin_config,
  .config_complete = plugin_config_complete,
  .get_ready = plugin_get_ready,
  .after_fork = plugin_after_fork,
  .cleanup = plugin_cleanup,
  .unload = plugin_unload,

  .list_exports = plugin_list_exports,
  .open = plugin_open,
  .close = plugin_close,
  .export_description = plugin_export_description,
  .get_size = plugin_get_size,
  .block_size = plugin_block_size,
  .is_rotational = plugin_is_rotational,
  .can_write = plugin_can_write,
  .can_flush = plugin_can_flush,
  .can_fua = plugin_can_fua,
  .can_trim = plugin_can_trim,
  .can_zero = plugin_can_zero,
  .can_fast_zero = plugin_can_fast_zero,
  .can_cache = plugin_can_cache,
  .can_extents = plugin_can_extents,
  .can_multi_conn = plugin_can_multi_conn,

  .pread = plugin_pread,
  .pwrite = plugin_pwrite,
  .flush = plugin_flush,
  .trim = plugin_trim,
  .zero = plugin_zero,
  .extents = plugin_extents,
  .cache = plugin_cache,
};

struct nbdkit_plugin *plugin_init (void); /* nbdkit's header has none */
NBDKIT_REGISTER_PLUGIN (plugin)
