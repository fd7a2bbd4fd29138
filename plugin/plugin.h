/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plugin.h: what the files of the plugin share.
 */

#ifndef BLKMQ_PLUGIN_H
#define BLKMQ_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blkmq.h"

struct nbdkit_extents;

/* blkmq.c: written by the main thread before anything is served, then only
 * read. */
extern struct blkmq_disk *disk;
extern const struct blkmq_limits *limits;
extern bool is_polled; /* poll_queues > 0: for all requests */

/* blkmq.c: where the requests of a connection go. */
unsigned hctx_of (const struct blkmq_submitter *submitter);

/* help.c: derived from the key tables. */
void print_help (char *buf, size_t buf_bytes);
void print_dump (void);

/* stats.c: into the debug log. */
void log_stats (void);

/* request.c: nbdkit's callbacks of these names.  HANDLE is the connection's
 * submitter. */
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
