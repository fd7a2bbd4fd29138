/* SPDX-License-Identifier: BSD-3-Clause
 *
 * daemon.h: --daemon: whoever starts blkmqd goes on when it serves.  The only
 * thread that there is, and then the main thread.
 */

#ifndef BLKMQ_SERVER_DAEMON_H
#define BLKMQ_SERVER_DAEMON_H

#include "blkmq.h"

/* Go on in a child, in a session of its own.  The parent waits in here for
 * daemon_ready, and ends with 0; if the child ends before that, with its
 * status.  A descriptor for daemon_ready, or negative errno with ERROR. */
int daemon_begin (struct blkmq_error *error);

/* Let go of the terminal, of the working directory, and of the parent.
 * Negative errno with ERROR, if that has gone. */
int daemon_ready (int fd, struct blkmq_error *error);

#endif /* BLKMQ_SERVER_DAEMON_H */
