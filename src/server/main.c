/* SPDX-License-Identifier: BSD-3-Clause
 *
 * main.c: blkmqd: what is done in which order, from the command line to the
 * end.  The main thread: it takes connections and signals, and the server's
 * threads do the rest.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "front/control.h"
#include "front/stats.h"
#include "server/listen.h"
#include "server/log.h"
#include "server/options.h"
#include "server/passed.h"
#include "server/process.h"
#include "server/run.h"
#include "server/server.h"

enum { EXIT_TOLD = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* So long clients have to read that what was in flight was aborted, and to take
 * their leave; a bit more than the server gives each of them for that. */
#define ABORT_TIMEOUT_S 2.0

struct blkmqd {
  struct options options;
  struct exports *exports; /* the options' */
  struct rlimit nofile;    /* as it was found */
  struct private_place place;
  struct passed passed;
  struct listeners *listeners;
  struct front_control *control;
  struct server *server;
  struct pidfile pidfile;
  struct run run;

  struct ev_loop *loop;
  ev_io signals, drained;
  ev_timer drain_timeout;
  int signal_fd, drained_fd;

  bool exports_run, server_runs; /* they have started */
  bool was_told;                 /* by a signal */
  bool is_ending, is_aborting, is_drained;
};

/* ------------------------------------------------------------------------ */
/* The end                                                                   */

static void
stop_if_all_is_done (struct blkmqd *d)
{
  if (d->is_drained && d->run.pid == 0)
    ev_break (d->loop, EVBREAK_ALL);
}

/* Any thread. */
static void
tell_drained (void *opaque)
{
  struct blkmqd *d = opaque;
  uint64_t one = 1;

  (void)!write (d->drained_fd, &one, sizeof one);
}

static void
on_drained (struct ev_loop *loop, ev_io *watcher, int events)
{
  struct blkmqd *d = watcher->data;

  ev_io_stop (loop, watcher);
  ev_timer_stop (loop, &d->drain_timeout);
  d->is_drained = true;
  stop_if_all_is_done (d);
}

static void
on_drain_timeout (struct ev_loop *loop, ev_timer *watcher, int events)
{
  struct blkmqd *d = watcher->data;
  unsigned nr = server_nr_connections (d->server);

  if (d->is_aborting) {
    log_warning ("%u connection%s cut off", nr, nr == 1 ? " is" : "s are");
    server_cut_off (d->server);
    d->is_drained = true;
    stop_if_all_is_done (d);
    return;
  }
  d->is_aborting = true;
  log_warning ("%u connection%s not drained after %u ms (--drain-timeout): "
               "aborting what is in flight",
               nr, nr == 1 ? " is" : "s are", d->options.drain_timeout_ms);
  server_abort (d->server);
  ev_timer_set (watcher, ABORT_TIMEOUT_S, 0);
  ev_timer_start (loop, watcher);
}

static void
begin_end (struct blkmqd *d)
{
  if (d->is_ending)
    return;
  d->is_ending = true;
  listeners_stop (d->listeners);
  if (d->options.drain_timeout_ms > 0) {
    ev_now_update (d->loop);
    ev_timer_start (d->loop, &d->drain_timeout);
  }
  server_drain (d->server, tell_drained, d);
}

static void
remove_files (struct blkmqd *d)
{
  listeners_remove (d->listeners);
  private_place_remove (&d->place);
  pidfile_remove (&d->pidfile);
}

/* SIGHUP: what others may have replaced is opened anew.  What cannot be had
 * stays as it was, and so does every connection. */
static void
reload (struct blkmqd *d)
{
  struct blkmq_error error;
  int r = log_reopen (&error);

  if (r < 0)
    log_error ("SIGHUP: %s; going on with the one there was", error.message);
  else
    log_info ("SIGHUP: %s", r == 0 ? "the log goes on here"
                                   : "there is nothing to be reloaded");
}

static void
on_signal (struct ev_loop *loop, ev_io *watcher, int events)
{
  struct blkmqd *d = watcher->data;
  struct signalfd_siginfo info;

  while (read (d->signal_fd, &info, sizeof info) == sizeof info) {
    int number = (int)info.ssi_signo;

    if (number == SIGCHLD) {
      if (run_reap (&d->run)) {
        begin_end (d);
        stop_if_all_is_done (d);
      }
      continue;
    }
    if (number == SIGHUP && !process_has_lost_terminal ()) {
      if (!d->is_ending)
        reload (d);
      continue;
    }
    if (d->was_told) {
      log_warning ("SIG%s again: ending at once", sigabbrev_np (number));
      remove_files (d);
      _exit (128 + number);
    }
    d->was_told = true;
    log_info ("SIG%s: ending; connections: %u", sigabbrev_np (number),
              server_nr_connections (d->server));
    run_end (&d->run);
    begin_end (d);
  }
}

/* ------------------------------------------------------------------------ */
/* The beginning                                                             */

/* Without a disk and without a file. */
static int
check_keys (struct blkmqd *d)
{
  char threads[16];
  struct blkmq_error error;

  snprintf (threads, sizeof threads, "%u", d->options.nr_threads);
  if (exports_set_default (d->exports, "submit_queues", threads, &error) < 0
      || exports_check (d->exports, &error) < 0) {
    log_error ("%s", error.message);
    options_point_to_help ();
    return EXIT_USAGE;
  }
  return 0;
}

static void
describe_exports (const struct blkmqd *d)
{
  uint64_t seed;

  for (unsigned i = 0; i < exports_nr (d->exports); i++) {
    const struct export *export = exports_at (d->exports, i);
    char description[EXPORT_DESCRIPTION_BYTES];

    export_describe (export, description, sizeof description);
    log_debug ("%s%s", export->prefix, description);
  }
  if (exports_drew_seed (d->exports, &seed))
    log_info ("seed=%" PRIu64 " was drawn; give it to repeat this run", seed);
}

/* Some want it so; but whoever forgot it should find out. */
static void
warn_of_strangers (const struct blkmqd *d)
{
  if (d->options.access.nr_nets == 0
      && listeners_are_reached_from_afar (d->listeners))
    log_warning ("whoever reaches the TCP port has the disks: say "
                 "--allow-from=ADDRESS/PREFIX, or listen on a loopback "
                 "address only");
}

static int
open_events (struct blkmqd *d, struct blkmq_error *error)
{
  d->signal_fd = process_take_signals (error);
  if (d->signal_fd < 0)
    return d->signal_fd;
  d->drained_fd = eventfd (0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (d->drained_fd >= 0)
    d->loop = ev_loop_new (EVBACKEND_EPOLL | EVFLAG_NOENV);
  if (d->loop == NULL) {
    snprintf (error->message, sizeof error->message,
              "there is no event loop to be had");
    return -ENOMEM;
  }
  ev_io_init (&d->signals, on_signal, d->signal_fd, EV_READ);
  ev_io_init (&d->drained, on_drained, d->drained_fd, EV_READ);
  ev_timer_init (&d->drain_timeout, on_drain_timeout,
                 d->options.drain_timeout_ms / 1000.0, 0);
  d->signals.data = d;
  d->drained.data = d;
  d->drain_timeout.data = d;
  ev_io_start (d->loop, &d->signals);
  ev_io_start (d->loop, &d->drained);
  return 0;
}

static int
open_listeners (struct blkmqd *d, bool tcp, struct blkmq_error *error)
{
  const struct options *options = &d->options;
  int r = 0;

  for (unsigned i = 0; i < options->nr_addresses && r == 0; i++) {
    const struct address_option *address = &options->addresses[i];

    if (address->is_tcp != tcp)
      continue;
    r = tcp ? listeners_open_tcp (d->listeners, d->passed.nr + i,
                                  address->value, error)
            : listeners_open_unix (d->listeners, d->passed.nr + i,
                                   address->value, &options->unix_rights,
                                   error);
  }
  return r;
}

static int
take_passed (struct blkmqd *d, struct blkmq_error *error)
{
  int r = 0;

  for (unsigned i = 0; i < d->passed.nr && r == 0; i++) {
    r = passed_check (&d->passed.sockets[i], error);
    if (r == 0)
      r = listeners_add_passed (d->listeners, i, d->passed.sockets[i].fd,
                                error);
  }
  return r;
}

/* All that can be refused or be missing; nothing is served yet. */
static int
set_up (struct blkmqd *d, struct blkmq_error *error)
{
  struct server_options server_options = {
    .exports = d->exports,
    .nr_threads = d->options.nr_threads,
    .busy_poll_us = d->options.busy_poll_us,
    .limits = d->options.limits,
  };
  int r;

  r = exports_set_up (d->exports, error);
  if (r < 0)
    return r;
  r = server_alloc (&server_options, &d->server, error);
  if (r < 0)
    return r;
  d->listeners = listeners_alloc (d->passed.nr + d->options.nr_addresses + 1);
  if (d->listeners == NULL) {
    snprintf (error->message, sizeof error->message, "out of memory");
    return -ENOMEM;
  }
  r = take_passed (d, error);
  if (r < 0)
    return r;
  /* A name server may let one wait, and a signal ends that. */
  r = open_listeners (d, true, error);
  if (r < 0)
    return r;
  /* From here on files are left behind by who does not clean up. */
  r = open_events (d, error);
  if (r < 0)
    return r;
  if (d->passed.nr + d->options.nr_addresses == 0) {
    r = private_place_make (&d->place, error);
    if (r < 0)
      return r;
    d->options.addresses[d->options.nr_addresses++]
        = (struct address_option){ false, d->place.socket };
  }
  r = pidfile_make (&d->pidfile, d->options.pidfile, error);
  if (r < 0)
    return r;
  r = front_control_open (d->exports, &d->control, error);
  return r < 0 ? r : open_listeners (d, false, error);
}

/* All is open, and there is no thread but this one. */
static int
change_user (struct blkmqd *d, struct blkmq_error *error)
{
  const struct privileges *privileges = &d->options.privileges;
  int r;

  if (!privileges->has_user)
    return 0;
  r = private_place_give (&d->place, privileges->user.uid, privileges->group,
                          error);
  return r < 0 ? r : privileges_drop (privileges, error);
}

static int
start (struct blkmqd *d, struct blkmq_error *error)
{
  int r;

  r = exports_start (d->exports, error);
  if (r < 0)
    return r;
  d->exports_run = true;
  r = server_start (d->server, error);
  if (r < 0)
    return r;
  d->server_runs = true;
  r = front_control_start (d->control, error);
  if (r < 0)
    return r;
  listeners_start (d->listeners, d->loop, d->server, &d->options.access);
  return 0;
}

/* Each disk at each address, a line each.  Who passes a socket knows where it
 * is, and stdout is his: libnbd's clients have it from theirs. */
static void
print_uris (const struct blkmqd *d)
{
  for (unsigned i = 0; i < d->passed.nr + d->options.nr_addresses; i++)
    for (unsigned j = 0; j < exports_nr (d->exports); j++) {
      char *uri
          = listeners_uri (d->listeners, i, exports_at (d->exports, j)->name);

      if (i < d->passed.nr)
        log_info ("fd %d: %s", d->passed.sockets[i].fd,
                  uri != NULL ? uri : "an abstract socket");
      else if (uri != NULL)
        puts (uri);
      free (uri);
    }
  if (fflush (stdout) != 0)
    log_warning ("cannot print where clients can connect: %s",
                 strerror (errno));
}

static int
run_command (struct blkmqd *d, struct blkmq_error *error)
{
  const char *name = exports_at (d->exports, 0)->name;
  char *uri = listeners_uri (d->listeners, 0, name);
  struct run_variable variables[] = {
    { "uri", uri != NULL ? uri : "" },
    { "unixsocket", listeners_path (d->listeners, 0) },
    { "port", listeners_port (d->listeners, 0) },
    { "exportname", name },
  };
  int r = run_start (&d->run, d->options.command, variables,
                     sizeof variables / sizeof variables[0], &d->nofile, error);

  free (uri);
  return r;
}

/* ------------------------------------------------------------------------ */
/* From one to the other                                                     */

static void
print_debug (const char *line)
{
  log_line (LOG_LEVEL_DEBUG, "%s", line);
}

/* The control socket is not removed by a user who may not. */
static void
note_control (const struct blkmqd *d)
{
  const char *path = exports_server_value (d->exports, FRONT_CONTROL);
  struct stat st;

  if (d->control != NULL && d->options.privileges.has_user
      && (lstat (path, &st) == 0 || errno != ENOENT))
    log_debug ("control=%s is left behind", path);
}

/* Whatever there is of it. */
static void
take_down (struct blkmqd *d)
{
  if (d->listeners != NULL)
    listeners_stop (d->listeners);
  private_place_remove (&d->place);
  pidfile_remove (&d->pidfile);
  /* Nothing is left that would have to be cleaned up: another signal ends it
   * where it is. */
  process_release_signals ();

  front_control_stop (d->control);
  note_control (d);
  if (d->server_runs)
    server_stop (d->server);
  if (d->exports_run) {
    exports_remove (d->exports);
    for (unsigned i = 0;
         log_has_level (LOG_LEVEL_DEBUG) && i < exports_nr (d->exports); i++)
      export_print_stats (exports_at (d->exports, i), true, print_debug);
  }
  front_control_free (d->control);
  server_free (d->server);
  listeners_free (d->listeners);
  if (d->loop != NULL)
    ev_loop_destroy (d->loop);
  if (d->drained_fd >= 0)
    close (d->drained_fd);
  if (d->signal_fd >= 0)
    close (d->signal_fd);
}

static int
serve (struct blkmqd *d)
{
  struct blkmq_error error = { "" };
  int r = 0;

  if (d->options.log_file != NULL)
    r = log_open_file (d->options.log_file, &error);
  if (d->options.uses_syslog)
    log_open_syslog ();
  if (r == 0)
    r = set_up (d, &error);
  if (r == 0) {
    describe_exports (d);
    warn_of_strangers (d);
    r = change_user (d, &error);
  }
  if (r == 0)
    r = start (d, &error);
  /* Whoever waits for the file may then read what was printed. */
  if (r == 0 && d->options.command == NULL)
    print_uris (d);
  if (r == 0)
    r = pidfile_write (&d->pidfile, &error);
  if (r == 0 && d->options.command != NULL)
    r = run_command (d, &error);
  if (r < 0) {
    log_error ("%s", error.message);
    return EXIT_FAILED;
  }
  log_leave_stderr ();
  ev_run (d->loop, 0);
  return d->options.command != NULL ? d->run.exit_status : EXIT_TOLD;
}

int
main (int argc, char **argv)
{
  static struct blkmqd d = { .signal_fd = -1, .drained_fd = -1 };
  struct blkmq_error error;
  int status = EXIT_USAGE;

  process_prepare (&d.nofile);
  log_find_journal ();
  if (passed_take (&d.passed, &error) < 0) {
    log_error ("%s", error.message);
    return EXIT_FAILED;
  }
  switch (options_parse (&d.options, d.passed.nr, argc, argv)) {
  case OPTIONS_WRONG:
    break;
  case OPTIONS_DONE:
    status = fflush (stdout) == 0 ? 0 : EXIT_FAILED;
    break;
  case OPTIONS_SERVE:
    d.exports = d.options.exports;
    status = check_keys (&d);
    if (status == 0) {
      status = serve (&d);
      take_down (&d);
    }
  }
  options_free (&d.options);
  passed_free (&d.passed);
  log_close ();
  return status;
}
