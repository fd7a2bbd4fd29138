/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options-help.c: --help, which derives from the table.  The main thread,
 * before others run.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "front/help.h"
#include "server/options-internal.h"

/* "64M", "10s", "debug": as it would be given. */
static void
print_number (const struct blkmq_key *key, uint64_t number)
{
  static const char *const units[] = { "", "k", "M", "G", "T", "P", "E" };
  const char *unit = "";
  unsigned i = 0;

  switch (key->type) {
  case BLKMQ_KEY_ENUM:
    printf ("%s", key->words[number]);
    return;
  case BLKMQ_KEY_SIZE:
    while (number > 0 && number % 1024 == 0 && i < 6) {
      number /= 1024;
      i++;
    }
    unit = units[i];
    break;
  case BLKMQ_KEY_TIME:
    if (number > 0) {
      unit = key->unit;
      if (strcmp (unit, "ms") == 0 && number % 1000 == 0) {
        number /= 1000;
        unit = "s";
      }
    }
    break;
  default:
    break;
  }
  printf ("%" PRIu64 "%s", number, unit);
}

void
options_print_help (void)
{
  static const struct help_default queues
      = { "submit_queues", "the number of threads" };
  struct option_values values;

  options_set_defaults (&values);
  puts ("usage: blkmqd [OPTION...] [size=]SIZE [KEY=VALUE...]\n"
        "              [export=NAME [KEY=VALUE...]]...\n"
        "Serve block devices with settable behaviour over NBD.\n");
  for (unsigned i = 0; i < NR_OPTIONS; i++) {
    const struct blkmq_key *key = &option_rows[i].key;
    int columns = printf ("  %s", key->name);

    if (option_rows[i].value != NULL)
      columns += printf ("=%s", option_rows[i].value);
    printf ("%*s%s", columns < 29 ? 29 - columns : 1, "", key->help);
    if (i == OPT_THREADS)
      printf (" (default: CPUs, at most %d)", OPTIONS_DEFAULT_MAX_THREADS);
    else if (option_rows[i].value != NULL && key->type != BLKMQ_KEY_STRING) {
      printf (" (default ");
      print_number (key, values.numbers[i]);
      printf (")");
    }
    puts ("");
  }
  puts ("  --help, --version\n"
        "\n"
        "A TIME of 0 is none.  Keys:\n");
  help_print_keys (stdout, &queues);
  puts ("\n"
        "Exit status: 0 told to end, 1 failed, 2 wrong usage; with --run that "
        "of\nthe command.  blkmqd(8) has examples.");
}
