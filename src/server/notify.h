/* SPDX-License-Identifier: BSD-3-Clause
 *
 * notify.h: what systemd is told of a service (sd_notify(3)), if it asks for
 * it.  The main thread.
 */

#ifndef BLKMQ_SERVER_NOTIFY_H
#define BLKMQ_SERVER_NOTIFY_H

#include <ev.h>
#include <stdbool.h>

#include "server/server.h"

struct notify {
  struct ev_loop *loop; /* NULL: nobody asks */
  struct server *server;
  char serves[64];
  unsigned nr_told; /* connections */
  bool is_ending, was_late;
  ev_timer tick, watchdog;
};

/* Clients can connect.  SERVES says what they find: "2 disks at 1 address". */
void notify_ready (struct notify *notify, struct ev_loop *loop,
                   struct server *server, const char *serves);

/* Between these it is not ready, though it serves. */
void notify_reloading (struct notify *notify);
void notify_reloaded (struct notify *notify);

/* It drains, however long that may take. */
void notify_stopping (struct notify *notify);

/* Before the loop ends. */
void notify_exit (struct notify *notify);

#endif /* BLKMQ_SERVER_NOTIFY_H */
