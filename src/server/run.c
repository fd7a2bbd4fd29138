/* SPDX-License-Identifier: BSD-3-Clause
 *
 * run.c: --run.  The main thread; others run already, so nothing is done
 * between fork and exec but what posix_spawn does.
 */

#include <config.h>

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "text.h"
#include "server/run.h"

/* What was for blkmqd alone. */
static bool
is_not_passed_on (const char *entry)
{
  static const char *const names[]
      = { "NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC=" };

  for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strncmp (entry, names[i], strlen (names[i])) == 0)
      return true;
  return false;
}

static bool
is_set_by (const struct run_variable *variables, unsigned nr_variables,
           const char *entry)
{
  for (unsigned i = 0; i < nr_variables; i++) {
    size_t bytes = strlen (variables[i].name);

    if (strncmp (entry, variables[i].name, bytes) == 0 && entry[bytes] == '=')
      return true;
  }
  return false;
}

/* The limit of descriptors that blkmqd was started with is the command's: who
 * uses select relies on it.  What was put in place of it is returned. */
static struct rlimit
swap_limit (const struct rlimit *inherited)
{
  struct rlimit own = *inherited;

  if (getrlimit (RLIMIT_NOFILE, &own) == 0)
    setrlimit (RLIMIT_NOFILE, inherited);
  return own;
}

/* This process' environment with VARIABLES, which come first and are to be
 * freed.  NULL: no memory. */
static char **
make_environment (const struct run_variable *variables, unsigned nr_variables)
{
  size_t nr = 0, used = 0;
  char **environment;

  while (environ[nr] != NULL)
    nr++;
  environment = calloc (nr + nr_variables + 1, sizeof environment[0]);
  if (environment == NULL)
    return NULL;
  for (unsigned i = 0; i < nr_variables; i++) {
    if (asprintf (&environment[used], "%s=%s", variables[i].name,
                  variables[i].value)
        < 0) {
      while (used > 0)
        free (environment[--used]);
      free (environment);
      return NULL;
    }
    used++;
  }
  for (size_t i = 0; i < nr; i++)
    if (!is_set_by (variables, nr_variables, environ[i])
        && !is_not_passed_on (environ[i]))
      environment[used++] = environ[i];
  return environment;
}

int
run_start (struct run *run, const char *command,
           const struct run_variable *variables, unsigned nr_variables,
           const struct rlimit *nofile, struct blkmq_error *error)
{
  char *arguments[] = { (char[]){ "sh" }, (char[]){ "-c" },
                        (char *)(uintptr_t)command, NULL };
  char **environment = make_environment (variables, nr_variables);
  posix_spawnattr_t attributes;
  sigset_t none, changed;
  struct rlimit own;
  struct text text;
  int r;

  *run = (struct run){ .pid = 0 };
  if (environment == NULL)
    r = ENOMEM;
  else if ((r = posix_spawnattr_init (&attributes)) == 0) {
    sigemptyset (&none);
    sigemptyset (&changed);
    sigaddset (&changed, SIGPIPE);
    posix_spawnattr_setsigmask (&attributes, &none);
    posix_spawnattr_setsigdefault (&attributes, &changed);
    posix_spawnattr_setflags (&attributes,
                              POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    own = swap_limit (nofile);
    r = posix_spawn (&run->pid, "/bin/sh", NULL, &attributes, arguments,
                     environment);
    swap_limit (&own);
    posix_spawnattr_destroy (&attributes);
  }
  if (environment != NULL) {
    for (unsigned i = 0; i < nr_variables; i++)
      free (environment[i]);
    free (environment);
  }
  if (r != 0) {
    run->pid = 0;
    text = text_begin_error (error);
    text_add (&text, "--run=");
    text_add_value (&text, command);
    text_add (&text, ": /bin/sh: %s", strerror (r));
  }
  return -r;
}

void
run_end (const struct run *run)
{
  if (run->pid > 0)
    kill (run->pid, SIGTERM);
}

bool
run_reap (struct run *run)
{
  int status;

  if (run->pid == 0 || waitpid (run->pid, &status, WNOHANG) != run->pid)
    return false;
  run->pid = 0;
  run->exit_status
      = WIFSIGNALED (status) ? 128 + WTERMSIG (status) : WEXITSTATUS (status);
  return true;
}
