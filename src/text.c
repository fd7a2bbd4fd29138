/* SPDX-License-Identifier: BSD-3-Clause
 *
 * text.c: words put together in a buffer of fixed size.  No state: any thread.
 */

#include <config.h>

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

struct text
text_begin (char *buf, size_t size)
{
  assert (size > 0);
  buf[0] = '\0';
  return (struct text){ .buf = buf, .size = size };
}

struct text
text_begin_error (struct blkmq_error *error)
{
  /* Without a reader the text is made all the same and dropped: a buffer of
   * size 0 takes nothing. */
  if (error == NULL)
    return (struct text){ .buf = NULL, .size = 0 };
  return text_begin (error->message, sizeof error->message);
}

void
text_add (struct text *text, const char *format, ...)
{
  static const char cut[] = "...";
  size_t room = text->size - text->used; /* the final NUL's included */
  va_list args;
  int len;

  if (text->size == 0)
    return;
  va_start (args, format);
  len = vsnprintf (text->buf + text->used, room, format, args);
  va_end (args);
  if (len < 0)
    return;
  if ((size_t)len < room) {
    text->used += (size_t)len;
    return;
  }
  text->used = text->size - 1;
  if (text->size >= sizeof cut)
    memcpy (text->buf + text->size - sizeof cut, cut, sizeof cut);
}

void
text_add_value (struct text *text, const char *value)
{
  char shown[64];
  size_t i;

  for (i = 0; i < sizeof shown - 1 && value[i] != '\0'; i++)
    shown[i] = iscntrl ((unsigned char)value[i]) ? '?' : value[i];
  shown[i] = '\0';
  text_add (text, "%s%s", shown, value[i] != '\0' ? "..." : "");
}

void
text_add_path (struct text *text, const char *path)
{
  char shown[192];
  size_t len = strlen (path), i;
  bool cut = len >= sizeof shown;

  if (cut)
    path += len - (sizeof shown - 1);
  for (i = 0; path[i] != '\0'; i++)
    shown[i] = iscntrl ((unsigned char)path[i]) ? '?' : path[i];
  shown[i] = '\0';
  text_add (text, "%s%s", cut ? "..." : "", shown);
}
