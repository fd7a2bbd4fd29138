/* SPDX-License-Identifier: BSD-3-Clause
 *
 * exports-check.c: the configuration of each export, made of the defaults and
 * of what is its own; and whether those that share tags can.  The thread that
 * configures.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "engine/stack.h"
#include "front/exports-internal.h"

static int
out_of_memory (struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "configuration: out of memory");
  return -ENOMEM;
}

int
config_override (struct blkmq_config *config, const char *name,
                 const char *value, struct blkmq_error *error)
{
  if (strcmp (name, "driver") == 0)
    config->driver = NULL;
  config_forget (config, name);
  return blkmq_config_set (config, name, value, error);
}

int
config_override_all (struct blkmq_config *config,
                     const struct blkmq_config *over, struct blkmq_error *error)
{
  const struct config_entry *driver = config_entry (over, "driver");
  int r = 0;

  /* First: it decides which other keys there are. */
  if (driver != NULL)
    r = config_override (config, driver->name, driver->value, error);
  for (size_t i = 0; i < over->nr_entries && r == 0; i++) {
    const struct config_entry *entry = &over->entries[i];

    if (entry != driver)
      r = config_override (config, entry->name, entry->value, error);
  }
  return r;
}

static int
merge (const struct blkmq_config *defaults, const struct blkmq_config *own,
       struct blkmq_config **result, struct blkmq_error *error)
{
  struct blkmq_config *config = config_clone (defaults);
  int r;

  if (config == NULL)
    return out_of_memory (error);
  config->outer_keys = own->outer_keys;
  config->nr_outer_keys = own->nr_outer_keys;
  r = config_override_all (config, own, error);
  if (r < 0)
    blkmq_config_free (config);
  else
    *result = config;
  return r;
}

/* ---- seeds ---- */

/* Disks of one seed would make the same choices at the same time: two mirrors
 * would lose the same block. */
static int
choose_seed (struct exports *exports, struct blkmq_error *error)
{
  const struct blkmq_config *defaults = exports->defaults.config;
  struct text text;

  if (config_entry (defaults, "seed") != NULL) {
    exports->seed = blkmq_config_number (defaults, "seed");
    return 0;
  }
  for (unsigned i = 0; i < exports->nr_entries; i++) {
    if (config_entry (exports->entries[i]->own.config, "seed") == NULL)
      exports->drew_seed = true;
  }
  if (!exports->drew_seed
      || getrandom (&exports->seed, sizeof exports->seed, 0)
             == sizeof exports->seed)
    return 0;
  text = text_begin_error (error);
  text_add (&text, "no random number to be had for a seed");
  return -EIO;
}

static int
give_seed (struct exports *exports, unsigned index, struct blkmq_error *error)
{
  struct entry *entry = exports->entries[index];
  char seed[24];

  if (config_entry (entry->own.config, "seed") != NULL)
    return 0;
  snprintf (seed, sizeof seed, "%" PRIu64, exports->seed + index);
  return config_override (entry->export.config, "seed", seed, error);
}

/* ---- shared tags ---- */

/* What the disks of a tag set have in common. */
static const char *const shared_keys[]
    = { "submit_queues",     "poll_queues", "hw_queue_depth",
        "shared_tag_bitmap", "nomerges",    "driver" };

static bool
is_same (const struct blkmq_config *a, const struct blkmq_config *b,
         const char *key)
{
  if (strcmp (key, "driver") == 0)
    return config_driver (a) == config_driver (b);
  return blkmq_config_number (a, key) == blkmq_config_number (b, key);
}

static int
check_shared_keys (const struct export *first, const struct export *other,
                   struct blkmq_error *error)
{
  struct text text;

  for (size_t i = 0; i < sizeof shared_keys / sizeof shared_keys[0]; i++) {
    const char *key = shared_keys[i];

    if (is_same (first->config, other->config, key))
      continue;
    text = text_begin_error (error);
    text_add (&text, "%s=", key);
    text_add_value (&text, blkmq_config_string (other->config, key));
    text_add (&text, ": contradicts %s%s=", first->prefix, key);
    text_add_value (&text, blkmq_config_string (first->config, key));
    text_add (&text, "; with shared_tags=1 it must be the same for all");
    return -EINVAL;
  }
  return 0;
}

static void
add_layers (struct text *text, const struct stack *stack)
{
  const char *name;

  if (stack_layer_name (stack, 0) == NULL)
    text_add (text, "none");
  for (unsigned i = 0; (name = stack_layer_name (stack, i)) != NULL; i++)
    text_add (text, "%s%s", i > 0 ? ", " : "", name);
}

static int
check_shared_layers (const struct export *first, const struct export *other,
                     struct blkmq_error *error)
{
  struct stack *a = NULL, *b = NULL;
  struct text text;
  int r;

  r = stack_plan (first->config, false, &a, error);
  if (r == 0)
    r = stack_plan (other->config, false, &b, error);
  if (r == 0 && !stack_is_alike (a, b)) {
    text = text_begin_error (error);
    text_add (&text, "layers (");
    add_layers (&text, b);
    text_add (&text, "): contradict %slayers (", first->prefix);
    add_layers (&text, a);
    text_add (&text, "); with shared_tags=1 they must be the same for all, "
                     "as they are with live=1");
    r = -EINVAL;
  }
  stack_free (a);
  stack_free (b);
  return r;
}

/* ---- the whole ---- */

/* Who can control a disk wants to switch layers on. */
static int
give_live (const struct exports *exports, struct blkmq_config *config,
           struct blkmq_error *error)
{
  if (exports_server_value (exports, FRONT_CONTROL) == NULL
      || config_entry (config, "live") != NULL)
    return 0;
  return blkmq_config_set (config, "live", "1", error);
}

static int
complete (struct exports *exports, unsigned index, struct blkmq_error *error)
{
  const struct export *first = &exports->entries[0]->export;
  struct entry *entry = exports->entries[index];
  int r;

  entry->export.description = entry->own.description != NULL
                                  ? entry->own.description
                                  : exports->defaults.description;
  r = merge (exports->defaults.config, entry->own.config, &entry->export.config,
             error);
  if (r == 0)
    r = give_live (exports, entry->export.config, error);
  if (r == 0)
    r = blkmq_config_check (entry->export.config, error);
  if (r == 0)
    r = give_seed (exports, index, error);
  if (r < 0 || !exports_share_tags (exports) || index == 0)
    return r;
  r = check_shared_keys (first, &entry->export, error);
  return r == 0 ? check_shared_layers (first, &entry->export, error) : r;
}

int
exports_check (struct exports *exports, struct blkmq_error *error)
{
  struct blkmq_error inner = { "" };
  int r;

  assert (!exports->is_checked);
  exports->is_checked = true;

  if (exports->nr_entries == 0) {
    if (exports_add (exports, "", "") == NULL)
      return out_of_memory (error);
    exports->is_unnamed = true;
  }
  r = choose_seed (exports, error);
  for (unsigned i = 0; i < exports->nr_entries && r == 0; i++) {
    r = complete (exports, i, &inner);
    if (r < 0)
      entry_error (exports->entries[i], &inner, r, error);
  }
  return r;
}
