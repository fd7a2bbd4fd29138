/* SPDX-License-Identifier: BSD-3-Clause
 *
 * peer.c: see peer.h.  A peer waits as long as it takes: the limit is Check's.
 */

#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "peer.h"

/* ---- the server ---- */

struct server *
server_alloc (size_t nr_beds)
{
  struct server *server = calloc (1, sizeof *server);

  require (server != NULL && nr_beds <= MAX_BEDS);
  strcpy (server->dir, "/tmp/blkmq-test.XXXXXX");
  require (mkdtemp (server->dir) != NULL);
  snprintf (server->path, sizeof server->path, "%s/control", server->dir);
  for (size_t i = 0; i < nr_beds; i++) {
    server->beds[i] = bed_alloc ();
    server->beds[i]->script.on_queue = script_completes_inside;
  }
  server->nr_beds = nr_beds;
  return server;
}

struct control *
server_listen (struct server *server, const char *path, unsigned stall_ms,
               struct blkmq_error *error)
{
  struct control_options options = { .exports = server->exports,
                                     .nr_exports = server->nr_beds,
                                     .stall_ms = stall_ms,
                                     .silent_ms = server->silent_ms };
  struct control *control = control_open (path, error);

  if (control != NULL && control_start (control, &options, error) < 0) {
    control_free (control);
    return NULL;
  }
  return control;
}

static void
describe (const struct control_export *export, char *buf, size_t buf_bytes)
{
  snprintf (buf, buf_bytes, "%s", (const char *)export->opaque);
}

void
server_open (struct server *server, const char *keys, unsigned stall_ms)
{
  static const char *const names[MAX_BEDS] = { "", "second" };
  struct blkmq_error error;

  for (size_t i = 0; i < server->nr_beds; i++) {
    bed_open_threads (server->beds[i], keys);
    server->exports[i] = (struct control_export){
      .name = names[i],
      .disk = server->beds[i]->disk,
      .describe = describe,
      .opaque = "a scripted disk",
    };
  }
  server->control = server_listen (server, server->path, stall_ms, &error);
  if (server->control == NULL)
    ck_abort_msg ("%s", error.message);
}

struct server *
server_start (const char *keys)
{
  struct server *server = server_alloc (1);

  server_open (server, keys, 0);
  return server;
}

void
server_stop (struct server *server)
{
  if (server->control != NULL)
    control_stop (server->control);
  ck_assert_int_eq (access (server->path, F_OK), -1);
  /* The server has references of its own, and bed_stop wants the last. */
  for (size_t i = 0; i < server->nr_beds; i++)
    blkmq_disk_remove (server->beds[i]->disk);
  control_free (server->control);
  for (size_t i = 0; i < server->nr_beds; i++)
    bed_stop (server->beds[i]);
  require (rmdir (server->dir) == 0);
  free (server);
}

/* ---- the client ---- */

struct peer *
peer_connect (struct server *server)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  struct peer *peer = calloc (1, sizeof *peer);

  require (peer != NULL);
  strcpy (address.sun_path, server->path);
  peer->fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  require (peer->fd >= 0);
  require (connect (peer->fd, (struct sockaddr *)&address, sizeof address)
           == 0);
  return peer;
}

struct peer *
peer_open (struct server *server)
{
  struct peer *peer = peer_connect (server);
  json_t *greeting = peer_answer (peer);

  ck_assert_str_eq (text_at (greeting, "blkmq"), blkmq_version ());
  ck_assert_int_eq (number_at (greeting, "protocol"), 1);
  json_decref (greeting);
  return peer;
}

void
peer_close (struct peer *peer)
{
  close (peer->fd);
  free (peer->in);
  free (peer);
}

bool
peer_send (struct peer *peer, const char *bytes, size_t nr)
{
  ssize_t sent;

  while (nr > 0) {
    sent = send (peer->fd, bytes, nr, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0) {
      require (errno == EPIPE || errno == ECONNRESET);
      return false;
    }
    bytes += sent;
    nr -= (size_t)sent;
  }
  return true;
}

bool
peer_say (struct peer *peer, const char *text)
{
  size_t nr = strlen (text);
  char *line = malloc (nr + 1);
  bool is_sent;

  /* In one piece: a server may wait for the end of a line only so long. */
  require (line != NULL);
  memcpy (line, text, nr);
  line[nr] = '\n';
  is_sent = peer_send (peer, line, nr + 1);
  free (line);
  return is_sent;
}

char *
peer_line (struct peer *peer)
{
  char *end, *line;
  ssize_t nr;

  while ((end = peer->in_end > 0 ? memchr (peer->in, '\n', peer->in_end) : NULL)
         == NULL) {
    if (peer->in_end == peer->in_room) {
      peer->in_room = 2 * peer->in_room + 65536;
      peer->in = realloc (peer->in, peer->in_room);
      require (peer->in != NULL);
    }
    nr = recv (peer->fd, peer->in + peer->in_end, peer->in_room - peer->in_end,
               0);
    if (nr < 0 && errno == EINTR)
      continue;
    /* ECONNRESET: it did not want to read all that was sent. */
    require (nr >= 0 || errno == ECONNRESET);
    if (nr <= 0) {
      require (peer->in_end == 0); /* no half of a line */
      return NULL;
    }
    peer->in_end += (size_t)nr;
  }
  *end = '\0';
  line = strdup (peer->in);
  require (line != NULL);
  peer->in_end -= (size_t)(end - peer->in) + 1;
  memmove (peer->in, end + 1, peer->in_end);
  return line;
}

json_t *
peer_answer (struct peer *peer)
{
  char *line = peer_line (peer);
  json_error_t error;
  json_t *answer;

  ck_assert_msg (line != NULL, "the server has closed the connection");
  answer = json_loads (line, JSON_REJECT_DUPLICATES, &error);
  ck_assert_msg (json_is_object (answer), "not an object: %s", line);
  free (line);
  return answer;
}

json_t *
peer_ask (struct peer *peer, const char *text)
{
  json_t *answer, *result;

  ck_assert (peer_say (peer, text));
  answer = peer_answer (peer);
  if (!json_is_true (json_object_get (answer, "ok")))
    ck_abort_msg ("%s: %s", text, text_at (answer, "error.message"));
  result = json_incref (json_object_get (answer, "result"));
  ck_assert (json_is_object (result));
  json_decref (answer);
  return result;
}

void
peer_do (struct peer *peer, const char *command)
{
  char text[128];

  snprintf (text, sizeof text, "{\"command\":\"%s\"}", command);
  json_decref (peer_ask (peer, text));
}

void
peer_gets_error (struct peer *peer, const char *name, const char *part)
{
  json_t *answer = peer_answer (peer);
  const char *message;

  ck_assert (json_is_false (json_object_get (answer, "ok")));
  ck_assert_ptr_null (json_object_get (answer, "result"));
  message = text_at (answer, "error.message");
  ck_assert_msg (strstr (message, part) != NULL, "no '%s' in: %s", part,
                 message);
  ck_assert_str_eq (text_at (answer, "error.errno"), name);
  json_decref (answer);
}

void
peer_is_refused (struct peer *peer, const char *text, const char *name,
                 const char *part)
{
  ck_assert (peer_say (peer, text));
  peer_gets_error (peer, name, part);
}

json_t *
json_at (json_t *value, const char *path)
{
  char name[64];
  size_t length;

  while (*path != '\0') {
    length = strcspn (path, ".");
    require (length < sizeof name);
    memcpy (name, path, length);
    name[length] = '\0';
    value = json_is_array (value)
                ? json_array_get (value, (size_t)strtoul (name, NULL, 10))
                : json_object_get (value, name);
    ck_assert_msg (value != NULL, "there is no %s", path);
    path += length + (path[length] == '.');
  }
  return value;
}

json_int_t
number_at (json_t *value, const char *path)
{
  json_t *number = json_at (value, path);

  ck_assert_msg (json_is_integer (number), "%s is no whole number", path);
  return json_integer_value (number);
}

const char *
text_at (json_t *value, const char *path)
{
  json_t *text = json_at (value, path);

  ck_assert_msg (json_is_string (text), "%s is no string", path);
  return json_string_value (text);
}
