/* SPDX-License-Identifier: BSD-3-Clause
 *
 * control.c: changes the settings of a running disk.  Any thread that may
 * block; one change at a time.
 *
 * The disk's own copy of its configuration is what is in force.  A change works
 * on a copy of that one, which takes its place when everything else has been
 * done.  What can fail comes first: checks, memory, whatever a live update
 * prepares, then driver and layers, which take their part back if a later one
 * fails.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blkmq-control.h"
#include "engine/config.h"
#include "engine/disk.h"
#include "engine/iostat.h"
#include "engine/power.h"
#include "engine/sched.h"
#include "engine/thread.h"
#include "engine/timeout.h"
#include "engine/update.h"

/* ---- keys ---- */

/* Those that only a live update can change: pools depend on them. */
static const char *const queue_keys[]
    = { "submit_queues", "poll_queues", "hw_queue_depth" };
/* And those that other calls change as well. */
static const char *const shared_keys[]
    = { "submit_queues", "poll_queues", "hw_queue_depth", "scheduler" };
static const char *const sched_keys[]
    = { "nr_requests", "read_expire",    "write_expire", "prio_aging_expire",
        "fifo_batch",  "writes_starved", "front_merges" };

/* The disk's key NAME, or NULL. */
static const struct blkmq_key *
find_key (const struct blkmq_disk *disk, const char *name)
{
  const struct blkmq_key *key = key_find_engine (name);

  if (key == NULL)
    key = key_find_driver (stack_driver (disk->stack), name);
  return key;
}

static int
no_key (const struct blkmq_disk *disk, const char *name, const char *value,
        struct blkmq_error *error)
{
  return no_such_key (disk->config, name, value, stack_driver (disk->stack),
                      error);
}

static bool
is_one_of (const char *name, const char *const *names, size_t nr)
{
  for (size_t i = 0; i < nr; i++) {
    if (strcmp (name, names[i]) == 0)
      return true;
  }
  return false;
}
#define IS_ONE_OF(name, names)                                                 \
  is_one_of (name, names, sizeof names / sizeof names[0])

/* Live updates of another disk of the set, or by other calls, have changed the
 * queues and the scheduler, and not the configuration. */
static const char *
changed_elsewhere (const struct blkmq_disk *disk, const char *name, char *buf,
                   size_t buf_bytes)
{
  struct blkmq_queues queues;
  unsigned value;

  if (strcmp (name, "scheduler") == 0)
    return blkmq_disk_scheduler (disk);
  if (strcmp (name, "power") == 0)
    return blkmq_disk_has_power (disk) ? "1" : "0";
  if (!IS_ONE_OF (name, queue_keys))
    return NULL;
  blkmq_disk_queues (disk, &queues);
  value = strcmp (name, "submit_queues") == 0 ? queues.submit_queues
          : strcmp (name, "poll_queues") == 0 ? queues.poll_queues
                                              : queues.hw_queue_depth;
  snprintf (buf, buf_bytes, "%u", value);
  return buf;
}

/* ---- a change ---- */

struct change {
  const struct blkmq_setting *settings;
  size_t nr_settings;
  struct blkmq_config *config; /* the new one */
  struct hctx_options options; /* of it */
};

static bool
has_any (const struct change *change, const char *const *names, size_t nr)
{
  for (size_t i = 0; i < change->nr_settings; i++) {
    if (is_one_of (change->settings[i].key, names, nr))
      return true;
  }
  return false;
}
#define HAS_ANY(change, names)                                                 \
  has_any (change, names, sizeof names / sizeof names[0])

/* NULL: none. */
static const char *
value_given (const struct change *change, const char *name)
{
  for (size_t i = 0; i < change->nr_settings; i++) {
    if (strcmp (change->settings[i].key, name) == 0)
      return change->settings[i].value;
  }
  return NULL;
}

/* Is it there, who has the key? */
static bool
has_owner (const struct blkmq_disk *disk, const char *name)
{
  const struct blkmq_driver *ops;
  void *data;

  if (key_find (engine_keys, nr_engine_keys, name) != NULL)
    return true;
  for (unsigned i = 0; (ops = stack_level (disk->stack, i, &data)) != NULL;
       i++) {
    if (key_find (ops->keys, ops->nr_keys, name) != NULL)
      return true;
  }
  return false;
}

static int
check_setting (const struct blkmq_disk *disk, const struct change *change,
               size_t index, struct blkmq_error *error)
{
  const struct blkmq_setting *setting = &change->settings[index];
  const struct blkmq_key *key = find_key (disk, setting->key);
  struct text text;

  if (key == NULL)
    return no_key (disk, setting->key, setting->value, error);
  text = text_begin_error (error);
  text_add (&text, "%s=", setting->key);
  text_add_value (&text, setting->value);
  if (!key->live) {
    text_add (&text, ": cannot be changed while the disk runs");
    return -EINVAL;
  }
  if (!has_owner (disk, setting->key)) {
    text_add (&text, ": this disk has no such layer; it needs to be started "
                     "with live=1, or with the key set");
    return -EOPNOTSUPP;
  }
  for (size_t i = 0; i < index; i++) {
    if (strcmp (change->settings[i].key, setting->key) == 0) {
      text_add (&text, ": given twice, first as %s=", setting->key);
      text_add_value (&text, change->settings[i].value);
      text_add (&text, "; once is allowed");
      return -EINVAL;
    }
  }
  return 0;
}

/* Make the new configuration: what is in force, and the settings. */
static int
make_config (const struct blkmq_disk *disk, struct change *change,
             struct blkmq_error *error)
{
  int r = 0;

  change->config = config_clone (disk->config);
  if (change->config == NULL)
    return error_set (error, -ENOMEM, "no memory for a change of settings");
  for (size_t i = 0; i < sizeof shared_keys / sizeof shared_keys[0] && r == 0;
       i++) {
    char value[16];

    config_forget (change->config, shared_keys[i]);
    r = blkmq_config_set (
        change->config, shared_keys[i],
        changed_elsewhere (disk, shared_keys[i], value, sizeof value), error);
  }
  for (size_t i = 0; i < change->nr_settings && r == 0; i++) {
    r = check_setting (disk, change, i, error);
    if (r < 0)
      break;
    config_forget (change->config, change->settings[i].key);
    r = blkmq_config_set (change->config, change->settings[i].key,
                          change->settings[i].value, error);
  }
  if (r == 0)
    r = config_check_values (change->config, error);
  for (size_t i = 0; i < change->nr_settings && r == 0; i++)
    r = config_check_unused (change->config, change->settings[i].key, error);
  return r;
}

/* ---- values that say what is to change ---- */

/* What LEVEL makes of VALUE is NAME's value in CONFIG. */
static int
resolve_key (const struct blkmq_driver *ops, void *data, const char *name,
             const char *value, struct blkmq_config *config,
             struct blkmq_error *error)
{
  int bytes = ops->resolve (data, name, value, NULL, 0, error), r;
  char *text;

  if (bytes < 0)
    return bytes == -ENOENT ? 0 : bytes;
  text = malloc ((size_t)bytes + 1);
  if (text == NULL)
    return error_set (error, -ENOMEM, "no memory for a change of settings");
  r = ops->resolve (data, name, value, text, (size_t)bytes + 1, error);
  config_forget (config, name);
  if (r >= 0)
    r = blkmq_config_set (config, name, text, error);
  free (text);
  return r;
}

/* Such values are looked at now that nothing can change them, in what is in
 * force as well: that is what an undo needs. */
static int
resolve_values (struct blkmq_disk *disk, struct change *change,
                struct blkmq_error *error)
{
  const struct blkmq_driver *ops;
  void *data;
  int r = 0;

  for (unsigned i = 0; (ops = stack_level (disk->stack, i, &data)) != NULL;
       i++) {
    for (size_t k = 0; ops->resolve != NULL && k < ops->nr_keys && r == 0;
         k++) {
      const char *name = ops->keys[k].name;

      r = resolve_key (ops, data, name, NULL, disk->config, error);
      if (r == 0)
        r = resolve_key (ops, data, name, value_given (change, name),
                         change->config, error);
    }
  }
  return r;
}

/* Whoever has dispatched the last requests may still be ringing a doorbell. */
static void
wait_doorbells (struct blkmq_disk *disk)
{
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++)
    thread_wait_dispatching (disk_hctx (disk, i));
}

static void
set_options (struct blkmq_disk *disk, const struct hctx_options *options)
{
  bool timeout_changes
      = options->io_timeout_ns != disk->hctx_options.io_timeout_ns;

  disk->hctx_options = *options;
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++) {
    hctx_set_options (disk_hctx (disk, i), options);
    if (timeout_changes && options->io_timeout_ns != 0)
      timeout_restart_scan (disk_hctx (disk, i));
  }
}

/* Nothing is under way, or the disk is on its way out. */
static int
change_frozen (struct blkmq_disk *disk, void *opaque, struct blkmq_error *error)
{
  struct change *change = opaque;
  struct blkmq_config *old;
  struct hctx_options options;
  bool has_inner;
  int r;

  wait_doorbells (disk);
  /* Of what is below a cache some may be. */
  has_inner = disk->inner != NULL && blkmq_freeze (disk->inner, NULL, 0) >= 0;
  if (has_inner)
    wait_doorbells (disk->inner);
  pthread_mutex_lock (&disk->level_lock);
  if (update_is_removed (disk))
    r = error_set (error, -ENODEV, "the disk was removed");
  else
    r = resolve_values (disk, change, error);
  if (r == 0)
    r = stack_change (disk->stack, disk->config, change->config,
                      change->settings, change->nr_settings, error);
  if (r == 0) {
    old = disk->config;
    disk->config = change->config;
    change->config = old;
  }
  pthread_mutex_unlock (&disk->level_lock);
  if (r == 0)
    set_options (disk, &change->options);
  if (r == 0 && has_inner) {
    options = change->options;
    disk_inner_options (&options);
    set_options (disk->inner, &options);
  }
  if (has_inner)
    blkmq_unfreeze (disk->inner);
  return r;
}

static int
change_queues (struct blkmq_disk *disk, struct change *change,
               struct blkmq_error *error)
{
  struct update_wanted wanted = { .frozen = change_frozen, .opaque = change };
  struct blkmq_queues queues = {
    .submit_queues
    = (unsigned)blkmq_config_number (change->config, "submit_queues"),
    .poll_queues
    = (unsigned)blkmq_config_number (change->config, "poll_queues"),
    .hw_queue_depth
    = (unsigned)blkmq_config_number (change->config, "hw_queue_depth"),
  };

  if (HAS_ANY (change, queue_keys))
    wanted.queues = &queues;
  wanted.sched_ops
      = sched_table[blkmq_config_number (change->config, "scheduler")];
  if (HAS_ANY (change, sched_keys))
    wanted.options = &change->options;
  return disk_update (disk, &wanted, error);
}

static int
change_others (struct blkmq_disk *disk, struct change *change,
               struct blkmq_error *error)
{
  int r = blkmq_freeze (disk, NULL, 0);

  if (r < 0)
    return error_set (error, r, "the disk was removed");
  r = change_frozen (disk, change, error);
  blkmq_unfreeze (disk);
  return r;
}

static int
prepare_iostats (struct blkmq_disk *disk, const struct change *change,
                 struct blkmq_error *error)
{
  int r = 0;

  for (unsigned i = 0;
       i < disk_nr_hctxs (disk) && change->options.iostats && r == 0; i++)
    r = iostat_prepare (disk_hctx (disk, i));
  return r < 0 ? error_set (error, r, "iostats=1: no memory") : 0;
}

int
blkmq_disk_set (struct blkmq_disk *disk, const struct blkmq_setting *settings,
                size_t nr_settings, struct blkmq_error *error)
{
  static const char *const power_key[] = { "power" };
  struct change change = { .settings = settings, .nr_settings = nr_settings };
  int r;

  if (thread_must_not_block (thread_self ()))
    return error_set (error, -EDEADLK,
                      "settings cannot be changed from a callback");
  pthread_mutex_lock (&disk->change_lock);
  r = make_config (disk, &change, error);
  if (r == 0) {
    disk_read_options (&change.options, change.config);
    r = prepare_iostats (disk, &change, error);
  }
  if (r == 0 && nr_settings > 0) {
    if (HAS_ANY (&change, shared_keys) || HAS_ANY (&change, sched_keys))
      r = change_queues (disk, &change, error);
    else
      r = change_others (disk, &change, error);
  }
  if (r == 0 && HAS_ANY (&change, power_key))
    r = power_set_locked (
        disk, blkmq_config_number (disk->config, "power") != 0, error);
  blkmq_config_free (change.config); /* what is not in force */
  pthread_mutex_unlock (&disk->change_lock);
  return r;
}

/* ---- reading ---- */

/* What the level that has the key says of it.  -ENOENT: it has nothing to add.
 */
static int
show_level (const struct blkmq_disk *disk, const char *name, char *buf,
            size_t buf_bytes)
{
  const struct blkmq_driver *ops;
  void *data;

  for (unsigned i = 0; (ops = stack_level (disk->stack, i, &data)) != NULL;
       i++) {
    if (ops->show != NULL && key_find (ops->keys, ops->nr_keys, name) != NULL)
      return ops->show (data, name, buf, buf_bytes);
  }
  return -ENOENT;
}

int
blkmq_disk_get_key (struct blkmq_disk *disk, const char *name, char *buf,
                    size_t buf_bytes, struct blkmq_error *error)
{
  const char *value;
  char number[16];
  int r;

  pthread_mutex_lock (&disk->level_lock);
  if (find_key (disk, name) == NULL)
    r = no_key (disk, name, "", error);
  else
    r = show_level (disk, name, buf, buf_bytes);
  if (r == -ENOENT) {
    value = changed_elsewhere (disk, name, number, sizeof number);
    if (value == NULL)
      value = blkmq_config_string (disk->config, name);
    if (strcmp (name, "seed") == 0)
      r = snprintf (buf, buf_bytes, "%" PRIu64, disk->seed);
    else
      r = snprintf (buf, buf_bytes, "%s", value != NULL ? value : "");
  }
  pthread_mutex_unlock (&disk->level_lock);
  return r;
}

static int
for_each_of (const struct blkmq_key *keys, size_t nr_keys,
             int (*fn) (const struct blkmq_key *key, void *opaque),
             void *opaque)
{
  int r = 0;

  for (size_t i = 0; i < nr_keys && r == 0; i++)
    r = fn (&keys[i], opaque);
  return r;
}

int
blkmq_disk_for_each_key (struct blkmq_disk *disk,
                         int (*fn) (const struct blkmq_key *key, void *opaque),
                         void *opaque)
{
  const struct blkmq_driver *driver = stack_driver (disk->stack);
  int r = for_each_of (engine_keys, nr_engine_keys, fn, opaque);

  for (size_t i = 0; blkmq_layers[i] != NULL && r == 0; i++)
    r = for_each_of (blkmq_layers[i]->keys, blkmq_layers[i]->nr_keys, fn,
                     opaque);
  return r != 0 ? r : for_each_of (driver->keys, driver->nr_keys, fn, opaque);
}
