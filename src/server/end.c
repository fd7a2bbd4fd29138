/* SPDX-License-Identifier: BSD-3-Clause
 *
 * end.c: what ends blkmqd, and how: signals, the command that is served, the
 * only client.  The main thread.
 */

#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "server/blkmqd.h"
#include "server/log.h"

/* So long clients have to read that what was in flight was aborted, and to take
 * their leave; a bit more than the server gives each of them for that. */
#define ABORT_TIMEOUT_S 2.0

static void
stop_if_all_is_done (struct blkmqd *d)
{
  if (d->is_drained && d->run.pid == 0
      && (!d->stdio.is_bridge || d->is_written))
    ev_break (d->loop, EVBREAK_ALL);
}

/* Any thread. */
static void
tell_drained (void *opaque)
{
  struct blkmqd *d = opaque;

  ev_async_send (d->loop, &d->drained);
}

static void
on_drained (struct ev_loop *loop, ev_async *watcher, int events)
{
  struct blkmqd *d = watcher->data;

  d->is_drained = true;
  stop_if_all_is_done (d);
}

static void
on_drain_timeout (struct ev_loop *loop, ev_timer *watcher, int events)
{
  struct blkmqd *d = watcher->data;
  unsigned nr = server_nr_connections (d->server);

  if (!d->is_drained && !d->is_aborting) {
    d->is_aborting = true;
    log_warning ("%u connection%s not drained after %u ms (--drain-timeout): "
                 "aborting what is in flight",
                 nr, nr == 1 ? " is" : "s are", d->options.drain_timeout_ms);
    server_abort (d->server);
    ev_timer_set (watcher, ABORT_TIMEOUT_S, 0);
    ev_timer_start (loop, watcher);
    return;
  }
  if (!d->is_drained) {
    log_warning ("%u connection%s cut off", nr, nr == 1 ? " is" : "s are");
    server_cut_off (d->server);
    d->is_drained = true;
  } else if (d->stdio.is_bridge && !d->is_written)
    log_warning ("nobody has read standard output to its end");
  d->is_written = true;
  stop_if_all_is_done (d);
}

static void
begin_end (struct blkmqd *d)
{
  if (d->is_ending)
    return;
  d->is_ending = true;
  notify_stopping (&d->notify);
  listeners_stop (d->listeners);
  if (d->options.drain_timeout_ms > 0) {
    ev_now_update (d->loop);
    ev_timer_start (d->loop, &d->drain_timeout);
  }
  server_drain (d->server, tell_drained, d);
}

/* ------------------------------------------------------------------------ */
/* One client                                                                */

void
end_tell_idle (void *opaque)
{
  struct blkmqd *d = opaque;

  ev_async_send (d->loop, &d->is_idle);
}

void
end_tell_written (void *opaque)
{
  struct blkmqd *d = opaque;

  ev_async_send (d->loop, &d->written);
}

static void
on_idle (struct ev_loop *loop, ev_async *watcher, int events)
{
  struct blkmqd *d = watcher->data;

  if (d->is_single)
    begin_end (d);
}

static void
on_written (struct ev_loop *loop, ev_async *watcher, int events)
{
  struct blkmqd *d = watcher->data;

  d->is_written = true;
  stop_if_all_is_done (d);
}

/* ------------------------------------------------------------------------ */
/* Signals                                                                   */

static void
remove_files (struct blkmqd *d)
{
  listeners_remove (d->listeners);
  private_place_remove (&d->place);
  pidfile_remove (&d->pidfile);
}

static void
on_child (struct blkmqd *d)
{
  if (!run_reap (&d->run))
    return;
  begin_end (d);
  stop_if_all_is_done (d);
}

static void
on_told (struct blkmqd *d, int number)
{
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

static void
on_signal (struct ev_loop *loop, ev_io *watcher, int events)
{
  struct blkmqd *d = watcher->data;
  struct signalfd_siginfo info;

  while (read (d->signal_fd, &info, sizeof info) == sizeof info) {
    int number = (int)info.ssi_signo;

    if (number == SIGCHLD)
      on_child (d);
    else if (number != SIGHUP || process_has_lost_terminal ())
      on_told (d, number);
    else if (!d->is_ending) {
      notify_reloading (&d->notify);
      reload (d);
      notify_reloaded (&d->notify);
    }
  }
}

/* ------------------------------------------------------------------------ */
/* Life                                                                      */

int
end_init (struct blkmqd *d, struct blkmq_error *error)
{
  d->signal_fd = process_take_signals (error);
  if (d->signal_fd < 0)
    return d->signal_fd;
  d->loop = ev_loop_new (EVBACKEND_EPOLL | EVFLAG_NOENV);
  if (d->loop == NULL) {
    snprintf (error->message, sizeof error->message,
              "there is no event loop to be had");
    return -ENOMEM;
  }
  ev_io_init (&d->signals, on_signal, d->signal_fd, EV_READ);
  ev_async_init (&d->drained, on_drained);
  ev_async_init (&d->is_idle, on_idle);
  ev_async_init (&d->written, on_written);
  ev_timer_init (&d->drain_timeout, on_drain_timeout,
                 d->options.drain_timeout_ms / 1000.0, 0);
  d->signals.data = d->drained.data = d->is_idle.data = d->written.data = d;
  d->drain_timeout.data = d;
  ev_io_start (d->loop, &d->signals);
  ev_async_start (d->loop, &d->drained);
  ev_async_start (d->loop, &d->is_idle);
  ev_async_start (d->loop, &d->written);
  return 0;
}

void
end_exit (struct blkmqd *d)
{
  if (d->loop != NULL) {
    notify_exit (&d->notify);
    ev_loop_destroy (d->loop);
  }
  if (d->signal_fd >= 0)
    close (d->signal_fd);
}
