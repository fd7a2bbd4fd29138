/* SPDX-License-Identifier: BSD-3-Clause
 *
 * process.h: what blkmqd does to its process, and leaves in the file system for
 * others to find it.  The main thread.
 */

#ifndef BLKMQ_SERVER_PROCESS_H
#define BLKMQ_SERVER_PROCESS_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "blkmq.h"

/* First of all: stdin, stdout and stderr are open, so that no socket becomes
 * one of them; if stderr is the socket that stdin
 * is, as inetd has it, nothing is written there; who writes to a closed
 * connection gets an error and no signal; and there may be as many descriptors
 * as the system lets us have.  *INHERITED is the limit that there was. */
void process_prepare (struct rlimit *inherited);

/* Block the signals that end blkmqd, and SIGCHLD, in this thread and those that
 * it starts.  Returns a descriptor to read them from (signalfd(2)), or a
 * negative errno with ERROR. */
int process_take_signals (struct blkmq_error *error);

/* It had a terminal, and that has gone: a window was closed, a line cut. */
bool process_has_lost_terminal (void);

/* It has let go of it. */
void process_forget_terminal (void);

/* They end the process again. */
void process_release_signals (void);

struct pidfile {
  char *path; /* absolute; NULL: there is none */
  int fd;
  dev_t dev;
  ino_t ino;
};

/* Make it, empty.  PATH NULL is nothing.  Negative errno
 * with ERROR. */
int pidfile_make (struct pidfile *pidfile, const char *path,
                  struct blkmq_error *error);

/* Write the number, once. */
int pidfile_write (struct pidfile *pidfile, struct blkmq_error *error);

/* If it is still the one that was written.  Who may not is left with an empty
 * file. */
void pidfile_remove (struct pidfile *pidfile);

/* A directory of one's own with room for a socket. */
struct private_place {
  char dir[32]; /* "": there is none */
  char socket[48];
};

int private_place_make (struct private_place *place, struct blkmq_error *error);

/* From now on it is that user's. */
int private_place_give (const struct private_place *place, uid_t uid, gid_t gid,
                        struct blkmq_error *error);

/* The socket is gone already. */
void private_place_remove (struct private_place *place);

#endif /* BLKMQ_SERVER_PROCESS_H */
