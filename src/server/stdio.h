/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stdio.h: --stdio: the one client that is served is on stdin and stdout, as
 * inetd starts a service, and libnbd a server of its own.  The main thread.
 */

#ifndef BLKMQ_SERVER_STDIO_H
#define BLKMQ_SERVER_STDIO_H

#include <pthread.h>
#include <stdbool.h>

#include "blkmq.h"

struct stdio {
  int fd; /* a connected stream socket; whoever takes it closes it */

  /* If they are no socket, but pipes: threads copy to and from our end of a
   * socket pair. */
  bool is_bridge;
  int in, out, peer;
  pthread_t reader, writer;
  unsigned nr_threads;
  void (*written) (void *opaque);
  void *opaque;
};

/* Take stdin and stdout: nothing else is read and written there from now on.
 * Negative errno with ERROR. */
int stdio_open (struct stdio *stdio, struct blkmq_error *error);

/* Begin to copy.  WRITTEN is called once, on another thread, when the server
 * has closed its end and all that it had sent is written, or cannot be.
 * Nothing to do for a socket. */
int stdio_start (struct stdio *stdio, void (*written) (void *opaque),
                 void *opaque, struct blkmq_error *error);

/* Whatever is not written is lost. */
void stdio_close (struct stdio *stdio);

#endif /* BLKMQ_SERVER_STDIO_H */
