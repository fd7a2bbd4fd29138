/* SPDX-License-Identifier: BSD-3-Clause
 *
 * unix-socket.c: a Unix socket in the file system: who may replace what, and
 * who removes it.  The thread that starts and stops its server.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "text.h"
#include "front/path.h"
#include "front/unix-socket.h"

/* Say WHAT is wrong; returns -ERROR. */
static int
refuse (const struct unix_socket *unix_socket, int error, const char *what,
        struct blkmq_error *to)
{
  struct text text = text_begin_error (to);

  text_add (&text, "%s", unix_socket->option);
  text_add_path (&text, unix_socket->path);
  text_add (&text, ": %s", what);
  return -error;
}

/* The same, when WHAT is what could not be done. */
static int
fail (const struct unix_socket *unix_socket, const char *what, int error,
      struct blkmq_error *to)
{
  char reason[160];

  snprintf (reason, sizeof reason, "%s: %s", what, strerror (error));
  return refuse (unix_socket, error, reason, to);
}

static int
make_socket (void)
{
  return socket (AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* Linux makes the file with the mode of the socket and the umask. */
static int
bind_to (const struct unix_socket *unix_socket,
         const struct sockaddr_un *address)
{
  const struct unix_rights *rights = unix_socket->rights;
  bool has_mode = rights != NULL && rights->has_mode;
  mode_t umask_before = 0;
  int r = 0;

  if (has_mode)
    umask_before = umask (0);
  if (bind (unix_socket->fd, (const struct sockaddr *)address, sizeof *address)
      < 0)
    r = -errno;
  if (has_mode)
    umask (umask_before);
  return r;
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
replace_stale (struct unix_socket *unix_socket,
               const struct sockaddr_un *address, struct blkmq_error *error)
{
  struct stat st;
  int lock, r;

  lock = lock_directory (unix_socket->path);
  if (lock < 0)
    return fail (unix_socket,
                 "something is there, and its directory cannot be "
                 "locked to see whether it is in use",
                 -lock, error);
  if (lstat (unix_socket->path, &st) == 0 && !S_ISSOCK (st.st_mode))
    r = refuse (unix_socket, EEXIST, "exists and is not a socket", error);
  else if ((r = is_served (address)) < 0)
    r = fail (unix_socket, "is it in use?", -r, error);
  else if (r > 0)
    r = refuse (unix_socket, EADDRINUSE, "another server listens there", error);
  else if (unlink (unix_socket->path) < 0 && errno != ENOENT)
    r = fail (unix_socket, "removing a socket that nobody serves", errno,
              error);
  else if ((r = bind_to (unix_socket, address)) < 0)
    r = fail (unix_socket, "bind", -r, error);
  close (lock);
  return r;
}

/* The socket at the path gets its owner.  Who may rename in the directory could
 * have put something else there: it must be a socket that this user has made a
 * moment ago, and is never looked up again. */
static int
set_owner (const struct unix_socket *unix_socket, struct blkmq_error *error)
{
  const struct unix_rights *rights = unix_socket->rights;
  uid_t owner = rights->has_owner ? rights->owner : (uid_t)-1;
  gid_t group = rights->has_group ? rights->group : (gid_t)-1;
  int fd = open (unix_socket->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  struct stat st;
  int r = 0;

  if (fd < 0)
    return fail (unix_socket, "open", errno, error);
  if (fstat (fd, &st) < 0)
    r = fail (unix_socket, "stat", errno, error);
  else if (!S_ISSOCK (st.st_mode) || st.st_dev != unix_socket->dev
           || st.st_ino != unix_socket->ino || st.st_nlink != 1
           || st.st_uid != geteuid ())
    r = refuse (unix_socket, EPERM, "was replaced while it was made", error);
  else if (fchownat (fd, "", owner, group, AT_EMPTY_PATH) < 0)
    r = fail (unix_socket, "chown", errno, error);
  close (fd);
  return r;
}

/* Not every file system does what it was asked to, and a directory may have a
 * default ACL. */
static int
check_rights (const struct unix_socket *unix_socket, struct blkmq_error *error)
{
  const struct unix_rights *rights = unix_socket->rights;
  char what[80];
  struct stat st;

  if (lstat (unix_socket->path, &st) < 0)
    return fail (unix_socket, "stat", errno, error);
  if ((rights->has_mode && (st.st_mode & 07777) != rights->mode)
      || (rights->has_owner && st.st_uid != rights->owner)
      || (rights->has_group && st.st_gid != rights->group)) {
    snprintf (what, sizeof what, "has mode %04o and owner %lu:%lu all the same",
              st.st_mode & 07777, (unsigned long)st.st_uid,
              (unsigned long)st.st_gid);
    return refuse (unix_socket, EPERM, what, error);
  }
  return 0;
}

int
unix_socket_open (struct unix_socket *unix_socket, struct blkmq_error *error)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  const struct unix_rights *rights = unix_socket->rights;
  const char *path = unix_socket->path;
  struct stat st;
  int r;

  _Static_assert(sizeof address.sun_path == 108, "the message says so");
  if (path[0] == '\0' || strlen (path) >= sizeof address.sun_path)
    return refuse (unix_socket, EINVAL, "a path of 1 to 107 bytes is needed",
                   error);
  strcpy (address.sun_path, path);

  unix_socket->full_path = path_absolute (path);
  if (unix_socket->full_path == NULL)
    return fail (unix_socket, "its directory", errno, error);
  unix_socket->fd = make_socket ();
  if (unix_socket->fd < 0) {
    r = fail (unix_socket, "socket", errno, error);
    goto free_path;
  }
  /* See bind_to: it is private from the moment it exists, whatever umask, which
   * is of all threads, says. */
  if ((unix_socket->is_private && fchmod (unix_socket->fd, 0600) < 0)
      || (rights != NULL && rights->has_mode
          && fchmod (unix_socket->fd, rights->mode) < 0)) {
    r = fail (unix_socket, "fchmod", errno, error);
    goto close;
  }
  r = bind_to (unix_socket, &address);
  if (r == -EADDRINUSE)
    r = replace_stale (unix_socket, &address, error);
  else if (r < 0)
    fail (unix_socket, "bind", -r, error);
  if (r < 0)
    goto close;

  if (lstat (path, &st) < 0) {
    r = fail (unix_socket, "stat", errno, error);
    goto close;
  }
  unix_socket->dev = st.st_dev;
  unix_socket->ino = st.st_ino;
  if (unix_socket->is_private && (st.st_mode & 07777 & ~0600u) != 0) {
    r = refuse (unix_socket, EPERM, "cannot be made private", error);
    goto remove;
  }
  if (rights != NULL) {
    r = 0;
    if (rights->has_owner || rights->has_group)
      r = set_owner (unix_socket, error);
    if (r == 0)
      r = check_rights (unix_socket, error);
    if (r < 0)
      goto remove;
  }
  if (listen (unix_socket->fd, unix_socket->backlog) < 0) {
    r = fail (unix_socket, "listen", errno, error);
    goto remove;
  }
  return 0;

remove:
  unlink (path);
close:
  close (unix_socket->fd);
free_path:
  free (unix_socket->full_path);
  unix_socket->full_path = NULL;
  return r;
}

int
unix_socket_remove (const struct unix_socket *unix_socket)
{
  struct stat st;

  if (lstat (unix_socket->full_path, &st) < 0)
    return errno == ENOENT ? 0 : -errno;
  if (st.st_dev != unix_socket->dev || st.st_ino != unix_socket->ino
      || unlink (unix_socket->full_path) == 0)
    return 0;
  return -errno;
}

int
unix_socket_close (struct unix_socket *unix_socket)
{
  /* Before the close: until then nobody takes it for stale. */
  int r = unix_socket_remove (unix_socket);

  close (unix_socket->fd);
  free (unix_socket->full_path);
  unix_socket->full_path = NULL;
  return r;
}
