/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-blkmqctl.c: what blkmqctl computes and lays out: numbers as text,
 * tables, what happened between two samples, and pictures of it at every size
 * of terminal.
 */

#include <config.h>

#include <check.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "blkmq.h"
#include "blkmqctl/format.h"
#include "blkmqctl/memory.h"
#include "blkmqctl/sample.h"
#include "blkmqctl/table.h"
#include "blkmqctl/view.h"
#include "engine/histogram.h"

#define NR(array) (sizeof (array) / sizeof ((array)[0]))

/* ------------------------------------------------------------------------ */
/* Numbers                                                                   */

START_TEST (test_counts_have_thousands_apart)
{
  char buf[FORMAT_BYTES];

  ck_assert_str_eq (format_count (buf, 0), "0");
  ck_assert_str_eq (format_count (buf, 999), "999");
  ck_assert_str_eq (format_count (buf, 1000), "1,000");
  ck_assert_str_eq (format_count (buf, 1234567), "1,234,567");
  ck_assert_str_eq (format_count (buf, UINT64_MAX),
                    "18,446,744,073,709,551,615");
}
END_TEST

START_TEST (test_rates_are_short)
{
  char buf[FORMAT_BYTES];

  ck_assert_str_eq (format_rate (buf, 0), "0");
  ck_assert_str_eq (format_rate (buf, 0.01), "<0.1");
  ck_assert_str_eq (format_rate (buf, 0.5), "0.5");
  ck_assert_str_eq (format_rate (buf, 9.94), "9.9");
  ck_assert_str_eq (format_rate (buf, 9.96), "10");
  ck_assert_str_eq (format_rate (buf, 1234.4), "1,234");
  ck_assert_str_eq (format_rate (buf, 9999999.4), "9,999,999");
  ck_assert_str_eq (format_rate (buf, 9999999.6), "10.0 M");
  ck_assert_str_eq (format_rate (buf, 999960e3), "1.0 G");
}
END_TEST

START_TEST (test_sizes_are_in_binary_units)
{
  char buf[FORMAT_BYTES];

  ck_assert_str_eq (format_size (buf, 0), "0 B");
  ck_assert_str_eq (format_size (buf, 512), "512 B");
  ck_assert_str_eq (format_size (buf, 4096), "4 KiB");
  ck_assert_str_eq (format_size (buf, 1536), "1.5 KiB");
  ck_assert_str_eq (format_size (buf, UINT64_C (1) << 30), "1 GiB");
  ck_assert_str_eq (format_size (buf, INT64_MAX), "8.0 EiB");
  ck_assert_str_eq (format_amount (buf, 0), "0 B");
  ck_assert_str_eq (format_amount (buf, 1023.4), "1023 B");
  ck_assert_str_eq (format_amount (buf, 1023.6), "1.0 KiB");
  ck_assert_str_eq (format_amount (buf, 1024 * 1023.96), "1.0 MiB");
  ck_assert_str_eq (format_amount (buf, 482.3 * 1024 * 1024), "482.3 MiB");
}
END_TEST

START_TEST (test_times_have_three_digits)
{
  char buf[FORMAT_BYTES];

  ck_assert_str_eq (format_time (buf, 0), "0 ns");
  ck_assert_str_eq (format_time (buf, 850), "850 ns");
  ck_assert_str_eq (format_time (buf, 999.6), "1.00 us");
  ck_assert_str_eq (format_time (buf, 1204), "1.20 us");
  ck_assert_str_eq (format_time (buf, 9996), "10.0 us");
  ck_assert_str_eq (format_time (buf, 83100), "83.1 us");
  ck_assert_str_eq (format_time (buf, 99960), "100 us");
  ck_assert_str_eq (format_time (buf, 12.3e9), "12.3 s");
  ck_assert_str_eq (format_time (buf, 86400e9), "86400 s");
}
END_TEST

/* What tables reserve is enough, for all magnitudes. */
START_TEST (test_no_number_is_wider_than_its_column)
{
  char buf[FORMAT_BYTES];

  for (double n = 0.001; n < 9e14; n *= 1.01) {
    ck_assert_uint_le (strlen (format_rate (buf, n)), 9);
    ck_assert_uint_le (strlen (format_amount (buf, n)), 10);
    ck_assert_uint_le (strlen (format_size (buf, (uint64_t)n)), 10);
    ck_assert_uint_le (strlen (format_time (buf, n)), 8);
  }
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Tables                                                                    */

static char *
table_text (const struct table *table, unsigned max_columns)
{
  char *text;
  size_t bytes;
  FILE *file = open_memstream (&text, &bytes);

  ck_assert_ptr_nonnull (file);
  table_print (table, max_columns, file);
  fclose (file);
  return text;
}

static void
check_table (const struct table *table, unsigned max_columns,
             const char *expected)
{
  char *text = table_text (table, max_columns);

  ck_assert_str_eq (text, expected);
  free (text);
}

static const struct table_column three[] = {
  { "KEY", 0 },
  { "N", TABLE_RIGHT },
  { "TEXT", TABLE_CUT },
};

START_TEST (test_columns_are_as_wide_as_their_widest_cell)
{
  struct table table = table_begin (three, 3);

  table_add (&table, "a", "1", "first");
  table_add (&table, "bcdef", "1,000", "");
  table_add (&table, "g", NULL, "x");
  check_table (&table, 0,
               "KEY        N  TEXT\n"
               "a          1  first\n"
               "bcdef  1,000\n"
               "g             x\n");
  table_free (&table);
}
END_TEST

START_TEST (test_only_what_may_be_cut_is_cut)
{
  struct table table = table_begin (three, 3);

  table_add (&table, "a", "1", "a text that is too long");
  check_table (&table, 0,
               "KEY  N  TEXT\n"
               "a    1  a text that is too long\n");
  check_table (&table, 20,
               "KEY  N  TEXT\n"
               "a    1  a text th...\n");
  /* Not below what still says something. */
  check_table (&table, 3,
               "KEY  N  TEXT\n"
               "a    1  a tex...\n");
  table_free (&table);
}
END_TEST

START_TEST (test_a_terminal_gets_no_control_characters)
{
  struct table table = table_begin (three, 3);

  table_add (&table, "\033[2J", "1\n", "a\tb\177\xff");
  check_table (&table, 0,
               "KEY    N  TEXT\n"
               "?[2J  1?  a?b??\n");
  table_free (&table);
}
END_TEST

START_TEST (test_columns_are_counted_not_bytes)
{
  struct table table = table_begin (three, 3);

  if (setlocale (LC_CTYPE, "C.UTF-8") == NULL)
    return;
  /* Two bytes and one column; three and two. */
  table_add (&table, "\u00e4\u00f6", "1", "x");
  table_add (&table, "\u65e5\u672c", "2", "y");
  check_table (&table, 0,
               "KEY   N  TEXT\n"
               "\u00e4\u00f6    1  x\n"
               "\u65e5\u672c  2  y\n");
  table_free (&table);
  setlocale (LC_CTYPE, "C");
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Samples                                                                   */

/* A disk of hctxs that all count the same. */
struct counted {
  uint64_t now_ns, reads, bytes, in_flight, waiting, errors;
  bool timed;
  struct blkmq_histogram latency;
};

static json_t *
buckets_of (const struct blkmq_histogram *histogram)
{
  json_t *buckets = json_array ();

  for (unsigned i = 0; i < BLKMQ_HISTOGRAM_NR_BUCKETS; i++) {
    if (histogram->buckets[i] > 0)
      json_array_append_new (buckets,
                             json_pack ("[I, I]", (json_int_t)i,
                                        (json_int_t)histogram->buckets[i]));
  }
  return buckets;
}

static json_t *
counters_of (const struct counted *counted)
{
  json_t *latency = json_null ();

  if (counted->timed)
    latency = json_pack ("{s:{s:o}}", "read", "buckets",
                         buckets_of (&counted->latency));
  return json_pack (
      "{s:{s:I, s:I}, s:{s:I}, s:{s:I}, s:{s:I}, s:{}, s:I, s:I, s:I, s:o}",
      "ios", "read", (json_int_t)counted->reads, "zone_reset", (json_int_t)0,
      "bytes", "read", (json_int_t)counted->bytes, "errors", "timeout",
      (json_int_t)counted->errors, "in_flight", "read",
      (json_int_t)counted->in_flight, "rejected", "waiting",
      (json_int_t)counted->waiting, "busy", (json_int_t)0, "requeues",
      (json_int_t)0, "latency", latency);
}

static json_t *
stats_of (const struct counted *counted, size_t nr_hctxs)
{
  json_t *hctxs = json_array ();

  for (size_t i = 0; i < nr_hctxs; i++)
    json_array_append_new (hctxs, counters_of (counted));
  return json_pack ("{s:I, s:o, s:o}", "now_ns", (json_int_t)counted->now_ns,
                    "hctxs", hctxs, "total", counters_of (counted));
}

static void
take (struct sample *sample, const struct counted *counted, size_t nr_hctxs)
{
  json_t *stats = stats_of (counted, nr_hctxs);
  char *error = NULL;

  ck_assert_ptr_nonnull (stats);
  if (sample_read (sample, stats, &error) != 0)
    ck_abort_msg ("%s", error);
  json_decref (stats);
}

static struct rates
rates_of (const struct counted *before, const struct counted *now)
{
  struct sample a, b;
  struct rates rates;

  take (&a, before, 1);
  take (&b, now, 1);
  rates_between (&rates, &a, &a.total, &b, &b.total);
  sample_free (&a);
  sample_free (&b);
  return rates;
}

START_TEST (test_rates_are_differences_over_time)
{
  struct counted before = { .now_ns = 5000000000, .reads = 100, .bytes = 4096 };
  struct counted now = before;
  struct rates rates;

  now.now_ns += 2000000000;
  now.reads += 50;
  now.bytes += 8192;
  now.errors = 3;
  now.in_flight = 7;
  now.waiting = 2;
  rates = rates_of (&before, &now);
  ck_assert (rates.known && !rates.timed);
  ck_assert_double_eq (rates.op[SAMPLE_READ].per_second, 25);
  ck_assert_double_eq (rates.op[SAMPLE_ALL].per_second, 25);
  ck_assert_double_eq (rates.op[SAMPLE_ALL].bytes_per_second, 4096);
  ck_assert_double_eq (rates.errors, 1.5);
  ck_assert_uint_eq (rates.op[SAMPLE_ALL].in_flight, 7);
  ck_assert_uint_eq (rates.waiting, 2);
  ck_assert_uint_eq (rates.op[SAMPLE_ALL].nr_timed, 0);
}
END_TEST

START_TEST (test_counters_that_were_reset_count_from_0)
{
  struct counted before
      = { .now_ns = 1000000000, .reads = 1000, .timed = true };
  struct counted now = { .now_ns = 2000000000, .reads = 10, .timed = true };
  struct rates rates;

  for (int i = 0; i < 1000; i++)
    blkmq_histogram_record (&before.latency, 1000);
  /* More than before in one bucket, but fewer in another. */
  for (int i = 0; i < 10; i++)
    blkmq_histogram_record (&now.latency, 20);
  rates = rates_of (&before, &now);
  ck_assert_double_eq (rates.op[SAMPLE_ALL].per_second, 10);
  ck_assert_uint_eq (rates.op[SAMPLE_ALL].nr_timed, 10);
  ck_assert_uint_eq (rates.op[SAMPLE_ALL].p99_ns, 20);
}
END_TEST

START_TEST (test_no_rates_without_a_time_between)
{
  struct counted counted = { .now_ns = 1000000000, .reads = 1, .in_flight = 1 };
  struct rates rates = rates_of (&counted, &counted);
  struct sample now;

  ck_assert (!rates.known);
  ck_assert_uint_eq (rates.op[SAMPLE_ALL].in_flight, 1);
  take (&now, &counted, 1);
  rates_between (&rates, &now, NULL, &now, &now.total);
  ck_assert (!rates.known);
  sample_free (&now);
}
END_TEST

/* What was slow before the interval is not seen in it. */
START_TEST (test_percentiles_are_those_of_the_interval)
{
  struct counted before = { .now_ns = 1000000000, .timed = true };
  struct blkmq_histogram interval = { 0 };
  struct counted now;
  struct rates rates;

  for (uint64_t ns = 1000; ns < 1000000; ns += 1000)
    blkmq_histogram_record (&before.latency, ns * 1000);
  now = before;
  now.now_ns += 1000000000;
  for (uint64_t i = 1; i <= 1000; i++) {
    blkmq_histogram_record (&now.latency, i * 1000);
    blkmq_histogram_record (&interval, i * 1000);
  }
  rates = rates_of (&before, &now);
  ck_assert (rates.timed);
  ck_assert_uint_eq (rates.op[SAMPLE_ALL].nr_timed, 1000);
  ck_assert_uint_eq (rates.op[SAMPLE_ALL].p50_ns,
                     blkmq_histogram_percentile (&interval, 50));
  ck_assert_uint_eq (rates.op[SAMPLE_READ].p99_ns,
                     blkmq_histogram_percentile (&interval, 99));
  ck_assert_uint_eq (rates.op[SAMPLE_WRITE].nr_timed, 0);
}
END_TEST

START_TEST (test_what_is_not_a_sample_is_refused)
{
  static const struct {
    const char *path[4]; /* of the member that is replaced */
    const char *with;    /* JSON; NULL: it is taken away */
    const char *error;
  } cases[] = {
    { { "hctxs" }, "{}", "hctxs: missing or of the wrong type" },
    { { "now_ns" }, NULL, "now_ns: missing or of the wrong type" },
    { { "now_ns" }, "-1", "now_ns: missing or of the wrong type" },
    { { "now_ns" }, "1.5", "now_ns: missing or of the wrong type" },
    { { "total" }, "[]", "ios: missing or of the wrong type" },
    { { "total", "ios" }, NULL, "ios: missing or of the wrong type" },
    { { "total", "ios", "read" },
      "\"1\"",
      "ios: missing or of the wrong type" },
    { { "total", "errors" },
      "{\"x\": null}",
      "errors: missing or of the wrong type" },
    { { "total", "rejected" }, NULL, "rejected: missing or of the wrong type" },
    { { "total", "waiting" }, "true", "waiting: missing or of the wrong type" },
    { { "total", "latency" }, "1", "latency: missing or of the wrong type" },
    { { "total", "latency", "read", "buckets" },
      "{}",
      "buckets: missing or of the wrong type" },
    { { "total", "latency", "read", "buckets" },
      "[[1408, 1]]",
      "buckets: missing or of the wrong type" },
    { { "total", "latency", "read", "buckets" },
      "[[-1, 1]]",
      "buckets: missing or of the wrong type" },
    { { "total", "latency", "read", "buckets" },
      "[[1, 1, 1]]",
      "buckets: missing or of the wrong type" },
  };
  const struct counted counted = { .now_ns = 1, .timed = true };

  for (size_t i = 0; i < NR (cases); i++) {
    json_t *stats = stats_of (&counted, 2), *in = stats;
    struct sample sample;
    char *error = NULL;
    size_t depth = 0;

    for (; depth + 1 < NR (cases[i].path) && cases[i].path[depth + 1] != NULL;
         depth++)
      in = json_object_get (in, cases[i].path[depth]);
    if (cases[i].with == NULL)
      json_object_del (in, cases[i].path[depth]);
    else
      json_object_set_new (in, cases[i].path[depth],
                           json_loads (cases[i].with, JSON_DECODE_ANY, NULL));
    ck_assert_int_eq (sample_read (&sample, stats, &error), -1);
    ck_assert_str_eq (error, cases[i].error);
    free (error);
    json_decref (stats);
  }
}
END_TEST

START_TEST (test_the_busiest_are_found_and_stay_in_order)
{
  struct rates rates[6] = { 0 };
  size_t chosen[6];

  rates[1].op[SAMPLE_ALL].per_second = 5;
  rates[2].op[SAMPLE_ALL].in_flight = 1;
  rates[4].op[SAMPLE_ALL].per_second = 7;
  rates[5].waiting = 9;
  rates_busiest (rates, 6, chosen, 3);
  ck_assert_uint_eq (chosen[0], 1);
  ck_assert_uint_eq (chosen[1], 4);
  ck_assert_uint_eq (chosen[2], 5);
  rates_busiest (rates, 6, chosen, 6);
  for (size_t i = 0; i < 6; i++)
    ck_assert_uint_eq (chosen[i], i);
  /* Of idle ones the first. */
  rates_busiest (rates, 6, chosen, 5);
  ck_assert_uint_eq (chosen[0], 0);
  ck_assert_uint_eq (chosen[3], 4);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Pictures                                                                  */

#define MAX_HCTXS 1024

static struct rates view_rates[MAX_HCTXS], view_total;

static struct view
make_view (size_t nr_hctxs)
{
  for (size_t i = 0; i < nr_hctxs; i++) {
    view_rates[i] = (struct rates){ .known = true, .timed = true };
    view_rates[i].op[SAMPLE_ALL] = (struct rates_op){
      (double)(i * 7919 % 1024), 1e9, 64, 100, 83100, 1200000
    };
    view_rates[i].errors = i % 3 == 0 ? 0.5 : 0;
  }
  view_total = (struct rates){ .known = true, .timed = true, .waiting = 12 };
  view_total.op[SAMPLE_READ]
      = (struct rates_op){ 123456, 4e8, 32, 100, 850, 12000 };
  view_total.op[SAMPLE_ALL] = view_total.op[SAMPLE_READ];
  return (struct view){
    .title = "a disk with a long name  memory 1 GiB, 1024 hardware queues of "
             "64, scheduler mq-deadline",
    .state = "the power is off",
    .errors = "timeout 3, ioerr 2",
    .hint = "",
    .total = &view_total,
    .hctxs = view_rates,
    .nr_hctxs = nr_hctxs,
    .columns = 80,
    .rows = 24,
    .foot = "q quits; every 1 s",
  };
}

static char *
view_text (const struct view *view)
{
  char *text;
  size_t bytes;
  FILE *file = open_memstream (&text, &bytes);

  ck_assert_ptr_nonnull (file);
  view_print (view, file);
  fclose (file);
  return text;
}

/* Take out what sets colours. */
static void
strip_styles (char *text)
{
  char *to = text;

  for (const char *from = text; *from != '\0';) {
    if (strncmp (from, "\033[", 2) == 0)
      from = strchr (from, 'm') + 1;
    else
      *to++ = *from++;
  }
  *to = '\0';
}

/* Blanks at the end of lines. */
static void
strip_blanks (char *text)
{
  for (char *end; (end = strstr (text, " \n")) != NULL;)
    memmove (end, end + 1, strlen (end));
}

static void
check_fits (const struct view *view)
{
  char *text = view_text (view);
  unsigned lines = 0;

  strip_styles (text);
  for (char *line = text; line != NULL; lines++) {
    char *end = strchr (line, '\n');

    if (end != NULL)
      *end++ = '\0';
    if (text_columns (line) > view->columns)
      ck_abort_msg ("%ux%u: %u columns: %s", view->columns, view->rows,
                    text_columns (line), line);
    line = end;
  }
  if (view->rows > 0)
    ck_assert_uint_le (lines, view->rows);
  free (text);
}

START_TEST (test_a_picture_fits_every_terminal)
{
  static const size_t nr_hctxs[] = { 1, 5, MAX_HCTXS };

  for (size_t i = 0; i < NR (nr_hctxs); i++) {
    struct view view = make_view (nr_hctxs[i]);

    for (view.rows = 1; view.rows <= 50; view.rows += 1) {
      for (view.columns = 1; view.columns <= 200; view.columns += 7) {
        view.styled = view.columns % 2;
        check_fits (&view);
      }
    }
    view.rows = 0;
    view.columns = 80;
    check_fits (&view);
  }
}
END_TEST

START_TEST (test_80_columns_show_what_matters)
{
  struct view view = make_view (2);
  char *text = view_text (&view);

  ck_assert_ptr_nonnull (strstr (
      text, "                IOPS    BYTES/s IN FLIGHT   WAITING      P50      "
            "P99     ERR/s\n"));
  ck_assert_ptr_nonnull (strstr (
      text,
      "all          123,456  381.5 MiB        32        12   850 ns  12.0 "
      "us         0\n"));
  ck_assert_ptr_nonnull (strstr (text, "errors so far: timeout 3, ioerr 2\n"));
  ck_assert_ptr_null (strstr (text, "not shown"));
  free (text);
}
END_TEST

START_TEST (test_wide_terminals_show_more)
{
  struct view view = make_view (2);
  char *text;

  view.columns = 132;
  text = view_text (&view);
  ck_assert_ptr_nonnull (strstr (text, " READ/s"));
  ck_assert_ptr_nonnull (strstr (text, " WRITE P99"));
  free (text);
  view.columns = 40;
  text = view_text (&view);
  ck_assert_ptr_nonnull (strstr (text, " IOPS"));
  ck_assert_ptr_null (strstr (text, " P50"));
  free (text);
}
END_TEST

START_TEST (test_the_foot_says_how_many_are_hidden)
{
  struct view view = make_view (MAX_HCTXS);
  char *text = view_text (&view);

  /* Title, state, titles, all, read, write, a blank line, the foot. */
  ck_assert_ptr_nonnull (strstr (text, "1008 of 1024 hctxs are not shown"));
  /* The busiest is 1023 a second. */
  ck_assert_ptr_nonnull (strstr (text, " 1,023 "));
  free (text);
  view.rows = 0;
  view.foot = "";
  text = view_text (&view);
  ck_assert_ptr_null (strstr (text, "not shown"));
  ck_assert_ptr_nonnull (strstr (text, "hctx 1023 "));
  free (text);
}
END_TEST

START_TEST (test_what_is_not_known_is_a_dash)
{
  struct view view = make_view (2);
  char *text;

  view.hint = "how to measure";
  view_total.op[SAMPLE_ALL].nr_timed = 0;
  view_rates[1] = (struct rates){ .waiting = 3 };
  text = view_text (&view);
  ck_assert_ptr_nonnull (strstr (
      text, "all          123,456  381.5 MiB        32        12        -      "
            "  -         0\n"));
  ck_assert_ptr_nonnull (strstr (
      text, "hctx 1             -          -         0         3        -      "
            "  -         -\n"));
  ck_assert_ptr_nonnull (strstr (text, "how to measure\n"));
  free (text);
}
END_TEST

START_TEST (test_styles_change_no_text)
{
  struct view view = make_view (8);
  char *plain = view_text (&view), *styled;

  view.styled = true;
  styled = view_text (&view);
  ck_assert_ptr_nonnull (strstr (styled, "\033[7m"));
  strip_styles (styled);
  /* But for the bar of the titles, which is filled up. */
  strip_blanks (styled);
  strip_blanks (plain);
  ck_assert_str_eq (styled, plain);
  free (styled);
  free (plain);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("blkmqctl");
  TCase *tcase;

  tcase = tcase_create ("numbers");
  tcase_add_test (tcase, test_counts_have_thousands_apart);
  tcase_add_test (tcase, test_rates_are_short);
  tcase_add_test (tcase, test_sizes_are_in_binary_units);
  tcase_add_test (tcase, test_times_have_three_digits);
  tcase_add_test (tcase, test_no_number_is_wider_than_its_column);
  suite_add_tcase (suite, tcase);

  tcase = tcase_create ("tables");
  tcase_add_test (tcase, test_columns_are_as_wide_as_their_widest_cell);
  tcase_add_test (tcase, test_only_what_may_be_cut_is_cut);
  tcase_add_test (tcase, test_a_terminal_gets_no_control_characters);
  tcase_add_test (tcase, test_columns_are_counted_not_bytes);
  suite_add_tcase (suite, tcase);

  tcase = tcase_create ("samples");
  tcase_add_test (tcase, test_rates_are_differences_over_time);
  tcase_add_test (tcase, test_counters_that_were_reset_count_from_0);
  tcase_add_test (tcase, test_no_rates_without_a_time_between);
  tcase_add_test (tcase, test_percentiles_are_those_of_the_interval);
  tcase_add_test (tcase, test_what_is_not_a_sample_is_refused);
  tcase_add_test (tcase, test_the_busiest_are_found_and_stay_in_order);
  suite_add_tcase (suite, tcase);

  tcase = tcase_create ("pictures");
  tcase_set_timeout (tcase, 120);
  tcase_add_test (tcase, test_a_picture_fits_every_terminal);
  tcase_add_test (tcase, test_80_columns_show_what_matters);
  tcase_add_test (tcase, test_wide_terminals_show_more);
  tcase_add_test (tcase, test_the_foot_says_how_many_are_hidden);
  tcase_add_test (tcase, test_what_is_not_known_is_a_dash);
  tcase_add_test (tcase, test_styles_change_no_text);
  suite_add_tcase (suite, tcase);
  return suite;
}

int
main (void)
{
  SRunner *runner = srunner_create (make_suite ());
  int nr_failed;

  srunner_run_all (runner, CK_NORMAL);
  nr_failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return nr_failed > 0 ? 1 : 0;
}
