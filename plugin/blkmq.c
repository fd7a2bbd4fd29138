/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkmq.c: the nbdkit plugin: one disk, served to any number of connections.
 *
 * nbdkit's main thread configures, starts and removes the disk; its worker
 * threads, one for each request in flight, make the rest of the calls, several
 * at a time (THREAD_MODEL).  A connection is a submitter; request.c has what
 * comes over it.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "blkmq.h"
#include "plugin.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* The most that nbdkit takes in one read or write. */
#define MAX_REQUEST_BYTES (64u << 20)

/* Written by the main thread before anything is served, then only read. */
static struct blkmq_config *config;
struct blkmq_disk *disk;
const struct blkmq_limits *limits;
bool is_polled;
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
  struct blkmq_queues queues;
  char polled[32] = "";
  unsigned unit = 0;

  blkmq_disk_queues (disk, &queues);
  if (is_polled)
    snprintf (polled, sizeof polled, " and %u polled", queues.poll_queues);

  while (bytes % 1024 == 0 && unit < 6) {
    bytes /= 1024;
    unit++;
  }
  snprintf (description, sizeof description,
            "blkmq %s disk, %" PRIu64 " %s, %u hctx%s%s x %u, irqmode %s, "
            "seed %" PRIu64,
            blkmq_disk_driver_name (disk), bytes, units[unit],
            queues.submit_queues, queues.submit_queues == 1 ? "" : "s", polled,
            queues.hw_queue_depth, blkmq_config_string (config, "irqmode"),
            blkmq_disk_seed (disk));
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
  is_polled = blkmq_config_number (config, "poll_queues") > 0;
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
  log_stats ();
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

unsigned
hctx_of (const struct blkmq_submitter *submitter)
{
  return blkmq_submitter_hctx_of (
      submitter, is_polled ? BLKMQ_HCTX_TYPE_POLL : BLKMQ_HCTX_TYPE_DEFAULT);
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
  nbdkit_debug ("connection bound to hctx %u of %u", hctx_of (submitter),
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
