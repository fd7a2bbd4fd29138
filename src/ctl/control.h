/* SPDX-License-Identifier: BSD-3-Clause
 *
 * control.h: the control server, as a front end sees it: a Unix socket on which
 * programs look at running disks and change them.  blkmq-control(7) is the
 * protocol.
 *
 * One thread per call; the server's own threads are its business.
 */

#ifndef BLKMQ_CTL_CONTROL_H
#define BLKMQ_CTL_CONTROL_H

#include <stddef.h>

#include "blkmq.h"

struct control;

/* Room for a description. */
#define CONTROL_DESCRIPTION_BYTES 8192

/* A disk under the name by which clients ask for it. */
struct control_export {
  const char *name;        /* "": the default one */
  struct blkmq_disk *disk; /* started; the server has a reference of its own */
  /* Write a line about it as it is now, cut off to fit and terminated.  On the
   * server's thread; must not block. */
  void (*describe) (const struct control_export *export, char *buf,
                    size_t buf_bytes);
  const void *opaque; /* for describe */
};

struct control_options {
  const struct control_export *exports;
  size_t nr_exports;
  /* How long a client may take to finish a line, or to read an answer, before
   * it is disconnected.  0: 30000. */
  unsigned stall_ms;
  /* How long a client that asks nothing may keep its place when all places are
   * taken and another one comes.  0: 30000. */
  unsigned silent_ms;
};

/* Open the socket: nothing is served yet and no thread runs, so a fork may
 * follow; clients may connect already.  PATH stays the caller's, until
 * control_free.  NULL on an error, with ERROR; nothing is left behind then.
 *
 * A socket at PATH that nobody listens on is replaced, anything else is not.
 */
struct control *control_open (const char *path, struct blkmq_error *error);

/* Serve OPTIONS->exports; these, and all that they point to, are the caller's
 * and must stay until control_free.  0 or a negative errno, with ERROR; all
 * that is left to do then is to free.
 */
int control_start (struct control *control,
                   const struct control_options *options,
                   struct blkmq_error *error);

/* Disconnect all clients, remove the socket, and undo the freezes that clients
 * have asked for.  What a client has asked for and is under way goes on: it may
 * wait for requests that only the disk's removal ends.  So call this, then
 * remove the disks, then control_free.
 */
void control_stop (struct control *control);

/* Wait for what was under way, and free all.  Stops first if that was not done.
 * CONTROL may be NULL. */
void control_free (struct control *control);

#endif /* BLKMQ_CTL_CONTROL_H */
