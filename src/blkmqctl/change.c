/* SPDX-License-Identifier: BSD-3-Clause
 *
 * change.c: commands that change a disk: set, fault, power, freeze, unfreeze
 * and reset-stats; and inflight, which shows what they wait for.  One thread.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "blkmqctl/ctl.h"
#include "blkmqctl/format.h"
#include "blkmqctl/memory.h"
#include "blkmqctl/table.h"

/* ------------------------------------------------------------------------ */
/* set                                                                       */

enum ctl_status
ctl_set (struct ctl *ctl)
{
  json_t *settings = json_array ();

  for (int i = 0; i < ctl->nr_args; i++) {
    const char *equals = strchr (ctl->args[i], '=');
    json_t *setting;

    if (equals == NULL || equals == ctl->args[i]) {
      json_decref (settings);
      return ctl_fail (ctl, CTL_USAGE, "%s: must be KEY=VALUE", ctl->args[i]);
    }
    setting = json_pack ("{s:s%, s:s}", "key", ctl->args[i],
                         (size_t)(equals - ctl->args[i]), "value", equals + 1);
    if (json_array_append_new (settings, setting) != 0) {
      json_decref (settings);
      return ctl_fail (ctl, CTL_USAGE, "%s: not valid UTF-8", ctl->args[i]);
    }
  }
  return ctl_do (ctl, "set", json_pack ("{s:o}", "settings", settings));
}

/* ------------------------------------------------------------------------ */
/* fault                                                                     */

/* The parts of a rule may be arguments of their own. */
static enum ctl_status
add_fault (struct ctl *ctl)
{
  char *rule = copy_text ("");
  enum ctl_status status;
  json_t *result, *arguments;
  json_int_t id;

  for (int i = 1; i < ctl->nr_args; i++) {
    char *longer = make_text ("%s%s%s", rule, i > 1 ? "," : "", ctl->args[i]);

    free (rule);
    rule = longer;
  }
  arguments = json_pack ("{s:s}", "rule", rule);
  free (rule);
  if (arguments == NULL)
    return ctl_fail (ctl, CTL_USAGE, "a rule that is not valid UTF-8");
  status = ctl_call (ctl, "fault-add", arguments, &result);
  if (status != CTL_DONE)
    return status;
  status = ctl_unpack (ctl, result, "{s:I}", "fault", &id);
  if (status == CTL_DONE && ctl->json)
    ctl_print_json (result);
  else if (status == CTL_DONE)
    printf ("%" PRId64 "\n", (int64_t)id);
  json_decref (result);
  return status;
}

static enum ctl_status
delete_faults (struct ctl *ctl)
{
  json_int_t *ids = resize (NULL, (size_t)ctl->nr_args, sizeof *ids);
  enum ctl_status status = CTL_DONE;
  char *end;

  for (int i = 1; i < ctl->nr_args && status == CTL_DONE; i++) {
    const char *text = ctl->args[i];

    errno = 0;
    ids[i] = strtoll (text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0)
      status = ctl_fail (ctl, CTL_USAGE,
                         "%s: must be the id of a rule, as fault list has it",
                         text);
  }
  for (int i = 1; i < ctl->nr_args && status == CTL_DONE; i++)
    status = ctl_do (ctl, "fault-delete", json_pack ("{s:I}", "fault", ids[i]));
  free (ids);
  return status;
}

static enum ctl_status
list_faults (struct ctl *ctl)
{
  static const struct table_column columns[] = {
    { "ID", TABLE_RIGHT },
    { "HITS", TABLE_RIGHT },
    { "HELD", TABLE_RIGHT },
    { "RULE", TABLE_CUT },
  };
  struct table table = table_begin (columns, 4);
  char id[FORMAT_BYTES], hits[FORMAT_BYTES], held[FORMAT_BYTES];
  json_t *result, *faults, *json;
  enum ctl_status status;
  const char *rule;
  json_int_t n[3];
  size_t i;

  status = ctl_call (ctl, "fault-list", NULL, &result);
  if (status != CTL_DONE)
    return status;
  status = ctl_array (ctl, result, "faults", &faults);
  if (status == CTL_DONE && ctl->json)
    ctl_print_json (result);
  else if (status == CTL_DONE) {
    json_array_foreach (faults, i, json)
    {
      status = ctl_unpack (ctl, json, "{s:I, s:I, s:I, s:s}", "fault", &n[0],
                           "hits", &n[1], "held", &n[2], "rule", &rule);
      if (status != CTL_DONE)
        break;
      snprintf (id, sizeof id, "%" PRId64, (int64_t)n[0]);
      table_add (&table, id, format_count (hits, (uint64_t)n[1]),
                 format_count (held, (uint64_t)n[2]), rule);
    }
    if (status == CTL_DONE && table.nr_rows > 0)
      table_print (&table, ctl_columns (), stdout);
  }
  table_free (&table);
  json_decref (result);
  return status;
}

enum ctl_status
ctl_fault (struct ctl *ctl)
{
  const char *what = ctl->args[0];

  if (strcmp (what, "add") == 0) {
    ctl->name = "fault add";
    if (ctl->nr_args < 2)
      return ctl_fail (ctl, CTL_USAGE, "say a rule (blkmq-layers(7))");
    return add_fault (ctl);
  }
  if (strcmp (what, "del") == 0) {
    ctl->name = "fault del";
    if (ctl->nr_args < 2)
      return ctl_fail (ctl, CTL_USAGE, "say the id of a rule");
    return delete_faults (ctl);
  }
  if (strcmp (what, "list") == 0) {
    ctl->name = "fault list";
    if (ctl->nr_args > 1)
      return ctl_fail (ctl, CTL_USAGE, "'%s' is one argument too many",
                       ctl->args[1]);
    return list_faults (ctl);
  }
  return ctl_fail (ctl, CTL_USAGE, "'%s': say add, del or list", what);
}

/* ------------------------------------------------------------------------ */
/* power, freeze, unfreeze, reset-stats                                      */

enum ctl_status
ctl_power (struct ctl *ctl)
{
  bool on = strcmp (ctl->args[0], "on") == 0;

  if (!on && strcmp (ctl->args[0], "off") != 0)
    return ctl_fail (ctl, CTL_USAGE, "'%s': say on or off", ctl->args[0]);
  return ctl_do (ctl, "power", json_pack ("{s:b}", "on", on));
}

/* What a timeout has left with the driver is not waited for: name it. */
enum ctl_status
ctl_freeze (struct ctl *ctl)
{
  json_t *result, *held, *handle;
  enum ctl_status status;
  size_t i;

  status = ctl_call (ctl, "freeze", NULL, &result);
  if (status != CTL_DONE)
    return status;
  status = ctl_array (ctl, result, "held", &held);
  if (status == CTL_DONE && ctl->json)
    ctl_print_json (result);
  else if (status == CTL_DONE) {
    json_array_foreach (held, i, handle)
    {
      if (json_is_string (handle))
        printf ("%s is still with the driver, after a timeout\n",
                json_string_value (handle));
    }
  }
  json_decref (result);
  return status;
}

enum ctl_status
ctl_unfreeze (struct ctl *ctl)
{
  return ctl_do (ctl, "unfreeze", NULL);
}

enum ctl_status
ctl_reset_stats (struct ctl *ctl)
{
  return ctl_do (ctl, "reset-stats", NULL);
}

/* ------------------------------------------------------------------------ */
/* inflight                                                                  */

/* The word that says most about where a request is. */
static const char *
state_of (const char *state, bool held, bool ended, bool timed_out)
{
  if (!ended)
    return strcmp (state, "in_flight") == 0 ? "in flight" : state;
  if (timed_out)
    return held ? "timed out, held" : "timed out";
  return held ? "ended, held" : "ended";
}

static enum ctl_status
add_request (struct ctl *ctl, struct table *table, json_t *json)
{
  char offset_text[FORMAT_BYTES], hctx_text[FORMAT_BYTES];
  char size_text[FORMAT_BYTES], tag_text[FORMAT_BYTES];
  const char *handle, *op, *state;
  json_int_t offset, bytes;
  int hctx, tag, held, ended, timed_out;
  enum ctl_status status;

  status = ctl_unpack (
      ctl, json, "{s:s, s:s, s:I, s:I, s:i, s:i, s:s, s:b, s:b, s:b}", "handle",
      &handle, "op", &op, "offset_bytes", &offset, "bytes", &bytes, "hctx",
      &hctx, "tag", &tag, "state", &state, "held", &held, "ended", &ended,
      "timed_out", &timed_out);
  if (status != CTL_DONE)
    return status;
  snprintf (hctx_text, sizeof hctx_text, "%d", hctx);
  snprintf (tag_text, sizeof tag_text, "%d", tag);
  snprintf (offset_text, sizeof offset_text, "%" PRId64, (int64_t)offset);
  table_add (table, hctx_text, tag_text, op, offset_text,
             format_size (size_text, (uint64_t)bytes), handle,
             state_of (state, held, ended, timed_out));
  return CTL_DONE;
}

enum ctl_status
ctl_inflight (struct ctl *ctl)
{
  static const struct table_column columns[] = {
    { "HCTX", TABLE_RIGHT },
    { "TAG", TABLE_RIGHT },
    { "OP", 0 },
    { "OFFSET", TABLE_RIGHT },
    { "SIZE", TABLE_RIGHT },
    { "HANDLE", 0 },
    { "STATE", 0 },
  };
  struct table table = table_begin (columns, 7);
  json_t *result, *requests, *json, *arguments = NULL;
  enum ctl_status status;
  size_t i;
  int more;

  if (ctl->max > 0)
    arguments = json_pack ("{s:I}", "max", (json_int_t)ctl->max);
  status = ctl_call (ctl, "inflight", arguments, &result);
  if (status != CTL_DONE)
    return status;
  status = ctl_unpack (ctl, result, "{s:b}", "more", &more);
  if (status == CTL_DONE)
    status = ctl_array (ctl, result, "requests", &requests);
  if (status == CTL_DONE && ctl->json)
    ctl_print_json (result);
  else if (status == CTL_DONE) {
    json_array_foreach (requests, i, json)
    {
      status = add_request (ctl, &table, json);
      if (status != CTL_DONE)
        break;
    }
    if (status == CTL_DONE && table.nr_rows > 0)
      table_print (&table, ctl_columns (), stdout);
    if (status == CTL_DONE && more)
      printf ("and more than these %zu (see --max)\n", table.nr_rows);
  }
  table_free (&table);
  json_decref (result);
  return status;
}
