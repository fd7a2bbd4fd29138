/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nbd-test.c: a server for a libnbd test, and what every such test needs.
 * Owns the server's process, socket and directory.  One thread.
 */

#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nbd-test.h"

/* Where the protocol of socket activation wants the listening socket. */
#define SD_LISTEN_FDS_START 3

/* The server's own arguments, then the keys, then NULL. */
#define MAX_ARGS 32

static struct {
  const char *name;
  pid_t pid; /* 0: none runs */
  char dir[64];
  char socket[96];
} server;

static void
remove_files (void)
{
  if (server.dir[0] != '\0') {
    unlink (server.socket);
    rmdir (server.dir);
    server.dir[0] = '\0';
  }
}

/* Whatever way the test ends, nothing of it stays behind.  Runs in the signal
 * handler too, so: kill, waitpid, unlink and rmdir only.
 */
static void
abandon_server (void)
{
  if (server.pid > 0) {
    kill (server.pid, SIGKILL);
    waitpid (server.pid, NULL, 0);
    server.pid = 0;
  }
  remove_files ();
}

void
die (const char *fmt, ...)
{
  va_list ap;

  fprintf (stderr, "error: ");
  va_start (ap, fmt);
  vfprintf (stderr, fmt, ap);
  va_end (ap);
  fprintf (stderr, "\n");
  abandon_server ();
  exit (EXIT_FAILURE);
}

void
die_nbd (const char *fmt, ...)
{
  const char *reason = nbd_get_error ();
  va_list ap;

  fprintf (stderr, "error: ");
  va_start (ap, fmt);
  vfprintf (stderr, fmt, ap);
  va_end (ap);
  fprintf (stderr, ": %s\n", reason != NULL ? reason : "no reason given");
  abandon_server ();
  exit (EXIT_FAILURE);
}

static void
hang (int sig)
{
  static const char message[] = "error: nothing moved for too long\n";

  (void)sig;
  if (write (STDERR_FILENO, message, sizeof message - 1) == -1)
    _exit (EXIT_FAILURE);
  abandon_server ();
  _exit (EXIT_FAILURE);
}

void
expect_progress (void)
{
  struct sigaction on_alarm = { .sa_handler = hang };

  sigaction (SIGALRM, &on_alarm, NULL);
  alarm (HANG_SECONDS);
}

void *
xcalloc (size_t nr, size_t bytes)
{
  void *p = calloc (nr, bytes);

  if (p == NULL)
    die ("no memory for %zu x %zu bytes", nr, bytes);
  return p;
}

uint64_t
test_seed (void)
{
  const char *given = getenv ("BLKMQ_SEED");
  uint64_t seed;

  if (given != NULL && *given != '\0') {
    char *end;

    errno = 0;
    seed = strtoull (given, &end, 0);
    if (errno != 0 || *end != '\0')
      die ("BLKMQ_SEED=%s is not a number", given);
  } else if (getrandom (&seed, sizeof seed, 0) != sizeof seed)
    die ("getrandom: %s", strerror (errno));
  printf ("seed: BLKMQ_SEED=%" PRIu64 "\n", seed);
  fflush (stdout);
  return seed;
}

uint64_t
random_next (uint64_t *state)
{
  uint64_t z = *state += UINT64_C (0x9e3779b97f4a7c15);

  z = (z ^ (z >> 30)) * UINT64_C (0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C (0x94d049bb133111eb);
  return z ^ (z >> 31);
}

uint64_t
random_below (uint64_t *state, uint64_t bound)
{
  /* The bias of the remainder is below 2^-40 for the bounds in use here. */
  return random_next (state) % bound;
}

/* In the child: become the server with LISTEN_FD as its socket.  Only returns,
 * with errno, when that fails.
 */
static void
exec_server (int listen_fd, char *const argv[])
{
  char pid[16];

  /* Do not outlive a test that was killed. */
  prctl (PR_SET_PDEATHSIG, SIGKILL);

  /* dup2 onto itself would leave close-on-exec set. */
  if (listen_fd == SD_LISTEN_FDS_START)
    listen_fd = dup (listen_fd);
  if (listen_fd == -1 || dup2 (listen_fd, SD_LISTEN_FDS_START) == -1)
    return;
  close (listen_fd);

  snprintf (pid, sizeof pid, "%ld", (long)getpid ());
  if (setenv ("LISTEN_FDS", "1", 1) == -1
      || setenv ("LISTEN_PID", pid, 1) == -1)
    return;
  unsetenv ("LISTEN_FDNAMES");
  execvp (argv[0], argv);
}

static const char *
get_path (const char *variable)
{
  const char *path = getenv (variable);

  if (path == NULL || *path == '\0')
    die ("set %s to the path of what is tested", variable);
  return path;
}

bool
server_is_blkmqd (void)
{
  const char *name = getenv ("BLKMQ_SERVER");

  if (name == NULL || *name == '\0' || strcmp (name, "plugin") == 0)
    return false;
  if (strcmp (name, "blkmqd") != 0)
    die ("BLKMQ_SERVER=%s: must be plugin or blkmqd", name);
  return true;
}

static int
listen_on_socket (void)
{
  struct sockaddr_un addr = { .sun_family = AF_UNIX };
  int fd;

  memcpy (addr.sun_path, server.socket, strlen (server.socket) + 1);
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd == -1 || bind (fd, (struct sockaddr *)&addr, sizeof addr) == -1
      || listen (fd, SOMAXCONN) == -1)
    die ("listening on %s: %s", server.socket, strerror (errno));
  return fd;
}

/* In the child: become blkmqd, which says on OUT_FD when it serves.  Likewise.
 */
static void
exec_blkmqd (int out_fd, char *const argv[])
{
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  if (dup2 (out_fd, STDOUT_FILENO) != -1)
    execvp (argv[0], argv);
}

/* Returns at its first line; the rest is not read. */
static void
wait_until_it_serves (int fd)
{
  char c;

  do
    if (read (fd, &c, 1) != 1)
      die ("%s ended before it served", server.name);
  while (c != '\n');
}

void
server_start (unsigned nr_threads, const char *const keys[])
{
  const char *argv[MAX_ARGS];
  char threads[16], address[128];
  bool is_blkmqd = server_is_blkmqd ();
  size_t n = 0;
  int fds[2], report[2], failure;
  ssize_t r;

  expect_progress ();
  /* Not under TMPDIR: the path of a Unix socket has room for 108 bytes. */
  snprintf (server.dir, sizeof server.dir, "/tmp/blkmq-nbd.XXXXXX");
  if (mkdtemp (server.dir) == NULL)
    die ("mkdtemp: %s", strerror (errno));
  snprintf (server.socket, sizeof server.socket, "%s/sock", server.dir);

  if (is_blkmqd) {
    snprintf (address, sizeof address, "--unix=%s", server.socket);
    argv[n++] = server.name = get_path ("BLKMQ_BLKMQD");
    argv[n++] = "--threads=2";
    argv[n++] = address;
    if (pipe2 (fds, O_CLOEXEC) == -1)
      die ("pipe2: %s", strerror (errno));
  } else {
    server.name = getenv ("NBDKIT");
    if (server.name == NULL || *server.name == '\0')
      server.name = "nbdkit";
    snprintf (threads, sizeof threads, "%u", nr_threads);
    argv[n++] = server.name;
    argv[n++] = "--foreground";
    argv[n++] = "--threads";
    argv[n++] = threads;
    argv[n++] = get_path ("BLKMQ_PLUGIN");
    fds[0] = -1;
    fds[1] = listen_on_socket ();
  }
  for (size_t i = 0; keys[i] != NULL; i++) {
    if (n == MAX_ARGS - 1)
      die ("too many keys");
    argv[n++] = keys[i];
  }
  argv[n] = NULL;

  /* Closed by a successful exec, else it brings the reason. */
  if (pipe2 (report, O_CLOEXEC) == -1)
    die ("pipe2: %s", strerror (errno));
  server.pid = fork ();
  if (server.pid == -1)
    die ("fork: %s", strerror (errno));
  if (server.pid == 0) {
    (is_blkmqd ? exec_blkmqd : exec_server) (fds[1],
                                             (char *const *)(uintptr_t)argv);
    failure = errno;
    r = write (report[1], &failure, sizeof failure);
    _exit (r == sizeof failure ? 126 : 127);
  }
  close (report[1]);
  close (fds[1]);
  r = read (report[0], &failure, sizeof failure);
  close (report[0]);
  if (r == sizeof failure) {
    if (failure == ENOENT) {
      fprintf (stderr, "skipped: %s is not installed\n", server.name);
      abandon_server ();
      exit (EXIT_SKIP);
    }
    die ("%s: %s", server.name, strerror (failure));
  }
  if (is_blkmqd) {
    wait_until_it_serves (fds[0]);
    close (fds[0]);
  }
}

/* Describe how the server ended, as waitpid told. */
static void
die_of_status (int status)
{
  server.pid = 0;
  if (WIFSIGNALED (status))
    die ("%s was ended by signal %d (%s)", server.name, WTERMSIG (status),
         strsignal (WTERMSIG (status)));
  die ("%s exited with status %d", server.name, WEXITSTATUS (status));
}

void
server_check_alive (void)
{
  int status;

  if (waitpid (server.pid, &status, WNOHANG) != 0)
    die_of_status (status);
}

void
server_stop (void)
{
  int status;

  server_check_alive ();
  expect_progress ();
  if (kill (server.pid, SIGTERM) == -1)
    die ("kill: %s", strerror (errno));
  if (waitpid (server.pid, &status, 0) == -1)
    die ("waitpid: %s", strerror (errno));
  if (!WIFEXITED (status) || WEXITSTATUS (status) != 0)
    die_of_status (status);
  server.pid = 0;
  remove_files ();
}

struct nbd_handle *
server_connect (void)
{
  struct nbd_handle *nbd = nbd_create ();

  if (nbd == NULL)
    die_nbd ("nbd_create");
  if (nbd_add_meta_context (nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) == -1)
    die_nbd ("asking for base:allocation");
  if (nbd_connect_unix (nbd, server.socket) == -1)
    die_nbd ("connecting to %s", server.socket);
  return nbd;
}

void
poll_connections (struct nbd_handle *const handles[], size_t nr_handles)
{
  struct pollfd fds[MAX_CONNECTIONS];
  unsigned directions[MAX_CONNECTIONS];

  if (nr_handles > MAX_CONNECTIONS)
    die ("more than %d connections in one loop", MAX_CONNECTIONS);

  for (size_t i = 0; i < nr_handles; i++) {
    /* A dead handle asks for no direction: without this check the loop would
     * wait for it for ever.
     */
    if (nbd_aio_is_dead (handles[i]) || nbd_aio_is_closed (handles[i]))
      die_nbd ("connection %zu is gone", i);
    directions[i] = nbd_aio_get_direction (handles[i]);
    fds[i] = (struct pollfd){ .fd = nbd_aio_get_fd (handles[i]) };
    if (directions[i] & LIBNBD_AIO_DIRECTION_READ)
      fds[i].events |= POLLIN;
    if (directions[i] & LIBNBD_AIO_DIRECTION_WRITE)
      fds[i].events |= POLLOUT;
  }

  expect_progress ();
  if (poll (fds, nr_handles, -1) == -1)
    die ("poll: %s", strerror (errno));

  for (size_t i = 0; i < nr_handles; i++) {
    if ((directions[i] & LIBNBD_AIO_DIRECTION_READ)
        && (fds[i].revents & (POLLIN | POLLHUP | POLLERR))) {
      if (nbd_aio_notify_read (handles[i]) == -1)
        die_nbd ("connection %zu", i);
    } else if ((directions[i] & LIBNBD_AIO_DIRECTION_WRITE)
               && (fds[i].revents & (POLLOUT | POLLHUP | POLLERR))) {
      if (nbd_aio_notify_write (handles[i]) == -1)
        die_nbd ("connection %zu", i);
    }
  }
}
