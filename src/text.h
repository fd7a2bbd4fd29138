/* SPDX-License-Identifier: BSD-3-Clause
 *
 * text.h: words put together in a buffer of fixed size: messages, above all.
 * Of no room: engine, layers and front ends all use it.
 */

#ifndef BLKMQ_TEXT_H
#define BLKMQ_TEXT_H

#include <stddef.h>

#include "blkmq.h"

/* What does not fit is cut off, and "..." at the end says so. */
struct text {
  char *buf;
  size_t size, used;
};

struct text text_begin (char *buf, size_t size);
void text_add (struct text *text, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));
/* A user's string: shortened, control characters replaced. */
void text_add_value (struct text *text, const char *value);
/* Likewise, but it is the end of a path that tells most, and more of it. */
void text_add_path (struct text *text, const char *path);

/* The same, into ERROR, which may be NULL. */
struct text text_begin_error (struct blkmq_error *error);

#endif /* BLKMQ_TEXT_H */
