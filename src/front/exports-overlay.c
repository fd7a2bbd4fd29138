/* SPDX-License-Identifier: BSD-3-Clause
 *
 * exports-overlay.c: two lists of exports made one, as that of a file and that
 * of the command line.  The thread that configures.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "front/exports-internal.h"

static int
out_of_memory (struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "exports: out of memory");
  return -ENOMEM;
}

/* In place of whatever was at PLACE. */
static int
replace (char **place, const char *value, struct blkmq_error *error)
{
  char *copy;

  if (value == NULL)
    return 0;
  copy = strdup (value);
  if (copy == NULL)
    return out_of_memory (error);
  free (*place);
  *place = copy;
  return 0;
}

static int
no_effect (const char *key, const char *value, const struct entry *entry,
           const char *own, struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "%s=", key);
  text_add_value (&text, value);
  text_add (&text, ": no effect on export=");
  text_add_value (&text, entry->name);
  text_add (&text, ", which has %s=", key);
  text_add_value (&text, own);
  text_add (&text, " of its own; must stand after export=");
  text_add_value (&text, entry->name);
  return -EINVAL;
}

/* Who says size=2G wants disks of that size, and not one of them smaller
 * without a word. */
static int
check_defaults (const struct exports *exports, const struct exports *over,
                struct blkmq_error *error)
{
  const struct section *defaults = &over->defaults;

  for (unsigned i = 0; i < exports->nr_entries; i++) {
    const struct entry *entry = exports->entries[i];
    const struct entry *other = exports_entry (over, entry->name);

    for (size_t j = 0; j < defaults->config->nr_entries; j++) {
      const struct config_entry *key = &defaults->config->entries[j];
      const struct config_entry *own
          = config_entry (entry->own.config, key->name);

      if (own != NULL
          && (other == NULL
              || config_entry (other->own.config, key->name) == NULL))
        return no_effect (key->name, key->value, entry, own->value, error);
    }
    if (defaults->description != NULL && entry->own.description != NULL
        && (other == NULL || other->own.description == NULL))
      return no_effect (front_keys[FRONT_DESCRIPTION].name,
                        defaults->description, entry, entry->own.description,
                        error);
  }
  return 0;
}

static int
overlay_section (struct section *section, const struct section *over,
                 struct blkmq_error *error)
{
  int r = config_override_all (section->config, over->config, error);

  return r < 0 ? r : replace (&section->description, over->description, error);
}

static int
overlay_entry (struct exports *exports, const struct entry *over,
               struct blkmq_error *error)
{
  struct entry *entry = exports_entry (exports, over->name);
  struct blkmq_error inner = { "" };
  int r;

  if (entry == NULL && exports->nr_entries == EXPORTS_MAX) {
    struct text text = text_begin_error (error);

    text_add (&text, "export=");
    text_add_value (&text, over->name);
    text_add (&text, ": too many; at most %u are allowed", EXPORTS_MAX);
    return -EINVAL;
  }
  if (entry == NULL)
    entry = exports_add (exports, over->name, over->prefix);
  if (entry == NULL)
    return out_of_memory (error);
  r = overlay_section (&entry->own, &over->own, &inner);
  return r < 0 ? entry_error (entry, &inner, r, error) : 0;
}

int
exports_overlay (struct exports *exports, const struct exports *over,
                 struct blkmq_error *error)
{
  int r;

  assert (!exports->is_checked && !over->is_checked);

  r = check_defaults (exports, over, error);
  for (unsigned key = 0; key < NR_FRONT_KEYS && r == 0; key++)
    r = replace (&exports->server_values[key], over->server_values[key], error);
  if (r == 0)
    r = overlay_section (&exports->defaults, &over->defaults, error);
  for (unsigned i = 0; i < over->nr_entries && r == 0; i++)
    r = overlay_entry (exports, over->entries[i], error);
  return r;
}
