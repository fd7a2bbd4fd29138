/* SPDX-License-Identifier: BSD-3-Clause
 *
 * config-places.c: which line of the file has said what.  Some mistakes are
 * seen only when all of an export is known.  The main thread, before others
 * run.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "server/config-file.h"
#include "server/log.h"

struct config_places {
  struct config_place *places;
  size_t nr;
};

bool
config_places_add (struct config_places **places,
                   const struct config_place *place)
{
  struct config_place *larger;

  if (*places == NULL)
    *places = calloc (1, sizeof **places);
  if (*places == NULL)
    return false;
  larger
      = reallocarray ((*places)->places, (*places)->nr + 1, sizeof larger[0]);
  if (larger == NULL)
    return false;
  (*places)->places = larger;
  larger[(*places)->nr++] = *place;
  return true;
}

void
config_places_free (struct config_places *places)
{
  if (places != NULL)
    free (places->places);
  free (places);
}

static bool
begins_with (const char *text, const char *what)
{
  return strncmp (text, what, strlen (what)) == 0;
}

/* The section of the export that MESSAGE is about, or NULL. */
static const struct config_place *
find_export (const struct config_places *places, const char *message)
{
  for (size_t i = 0; i < places->nr; i++) {
    const struct config_place *place = &places->places[i];

    if (place->key == NULL && *place->prefix != '\0'
        && begins_with (message, place->prefix))
      return place;
  }
  return NULL;
}

/* Messages about a key begin with "KEY=VALUE: ". */
static const struct config_place *
find_key (const struct config_places *places, const char *prefix,
          const char *message)
{
  for (size_t i = 0; i < places->nr; i++) {
    const struct config_place *place = &places->places[i];
    struct blkmq_error shown;
    struct text text;

    if (place->key == NULL || strcmp (place->prefix, prefix) != 0
        || !begins_with (message, place->key))
      continue;
    text = text_begin_error (&shown);
    text_add (&text, "%s=", place->key);
    text_add_value (&text, place->value);
    text_add (&text, ": ");
    if (begins_with (message, shown.message))
      return place;
  }
  return NULL;
}

bool
config_places_explain (const struct config_places *places, const char *path,
                       const struct blkmq_error *error)
{
  const char *message = error->message;
  const struct config_place *export, *key;

  if (places == NULL)
    return false;
  export = find_export (places, message);
  if (export != NULL)
    message += strlen (export->prefix);
  key = find_key (places, export != NULL ? export->prefix : "", message);
  if (key == NULL && export != NULL)
    key = find_key (places, "", message);
  if (key == NULL)
    key = export;
  if (key == NULL)
    return false;
  log_error ("%s:%u: %s: %s", path, key->line, key->section, message);
  return true;
}
