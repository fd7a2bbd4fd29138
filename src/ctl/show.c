/* SPDX-License-Identifier: BSD-3-Clause
 *
 * show.c: the commands that say what a disk is and how it is set.  The server's
 * thread.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/internal.h"

static json_t *
description (const struct control_export *front)
{
  char text[CONTROL_DESCRIPTION_BYTES] = "";

  front->describe (front, text, sizeof text);
  return json_text (text);
}

int
command_exports (struct call *call)
{
  json_t *result = json_object (), *exports = json_array (), *entry;
  bool ok = true;

  for (size_t i = 0; i < call->control->nr_exports; i++) {
    const struct control_export *front = call->control->exports[i].front;

    entry = json_object ();
    put (&ok, entry, "name", json_text (front->name));
    put (&ok, entry, "description", description (front));
    put (&ok, entry, "size_bytes",
         json_count (blkmq_disk_limits (front->disk)->size_bytes));
    append (&ok, exports, entry);
  }
  put (&ok, result, "exports", exports);
  return call_give (call, result, ok);
}

/* ------------------------------------------------------------------------ */
/* Keys                                                                      */

/* The value in force of KEY as a string; NULL with *ERROR. */
static json_t *
key_value (struct blkmq_disk *disk, const char *key, int *error,
           struct blkmq_error *message)
{
  size_t room = 256;
  char *text = NULL;
  json_t *value;
  int length;

  /* It may grow meanwhile, but not as fast. */
  for (;;) {
    char *more = realloc (text, room);

    if (more == NULL) {
      free (text);
      *error = -ENOMEM;
      return NULL;
    }
    text = more;
    length = blkmq_disk_get_key (disk, key, text, room, message);
    if (length < 0) {
      free (text);
      *error = length;
      return NULL;
    }
    if ((size_t)length < room)
      break;
    room = 2 * (size_t)length + 1;
  }
  value = json_text (text);
  free (text);
  if (value == NULL)
    *error = -ENOMEM;
  return value;
}

int
command_get (struct call *call)
{
  json_t *keys = json_object_get (call->request, "keys");
  json_t *result, *values = json_object (), *value;
  bool ok = true;
  int error;

  for (size_t i = 0; i < json_array_size (keys); i++) {
    const char *key = json_string_value (json_array_get (keys, i));

    value = key_value (call->export->front->disk, key, &error, &call->message);
    if (value == NULL) {
      json_decref (values);
      return error;
    }
    put (&ok, values, key, value);
  }
  result = json_object ();
  put (&ok, result, "values", values);
  return call_give (call, result, ok);
}

static const char *const type_names[] = {
  [BLKMQ_KEY_BOOL] = "bool", [BLKMQ_KEY_INT] = "int",
  [BLKMQ_KEY_SIZE] = "size", [BLKMQ_KEY_TIME] = "time",
  [BLKMQ_KEY_ENUM] = "enum", [BLKMQ_KEY_STRING] = "string",
};

struct key_list {
  struct blkmq_disk *disk;
  json_t *keys;
  bool ok;
};

static int
list_key (const struct blkmq_key *key, void *opaque)
{
  struct key_list *list = opaque;
  json_t *entry = json_object ();
  char allowed[1024];
  int error = 0;

  blkmq_key_allowed (key, allowed, sizeof allowed);
  put (&list->ok, entry, "key", json_text (key->name));
  put (&list->ok, entry, "value",
       key_value (list->disk, key->name, &error, NULL));
  put (&list->ok, entry, "default", json_text (key->default_value));
  put (&list->ok, entry, "live", json_boolean (key->live));
  put (&list->ok, entry, "type", json_text (type_names[key->type]));
  put (&list->ok, entry, "unit", json_text (key->unit));
  put (&list->ok, entry, "allowed", json_text (allowed));
  put (&list->ok, entry, "help", json_text (key->help));
  append (&list->ok, list->keys, entry);
  return error;
}

/* ------------------------------------------------------------------------ */
/* show                                                                      */

static json_t *
show_limits (bool *ok, const struct blkmq_limits *limits)
{
  json_t *o = json_object ();

  put (ok, o, "logical_block_bytes", json_count (limits->logical_block_bytes));
  put (ok, o, "max_transfer_bytes", json_count (limits->max_transfer_bytes));
  put (ok, o, "max_segments", json_count (limits->max_segments));
  put (ok, o, "max_discard_bytes", json_count (limits->max_discard_bytes));
  put (ok, o, "max_write_zeroes_bytes",
       json_count (limits->max_write_zeroes_bytes));
  put (ok, o, "rotational", json_boolean (limits->rotational));
  put (ok, o, "read_only", json_boolean (limits->read_only));
  put (ok, o, "volatile_cache", json_boolean (limits->volatile_cache));
  put (ok, o, "fua", json_boolean (limits->fua));
  return o;
}

static json_t *
show_queues (bool *ok, const struct blkmq_disk *disk)
{
  struct blkmq_queues queues;
  json_t *o = json_object ();

  blkmq_disk_queues (disk, &queues);
  put (ok, o, "submit_queues", json_count (queues.submit_queues));
  put (ok, o, "poll_queues", json_count (queues.poll_queues));
  put (ok, o, "hw_queue_depth", json_count (queues.hw_queue_depth));
  return o;
}

static json_t *
show_hctxs (bool *ok, const struct blkmq_disk *disk)
{
  static const char *const names[BLKMQ_NR_HCTX_TYPES]
      = { [BLKMQ_HCTX_TYPE_DEFAULT] = "default",
          [BLKMQ_HCTX_TYPE_READ] = "read",
          [BLKMQ_HCTX_TYPE_POLL] = "poll" };
  json_t *array = json_array (), *entry;
  unsigned nr = blkmq_disk_nr_hw_queues (disk);

  for (unsigned i = 0; i < nr; i++) {
    entry = json_object ();
    put (ok, entry, "index", json_count (i));
    put (ok, entry, "type", json_text (names[blkmq_disk_hctx_type (disk, i)]));
    append (ok, array, entry);
  }
  return array;
}

int
command_show (struct call *call)
{
  const struct control_export *front = call->export->front;
  struct blkmq_disk *disk = front->disk;
  const struct blkmq_limits *limits = blkmq_disk_limits (disk);
  struct key_list list = { disk, json_array (), true };
  json_t *o = json_object ();
  char seed[24];
  int error = 0;

  snprintf (seed, sizeof seed, "%" PRIu64, blkmq_disk_seed (disk));
  put (&list.ok, o, "name", json_text (front->name));
  put (&list.ok, o, "description", description (front));
  put (&list.ok, o, "driver", json_text (blkmq_disk_driver_name (disk)));
  put (&list.ok, o, "size_bytes", json_count (limits->size_bytes));
  put (&list.ok, o, "seed", json_text (seed));
  put (&list.ok, o, "power", json_boolean (blkmq_disk_has_power (disk)));
  put (&list.ok, o, "freezes", json_count (export_nr_freezes (call->export)));
  put (&list.ok, o, "limits", show_limits (&list.ok, limits));
  put (&list.ok, o, "queues", show_queues (&list.ok, disk));
  put (&list.ok, o, "hctxs", show_hctxs (&list.ok, disk));
  /* Not blkmq_disk_scheduler: that must not race with set. */
  put (&list.ok, o, "scheduler",
       key_value (disk, "scheduler", &error, &call->message));

  if (error == 0)
    error = blkmq_disk_for_each_key (disk, list_key, &list);
  put (&list.ok, o, "keys", list.keys);
  if (error < 0) {
    json_decref (o);
    return error;
  }
  return call_give (call, o, list.ok);
}
