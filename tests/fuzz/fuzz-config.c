/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz-config.c: the file of blkmqd's --config.  The input is such a file.
 * Whatever it is, it is taken, or refused with messages that say where; and
 * what was taken can be checked.  One thread.
 */

#include <config.h>

#include <stdarg.h>
#include <string.h>

#include "fuzz.h"
#include "server/config-file.h"
#include "server/log.h"

static unsigned nr_messages;

void __wrap_log_line (enum log_level level, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));

/* Whole lines of sense; nobody reads them. */
void
__wrap_log_line (enum log_level level, const char *format, ...)
{
  char message[8192];
  va_list args;
  int bytes;

  va_start (args, format);
  bytes = vsnprintf (message, sizeof message, format, args);
  va_end (args);
  require (level == LOG_LEVEL_ERROR);
  require (bytes > 0 && (size_t)bytes < sizeof message);
  require (strncmp (message, "file:", 5) == 0);
  nr_messages++;
}

int
LLVMFuzzerInitialize (int *argc, char ***argv)
{
  return 0;
}

/* A driver's name with a slash is a file that would be loaded. */
static bool
loads_files (const uint8_t *input, size_t bytes)
{
  return memmem (input, bytes, "driver", 6) != NULL
         && memchr (input, '/', bytes) != NULL;
}

int
LLVMFuzzerTestOneInput (const uint8_t *input, size_t bytes)
{
  struct options options = { .config_file = "file" };
  struct option_values values;
  struct blkmq_error error = { "" };
  enum options_result result;

  if (loads_files (input, bytes))
    return 0;
  options.exports = exports_alloc ();
  require (options.exports != NULL);
  options_set_defaults (&values);
  values.outranks_file[OPT_THREADS] = bytes % 2;
  nr_messages = 0;
  result = config_file_parse (&options, &values, options.exports, "file",
                              (const char *)input, bytes);
  require (result == OPTIONS_SERVE || result == OPTIONS_WRONG);
  require ((result == OPTIONS_WRONG) == (nr_messages > 0));
  for (unsigned i = 0; i < NR_OPTIONS; i++)
    require (!values.given[i] || !option_rows[i].not_in_file);
  require (options.nr_addresses == 0 || values.given[OPT_UNIX]
           || values.given[OPT_TCP]);
  if (result == OPTIONS_SERVE && exports_check (options.exports, &error) < 0) {
    require (*error.message != '\0');
    config_places_explain (options.places, "file", &error);
  }
  options_free (&options);
  return 0;
}
