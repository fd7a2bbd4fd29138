/* SPDX-License-Identifier: BSD-3-Clause
 *
 * client.c: a connection: lines in, lines out, and what it may keep of ours
 * meanwhile.  The server's thread.
 *
 * One request at a time: the next one is not looked at before the answer to the
 * last was sent, and nothing is read that does not fit beside what was read.
 * So all that a client can make the server keep is one line and one answer.
 * After each request the other clients have their turn.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl/internal.h"

/* What is left of a large answer when it was sent. */
#define KEEP_OUT_BYTES 65536

static void client_update (struct client *client);

static bool
has_output (const struct client *client)
{
  return client->out_start < client->out_end;
}

/* Where the next newline is; NULL: there is none. */
static char *
find_line (struct client *client)
{
  char *end = memchr (client->in + client->in_scan, '\n',
                      client->in_end - client->in_scan);

  client->in_scan = end != NULL ? (size_t)(end - client->in) : client->in_end;
  return end;
}

/* ------------------------------------------------------------------------ */
/* Output                                                                    */

/* False: the client is gone. */
static bool
send_output (struct client *client)
{
  ssize_t nr;

  while (has_output (client)) {
    nr = send (client->fd, client->out + client->out_start,
               client->out_end - client->out_start,
               MSG_NOSIGNAL | MSG_DONTWAIT);
    if (nr < 0 && errno == EINTR)
      continue;
    if (nr < 0)
      return errno == EAGAIN || errno == EWOULDBLOCK;
    client->out_start += (size_t)nr;
    ev_timer_stop (client->control->loop, &client->stall);
  }
  client->out_start = client->out_end = 0;
  if (client->out_room > KEEP_OUT_BYTES) {
    free (client->out);
    client->out = NULL;
    client->out_room = 0;
  }
  return true;
}

static void
add_output (struct client *client, const char *bytes, size_t nr)
{
  if (client->out_room - client->out_end < nr) {
    size_t room = client->out_end + nr;
    char *out = realloc (client->out, room);

    if (out == NULL) {
      client->is_closing = true;
      return;
    }
    client->out = out;
    client->out_room = room;
  }
  memcpy (client->out + client->out_end, bytes, nr);
  client->out_end += nr;
}

static void
add_answer (struct client *client, struct call *call)
{
  size_t bytes;
  char *line = call_answer (call, &bytes);

  /* It may have changed the disk: better no answer than a wrong one. */
  if (line != NULL)
    add_output (client, line, bytes);
  else
    client->is_closing = true;
  free (line);
}

/* An error that ends the connection: where the next request begins, or what
 * this one was, cannot be known. */
static void
give_up (struct client *client, struct call *call)
{
  add_answer (client, call);
  client->is_closing = true;
}

/* ------------------------------------------------------------------------ */
/* Requests                                                                  */

static void
begin_call (struct client *client, struct call *call)
{
  int r = 0;

  if (call->command->blocks) {
    client->call = call;
    r = export_queue (call->export, call);
    if (r == 0)
      return;
    client->call = NULL;
    call_fail (call, -r, "starting a thread: %s", strerror (-r));
  } else
    call_run (call);
  add_answer (client, call);
  call_free (call);
}

/* LINE_BYTES without the newline. */
static void
take_line (struct client *client, const char *line, size_t line_bytes)
{
  struct call *call = call_alloc (client);

  client->has_asked = true;
  client->active_s = ev_now (client->control->loop);
  ev_timer_stop (client->control->loop, &client->stall);
  if (call == NULL)
    client->is_closing = true;
  else if (call_parse (call, line, line_bytes))
    begin_call (client, call);
  else {
    if (call->request == NULL)
      give_up (client, call);
    else
      add_answer (client, call);
    call_free (call);
  }
}

/* What is there and never becomes a line. */
static void
refuse_rest (struct client *client)
{
  struct call *call = call_alloc (client);

  if (call == NULL) {
    client->is_closing = true;
    return;
  }
  if (client->is_eof)
    call_fail (call, EBADMSG, "the last line has no end");
  else
    call_fail (call, EMSGSIZE, "a line is longer than %u bytes",
               MAX_LINE_BYTES);
  give_up (client, call);
  call_free (call);
}

/* Look at one line, if there is one and nothing is in its way. */
static void
take_turn (struct client *client)
{
  char *end;

  if (client->call != NULL || has_output (client) || client->is_closing)
    return;
  end = find_line (client);
  if (end != NULL) {
    size_t start = client->in_start;

    client->in_start = client->in_scan = (size_t)(end - client->in) + 1;
    take_line (client, client->in + start, (size_t)(end - client->in) - start);
  } else if (client->in_start == client->in_end)
    client->is_closing = client->is_eof;
  else if (client->is_eof
           || client->in_end - client->in_start == MAX_LINE_BYTES)
    refuse_rest (client);
}

void
client_answer (struct client *client, struct call *call)
{
  client->call = NULL;
  client->active_s = ev_now (client->control->loop);
  add_answer (client, call);
  client_update (client);
}

/* ------------------------------------------------------------------------ */
/* Events                                                                    */

static void
watch_io (struct ev_loop *loop, ev_io *watcher, bool wanted)
{
  if (wanted)
    ev_io_start (loop, watcher);
  else
    ev_io_stop (loop, watcher);
}

static void
watch_time (struct ev_loop *loop, ev_timer *watcher, bool wanted,
            double after_s)
{
  if (!wanted)
    ev_timer_stop (loop, watcher);
  else if (!ev_is_active (watcher)) {
    ev_timer_set (watcher, after_s, 0);
    ev_timer_start (loop, watcher);
  }
}

/* After whatever has happened: send what there is, and wait for what may come.
 * The client may be closed when this returns. */
static void
client_update (struct client *client)
{
  struct ev_loop *loop = client->control->loop;
  bool has_line, is_stuck, may_ask;

  if (!send_output (client) || (client->is_closing && !has_output (client))) {
    client_close (client);
    return;
  }
  may_ask = client->call == NULL && !has_output (client);
  has_line = find_line (client) != NULL;
  /* It could not finish the line, or will not, or has said all. */
  is_stuck
      = client->is_eof || client->in_end - client->in_start == MAX_LINE_BYTES;

  watch_io (loop, &client->writable, has_output (client));
  watch_io (loop, &client->readable, may_ask && !has_line && !is_stuck);
  watch_time (loop, &client->next_turn, may_ask && (has_line || is_stuck), 0);
  watch_time (
      loop, &client->stall,
      has_output (client)
          || (client->call == NULL && !has_line
              && (client->in_end > client->in_start || !client->has_asked)),
      client->control->stall_s);
}

static void
on_readable (struct ev_loop *loop, ev_io *watcher, int events)
{
  struct client *client = watcher->data;
  ssize_t nr;

  if (client->in_end == MAX_LINE_BYTES && client->in_start > 0) {
    client->in_end -= client->in_start;
    memmove (client->in, client->in + client->in_start, client->in_end);
    client->in_scan -= client->in_start;
    client->in_start = 0;
  }
  nr = recv (client->fd, client->in + client->in_end,
             MAX_LINE_BYTES - client->in_end, MSG_DONTWAIT);
  if (nr < 0) {
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
      client_close (client);
    return;
  }
  client->in_end += (size_t)nr;
  client->is_eof = nr == 0;
  take_turn (client);
  client_update (client);
}

static void
on_writable (struct ev_loop *loop, ev_io *watcher, int events)
{
  client_update (watcher->data);
}

static void
on_next_turn (struct ev_loop *loop, ev_timer *watcher, int events)
{
  struct client *client = watcher->data;

  take_turn (client);
  client_update (client);
}

static void
on_stall (struct ev_loop *loop, ev_timer *watcher, int events)
{
  client_close (watcher->data);
}

/* ------------------------------------------------------------------------ */
/* Open and close                                                            */

static void
greet (struct client *client)
{
  bool ok = true;
  json_t *greeting = json_object ();
  char *text;

  put (&ok, greeting, "blkmq", json_text (blkmq_version ()));
  put (&ok, greeting, "protocol", json_count (PROTOCOL_VERSION));
  text = ok ? json_dumps (greeting, JSON_COMPACT) : NULL;
  json_decref (greeting);
  if (text != NULL) {
    add_output (client, text, strlen (text));
    add_output (client, "\n", 1);
  } else
    client->is_closing = true;
  free (text);
}

void
client_open (struct control *control, int fd)
{
  struct client *client = calloc (1, sizeof *client);
  struct client **last = &control->clients;

  if (client == NULL) {
    close (fd);
    return;
  }
  client->control = control;
  client->fd = fd;
  client->active_s = ev_now (control->loop);
  ev_io_init (&client->readable, on_readable, fd, EV_READ);
  ev_io_init (&client->writable, on_writable, fd, EV_WRITE);
  ev_timer_init (&client->next_turn, on_next_turn, 0, 0);
  ev_timer_init (&client->stall, on_stall, 0, 0);
  client->readable.data = client;
  client->writable.data = client;
  client->next_turn.data = client;
  client->stall.data = client;

  while (*last != NULL)
    last = &(*last)->next;
  client->link = last;
  *last = client;
  control->nr_clients++;

  greet (client);
  client_update (client);
}

void
client_close (struct client *client)
{
  struct control *control = client->control;
  struct call *call = client->call;

  ev_io_stop (control->loop, &client->readable);
  ev_io_stop (control->loop, &client->writable);
  ev_timer_stop (control->loop, &client->next_turn);
  ev_timer_stop (control->loop, &client->stall);

  /* What has begun goes on, and nobody hears of it. */
  if (call != NULL) {
    call->client = NULL;
    if (export_unqueue (call->export, call))
      call_free (call);
  }
  *client->link = client->next;
  if (client->next != NULL)
    client->next->link = client->link;
  control->nr_clients--;
  close (client->fd);
  free (client->out);
  free (client);
}

bool
client_is_gone (const struct client *client)
{
  struct pollfd fd = { .fd = client->fd };

  return poll (&fd, 1, 0) == 1
         && (fd.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

bool
client_is_idle (const struct client *client)
{
  return client->call == NULL && !has_output (client)
         && client->in_start == client->in_end;
}
