/* SPDX-License-Identifier: BSD-3-Clause
 *
 * view.c: a picture of what a disk does.  One thread.
 *
 *     title
 *     errors and what is out of the ordinary, or a blank line
 *     titles of the columns
 *     all, and each operation that is used
 *                                     (blank)
 *     hctxs: all, or the busiest that fit
 *     foot
 */

#include <config.h>

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "blkmqctl/format.h"
#include "blkmqctl/memory.h"
#include "blkmqctl/table.h"
#include "blkmqctl/view.h"

/* ------------------------------------------------------------------------ */
/* Columns                                                                   */

enum column_id {
  COLUMN_IOPS,
  COLUMN_READS,
  COLUMN_WRITES,
  COLUMN_BYTES,
  COLUMN_IN_FLIGHT,
  COLUMN_WAITING,
  COLUMN_P50,
  COLUMN_P99,
  COLUMN_READ_P99,
  COLUMN_WRITE_P99,
  COLUMN_BUSY,
  COLUMN_REQUEUES,
  COLUMN_ERRORS,
  NR_COLUMNS
};

#define LABEL_COLUMNS 10 /* "hctx 1023" */

/* What does not fit is left out, the highest rank first. */
static const struct {
  const char *title;
  unsigned columns, rank;
} columns[NR_COLUMNS] = {
  [COLUMN_IOPS] = { "IOPS", 9, 0 },
  [COLUMN_READS] = { "READ/s", 9, 7 },
  [COLUMN_WRITES] = { "WRITE/s", 9, 7 },
  [COLUMN_BYTES] = { "BYTES/s", 10, 1 },
  [COLUMN_IN_FLIGHT] = { "IN FLIGHT", 9, 2 },
  [COLUMN_WAITING] = { "WAITING", 9, 6 },
  [COLUMN_P50] = { "P50", 8, 4 },
  [COLUMN_P99] = { "P99", 8, 3 },
  [COLUMN_READ_P99] = { "READ P99", 8, 8 },
  [COLUMN_WRITE_P99] = { "WRITE P99", 9, 8 },
  [COLUMN_BUSY] = { "BUSY/s", 9, 9 },
  [COLUMN_REQUEUES] = { "REQUEUE/s", 9, 10 },
  [COLUMN_ERRORS] = { "ERR/s", 9, 5 },
};
#define LAST_RANK 10

struct picture {
  const struct view *view;
  FILE *file;
  bool shown[NR_COLUMNS];
  unsigned lines; /* that were printed */
};

static unsigned
label_columns (const struct view *view)
{
  return view->columns < LABEL_COLUMNS ? view->columns : LABEL_COLUMNS;
}

static void
choose_columns (struct picture *picture)
{
  unsigned left = picture->view->columns - label_columns (picture->view);
  unsigned needed;

  for (unsigned rank = 0; rank <= LAST_RANK; rank++) {
    needed = 0;
    for (unsigned i = 0; i < NR_COLUMNS; i++) {
      if (columns[i].rank == rank)
        needed += 1 + columns[i].columns;
    }
    if (needed > left)
      return;
    left -= needed;
    for (unsigned i = 0; i < NR_COLUMNS; i++) {
      if (columns[i].rank == rank)
        picture->shown[i] = true;
    }
  }
}

/* ------------------------------------------------------------------------ */
/* Lines                                                                     */

#define STYLE_NONE ""
#define STYLE_BOLD "1"
#define STYLE_FAINT "2"
#define STYLE_TITLES "7"
#define STYLE_ALARM "1;31"

static void
style (const struct picture *picture, const char *sgr)
{
  if (picture->view->styled && *sgr != '\0')
    fprintf (picture->file, "\033[%sm", sgr);
}

/* False: there is no room for it.  The newline stands before each line but the
 * first: so a picture that fills a terminal does not scroll it. */
static bool
begin_line (struct picture *picture)
{
  if (picture->view->rows > 0 && picture->lines >= picture->view->rows)
    return false;
  if (picture->lines++ > 0)
    fputc ('\n', picture->file);
  return true;
}

static void
print_text (struct picture *picture, const char *text, unsigned max_columns,
            const char *sgr)
{
  char *fit = text_fit (text, max_columns);

  style (picture, *fit != '\0' ? sgr : STYLE_NONE);
  fputs (fit, picture->file);
  style (picture, *fit != '\0' && *sgr != '\0' ? "0" : STYLE_NONE);
  free (fit);
}

static void
print_line (struct picture *picture, const char *text, const char *sgr)
{
  if (begin_line (picture))
    print_text (picture, text, picture->view->columns, sgr);
}

static void
print_titles (struct picture *picture)
{
  unsigned used = label_columns (picture->view);

  if (!begin_line (picture))
    return;
  style (picture, STYLE_TITLES);
  fprintf (picture->file, "%*s", (int)label_columns (picture->view), "");
  for (unsigned i = 0; i < NR_COLUMNS; i++) {
    if (!picture->shown[i])
      continue;
    fprintf (picture->file, " %*s", (int)columns[i].columns, columns[i].title);
    used += 1 + columns[i].columns;
  }
  if (picture->view->styled && used < picture->view->columns)
    fprintf (picture->file, "%*s", (int)(picture->view->columns - used), "");
  style (picture, picture->view->styled ? "0" : STYLE_NONE);
}

/* A row: of an operation only what is counted by operation. */
struct row {
  const char *label;
  const struct rates *rates;
  enum sample_op op;
};

static void
time_cell (char *cell, const struct rates_op *op)
{
  if (op->nr_timed > 0)
    format_time (cell, (double)op->p99_ns);
}

static void
count_cell (char *cell, uint64_t count)
{
  if (count < 10000000)
    format_count (cell, count);
  else
    format_rate (cell, (double)count);
}

/* Empty: there is no such number; "-": it is not known. */
static void
make_cell (char *cell, const struct row *row, unsigned column)
{
  const struct rates *rates = row->rates;
  const struct rates_op *op = &rates->op[row->op];
  bool all = row->op == SAMPLE_ALL;

  strcpy (cell, "-");
  switch ((enum column_id)column) {
  case COLUMN_IN_FLIGHT:
    count_cell (cell, op->in_flight);
    return;
  case COLUMN_WAITING:
    if (all)
      count_cell (cell, rates->waiting);
    else
      *cell = '\0';
    return;
  default:
    break;
  }
  if (!all && column != COLUMN_IOPS && column != COLUMN_BYTES
      && column != COLUMN_P50 && column != COLUMN_P99) {
    *cell = '\0';
    return;
  }
  if (!rates->known)
    return;
  switch ((enum column_id)column) {
  case COLUMN_IOPS:
    format_rate (cell, op->per_second);
    break;
  case COLUMN_READS:
    format_rate (cell, rates->op[SAMPLE_READ].per_second);
    break;
  case COLUMN_WRITES:
    format_rate (cell, rates->op[SAMPLE_WRITE].per_second);
    break;
  case COLUMN_BYTES:
    format_amount (cell, op->bytes_per_second);
    break;
  case COLUMN_P50:
    if (op->nr_timed > 0)
      format_time (cell, (double)op->p50_ns);
    break;
  case COLUMN_P99:
    time_cell (cell, op);
    break;
  case COLUMN_READ_P99:
    time_cell (cell, &rates->op[SAMPLE_READ]);
    break;
  case COLUMN_WRITE_P99:
    time_cell (cell, &rates->op[SAMPLE_WRITE]);
    break;
  case COLUMN_BUSY:
    format_rate (cell, rates->busy);
    break;
  case COLUMN_REQUEUES:
    format_rate (cell, rates->requeues);
    break;
  case COLUMN_ERRORS:
    format_rate (cell, rates->errors);
    break;
  default:
    break;
  }
}

/* Nothing has happened there and nothing is under way. */
static bool
is_idle (const struct row *row)
{
  const struct rates_op *op = &row->rates->op[row->op];

  return row->rates->known && op->per_second <= 0 && op->in_flight == 0
         && row->rates->waiting == 0 && row->rates->errors <= 0;
}

static void
print_row (struct picture *picture, const struct row *row, const char *sgr)
{
  unsigned label = label_columns (picture->view);
  char cell[FORMAT_BYTES];
  bool alarm;

  if (*sgr == '\0' && is_idle (row))
    sgr = STYLE_FAINT;
  if (!begin_line (picture))
    return;
  style (picture, sgr);
  fprintf (picture->file, "%-*.*s", (int)label, (int)label, row->label);
  for (unsigned i = 0; i < NR_COLUMNS; i++) {
    if (!picture->shown[i])
      continue;
    make_cell (cell, row, i);
    alarm = i == COLUMN_ERRORS && row->op == SAMPLE_ALL && row->rates->known
            && row->rates->errors > 0;
    if (alarm)
      style (picture, STYLE_ALARM);
    fprintf (picture->file, " %*s", (int)columns[i].columns, cell);
    if (alarm)
      style (picture, "0");
  }
  style (picture, *sgr != '\0' ? "0" : STYLE_NONE);
}

/* ------------------------------------------------------------------------ */
/* Pictures                                                                  */

static bool
is_used (const struct rates *total, enum sample_op op)
{
  return total->op[op].per_second > 0 || total->op[op].in_flight > 0;
}

/* Reads and writes always, so that rows do not come and go. */
static void
print_operations (struct picture *picture)
{
  const struct view *view = picture->view;
  struct row row = { .rates = view->total, .op = SAMPLE_ALL };

  row.label = sample_op_name (SAMPLE_ALL);
  print_row (picture, &row, STYLE_BOLD);
  for (unsigned op = 0; op < SAMPLE_NR_OPS; op++) {
    if (op > SAMPLE_WRITE && !is_used (view->total, (enum sample_op)op))
      continue;
    row.op = (enum sample_op)op;
    row.label
        = row.op == SAMPLE_WRITE_ZEROES ? "zeroes" : sample_op_name (row.op);
    print_row (picture, &row, STYLE_NONE);
  }
}

static void
print_hctxs (struct picture *picture, size_t nr)
{
  const struct view *view = picture->view;
  size_t *chosen = resize (NULL, nr, sizeof *chosen);

  rates_busiest (view->hctxs, view->nr_hctxs, chosen, nr);
  for (size_t i = 0; i < nr; i++) {
    const char *type = view->types != NULL ? view->types[chosen[i]] : "default";
    char *label = make_text (
        "%.4s %zu", strcmp (type, "default") == 0 ? "hctx" : type, chosen[i]);
    struct row row = { .label = label,
                       .rates = &view->hctxs[chosen[i]],
                       .op = SAMPLE_ALL };

    print_row (picture, &row, STYLE_NONE);
    free (label);
  }
  free (chosen);
}

static void
print_head (struct picture *picture)
{
  const struct view *view = picture->view;
  bool both = *view->state != '\0' && *view->errors != '\0';
  char *text = make_text ("%s%s%s%s", view->state, both ? "; " : "",
                          *view->errors != '\0' ? "errors so far: " : "",
                          view->errors);

  print_line (picture, view->title, STYLE_BOLD);
  print_line (picture, text, *view->state != '\0' ? STYLE_ALARM : STYLE_NONE);
  free (text);
  if (*view->hint != '\0')
    print_line (picture, view->hint, STYLE_FAINT);
}

/* To the left the keys, to the right what is not shown. */
static void
print_foot (struct picture *picture, size_t nr_hidden)
{
  const struct view *view = picture->view;
  unsigned left = text_columns (view->foot);
  char *hidden = nr_hidden > 0 ? make_text ("%zu of %zu hctxs are not shown",
                                            nr_hidden, view->nr_hctxs)
                               : copy_text ("");
  unsigned right = text_columns (hidden);

  if ((*view->foot != '\0' || nr_hidden > 0) && begin_line (picture)) {
    if (left + right + 2 <= view->columns) {
      print_text (picture, view->foot, 0, STYLE_FAINT);
      fprintf (picture->file, "%*s",
               right > 0 ? (int)(view->columns - left - right) : 0, "");
    }
    print_text (picture, right > 0 ? hidden : "", view->columns, STYLE_NONE);
  }
  free (hidden);
}

void
view_print (const struct view *view, FILE *file)
{
  struct picture picture = { .view = view, .file = file };
  size_t nr = view->nr_hctxs;
  unsigned foot = *view->foot != '\0' ? 1 : 0;

  choose_columns (&picture);
  print_head (&picture);
  print_titles (&picture);
  print_operations (&picture);
  print_line (&picture, "", STYLE_NONE);
  /* The foot says what is hidden: it has its line then, too. */
  if (view->rows > 0 && picture.lines + nr + foot > view->rows)
    nr = view->rows > picture.lines + 1 ? view->rows - picture.lines - 1 : 0;
  print_hctxs (&picture, nr);
  /* The foot is the last line of the terminal. */
  while (foot && picture.lines + 1 < view->rows)
    print_line (&picture, "", STYLE_NONE);
  print_foot (&picture, view->nr_hctxs - nr);
}
