/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bare-loop.h: what the files of the bench's yardstick share: bare-handshake.c
 * negotiates, bare-transmit.c serves, bare-loop.c is the program.  Each thread
 * has a loop and connections of its own; they share the memory that is served,
 * without a lock: the yardstick does not pay for one.
 */

#ifndef BENCH_BARE_LOOP_H
#define BENCH_BARE_LOOP_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is served. */
struct memory {
  uint8_t *bytes;
  uint64_t nr_bytes;
};

struct worker {
  struct ev_loop *loop;
  const struct memory *memory;
  uint64_t busy_poll_ns; /* 0: never spin */
  unsigned nr_connections;
};

struct connection;

/* ---- bare-handshake.c ---- */

/* Waits for the client; true when transmission begins. */
bool handshake (int fd, const struct memory *memory);

/* ---- bare-transmit.c ---- */

/* Serves FD, and closes it in the end.  On the worker's thread. */
void connection_start (struct worker *worker, int fd);

/* ---- bare-loop.c ---- */

void die (const char *what, int err) __attribute__ ((noreturn));

#endif /* BENCH_BARE_LOOP_H */
