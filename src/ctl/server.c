/* SPDX-License-Identifier: BSD-3-Clause
 *
 * server.c: the life of the control server, and who gets a connection.  open,
 * start, stop and free run on the front end's thread, all else on the server's
 * own.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl/internal.h"

#define STALL_MS 30000
#define SILENT_MS 30000

#define BACKLOG 64

/* Connections taken before the others have their turn. */
#define ACCEPTS_AT_ONCE 16

/* When there is no file descriptor for a connection. */
#define ACCEPT_AGAIN_S 0.1

static const char full_line[]
    = "{\"id\":null,\"ok\":false,\"error\":{\"errno\":\"EBUSY\","
      "\"message\":\"there are as many clients as there may be\"}}\n";

/* ------------------------------------------------------------------------ */
/* Connections                                                               */

/* All places are taken: find one that nobody needs.  Those who are not there
 * any more go at once; of the others the one that has been silent for longest,
 * if that is long. */
static void
make_room (struct control *control)
{
  struct client *client, *next, *oldest = NULL;

  for (client = control->clients; client != NULL; client = next) {
    next = client->next;
    if (client_is_gone (client))
      client_close (client);
    else if (client_is_idle (client)
             && (oldest == NULL || client->active_s < oldest->active_s))
      oldest = client;
  }
  if (control->nr_clients == MAX_CLIENTS && oldest != NULL
      && ev_now (control->loop) - oldest->active_s >= control->silent_s)
    client_close (oldest);
}

static void
take_connection (struct control *control, int fd)
{
  if (control->nr_clients == MAX_CLIENTS)
    make_room (control);
  if (control->nr_clients < MAX_CLIENTS)
    client_open (control, fd);
  else {
    /* A new socket has room for a line; and if not, it was a courtesy. */
    (void)!send (fd, full_line, sizeof full_line - 1,
                 MSG_NOSIGNAL | MSG_DONTWAIT);
    close (fd);
  }
}

static void
on_connection (struct ev_loop *loop, ev_io *watcher, int events)
{
  struct control *control = watcher->data;
  int fd;

  for (unsigned i = 0; i < ACCEPTS_AT_ONCE; i++) {
    fd = accept4 (control->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
      take_connection (control, fd);
    else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS
             || errno == ENOMEM) {
      /* It would be readable all the time. */
      ev_io_stop (loop, watcher);
      ev_timer_set (&control->accept_again, ACCEPT_AGAIN_S, 0);
      ev_timer_start (loop, &control->accept_again);
      return;
    } else if (errno != ECONNABORTED && errno != EINTR)
      return;
  }
}

static void
on_accept_again (struct ev_loop *loop, ev_timer *watcher, int events)
{
  struct control *control = watcher->data;

  ev_io_start (loop, &control->accepting);
}

/* ------------------------------------------------------------------------ */
/* Calls that workers have done                                              */

static void
wake (struct control *control)
{
  uint64_t one = 1;

  (void)!write (control->wakefd, &one, sizeof one);
}

void
control_done (struct control *control, struct call *call)
{
  pthread_mutex_lock (&control->lock);
  call->next = control->done;
  control->done = call;
  pthread_mutex_unlock (&control->lock);
  wake (control);
}

static struct call *
take_done (struct control *control)
{
  struct call *calls;

  pthread_mutex_lock (&control->lock);
  calls = control->done;
  control->done = NULL;
  pthread_mutex_unlock (&control->lock);
  return calls;
}

static void
on_wake (struct ev_loop *loop, ev_io *watcher, int events)
{
  struct control *control = watcher->data;
  struct call *call, *next;
  uint64_t nr;

  (void)!read (control->wakefd, &nr, sizeof nr);
  if (atomic_load (&control->quit)) {
    ev_break (loop, EVBREAK_ALL);
    return;
  }
  for (call = take_done (control); call != NULL; call = next) {
    next = call->next;
    if (call->client != NULL)
      client_answer (call->client, call);
    call_free (call);
  }
}

/* ------------------------------------------------------------------------ */
/* Start and stop                                                            */

static void *
serve (void *opaque)
{
  struct control *control = opaque;

  ev_run (control->loop, 0);
  return NULL;
}

struct control *
control_open (const char *path, struct blkmq_error *error)
{
  struct control *control = calloc (1, sizeof *control);

  if (control == NULL) {
    set_error (error, "control=%s: %s", path, strerror (ENOMEM));
    return NULL;
  }
  control->socket = (struct unix_socket){
    .option = "control=", .path = path, .is_private = true, .backlog = BACKLOG
  };
  if (unix_socket_open (&control->socket, error) < 0) {
    free (control);
    return NULL;
  }
  control->is_open = true;
  control->wakefd = -1;
  pthread_mutex_init (&control->lock, NULL);
  return control;
}

static void
start_events (struct control *control)
{
  ev_io_init (&control->accepting, on_connection, control->socket.fd, EV_READ);
  ev_timer_init (&control->accept_again, on_accept_again, 0, 0);
  ev_io_init (&control->wake, on_wake, control->wakefd, EV_READ);
  control->accepting.data = control;
  control->accept_again.data = control;
  control->wake.data = control;
  ev_io_start (control->loop, &control->accepting);
  ev_io_start (control->loop, &control->wake);
}

int
control_start (struct control *control, const struct control_options *options,
               struct blkmq_error *error)
{
  const char *path = control->socket.path;
  int r;

  control->stall_s
      = (options->stall_ms > 0 ? options->stall_ms : STALL_MS) / 1000.0;
  control->silent_s
      = (options->silent_ms > 0 ? options->silent_ms : SILENT_MS) / 1000.0;
  control->exports = calloc (options->nr_exports + 1, sizeof (struct export));
  control->loop = ev_loop_new (EVFLAG_AUTO | EVFLAG_NOENV);
  control->wakefd = eventfd (0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (control->exports == NULL || control->loop == NULL
      || control->wakefd < 0) {
    set_error (error, "control=%s: there is no loop to be had", path);
    return -ENOMEM;
  }
  json_object_seed (0); /* before there are threads */
  start_events (control);
  for (size_t i = 0; i < options->nr_exports; i++)
    export_init (&control->exports[i], control, &options->exports[i]);
  control->nr_exports = options->nr_exports;

  r = start_thread (&control->thread, "blkmq-control", serve, control);
  if (r < 0) {
    set_error (error, "control=%s: starting a thread: %s", path, strerror (-r));
    return r;
  }
  control->is_running = true;
  return 0;
}

void
control_stop (struct control *control)
{
  if (control->is_running) {
    control->is_running = false;
    atomic_store (&control->quit, true);
    wake (control);
    pthread_join (control->thread, NULL);
  }
  if (!control->is_open)
    return;
  control->is_open = false;
  (void)unix_socket_close (&control->socket);
  while (control->clients != NULL)
    client_close (control->clients);
  for (size_t i = 0; i < control->nr_exports; i++)
    export_stop (&control->exports[i]);
}

void
control_free (struct control *control)
{
  struct call *call, *next;

  if (control == NULL)
    return;
  control_stop (control);
  for (size_t i = 0; i < control->nr_exports; i++)
    export_exit (&control->exports[i]);
  for (call = take_done (control); call != NULL; call = next) {
    next = call->next;
    call_free (call);
  }
  if (control->loop != NULL)
    ev_loop_destroy (control->loop);
  if (control->wakefd >= 0)
    close (control->wakefd);
  pthread_mutex_destroy (&control->lock);
  free (control->exports);
  free (control);
}
