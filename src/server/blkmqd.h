/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blkmqd.h: what the files of the program share, by the file that owns it; the
 * others of this directory are a library and know nothing of it.  The main
 * thread.
 */

#ifndef BLKMQ_SERVER_BLKMQD_H
#define BLKMQ_SERVER_BLKMQD_H

#include <ev.h>
#include <stdbool.h>

#include "front/control.h"
#include "server/listen.h"
#include "server/notify.h"
#include "server/options.h"
#include "server/passed.h"
#include "server/process.h"
#include "server/run.h"
#include "server/server.h"
#include "server/stdio.h"

struct blkmqd {
  struct options options;
  struct exports *exports; /* the options' */
  struct rlimit nofile;    /* as it was found */
  struct private_place place;
  struct passed passed;
  struct listeners *listeners;
  struct front_control *control;
  struct server *server;
  char *tls_path; /* from where TLS is reloaded, absolute */
  struct pidfile pidfile;
  struct run run;
  struct stdio stdio;
  struct notify notify;
  int parent_fd; /* of --daemon: waits until it serves */

  struct ev_loop *loop;
  ev_io signals;
  ev_async drained, is_idle, written; /* told by other threads */
  ev_timer drain_timeout;
  int signal_fd;

  bool is_single; /* one client is served, and it is connected already */
  bool exports_run, server_runs; /* they have started */
  bool was_told;                 /* by a signal */
  bool is_ending, is_aborting, is_drained;
  bool is_written; /* all that goes to stdout */
};

/* ---- main.c ---- */

/* SIGHUP: what others may have replaced is opened anew. */
void reload (struct blkmqd *d);

/* ---- end.c ---- */

/* The loop, with what ends it.  Negative errno with ERROR. */
int end_init (struct blkmqd *d, struct blkmq_error *error);
void end_exit (struct blkmqd *d);

/* Any thread: OPAQUE is the struct blkmqd.  The last client has gone; what it
 * was sent is written. */
void end_tell_idle (void *opaque);
void end_tell_written (void *opaque);

#endif /* BLKMQ_SERVER_BLKMQD_H */
