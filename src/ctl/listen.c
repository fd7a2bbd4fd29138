/* SPDX-License-Identifier: BSD-3-Clause
 *
 * listen.c: the control socket in the file system: who may replace what, and
 * who removes it.  The thread that starts and stops the server.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/internal.h"

#define BACKLOG 64

/* Say what could not be done; a negative errno. */
static int
fail (const struct listener *listener, const char *what, int error,
      struct blkmq_error *to)
{
  set_error (to, "control=%s: %s: %s", listener->path, what, strerror (error));
  return -error;
}

static int
make_socket (void)
{
  return socket (AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int
bind_to (int fd, const struct sockaddr_un *address)
{
  return bind (fd, (const struct sockaddr *)address, sizeof *address) < 0
             ? -errno
             : 0;
}

/* Does anybody listen there?  1, 0, or a negative errno: cannot tell. */
static int
is_served (const struct sockaddr_un *address)
{
  int fd = make_socket ();
  int served;

  if (fd < 0)
    return -errno;
  if (connect (fd, (const struct sockaddr *)address, sizeof *address) == 0
      || errno == EAGAIN || errno == EINPROGRESS)
    served = 1; /* EAGAIN: its backlog is full */
  else
    served = errno == ECONNREFUSED || errno == ENOENT ? 0 : -errno;
  close (fd);
  return served;
}

/* Only one at a time removes stale sockets from a directory: of two servers
 * that start at once the second would else remove the first one's new socket.
 * The file descriptor of the lock, or a negative errno.
 */
static int
lock_directory (const char *path)
{
  char *copy = strdup (path);
  int fd, error;

  if (copy == NULL)
    return -ENOMEM;
  fd = open (dirname (copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  error = errno;
  free (copy);
  if (fd < 0)
    return -error;
  if (flock (fd, LOCK_EX | LOCK_NB) < 0) {
    error = errno;
    close (fd);
    return -error;
  }
  return fd;
}

/* Something is at PATH.  Take its place, if it is a socket of the past. */
static int
replace_stale (struct listener *listener, const struct sockaddr_un *address,
               struct blkmq_error *error)
{
  struct stat st;
  int lock, r;

  lock = lock_directory (listener->path);
  if (lock < 0)
    return fail (listener,
                 "something is there, and its directory cannot be "
                 "locked to see whether it is in use",
                 -lock, error);
  if (lstat (listener->path, &st) == 0 && !S_ISSOCK (st.st_mode)) {
    set_error (error, "control=%s: exists and is not a socket", listener->path);
    r = -EEXIST;
  } else if ((r = is_served (address)) < 0)
    r = fail (listener, "is it in use?", -r, error);
  else if (r > 0) {
    set_error (error, "control=%s: another server listens there",
               listener->path);
    r = -EADDRINUSE;
  } else if (unlink (listener->path) < 0 && errno != ENOENT)
    r = fail (listener, "removing a socket that nobody serves", errno, error);
  else if ((r = bind_to (listener->fd, address)) < 0)
    r = fail (listener, "bind", -r, error);
  close (lock);
  return r;
}

int
listener_open (struct listener *listener, const char *path,
               struct blkmq_error *error)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  struct stat st;
  int r;

  listener->path = path;
  if (path[0] == '\0' || strlen (path) >= sizeof address.sun_path) {
    set_error (error, "control=%s: a path of 1 to %zu bytes is needed", path,
               sizeof address.sun_path - 1);
    return -EINVAL;
  }
  strcpy (address.sun_path, path);

  listener->fd = make_socket ();
  if (listener->fd < 0)
    return fail (listener, "socket", errno, error);
  /* Linux makes the file with the mode of the socket: it is private from the
   * moment it exists, whatever umask, which is of all threads, says. */
  if (fchmod (listener->fd, 0600) < 0) {
    r = fail (listener, "fchmod", errno, error);
    goto close;
  }
  r = bind_to (listener->fd, &address);
  if (r == -EADDRINUSE)
    r = replace_stale (listener, &address, error);
  else if (r < 0)
    fail (listener, "bind", -r, error);
  if (r < 0)
    goto close;

  if (lstat (path, &st) < 0) {
    r = fail (listener, "stat", errno, error);
    goto close;
  }
  listener->dev = st.st_dev;
  listener->ino = st.st_ino;
  if ((st.st_mode & 07777 & ~0600) != 0) {
    set_error (error, "control=%s: cannot be made private", path);
    r = -EPERM;
    goto remove;
  }
  if (listen (listener->fd, BACKLOG) < 0) {
    r = fail (listener, "listen", errno, error);
    goto remove;
  }
  return 0;

remove:
  unlink (path);
close:
  close (listener->fd);
  return r;
}

void
listener_close (struct listener *listener)
{
  struct stat st;

  /* Before the close: until then nobody takes it for stale. */
  if (lstat (listener->path, &st) == 0 && st.st_dev == listener->dev
      && st.st_ino == listener->ino)
    unlink (listener->path);
  close (listener->fd);
}
