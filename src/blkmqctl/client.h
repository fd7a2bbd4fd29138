/* SPDX-License-Identifier: BSD-3-Clause
 *
 * client.h: a connection to the control socket of a disk: one JSON object a
 * line, a request and its answer at a time.
 */

#ifndef BLKMQ_BLKMQCTL_CLIENT_H
#define BLKMQ_BLKMQCTL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

/* How the program ends; what went well is CTL_DONE. */
enum ctl_status {
  CTL_DONE = 0,
  CTL_REFUSED = 1,  /* the disk said no */
  CTL_USAGE = 2,    /* the command line is wrong */
  CTL_LOST = 3,     /* there is no connection, or not any more */
  CTL_PROTOCOL = 4, /* what the other side says is not understood */
  CTL_PENDING = -1, /* client_receive only: the answer is not here yet */
};

#define CLIENT_PROTOCOL 1
#define CLIENT_CONNECT_MS 10000

struct client {
  int fd; /* -1: not connected.  Readable when client_receive has work. */
  char *path;
  char *buf; /* what was received and is not yet used up */
  size_t buf_bytes, used_bytes, searched_bytes;
  json_int_t id; /* of the latest request */
  char *command; /* its command */
  char *error;   /* why the latest call did not return CTL_DONE */
  bool too_long; /* it was refused because the answer would be too long */
};

/* Connect to the socket at PATH and read the greeting, for up to TIMEOUT_MS
 * altogether.  The client is to be closed whatever is returned. */
enum ctl_status client_open (struct client *client, const char *path,
                             int timeout_ms);
void client_close (struct client *client);

/* Send a request; takes over ARGUMENTS, an object or NULL.  EXPORT may be
 * NULL. */
enum ctl_status client_send (struct client *client, const char *command,
                             const char *export, json_t *arguments);

/* The answer; *RESULT is the caller's.  Without WAIT it does not block, and
 * CTL_PENDING means that the rest is still to come. */
enum ctl_status client_receive (struct client *client, bool wait,
                                json_t **result);

/* Take members out of VALUE by jansson's json_unpack; what does not fit is
 * CTL_PROTOCOL. */
enum ctl_status client_unpack (struct client *client, json_t *value,
                               const char *format, ...);

/* Set client->error. */
enum ctl_status client_fail (struct client *client, enum ctl_status status,
                             const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));

#endif /* BLKMQ_BLKMQCTL_CLIENT_H */
