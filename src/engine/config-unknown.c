/* SPDX-License-Identifier: BSD-3-Clause
 *
 * config-unknown.c: what is said about a key or a driver that is not there:
 * which there are, and which may have been meant.  Any thread.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "blkmq-driver.h"
#include "engine/config.h"

#define MAX_NAME 63

static size_t
min3 (size_t a, size_t b, size_t c)
{
  size_t ab = a < b ? a : b;

  return ab < c ? ab : c;
}

/* How many insertions, deletions, replacements and swaps of neighbours lead
 * from A to B (optimal string alignment). */
static size_t
edit_distance (const char *a, const char *b)
{
  size_t rows[3][MAX_NAME + 1];
  size_t *before = rows[0], *above = rows[1], *row = rows[2], *unused;
  size_t a_len = strlen (a), b_len = strlen (b);
  size_t i, j;

  if (a_len > MAX_NAME || b_len > MAX_NAME)
    return SIZE_MAX;

  for (j = 0; j <= b_len; j++)
    row[j] = j;
  for (i = 1; i <= a_len; i++) {
    unused = before;
    before = above;
    above = row;
    row = unused;

    row[0] = i;
    for (j = 1; j <= b_len; j++) {
      row[j] = min3 (above[j] + 1, row[j - 1] + 1,
                     above[j - 1] + (a[i - 1] != b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]
          && before[j - 2] + 1 < row[j])
        row[j] = before[j - 2] + 1;
    }
  }
  return row[b_len];
}

struct nearest {
  const char *name; /* what was asked for */
  const char *best; /* NULL: nothing is near */
  size_t distance;
};

static struct nearest
nearest_begin (const char *name)
{
  /* More than a third of the letters wrong is another word, not a slip. */
  return (struct nearest){ .name = name, .distance = strlen (name) / 3 + 1 };
}

static void
nearest_offer (struct nearest *nearest, const char *name)
{
  size_t distance = edit_distance (nearest->name, name);

  if (distance < nearest->distance
      || (distance == nearest->distance && nearest->best == NULL)) {
    nearest->best = name;
    nearest->distance = distance;
  }
}

/* The keys that may follow: the engine's, and those of DRIVER, or of all
 * drivers when it is NULL (not chosen yet). */
struct key_list {
  const struct blkmq_driver *driver;
  struct nearest nearest;
  struct text *text;
  bool first;
};

static int
offer_key (const struct blkmq_driver *driver, const struct blkmq_key *key,
           void *opaque)
{
  struct key_list *list = opaque;

  if (driver == NULL || list->driver == NULL || driver == list->driver)
    nearest_offer (&list->nearest, key->name);
  return 0;
}

static int
print_key (const struct blkmq_driver *driver, const struct blkmq_key *key,
           void *opaque)
{
  struct key_list *list = opaque;

  if (driver != NULL && list->driver != NULL && driver != list->driver)
    return 0;
  text_add (list->text, "%s%s", list->first ? "" : ", ", key->name);
  if (driver != NULL && list->driver == NULL)
    text_add (list->text, " (driver=%s)", driver->name);
  list->first = false;
  return 0;
}

/* Every key that CONFIG's list may have, to FN. */
static void
for_each_key (const struct blkmq_config *config,
              int (*fn) (const struct blkmq_driver *driver,
                         const struct blkmq_key *key, void *opaque),
              void *opaque)
{
  blkmq_for_each_key (fn, opaque);
  for (size_t i = 0; i < config->nr_outer_keys; i++)
    fn (NULL, &config->outer_keys[i], opaque);
}

int
no_such_key (const struct blkmq_config *config, const char *name,
             const char *value, const struct blkmq_driver *driver,
             struct blkmq_error *error)
{
  const struct blkmq_driver *owner = key_find_owner (name);
  struct text text = text_begin_error (error);
  struct key_list list = {
    .driver = driver,
    .nearest = nearest_begin (name),
    .text = &text,
    .first = true,
  };

  text_add_value (&text, name);
  text_add (&text, "=");
  text_add_value (&text, value);
  if (owner != NULL)
    text_add (&text, ": a key of driver=%s, not of driver=%s", owner->name,
              driver->name);
  else {
    text_add (&text, ": unknown key");
    for_each_key (config, offer_key, &list);
    if (list.nearest.best != NULL)
      text_add (&text, " (did you mean %s?)", list.nearest.best);
  }
  text_add (&text, "; keys are ");
  for_each_key (config, print_key, &list);
  return -EINVAL;
}

int
no_such_driver (const char *value, struct blkmq_error *error)
{
  struct text text = text_begin_error (error);
  struct nearest nearest = nearest_begin (value);
  const struct blkmq_driver *driver;
  char allowed[256];
  size_t i;

  for (i = 0; (driver = blkmq_driver_at (i)) != NULL; i++)
    nearest_offer (&nearest, driver->name);
  blkmq_key_allowed (key_find_engine ("driver"), allowed, sizeof allowed);
  text_add (&text, "driver=");
  text_add_value (&text, value);
  text_add (&text, ": must be %s", allowed);
  if (nearest.best != NULL)
    text_add (&text, " (did you mean %s?)", nearest.best);
  return -EINVAL;
}
