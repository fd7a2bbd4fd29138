/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ctl.c: what the commands of blkmqctl share.  One thread.
 */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "blkmqctl/ctl.h"
#include "blkmqctl/memory.h"

enum ctl_status
ctl_fail (struct ctl *ctl, enum ctl_status status, const char *format, ...)
{
  va_list args;

  /* What was printed before is there before. */
  fflush (stdout);
  fprintf (stderr, "blkmqctl: %s: ", ctl->name);
  va_start (args, format);
  vfprintf (stderr, format, args);
  va_end (args);
  fputc ('\n', stderr);
  return status;
}

enum ctl_status
ctl_client_failed (struct ctl *ctl, enum ctl_status status)
{
  return ctl_fail (ctl, status, "%s", ctl->client.error);
}

enum ctl_status
ctl_unpacked (struct ctl *ctl, enum ctl_status status)
{
  return status == CTL_DONE ? CTL_DONE : ctl_client_failed (ctl, status);
}

enum ctl_status
ctl_call (struct ctl *ctl, const char *command, json_t *arguments,
          json_t **result)
{
  enum ctl_status status = CTL_DONE;

  if (ctl->client.fd == -1)
    status = client_open (&ctl->client, ctl->path, CLIENT_CONNECT_MS);
  if (status == CTL_DONE) {
    status = client_send (&ctl->client, command, ctl->export, arguments);
    arguments = NULL;
  }
  if (status == CTL_DONE)
    status = client_receive (&ctl->client, true, result);
  json_decref (arguments);
  return ctl_unpacked (ctl, status);
}

enum ctl_status
ctl_do (struct ctl *ctl, const char *command, json_t *arguments)
{
  enum ctl_status status;
  json_t *result;

  status = ctl_call (ctl, command, arguments, &result);
  if (status != CTL_DONE)
    return status;
  if (ctl->json)
    ctl_print_json (result);
  json_decref (result);
  return CTL_DONE;
}

enum ctl_status
ctl_array (struct ctl *ctl, json_t *result, const char *name, json_t **array)
{
  *array = json_object_get (result, name);
  if (json_is_array (*array))
    return CTL_DONE;
  return ctl_fail (ctl, CTL_PROTOCOL,
                   "%s: the answer to %s is not understood: there is no array "
                   "\"%s\"",
                   ctl->client.path, ctl->client.command, name);
}

void
ctl_print_json (const json_t *result)
{
  json_dumpf (result, stdout, JSON_INDENT (2) | JSON_ENCODE_ANY);
  putchar ('\n');
}

unsigned
ctl_columns (void)
{
  const char *columns = getenv ("COLUMNS");
  struct winsize size;
  long nr;

  if (ioctl (STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return size.ws_col;
  nr = columns != NULL ? strtol (columns, NULL, 10) : 0;
  return nr > 0 && nr < 10000 ? (unsigned)nr : 0;
}
