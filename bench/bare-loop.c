/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bare-loop.c: the yardstick of blkmqd: an NBD server on a libev loop that
 * batches as it does and copies the same bytes, but has no engine: memory that
 * is allocated and touched ahead, no locks, no queues.  What is faster than
 * this does less than a server must.
 *
 * The main thread accepts and hands connections around; each other thread has
 * a loop.
 */

#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bare-loop.h"

#define MAX_THREADS 64
#define MAX_SIZE_MIB (64ul * 1024)
#define MAX_BUSY_POLL_US 1000

static const char usage[]
    = "usage: bare-loop --unix SOCKET [option ...]\n"
      "An NBD server with no engine, to measure others by.\n"
      "  -u, --unix SOCKET     where to listen\n"
      "  -m, --size-mib N      memory to serve (default 256)\n"
      "  -t, --threads N       loops (default 1)\n"
      "  -b, --busy-poll US    wait awake so long for the next request, after\n"
      "                        recent ones, if there is one connection only\n"
      "                        (default 0)\n"
      "  -P, --pidfile FILE    written when it listens\n"
      "  -h, --help            this text\n";

struct options {
  const char *socket_path;
  const char *pid_path;
  unsigned long size_mib;
  unsigned long nr_threads;
  unsigned long busy_poll_us;
};

struct thread {
  pthread_t id;
  struct worker worker;
  struct ev_io handed; /* connections come through a pipe */
  int pipe[2];
};

void
die (const char *what, int err)
{
  fprintf (stderr, "bare-loop: %s: %s\n", what, strerror (err));
  exit (EXIT_FAILURE);
}

static unsigned long
parse_number (const char *name, const char *text, unsigned long min,
              unsigned long max)
{
  char *end;
  unsigned long v;

  errno = 0;
  v = strtoul (text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || v < min
      || v > max) {
    fprintf (stderr, "bare-loop: --%s=%s: allowed is %lu to %lu\n", name, text,
             min, max);
    exit (2);
  }
  return v;
}

static struct options
parse_options (int argc, char **argv)
{
  static const struct option longs[] = {
    { "unix", required_argument, NULL, 'u' },
    { "size-mib", required_argument, NULL, 'm' },
    { "threads", required_argument, NULL, 't' },
    { "busy-poll", required_argument, NULL, 'b' },
    { "pidfile", required_argument, NULL, 'P' },
    { "help", no_argument, NULL, 'h' },
    { 0 },
  };
  struct options o = { .size_mib = 256, .nr_threads = 1 };
  int c;

  while ((c = getopt_long (argc, argv, "u:m:t:b:P:h", longs, NULL)) != -1) {
    switch (c) {
    case 'u':
      o.socket_path = optarg;
      break;
    case 'm':
      o.size_mib = parse_number ("size-mib", optarg, 1, MAX_SIZE_MIB);
      break;
    case 't':
      o.nr_threads = parse_number ("threads", optarg, 1, MAX_THREADS);
      break;
    case 'b':
      o.busy_poll_us = parse_number ("busy-poll", optarg, 0, MAX_BUSY_POLL_US);
      break;
    case 'P':
      o.pid_path = optarg;
      break;
    case 'h':
      fputs (usage, stdout);
      exit (EXIT_SUCCESS);
    default:
      exit (2);
    }
  }
  if (optind < argc || o.socket_path == NULL) {
    fputs (usage, stderr);
    exit (2);
  }
  return o;
}

/* Touched, so that no request pays for a page fault. */
static struct memory
memory_alloc (uint64_t nr_bytes)
{
  struct memory m = { .nr_bytes = nr_bytes };

  m.bytes = mmap (NULL, nr_bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m.bytes == MAP_FAILED)
    die ("memory", errno);
  memset (m.bytes, 0, nr_bytes);
  return m;
}

static int
listen_unix (const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (fd == -1)
    die ("socket", errno);
  if (strlen (path) >= sizeof address.sun_path)
    die (path, ENAMETOOLONG);
  strcpy (address.sun_path, path);
  if (bind (fd, (struct sockaddr *)&address, sizeof address) == -1
      || listen (fd, SOMAXCONN) == -1)
    die (path, errno);
  return fd;
}

static void
on_handed (struct ev_loop *loop, struct ev_io *w, int events)
{
  struct worker *worker = w->data;
  int fd;

  (void)loop;
  (void)events;
  if (read (w->fd, &fd, sizeof fd) != sizeof fd)
    die ("pipe", errno);
  if (handshake (fd, worker->memory))
    connection_start (worker, fd);
  else
    close (fd);
}

static void *
run_thread (void *opaque)
{
  struct thread *t = opaque;

  ev_run (t->worker.loop, 0);
  return NULL;
}

static void
start_threads (struct thread *threads, const struct options *o,
               const struct memory *memory)
{
  for (unsigned i = 0; i < o->nr_threads; i++) {
    struct thread *t = &threads[i];
    int err;

    t->worker.memory = memory;
    t->worker.busy_poll_ns = o->busy_poll_us * 1000;
    t->worker.loop = ev_loop_new (EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (t->worker.loop == NULL)
      die ("loop", ENOMEM);
    if (pipe (t->pipe) == -1)
      die ("pipe", errno);
    ev_io_init (&t->handed, on_handed, t->pipe[0], EV_READ);
    t->handed.data = &t->worker;
    ev_io_start (t->worker.loop, &t->handed);
    err = pthread_create (&t->id, NULL, run_thread, t);
    if (err != 0)
      die ("thread", err);
  }
}

static void
write_pid (const char *path)
{
  FILE *file = fopen (path, "w");

  if (file == NULL || fprintf (file, "%ld\n", (long)getpid ()) < 0
      || fclose (file) != 0)
    die (path, errno);
}

static const char *unlink_path;

static void
leave (int signal_number)
{
  (void)signal_number;
  unlink (unlink_path);
  _exit (EXIT_SUCCESS);
}

int
main (int argc, char **argv)
{
  static struct thread threads[MAX_THREADS];
  struct options o = parse_options (argc, argv);
  struct memory memory = memory_alloc ((uint64_t)o.size_mib << 20);
  int listener = listen_unix (o.socket_path);

  unlink_path = o.socket_path;
  signal (SIGTERM, leave);
  signal (SIGINT, leave);
  start_threads (threads, &o, &memory);
  if (o.pid_path != NULL)
    write_pid (o.pid_path);

  for (unsigned next = 0;; next = (next + 1) % (unsigned)o.nr_threads) {
    int fd = accept4 (listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd == -1 && errno != EINTR && errno != ECONNABORTED)
      die ("accept", errno);
    if (fd != -1 && write (threads[next].pipe[1], &fd, sizeof fd) != sizeof fd)
      die ("pipe", errno);
  }
}
