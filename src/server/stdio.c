/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stdio.c: --stdio.  The main thread; and two that copy, each its own way, when
 * stdin and stdout are pipes: a connection has one descriptor, and that is a
 * socket's.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/passed.h"
#include "server/stdio.h"
#include "text.h"

#define COPY_BYTES (64u << 10)

/* ------------------------------------------------------------------------ */
/* Copying                                                                   */

/* Who shares a pipe with us may have told it not to block. */
static bool
may_go_on (int fd, short events)
{
  struct pollfd pollfd = { .fd = fd, .events = events };

  if (errno == EINTR)
    return true;
  return (errno == EAGAIN || errno == EWOULDBLOCK)
         && (poll (&pollfd, 1, -1) > 0 || errno == EINTR);
}

static bool
write_all (int fd, const char *bytes, size_t nr)
{
  while (nr > 0) {
    ssize_t n = write (fd, bytes, nr);

    if (n < 0) {
      if (!may_go_on (fd, POLLOUT))
        return false;
      continue;
    }
    bytes += n;
    nr -= (size_t)n;
  }
  return true;
}

/* Until there is no more to be had.  False: it cannot be written. */
static bool
copy (int from, int to)
{
  char bytes[COPY_BYTES];

  for (;;) {
    ssize_t n = read (from, bytes, sizeof bytes);

    if (n < 0 && may_go_on (from, POLLIN))
      continue;
    if (n <= 0)
      return true;
    if (!write_all (to, bytes, (size_t)n))
      return false;
  }
}

static void *
copy_requests (void *opaque)
{
  struct stdio *stdio = opaque;

  if (copy (stdio->in, stdio->peer))
    shutdown (stdio->peer, SHUT_WR);
  return NULL;
}

static void *
copy_answers (void *opaque)
{
  struct stdio *stdio = opaque;

  /* A client that reads no more has gone. */
  if (!copy (stdio->peer, stdio->out))
    shutdown (stdio->peer, SHUT_RDWR);
  stdio->written (stdio->opaque);
  return NULL;
}

/* ------------------------------------------------------------------------ */
/* Life                                                                      */

static int
fail (const char *what, int error, struct blkmq_error *to)
{
  struct text text = text_begin_error (to);

  text_add (&text, "--stdio: %s: %s", what, strerror (error));
  return -error;
}

static int
refuse (const char *what, struct blkmq_error *to)
{
  struct text text = text_begin_error (to);

  text_add (&text,
            "--stdio: standard input is %s; must be a pipe, or a stream "
            "socket that is connected",
            what);
  return -EINVAL;
}

/* 1: stdin and stdout are one socket.  Negative errno with ERROR. */
static int
is_socket (struct blkmq_error *error)
{
  enum passed_kind kind;
  const char *what = passed_describe (STDIN_FILENO, &kind);
  struct stat in, out;

  if (isatty (STDIN_FILENO) || isatty (STDOUT_FILENO))
    return refuse ("a terminal, or standard output is", error);
  if (fstat (STDIN_FILENO, &in) < 0 || fstat (STDOUT_FILENO, &out) < 0)
    return fail ("standard input and output", errno, error);
  if (!S_ISSOCK (in.st_mode))
    return S_ISDIR (in.st_mode) ? refuse (what, error) : 0;
  if (kind != PASSED_CONNECTED)
    return refuse (what, error);
  return in.st_dev == out.st_dev && in.st_ino == out.st_ino;
}

static int
make_bridge (struct stdio *stdio, struct blkmq_error *error)
{
  int pair[2];

  stdio->is_bridge = true;
  stdio->in = fcntl (STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  stdio->out = fcntl (STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (stdio->in < 0 || stdio->out < 0
      || socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return fail ("a way to the server", errno, error);
  stdio->peer = pair[0];
  stdio->fd = pair[1];
  return 0;
}

int
stdio_open (struct stdio *stdio, struct blkmq_error *error)
{
  int is_one = is_socket (error), null, r = 0;

  *stdio = (struct stdio){ .fd = -1, .in = -1, .out = -1, .peer = -1 };
  if (is_one < 0)
    return is_one;
  if (is_one)
    stdio->fd = fcntl (STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  else
    r = make_bridge (stdio, error);
  if (r < 0)
    return r;
  null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  if (stdio->fd < 0 || null < 0 || dup2 (null, STDIN_FILENO) < 0
      || dup2 (null, STDOUT_FILENO) < 0)
    r = fail ("standard input and output", errno, error);
  if (null >= 0)
    close (null);
  return r;
}

int
stdio_start (struct stdio *stdio, void (*written) (void *opaque), void *opaque,
             struct blkmq_error *error)
{
  int r;

  if (!stdio->is_bridge)
    return 0;
  stdio->written = written;
  stdio->opaque = opaque;
  r = pthread_create (&stdio->reader, NULL, copy_requests, stdio);
  if (r == 0) {
    stdio->nr_threads++;
    r = pthread_create (&stdio->writer, NULL, copy_answers, stdio);
  }
  if (r != 0)
    return fail ("a thread cannot be started", r, error);
  stdio->nr_threads++;
  return 0;
}

/* Copying holds nothing that a thread would have to give back. */
static void
end_thread (pthread_t thread)
{
  pthread_cancel (thread);
  pthread_join (thread, NULL);
}

void
stdio_close (struct stdio *stdio)
{
  int fds[] = { stdio->in, stdio->out, stdio->peer };

  if (!stdio->is_bridge)
    return;
  if (stdio->nr_threads > 0)
    end_thread (stdio->reader);
  if (stdio->nr_threads > 1)
    end_thread (stdio->writer);
  for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++)
    if (fds[i] >= 0)
      close (fds[i]);
  *stdio = (struct stdio){ .fd = -1 };
}
