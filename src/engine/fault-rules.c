/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fault-rules.c: rules of faults, of a disk as a whole: which level takes a
 * rule, and its id.  Any thread, several at once.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>

#include "blkmq-control.h"
#include "engine/config.h"
#include "engine/fault-rules.h"

/* ---- ids ---- */

static int
note_id (const struct blkmq_fault *fault, void *opaque)
{
  uint64_t *last = opaque;

  if (fault->id > *last)
    *last = fault->id;
  return 0;
}

/* Nothing runs yet. */
void
fault_number_first (struct blkmq_disk *disk)
{
  blkmq_disk_for_each_fault (disk, note_id, &disk->last_fault_id);
}

/* ---- adding ---- */

/* -EAGAIN: no level takes it. */
static int
offer_locked (struct blkmq_disk *disk, const char *rule, uint64_t *id,
              bool *has_layer, struct blkmq_error *error)
{
  const struct blkmq_driver *ops;
  void *data;
  int r = -EAGAIN;

  *has_layer = false;
  for (unsigned i = 0; r == -EAGAIN; i++) {
    ops = stack_level (disk->stack, i, &data);
    if (ops == NULL)
      break;
    if (ops->add_fault == NULL)
      continue;
    *has_layer = true;
    r = ops->add_fault (data, rule, id, error);
  }
  return r;
}

int
blkmq_disk_add_fault (struct blkmq_disk *disk, const char *rule, uint64_t *id,
                      struct blkmq_error *error)
{
  struct text text;
  bool has_layer;
  uint64_t next;
  int r;

  pthread_mutex_lock (&disk->level_lock);
  next = disk->last_fault_id + 1;
  r = offer_locked (disk, rule, &next, &has_layer, error);
  if (r == 0)
    *id = disk->last_fault_id = next;
  pthread_mutex_unlock (&disk->level_lock);
  if (r != -EAGAIN)
    return r;
  text = text_begin_error (error);
  text_add (&text, "fault=");
  text_add_path (&text, rule);
  text_add (&text,
            ": this disk has no fault layer%s; it needs to be started with "
            "live=1, or with a rule for that place",
            has_layer ? " at that place" : "");
  return -EOPNOTSUPP;
}

/* ---- the others ---- */

/* Without the lock: what goes on may end, and end_io be called. */
int
blkmq_disk_delete_fault (struct blkmq_disk *disk, uint64_t id,
                         struct blkmq_error *error)
{
  const struct blkmq_driver *ops;
  void *data;
  int r = -ENOENT;

  for (unsigned i = 0; r == -ENOENT; i++) {
    ops = stack_level (disk->stack, i, &data);
    if (ops == NULL)
      return error_set (error, r, "there is no fault %" PRIu64, id);
    if (ops->delete_fault != NULL)
      r = ops->delete_fault (data, id);
  }
  return r;
}

int
blkmq_disk_for_each_fault (struct blkmq_disk *disk,
                           int (*fn) (const struct blkmq_fault *fault,
                                      void *opaque),
                           void *opaque)
{
  const struct blkmq_driver *ops;
  void *data;
  int r = 0;

  for (unsigned i = 0; r == 0; i++) {
    ops = stack_level (disk->stack, i, &data);
    if (ops == NULL)
      break;
    if (ops->for_each_fault != NULL)
      r = ops->for_each_fault (data, fn, opaque);
  }
  return r;
}
