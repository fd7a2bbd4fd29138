/* SPDX-License-Identifier: BSD-3-Clause
 *
 * config-check.c: the checks of a configuration that need more than one of its
 * keys.  One thread at a time per configuration.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "blkmq-driver.h"
#include "engine/config.h"
#include "engine/elevator.h"
#include "engine/hctx.h"
#include "engine/map.h"
#include "engine/stack.h"

/* Keys that came before driver= have not been looked at until now. */
static int
check_driver_keys (const struct blkmq_config *config, struct blkmq_error *error)
{
  const struct blkmq_driver *driver = config_driver (config);
  const struct blkmq_key *key;
  uint64_t number;
  size_t i;
  int r;

  for (i = 0; i < config->nr_entries; i++) {
    const struct config_entry *entry = &config->entries[i];

    if (key_find_engine (entry->name) != NULL)
      continue;
    key = key_find_driver (driver, entry->name);
    if (key == NULL) {
      /* Nobody's, and no driver was named: it may be any driver's. */
      if (config->driver == NULL && key_find_owner (entry->name) == NULL)
        driver = NULL;
      return no_such_key (config, entry->name, entry->value, driver, error);
    }
    r = key_parse (key, entry->value, &number, error);
    if (r < 0)
      return r;
  }
  return 0;
}

static int
check_scheduler (const struct blkmq_config *config, struct blkmq_error *error)
{
  uint64_t depth = blkmq_config_number (config, "hw_queue_depth");
  uint64_t nr_requests = blkmq_config_number (config, "nr_requests");
  struct text text;

  if (sched_table[blkmq_config_number (config, "scheduler")]->alloc == NULL)
    return 0;
  if (elevator_fits (depth, nr_requests))
    return 0;
  text = text_begin_error (error);
  text_add (&text,
            "nr_requests=%" PRIu64 ": contradicts hw_queue_depth=%" PRIu64 "; ",
            nr_requests, depth);
  text_add (&text,
            "with a scheduler it must be 0 (twice the depth) or more than that,"
            " and both together at most %u",
            ELEVATOR_MAX_NAMES);
  return -EINVAL;
}

/* DRIVER NULL: the keys are the engine's. */
static int
check_required (const struct blkmq_config *config, const struct blkmq_key *keys,
                size_t nr_keys, const struct blkmq_driver *driver,
                struct blkmq_error *error)
{
  struct text text;
  char allowed[256];
  size_t i;

  for (i = 0; i < nr_keys; i++) {
    if (!keys[i].required || config_entry (config, keys[i].name) != NULL)
      continue;
    blkmq_key_allowed (&keys[i], allowed, sizeof allowed);
    text = text_begin_error (error);
    text_add (&text, "%s: required%s%s; must be %s", keys[i].name,
              driver != NULL ? " by driver=" : "",
              driver != NULL ? driver->name : "", allowed);
    return -EINVAL;
  }
  return 0;
}

/* A time that nothing would obey is a mistake, whatever its value. */
int
config_check_unused (const struct blkmq_config *config, const char *name,
                     struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  if ((strcmp (name, "completion_nsec") != 0 && strcmp (name, "spin_ns") != 0)
      || blkmq_config_number (config, "irqmode") == IRQMODE_TIMER
      || !blkmq_config_is_set (config, name))
    return 0;
  text_add (&text, "%s=", name);
  text_add_value (&text, blkmq_config_string (config, name));
  text_add (&text, ": contradicts irqmode=%s; needs irqmode=timer",
            blkmq_config_string (config, "irqmode"));
  return -EINVAL;
}

/* What the layers, and the driver, know of their keys. */
static int
check_levels (const struct blkmq_config *config, struct blkmq_error *error)
{
  const struct blkmq_driver *driver = config_driver (config);
  int r = 0;

  for (size_t i = 0; blkmq_layers[i] != NULL && r == 0; i++) {
    if (blkmq_layers[i]->check != NULL)
      r = blkmq_layers[i]->check (config, error);
  }
  if (r == 0 && driver->check != NULL)
    r = driver->check (config, error);
  return r;
}

int
config_check_values (struct blkmq_config *config, struct blkmq_error *error)
{
  const struct blkmq_driver *driver;
  struct text text;
  uint64_t blocksize, max_sectors;
  int r;

  assert (config != NULL);

  driver = config_driver (config);
  r = check_driver_keys (config, error);
  if (r == 0)
    r = check_required (config, engine_keys, nr_engine_keys, NULL, error);
  if (r == 0)
    r = check_required (config, driver->keys, driver->nr_keys, driver, error);
  if (r < 0)
    return r;

  text = text_begin_error (error);

  /* A request carries whole blocks only. */
  blocksize = blkmq_config_number (config, "blocksize");
  max_sectors = blkmq_config_number (config, "max_sectors");
  if (max_sectors * 512 % blocksize != 0) {
    text_add (&text, "max_sectors=%s: contradicts blocksize=%s; ",
              blkmq_config_string (config, "max_sectors"),
              blkmq_config_string (config, "blocksize"));
    text_add (&text,
              "must be 0 or a multiple of %" PRIu64 " (512-byte sectors)",
              blocksize / 512);
    return -EINVAL;
  }

  r = map_check_counts (config_driver (config),
                        (unsigned)blkmq_config_number (config, "submit_queues"),
                        (unsigned)blkmq_config_number (config, "poll_queues"),
                        error);
  if (r < 0)
    return r;

  r = check_scheduler (config, error);
  if (r < 0)
    return r;
  return check_levels (config, error);
}

int
blkmq_config_check (struct blkmq_config *config, struct blkmq_error *error)
{
  int r = config_check_values (config, error);

  for (size_t i = 0; i < config->nr_entries && r == 0; i++)
    r = config_check_unused (config, config->entries[i].name, error);
  return r;
}
