/* SPDX-License-Identifier: BSD-3-Clause
 *
 * main.c: blkmqd: what is done in which order, from the command line to the
 * end.  The main thread: it takes connections and signals, and the server's
 * threads do the rest.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "front/path.h"
#include "front/stats.h"
#include "server/blkmqd.h"
#include "server/daemon.h"
#include "server/log.h"

enum { EXIT_TOLD = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

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
    options_explain (&d->options, &error);
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
  if (d->options.access.nr_nets == 0 && !options_tls_asks_identity (&d->options)
      && listeners_are_reached_from_afar (d->listeners))
    log_warning ("whoever reaches the TCP port has the disks: say "
                 "--tls=require with --tls-psk or --tls-verify-peer, or "
                 "--allow-from=ADDRESS/PREFIX, or listen on a loopback "
                 "address only");
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

/* A connection that is passed alone, as by Accept=yes of a socket unit. */
static bool
is_client_passed (const struct blkmqd *d)
{
  enum passed_kind kind;

  if (d->passed.nr != 1 || d->options.nr_addresses > 0
      || d->options.command != NULL)
    return false;
  passed_describe (d->passed.sockets[0].fd, &kind);
  return kind == PASSED_CONNECTED;
}

/* The only client, or else sockets at which clients connect. */
static int
take_passed (struct blkmqd *d, struct blkmq_error *error)
{
  int r = 0;

  if (d->options.is_stdio)
    return stdio_open (&d->stdio, error);
  if (d->is_single) {
    d->stdio.fd = d->passed.sockets[0].fd;
    return 0;
  }
  for (unsigned i = 0; i < d->passed.nr && r == 0; i++) {
    r = passed_check (&d->passed.sockets[i], error);
    if (r == 0)
      r = listeners_add_passed (d->listeners, i, d->passed.sockets[i].fd,
                                error);
  }
  return r;
}

/* A daemon is in another directory when it reloads. */
static int
keep_tls_path (struct blkmqd *d, struct blkmq_error *error)
{
  struct tls_files *files = &d->options.tls_files;
  const char **path = files->psk != NULL ? &files->psk : &files->certificates;

  if (d->tls_path != NULL)
    return 0;
  d->tls_path = path_absolute (*path);
  if (d->tls_path == NULL) {
    snprintf (error->message, sizeof error->message, "out of memory");
    return -ENOMEM;
  }
  *path = d->tls_path;
  return 0;
}

static int
load_tls (struct blkmqd *d, struct blkmq_error *error)
{
  struct tls_credentials *credentials;
  int r;

  if (d->options.tls == NEGOTIATION_TLS_OFF)
    return 0;
  r = tls_credentials_load (&d->options.tls_files, &credentials, error);
  if (r < 0)
    return r;
  server_set_tls (d->server, credentials);
  tls_credentials_put (credentials);
  return keep_tls_path (d, error);
}

/* All that can be refused or be missing; nothing is served yet. */
static int
set_up (struct blkmqd *d, struct blkmq_error *error)
{
  struct server_options server_options = {
    .exports = d->exports,
    .nr_threads = d->options.nr_threads,
    .busy_poll_us = d->options.busy_poll_us,
    .tls = d->options.tls,
    .access = &d->options.access,
    .limits = d->options.limits,
    .idle = end_tell_idle,
    .opaque = d,
  };
  int r;

  d->is_single = d->options.is_stdio || is_client_passed (d);
  r = exports_set_up (d->exports, error);
  if (r < 0)
    return r;
  r = server_alloc (&server_options, &d->server, error);
  if (r == 0)
    r = load_tls (d, error);
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
  r = end_init (d, error);
  if (r < 0)
    return r;
  if (d->passed.nr + d->options.nr_addresses == 0 && !d->is_single) {
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
  if (!d->is_single)
    return 0;
  r = stdio_start (&d->stdio, end_tell_written, d, error);
  if (r == 0
      && !listeners_take (d->listeners, d->stdio.fd,
                          d->stdio.is_bridge ? "stdin" : NULL)) {
    snprintf (error->message, sizeof error->message,
              "the only client may not connect");
    r = -EPERM;
  }
  return r;
}

static void
print_uri (const struct blkmqd *d, unsigned address, const char *name,
           bool is_tls)
{
  char *uri = listeners_uri (d->listeners, address, name, is_tls);

  if (address < d->passed.nr)
    log_info ("fd %d: %s", d->passed.sockets[address].fd,
              uri != NULL ? uri : "an abstract socket");
  else if (uri != NULL)
    puts (uri);
  free (uri);
}

/* Each disk at each address, a line each; two, if clients have the choice of
 * TLS.  Who passes a socket knows where it is, and stdout is his: libnbd's
 * clients have it from theirs. */
static void
print_uris (const struct blkmqd *d)
{
  for (unsigned i = 0; i < d->passed.nr + d->options.nr_addresses; i++)
    for (unsigned j = 0; j < exports_nr (d->exports); j++) {
      const char *name = exports_at (d->exports, j)->name;

      if (d->options.tls != NEGOTIATION_TLS_REQUIRED)
        print_uri (d, i, name, false);
      if (d->options.tls != NEGOTIATION_TLS_OFF)
        print_uri (d, i, name, true);
    }
  if (fflush (stdout) != 0)
    log_warning ("cannot print where clients can connect: %s",
                 strerror (errno));
}

static int
run_command (struct blkmqd *d, struct blkmq_error *error)
{
  const char *name = exports_at (d->exports, 0)->name;
  char *uri = listeners_uri (d->listeners, 0, name,
                             d->options.tls != NEGOTIATION_TLS_OFF);
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
/* While it serves                                                           */

/* What cannot be had stays as it was, and so does every connection. */
void
reload (struct blkmqd *d)
{
  bool has_tls = d->options.tls != NEGOTIATION_TLS_OFF;
  struct blkmq_error error;
  int r = log_reopen (&error);

  if (r < 0)
    log_error ("SIGHUP: %s; going on with the one there was", error.message);
  else if (r == 0)
    log_info ("SIGHUP: the log goes on here");
  else if (!has_tls)
    log_info ("SIGHUP: there is nothing to be reloaded");
  if (!has_tls)
    return;
  if (load_tls (d, &error) < 0)
    log_error ("SIGHUP: %s; going on with what was read before", error.message);
  else
    log_info ("SIGHUP: certificates or keys of TLS were read anew");
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

/* --check: also what the files of TLS have, which are there to be read. */
static int
only_check (const struct blkmqd *d)
{
  struct tls_credentials *credentials;
  struct blkmq_error error;

  if (d->options.tls != NEGOTIATION_TLS_OFF) {
    if (tls_credentials_load (&d->options.tls_files, &credentials, &error)
        < 0) {
      log_error ("%s", error.message);
      return EXIT_USAGE;
    }
    tls_credentials_put (credentials);
  }
  options_print (&d->options);
  return fflush (stdout) == 0 ? 0 : EXIT_FAILED;
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
  free (d->tls_path);
  listeners_free (d->listeners);
  stdio_close (&d->stdio);
  end_exit (d);
}

/* Whoever waits for it goes on. */
static int
tell_ready (struct blkmqd *d, struct blkmq_error *error)
{
  unsigned nr_disks = exports_nr (d->exports);
  unsigned nr = d->is_single ? 0 : d->passed.nr + d->options.nr_addresses;
  char serves[64];
  int r = 0;

  if (d->options.is_daemon)
    r = daemon_ready (d->parent_fd, error);
  if (r < 0)
    return r;
  log_leave_stderr ();
  snprintf (serves, sizeof serves, "%u disk%s at %u address%s", nr_disks,
            nr_disks == 1 ? "" : "s", nr, nr == 1 ? "" : "es");
  notify_ready (&d->notify, d->loop, d->server, serves);
  return 0;
}

static int
serve (struct blkmqd *d)
{
  struct blkmq_error error = { "" };
  int r = 0;

  if (d->options.is_daemon) {
    d->parent_fd = daemon_begin (&error);
    r = d->parent_fd < 0 ? d->parent_fd : 0;
  }
  if (r == 0 && d->options.log_file != NULL)
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
  if (r == 0 && d->options.command == NULL && !d->is_single)
    print_uris (d);
  if (r == 0)
    r = pidfile_write (&d->pidfile, &error);
  if (r == 0 && d->options.command != NULL)
    r = run_command (d, &error);
  if (r == 0)
    r = tell_ready (d, &error);
  if (r < 0) {
    log_error ("%s", error.message);
    return EXIT_FAILED;
  }
  ev_run (d->loop, 0);
  return d->options.command != NULL ? d->run.exit_status : EXIT_TOLD;
}

int
main (int argc, char **argv)
{
  static struct blkmqd d = { .signal_fd = -1 };
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
    if (status == 0 && d.options.is_check)
      status = only_check (&d);
    else if (status == 0) {
      status = serve (&d);
      take_down (&d);
    }
  }
  options_free (&d.options);
  passed_free (&d.passed);
  log_close ();
  return status;
}
