/* SPDX-License-Identifier: BSD-3-Clause
 *
 * process.c: descriptors, signals, the file with the process id, and a place
 * for a socket that has no name.  The main thread.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"
#include "front/path.h"
#include "server/log.h"
#include "server/process.h"

static int
fail (const char *what, const char *path, int error, struct blkmq_error *to)
{
  struct text text = text_begin_error (to);

  text_add (&text, "%s", what);
  text_add_path (&text, path);
  text_add (&text, ": %s", strerror (error));
  return -error;
}

static bool had_terminal;

static bool
has_terminal (void)
{
  int fd = open ("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);

  if (fd >= 0)
    close (fd);
  return fd >= 0;
}

/* A client would take messages for answers. */
static bool
stderr_is_client (void)
{
  struct stat in, err;

  return fstat (STDIN_FILENO, &in) == 0 && S_ISSOCK (in.st_mode)
         && fstat (STDERR_FILENO, &err) == 0 && in.st_dev == err.st_dev
         && in.st_ino == err.st_ino;
}

void
process_prepare (struct rlimit *inherited)
{
  struct rlimit limit;
  int fd;

  do
    fd = open ("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0 && stderr_is_client ())
    dup2 (fd, STDERR_FILENO);
  if (fd >= 0)
    close (fd);

  had_terminal = has_terminal ();

  signal (SIGPIPE, SIG_IGN);

  if (getrlimit (RLIMIT_NOFILE, &limit) < 0) {
    *inherited = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
    return;
  }
  *inherited = limit;
  limit.rlim_cur = limit.rlim_max;
  /* If not, then there is less room. */
  setrlimit (RLIMIT_NOFILE, &limit);
}

/* ------------------------------------------------------------------------ */
/* Signals                                                                   */

/* nohup(1) has SIGHUP ignored.  SIGINT is taken all the same: a shell ignores
 * it for what it runs in the background, but who sends it means it. */
static void
fill_signals (sigset_t *signals)
{
  struct sigaction hangup = { .sa_handler = SIG_DFL };

  sigemptyset (signals);
  sigaddset (signals, SIGTERM);
  sigaddset (signals, SIGINT);
  sigaddset (signals, SIGCHLD);
  sigaction (SIGHUP, NULL, &hangup);
  if (hangup.sa_handler != SIG_IGN)
    sigaddset (signals, SIGHUP);
}

int
process_take_signals (struct blkmq_error *error)
{
  sigset_t signals;
  int fd;

  fill_signals (&signals);
  fd = signalfd (-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd < 0)
    return fail ("signals", "", errno, error);
  pthread_sigmask (SIG_BLOCK, &signals, NULL);
  return fd;
}

bool
process_has_lost_terminal (void)
{
  return had_terminal && !has_terminal ();
}

void
process_forget_terminal (void)
{
  had_terminal = false;
}

void
process_release_signals (void)
{
  sigset_t signals;

  fill_signals (&signals);
  pthread_sigmask (SIG_UNBLOCK, &signals, NULL);
}

/* ------------------------------------------------------------------------ */
/* The file system                                                           */

int
pidfile_make (struct pidfile *pidfile, const char *path,
              struct blkmq_error *error)
{
  char *full_path;
  struct stat st;
  int fd, e;

  pidfile->path = NULL;
  if (path == NULL)
    return 0;
  fd = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0)
    return fail ("--pidfile=", path, errno, error);
  if (fstat (fd, &st) < 0) {
    e = errno;
    close (fd);
    return fail ("--pidfile=", path, e, error);
  }
  full_path = path_absolute (path);
  if (full_path == NULL) {
    e = errno;
    close (fd);
    return fail ("--pidfile=", path, e, error);
  }
  *pidfile = (struct pidfile){
    .path = full_path, .fd = fd, .dev = st.st_dev, .ino = st.st_ino
  };
  return 0;
}

int
pidfile_write (struct pidfile *pidfile, struct blkmq_error *error)
{
  if (pidfile->path != NULL
      && dprintf (pidfile->fd, "%ld\n", (long)getpid ()) < 0)
    return fail ("--pidfile=", pidfile->path, errno, error);
  return 0;
}

void
pidfile_remove (struct pidfile *pidfile)
{
  struct stat st;

  if (pidfile->path == NULL)
    return;
  if (lstat (pidfile->path, &st) < 0
          ? errno != ENOENT
          : st.st_dev == pidfile->dev && st.st_ino == pidfile->ino
                && unlink (pidfile->path) < 0) {
    log_debug ("--pidfile=%s is left behind, and empty: %s", pidfile->path,
               strerror (errno));
    (void)!ftruncate (pidfile->fd, 0);
  }
  close (pidfile->fd);
  free (pidfile->path);
  pidfile->path = NULL;
}

/* Not in $TMPDIR: a socket's path has room for 107 bytes. */
int
private_place_make (struct private_place *place, struct blkmq_error *error)
{
  strcpy (place->dir, "/tmp/blkmqd.XXXXXX");
  if (mkdtemp (place->dir) == NULL) {
    place->dir[0] = '\0';
    return fail ("a directory for a socket in ", "/tmp", errno, error);
  }
  snprintf (place->socket, sizeof place->socket, "%s/socket", place->dir);
  return 0;
}

int
private_place_give (const struct private_place *place, uid_t uid, gid_t gid,
                    struct blkmq_error *error)
{
  /* Until then nobody else can put anything there. */
  if (place->dir[0] != '\0'
      && (lchown (place->socket, uid, gid) < 0
          || lchown (place->dir, uid, gid) < 0))
    return fail ("", place->dir, errno, error);
  return 0;
}

void
private_place_remove (struct private_place *place)
{
  if (place->dir[0] != '\0')
    rmdir (place->dir);
  place->dir[0] = '\0';
}
