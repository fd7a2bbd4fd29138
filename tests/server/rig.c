/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rig.c: the server of a test, and what it logs.  The log's functions are this
 * program's own: any thread.
 */

#include <config.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "blkmq-control.h"
#include "books.h"
#include "rig.h"
#include "server/log.h"

/* ------------------------------------------------------------------------ */
/* The log                                                                   */

#define MAX_LOG_BYTES (1u << 20)

const char *const log_level_names[NR_LOG_LEVELS + 1]
    = { "error", "warning", "info", "debug", NULL };

static struct {
  pthread_mutex_t lock;
  char text[MAX_LOG_BYTES]; /* under lock; what is too much is left out */
  size_t nr;
  bool is_told;
} logged = { .lock = PTHREAD_MUTEX_INITIALIZER };

void
log_set_level (enum log_level level)
{
}

/* Debug lines are for who looks for a test's fault. */
bool
log_has_level (enum log_level level)
{
  return level < LOG_LEVEL_DEBUG || logged.is_told;
}

void
log_line (enum log_level level, const char *format, ...)
{
  char line[1024];
  va_list args;
  size_t nr;

  va_start (args, format);
  vsnprintf (line, sizeof line, format, args);
  va_end (args);
  nr = strlen (line);
  pthread_mutex_lock (&logged.lock);
  if (logged.is_told)
    fprintf (stderr, "%s: %s\n", log_level_names[level], line);
  if (logged.nr + nr + 1 < sizeof logged.text) {
    memcpy (logged.text + logged.nr, line, nr);
    logged.nr += nr;
    logged.text[logged.nr++] = '\n';
    logged.text[logged.nr] = '\0';
  }
  pthread_mutex_unlock (&logged.lock);
}

unsigned
nr_logged (const char *part)
{
  unsigned nr;

  pthread_mutex_lock (&logged.lock);
  nr = nr_of (logged.text, part);
  pthread_mutex_unlock (&logged.lock);
  return nr;
}

/* ------------------------------------------------------------------------ */
/* Life                                                                      */

unsigned
nr_open_fds (void)
{
  DIR *dir = opendir ("/proc/self/fd");
  unsigned nr = 0;

  require (dir != NULL);
  while (readdir (dir) != NULL)
    nr++;
  closedir (dir);
  return nr;
}

void
rig_init (struct rig *rig)
{
  logged.is_told = getenv ("BLKMQ_TEST_LOG") != NULL;
  memset (rig, 0, sizeof *rig);
  rig->options.nr_threads = 2;
  rig->options.busy_poll_us = 20;
  rig->options.limits = server_default_limits;
  rig->nr_fds = nr_open_fds ();
}

static void
must (int r, const struct blkmq_error *error)
{
  if (r < 0) {
    fprintf (stderr, "%d: %s\n", r, error->message);
    abort ();
  }
}

void
rig_load_tls (struct rig *rig, const struct tls_files *files)
{
  struct tls_credentials *credentials;
  struct blkmq_error error;

  must (tls_credentials_load (files, &credentials, &error), &error);
  if (rig->server == NULL) {
    require (rig->tls == NULL);
    rig->tls = credentials;
    return;
  }
  server_set_tls (rig->server, credentials);
  tls_credentials_put (credentials);
}

void
rig_start (struct rig *rig, const char *keys)
{
  char *words = strdup (keys), *rest, threads[16];
  struct blkmq_error error;

  require (words != NULL);
  rig->exports = exports_alloc ();
  require (rig->exports != NULL);
  for (char *word = strtok_r (words, " ", &rest); word != NULL;
       word = strtok_r (NULL, " ", &rest)) {
    char *value = strchr (word, '=');

    require (value != NULL);
    *value++ = '\0';
    must (exports_set (rig->exports, word, value, &error), &error);
  }
  free (words);
  snprintf (threads, sizeof threads, "%u", rig->options.nr_threads);
  must (exports_set_default (rig->exports, "submit_queues", threads, &error),
        &error);
  must (exports_check (rig->exports, &error), &error);
  must (exports_set_up (rig->exports, &error), &error);
  rig->options.exports = rig->exports;
  must (server_alloc (&rig->options, &rig->server, &error), &error);
  if (rig->tls != NULL)
    server_set_tls (rig->server, rig->tls);
  tls_credentials_put (rig->tls);
  rig->tls = NULL;
  must (exports_start (rig->exports, &error), &error);
  must (server_start (rig->server, &error), &error);
}

static void
tell_drained (void *opaque)
{
  struct rig *rig = opaque;

  atomic_fetch_add (&rig->nr_drained, 1);
}

void
rig_drain (struct rig *rig)
{
  server_drain (rig->server, tell_drained, rig);
}

void
rig_stop (struct rig *rig)
{
  bool is_drained = rig->nr_drained > 0;

  server_stop (rig->server);
  exports_remove (rig->exports);
  if (is_drained)
    check_books (rig->server);
  server_free (rig->server);
  rig->server = NULL;
  exports_free (rig->exports);
  require (rig->nr_drained == is_drained);
  require (nr_open_fds () == rig->nr_fds);
}

void
rig_end (struct rig *rig)
{
  rig_drain (rig);
  await (rig->nr_drained > 0);
  require (rig_nr_in_engine (rig) == 0);
  require (server_nr_connections (rig->server) == 0);
  rig_stop (rig);
}

/* ------------------------------------------------------------------------ */
/* What it does                                                              */

struct blkmq_disk *
rig_disk (const struct rig *rig)
{
  return exports_at (rig->exports, 0)->disk;
}

static unsigned
nr_in_disk (struct blkmq_disk *disk)
{
  struct blkmq_stats stats;
  unsigned nr = 0;

  /* Queues may come and go meanwhile. */
  for (unsigned i = 0; i < blkmq_disk_nr_hw_queues (disk); i++) {
    if (blkmq_disk_stats (disk, i, &stats) < 0)
      continue;
    for (unsigned op = 0; op < BLKMQ_NR_OPS; op++)
      nr += (unsigned)stats.in_flight[op];
    nr += (unsigned)stats.waiting;
  }
  return nr;
}

unsigned
rig_nr_in_engine (struct rig *rig)
{
  unsigned nr = 0;

  for (unsigned i = 0; i < exports_nr (rig->exports); i++)
    nr += nr_in_disk (exports_at (rig->exports, i)->disk);
  return nr;
}

uint64_t
rig_add_fault (struct rig *rig, const char *rule)
{
  struct blkmq_error error;
  uint64_t id;

  must (blkmq_disk_add_fault (rig_disk (rig), rule, &id, &error), &error);
  return id;
}

void
rig_delete_fault (struct rig *rig, uint64_t id)
{
  struct blkmq_error error;

  must (blkmq_disk_delete_fault (rig_disk (rig), id, &error), &error);
}

static int
find_fault (const struct blkmq_fault *fault, void *opaque)
{
  struct blkmq_fault *found = opaque;

  if (fault->id == found->id)
    found->nr_held = fault->nr_held;
  return 0;
}

uint64_t
rig_nr_held (struct rig *rig, uint64_t id)
{
  struct blkmq_fault found = { .id = id };

  require (blkmq_disk_for_each_fault (rig_disk (rig), find_fault, &found) == 0);
  return found.nr_held;
}

void
rig_await_idle (struct rig *rig, unsigned nr)
{
  await (server_nr_connections (rig->server) == nr);
  await (rig_nr_in_engine (rig) == 0);
}

static char *
next_name (struct rig *rig, char *name, size_t room)
{
  snprintf (name, room, "client %u", ++rig->nr_clients);
  return name;
}

int
rig_connect (struct rig *rig)
{
  char name[32];
  int fds[2];

  require (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  server_add_connection (rig->server, fds[0],
                         next_name (rig, name, sizeof name));
  return fds[1];
}

int
rig_connect_tcp (struct rig *rig)
{
  struct sockaddr_in address = { .sin_family = AF_INET };
  socklen_t address_bytes = sizeof address;
  char name[32];
  int listener, client, server;

  address.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
  listener = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  client = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  require (listener >= 0 && client >= 0);
  require (bind (listener, (struct sockaddr *)&address, sizeof address) == 0);
  require (listen (listener, 1) == 0);
  require (getsockname (listener, (struct sockaddr *)&address, &address_bytes)
           == 0);
  require (connect (client, (struct sockaddr *)&address, sizeof address) == 0);
  server = accept4 (listener, NULL, NULL, SOCK_CLOEXEC);
  require (server >= 0);
  close (listener);
  server_add_connection (rig->server, server,
                         next_name (rig, name, sizeof name));
  return client;
}
