/* SPDX-License-Identifier: BSD-3-Clause
 *
 * show.c: commands that read what a disk is: show, get and exports.  One
 * thread.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "blkmqctl/ctl.h"
#include "blkmqctl/format.h"
#include "blkmqctl/memory.h"
#include "blkmqctl/table.h"

/* ------------------------------------------------------------------------ */
/* Keys                                                                      */

struct key {
  const char *name, *value, *default_value, *type, *unit, *allowed, *help;
  int live;
};

static enum ctl_status
read_key (struct ctl *ctl, json_t *json, struct key *key)
{
  json_t *default_value, *unit; /* may be null */
  enum ctl_status status;

  *key = (struct key){ 0 };
  status = ctl_unpack (ctl, json, "{s:s, s:s, s:o, s:b, s:s, s:o, s:s, s:s}",
                       "key", &key->name, "value", &key->value, "default",
                       &default_value, "live", &key->live, "type", &key->type,
                       "unit", &unit, "allowed", &key->allowed, "help",
                       &key->help);
  if (status == CTL_DONE) {
    key->default_value = json_string_value (default_value);
    key->unit = json_string_value (unit);
  }
  return status;
}

/* The key of that name; -EINVAL is the server's to say, in its words. */
static json_t *
find_key (json_t *keys, const char *name)
{
  json_t *key;
  size_t i;

  json_array_foreach (keys, i, key)
  {
    const char *found = json_string_value (json_object_get (key, "key"));

    if (found != NULL && strcmp (found, name) == 0)
      return key;
  }
  return NULL;
}

/* A bare number gets its unit.  The caller frees it. */
static char *
value_of (const struct key *key)
{
  bool bare = key->unit != NULL && strcmp (key->value, "0") != 0
              && key->value[strspn (key->value, "0123456789")] == '\0';

  if (*key->value == '\0')
    return copy_text ("-");
  return make_text ("%s%s%s", key->value, bare ? " " : "",
                    bare ? key->unit : "");
}

static enum ctl_status
print_keys (struct ctl *ctl, json_t *keys)
{
  static const struct table_column columns[] = {
    { "KEY", 0 },  { "VALUE", TABLE_CUT }, { "", 0 },
    { "LIVE", 0 }, { "WHAT", TABLE_CUT },
  };
  struct table table = table_begin (columns, 5);
  enum ctl_status status = CTL_DONE;
  bool any_changed = false;
  struct key key;
  json_t *json;
  size_t i;

  json_array_foreach (keys, i, json)
  {
    bool changed;
    char *value;

    status = read_key (ctl, json, &key);
    if (status != CTL_DONE)
      break;
    changed = key.default_value != NULL
              && strcmp (key.value, key.default_value) != 0;
    any_changed = any_changed || changed;
    value = value_of (&key);
    table_add (&table, key.name, value, changed ? "*" : "",
               key.live ? "yes" : "-", key.help);
    free (value);
  }
  if (status == CTL_DONE) {
    table_print (&table, ctl_columns (), stdout);
    if (any_changed)
      puts ("* is not the default");
  }
  table_free (&table);
  return status;
}

static enum ctl_status
print_key (struct ctl *ctl, json_t *json)
{
  static const struct table_column columns[] = { { NULL, 0 }, { NULL, 0 } };
  struct table table = table_begin (columns, 2);
  enum ctl_status status;
  struct key key;
  char *title;

  status = read_key (ctl, json, &key);
  if (status != CTL_DONE)
    return status;
  title = make_text ("%s=%s", key.name, key.value);
  table_add (&table, "what", key.help);
  table_add (&table, "allowed", key.allowed);
  table_add (&table, "type", key.type);
  if (key.unit != NULL)
    table_add (&table, "unit", key.unit);
  table_add (&table, "default",
             key.default_value != NULL ? key.default_value : "-");
  table_add (&table, "live",
             key.live ? "yes: set changes it" : "no: it is fixed at the start");
  puts (title);
  table_print (&table, 0, stdout);
  free (title);
  table_free (&table);
  return CTL_DONE;
}

/* ------------------------------------------------------------------------ */
/* show                                                                      */

/* "512 B, 1 MiB a request, 128 segments, read-only" */
static enum ctl_status
print_disk (struct ctl *ctl, json_t *show)
{
  static const struct table_column columns[]
      = { { NULL, 0 }, { NULL, TABLE_CUT } };
  struct table table = table_begin (columns, 2);
  const char *name, *description, *driver, *scheduler, *seed;
  json_int_t size, block, transfer, segments, discard, zeroes;
  int submit_queues, poll_queues, depth, freezes;
  int power = 1, rotational, read_only, cache, fua;
  char size_text[FORMAT_BYTES], block_text[FORMAT_BYTES];
  char transfer_text[FORMAT_BYTES], exact[FORMAT_BYTES];
  enum ctl_status status;
  char *text;

  status = ctl_unpack (
      ctl, show,
      "{s:s, s:s, s:s, s:I, s:s, s?:b, s:i, s:s,"
      " s:{s:i, s:i, s:i}, s:{s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b}}",
      "name", &name, "description", &description, "driver", &driver,
      "size_bytes", &size, "seed", &seed, "power", &power, "freezes", &freezes,
      "scheduler", &scheduler, "queues", "submit_queues", &submit_queues,
      "poll_queues", &poll_queues, "hw_queue_depth", &depth, "limits",
      "logical_block_bytes", &block, "max_transfer_bytes", &transfer,
      "max_segments", &segments, "max_discard_bytes", &discard,
      "max_write_zeroes_bytes", &zeroes, "rotational", &rotational, "read_only",
      &read_only, "volatile_cache", &cache, "fua", &fua);
  if (status != CTL_DONE)
    return status;

  table_add (&table, "disk", *name != '\0' ? name : "(the default export)");
  if (*description != '\0')
    table_add (&table, "description", description);
  table_add (&table, "driver", driver);

  text = make_text ("%s (%s bytes)", format_size (size_text, (uint64_t)size),
                    format_count (exact, (uint64_t)size));
  table_add (&table, "size", text);
  free (text);
  text = make_text ("%s; requests of up to %s",
                    format_size (block_text, (uint64_t)block),
                    format_size (transfer_text, (uint64_t)transfer));
  table_add (&table, "blocks", text);
  free (text);
  if (segments < UINT32_MAX)
    table_add (&table, "segments", format_count (exact, (uint64_t)segments));
  text = make_text ("%s, %s%s%s%s%s", rotational ? "rotational" : "solid-state",
                    read_only ? "read-only" : "writable",
                    cache ? ", volatile cache" : "", fua ? ", FUA" : "",
                    discard > 0 ? ", discard" : "",
                    zeroes > 0 ? ", write zeroes" : "");
  table_add (&table, "kind", text);
  free (text);
  text = make_text ("%d for submission, %d polled, depth %d", submit_queues,
                    poll_queues, depth);
  table_add (&table, "queues", text);
  free (text);
  table_add (&table, "scheduler", scheduler);
  text = make_text (freezes > 0 ? "%s, frozen %d times" : "%s",
                    power ? "on" : "off", freezes);
  table_add (&table, "power", text);
  free (text);
  table_add (&table, "seed", seed);
  table_print (&table, ctl_columns (), stdout);
  table_free (&table);
  return CTL_DONE;
}

/* Some keys, at length.  Whether there is such a key, the server says: so that
 * the message is its own. */
static enum ctl_status
show_keys (struct ctl *ctl, json_t *keys)
{
  enum ctl_status status = CTL_DONE;

  for (int i = 0; i < ctl->nr_args && status == CTL_DONE; i++) {
    json_t *key = find_key (keys, ctl->args[i]);

    if (key == NULL) {
      json_t *arguments = json_pack ("{s:[s]}", "keys", ctl->args[i]), *values;

      if (arguments == NULL)
        return ctl_fail (ctl, CTL_USAGE, "a key that is not valid UTF-8");
      status = ctl_call (ctl, "get", arguments, &values);
      if (status != CTL_DONE)
        return status;
      json_decref (values);
      return ctl_fail (ctl, CTL_PROTOCOL,
                       "%s: the server has it, but does not "
                       "show it",
                       ctl->args[i]);
    }
    if (i > 0 && !ctl->json)
      putchar ('\n');
    if (ctl->json)
      ctl_print_json (key);
    else
      status = print_key (ctl, key);
  }
  return status;
}

enum ctl_status
ctl_show (struct ctl *ctl)
{
  enum ctl_status status;
  json_t *show, *keys;

  status = ctl_call (ctl, "show", NULL, &show);
  if (status != CTL_DONE)
    return status;
  status = ctl_array (ctl, show, "keys", &keys);
  if (status == CTL_DONE && ctl->nr_args > 0)
    status = show_keys (ctl, keys);
  else if (status == CTL_DONE && ctl->json)
    ctl_print_json (show);
  else if (status == CTL_DONE) {
    status = print_disk (ctl, show);
    if (status == CTL_DONE) {
      putchar ('\n');
      status = print_keys (ctl, keys);
    }
  }
  json_decref (show);
  return status;
}

/* ------------------------------------------------------------------------ */
/* get                                                                       */

/* The names of all keys; or of the live ones, and then of those that have a
 * value, so that what get prints is something to set. */
static enum ctl_status
names_of_keys (struct ctl *ctl, json_t **names)
{
  json_t *show, *keys, *json;
  enum ctl_status status;
  struct key key;
  size_t i;

  status = ctl_call (ctl, "show", NULL, &show);
  if (status != CTL_DONE)
    return status;
  *names = json_array ();
  status = ctl_array (ctl, show, "keys", &keys);
  json_array_foreach (keys, i, json)
  {
    if (status == CTL_DONE)
      status = read_key (ctl, json, &key);
    if (status == CTL_DONE && (!ctl->live || (key.live && *key.value != '\0')))
      json_array_append_new (*names, json_string (key.name));
  }
  if (status != CTL_DONE)
    json_decref (*names);
  json_decref (show);
  return status;
}

static enum ctl_status
names_of_arguments (struct ctl *ctl, json_t **names)
{
  *names = json_array ();
  for (int i = 0; i < ctl->nr_args; i++) {
    if (json_array_append_new (*names, json_string (ctl->args[i])) != 0) {
      json_decref (*names);
      return ctl_fail (ctl, CTL_USAGE, "a key that is not valid UTF-8");
    }
  }
  return CTL_DONE;
}

/* One value alone; of several, each with its key. */
static enum ctl_status
print_values (struct ctl *ctl, json_t *names, json_t *result)
{
  enum ctl_status status;
  const char *value;
  json_t *name;
  size_t i;

  json_array_foreach (names, i, name)
  {
    status = ctl_unpack (ctl, result, "{s:{s:s}}", "values",
                         json_string_value (name), &value);
    if (status != CTL_DONE)
      return status;
    if (ctl->nr_args == 1)
      printf ("%s\n", value);
    else
      printf ("%s=%s\n", json_string_value (name), value);
  }
  return CTL_DONE;
}

enum ctl_status
ctl_get (struct ctl *ctl)
{
  json_t *names, *result;
  enum ctl_status status;

  if (ctl->live && ctl->nr_args > 0)
    return ctl_fail (ctl, CTL_USAGE, "--live is for all keys: name none");
  status = ctl->nr_args > 0 ? names_of_arguments (ctl, &names)
                            : names_of_keys (ctl, &names);
  if (status != CTL_DONE)
    return status;
  status = ctl_call (ctl, "get", json_pack ("{s:O}", "keys", names), &result);
  if (status == CTL_DONE) {
    if (ctl->json)
      ctl_print_json (result);
    else
      status = print_values (ctl, names, result);
    json_decref (result);
  }
  json_decref (names);
  return status;
}

/* ------------------------------------------------------------------------ */
/* exports                                                                   */

enum ctl_status
ctl_exports (struct ctl *ctl)
{
  static const struct table_column columns[] = {
    { "NAME", 0 },
    { "SIZE", TABLE_RIGHT },
    { "DESCRIPTION", TABLE_CUT },
  };
  struct table table = table_begin (columns, 3);
  json_t *result, *exports, *json;
  const char *name, *description;
  char size[FORMAT_BYTES];
  enum ctl_status status;
  json_int_t bytes;
  size_t i;

  ctl->export = NULL; /* it is about all of them */
  status = ctl_call (ctl, "exports", NULL, &result);
  if (status != CTL_DONE)
    return status;
  status = ctl_array (ctl, result, "exports", &exports);
  if (status == CTL_DONE && ctl->json)
    ctl_print_json (result);
  else if (status == CTL_DONE) {
    json_array_foreach (exports, i, json)
    {
      status = ctl_unpack (ctl, json, "{s:s, s:s, s:I}", "name", &name,
                           "description", &description, "size_bytes", &bytes);
      if (status != CTL_DONE)
        break;
      table_add (&table, *name != '\0' ? name : "(default)",
                 format_size (size, (uint64_t)bytes), description);
    }
    if (status == CTL_DONE)
      table_print (&table, ctl_columns (), stdout);
  }
  table_free (&table);
  json_decref (result);
  return status;
}
