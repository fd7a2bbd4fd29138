/* SPDX-License-Identifier: BSD-3-Clause
 *
 * log.c: lines on stderr.  Any thread.
 */

#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "server/log.h"

#define MAX_MESSAGE_BYTES 4096u

const char *const log_level_names[NR_LOG_LEVELS + 1]
    = { "error", "warning", "info", "debug", NULL };

static enum log_level shown = LOG_LEVEL_INFO;

void
log_set_level (enum log_level level)
{
  shown = level;
}

bool
log_has_level (enum log_level level)
{
  return level <= shown;
}

/* Names come from clients.  UTF-8 stays as it is. */
static size_t
escape (char *line, const char *message)
{
  size_t nr = 0;

  for (; *message != '\0'; message++) {
    unsigned char c = (unsigned char)*message;

    if (c < 0x20 || c == 0x7f)
      nr += (size_t)sprintf (line + nr, "\\x%02x", c);
    else
      line[nr++] = (char)c;
  }
  return nr;
}

void
log_line (enum log_level level, const char *format, ...)
{
  char message[MAX_MESSAGE_BYTES], line[4 * MAX_MESSAGE_BYTES + 64];
  int error = errno;
  size_t nr;
  va_list args;

  if (!log_has_level (level))
    return;
  va_start (args, format);
  vsnprintf (message, sizeof message, format, args);
  va_end (args);
  nr = (size_t)sprintf (line, "blkmqd: %s%s",
                        level == LOG_LEVEL_INFO ? "" : log_level_names[level],
                        level == LOG_LEVEL_INFO ? "" : ": ");
  nr += escape (line + nr, message);
  line[nr++] = '\n';
  /* There is nobody to tell that nobody can be told. */
  (void)!write (STDERR_FILENO, line, nr);
  errno = error;
}
