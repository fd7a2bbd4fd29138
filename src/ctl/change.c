/* SPDX-License-Identifier: BSD-3-Clause
 *
 * change.c: the commands that change how a disk is set, and hold it.  set and
 * freeze block, and run on a worker; unfreeze does not.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "ctl/internal.h"

/* The most that freeze lists. */
#define MAX_HELD 1000u

int
command_set (struct call *call)
{
  json_t *array = json_object_get (call->request, "settings");
  size_t nr = json_array_size (array);
  struct blkmq_setting *settings = calloc (nr, sizeof *settings);
  int r;

  if (settings == NULL)
    return -ENOMEM;
  for (size_t i = 0; i < nr; i++) {
    json_t *setting = json_array_get (array, i);

    settings[i].key = json_string_value (json_object_get (setting, "key"));
    settings[i].value = json_string_value (json_object_get (setting, "value"));
  }
  r = blkmq_disk_set (call_disk (call), settings, nr, &call->message);
  free (settings);
  return r;
}

int
command_reset_stats (struct call *call)
{
  return blkmq_disk_reset_stats (call_disk (call));
}

/* ---- freeze ---- */

int
command_freeze (struct call *call)
{
  blkmq_handle *held = calloc (MAX_HELD, sizeof *held);
  json_t *result, *array;
  bool ok = true;
  int nr;

  if (held == NULL)
    return -ENOMEM;
  nr = export_freeze (call->export, held, MAX_HELD);
  if (nr < 0) {
    free (held);
    return nr;
  }
  result = json_object ();
  array = json_array ();
  for (unsigned i = 0; i < (unsigned)nr && i < MAX_HELD; i++)
    append (&ok, array, json_handle (held[i]));
  put (&ok, result, "held", array);
  put (&ok, result, "nr_held", json_count ((uint64_t)nr));
  free (held);
  if (!ok)
    export_unfreeze (call->export); /* an error changes nothing */
  return call_give (call, result, ok);
}

int
command_unfreeze (struct call *call)
{
  int r = export_unfreeze (call->export);

  if (r < 0)
    return call_fail (call, -r, "no client has frozen this disk");
  return 0;
}
