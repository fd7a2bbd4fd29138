/* SPDX-License-Identifier: BSD-3-Clause
 *
 * daemon.c: --daemon.  The only thread that there is, and then the main thread.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/daemon.h"
#include "server/log.h"
#include "server/process.h"

static int
fail (const char *what, int error, struct blkmq_error *to)
{
  snprintf (to->message, sizeof to->message, "--daemon: %s: %s", what,
            strerror (error));
  return -error;
}

/* The parent.  The child has said what is wrong, unless it was killed. */
static _Noreturn void
wait_for (pid_t child, int fd)
{
  char byte;
  int status = 0;
  ssize_t nr;

  do
    nr = read (fd, &byte, 1);
  while (nr < 0 && errno == EINTR);
  if (nr == 1)
    _exit (0);
  while (waitpid (child, &status, 0) < 0 && errno == EINTR)
    ;
  if (WIFSIGNALED (status)) {
    log_error ("--daemon: killed by signal %d before it served",
               WTERMSIG (status));
    _exit (128 + WTERMSIG (status));
  }
  _exit (WEXITSTATUS (status) != 0 ? WEXITSTATUS (status) : EXIT_FAILURE);
}

int
daemon_begin (struct blkmq_error *error)
{
  int ends[2];
  pid_t child;

  if (pipe2 (ends, O_CLOEXEC) < 0)
    return fail ("pipe", errno, error);
  child = fork ();
  if (child < 0) {
    int e = errno;

    close (ends[0]);
    close (ends[1]);
    return fail ("fork", e, error);
  }
  if (child > 0) {
    close (ends[1]);
    wait_for (child, ends[0]);
  }
  close (ends[0]);
  setsid ();
  process_forget_terminal ();
  return ends[1];
}

int
daemon_ready (int fd, struct blkmq_error *error)
{
  int null = open ("/dev/null", O_RDWR | O_CLOEXEC), e = 0;
  ssize_t nr;

  if (null < 0 || chdir ("/") < 0)
    return fail ("/dev/null and /", errno, error);
  do
    nr = write (fd, "", 1);
  while (nr < 0 && errno == EINTR);
  if (nr < 0)
    e = errno;
  close (fd);
  for (int i = STDIN_FILENO; e == 0 && i <= STDERR_FILENO; i++)
    if (dup2 (null, i) < 0)
      e = errno;
  close (null);
  return e != 0 ? fail ("who has started it", e, error) : 0;
}
