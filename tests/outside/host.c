/* SPDX-License-Identifier: BSD-3-Clause
 *
 * host.c: a program that has the engine, and serves itself from the driver
 * that it is told: host DRIVER.  With HOST_IS_LIBRARY a shared object, whose
 * host_main loader.c calls; with HOST_CLASHES it exports a driver of the
 * skeleton's name.
 */

#include <blkmq-driver.h>
#include <stdio.h>
#include <string.h>

int host_main (int argc, char *argv[]);

#ifdef HOST_CLASHES
extern const struct blkmq_driver skeleton_driver;
const struct blkmq_driver skeleton_driver = { .name = "clash" };
#endif

static int
fail (const char *what, const char *why)
{
  fprintf (stderr, "host: %s: %s\n", what, why);
  return 1;
}

int
host_main (int argc, char *argv[])
{
  static char out[65536], in[65536];
  struct blkmq_config *config = blkmq_config_alloc ();
  struct blkmq_submitter *submitter;
  struct blkmq_error error;
  struct blkmq_stats stats;
  struct blkmq_disk *disk;

  if (argc != 2)
    return fail ("usage", "host DRIVER");
  if (blkmq_config_set (config, "driver", argv[1], &error) < 0
      || blkmq_config_set (config, "size", "1M", &error) < 0
      || blkmq_disk_alloc (config, &disk, &error) < 0
      || blkmq_disk_start (disk, &error) < 0)
    return fail ("setting up", error.message);
  submitter = blkmq_submitter_alloc (disk, 0);
  memset (out, 0x5a, sizeof out);
  if (submitter == NULL || blkmq_write (submitter, out, sizeof out, 4096, 0) < 0
      || blkmq_read (submitter, in, sizeof in, 4096) < 0
      || memcmp (in, out, sizeof in) != 0)
    return fail ("data", "it is not what was written");
  blkmq_submitter_free (submitter);
  blkmq_disk_remove (disk);
  /* What the driver completed, this engine has counted. */
  if (blkmq_disk_stats (disk, BLKMQ_HCTX_ANY, &stats) < 0
      || stats.ios[BLKMQ_OP_READ] != 1 || stats.ios[BLKMQ_OP_WRITE] != 1
      || stats.lost_claims[BLKMQ_CAUSE_COMPLETE] != 0
      || stats.stale_tokens != 0)
    return fail ("counters", "they do not say what was done");
  blkmq_disk_put (disk);
  blkmq_config_free (config);
  puts ("served");
  return 0;
}

#ifndef HOST_IS_LIBRARY
int
main (int argc, char *argv[])
{
  return host_main (argc, argv);
}
#endif
