/* SPDX-License-Identifier: BSD-3-Clause
 *
 * help.c: the texts of `nbdkit blkmq --help' and `--dump-plugin', made from
 * the key tables.  nbdkit's main thread, before
 * anything is served.
 */

#include <config.h>

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "blkmq-driver.h"
#include "blkmq.h"
#include "front/help.h"
#include "front/keys.h"
#include "plugin.h"

void
print_help (char *buf, size_t buf_bytes)
{
  FILE *out = fmemopen (buf, buf_bytes, "w");

  buf[0] = '\0';
  if (out == NULL)
    return; /* no memory for a FILE: --help without keys, and no harm else */
  help_print_keys (out, NULL);
  fclose (out);
  assert (strlen (buf) < buf_bytes - 1); /* else the buffer is too small */
}

/* One line a key.  The text of what is allowed has blanks, and is last. */
static int
print_key_line (const struct blkmq_driver *owner, const struct blkmq_key *key,
                void *opaque)
{
  char allowed[256];

  front_key_allowed (key, allowed, sizeof allowed);
  printf ("blkmq_key_%s=%s default=%s", key->name, help_type_name (key->type),
          key->default_value != NULL ? key->default_value : "-");
  if (key->required)
    printf (" required=1");
  if (owner != NULL)
    printf (" driver=%s", owner->name);
  printf (" allowed=%s\n", allowed);
  return 0;
}

void
print_dump (void)
{
  const struct blkmq_driver *driver;
  size_t i;

  printf ("blkmq_version=%s\n", blkmq_version ());
  for (i = 0; (driver = blkmq_driver_at (i)) != NULL; i++)
    printf ("blkmq_driver_%s=%s\n", driver->name, driver->help);
  front_for_each_key (print_key_line, NULL);
}
