/* SPDX-License-Identifier: BSD-3-Clause
 *
 * power.c: cuts the power of a disk and brings it back.  Any thread that may
 * block; change_lock lets one at a time.
 *
 * Off is a flag of each hctx, and what it does is what removal does, as far as
 * that can be undone: nothing new starts, what has started is claimed.  Then
 * driver and layers let go of what they hold, and the disk is frozen for as
 * long as they need to forget what is lost.
 */

#include <config.h>

#include <errno.h>

#include "blkmq-control.h"
#include "engine/disk.h"
#include "engine/freeze.h"
#include "engine/power.h"
#include "engine/thread.h"
#include "engine/update.h"

/* The ops of who has not been stopped yet. */
enum { POWER_OFF, POWER_LOST, POWER_ON };

static void
tell_driver (struct blkmq_disk *disk, int what)
{
  const struct blkmq_driver *driver = disk->driver;

  pthread_mutex_lock (&disk->level_lock);
  if (!update_is_removed (disk)) {
    if (what == POWER_LOST && driver->power_lost != NULL)
      driver->power_lost (disk->driver_data);
    else if (what != POWER_LOST && driver->power != NULL)
      driver->power (disk->driver_data, what == POWER_ON);
  }
  pthread_mutex_unlock (&disk->level_lock);
}

/* False: the disk is removed. */
static bool
set_off (struct blkmq_disk *disk, bool off)
{
  bool removed;

  pthread_mutex_lock (&disk->control_lock);
  removed = disk->removed;
  if (!removed) {
    atomic_store (&disk->is_off, off);
    freeze_set_off_locked (disk, off);
  }
  pthread_mutex_unlock (&disk->control_lock);
  return !removed;
}

static int
cut (struct blkmq_disk *disk)
{
  int r;

  if (!set_off (disk, true))
    return -ENODEV;
  freeze_end_all (disk);
  tell_driver (disk, POWER_OFF);
  if (disk->inner != NULL)
    cut (disk->inner);
  r = blkmq_freeze (disk, NULL, 0);
  if (r < 0)
    return r;
  tell_driver (disk, POWER_LOST);
  blkmq_unfreeze (disk);
  return 0;
}

static int
bring_back (struct blkmq_disk *disk)
{
  int r = blkmq_freeze (disk, NULL, 0);

  if (r < 0)
    return r;
  if (disk->inner != NULL)
    bring_back (disk->inner);
  tell_driver (disk, POWER_ON);
  if (!set_off (disk, false))
    r = -ENODEV;
  blkmq_unfreeze (disk);
  return r < 0 ? r : 0;
}

int
power_set_locked (struct blkmq_disk *disk, bool on, struct blkmq_error *error)
{
  int r = 0;

  if (update_is_removed (disk))
    r = -ENODEV;
  else if (blkmq_disk_has_power (disk) != on)
    r = on ? bring_back (disk) : cut (disk);
  if (r < 0)
    error_set (error, r, "power=%d: the disk was removed", on);
  return r;
}

int
blkmq_disk_set_power (struct blkmq_disk *disk, bool on,
                      struct blkmq_error *error)
{
  int r;

  if (thread_must_not_block (thread_self ()))
    return error_set (error, -EDEADLK,
                      "power=%d: cannot be changed from a callback", on);
  pthread_mutex_lock (&disk->change_lock);
  r = power_set_locked (disk, on, error);
  pthread_mutex_unlock (&disk->change_lock);
  return r;
}

bool
blkmq_disk_has_power (const struct blkmq_disk *disk)
{
  return !atomic_load (&disk->is_off);
}

void
power_start_off (struct blkmq_disk *disk)
{
  set_off (disk, true);
  tell_driver (disk, POWER_OFF);
}
