/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fault.c: the commands that make a disk fail: rules of its fault layer, on the
 * server's thread, so that they can end what a blocked command waits for; and
 * its power, which blocks, on a worker.
 */

#include <config.h>

#include <errno.h>

#include "ctl/internal.h"

/* ---- faults ---- */

int
command_fault_add (struct call *call)
{
  const char *rule
      = json_string_value (json_object_get (call->request, "rule"));
  json_t *result;
  uint64_t id;
  bool ok = true;
  int r;

  r = blkmq_disk_add_fault (call_disk (call), rule, &id, &call->message);
  if (r < 0)
    return r;
  result = json_object ();
  put (&ok, result, "fault", json_count (id));
  return call_give (call, result, ok);
}

int
command_fault_delete (struct call *call)
{
  json_t *id = json_object_get (call->request, "fault");

  return blkmq_disk_delete_fault (
      call_disk (call), (uint64_t)json_integer_value (id), &call->message);
}

struct fault_list {
  json_t *faults;
  bool ok;
};

static int
list_fault (const struct blkmq_fault *fault, void *opaque)
{
  struct fault_list *list = opaque;
  json_t *entry = json_object ();

  put (&list->ok, entry, "fault", json_count (fault->id));
  put (&list->ok, entry, "rule", json_text (fault->rule));
  put (&list->ok, entry, "hits", json_count (fault->hits));
  put (&list->ok, entry, "held", json_count (fault->nr_held));
  append (&list->ok, list->faults, entry);
  return 0;
}

int
command_fault_list (struct call *call)
{
  struct fault_list list = { json_array (), true };
  json_t *result = json_object ();
  int r = blkmq_disk_for_each_fault (call_disk (call), list_fault, &list);

  put (&list.ok, result, "faults", list.faults);
  if (r < 0) {
    json_decref (result);
    return r;
  }
  return call_give (call, result, list.ok);
}

/* ---- power ---- */

int
command_power (struct call *call)
{
  return blkmq_disk_set_power (
      call_disk (call), json_is_true (json_object_get (call->request, "on")),
      &call->message);
}
