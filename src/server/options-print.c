/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options-print.c: what --check says would be served.  The main thread.
 */

#include <config.h>

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/options-internal.h"

/* As a shell would want it. */
static void
print_value (const char *value)
{
  static const char plain[]
      = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW"
        "XYZ0123456789%+,-./:=@_[]";

  if (value[strspn (value, plain)] == '\0') {
    fputs (value, stdout);
    return;
  }
  putchar ('\'');
  for (; *value != '\0'; value++)
    if (*value == '\'')
      fputs ("'\\''", stdout);
    else
      putchar (iscntrl ((unsigned char)*value) ? '?' : *value);
  putchar ('\'');
}

static int
compare_entries (const void *a, const void *b)
{
  const struct config_entry *one = a, *other = b;
  bool is_size = strcmp (one->name, "size") == 0;

  if (is_size || strcmp (other->name, "size") == 0)
    return is_size ? -1 : 1;
  return strcmp (one->name, other->name);
}

static void
print_export (const struct export *export, const uint64_t *drawn_seed)
{
  const struct blkmq_config *config = export->config;
  struct config_entry *entries;

  entries = malloc ((config->nr_entries + 1) * sizeof entries[0]);
  if (entries == NULL)
    return;
  memcpy (entries, config->entries, config->nr_entries * sizeof entries[0]);
  qsort (entries, config->nr_entries, sizeof entries[0], compare_entries);
  if (*export->prefix != '\0') {
    printf ("export=");
    print_value (export->name);
    putchar (' ');
  }
  for (size_t i = 0; i < config->nr_entries; i++) {
    /* Of no use to anybody: the next run draws another one. */
    if (drawn_seed != NULL && strcmp (entries[i].name, "seed") == 0
        && strtoull (entries[i].value, NULL, 10) == *drawn_seed)
      continue;
    printf ("%s%s=", i > 0 ? " " : "", entries[i].name);
    print_value (entries[i].value);
  }
  if (export->description != NULL) {
    printf (" description=");
    print_value (export->description);
  }
  putchar ('\n');
  free (entries);
}

void
options_print (const struct options *options)
{
  uint64_t seed;
  bool drew_seed = exports_drew_seed (options->exports, &seed);

  printf ("%s: ok\n", options->config_file != NULL ? options->config_file
                                                   : "the command line");
  for (unsigned i = 0; i < options->nr_addresses; i++) {
    printf (options->addresses[i].is_tcp ? "--tcp=" : "--unix=");
    print_value (options->addresses[i].value);
    putchar ('\n');
  }
  if (options->nr_addresses == 0 && options->command == NULL
      && !options->is_stdio)
    puts ("at sockets that are passed to it, or --unix, --tcp, --stdio or "
          "--run");
  for (unsigned i = 0; i < exports_nr (options->exports); i++) {
    uint64_t drawn = seed + i;

    print_export (exports_at (options->exports, i), drew_seed ? &drawn : NULL);
  }
}
