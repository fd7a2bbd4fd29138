/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bare-transmit.c: serves one connection: parses all that one recv brings,
 * copies the bytes between memory and the two buffers, and answers with one
 * sendmsg.  What does not fit waits in the socket: no buffer ever grows.
 *
 * What the real server must do and this does not: flags, errors with text,
 * structured replies, quotas, and an engine.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bare-loop.h"
#include "server/nbd.h"

#define IN_BYTES (256u * 1024)
#define OUT_BYTES (256u * 1024)

/* What the socket itself holds.  Room for all the replies of a batch, or the
 * server waits for the client in the middle of each. */
#define SOCKET_BYTES (1024 * 1024)

/* So many batches, then others get their turn. */
#define MAX_TURNS 16

/* A request that comes within so many spins of the last reply makes it worth
 * to spin for the next one. */
#define RECENT 8

struct connection {
  struct ev_io readable;
  struct ev_io writable; /* active while replies do not fit in the socket */
  struct worker *worker;
  int fd;
  bool leaving; /* the client has said so, or what it said makes no sense */
  uint64_t idle_since_ns; /* only if busy_poll_ns is set */

  /* What has come, and how much of it was parsed. */
  size_t in_bytes, in_parsed;
  /* What is to be sent, and how much of it was. */
  size_t out_bytes, out_sent;

  /* The request whose data is partly here: a read has its header in `out', a
   * write gets its reply in the end. */
  uint8_t *data;
  uint64_t read_left, write_left;
  uint64_t cookie;

  uint8_t in[IN_BYTES];
  uint8_t out[OUT_BYTES];
};

static uint64_t
now_ns (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void
connection_end (struct connection *c)
{
  ev_io_stop (c->worker->loop, &c->readable);
  ev_io_stop (c->worker->loop, &c->writable);
  c->worker->nr_connections--;
  close (c->fd);
  free (c);
}

/* ------------------------------------------------------------------------ */
/* Requests to replies                                                       */

static void
put_reply (struct connection *c, uint32_t error)
{
  uint8_t *reply = c->out + c->out_bytes;

  nbd_put32 (reply, NBD_SIMPLE_REPLY_MAGIC);
  nbd_put32 (reply + 4, error);
  memcpy (reply + 8, &c->cookie, sizeof c->cookie);
  c->out_bytes += NBD_SIMPLE_REPLY_BYTES;
}

static void
begin_request (struct connection *c, const uint8_t *request)
{
  const struct memory *memory = c->worker->memory;
  unsigned command = nbd_get16 (request + 6);
  uint64_t offset = nbd_get64 (request + 16);
  uint32_t bytes = nbd_get32 (request + 24);
  bool inside
      = offset <= memory->nr_bytes && bytes <= memory->nr_bytes - offset;

  memcpy (&c->cookie, request + 8, sizeof c->cookie);
  c->data = memory->bytes + offset;
  if (nbd_get32 (request) != NBD_REQUEST_MAGIC || command == NBD_CMD_DISC)
    c->leaving = true;
  else if (command == NBD_CMD_READ && inside) {
    put_reply (c, 0);
    c->read_left = bytes;
  } else if (command == NBD_CMD_WRITE && inside && bytes > 0)
    c->write_left = bytes;
  else if (command == NBD_CMD_WRITE && bytes > 0)
    c->leaving = true; /* its data would have to be skipped */
  else
    put_reply (c, command == NBD_CMD_FLUSH ? 0 : NBD_EINVAL);
}

/* Goes on until what has come is parsed or `out' is full. */
static void
parse (struct connection *c)
{
  while (!c->leaving) {
    size_t in_left = c->in_bytes - c->in_parsed;
    size_t room = OUT_BYTES - c->out_bytes;
    size_t n;

    if (c->read_left > 0) {
      n = c->read_left < room ? (size_t)c->read_left : room;
      if (n == 0)
        return;
      memcpy (c->out + c->out_bytes, c->data, n);
      c->out_bytes += n;
      c->data += n;
      c->read_left -= n;
    } else if (room < NBD_SIMPLE_REPLY_BYTES) {
      return;
    } else if (c->write_left > 0) {
      n = c->write_left < in_left ? (size_t)c->write_left : in_left;
      if (n == 0)
        return;
      memcpy (c->data, c->in + c->in_parsed, n);
      c->in_parsed += n;
      c->data += n;
      c->write_left -= n;
      if (c->write_left == 0)
        put_reply (c, 0);
    } else {
      if (in_left < NBD_REQUEST_BYTES)
        return;
      begin_request (c, c->in + c->in_parsed);
      c->in_parsed += NBD_REQUEST_BYTES;
    }
  }
}

/* ------------------------------------------------------------------------ */
/* The socket                                                                */

/* Returns 1 if all is sent, 0 if the socket is full, -1 if nobody is there. */
static int
send_replies (struct connection *c)
{
  while (c->out_sent < c->out_bytes) {
    struct iovec iov = { c->out + c->out_sent, c->out_bytes - c->out_sent };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n = sendmsg (c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n == -1 && errno == EINTR)
      continue;
    if (n == -1)
      return errno == EAGAIN ? 0 : -1;
    c->out_sent += (size_t)n;
  }
  c->out_sent = c->out_bytes = 0;
  return 1;
}

static int
receive (struct connection *c)
{
  ssize_t n;

  c->in_bytes -= c->in_parsed;
  memmove (c->in, c->in + c->in_parsed, c->in_bytes);
  c->in_parsed = 0;
  do
    n = recv (c->fd, c->in + c->in_bytes, IN_BYTES - c->in_bytes, MSG_DONTWAIT);
  while (n == -1 && errno == EINTR);
  if (n > 0) {
    c->in_bytes += (size_t)n;
    return 1;
  }
  return n == -1 && errno == EAGAIN ? 0 : -1;
}

/* Waits awake for the next request, and never while somebody else could be
 * waiting. */
static int
spin (struct connection *c)
{
  uint64_t busy_poll_ns = c->worker->busy_poll_ns;
  uint64_t start_ns;
  int got;

  if (busy_poll_ns == 0 || c->worker->nr_connections > 1)
    return 0;
  start_ns = now_ns ();
  if (c->idle_since_ns != 0
      && start_ns - c->idle_since_ns > RECENT * busy_poll_ns)
    got = 0;
  else
    do
      got = receive (c);
    while (got == 0 && now_ns () - start_ns < busy_poll_ns);
  c->idle_since_ns = start_ns;
  return got;
}

static void
serve (struct connection *c)
{
  unsigned turns = 0;
  int got;

  for (;;) {
    parse (c);
    if (c->out_bytes > 0) {
      int sent = send_replies (c);

      if (sent < 0)
        goto end;
      if (sent == 0) {
        ev_io_stop (c->worker->loop, &c->readable);
        ev_io_start (c->worker->loop, &c->writable);
        return;
      }
      /* `out' was full: there is more to be put there. */
      if (c->read_left > 0 || c->in_bytes - c->in_parsed >= NBD_REQUEST_BYTES)
        continue;
    }
    if (c->leaving)
      goto end;
    if (++turns > MAX_TURNS)
      return;
    got = receive (c);
    if (got == 0)
      got = spin (c);
    if (got < 0)
      goto end;
    if (got == 0)
      return;
  }

end:
  connection_end (c);
}

static void
on_readable (struct ev_loop *loop, struct ev_io *w, int events)
{
  struct connection *c = w->data;
  int got = receive (c);

  (void)loop;
  (void)events;
  if (got < 0)
    connection_end (c);
  else if (got > 0)
    serve (c);
}

static void
on_writable (struct ev_loop *loop, struct ev_io *w, int events)
{
  struct connection *c = w->data;

  (void)events;
  ev_io_stop (loop, &c->writable);
  ev_io_start (loop, &c->readable);
  serve (c);
}

void
connection_start (struct worker *worker, int fd)
{
  const int socket_bytes = SOCKET_BYTES;
  struct connection *c = malloc (sizeof *c);

  if (c == NULL)
    die ("connection", ENOMEM);
  memset (c, 0, offsetof (struct connection, in));
  setsockopt (fd, SOL_SOCKET, SO_SNDBUF, &socket_bytes, sizeof socket_bytes);
  c->worker = worker;
  c->fd = fd;
  worker->nr_connections++;
  ev_io_init (&c->readable, on_readable, fd, EV_READ);
  ev_io_init (&c->writable, on_writable, fd, EV_WRITE);
  c->readable.data = c->writable.data = c;
  ev_io_start (worker->loop, &c->readable);
}
