/* SPDX-License-Identifier: BSD-3-Clause
 *
 * memory.c: allocation that succeeds or ends the program.  Any thread.
 */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blkmqctl/memory.h"

/* What is there to free or to restore at exit is done by atexit's. */
void
no_memory (void)
{
  fputs ("blkmqctl: there is no memory left\n", stderr);
  exit (1);
}

void *
resize (void *old, size_t nr, size_t bytes)
{
  void *p = reallocarray (old, nr > 0 ? nr : 1, bytes);

  if (p == NULL)
    no_memory ();
  return p;
}

char *
copy_text (const char *text)
{
  char *copy = strdup (text);

  if (copy == NULL)
    no_memory ();
  return copy;
}

char *
make_text (const char *format, ...)
{
  va_list args;
  char *text;

  va_start (args, format);
  if (vasprintf (&text, format, args) == -1)
    no_memory ();
  va_end (args);
  return text;
}
