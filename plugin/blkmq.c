/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkmq.c: the nbdkit plugin: disks, served to any number of connections.
 *
 * nbdkit's main thread configures, starts and removes the disks; its worker
 * threads, one for each request in flight, make the rest of the calls, several
 * at a time (THREAD_MODEL).  A connection is a submitter of its disk; request.c
 * has what comes over it.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "blkmq.h"
#include "front/control.h"
#include "front/stats.h"
#include "plugin.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* The most that nbdkit takes in one read or write. */
#define MAX_REQUEST_BYTES (64u << 20)

/* -D blkmq.stats=1: log the counters. */
extern int blkmq_debug_stats;
NBDKIT_DLL_PUBLIC int blkmq_debug_stats;

/* Written by the main thread before anything is served, then only read. */
struct exports *exports;
static struct front_control *control; /* NULL: there is none */
static char help[16384];

/* ------------------------------------------------------------------------ */
/* The life of the disks                                                     */

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
  char *path = NULL;
  int r;

  if (exports == NULL)
    exports = exports_alloc ();
  if (exports == NULL) {
    nbdkit_error ("%s: %m", key);
    return -1;
  }
  /* In the background nbdkit has another working directory. */
  if (front_key_find (key) == FRONT_CONTROL && value[0] != '\0') {
    path = nbdkit_absolute_path (value);
    if (path == NULL)
      return -1; /* nbdkit has said why */
    value = path;
  }
  r = exports_set (exports, key, value, &error);
  free (path);
  if (r < 0) {
    nbdkit_error ("%s", error.message);
    return -1;
  }
  return 0;
}

static int
plugin_config_complete (void)
{
  struct blkmq_error error;

  if (exports == NULL)
    exports = exports_alloc (); /* no key was given: check says so */
  if (exports == NULL) {
    nbdkit_error ("configuration: %m");
    return -1;
  }
  if (exports_check (exports, &error) < 0) {
    nbdkit_error ("%s", error.message);
    return -1;
  }
  return 0;
}

/* All that can fail fails here, where the user sees the message. */
static int
plugin_get_ready (void)
{
  struct blkmq_error error;
  uint64_t seed;

  if (exports_set_up (exports, &error) < 0) {
    nbdkit_error ("%s", error.message);
    return -1;
  }
  for (unsigned i = 0; i < exports_nr (exports); i++) {
    const struct export *export = exports_at (exports, i);
    char description[EXPORT_DESCRIPTION_BYTES];

    export_describe (export, description, sizeof description);
    nbdkit_debug ("%s%s", export->prefix, description);
  }
  if (exports_drew_seed (exports, &seed))
    nbdkit_debug ("seed=%" PRIu64 " was drawn; give it to repeat this run",
                  seed);
  if (front_control_open (exports, &control, &error) < 0) {
    nbdkit_error ("%s", error.message);
    return -1;
  }
  return 0;
}

/* Threads do not survive nbdkit's fork: they are started after it. */
static int
plugin_after_fork (void)
{
  struct blkmq_error error;

  if (exports_start (exports, &error) < 0
      || front_control_start (control, &error) < 0) {
    nbdkit_error ("%s", error.message);
    return -1;
  }
  return 0;
}

static void
log_debug (const char *line)
{
  nbdkit_debug ("%s", line);
}

/* The last connection is closed: nothing is in flight. */
static void
plugin_cleanup (void)
{
  front_control_stop (control);
  exports_remove (exports);
  front_control_free (control);
  control = NULL;
  for (unsigned i = 0; i < exports_nr (exports); i++)
    export_print_stats (exports_at (exports, i), blkmq_debug_stats, log_debug);
}

/* Also without cleanup, when the configuration had an error.  nbdkit does not
 * close the connections that a shutdown interrupts: their submitters then keep
 * the disk's memory, but nothing runs in it any more, and the process ends.
 */
static void
plugin_unload (void)
{
  front_control_free (control); /* a start that failed has left it */
  exports_free (exports);
}

/* ------------------------------------------------------------------------ */
/* Connections                                                               */

static int
plugin_list_exports (int readonly, int is_tls, struct nbdkit_exports *list)
{
  for (unsigned i = 0; i < exports_nr (exports); i++) {
    const struct export *export = exports_at (exports, i);
    char description[EXPORT_DESCRIPTION_BYTES];

    export_describe (export, description, sizeof description);
    if (nbdkit_add_export (list, export->name, description) == -1)
      return -1;
  }
  return 0;
}

static const char *
plugin_export_description (void *handle)
{
  const struct connection *connection = handle;
  char description[EXPORT_DESCRIPTION_BYTES];

  export_describe (connection->export, description, sizeof description);
  return nbdkit_strdup_intern (description); /* until the connection closes */
}

unsigned
hctx_of (const struct connection *connection)
{
  return blkmq_submitter_hctx_of (connection->submitter,
                                  connection->io_flags & BLKMQ_IO_POLLED
                                      ? BLKMQ_HCTX_TYPE_POLL
                                      : BLKMQ_HCTX_TYPE_DEFAULT);
}

/* -r and readonly= come back to nbdkit by can_write. */
static void *
plugin_open (int readonly)
{
  const char *name = nbdkit_export_name ();
  struct connection *connection;
  struct blkmq_error error;
  struct blkmq_queues queues;

  if (name == NULL)
    return NULL; /* nbdkit has said why */
  connection = malloc (sizeof *connection);
  if (connection == NULL) {
    nbdkit_error ("connection: %m");
    return NULL;
  }
  connection->export = exports_find (exports, name, &error);
  if (connection->export == NULL) {
    nbdkit_error ("%s", error.message);
    nbdkit_set_error (ENOENT);
    goto free_connection;
  }
  connection->limits = blkmq_disk_limits (connection->export->disk);
  blkmq_disk_queues (connection->export->disk, &queues);
  connection->io_flags = queues.poll_queues > 0 ? BLKMQ_IO_POLLED : 0;
  connection->submitter
      = blkmq_submitter_alloc (connection->export->disk, BLKMQ_HCTX_ANY);
  if (connection->submitter == NULL) {
    nbdkit_error ("%sconnection: %m", connection->export->prefix);
    goto free_connection;
  }
  nbdkit_debug ("%sconnection bound to hctx %u of %u",
                connection->export->prefix, hctx_of (connection),
                blkmq_disk_nr_hw_queues (connection->export->disk));
  return connection;

free_connection:
  free (connection);
  return NULL;
}

static void
plugin_close (void *handle)
{
  struct connection *connection = handle;

  blkmq_submitter_free (connection->submitter);
  free (connection);
}

static const struct blkmq_limits *
limits_of (void *handle)
{
  const struct connection *connection = handle;

  return connection->limits;
}

static int64_t
plugin_get_size (void *handle)
{
  return (int64_t)limits_of (handle)->size_bytes;
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
  const struct blkmq_limits *limits = limits_of (handle);
  uint32_t block_bytes = limits->logical_block_bytes;

  *minimum = limits->size_bytes % block_bytes == 0 ? block_bytes : 1;
  *preferred = block_bytes > 4096 ? block_bytes : 4096;
  *maximum = MAX_REQUEST_BYTES; /* what is larger than a request is split */
  return 0;
}

static int
plugin_is_rotational (void *handle)
{
  return limits_of (handle)->rotational;
}

static int
plugin_can_write (void *handle)
{
  return !limits_of (handle)->read_only;
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
  return limits_of (handle)->max_discard_bytes > 0;
}

static int
plugin_can_zero (void *handle)
{
  return limits_of (handle)->max_write_zeroes_bytes > 0;
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

/* A flush covers what was answered before it on any connection: they have
 * one disk, and no cache in front of it belongs to a connection. */
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
