/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sample.c: counters out of JSON, and what happened between two samples of
 * them.  One thread.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "blkmqctl/memory.h"
#include "blkmqctl/sample.h"
#include "engine/histogram.h"

static const char *const op_names[SAMPLE_NR_OPS + 1] = {
  [SAMPLE_READ] = "read",   [SAMPLE_WRITE] = "write",
  [SAMPLE_FLUSH] = "flush", [SAMPLE_DISCARD] = "discard",
  [SAMPLE_OTHER] = "other", [SAMPLE_WRITE_ZEROES] = "write_zeroes",
  [SAMPLE_ALL] = "all",
};

const char *
sample_op_name (enum sample_op op)
{
  return op_names[op];
}

static enum sample_op
op_of_name (const char *name)
{
  enum sample_op op = SAMPLE_READ;

  while (op < SAMPLE_OTHER && strcmp (op_names[op], name) != 0)
    op++;
  return op;
}

/* ------------------------------------------------------------------------ */
/* Reading                                                                   */

/* What is being read, for the message when it is wrong. */
struct reader {
  struct sample *sample;
  char *error;
};

static int
wrong (struct reader *reader, const char *what)
{
  if (reader->error == NULL)
    reader->error = make_text ("%s: missing or of the wrong type", what);
  return -1;
}

static int
read_number (struct reader *reader, const json_t *in, const char *name,
             uint64_t *number)
{
  const json_t *value = json_object_get (in, name);

  if (!json_is_integer (value) || json_integer_value (value) < 0)
    return wrong (reader, name);
  *number = (uint64_t)json_integer_value (value);
  return 0;
}

/* A member that is an object of numbers, one an operation. */
static int
read_per_op (struct reader *reader, json_t *in, const char *name,
             struct sample_counters *to, size_t offset)
{
  json_t *numbers = json_object_get (in, name);
  const char *op;
  json_t *value;

  if (!json_is_object (numbers))
    return wrong (reader, name);
  json_object_foreach (numbers, op, value)
  {
    char *field = (char *)&to->op[op_of_name (op)] + offset;

    if (!json_is_integer (value))
      return wrong (reader, name);
    *(uint64_t *)(void *)field += (uint64_t)json_integer_value (value);
  }
  return 0;
}

static int
read_errors (struct reader *reader, json_t *in, const char *name, uint64_t *sum,
             char **text)
{
  json_t *errors = json_object_get (in, name), *value;
  const char *kind = strcmp (name, "errors") == 0 ? "" : "rejected ";
  const char *status;

  if (!json_is_object (errors))
    return wrong (reader, name);
  json_object_foreach (errors, status, value)
  {
    uint64_t nr = (uint64_t)json_integer_value (value);

    if (!json_is_integer (value))
      return wrong (reader, name);
    *sum += nr;
    if (text != NULL && nr > 0) {
      char *longer = make_text ("%s%s%s%s %llu", *text, **text ? ", " : "",
                                kind, status, (unsigned long long)nr);
      free (*text);
      *text = longer;
    }
  }
  return 0;
}

static int
read_bucket (struct reader *reader, json_t *pair)
{
  struct sample *sample = reader->sample;
  json_int_t index, count;

  if (json_unpack (pair, "[I, I!]", &index, &count) != 0 || index < 0
      || index >= BLKMQ_HISTOGRAM_NR_BUCKETS || count < 0)
    return wrong (reader, "buckets");
  if (sample->nr_buckets == sample->max_buckets) {
    sample->max_buckets = sample->max_buckets * 2 + 256;
    sample->buckets = resize (sample->buckets, sample->max_buckets,
                              sizeof *sample->buckets);
  }
  sample->buckets[sample->nr_buckets++]
      = (struct sample_bucket){ (uint32_t)index, (uint64_t)count };
  return 0;
}

/* Operations that had no request are not there, and buckets only if they were
 * asked for.  An operation that this program does not know is left out, as its
 * place may be taken by another such. */
static int
read_latency (struct reader *reader, json_t *in, struct sample_counters *to)
{
  json_t *latency = json_object_get (in, "latency"), *of_op, *pair;
  const char *name;
  size_t i;

  if (json_is_null (latency))
    return 0;
  if (!json_is_object (latency))
    return wrong (reader, "latency");
  to->timed = true;
  json_object_foreach (latency, name, of_op)
  {
    enum sample_op op = op_of_name (name);
    json_t *buckets = json_object_get (of_op, "buckets");

    if (op == SAMPLE_OTHER || buckets == NULL)
      continue;
    if (!json_is_array (buckets))
      return wrong (reader, "buckets");
    to->op[op].first_bucket = reader->sample->nr_buckets;
    to->op[op].nr_buckets = json_array_size (buckets);
    json_array_foreach (buckets, i, pair)
    {
      if (read_bucket (reader, pair) != 0)
        return -1;
    }
  }
  return 0;
}

static int
read_counters (struct reader *reader, json_t *in, struct sample_counters *to,
               char **errors)
{
  size_t ios = offsetof (struct sample_counters, op[0].ios);
  size_t bytes = offsetof (struct sample_counters, op[0].bytes);
  size_t in_flight = offsetof (struct sample_counters, op[0].in_flight);

  *to = (struct sample_counters){ 0 };
  if (read_per_op (reader, in, "ios", to, ios) != 0
      || read_per_op (reader, in, "bytes", to, bytes) != 0
      || read_per_op (reader, in, "in_flight", to, in_flight) != 0
      || read_number (reader, in, "waiting", &to->waiting) != 0
      || read_number (reader, in, "busy", &to->busy) != 0
      || read_number (reader, in, "requeues", &to->requeues) != 0
      || read_errors (reader, in, "errors", &to->errors, errors) != 0
      || read_errors (reader, in, "rejected", &to->errors, errors) != 0)
    return -1;
  return read_latency (reader, in, to);
}

static int
read_all (struct reader *reader, json_t *stats)
{
  struct sample *sample = reader->sample;
  json_t *hctxs = json_object_get (stats, "hctxs");

  if (!json_is_array (hctxs))
    return wrong (reader, "hctxs");
  sample->nr_hctxs = json_array_size (hctxs);
  sample->hctxs = resize (NULL, sample->nr_hctxs, sizeof *sample->hctxs);
  sample->errors = copy_text ("");
  for (size_t i = 0; i < sample->nr_hctxs; i++) {
    if (read_counters (reader, json_array_get (hctxs, i), &sample->hctxs[i],
                       NULL)
        != 0)
      return -1;
  }
  if (read_number (reader, stats, "now_ns", &sample->now_ns) != 0)
    return -1;
  return read_counters (reader, json_object_get (stats, "total"),
                        &sample->total, &sample->errors);
}

int
sample_read (struct sample *sample, json_t *stats, char **error)
{
  struct reader reader = { .sample = sample };

  *sample = (struct sample){ 0 };
  if (read_all (&reader, stats) == 0)
    return 0;
  sample_free (sample);
  *error = reader.error;
  return -1;
}

void
sample_free (struct sample *sample)
{
  free (sample->hctxs);
  free (sample->buckets);
  free (sample->errors);
  *sample = (struct sample){ 0 };
}

/* ------------------------------------------------------------------------ */
/* Comparing                                                                 */

static uint64_t
since (uint64_t before, uint64_t now)
{
  return now >= before ? now - before : now;
}

/* Add what is in the buckets of NOW and was not in those of BEFORE; all of them
 * when any has fewer than before: then they were reset. */
static void
add_buckets (struct blkmq_histogram *to, const struct sample *before,
             const struct sample_counters *counters_before,
             const struct sample *now,
             const struct sample_counters *counters_now, enum sample_op op)
{
  const struct sample_bucket *new
      = &now->buckets[counters_now->op[op].first_bucket];
  const struct sample_bucket *old
      = &before->buckets[counters_before->op[op].first_bucket];
  uint64_t was[BLKMQ_HISTOGRAM_NR_BUCKETS] = { 0 };
  uint64_t is[BLKMQ_HISTOGRAM_NR_BUCKETS] = { 0 };
  bool reset = false;

  for (size_t i = 0; i < counters_now->op[op].nr_buckets; i++)
    is[new[i].index] = new[i].count;
  for (size_t i = 0; i < counters_before->op[op].nr_buckets; i++) {
    was[old[i].index] = old[i].count;
    reset = reset || is[old[i].index] < old[i].count;
  }
  for (size_t i = 0; i < counters_now->op[op].nr_buckets; i++) {
    uint64_t nr = new[i].count - (reset ? 0 : was[new[i].index]);

    to->buckets[new[i].index] += nr;
    to->count += nr;
  }
}

static void
set_percentiles (struct rates_op *rates, struct blkmq_histogram *histogram)
{
  /* The exact ends of an interval are not known, only those since the start. */
  histogram->min_ns = 0;
  histogram->max_ns = UINT64_MAX;
  rates->nr_timed = histogram->count;
  rates->p50_ns = blkmq_histogram_percentile (histogram, 50);
  rates->p99_ns = blkmq_histogram_percentile (histogram, 99);
}

static void
compare_latencies (struct rates *rates, const struct sample *before,
                   const struct sample_counters *counters_before,
                   const struct sample *now,
                   const struct sample_counters *counters_now)
{
  struct blkmq_histogram all = { 0 };

  for (unsigned op = 0; op < SAMPLE_NR_OPS; op++) {
    struct blkmq_histogram one = { 0 };

    if (counters_now->op[op].nr_buckets == 0)
      continue;
    add_buckets (&one, before, counters_before, now, counters_now,
                 (enum sample_op)op);
    set_percentiles (&rates->op[op], &one);
    for (unsigned i = 0; i < BLKMQ_HISTOGRAM_NR_BUCKETS; i++)
      all.buckets[i] += one.buckets[i];
    all.count += one.count;
  }
  set_percentiles (&rates->op[SAMPLE_ALL], &all);
}

void
rates_between (struct rates *rates, const struct sample *before,
               const struct sample_counters *counters_before,
               const struct sample *now,
               const struct sample_counters *counters_now)
{
  struct rates_op *all = &rates->op[SAMPLE_ALL];
  double seconds = 0;

  *rates = (struct rates){ .waiting = counters_now->waiting,
                           .timed = counters_now->timed };
  if (counters_before != NULL && now->now_ns > before->now_ns) {
    rates->known = true;
    seconds = (double)(now->now_ns - before->now_ns) / 1e9;
  }
  for (unsigned i = 0; i < SAMPLE_NR_OPS; i++) {
    struct rates_op *op = &rates->op[i];

    op->in_flight = counters_now->op[i].in_flight;
    all->in_flight += op->in_flight;
    if (!rates->known)
      continue;
    op->per_second
        = (double)since (counters_before->op[i].ios, counters_now->op[i].ios)
          / seconds;
    op->bytes_per_second = (double)since (counters_before->op[i].bytes,
                                          counters_now->op[i].bytes)
                           / seconds;
    all->per_second += op->per_second;
    all->bytes_per_second += op->bytes_per_second;
  }
  if (!rates->known)
    return;
  rates->errors
      = (double)since (counters_before->errors, counters_now->errors) / seconds;
  rates->busy
      = (double)since (counters_before->busy, counters_now->busy) / seconds;
  rates->requeues
      = (double)since (counters_before->requeues, counters_now->requeues)
        / seconds;
  compare_latencies (rates, before, counters_before, now, counters_now);
}

static int
compare_busy (const void *a, const void *b, void *opaque)
{
  const struct rates *rates = opaque;
  const struct rates *x = &rates[*(const size_t *)a];
  const struct rates *y = &rates[*(const size_t *)b];
  const struct rates_op *of_x = &x->op[SAMPLE_ALL], *of_y = &y->op[SAMPLE_ALL];

  if (of_x->per_second > of_y->per_second)
    return -1;
  if (of_x->per_second < of_y->per_second)
    return 1;
  if (of_x->in_flight + x->waiting > of_y->in_flight + y->waiting)
    return -1;
  if (of_x->in_flight + x->waiting < of_y->in_flight + y->waiting)
    return 1;
  return *(const size_t *)a < *(const size_t *)b ? -1 : 1;
}

static int
compare_indexes (const void *a, const void *b)
{
  return *(const size_t *)a < *(const size_t *)b ? -1 : 1;
}

void
rates_busiest (const struct rates *rates, size_t nr, size_t *chosen, size_t n)
{
  size_t *all = resize (NULL, nr, sizeof *all);

  for (size_t i = 0; i < nr; i++)
    all[i] = i;
  if (n < nr)
    qsort_r (all, nr, sizeof *all, compare_busy, (void *)(uintptr_t)rates);
  qsort (all, n, sizeof *all, compare_indexes);
  memcpy (chosen, all, n * sizeof *all);
  free (all);
}
