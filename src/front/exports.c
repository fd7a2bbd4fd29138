/* SPDX-License-Identifier: BSD-3-Clause
 *
 * exports.c: which disks there are: keys and values are sorted into defaults
 * and exports, and clients find theirs.  exports-check.c makes whole
 * configurations of them, exports-run.c makes disks of these.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "front/exports-internal.h"

/* ---- errors ---- */

static int
no_memory (const char *key, struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "%s: out of memory", key);
  return -ENOMEM;
}

static int
prefix_error (const char *prefix, const struct blkmq_error *inner, int r,
              struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "%s%s", prefix, inner->message);
  return r;
}

int
entry_error (const struct entry *entry, const struct blkmq_error *inner, int r,
             struct blkmq_error *error)
{
  return prefix_error (entry->prefix, inner, r, error);
}

/* ---- the life of the list ---- */

static int
section_init (struct section *section)
{
  section->config = blkmq_config_alloc ();
  if (section->config == NULL)
    return -ENOMEM;
  section->config->outer_keys = front_keys;
  section->config->nr_outer_keys = NR_FRONT_KEYS;
  return 0;
}

static void
section_exit (struct section *section)
{
  blkmq_config_free (section->config);
  free (section->description);
}

struct exports *
exports_alloc (void)
{
  struct exports *exports = calloc (1, sizeof *exports);

  if (exports != NULL && section_init (&exports->defaults) < 0) {
    free (exports);
    return NULL;
  }
  return exports;
}

static void
entry_free (struct entry *entry)
{
  blkmq_disk_put (entry->export.disk);
  blkmq_config_free (entry->export.config);
  section_exit (&entry->own);
  free (entry->name);
  free (entry);
}

void
exports_free (struct exports *exports)
{
  if (exports == NULL)
    return;
  for (unsigned i = 0; i < exports->nr_entries; i++)
    entry_free (exports->entries[i]);
  free (exports->entries);
  for (unsigned key = 0; key < NR_FRONT_KEYS; key++)
    free (exports->server_values[key]);
  section_exit (&exports->defaults);
  free (exports);
}

struct entry *
exports_add (struct exports *exports, const char *name, const char *prefix)
{
  struct entry *entry = calloc (1, sizeof *entry);
  struct entry **entries;
  struct text text;

  if (entry == NULL || section_init (&entry->own) < 0)
    goto free_entry;
  entry->name = strdup (name);
  entries = reallocarray (exports->entries, exports->nr_entries + 1,
                          sizeof entries[0]);
  if (entries != NULL)
    exports->entries = entries;
  if (entry->name == NULL || entries == NULL)
    goto exit_section;
  text = text_begin (entry->prefix, sizeof entry->prefix);
  text_add (&text, "%s", prefix);
  entry->export.name = entry->name;
  entry->export.prefix = entry->prefix;
  entries[exports->nr_entries++] = entry;
  return entry;

exit_section:
  free (entry->name);
  section_exit (&entry->own);
free_entry:
  free (entry);
  return NULL;
}

/* ---- setting ---- */

struct entry *
exports_entry (const struct exports *exports, const char *name)
{
  for (unsigned i = 0; i < exports->nr_entries; i++)
    if (strcmp (exports->entries[i]->name, name) == 0)
      return exports->entries[i];
  return NULL;
}

static int
begin_export (struct exports *exports, const char *name,
              struct blkmq_error *error)
{
  struct text text = text_begin_error (error), prefix;
  char prefix_buf[96];
  int r;

  r = front_key_check (FRONT_EXPORT, name, error);
  if (r < 0)
    return r;
  if (exports_entry (exports, name) != NULL) {
    text_add (&text, "export=");
    text_add_value (&text, name);
    text_add (&text, ": given twice; one disk of a name is allowed");
    return -EINVAL;
  }
  if (exports->nr_entries == EXPORTS_MAX) {
    text_add (&text, "export=");
    text_add_value (&text, name);
    text_add (&text, ": too many; at most %u are allowed", EXPORTS_MAX);
    return -EINVAL;
  }
  prefix = text_begin (prefix_buf, sizeof prefix_buf);
  text_add (&prefix, "export=");
  text_add_value (&prefix, name);
  text_add (&prefix, ": ");
  if (exports_add (exports, name, prefix_buf) == NULL)
    return no_memory ("export", error);
  return 0;
}

/* A key of the front end, with a value of which there is one. */
static int
set_once (enum front_key key, char **place, const char *value,
          struct blkmq_error *error)
{
  const char *name = front_keys[key].name;
  struct text text = text_begin_error (error);
  int r;

  if (*place != NULL) {
    text_add (&text, "%s=", name);
    text_add_value (&text, value);
    text_add (&text, ": given twice, first as %s=", name);
    text_add_value (&text, *place);
    text_add (&text, "; once is allowed");
    return -EINVAL;
  }
  r = front_key_check (key, value, error);
  if (r < 0)
    return r;
  *place = strdup (value);
  return *place != NULL ? 0 : no_memory (name, error);
}

int
exports_set_server_value (struct exports *exports, enum front_key key,
                          const char *value, struct blkmq_error *error)
{
  assert (front_key_is_server_wide (key));
  return set_once (key, &exports->server_values[key], value, error);
}

static int
set_server_value (struct exports *exports, enum front_key key,
                  const char *value, struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  if (exports->nr_entries == 0)
    return exports_set_server_value (exports, key, value, error);
  text_add (&text, "%s=", front_keys[key].name);
  text_add_value (&text, value);
  text_add (&text, ": is for all exports; must come before the first, export=");
  text_add_value (&text, exports->entries[0]->name);
  return -EINVAL;
}

int
exports_set (struct exports *exports, const char *name, const char *value,
             struct blkmq_error *error)
{
  enum front_key key = front_key_find (name);
  struct section *section = &exports->defaults;
  struct blkmq_error inner = { "" };
  const char *prefix = "";
  struct entry *last;
  int r;

  assert (!exports->is_checked);

  if (key == FRONT_EXPORT)
    return begin_export (exports, value, error);
  if (exports->nr_entries > 0) {
    last = exports->entries[exports->nr_entries - 1];
    section = &last->own;
    prefix = last->prefix;
  }
  if (key == NR_FRONT_KEYS)
    r = blkmq_config_set (section->config, name, value, &inner);
  else if (front_key_is_server_wide (key))
    r = set_server_value (exports, key, value, &inner);
  else
    r = set_once (key, &section->description, value, &inner);
  return r < 0 ? prefix_error (prefix, &inner, r, error) : 0;
}

int
exports_set_default (struct exports *exports, const char *name,
                     const char *value, struct blkmq_error *error)
{
  assert (!exports->is_checked);

  if (config_entry (exports->defaults.config, name) != NULL)
    return 0;
  return blkmq_config_set (exports->defaults.config, name, value, error);
}

/* ---- reading ---- */

unsigned
exports_nr (const struct exports *exports)
{
  return exports->nr_entries;
}

const struct export *
exports_at (const struct exports *exports, unsigned index)
{
  assert (index < exports->nr_entries);
  return &exports->entries[index]->export;
}

const struct export *
exports_find (const struct exports *exports, const char *name,
              struct blkmq_error *error)
{
  struct text text = text_begin_error (error);
  const struct entry *entry;

  if (exports->is_unnamed)
    return &exports->entries[0]->export;
  entry = exports_entry (exports, name);
  if (entry != NULL)
    return &entry->export;

  text_add (&text, "export=");
  text_add_value (&text, name);
  text_add (&text, ": %s; there %s",
            *name != '\0' ? "unknown export" : "no default export",
            exports->nr_entries == 1 ? "is" : "are");
  for (unsigned i = 0; i < exports->nr_entries; i++) {
    text_add (&text, "%s export=", i > 0 ? "," : "");
    text_add_value (&text, exports->entries[i]->name);
  }
  return NULL;
}

const char *
exports_server_value (const struct exports *exports, enum front_key key)
{
  assert (front_key_is_server_wide (key));
  return exports->server_values[key];
}

bool
exports_share_tags (const struct exports *exports)
{
  const char *value = exports_server_value (exports, FRONT_SHARED_TAGS);
  uint64_t number = 0;

  if (value != NULL)
    key_parse (&front_keys[FRONT_SHARED_TAGS], value, &number, NULL);
  return number != 0;
}

bool
exports_drew_seed (const struct exports *exports, uint64_t *seed)
{
  *seed = exports->seed;
  return exports->drew_seed;
}
