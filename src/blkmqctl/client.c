/* SPDX-License-Identifier: BSD-3-Clause
 *
 * client.c: the connection to a control socket.  One thread.
 *
 * Only connecting has a time limit.  After that the disk may take as long as it
 * needs: a change waits for the requests that are in flight.
 */

#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "blkmqctl/client.h"
#include "blkmqctl/memory.h"

/* No answer is as long: 1024 hctxs with all their buckets are a tenth. */
#define MAX_LINE_BYTES ((size_t)256 << 20)
#define READ_BYTES ((size_t)64 << 10)

enum ctl_status
client_fail (struct client *client, enum ctl_status status, const char *format,
             ...)
{
  va_list args;

  free (client->error);
  va_start (args, format);
  if (vasprintf (&client->error, format, args) == -1)
    no_memory ();
  va_end (args);
  return status;
}

enum ctl_status
client_unpack (struct client *client, json_t *value, const char *format, ...)
{
  json_error_t error;
  va_list args;
  int rc;

  va_start (args, format);
  rc = json_vunpack_ex (value, &error, 0, format, args);
  va_end (args);
  if (rc == 0)
    return CTL_DONE;
  return client_fail (client, CTL_PROTOCOL,
                      "%s: the answer to %s is not understood: %s",
                      client->path, client->command, error.text);
}

/* ------------------------------------------------------------------------ */
/* Lines                                                                     */

static int64_t
now_ms (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Read what there is, at least a byte.  DEADLINE_MS: -1 is none, 0 is past. */
static enum ctl_status
read_more (struct client *client, int64_t deadline_ms)
{
  struct pollfd pollfd = { .fd = client->fd, .events = POLLIN };
  int64_t left_ms = deadline_ms;
  ssize_t nr;
  int ready;

  do {
    if (deadline_ms > 0)
      left_ms = deadline_ms > now_ms () ? deadline_ms - now_ms () : 0;
    ready = poll (&pollfd, 1, (int)left_ms);
  } while (ready == -1 && errno == EINTR);
  if (ready == 0)
    return CTL_PENDING;

  if (client->buf_bytes - client->used_bytes < READ_BYTES) {
    client->buf_bytes = client->buf_bytes * 2 + READ_BYTES;
    client->buf = resize (client->buf, client->buf_bytes, 1);
  }
  nr = recv (client->fd, client->buf + client->used_bytes,
             client->buf_bytes - client->used_bytes, 0);
  if (nr == -1 && errno == EINTR)
    return CTL_DONE;
  if (nr <= 0)
    return client_fail (
        client, CTL_LOST, "%s: the connection is lost: %s", client->path,
        nr == 0 ? "the other side has closed it" : strerror (errno));
  client->used_bytes += (size_t)nr;
  return CTL_DONE;
}

/* The next line as JSON. */
static enum ctl_status
read_line (struct client *client, int64_t deadline_ms, json_t **line)
{
  enum ctl_status status;
  json_error_t error;
  size_t bytes;
  char *end;

  while (client->used_bytes == client->searched_bytes
         || (end = memchr (client->buf + client->searched_bytes, '\n',
                           client->used_bytes - client->searched_bytes))
                == NULL) {
    client->searched_bytes = client->used_bytes;
    if (client->used_bytes > MAX_LINE_BYTES)
      return client_fail (client, CTL_PROTOCOL,
                          "%s: a line is longer than %zu bytes", client->path,
                          MAX_LINE_BYTES);
    status = read_more (client, deadline_ms);
    if (status != CTL_DONE)
      return status;
  }

  bytes = (size_t)(end - client->buf);
  *line = json_loadb (client->buf, bytes, JSON_REJECT_DUPLICATES, &error);
  client->used_bytes -= bytes + 1;
  client->searched_bytes = 0;
  memmove (client->buf, end + 1, client->used_bytes);
  if (*line == NULL)
    return client_fail (client, CTL_PROTOCOL,
                        "%s: what was received is not JSON: %s", client->path,
                        error.text);
  return CTL_DONE;
}

/* ------------------------------------------------------------------------ */
/* Connecting                                                                */

static enum ctl_status
connect_to (struct client *client, int timeout_ms)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  struct timeval limit
      = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
  const struct timeval none = { 0 };
  const char *hint = "";

  if (strlen (client->path) >= sizeof address.sun_path)
    return client_fail (client, CTL_LOST,
                        "%s: a socket's path has at most %zu bytes",
                        client->path, sizeof address.sun_path - 1);
  strcpy (address.sun_path, client->path);

  client->fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (client->fd == -1)
    return client_fail (client, CTL_LOST, "socket: %s", strerror (errno));
  /* On Linux this limits connect, which waits while the backlog is full. */
  setsockopt (client->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect (client->fd, (struct sockaddr *)&address, sizeof address) == -1) {
    if (errno == EAGAIN)
      errno = ETIMEDOUT;
    if (errno == ENOENT)
      hint = " (a disk makes it when it is served with control=)";
    else if (errno == ECONNREFUSED)
      hint = " (nobody listens: its disk has ended)";
    return client_fail (client, CTL_LOST, "cannot connect to %s: %s%s",
                        client->path, strerror (errno), hint);
  }
  setsockopt (client->fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
  return CTL_DONE;
}

static enum ctl_status
check_greeting (struct client *client, json_t *greeting)
{
  const char *version, *message;
  int protocol;

  /* There may be no place for one more client. */
  if (json_unpack (greeting, "{s:{s:s}}", "error", "message", &message) == 0)
    return client_fail (client, CTL_LOST, "%s: %s", client->path, message);

  if (json_unpack (greeting, "{s:s, s:i}", "blkmq", &version, "protocol",
                   &protocol)
      != 0)
    return client_fail (client, CTL_PROTOCOL,
                        "%s: this is not a blkmq control socket", client->path);
  if (protocol != CLIENT_PROTOCOL)
    return client_fail (client, CTL_PROTOCOL,
                        "%s: blkmq %s speaks version %d of the control "
                        "protocol; this blkmqctl, %s, knows %d",
                        client->path, version, protocol, PACKAGE_VERSION,
                        CLIENT_PROTOCOL);
  return CTL_DONE;
}

enum ctl_status
client_open (struct client *client, const char *path, int timeout_ms)
{
  int64_t deadline_ms = now_ms () + timeout_ms;
  enum ctl_status status;
  json_t *greeting;

  *client = (struct client){ .fd = -1, .path = copy_text (path) };
  status = connect_to (client, timeout_ms);
  if (status != CTL_DONE)
    return status;

  status = read_line (client, deadline_ms, &greeting);
  if (status == CTL_PENDING)
    return client_fail (client, CTL_LOST,
                        "%s: connected, but there was no greeting for %d s",
                        client->path, timeout_ms / 1000);
  if (status != CTL_DONE)
    return status;
  status = check_greeting (client, greeting);
  json_decref (greeting);
  return status;
}

void
client_close (struct client *client)
{
  if (client->fd != -1)
    close (client->fd);
  free (client->path);
  free (client->buf);
  free (client->command);
  free (client->error);
  *client = (struct client){ .fd = -1 };
}

/* ------------------------------------------------------------------------ */
/* Requests                                                                  */

enum ctl_status
client_send (struct client *client, const char *command, const char *export,
             json_t *arguments)
{
  json_t *request = arguments != NULL ? arguments : json_object ();
  size_t bytes, sent = 0;
  char *line;
  ssize_t nr;

  free (client->command);
  client->command = copy_text (command);
  if (json_object_set_new (request, "id", json_integer (++client->id)) != 0
      || json_object_set_new (request, "command", json_string (command)) != 0)
    no_memory ();
  /* The one that can fail: an argument may be no UTF-8. */
  if (export != NULL
      && json_object_set_new (request, "export", json_string (export)) != 0) {
    json_decref (request);
    return client_fail (client, CTL_USAGE, "--export: not valid UTF-8");
  }
  line = json_dumps (request, JSON_COMPACT);
  json_decref (request);
  if (line == NULL)
    no_memory ();

  bytes = strlen (line);
  line[bytes++] = '\n'; /* lines go out without a terminating zero */
  while (sent < bytes) {
    nr = send (client->fd, line + sent, bytes - sent, MSG_NOSIGNAL);
    if (nr == -1 && errno == EINTR)
      continue;
    /* The other side may have said why it has closed: that is still to be
     * read. */
    if (nr == -1 && (errno == EPIPE || errno == ECONNRESET))
      break;
    if (nr == -1) {
      free (line);
      return client_fail (client, CTL_LOST, "%s: cannot send: %s", client->path,
                          strerror (errno));
    }
    sent += (size_t)nr;
  }
  free (line);
  return CTL_DONE;
}

/* Answers have the id of their request; only a refusal of what could not be
 * read has none. */
static enum ctl_status
take_answer (struct client *client, json_t *answer, json_t **result)
{
  json_t *id = json_object_get (answer, "id");
  bool known = json_is_integer (id) && json_integer_value (id) == client->id;
  enum ctl_status status;
  const char *message, *error;
  int ok;

  status = client_unpack (client, answer, "{s:b}", "ok", &ok);
  if (status != CTL_DONE)
    return status;
  if (!known && (ok || !(id == NULL || json_is_null (id))))
    return client_fail (client, CTL_PROTOCOL, "%s: an answer to something else",
                        client->path);
  if (!ok) {
    status = client_unpack (client, answer, "{s:{s:s, s:s}}", "error",
                            "message", &message, "errno", &error);
    client->too_long = status == CTL_DONE && strcmp (error, "EMSGSIZE") == 0;
    return status != CTL_DONE
               ? status
               : client_fail (client, CTL_REFUSED, "%s", message);
  }
  return client_unpack (client, answer, "{s:O}", "result", result);
}

enum ctl_status
client_receive (struct client *client, bool wait, json_t **result)
{
  enum ctl_status status;
  json_t *answer;

  status = read_line (client, wait ? -1 : 0, &answer);
  if (status != CTL_DONE)
    return status;
  status = take_answer (client, answer, result);
  json_decref (answer);
  return status;
}
