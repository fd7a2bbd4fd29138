/* SPDX-License-Identifier: BSD-3-Clause
 *
 * exports-run.c: disks are made of checked configurations, all or none, and
 * started and removed together.  The thread that configures.
 */

#include <config.h>

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "blkmq-control.h"
#include "front/exports-internal.h"

/* ---- what clients are told ---- */

void
export_describe (const struct export *export, char *buf, size_t buf_bytes)
{
  static const char *const units[]
      = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
  uint64_t bytes = blkmq_disk_limits (export->disk)->size_bytes;
  struct text text = text_begin (buf, buf_bytes);
  struct blkmq_queues queues;
  char irqmode[16];
  unsigned unit = 0;

  if (export->description != NULL) {
    text_add (&text, "%s", export->description);
    return;
  }
  blkmq_disk_queues (export->disk, &queues);
  blkmq_disk_get_key (export->disk, "irqmode", irqmode, sizeof irqmode, NULL);
  /* In the largest unit that needs no fraction. */
  while (bytes % 1024 == 0 && unit < 6) {
    bytes /= 1024;
    unit++;
  }
  text_add (&text, "blkmq %s disk, %" PRIu64 " %s, %u hctx%s",
            blkmq_disk_driver_name (export->disk), bytes, units[unit],
            queues.submit_queues, queues.submit_queues == 1 ? "" : "s");
  if (queues.poll_queues > 0)
    text_add (&text, " and %u polled", queues.poll_queues);
  text_add (&text, " x %u, irqmode %s, seed %" PRIu64, queues.hw_queue_depth,
            irqmode, blkmq_disk_seed (export->disk));
}

/* ---- their life ---- */

static void
put_all (struct exports *exports)
{
  for (unsigned i = 0; i < exports->nr_entries; i++) {
    struct export *export = &exports->entries[i]->export;

    blkmq_disk_put (export->disk);
    export->disk = NULL;
  }
}

int
exports_set_up (struct exports *exports, struct blkmq_error *error)
{
  struct blkmq_config *first = exports->entries[0]->export.config;
  struct blkmq_tag_set *set = NULL;
  struct blkmq_error inner = { "" };
  int r = 0;

  assert (exports->is_checked);

  if (exports_share_tags (exports)) {
    r = blkmq_tag_set_alloc (first, &set, &inner);
    if (r < 0)
      return entry_error (exports->entries[0], &inner, r, error);
  }
  for (unsigned i = 0; i < exports->nr_entries && r == 0; i++) {
    struct entry *entry = exports->entries[i];
    struct export *export = &entry->export;

    r = set != NULL
            ? blkmq_disk_alloc_in (set, export->config, &export->disk, &inner)
            : blkmq_disk_alloc (export->config, &export->disk, &inner);
    if (r < 0)
      entry_error (entry, &inner, r, error);
  }
  if (r < 0)
    put_all (exports);
  /* Each disk has a reference of its own. */
  blkmq_tag_set_put (set);
  return r;
}

int
exports_start (struct exports *exports, struct blkmq_error *error)
{
  struct blkmq_error inner = { "" };
  int r = 0;

  for (unsigned i = 0; i < exports->nr_entries && r == 0; i++) {
    r = blkmq_disk_start (exports->entries[i]->export.disk, &inner);
    if (r < 0)
      entry_error (exports->entries[i], &inner, r, error);
  }
  if (r < 0)
    exports_remove (exports);
  return r;
}

void
exports_remove (struct exports *exports)
{
  for (unsigned i = 0; i < exports->nr_entries; i++)
    blkmq_disk_remove (exports->entries[i]->export.disk);
}
