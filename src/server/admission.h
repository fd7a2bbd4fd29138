/* SPDX-License-Identifier: BSD-3-Clause
 *
 * admission.h: who has connected, and may he?  Asked before the server knows of
 * a connection.  The main thread.
 */

#ifndef BLKMQ_SERVER_ADMISSION_H
#define BLKMQ_SERVER_ADMISSION_H

#include <ev.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "server/access.h"

/* Who is refused is logged, but of a flood only so many each time. */
struct admission {
  const struct access *access;
  struct ev_loop *loop; /* NULL: not started */
  ev_timer window;      /* runs while there was somebody lately */
  unsigned nr_shown;    /* in this window */
  unsigned nr_hidden;
};

/* ACCESS stays the caller's, until admission_stop. */
void admission_start (struct admission *admission, struct ev_loop *loop,
                      const struct access *access);

/* Tells how many were refused that were not told of. */
void admission_stop (struct admission *admission);

/* May the client of FD, whose address is ADDRESS, connect?  If not there was a
 * line, or it is counted.  NAME is the client's, for that. */
bool admission_check (struct admission *admission, int fd,
                      const struct sockaddr *address, const char *name);

#endif /* BLKMQ_SERVER_ADMISSION_H */
