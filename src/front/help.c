/* SPDX-License-Identifier: BSD-3-Clause
 *
 * help.c: the keys, as --help lists them, made from the tables of the front
 * end, the engine and its drivers.  Before anything is served.
 */

#include <config.h>

#include <string.h>

#include "blkmq-driver.h"
#include "front/help.h"
#include "front/keys.h"

static const char *const type_names[] = {
  [BLKMQ_KEY_BOOL] = "bool", [BLKMQ_KEY_INT] = "int",
  [BLKMQ_KEY_SIZE] = "size", [BLKMQ_KEY_TIME] = "time",
  [BLKMQ_KEY_ENUM] = "enum", [BLKMQ_KEY_STRING] = "string",
};

/* The words of driver= are not in the key table but in the registry. */
static bool
is_driver_key (const struct blkmq_driver *owner, const struct blkmq_key *key)
{
  return owner == NULL && strcmp (key->name, "driver") == 0;
}

/* "size=<SIZE>", "irqmode=none|softirq|timer".  Returns its width. */
static int
print_synopsis (FILE *out, const struct blkmq_driver *owner,
                const struct blkmq_key *key)
{
  const struct blkmq_driver *driver;
  int width = fprintf (out, "%s=", key->name);
  const char *p;
  size_t i;

  if (is_driver_key (owner, key)) {
    for (i = 0; (driver = blkmq_driver_at (i)) != NULL; i++)
      width += fprintf (out, "%s%s", i > 0 ? "|" : "", driver->name);
    return width;
  }
  if (key->type == BLKMQ_KEY_ENUM) {
    for (i = 0; key->words[i] != NULL; i++)
      width += fprintf (out, "%s%s", i > 0 ? "|" : "", key->words[i]);
    return width;
  }
  width += fprintf (out, "<");
  for (p = type_names[key->type]; *p != '\0'; p++)
    width += fprintf (out, "%c", *p - 'a' + 'A');
  return width + fprintf (out, ">");
}

struct help {
  FILE *out;
  const struct help_default *own;
};

static int
print_key_help (const struct blkmq_driver *owner, const struct blkmq_key *key,
                void *opaque)
{
  const struct help *help = opaque;
  const char *default_value = key->default_value;
  FILE *out = help->out;
  int width = print_synopsis (out, owner, key);

  if (help->own != NULL && strcmp (help->own->key, key->name) == 0)
    default_value = help->own->value;
  fprintf (out, "%*s%s", width < 28 ? 28 - width : 1, "", key->help);
  if (key->required)
    fprintf (out, " (required)");
  if (default_value != NULL)
    fprintf (out, " (default %s)", default_value);
  if (owner != NULL)
    fprintf (out, " (driver=%s)", owner->name);
  fprintf (out, "\n");
  return 0;
}

void
help_print_keys (FILE *out, const struct help_default *own)
{
  struct help help = { out, own };

  front_for_each_key (print_key_help, &help);
}

const char *
help_type_name (enum blkmq_key_type type)
{
  return type_names[type];
}
