/* SPDX-License-Identifier: BSD-3-Clause
 *
 * server.h: the native server without its command line: threads, each with a
 * loop, an hctx of each disk and its share of the connections.
 *
 * Unless it is said otherwise these are for one thread, which is none of the
 * server's: it opens, starts, hands over connections, drains and frees.
 */

#ifndef BLKMQ_SERVER_SERVER_H
#define BLKMQ_SERVER_SERVER_H

#include <stdint.h>

#include "blkmq.h"
#include "front/exports.h"
#include "server/negotiate.h"

struct server;

#define SERVER_MAX_THREADS 256u

struct server_limits {
  unsigned max_connections;   /* at least 1 */
  uint32_t max_request_bytes; /* one read or write; a multiple of 64 KiB */
  uint64_t max_buffer_bytes;  /* all data on its way, of all connections; who
                               * needs more waits.  At least as much for each
                               * thread as two of the longest requests. */
  /* In ms; 0: never. */
  unsigned handshake_timeout_ms; /* from connect to transmission */
  unsigned idle_timeout_ms;      /* nothing asked, nothing on its way */
  unsigned stall_timeout_ms;     /* half of a request came, or an answer is not
                                  * read, and nothing moves */
};

extern const struct server_limits server_default_limits;

struct server_options {
  struct exports *exports; /* set up, not started; stay until server_free */
  unsigned nr_threads;     /* 1 to SERVER_MAX_THREADS */
  unsigned busy_poll_us;   /* longest spin for the next request; 0: none */
  enum negotiation_tls tls;
  const struct access *access; /* to identities of TLS; NULL: all may */
  struct server_limits limits;

  /* Unless it is NULL: the last connection has gone, and the server does not
   * drain.  Any thread; must not block. */
  void (*idle) (void *opaque);
  void *opaque;
};

/* Allocates, and lends the threads' loops to the disks' hctxs: hctx N belongs
 * to thread N modulo their number.  Then exports_start; then server_start.
 * Negative errno with ERROR. */
int server_alloc (const struct server_options *options, struct server **server,
                  struct blkmq_error *error);

/* What clients are shown from now on; connections keep what they have.  Takes a
 * reference of its own.  Before server_start, if there is TLS; and again at any
 * time, on any thread. */
struct tls_credentials;
void server_set_tls (struct server *server,
                     struct tls_credentials *credentials);

/* Starts the threads.  On an error none runs. */
int server_start (struct server *server, struct blkmq_error *error);

/* Takes FD, a connected stream socket, whatever happens.  NAME is the client's,
 * for messages; copied.  When there are max_connections already it is closed,
 * and a line logged. */
void server_add_connection (struct server *server, int fd, const char *name);

unsigned server_nr_connections (const struct server *server);

/* Does every thread still turn?  server_ask asks each; server_find_silent finds
 * one that has not answered yet, or else is negative. */
void server_ask (struct server *server);
int server_find_silent (const struct server *server);

/* No request is read any more; what was read is done and answered, then each
 * connection is closed.  DRAINED is called once, on a thread of the server's or
 * in here, when there is none left.  New connections are refused. */
void server_drain (struct server *server, void (*drained) (void *opaque),
                   void *opaque);

/* After server_drain: what is in flight is aborted, and answered with an error,
 * like all that was read and not begun.  Does not wait. */
void server_abort (struct server *server);

/* Close all connections that are left, whatever they have in flight.  Does not
 * wait.  DRAINED (above) is still called when the last one is gone. */
void server_cut_off (struct server *server);

/* Ends the threads and joins them, whatever is in flight.  Then
 * exports_remove, which ends what was in flight, then server_free. */
void server_stop (struct server *server);

void server_free (struct server *server);

#endif /* BLKMQ_SERVER_SERVER_H */
