/* SPDX-License-Identifier: BSD-3-Clause
 *
 * config.c: a set of keys and values.  One thread at a time per configuration.
 *
 * Values are kept as the user wrote them and parsed again when asked for:
 * that happens a few times in a disk's life, and a key whose driver is not
 * known yet needs no special form.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "blkmq-driver.h"
#include "engine/config.h"
#include "engine/module.h"
#include "engine/registry.h"
#include "engine/stack.h"

/* ------------------------------------------------------------------------ */
/* Finding keys                                                              */

const struct blkmq_key *
key_find (const struct blkmq_key *keys, size_t nr_keys, const char *name)
{
  size_t i;

  for (i = 0; i < nr_keys; i++)
    if (strcmp (keys[i].name, name) == 0)
      return &keys[i];
  return NULL;
}

const struct blkmq_key *
key_find_engine (const char *name)
{
  const struct blkmq_key *key = key_find (engine_keys, nr_engine_keys, name);

  for (size_t i = 0; key == NULL && blkmq_layers[i] != NULL; i++)
    key = key_find (blkmq_layers[i]->keys, blkmq_layers[i]->nr_keys, name);
  return key;
}

const struct blkmq_key *
key_find_driver (const struct blkmq_driver *driver, const char *name)
{
  return key_find (driver->keys, driver->nr_keys, name);
}

/* The first driver that has the key, or NULL. */
const struct blkmq_driver *
key_find_owner (const char *name)
{
  const struct blkmq_driver *driver;
  size_t i;

  for (i = 0; (driver = blkmq_driver_at (i)) != NULL; i++)
    if (key_find_driver (driver, name) != NULL)
      return driver;
  return NULL;
}

static int
for_each_key_of (const struct blkmq_driver *driver,
                 const struct blkmq_driver *shown,
                 int (*fn) (const struct blkmq_driver *driver,
                            const struct blkmq_key *key, void *opaque),
                 void *opaque)
{
  for (size_t i = 0; i < driver->nr_keys; i++) {
    int r = fn (shown, &driver->keys[i], opaque);

    if (r != 0)
      return r;
  }
  return 0;
}

int
blkmq_for_each_key (int (*fn) (const struct blkmq_driver *driver,
                               const struct blkmq_key *key, void *opaque),
                    void *opaque)
{
  const struct blkmq_driver *driver;
  size_t i;
  int r;

  assert (fn != NULL);

  for (i = 0; i < nr_engine_keys; i++) {
    r = fn (NULL, &engine_keys[i], opaque);
    if (r != 0)
      return r;
  }
  for (i = 0; (driver = blkmq_layers[i]) != NULL; i++) {
    r = for_each_key_of (driver, NULL, fn, opaque);
    if (r != 0)
      return r;
  }
  for (i = 0; (driver = blkmq_driver_at (i)) != NULL; i++) {
    r = for_each_key_of (driver, driver, fn, opaque);
    if (r != 0)
      return r;
  }
  return 0;
}

/* ------------------------------------------------------------------------ */
/* Values in force                                                           */

const struct config_entry *
config_entry (const struct blkmq_config *config, const char *name)
{
  size_t i;

  for (i = 0; i < config->nr_entries; i++)
    if (strcmp (config->entries[i].name, name) == 0)
      return &config->entries[i];
  return NULL;
}

const struct blkmq_driver *
config_driver (const struct blkmq_config *config)
{
  const struct blkmq_driver *driver = config->driver;

  if (driver == NULL)
    driver = registry_find (key_find_engine ("driver")->default_value);
  assert (driver != NULL);
  return driver;
}

/* KEY must exist: to ask for one that does not is the programmer's error. */
static const struct blkmq_key *
expect_key (const struct blkmq_config *config, const char *name)
{
  const struct blkmq_key *key;

  assert (config != NULL && name != NULL);
  key = key_find_engine (name);
  if (key == NULL)
    key = key_find_driver (config_driver (config), name);
  assert (key != NULL);
  return key;
}

uint64_t
blkmq_config_number (const struct blkmq_config *config, const char *name)
{
  const struct blkmq_key *key = expect_key (config, name);
  const struct config_entry *entry = config_entry (config, name);
  const char *value = entry != NULL ? entry->value : key->default_value;
  uint64_t number = 0;
  int r;

  assert (key->type != BLKMQ_KEY_STRING);
  if (value == NULL)
    return 0;
  r = key_parse (key, value, &number, NULL);
  /* Only a driver's key can be bad here, given before driver= and not checked
   * since: blkmq_config_check comes before the first question. */
  assert (r == 0);
  (void)r;
  return number;
}

const char *
blkmq_config_string (const struct blkmq_config *config, const char *name)
{
  const struct blkmq_key *key = expect_key (config, name);
  const struct config_entry *entry = config_entry (config, name);
  const char *value = entry != NULL ? entry->value : key->default_value;

  /* irqmode=2 is irqmode=timer to whoever prints it. */
  if (key->type == BLKMQ_KEY_ENUM && value != NULL)
    return key->words[blkmq_config_number (config, name)];
  return value;
}

bool
blkmq_config_is_set (const struct blkmq_config *config, const char *name)
{
  expect_key (config, name);
  return config_entry (config, name) != NULL;
}

/* ------------------------------------------------------------------------ */
/* Setting                                                                   */

struct blkmq_config *
blkmq_config_alloc (void)
{
  return calloc (1, sizeof (struct blkmq_config));
}

void
blkmq_config_free (struct blkmq_config *config)
{
  size_t i;

  if (config == NULL)
    return;
  for (i = 0; i < config->nr_entries; i++) {
    free (config->entries[i].name);
    free (config->entries[i].value);
  }
  free (config->entries);
  free (config);
}

static int
add_entry (struct blkmq_config *config, const char *name, const char *value,
           struct blkmq_error *error)
{
  struct config_entry entry = { strdup (name), strdup (value) };
  struct config_entry *entries;
  struct text text;

  if (entry.name == NULL || entry.value == NULL)
    goto no_memory;
  entries = reallocarray (config->entries, config->nr_entries + 1,
                          sizeof entries[0]);
  if (entries == NULL)
    goto no_memory;
  entries[config->nr_entries++] = entry;
  config->entries = entries;
  return 0;

no_memory:
  free (entry.name);
  free (entry.value);
  text = text_begin_error (error);
  text_add_value (&text, name);
  text_add (&text, ": out of memory");
  return -ENOMEM;
}

struct blkmq_config *
config_clone (const struct blkmq_config *config)
{
  struct blkmq_config *clone = blkmq_config_alloc ();

  if (clone == NULL)
    return NULL;
  for (size_t i = 0; i < config->nr_entries; i++) {
    const struct config_entry *entry = &config->entries[i];

    if (add_entry (clone, entry->name, entry->value, NULL) < 0) {
      blkmq_config_free (clone);
      return NULL;
    }
  }
  clone->driver = config->driver;
  return clone;
}

void
config_forget (struct blkmq_config *config, const char *name)
{
  for (size_t i = 0; i < config->nr_entries; i++) {
    struct config_entry *entry = &config->entries[i];

    if (strcmp (entry->name, name) != 0)
      continue;
    free (entry->name);
    free (entry->value);
    *entry = config->entries[--config->nr_entries];
    return;
  }
}

/* What driver=VALUE means: a name, or a path if there is a slash in it. */
static int
find_driver (const char *value, const struct blkmq_driver **driver,
             struct blkmq_error *error)
{
  if (strchr (value, '/') != NULL)
    return module_load (value, driver, error);
  *driver = registry_find (value);
  return *driver != NULL ? 0 : no_such_driver (value, error);
}

int
blkmq_config_set (struct blkmq_config *config, const char *name,
                  const char *value, struct blkmq_error *error)
{
  const struct blkmq_driver *driver = config->driver;
  const struct config_entry *entry;
  const struct blkmq_key *key;
  struct text text;
  uint64_t number;
  int r;

  assert (config != NULL && name != NULL && value != NULL);

  key = key_find_engine (name);
  if (key == NULL && driver != NULL)
    key = key_find_driver (driver, name);
  /* Whose key it is will be known when driver= was given, which may bring a
   * driver that nobody knows yet. */
  if (key == NULL && (driver != NULL || !key_name_is_plain (name)))
    return no_such_key (config, name, value, driver, error);

  entry = config_entry (config, name);
  if (entry != NULL) {
    text = text_begin_error (error);
    text_add (&text, "%s=", name);
    text_add_value (&text, value);
    text_add (&text, ": given twice, first as %s=", name);
    text_add_value (&text, entry->value);
    text_add (&text, "; once is allowed");
    return -EINVAL;
  }

  if (key != NULL) {
    r = key_parse (key, value, &number, error);
    if (r < 0)
      return r;
  }
  if (strcmp (name, "driver") == 0) {
    r = find_driver (value, &driver, error);
    if (r < 0)
      return r;
  }
  r = add_entry (config, name, value, error);
  if (r == 0)
    config->driver = driver;
  return r;
}
