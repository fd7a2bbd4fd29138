/* SPDX-License-Identifier: BSD-3-Clause
 *
 * call.c: a request from its line to its answer: what it may contain, whom it
 * is about, and how it went.  On the server's thread, but for call_run and what
 * that calls, which may be on a worker.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/internal.h"

void
set_error (struct blkmq_error *error, const char *format, ...)
{
  va_list args;

  if (error == NULL)
    return;
  va_start (args, format);
  vsnprintf (error->message, sizeof error->message, format, args);
  va_end (args);
}

int
call_fail (struct call *call, int error, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  vsnprintf (call->message.message, sizeof call->message.message, format, args);
  va_end (args);
  call->error = error;
  return -error;
}

int
call_give (struct call *call, json_t *result, bool ok)
{
  if (!ok) {
    json_decref (result);
    return -ENOMEM;
  }
  call->result = result;
  return 0;
}

struct call *
call_alloc (struct client *client)
{
  struct call *call = calloc (1, sizeof *call);

  if (call != NULL) {
    call->client = client;
    call->control = client->control;
  }
  return call;
}

void
call_free (struct call *call)
{
  json_decref (call->request);
  json_decref (call->result);
  free (call);
}

/* ------------------------------------------------------------------------ */
/* What a request may contain                                                */

static bool
is_string (const json_t *value)
{
  return json_is_string (value);
}

static bool
is_setting (const json_t *value)
{
  return json_is_object (value) && json_object_size (value) == 2
         && json_is_string (json_object_get (value, "key"))
         && json_is_string (json_object_get (value, "value"));
}

static bool
is_array_of (const json_t *array, bool (*is) (const json_t *value))
{
  if (!json_is_array (array) || json_array_size (array) == 0)
    return false;
  for (size_t i = 0; i < json_array_size (array); i++) {
    if (!is (json_array_get (array, i)))
      return false;
  }
  return true;
}

static int
check_member (struct call *call, const struct member *member,
              const json_t *value)
{
  const char *wanted = NULL;
  json_int_t number;

  switch (member->type) {
  case MEMBER_BOOL:
    if (!json_is_boolean (value))
      wanted = "true or false";
    break;
  case MEMBER_STRING:
    if (!json_is_string (value))
      wanted = "a string";
    break;
  case MEMBER_STRINGS:
    if (!is_array_of (value, is_string))
      wanted = "an array of at least one string";
    break;
  case MEMBER_SETTINGS:
    if (!is_array_of (value, is_setting))
      wanted = "an array of at least one {\"key\":string,\"value\":string}";
    break;
  case MEMBER_NUMBER:
    number = json_integer_value (value);
    if (!json_is_integer (value) || number < 1
        || (uint64_t)number > member->max)
      return call_fail (call, EINVAL,
                        "\"%s\": must be a whole number from 1 to %" PRIu64,
                        member->name, member->max);
    break;
  }
  if (wanted != NULL)
    return call_fail (call, EINVAL, "\"%s\": must be %s", member->name, wanted);
  return 0;
}

static const struct member *
find_member (const struct command *command, const char *name)
{
  for (size_t i = 0; i < MAX_MEMBERS; i++) {
    if (command->members[i].name != NULL
        && strcmp (command->members[i].name, name) == 0)
      return &command->members[i];
  }
  return NULL;
}

static int
check_members (struct call *call)
{
  const struct command *command = call->command;
  const struct member *member;
  const char *name;
  json_t *value;
  int r;

  json_object_foreach (call->request, name, value)
  {
    if (strcmp (name, "id") == 0 || strcmp (name, "command") == 0
        || (command->has_export && strcmp (name, "export") == 0))
      continue;
    member = find_member (command, name);
    if (member == NULL)
      return call_fail (call, EINVAL, "\"%s\": %s has no such member", name,
                        command->name);
    r = check_member (call, member, value);
    if (r < 0)
      return r;
  }
  for (size_t i = 0; i < MAX_MEMBERS; i++) {
    member = &command->members[i];
    if (member->name != NULL && member->required
        && json_object_get (call->request, member->name) == NULL)
      return call_fail (call, EINVAL, "\"%s\": %s needs it", member->name,
                        command->name);
  }
  return 0;
}

/* ------------------------------------------------------------------------ */
/* What it is about                                                          */

static int
find_command (struct call *call)
{
  json_t *value = json_object_get (call->request, "command");
  const char *name = json_string_value (value);
  char names[512] = "";
  size_t nr = 0;

  if (name == NULL)
    return call_fail (call, EINVAL, "\"command\": %s",
                      value == NULL ? "every request needs it"
                                    : "must be a string");
  for (size_t i = 0; i < nr_commands; i++) {
    if (strcmp (commands[i].name, name) == 0) {
      call->command = &commands[i];
      return 0;
    }
    if (nr < sizeof names)
      nr += (size_t)snprintf (names + nr, sizeof names - nr, "%s%s",
                              i > 0 ? ", " : "", commands[i].name);
  }
  return call_fail (call, EOPNOTSUPP,
                    "\"command\": \"%s\" is unknown; known are %s", name,
                    names);
}

static int
find_export (struct call *call)
{
  json_t *value = json_object_get (call->request, "export");
  const char *name = value != NULL ? json_string_value (value) : "";

  if (!call->command->has_export)
    return 0;
  if (name == NULL)
    return call_fail (call, EINVAL, "\"export\": must be a string");
  for (size_t i = 0; i < call->control->nr_exports; i++) {
    if (strcmp (call->control->exports[i].front->name, name) == 0) {
      call->export = &call->control->exports[i];
      return 0;
    }
  }
  return call_fail (call, ENOENT,
                    "\"export\": there is none named \"%s\"; "
                    "the command exports lists them",
                    name);
}

bool
call_parse (struct call *call, const char *line, size_t line_bytes)
{
  json_error_t error;

  call->request = json_loadb (line, line_bytes, JSON_REJECT_DUPLICATES, &error);
  if (call->request == NULL) {
    if (json_error_code (&error) == json_error_out_of_memory)
      call_fail (call, ENOMEM, "no memory");
    else
      call_fail (call, EBADMSG, "not JSON: %s at byte %d", error.text,
                 error.position);
    return false;
  }
  if (!json_is_object (call->request)) {
    call_fail (call, EINVAL, "a request is an object");
    return false;
  }
  return find_command (call) == 0 && check_members (call) == 0
         && find_export (call) == 0;
}

/* ------------------------------------------------------------------------ */
/* How it went                                                               */

void
call_run (struct call *call)
{
  int r = call->command->run (call);

  if (r == 0)
    return;
  call->error = -r;
  /* For an error without a message of its own. */
  if (call->message.message[0] == '\0')
    set_error (&call->message, "%s: %s", call->command->name, strerror (-r));
}

static json_t *
error_name (int error)
{
  const char *name = strerrorname_np (error);
  char number[16];

  if (name != NULL)
    return json_text (name);
  snprintf (number, sizeof number, "%d", error);
  return json_text (number);
}

char *
call_answer (struct call *call, size_t *bytes)
{
  json_t *answer = json_object ();
  json_t *id = json_object_get (call->request, "id");
  json_t *error;
  bool ok = true;
  char *line, *text = NULL;

  put (&ok, answer, "id", id != NULL ? json_incref (id) : json_null ());
  put (&ok, answer, "ok", json_boolean (call->error == 0));
  if (call->error == 0)
    put (&ok, answer, "result",
         call->result != NULL ? json_incref (call->result) : json_object ());
  else {
    error = json_object ();
    put (&ok, error, "errno", error_name (call->error));
    put (&ok, error, "message", json_text (call->message.message));
    put (&ok, answer, "error", error);
  }
  if (ok)
    text = json_dumps (answer, JSON_COMPACT);
  json_decref (answer);
  if (text == NULL)
    return NULL;

  *bytes = strlen (text) + 1;
  line = realloc (text, *bytes);
  if (line == NULL) {
    free (text);
    return NULL;
  }
  line[*bytes - 1] = '\n';
  return line;
}
