/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stats.c: the command stats: what was counted since the start, or since
 * reset-stats.  One thread.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "blkmqctl/ctl.h"
#include "blkmqctl/format.h"
#include "blkmqctl/memory.h"
#include "blkmqctl/table.h"

/* A column of the table by operations.  Not more than fit into 80 columns. */
#define MAX_OPS 6

/* The number IN has at NAME, 0 if there is none: what the server does not count
 * (or not yet) is no error here. */
static uint64_t
number (const json_t *in, const char *name)
{
  json_int_t n = json_integer_value (json_object_get (in, name));

  return n > 0 ? (uint64_t)n : 0;
}

static uint64_t
sum (json_t *numbers)
{
  const char *name;
  uint64_t n = 0;
  json_t *value;

  json_object_foreach (numbers, name, value) n
      += (uint64_t)json_integer_value (value);
  return n;
}

/* ------------------------------------------------------------------------ */
/* By operation                                                              */

struct by_op {
  json_t *total;
  const char *ops[MAX_OPS];
  size_t nr_ops;
  struct table table;
};

static void
add_cells (struct by_op *by_op, const char *label,
           char cells[MAX_OPS][FORMAT_BYTES])
{
  const char *of[MAX_OPS] = { NULL };

  for (size_t i = 0; i < by_op->nr_ops; i++)
    of[i] = cells[i];
  table_add (&by_op->table, label, of[0], of[1], of[2], of[3], of[4], of[5]);
}

static void
add_numbers (struct by_op *by_op, const char *label, const char *member,
             const char *(*format) (char *buf, uint64_t n))
{
  json_t *numbers = json_object_get (by_op->total, member);
  char cells[MAX_OPS][FORMAT_BYTES];

  for (size_t i = 0; i < by_op->nr_ops; i++)
    format (cells[i], number (numbers, by_op->ops[i]));
  add_cells (by_op, label, cells);
}

static void
add_times (struct by_op *by_op, const char *label, const char *member)
{
  json_t *latency = json_object_get (by_op->total, "latency");
  char cells[MAX_OPS][FORMAT_BYTES];

  for (size_t i = 0; i < by_op->nr_ops; i++) {
    json_t *ns
        = json_object_get (json_object_get (latency, by_op->ops[i]), member);

    if (json_is_number (ns))
      format_time (cells[i], json_number_value (ns));
    else
      strcpy (cells[i], "-");
  }
  add_cells (by_op, label, cells);
}

static const char *
format_amount_of (char *buf, uint64_t bytes)
{
  return format_amount (buf, (double)bytes);
}

static void
print_by_op (json_t *total)
{
  struct table_column columns[MAX_OPS + 1] = { { "", 0 } };
  struct by_op by_op = { .total = total };
  const char *name;
  json_t *value;

  json_object_foreach (json_object_get (total, "ios"), name, value)
  {
    if (by_op.nr_ops < MAX_OPS)
      by_op.ops[by_op.nr_ops++] = name;
  }
  for (size_t i = 0; i < MAX_OPS; i++)
    columns[i + 1]
        = (struct table_column){ i < by_op.nr_ops ? by_op.ops[i] : "",
                                 TABLE_RIGHT };
  by_op.table = table_begin (columns, MAX_OPS + 1);
  add_numbers (&by_op, "requests", "ios", format_count);
  add_numbers (&by_op, "data", "bytes", format_amount_of);
  add_numbers (&by_op, "in flight", "in_flight", format_count);
  if (json_is_object (json_object_get (total, "latency"))) {
    add_times (&by_op, "mean", "mean_ns");
    add_times (&by_op, "min", "min_ns");
    add_times (&by_op, "p50", "p50_ns");
    add_times (&by_op, "p90", "p90_ns");
    add_times (&by_op, "p99", "p99_ns");
    add_times (&by_op, "p99.9", "p99_9_ns");
    add_times (&by_op, "max", "max_ns");
  }
  table_print (&by_op.table, ctl_columns (), stdout);
  table_free (&by_op.table);
  if (json_is_null (json_object_get (total, "latency")))
    puts ("latencies are not measured: blkmqctl set iostats=1");
}

/* ------------------------------------------------------------------------ */
/* What is not of one operation                                              */

/* "timeout 3, ioerr 2", or "0". */
static char *
list_of (json_t *numbers)
{
  char *list = copy_text (""), count[FORMAT_BYTES];
  const char *name;
  json_t *value;

  json_object_foreach (numbers, name, value)
  {
    char *longer;

    if (json_integer_value (value) == 0)
      continue;
    longer = make_text (
        "%s%s%s %s", list, *list != '\0' ? ", " : "", name,
        format_count (count, (uint64_t)json_integer_value (value)));
    free (list);
    list = longer;
  }
  if (*list == '\0') {
    free (list);
    return copy_text ("0");
  }
  return list;
}

static void
print_list (const char *label, json_t *numbers)
{
  char *list = list_of (numbers);

  printf ("%-12s%s\n", label, list);
  free (list);
}

struct counter {
  const char *member, *label;
};

/* LABEL and then the counters on one line. */
static void
print_counters (json_t *total, const char *label,
                const struct counter *counters, size_t nr)
{
  char count[FORMAT_BYTES];

  printf ("%-12s", label);
  for (size_t i = 0; i < nr; i++)
    printf ("%s%s%s", i > 0 ? ", " : "",
            format_count (count, number (total, counters[i].member)),
            counters[i].label);
  putchar ('\n');
}

static void
print_rest (json_t *total)
{
  static const struct counter waits[] = {
    { "waiting", " waiting for a tag" },
    { "busy", " times busy" },
    { "requeues", " requeues" },
  };
  static const struct counter timeouts[] = {
    { "timeouts", "" },
    { "timeouts_done", " done" },
    { "timeouts_reset", " reset" },
    { "timeouts_held", " held" },
  };
  static const struct counter saved[] = {
    { "merges", " ios merged" },
    { "flushes", " flushes made" },
    { "flushes_coalesced", " saved" },
    { "polled", " polled" },
  };
  static const struct counter stale[] = {
    { "stale_tokens", " tokens" },
    { "stale_handles", " handles" },
  };

  print_list ("errors", json_object_get (total, "errors"));
  print_list ("rejected", json_object_get (total, "rejected"));
  print_counters (total, "waits", waits, 3);
  print_counters (total, "timeouts", timeouts, 4);
  print_counters (total, "work", saved, 4);
  print_counters (total, "stale", stale, 2);
  print_list ("lost claims", json_object_get (total, "lost_claims"));
}

static void
print_hctxs (json_t *hctxs)
{
  static const struct table_column columns[] = {
    { "HCTX", TABLE_RIGHT },     { "REQUESTS", TABLE_RIGHT },
    { "DATA", TABLE_RIGHT },     { "IN FLIGHT", TABLE_RIGHT },
    { "WAITING", TABLE_RIGHT },  { "BUSY", TABLE_RIGHT },
    { "REQUEUES", TABLE_RIGHT }, { "ERRORS", TABLE_RIGHT },
  };
  struct table table = table_begin (columns, 8);
  char cells[8][FORMAT_BYTES];
  json_t *hctx;
  size_t i;

  json_array_foreach (hctxs, i, hctx)
  {
    snprintf (cells[0], FORMAT_BYTES, "%zu", i);
    format_count (cells[1], sum (json_object_get (hctx, "ios")));
    format_amount_of (cells[2], sum (json_object_get (hctx, "bytes")));
    format_count (cells[3], sum (json_object_get (hctx, "in_flight")));
    format_count (cells[4], number (hctx, "waiting"));
    format_count (cells[5], number (hctx, "busy"));
    format_count (cells[6], number (hctx, "requeues"));
    format_count (cells[7], sum (json_object_get (hctx, "errors"))
                                + sum (json_object_get (hctx, "rejected")));
    table_add (&table, cells[0], cells[1], cells[2], cells[3], cells[4],
               cells[5], cells[6], cells[7]);
  }
  table_print (&table, ctl_columns (), stdout);
  table_free (&table);
}

enum ctl_status
ctl_stats (struct ctl *ctl)
{
  json_t *result, *hctxs, *total;
  enum ctl_status status;

  status = ctl_call (ctl, "stats", NULL, &result);
  if (status != CTL_DONE)
    return status;
  status = ctl_array (ctl, result, "hctxs", &hctxs);
  if (status == CTL_DONE)
    status = ctl_unpack (ctl, result, "{s:o, s:{s:{}}}", "total", &total,
                         "total", "ios");
  if (status == CTL_DONE && ctl->json)
    ctl_print_json (result);
  else if (status == CTL_DONE) {
    print_by_op (total);
    putchar ('\n');
    print_rest (total);
    putchar ('\n');
    print_hctxs (hctxs);
  }
  json_decref (result);
  return status;
}
