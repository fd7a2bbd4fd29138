/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nbd-test.h: what the libnbd tests share: a server of their own, its end,
 * messages, the seed.  One thread: the test's main thread calls all of it.
 */

#ifndef BLKMQ_NBD_TEST_H
#define BLKMQ_NBD_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <libnbd.h>

/* What automake's test driver takes for a skip. */
#define EXIT_SKIP 77

/* A test that makes no progress for this long hangs.  Nothing is measured
 * against it.
 */
#define HANG_SECONDS 120

/* poll_connections takes no more than these. */
#define MAX_CONNECTIONS 16

#define ARRAY_SIZE(a) (sizeof (a) / sizeof (a)[0])

/* Print a message, stop the server if one runs, exit 1. */
void die (const char *fmt, ...)
    __attribute__ ((noreturn, format (printf, 1, 2)));

/* The same with libnbd's last error appended. */
void die_nbd (const char *fmt, ...)
    __attribute__ ((noreturn, format (printf, 1, 2)));

/* From here to the next call no more than HANG_SECONDS may pass, or the test
 * fails.  Starting and stopping the server and poll_connections call it.
 */
void expect_progress (void);

/* Allocate zeroed memory or die. */
void *xcalloc (size_t nr, size_t bytes);

/* BLKMQ_SEED from the environment, or a random one.  Printed, so that a
 * failure can be run again.
 */
uint64_t test_seed (void);

/* splitmix64: every seed is a good one, so streams can be derived by adding
 * an index to the seed.
 */
uint64_t random_next (uint64_t *state);

/* Evenly from 0 to BOUND - 1. */
uint64_t random_below (uint64_t *state, uint64_t bound);

/* What BLKMQ_SERVER says: "plugin", which it is without, or "blkmqd". */
bool server_is_blkmqd (void);

/* Start what is under test: nbdkit with the plugin (BLKMQ_PLUGIN), or blkmqd
 * (BLKMQ_BLKMQD), on a Unix socket in a directory of its own.  NR_THREADS is
 * nbdkit's --threads.  KEYS ends with NULL.  A client can connect as soon as
 * this returns.  Exits with EXIT_SKIP when there is no nbdkit.  One server at a
 * time.
 */
void server_start (unsigned nr_threads, const char *const keys[]);

/* Die unless the server still runs. */
void server_check_alive (void);

/* SIGTERM, then wait.  Die unless it ends by itself with status 0. */
void server_stop (void);

/* A new connection to the server. */
struct nbd_handle *server_connect (void);

/* One turn of an event loop over connections: wait until one of them can move
 * and move it.  Dies when one is dead or closed.
 */
void poll_connections (struct nbd_handle *const handles[], size_t nr_handles);

#endif /* BLKMQ_NBD_TEST_H */
