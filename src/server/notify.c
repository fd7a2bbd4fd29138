/* SPDX-License-Identifier: BSD-3-Clause
 *
 * notify.c: what systemd is told of a service.  The main thread.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/log.h"
#include "server/notify.h"

#ifdef HAVE_LIBSYSTEMD

#include <systemd/sd-daemon.h>

/* The number of connections is looked at so often; and while it drains it asks
 * for so much more time. */
#define TICK_S 1.0
#define MORE_TIME_US 15000000

/* Who must answer within the watchdog's time is asked this often in it. */
#define ASKS_A_TIME 3

/* ------------------------------------------------------------------------ */
/* Status                                                                    */

static void
tell_status (struct notify *notify, const char *more)
{
  notify->nr_told = server_nr_connections (notify->server);
  sd_notifyf (0, "%s\nSTATUS=%s%s; connections: %u", more,
              notify->is_ending ? "ending: " : "", notify->serves,
              notify->nr_told);
}

static void
on_tick (struct ev_loop *loop, ev_timer *watcher, int events)
{
  struct notify *notify = watcher->data;

  if (notify->is_ending)
    sd_notifyf (0, "EXTEND_TIMEOUT_USEC=%d", MORE_TIME_US);
  if (server_nr_connections (notify->server) != notify->nr_told)
    tell_status (notify, "");
}

/* ------------------------------------------------------------------------ */
/* The watchdog                                                              */

/* The main thread turns, since it is here.  If one of the server's does not,
 * then nothing is said, and systemd ends us. */
static void
on_watchdog (struct ev_loop *loop, ev_timer *watcher, int events)
{
  struct notify *notify = watcher->data;
  int silent = server_find_silent (notify->server);

  if (silent < 0) {
    sd_notify (0, "WATCHDOG=1");
    server_ask (notify->server);
  } else if (!notify->was_late)
    log_warning ("thread %d has not turned in %.3g s: the watchdog is told "
                 "nothing",
                 silent, watcher->repeat);
  notify->was_late = silent >= 0;
}

static void
start_watchdog (struct notify *notify)
{
  uint64_t us = 0;

  if (sd_watchdog_enabled (0, &us) <= 0 || us == 0)
    return;
  server_ask (notify->server);
  ev_timer_init (&notify->watchdog, on_watchdog, 0, us / 1e6 / ASKS_A_TIME);
  notify->watchdog.data = notify;
  ev_timer_again (notify->loop, &notify->watchdog);
}

/* ------------------------------------------------------------------------ */
/* Life                                                                      */

void
notify_ready (struct notify *notify, struct ev_loop *loop,
              struct server *server, const char *serves)
{
  if (getenv ("NOTIFY_SOCKET") == NULL)
    return;
  *notify = (struct notify){ .loop = loop, .server = server };
  snprintf (notify->serves, sizeof notify->serves, "%s", serves);
  tell_status (notify, "READY=1");
  ev_timer_init (&notify->tick, on_tick, 0, TICK_S);
  notify->tick.data = notify;
  ev_timer_again (loop, &notify->tick);
  start_watchdog (notify);
}

void
notify_reloading (struct notify *notify)
{
  struct timespec now;

  if (notify->loop == NULL)
    return;
  clock_gettime (CLOCK_MONOTONIC, &now);
  sd_notifyf (0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
              (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

void
notify_reloaded (struct notify *notify)
{
  if (notify->loop != NULL)
    tell_status (notify, "READY=1");
}

void
notify_stopping (struct notify *notify)
{
  if (notify->loop == NULL)
    return;
  notify->is_ending = true;
  tell_status (notify, "STOPPING=1");
  sd_notifyf (0, "EXTEND_TIMEOUT_USEC=%d", MORE_TIME_US);
}

void
notify_exit (struct notify *notify)
{
  if (notify->loop == NULL)
    return;
  ev_timer_stop (notify->loop, &notify->tick);
  ev_timer_stop (notify->loop, &notify->watchdog);
  notify->loop = NULL;
}

#else

void
notify_ready (struct notify *notify, struct ev_loop *loop,
              struct server *server, const char *serves)
{
}

void
notify_reloading (struct notify *notify)
{
}

void
notify_reloaded (struct notify *notify)
{
}

void
notify_stopping (struct notify *notify)
{
}

void
notify_exit (struct notify *notify)
{
}

#endif
