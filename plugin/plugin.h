/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plugin.h: what the files of the plugin share.
 */

#ifndef BLKMQ_PLUGIN_H
#define BLKMQ_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#include "blkmq.h"
#include "front/exports.h"

struct nbdkit_extents;

/* blkmq.c: written by the main thread before anything is served, then only
 * read. */
extern struct exports *exports;

/* What nbdkit calls a handle.  Nothing about the export is looked up for a
 * request: what requests need is here. */
struct connection {
  struct blkmq_submitter *submitter;
  const struct blkmq_limits *limits;
  uint32_t io_flags; /* BLKMQ_IO_POLLED, if there are polled queues */
  const struct export *export;
};

/* blkmq.c: where the requests of a connection go. */
unsigned hctx_of (const struct connection *connection);

/* help.c: derived from the key tables. */
void print_help (char *buf, size_t buf_bytes);
void print_dump (void);

/* request.c: nbdkit's callbacks of these names.  HANDLE is a struct
 * connection. */
int plugin_pread (void *handle, void *buf, uint32_t count, uint64_t offset,
                  uint32_t flags);
int plugin_pwrite (void *handle, const void *buf, uint32_t count,
                   uint64_t offset, uint32_t flags);
int plugin_flush (void *handle, uint32_t flags);
int plugin_trim (void *handle, uint32_t count, uint64_t offset, uint32_t flags);
int plugin_zero (void *handle, uint32_t count, uint64_t offset, uint32_t flags);
int plugin_extents (void *handle, uint32_t count, uint64_t offset,
                    uint32_t flags, struct nbdkit_extents *extents);
int plugin_cache (void *handle, uint32_t count, uint64_t offset,
                  uint32_t flags);

#endif /* BLKMQ_PLUGIN_H */
