/* SPDX-License-Identifier: BSD-3-Clause
 *
 * json.c: building JSON without looking at each step.  Any thread, each with
 * values of its own.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/internal.h"

json_t *
json_text (const char *text)
{
  json_t *value;
  char *copy;

  if (text == NULL)
    return json_null ();
  value = json_string (text);
  if (value != NULL)
    return value;

  /* No memory; or names of files, or a message that was cut off. */
  copy = strdup (text);
  if (copy == NULL)
    return NULL;
  for (char *p = copy; *p != '\0'; p++) {
    if ((unsigned char)*p >= 0x80)
      *p = '?';
  }
  value = json_string (copy);
  free (copy);
  return value;
}

json_t *
json_count (uint64_t n)
{
  return json_integer (n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

json_t *
json_handle (blkmq_handle handle)
{
  char text[32];

  snprintf (text, sizeof text, "0x%" PRIx64, handle);
  return json_string (text);
}

void
put (bool *ok, json_t *object, const char *name, json_t *value)
{
  if (json_object_set_new (object, name, value) < 0)
    *ok = false;
}

void
append (bool *ok, json_t *array, json_t *value)
{
  if (json_array_append_new (array, value) < 0)
    *ok = false;
}
