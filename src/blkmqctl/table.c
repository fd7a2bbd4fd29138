/* SPDX-License-Identifier: BSD-3-Clause
 *
 * table.c: tables of text.  One thread.
 */

#include <config.h>

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "blkmqctl/memory.h"
#include "blkmqctl/table.h"

#define GAP 2
/* No column is cut to less. */
#define LEAST_COLUMNS 8

/* ------------------------------------------------------------------------ */
/* Texts                                                                     */

/* The next character: how many bytes it has, 0 at the end.  *COLUMNS is what a
 * terminal needs for it, -1 for what it must not get. */
static size_t
next_character (const char *text, mbstate_t *state, int *columns)
{
  wchar_t c;
  size_t nr = mbrtowc (&c, text, MB_CUR_MAX, state);

  if (nr == 0)
    return 0;
  if (nr == (size_t)-1 || nr == (size_t)-2) {
    memset (state, 0, sizeof *state);
    *columns = -1;
    return 1;
  }
  *columns = wcwidth (c);
  return nr;
}

unsigned
text_columns (const char *text)
{
  mbstate_t state = { 0 };
  unsigned sum = 0;
  int columns;
  size_t nr;

  for (; (nr = next_character (text, &state, &columns)) > 0; text += nr)
    sum += columns < 0 ? 1 : (unsigned)columns;
  return sum;
}

char *
text_fit (const char *text, unsigned max_columns)
{
  bool cut = max_columns > 0 && text_columns (text) > max_columns;
  unsigned room = cut && max_columns > 3 ? max_columns - 3 : max_columns;
  char *fit = resize (NULL, strlen (text) + 4, 1), *to = fit;
  mbstate_t state = { 0 };
  int columns;
  size_t nr;

  for (; (nr = next_character (text, &state, &columns)) > 0; text += nr) {
    unsigned needed = columns < 0 ? 1 : (unsigned)columns;

    if (cut && needed > room)
      break;
    room -= cut ? needed : 0;
    if (columns < 0)
      *to++ = '?';
    else
      to = mempcpy (to, text, nr);
  }
  strcpy (to, cut && max_columns > 3 ? "..." : "");
  return fit;
}

/* ------------------------------------------------------------------------ */
/* Tables                                                                    */

struct table
table_begin (const struct table_column *columns, size_t nr_columns)
{
  assert (nr_columns > 0 && nr_columns <= TABLE_MAX_COLUMNS);
  return (struct table){ .columns = columns, .nr_columns = nr_columns };
}

void
table_add (struct table *table, ...)
{
  va_list args;

  table->cells = resize (table->cells, (table->nr_rows + 1) * table->nr_columns,
                         sizeof *table->cells);
  va_start (args, table);
  for (size_t i = 0; i < table->nr_columns; i++) {
    const char *cell = va_arg (args, const char *);

    table->cells[table->nr_rows * table->nr_columns + i]
        = text_fit (cell != NULL ? cell : "", 0);
  }
  va_end (args);
  table->nr_rows++;
}

void
table_free (struct table *table)
{
  for (size_t i = 0; i < table->nr_rows * table->nr_columns; i++)
    free (table->cells[i]);
  free (table->cells);
  table->cells = NULL;
  table->nr_rows = 0;
}

static unsigned
larger (unsigned a, unsigned b)
{
  return a > b ? a : b;
}

static void
find_widths (const struct table *table, unsigned *widths)
{
  for (size_t i = 0; i < table->nr_columns; i++) {
    const char *title = table->columns[i].title;

    widths[i] = title != NULL ? text_columns (title) : 0;
    for (size_t row = 0; row < table->nr_rows; row++)
      widths[i] = larger (
          widths[i], text_columns (table->cells[row * table->nr_columns + i]));
  }
}

/* Take from the widest of those that may be cut, one column at a time. */
static void
cut_widths (const struct table *table, unsigned *widths, unsigned max_columns)
{
  unsigned sum = GAP * (unsigned)(table->nr_columns - 1);

  for (size_t i = 0; i < table->nr_columns; i++)
    sum += widths[i];
  for (; sum > max_columns; sum--) {
    size_t widest = table->nr_columns;

    for (size_t i = 0; i < table->nr_columns; i++) {
      if ((table->columns[i].flags & TABLE_CUT) && widths[i] > LEAST_COLUMNS
          && (widest == table->nr_columns || widths[i] > widths[widest]))
        widest = i;
    }
    if (widest == table->nr_columns)
      return;
    widths[widest]--;
  }
}

static void
print_row (const struct table *table, const unsigned *widths,
           const char *const *cells, FILE *file)
{
  unsigned owed = 0; /* blanks, written before what comes: none at the end */

  for (size_t i = 0; i < table->nr_columns; i++) {
    char *cell = text_fit (cells[i], widths[i]);
    unsigned free_columns = widths[i] - text_columns (cell);
    bool right = table->columns[i].flags & TABLE_RIGHT;

    if (*cell != '\0')
      fprintf (file, "%*s%s", (int)(owed + (right ? free_columns : 0)), "",
               cell);
    owed = *cell == '\0' ? owed + widths[i] : right ? 0 : free_columns;
    owed += GAP;
    free (cell);
  }
  fputc ('\n', file);
}

void
table_print (const struct table *table, unsigned max_columns, FILE *file)
{
  unsigned widths[TABLE_MAX_COLUMNS];
  const char *titles[TABLE_MAX_COLUMNS];
  bool has_titles = false;

  find_widths (table, widths);
  if (max_columns > 0)
    cut_widths (table, widths, max_columns);
  for (size_t i = 0; i < table->nr_columns; i++) {
    titles[i] = table->columns[i].title;
    has_titles = has_titles || titles[i] != NULL;
    if (titles[i] == NULL)
      titles[i] = "";
  }
  if (has_titles)
    print_row (table, widths, titles, file);
  for (size_t row = 0; row < table->nr_rows; row++)
    print_row (table, widths,
               (const char *const *)&table->cells[row * table->nr_columns],
               file);
}
