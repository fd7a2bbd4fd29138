/* SPDX-License-Identifier: BSD-3-Clause
 *
 * table.h: tables of text with aligned columns.  One thread.
 */

#ifndef BLKMQ_BLKMQCTL_TABLE_H
#define BLKMQ_BLKMQCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TABLE_MAX_COLUMNS 12

enum {
  TABLE_RIGHT = 1, /* aligned to the right: numbers */
  TABLE_CUT = 2,   /* may be cut off when the table is too wide */
};

struct table_column {
  const char *title; /* NULL in all columns: the table has no header */
  unsigned flags;
};

struct table {
  const struct table_column *columns;
  size_t nr_columns;
  char **cells; /* nr_rows times nr_columns */
  size_t nr_rows;
};

/* COLUMNS must outlive the table. */
struct table table_begin (const struct table_column *columns,
                          size_t nr_columns);

/* One row, as many strings as there are columns; they are copied, and NULL is
 * an empty one.  What a terminal would obey is replaced by '?'. */
void table_add (struct table *table, ...);

/* With MAX_COLUMNS, lines are that wide at most, if cutting the columns that
 * may be cut is enough; 0 is without a limit. */
void table_print (const struct table *table, unsigned max_columns, FILE *file);
void table_free (struct table *table);

/* Columns that a terminal needs for TEXT, in the locale's characters. */
unsigned text_columns (const char *text);

/* TEXT without control characters, and cut off, with "..." for the rest, to at
 * most MAX_COLUMNS if that is not 0.  The caller frees it. */
char *text_fit (const char *text, unsigned max_columns);

#endif /* BLKMQ_BLKMQCTL_TABLE_H */
