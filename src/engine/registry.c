/* SPDX-License-Identifier: BSD-3-Clause
 *
 * registry.c: the drivers that driver= can name.  Any thread, at any time.
 *
 * Registered drivers are only ever appended, and their number is published
 * after the entry, so readers need no lock; the lock orders the writers.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "blkmq-driver.h"
#include "engine/config.h"
#include "engine/registry.h"

#define MAX_REGISTERED 64

/* Taken alone; nothing is called under it but registry_find. */
static pthread_mutex_t register_lock = PTHREAD_MUTEX_INITIALIZER;

/* Written under register_lock, read without: entries below nr_registered
 * never change again. */
static const struct blkmq_driver *registered[MAX_REGISTERED];
static _Atomic size_t nr_registered;

const struct blkmq_driver *
blkmq_driver_at (size_t index)
{
  const struct blkmq_driver *const *builtin = blkmq_builtin_drivers;

  for (; *builtin != NULL; builtin++) {
    if (index == 0)
      return *builtin;
    index--;
  }

  /* Acquire: pairs with the release in blkmq_driver_register, so that the
   * entry is seen when its number is. */
  if (index < atomic_load_explicit (&nr_registered, memory_order_acquire))
    return registered[index];
  return NULL;
}

const struct blkmq_driver *
registry_find (const char *name)
{
  const struct blkmq_driver *driver;
  size_t i;

  for (i = 0; (driver = blkmq_driver_at (i)) != NULL; i++)
    if (strcmp (driver->name, name) == 0)
      return driver;
  return NULL;
}

/* Names appear in messages, in lists joined by commas and in the output of
 * --dump-plugin, which is read by programs. */
static bool
name_is_plain (const char *name)
{
  const char *p;

  if (!(*name >= 'a' && *name <= 'z'))
    return false;
  for (p = name; *p != '\0'; p++)
    if (!(*p >= 'a' && *p <= 'z') && !(*p >= '0' && *p <= '9') && *p != '_'
        && *p != '-')
      return false;
  return true;
}

static int
check_keys (const struct blkmq_driver *driver, struct blkmq_error *error)
{
  struct text text;
  size_t i;
  int r;

  for (i = 0; i < driver->nr_keys; i++) {
    const struct blkmq_key *key = &driver->keys[i];

    r = key_check (key, error);
    if (r < 0)
      return r;
    /* The engine's key would win, and the driver's never be set. */
    if (key_find_engine (key->name) != NULL
        || key_find (driver->keys, i, key->name) != NULL) {
      text = text_begin_error (error);
      text_add (&text, "driver %s: key %s is declared twice", driver->name,
                key->name);
      return -EINVAL;
    }
    if (key->live && driver->change == NULL) {
      text = text_begin_error (error);
      text_add (&text, "driver %s: key %s is live, and change is missing",
                driver->name, key->name);
      return -EINVAL;
    }
  }
  return 0;
}

int
blkmq_driver_register (const struct blkmq_driver *driver,
                       struct blkmq_error *error)
{
  struct text text = text_begin_error (error);
  const char *missing = NULL;
  size_t nr;
  int r;

  assert (driver != NULL);

  if (driver->name == NULL || !name_is_plain (driver->name))
    missing = "a name of a-z 0-9 _ - that starts with a letter";
  else if (driver->help == NULL)
    missing = "help";
  else if (driver->open == NULL)
    missing = "open";
  else if (driver->queue_rq == NULL)
    missing = "queue_rq";
  else if (driver->nr_keys > 0 && driver->keys == NULL)
    missing = "keys";
  if (missing != NULL) {
    text_add (&text, "driver ");
    text_add_value (&text, driver->name != NULL ? driver->name : "(unnamed)");
    text_add (&text, ": %s is required", missing);
    return -EINVAL;
  }
  r = check_keys (driver, error);
  if (r < 0)
    return r;

  pthread_mutex_lock (&register_lock);
  nr = atomic_load_explicit (&nr_registered, memory_order_relaxed);
  if (registry_find (driver->name) != NULL) {
    text_add (&text, "driver %s: the name is taken", driver->name);
    r = -EEXIST;
  } else if (nr == MAX_REGISTERED) {
    text_add (&text, "driver %s: %d drivers are registered, which is the most",
              driver->name, MAX_REGISTERED);
    r = -ENOSPC;
  } else {
    registered[nr] = driver;
    /* Release: pairs with the acquire in blkmq_driver_at. */
    atomic_store_explicit (&nr_registered, nr + 1, memory_order_release);
  }
  pthread_mutex_unlock (&register_lock);
  return r;
}
