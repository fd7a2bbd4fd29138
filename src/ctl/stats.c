/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stats.c: the commands that count: what was done, how long it took, and what
 * is under way.  The server's thread.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "ctl/internal.h"

struct reader {
  struct blkmq_disk *disk;
  bool ok;
  bool with_buckets;
  unsigned nr_buckets; /* listed so far */
  struct blkmq_stats stats;
  struct blkmq_histogram histogram;
};

static json_t *
per_op (bool *ok, const uint64_t values[BLKMQ_NR_OPS])
{
  json_t *o = json_object ();

  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++)
    put (ok, o, blkmq_op_name ((enum blkmq_op)op), json_count (values[op]));
  return o;
}

static json_t *
per_status (bool *ok, const uint64_t values[BLKMQ_NR_STATUSES])
{
  json_t *o = json_object ();

  for (unsigned status = 0; status < BLKMQ_NR_STATUSES; status++) {
    if (values[status] > 0)
      put (ok, o, blkmq_status_name ((enum blkmq_status)status),
           json_count (values[status]));
  }
  return o;
}

static json_t *
per_cause (bool *ok, const uint64_t values[BLKMQ_NR_CAUSES])
{
  json_t *o = json_object ();

  for (unsigned cause = 0; cause < BLKMQ_NR_CAUSES; cause++)
    put (ok, o, blkmq_cause_name ((enum blkmq_cause)cause),
         json_count (values[cause]));
  return o;
}

/* ---- latencies ---- */

static json_t *
list_buckets (struct reader *reader)
{
  json_t *array = json_array (), *pair;

  for (unsigned i = 0; i < BLKMQ_HISTOGRAM_NR_BUCKETS; i++) {
    if (reader->histogram.buckets[i] == 0)
      continue;
    if (reader->nr_buckets++ == MAX_BUCKETS)
      break;
    pair = json_array ();
    append (&reader->ok, pair, json_count (i));
    append (&reader->ok, pair, json_count (reader->histogram.buckets[i]));
    append (&reader->ok, array, pair);
  }
  return array;
}

static json_t *
one_latency (struct reader *reader)
{
  static const struct {
    const char *name;
    double percent;
  } percentiles[] = {
    { "p50_ns", 50 }, { "p90_ns", 90 }, { "p99_ns", 99 }, { "p99_9_ns", 99.9 }
  };
  const struct blkmq_histogram *h = &reader->histogram;
  json_t *o = json_object ();

  put (&reader->ok, o, "count", json_count (h->count));
  put (&reader->ok, o, "mean_ns",
       json_count ((uint64_t)(blkmq_histogram_mean (h) + 0.5)));
  put (&reader->ok, o, "min_ns", json_count (h->min_ns));
  put (&reader->ok, o, "max_ns", json_count (h->max_ns));
  for (size_t i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++)
    put (&reader->ok, o, percentiles[i].name,
         json_count (blkmq_histogram_percentile (h, percentiles[i].percent)));
  if (reader->with_buckets)
    put (&reader->ok, o, "buckets", list_buckets (reader));
  return o;
}

/* null: the disk does not measure them. */
static json_t *
latencies (struct reader *reader, unsigned index)
{
  json_t *o = json_object ();

  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    int r = blkmq_disk_latency (reader->disk, index, (enum blkmq_op)op,
                                &reader->histogram);

    if (r == -ENODATA) {
      json_decref (o);
      return json_null ();
    }
    if (r == 0 && reader->histogram.count > 0)
      put (&reader->ok, o, blkmq_op_name ((enum blkmq_op)op),
           one_latency (reader));
  }
  return o;
}

/* ---- stats ---- */

/* Of one hctx or all; NULL: there is no such hctx. */
static json_t *
read_stats (struct reader *reader, unsigned index)
{
  const struct blkmq_stats *s = &reader->stats;
  bool *ok = &reader->ok;
  json_t *o;

  if (blkmq_disk_stats (reader->disk, index, &reader->stats) < 0)
    return NULL;
  o = json_object ();
  put (ok, o, "ios", per_op (ok, s->ios));
  put (ok, o, "bytes", per_op (ok, s->bytes));
  put (ok, o, "errors", per_status (ok, s->errors));
  put (ok, o, "rejected", per_status (ok, s->rejected));
  put (ok, o, "in_flight", per_op (ok, s->in_flight));
  put (ok, o, "waiting", json_count (s->waiting));
  put (ok, o, "busy", json_count (s->busy));
  put (ok, o, "requeues", json_count (s->requeues));
  put (ok, o, "merges", json_count (s->merges));
  put (ok, o, "timeouts", json_count (s->timeouts));
  put (ok, o, "timeouts_done", json_count (s->timeouts_done));
  put (ok, o, "timeouts_reset", json_count (s->timeouts_reset));
  put (ok, o, "timeouts_held", json_count (s->timeouts_held));
  put (ok, o, "polled", json_count (s->polled));
  put (ok, o, "stale_tokens", json_count (s->stale_tokens));
  put (ok, o, "stale_handles", json_count (s->stale_handles));
  put (ok, o, "lost_claims", per_cause (ok, s->lost_claims));
  put (ok, o, "time_ns", per_op (ok, s->time_ns));
  put (ok, o, "busy_ns", json_count (s->busy_ns));
  put (ok, o, "flushes", json_count (s->flushes));
  put (ok, o, "flushes_coalesced", json_count (s->flushes_coalesced));
  put (ok, o, "latency", latencies (reader, index));
  return o;
}

static json_t *
now (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return json_count ((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
}

int
command_stats (struct call *call)
{
  struct reader *reader = calloc (1, sizeof *reader);
  json_t *result, *hctxs, *one;
  bool ok, too_many;

  if (reader == NULL)
    return -ENOMEM;
  reader->disk = call_disk (call);
  reader->ok = true;
  reader->with_buckets
      = json_is_true (json_object_get (call->request, "buckets"));

  result = json_object ();
  hctxs = json_array ();
  put (&reader->ok, result, "now_ns", now ());
  /* Their number may change meanwhile. */
  for (unsigned i = 0; i < blkmq_disk_nr_hw_queues (reader->disk)
                       && (one = read_stats (reader, i)) != NULL;
       i++)
    append (&reader->ok, hctxs, one);
  put (&reader->ok, result, "hctxs", hctxs);
  put (&reader->ok, result, "total", read_stats (reader, BLKMQ_HCTX_ANY));

  ok = reader->ok;
  too_many = reader->nr_buckets > MAX_BUCKETS;
  free (reader);
  if (ok && too_many) {
    json_decref (result);
    return call_fail (call, EMSGSIZE,
                      "\"buckets\": there are more than %u of them",
                      MAX_BUCKETS);
  }
  return call_give (call, result, ok);
}

/* ---- inflight ---- */

struct request_list {
  json_t *requests;
  json_int_t max;
  bool ok;
};

static int
list_request (struct blkmq_request *rq, void *opaque)
{
  struct request_list *list = opaque;
  struct blkmq_request_info info;
  bool *ok = &list->ok;
  json_t *o;

  if ((json_int_t)json_array_size (list->requests) == list->max)
    return 1;
  blkmq_request_info (rq, &info);
  o = json_object ();
  put (ok, o, "handle", json_handle (info.handle));
  put (ok, o, "op", json_text (blkmq_op_name (info.op)));
  put (ok, o, "offset_bytes", json_count (info.offset_bytes));
  put (ok, o, "bytes", json_count (info.bytes));
  put (ok, o, "hctx", json_count (info.hctx));
  put (ok, o, "tag", json_count (info.tag));
  put (ok, o, "state", json_text (info.in_flight ? "in_flight" : "queued"));
  put (ok, o, "held", json_boolean (info.held));
  put (ok, o, "ended", json_boolean (info.ended));
  put (ok, o, "timed_out", json_boolean (info.timed_out));
  append (ok, list->requests, o);
  return *ok ? 0 : -ENOMEM;
}

int
command_inflight (struct call *call)
{
  json_t *max = json_object_get (call->request, "max");
  struct request_list list
      = { json_array (), max != NULL ? json_integer_value (max) : 1000, true };
  json_t *result = json_object ();
  int r;

  r = blkmq_for_each_request (call_disk (call), list_request, &list);
  put (&list.ok, result, "requests", list.requests);
  put (&list.ok, result, "more", json_boolean (r == 1));
  return call_give (call, result, list.ok);
}
