/* SPDX-License-Identifier: BSD-3-Clause
 *
 * front/control.h: control=PATH: a server's disks on a control socket.  One
 * thread, which is the server's main one.
 */

#ifndef BLKMQ_FRONT_CONTROL_H
#define BLKMQ_FRONT_CONTROL_H

#include "front/exports.h"

struct front_control;

/* Open the socket if one was asked for; else *CONTROL is NULL, which the others
 * take for nothing to do.  EXPORTS are checked, and stay until
 * front_control_free.  Runs no thread, so a fork may follow.  Negative errno
 * with ERROR. */
int front_control_open (const struct exports *exports,
                        struct front_control **control,
                        struct blkmq_error *error);

/* Serve the disks, which are started.  Negative errno with ERROR: all that is
 * left to do is to free. */
int front_control_start (struct front_control *control,
                         struct blkmq_error *error);

/* Before the disks are removed. */
void front_control_stop (struct front_control *control);

/* After that. */
void front_control_free (struct front_control *control);

#endif /* BLKMQ_FRONT_CONTROL_H */
