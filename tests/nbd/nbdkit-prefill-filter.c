/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nbdkit-prefill-filter.c: a filter for tests that puts a file's contents onto
 * the disk before the first client, and before any filter above this one, sees
 * it.  A memory disk starts empty, and a filter that wants a partition table
 * or the like from the start could not be put on top of it otherwise.
 *
 *   nbdkit --filter=partition --filter=./nbdkit-prefill-filter.so \
 *     PLUGIN ... prefill=FILE
 *
 * Threads: nbdkit's connection threads; the lock lets one fill, and makes the
 * others wait until that is done.
 */

#define NBDKIT_API_VERSION 2

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nbdkit-filter.h>

static char *file;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool filled; /* under the lock */

static void
prefill_unload (void)
{
  free (file);
}

static int
prefill_config (nbdkit_next_config *next, nbdkit_backend *nxdata,
                const char *key, const char *value)
{
  if (strcmp (key, "prefill") != 0)
    return next (nxdata, key, value);
  free (file);
  file = nbdkit_realpath (value);
  return file != NULL ? 0 : -1;
}

static int
prefill_config_complete (nbdkit_next_config_complete *next,
                         nbdkit_backend *nxdata)
{
  if (file == NULL) {
    nbdkit_error ("prefill: required; must be the path of a file");
    return -1;
  }
  return next (nxdata);
}

static int
copy_file (nbdkit_next *next)
{
  static char buf[64 * 1024];
  uint64_t offset = 0;
  ssize_t r;
  int fd, err;

  fd = open (file, O_RDONLY | O_CLOEXEC);
  if (fd == -1) {
    nbdkit_error ("prefill=%s: %s", file, strerror (errno));
    return -1;
  }
  while ((r = read (fd, buf, sizeof buf)) > 0) {
    if (next->pwrite (next, buf, (uint32_t)r, offset, 0, &err) == -1) {
      nbdkit_error ("prefill=%s: write: %s", file, strerror (err));
      break;
    }
    offset += (uint64_t)r;
  }
  close (fd);
  return r == 0 ? 0 : -1;
}

static int
prefill_prepare (nbdkit_next *next, void *handle, int readonly)
{
  int r = 0;

  pthread_mutex_lock (&lock);
  if (!filled) {
    /* nbdkit wants both asked before it passes a write on. */
    r = next->get_size (next) >= 0 && next->can_write (next) == 1
            ? copy_file (next)
            : -1;
    filled = r == 0;
  }
  pthread_mutex_unlock (&lock);
  return r;
}

static struct nbdkit_filter filter = {
  .name = "prefill",
  .longname = "fill the disk from a file (for tests)",
  .unload = prefill_unload,
  .config = prefill_config,
  .config_complete = prefill_config_complete,
  .config_help = "prefill=<FILE>   (required) What the disk holds at first.",
  .prepare = prefill_prepare,
};

NBDKIT_REGISTER_FILTER (filter)
