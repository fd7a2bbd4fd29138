/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-control-commands.c: what each command of the control protocol takes,
 * does and answers; and that what blocks one client blocks no other, nor I/O.
 */

#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "blkmq-control.h"
#include "peer.h"

/* queue_rq keeps the request: the test gives it back. */
static enum blkmq_queue_result
keep (struct script *script, const struct issue *issue)
{
  return BLKMQ_QUEUED;
}

/* One disk whose driver keeps what it gets. */
static struct server *
start_keeping (const char *keys)
{
  struct server *server = server_alloc (1);

  server->beds[0]->script.on_queue = keep;
  server_open (server, keys, 0);
  return server;
}

/* ------------------------------------------------------------------------ */
/* Requests and answers                                                      */

START_TEST (test_id_comes_back_as_it_is)
{
  static const char *const ids[] = { "null",
                                     "true",
                                     "-7",
                                     "9007199254740993",
                                     "0.5",
                                     "\"\\u00e9 \\\"\\n\"",
                                     "[]",
                                     "{}",
                                     "[1,[2,{\"id\":3}],null]" };
  struct server *server = server_start ("");
  struct peer *peer = peer_open (server);
  char text[256];

  for (size_t i = 0; i < NR (ids); i++) {
    json_t *answer, *id = json_loads (ids[i], JSON_DECODE_ANY, NULL);

    snprintf (text, sizeof text, "{\"id\":%s,\"command\":\"exports\"}", ids[i]);
    ck_assert (peer_say (peer, text));
    answer = peer_answer (peer);
    ck_assert_msg (json_equal (json_at (answer, "id"), id), "%s", ids[i]);
    json_decref (answer);

    /* Of an error, too. */
    snprintf (text, sizeof text, "{\"id\":%s,\"command\":\"none\"}", ids[i]);
    ck_assert (peer_say (peer, text));
    answer = peer_answer (peer);
    ck_assert_msg (json_equal (json_at (answer, "id"), id), "%s", ids[i]);
    json_decref (answer);
    json_decref (id);
  }
  peer_close (peer);
  server_stop (server);
}
END_TEST

/* What is wrong with a request that is JSON is named, and the connection goes
 * on. */
START_TEST (test_wrong_requests_are_refused_by_name)
{
#define SET "{\"command\":\"set\",\"settings\":"
#define INFLIGHT "{\"command\":\"inflight\",\"max\":"
  static const struct {
    const char *request, *name, *part;
  } table[] = {
    { "[]", "EINVAL", "object" },
    { "[{\"command\":\"exports\"}]", "EINVAL", "object" },
    { "{}", "EINVAL", "\"command\"" },
    { "{\"command\":7}", "EINVAL", "\"command\": must be a string" },
    { "{\"command\":null}", "EINVAL", "\"command\": must be a string" },
    { "{\"command\":\"shew\"}", "EOPNOTSUPP", "\"shew\"" },
    { "{\"command\":\"shew\"}", "EOPNOTSUPP", "show" },
    { "{\"command\":\"\"}", "EOPNOTSUPP", "\"command\"" },
    { "{\"command\":\"show\",\"exprot\":\"\"}", "EINVAL", "\"exprot\"" },
    { "{\"command\":\"show\",\"\":1}", "EINVAL", "\"\"" },
    { "{\"command\":\"show\",\"export\":7}", "EINVAL",
      "\"export\": must be a string" },
    { "{\"command\":\"show\",\"export\":\"nowhere\"}", "ENOENT",
      "\"nowhere\"" },
    { "{\"command\":\"exports\",\"export\":\"\"}", "EINVAL", "\"export\"" },
    { "{\"command\":\"get\"}", "EINVAL", "\"keys\": get needs it" },
    { "{\"command\":\"get\",\"keys\":\"size\"}", "EINVAL", "\"keys\"" },
    { "{\"command\":\"get\",\"keys\":[]}", "EINVAL", "\"keys\"" },
    { "{\"command\":\"get\",\"keys\":[7]}", "EINVAL", "\"keys\"" },
    { "{\"command\":\"get\",\"keys\":[\"siez\"]}", "EINVAL", "siez" },
    { SET "{\"key\":\"nomerges\",\"value\":\"1\"}}", "EINVAL", "\"settings\"" },
    { SET "[]}", "EINVAL", "\"settings\"" },
    { SET "[7]}", "EINVAL", "\"settings\"" },
    { SET "[{\"key\":\"nomerges\"}]}", "EINVAL", "\"settings\"" },
    { SET "[{\"key\":\"nomerges\",\"value\":1}]}", "EINVAL", "\"settings\"" },
    { SET "[{\"key\":\"nomerges\",\"value\":\"1\",\"x\":1}]}", "EINVAL",
      "\"settings\"" },
    { SET "[{\"key\":\"siez\",\"value\":\"1\"}]}", "EINVAL", "siez=1" },
    { SET "[{\"key\":\"size\",\"value\":\"1\"}]}", "EINVAL", "size=1" },
    { "{\"command\":\"stats\",\"buckets\":1}", "EINVAL",
      "\"buckets\": must be true or false" },
    { INFLIGHT "0}", "EINVAL", "from 1 to 10000" },
    { INFLIGHT "-1}", "EINVAL", "from 1 to 10000" },
    { INFLIGHT "10001}", "EINVAL", "from 1 to 10000" },
    { INFLIGHT "9223372036854775807}", "EINVAL", "from 1 to 10000" },
    { INFLIGHT "1.0}", "EINVAL", "\"max\"" },
    { INFLIGHT "\"1\"}", "EINVAL", "\"max\"" },
    { INFLIGHT "true}", "EINVAL", "\"max\"" },
    { INFLIGHT "null}", "EINVAL", "\"max\"" },
    { "{\"command\":\"unfreeze\"}", "EINVAL", "no client has frozen" },
  };
  struct server *server = server_start ("");
  struct peer *peer = peer_open (server);

  for (size_t i = 0; i < NR (table); i++)
    peer_is_refused (peer, table[i].request, table[i].name, table[i].part);
  peer_do (peer, "exports");
  peer_close (peer);
  server_stop (server);
}
END_TEST

START_TEST (test_blanks_around_a_request_are_no_matter)
{
  struct server *server = server_start ("");
  struct peer *peer = peer_open (server);

  json_decref (peer_ask (peer, " \t{ \"command\" :\"exports\"}  \r"));
  peer_close (peer);
  server_stop (server);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* exports, show, get                                                        */

START_TEST (test_exports_are_listed)
{
  struct server *server = server_alloc (2);
  struct peer *peer;
  json_t *result;

  server_open (server, "", 0);
  peer = peer_open (server);
  result = peer_ask (peer, "{\"command\":\"exports\"}");
  ck_assert_uint_eq (json_array_size (json_at (result, "exports")), 2);
  ck_assert_str_eq (text_at (result, "exports.0.name"), "");
  ck_assert_str_eq (text_at (result, "exports.1.name"), "second");
  ck_assert_str_eq (text_at (result, "exports.1.description"),
                    "a scripted disk");
  ck_assert_int_eq (number_at (result, "exports.1.size_bytes"), 1 << 20);
  json_decref (result);
  peer_close (peer);
  server_stop (server);
}
END_TEST

/* The entry of KEY in what show says. */
static json_t *
shown_key (json_t *shown, const char *key)
{
  json_t *keys = json_at (shown, "keys");

  for (size_t i = 0; i < json_array_size (keys); i++) {
    json_t *entry = json_array_get (keys, i);

    if (strcmp (text_at (entry, "key"), key) == 0)
      return entry;
  }
  ck_abort_msg ("show has no key %s", key);
}

static int
count_key (const struct blkmq_key *key, void *opaque)
{
  ++*(size_t *)opaque;
  return 0;
}

START_TEST (test_show_says_what_the_disk_is)
{
  struct server *server = server_start (
      "submit_queues=3 hw_queue_depth=5 seed=18446744073709551615 "
      "io_timeout=20s scheduler=mq-deadline");
  struct peer *peer = peer_open (server);
  json_t *shown = peer_ask (peer, "{\"command\":\"show\"}"), *key;
  size_t nr_keys = 0;

  ck_assert_str_eq (text_at (shown, "name"), "");
  ck_assert_str_eq (text_at (shown, "driver"), "scripted");
  ck_assert_int_eq (number_at (shown, "size_bytes"), 1 << 20);
  ck_assert_str_eq (text_at (shown, "seed"), "18446744073709551615");
  ck_assert (json_is_true (json_at (shown, "power")));
  ck_assert_int_eq (number_at (shown, "freezes"), 0);
  ck_assert_int_eq (number_at (shown, "limits.logical_block_bytes"),
                    BLOCK_BYTES);
  ck_assert (json_is_false (json_at (shown, "limits.read_only")));
  ck_assert_int_eq (number_at (shown, "queues.submit_queues"), 3);
  ck_assert_int_eq (number_at (shown, "queues.poll_queues"), 0);
  ck_assert_int_eq (number_at (shown, "queues.hw_queue_depth"), 5);
  ck_assert_uint_eq (json_array_size (json_at (shown, "hctxs")), 3);
  ck_assert_int_eq (number_at (shown, "hctxs.2.index"), 2);
  ck_assert_str_eq (text_at (shown, "hctxs.2.type"), "default");
  ck_assert_str_eq (text_at (shown, "scheduler"), "mq-deadline");

  blkmq_disk_for_each_key (server->beds[0]->disk, count_key, &nr_keys);
  ck_assert_uint_eq (json_array_size (json_at (shown, "keys")), nr_keys);
  key = shown_key (shown, "io_timeout");
  ck_assert_str_eq (text_at (key, "value"), "20s");
  ck_assert_str_eq (text_at (key, "default"), "0");
  ck_assert (json_is_true (json_at (key, "live")));
  ck_assert_str_eq (text_at (key, "type"), "time");
  ck_assert_str_eq (text_at (key, "unit"), "ms");
  ck_assert_ptr_nonnull (strstr (text_at (key, "allowed"), "86400000"));
  ck_assert (json_is_string (json_at (key, "help")));
  key = shown_key (shown, "size");
  ck_assert (json_is_null (json_at (key, "default")));
  ck_assert (json_is_false (json_at (key, "live")));
  json_decref (shown);
  peer_close (peer);
  server_stop (server);
}
END_TEST

START_TEST (test_get_says_what_show_does)
{
  struct server *server = server_start ("io_timeout=20s");
  struct peer *peer = peer_open (server);
  json_t *shown = peer_ask (peer, "{\"command\":\"show\"}");
  json_t *keys = json_at (shown, "keys"), *got;
  char text[128];

  for (size_t i = 0; i < json_array_size (keys); i++) {
    json_t *entry = json_array_get (keys, i);
    const char *key = text_at (entry, "key");

    snprintf (text, sizeof text, "{\"command\":\"get\",\"keys\":[\"%s\"]}",
              key);
    got = peer_ask (peer, text);
    ck_assert (json_equal (json_object_get (json_at (got, "values"), key),
                           json_at (entry, "value")));
    json_decref (got);
  }
  json_decref (shown);
  got = peer_ask (peer, "{\"command\":\"get\",\"keys\":"
                        "[\"io_timeout\",\"scheduler\",\"io_timeout\"]}");
  ck_assert_uint_eq (json_object_size (json_at (got, "values")), 2);
  ck_assert_str_eq (text_at (got, "values.io_timeout"), "20s");
  ck_assert_str_eq (text_at (got, "values.scheduler"), "none");
  json_decref (got);
  peer_close (peer);
  server_stop (server);
}
END_TEST

/* A description, or the path of a driver, may be anything. */
START_TEST (test_text_that_is_not_utf8_is_shown_as_far_as_it_is)
{
  struct server *server = server_alloc (1);
  struct blkmq_error error;
  struct peer *peer;
  json_t *result;

  server_open (server, "", 0);
  control_free (server->control);
  server->exports[0].opaque = "caf\xe9 <\x1b>";
  server->control = server_listen (server, server->path, 0, &error);
  peer = peer_open (server);
  result = peer_ask (peer, "{\"command\":\"exports\"}");
  ck_assert_str_eq (text_at (result, "exports.0.description"), "caf? <\x1b>");
  json_decref (result);
  peer_close (peer);
  server_stop (server);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* set                                                                       */

static bool
has_value (struct server *server, const char *key, const char *value)
{
  char text[64];

  ck_assert_int_ge (
      blkmq_disk_get_key (server->beds[0]->disk, key, text, sizeof text, NULL),
      0);
  return strcmp (text, value) == 0;
}

#define assert_value(server, key, value)                                       \
  ck_assert_msg (has_value (server, key, value), "%s is not %s", key, value)

START_TEST (test_set_changes_all_or_nothing)
{
  struct server *server = server_start ("");
  struct peer *peer = peer_open (server);

  json_decref (peer_ask (peer,
                         "{\"command\":\"set\",\"settings\":["
                         "{\"key\":\"io_timeout\",\"value\":\"3s\"},"
                         "{\"key\":\"scheduler\",\"value\":\"mq-deadline\"},"
                         "{\"key\":\"submit_queues\",\"value\":\"2\"}]}"));
  assert_value (server, "io_timeout", "3s");
  assert_value (server, "scheduler", "mq-deadline");
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (server->beds[0]->disk), 2);

  peer_is_refused (peer,
                   "{\"command\":\"set\",\"settings\":["
                   "{\"key\":\"io_timeout\",\"value\":\"4s\"},"
                   "{\"key\":\"submit_queues\",\"value\":\"0\"}]}",
                   "EINVAL", "submit_queues=0");
  assert_value (server, "io_timeout", "3s");
  peer_is_refused (peer,
                   "{\"command\":\"set\",\"settings\":["
                   "{\"key\":\"io_timeout\",\"value\":\"4s\"},"
                   "{\"key\":\"io_timeout\",\"value\":\"5s\"}]}",
                   "EINVAL", "twice");
  assert_value (server, "io_timeout", "3s");
  peer_close (peer);
  server_stop (server);
}
END_TEST

START_TEST (test_each_export_is_its_own)
{
  struct server *server = server_alloc (2);
  struct peer *peer;
  json_t *got;

  server_open (server, "", 0);
  peer = peer_open (server);
  json_decref (peer_ask (peer, "{\"command\":\"set\",\"export\":\"second\","
                               "\"settings\":[{\"key\":\"io_timeout\","
                               "\"value\":\"3s\"}]}"));
  assert_value (server, "io_timeout", "0");
  got = peer_ask (peer, "{\"command\":\"get\",\"export\":\"second\","
                        "\"keys\":[\"io_timeout\"]}");
  ck_assert_str_eq (text_at (got, "values.io_timeout"), "3s");
  json_decref (got);
  peer_close (peer);
  server_stop (server);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* stats                                                                     */

START_TEST (test_stats_are_the_disks)
{
  struct server *server = server_start ("submit_queues=2 iostats=1");
  struct peer *peer = peer_open (server);
  struct bed *bed = server->beds[0];
  struct blkmq_stats stats;
  struct test_io t;
  json_t *got;

  for (unsigned i = 0; i < 7; i++) {
    test_io_init (&t, bed, i < 5 ? BLKMQ_OP_READ : BLKMQ_OP_WRITE, i);
    blkmq_submit (bed->submitter, &t.io);
    await (t.nr_ends == 1);
  }
  test_io_init (&t, bed, BLKMQ_OP_READ, UINT64_C (1) << 40);
  blkmq_submit (bed->submitter, &t.io);
  await (t.nr_ends == 1);

  stats = bed_stats (bed);
  got = peer_ask (peer, "{\"command\":\"stats\"}");
  ck_assert_int_gt (number_at (got, "now_ns"), 0);
  ck_assert_uint_eq (json_array_size (json_at (got, "hctxs")), 2);
  ck_assert_int_eq (number_at (got, "total.ios.read"), 5);
  ck_assert_int_eq (number_at (got, "total.ios.write"), 2);
  ck_assert_int_eq (number_at (got, "total.ios.write_zeroes"), 0);
  ck_assert_int_eq (number_at (got, "hctxs.0.ios.read"), 5);
  ck_assert_int_eq (number_at (got, "hctxs.1.ios.read"), 0);
  ck_assert_int_eq (number_at (got, "total.bytes.read"), 5 * BLOCK_BYTES);
  ck_assert_int_eq (number_at (got, "total.rejected.inval"), 1);
  ck_assert_uint_eq (json_object_size (json_at (got, "total.errors")), 0);
  ck_assert_uint_eq (json_object_size (json_at (got, "total.rejected")), 1);
  ck_assert_int_eq (number_at (got, "total.in_flight.read"), 0);
  ck_assert_int_eq (number_at (got, "total.lost_claims.abort"), 0);
  ck_assert_uint_eq ((uint64_t)number_at (got, "total.time_ns.read"),
                     stats.time_ns[BLKMQ_OP_READ]);
  ck_assert_uint_eq ((uint64_t)number_at (got, "total.busy_ns"), stats.busy_ns);
  json_decref (got);
  peer_close (peer);
  server_stop (server);
}
END_TEST

START_TEST (test_latencies_have_buckets_when_asked_for)
{
  static struct blkmq_histogram h;
  struct server *server = server_start ("iostats=1");
  struct peer *peer = peer_open (server);
  struct bed *bed = server->beds[0];
  struct test_io t;
  json_t *got, *buckets;
  uint64_t sum = 0;

  for (unsigned i = 0; i < 100; i++) {
    test_io_submit (&t, bed, i);
    await (t.nr_ends == 1);
  }
  ck_assert_int_eq (
      blkmq_disk_latency (bed->disk, BLKMQ_HCTX_ANY, BLKMQ_OP_READ, &h), 0);

  got = peer_ask (peer, "{\"command\":\"stats\"}");
  /* Of what was done only, and without buckets. */
  ck_assert_uint_eq (json_object_size (json_at (got, "total.latency")), 1);
  ck_assert_uint_eq (json_object_size (json_at (got, "total.latency.read")), 8);
  ck_assert_int_eq (number_at (got, "total.latency.read.count"), 100);
  ck_assert_uint_eq ((uint64_t)number_at (got, "total.latency.read.min_ns"),
                     h.min_ns);
  ck_assert_uint_eq ((uint64_t)number_at (got, "total.latency.read.max_ns"),
                     h.max_ns);
  ck_assert_uint_eq ((uint64_t)number_at (got, "total.latency.read.p50_ns"),
                     blkmq_histogram_percentile (&h, 50));
  ck_assert_uint_eq ((uint64_t)number_at (got, "total.latency.read.p99_9_ns"),
                     blkmq_histogram_percentile (&h, 99.9));
  json_decref (got);

  got = peer_ask (peer, "{\"command\":\"stats\",\"buckets\":true}");
  buckets = json_at (got, "hctxs.0.latency.read.buckets");
  for (size_t i = 0; i < json_array_size (buckets); i++) {
    json_t *pair = json_array_get (buckets, i);
    json_int_t index = number_at (pair, "0"), count = number_at (pair, "1");

    ck_assert_int_lt (index, BLKMQ_HISTOGRAM_NR_BUCKETS);
    ck_assert_int_gt (count, 0);
    ck_assert_uint_eq ((uint64_t)count, h.buckets[index]);
    sum += (uint64_t)count;
  }
  ck_assert_uint_eq (sum, 100);
  json_decref (got);
  peer_close (peer);
  server_stop (server);
}
END_TEST

START_TEST (test_no_iostats_no_latencies)
{
  struct server *server = server_start ("iostats=0");
  struct peer *peer = peer_open (server);
  json_t *got = peer_ask (peer, "{\"command\":\"stats\",\"buckets\":true}");

  ck_assert (json_is_null (json_at (got, "total.latency")));
  ck_assert (json_is_null (json_at (got, "hctxs.0.latency")));
  json_decref (got);
  peer_close (peer);
  server_stop (server);
}
END_TEST

START_TEST (test_reset_stats_begins_anew)
{
  struct server *server = server_start ("iostats=1");
  struct peer *peer = peer_open (server);
  struct test_io t;
  json_t *got;

  test_io_submit (&t, server->beds[0], 0);
  await (t.nr_ends == 1);
  peer_do (peer, "reset-stats");
  got = peer_ask (peer, "{\"command\":\"stats\"}");
  ck_assert_int_eq (number_at (got, "total.ios.read"), 0);
  ck_assert_uint_eq (json_object_size (json_at (got, "total.latency")), 0);
  json_decref (got);
  peer_close (peer);
  server_stop (server);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* inflight                                                                  */

START_TEST (test_inflight_lists_requests)
{
  struct server *server = start_keeping ("hw_queue_depth=4");
  struct peer *peer = peer_open (server);
  struct bed *bed = server->beds[0];
  struct test_io t[3];
  blkmq_handle handle;
  struct blkmq_request *rq;
  json_t *got;

  for (unsigned i = 0; i < NR (t); i++)
    test_io_submit (&t[i], bed, i);
  await (bed->script.nr_issues == NR (t));

  got = peer_ask (peer, "{\"command\":\"inflight\"}");
  ck_assert (json_is_false (json_at (got, "more")));
  ck_assert_uint_eq (json_array_size (json_at (got, "requests")), NR (t));
  for (unsigned i = 0; i < NR (t); i++) {
    json_t *one = json_array_get (json_at (got, "requests"), i);

    ck_assert_str_eq (text_at (one, "op"), "read");
    ck_assert_str_eq (text_at (one, "state"), "in_flight");
    ck_assert_int_eq (number_at (one, "bytes"), BLOCK_BYTES);
    ck_assert (json_is_true (json_at (one, "held")));
    ck_assert (json_is_false (json_at (one, "ended")));
    ck_assert (json_is_false (json_at (one, "timed_out")));
    handle = strtoull (text_at (one, "handle"), NULL, 0);
    rq = blkmq_request_get (bed->disk, handle);
    ck_assert_ptr_nonnull (rq);
    blkmq_request_put (rq);
  }
  json_decref (got);

  got = peer_ask (peer, "{\"command\":\"inflight\",\"max\":2}");
  ck_assert (json_is_true (json_at (got, "more")));
  ck_assert_uint_eq (json_array_size (json_at (got, "requests")), 2);
  json_decref (got);
  got = peer_ask (peer, "{\"command\":\"inflight\",\"max\":3}");
  ck_assert (json_is_false (json_at (got, "more")));
  json_decref (got);

  for (unsigned i = 0; i < NR (t); i++)
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
  peer_close (peer);
  server_stop (server);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* freeze                                                                    */

static json_int_t
nr_freezes (struct peer *peer)
{
  json_t *shown = peer_ask (peer, "{\"command\":\"show\"}");
  json_int_t nr = number_at (shown, "freezes");

  json_decref (shown);
  return nr;
}

START_TEST (test_freezes_nest_and_outlive_their_client)
{
  struct server *server = server_start ("");
  struct peer *peer = peer_open (server);
  struct test_io t;

  peer_do (peer, "freeze");
  peer_do (peer, "freeze");
  peer_close (peer);
  test_io_submit (&t, server->beds[0], 0);

  peer = peer_open (server);
  ck_assert_int_eq (nr_freezes (peer), 2);
  peer_do (peer, "unfreeze");
  ck_assert_int_eq (nr_freezes (peer), 1);
  assert_not_ended (&t);
  peer_do (peer, "unfreeze");
  await (t.nr_ends == 1);
  assert_ended (&t, BLKMQ_STS_OK);
  peer_is_refused (peer, "{\"command\":\"unfreeze\"}", "EINVAL", "no client");
  peer_close (peer);
  server_stop (server);
}
END_TEST

START_TEST (test_freezes_are_undone_at_the_end)
{
  struct server *server = server_start ("");
  struct peer *peer = peer_open (server);
  struct test_io t;

  peer_do (peer, "freeze");
  peer_do (peer, "freeze");
  test_io_submit (&t, server->beds[0], 0);
  assert_not_ended (&t);
  control_stop (server->control);
  await (t.nr_ends == 1);
  assert_ended (&t, BLKMQ_STS_OK);
  peer_close (peer);
  server_stop (server);
}
END_TEST

static enum blkmq_timeout_result
leave_below (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_HELD;
}

START_TEST (test_freeze_lists_what_a_timeout_has_left_below)
{
  struct server *server = server_alloc (1);
  struct bed *bed = server->beds[0];
  struct peer *peer;
  struct test_io t;
  json_t *result;

  bed->script.on_queue = keep;
  bed->script.on_timeout = leave_below;
  server_open (server, "io_timeout=1ms", 0);
  peer = peer_open (server);
  test_io_submit_early (&t, bed, 0);
  await (t.nr_ends == 1);
  assert_ended_early (&t, BLKMQ_STS_TIMEOUT);

  result = peer_ask (peer, "{\"command\":\"freeze\"}");
  ck_assert_int_eq (number_at (result, "nr_held"), 1);
  ck_assert_uint_eq (strtoull (text_at (result, "held.0"), NULL, 0),
                     script_issue (&bed->script, 0)->token);
  json_decref (result);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  peer_close (peer);
  server_stop (server);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* What blocks one client blocks no other                                    */

/* A change that waits for a request that the driver has. */
static void
begin_blocked (struct server *server, struct peer *peer, struct test_io *t,
               const char *request)
{
  struct bed *bed = server->beds[0];
  unsigned nr = bed->script.nr_issues;

  test_io_submit (t, bed, 0);
  await (bed->script.nr_issues == nr + 1);
  ck_assert (peer_say (peer, request));
}

static const char set_request[]
    = "{\"command\":\"set\",\"id\":\"set\",\"settings\":"
      "[{\"key\":\"nomerges\",\"value\":\"1\"}]}";

START_TEST (test_change_that_waits_stalls_nobody)
{
  struct server *server = server_alloc (2);
  struct peer *waits, *other;
  struct test_io t, second;
  json_t *answer;

  server->beds[0]->script.on_queue = keep;
  server_open (server, "", 0);
  waits = peer_open (server);
  other = peer_open (server);
  begin_blocked (server, waits, &t, set_request);

  /* Everything that does not wait for that disk. */
  for (unsigned i = 0; i < 20; i++) {
    peer_do (other, "exports");
    peer_do (other, "show");
    peer_do (other, "stats");
    peer_do (other, "inflight");
    peer_do (other, "reset-stats");
  }
  peer_is_refused (other, "{\"command\":\"unfreeze\"}", "EINVAL", "no client");
  /* Changes of another disk, and its I/O. */
  json_decref (peer_ask (other, "{\"command\":\"set\",\"export\":\"second\","
                                "\"settings\":[{\"key\":\"nomerges\","
                                "\"value\":\"1\"}]}"));
  test_io_submit (&second, server->beds[1], 0);
  await (second.nr_ends == 1);

  issue_complete (&server->beds[0]->script, 0, BLKMQ_STS_OK);
  answer = peer_answer (waits);
  ck_assert_str_eq (text_at (answer, "id"), "set");
  ck_assert (json_is_true (json_at (answer, "ok")));
  json_decref (answer);
  assert_value (server, "nomerges", "1");
  peer_close (waits);
  peer_close (other);
  server_stop (server);
}
END_TEST

START_TEST (test_requests_behind_one_that_waits_are_answered_in_order)
{
  struct server *server = start_keeping ("");
  struct peer *peer = peer_open (server), *other = peer_open (server);
  struct test_io t;
  json_t *answer;

  begin_blocked (server, peer, &t, "{\"command\":\"freeze\",\"id\":1}");
  ck_assert (peer_say (peer, "{\"command\":\"exports\",\"id\":2}"));
  ck_assert (peer_say (peer, "{\"command\":\"unfreeze\",\"id\":3}"));
  peer_do (other, "exports");
  issue_complete (&server->beds[0]->script, 0, BLKMQ_STS_OK);
  for (int i = 1; i <= 3; i++) {
    answer = peer_answer (peer);
    ck_assert_int_eq (number_at (answer, "id"), i);
    ck_assert (json_is_true (json_at (answer, "ok")));
    json_decref (answer);
  }
  peer_close (peer);
  peer_close (other);
  server_stop (server);
}
END_TEST

/* It is done to the end all the same, and what comes later is done then. */
START_TEST (test_client_goes_in_the_middle_of_a_change)
{
  struct server *server = start_keeping ("");
  struct peer *gone = peer_open (server), *later = peer_open (server);
  struct test_io t;

  begin_blocked (server, gone, &t, set_request);
  peer_close (gone);
  ck_assert (peer_say (later, "{\"command\":\"set\",\"settings\":"
                              "[{\"key\":\"io_timeout\",\"value\":\"9s\"}]}"));
  issue_complete (&server->beds[0]->script, 0, BLKMQ_STS_OK);
  json_decref (peer_answer (later));
  assert_value (server, "io_timeout", "9s");
  /* Which of the two the server has read first is open. */
  await (has_value (server, "nomerges", "1"));
  peer_close (later);
  server_stop (server);
}
END_TEST

/* Those who wait for a disk that hangs and are gone have no place any more. */
START_TEST (test_gone_clients_with_waiting_changes_make_room)
{
  struct server *server = start_keeping ("");
  struct peer *peer = peer_open (server);
  struct test_io t;

  begin_blocked (server, peer, &t, set_request);
  peer_close (peer);
  for (unsigned i = 0; i < 200; i++) {
    peer = peer_open (server);
    ck_assert (peer_say (peer, "{\"command\":\"freeze\"}"));
    if (i % 2 == 0)
      ck_assert (peer_say (peer, "{\"command\":\"exports\"}"));
    peer_close (peer);
  }
  peer = peer_open (server);
  peer_do (peer, "exports");
  issue_complete (&server->beds[0]->script, 0, BLKMQ_STS_OK);
  peer_close (peer);
  server_stop (server);
}
END_TEST

START_TEST (test_stop_does_not_wait_for_a_change_that_waits)
{
  static const char *const requests[]
      = { set_request, "{\"command\":\"freeze\"}" };

  for (size_t i = 0; i < NR (requests); i++) {
    struct server *server = start_keeping ("");
    struct peer *peer = peer_open (server), *behind = peer_open (server);
    struct test_io t;

    begin_blocked (server, peer, &t, requests[i]);
    ck_assert (peer_say (behind, requests[i]));

    control_stop (server->control);
    free (peer_line (peer));
    peer_close (peer);
    peer_close (behind);
    server_stop (server); /* removes the disk: the change ends */
    assert_ended (&t, BLKMQ_STS_OFFLINE);
  }
}
END_TEST

/* ---- I/O ---- */

/* No client, whatever it does or does not do, holds up I/O. */
START_TEST (test_io_goes_on_while_clients_stall)
{
  enum { NR_IOS = 2000 };
  struct server *server = server_start ("");
  struct peer *half = peer_open (server), *deaf = peer_open (server);
  struct test_io t;

  ck_assert (peer_send (half, "{\"command\":", 11));
  while (send (deaf->fd, "{\"command\":\"show\"}\n", 19,
               MSG_NOSIGNAL | MSG_DONTWAIT)
         == 19)
    continue;
  for (unsigned i = 0; i < NR_IOS; i++) {
    test_io_submit (&t, server->beds[0], i % 64);
    await (t.nr_ends == 1);
    assert_ended (&t, BLKMQ_STS_OK);
  }
  peer_close (half);
  peer_close (deaf);
  server_stop (server);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("control-commands");
  TCase *tc = harness_case (suite, "protocol");

  tcase_add_test (tc, test_id_comes_back_as_it_is);
  tcase_add_test (tc, test_wrong_requests_are_refused_by_name);
  tcase_add_test (tc, test_blanks_around_a_request_are_no_matter);

  tc = harness_case (suite, "show");
  tcase_add_test (tc, test_exports_are_listed);
  tcase_add_test (tc, test_show_says_what_the_disk_is);
  tcase_add_test (tc, test_get_says_what_show_does);
  tcase_add_test (tc, test_text_that_is_not_utf8_is_shown_as_far_as_it_is);

  tc = harness_case (suite, "set");
  tcase_add_test (tc, test_set_changes_all_or_nothing);
  tcase_add_test (tc, test_each_export_is_its_own);

  tc = harness_case (suite, "stats");
  tcase_add_test (tc, test_stats_are_the_disks);
  tcase_add_test (tc, test_latencies_have_buckets_when_asked_for);
  tcase_add_test (tc, test_no_iostats_no_latencies);
  tcase_add_test (tc, test_reset_stats_begins_anew);
  tcase_add_test (tc, test_inflight_lists_requests);

  tc = harness_case (suite, "freeze");
  tcase_add_test (tc, test_freezes_nest_and_outlive_their_client);
  tcase_add_test (tc, test_freezes_are_undone_at_the_end);
  tcase_add_test (tc, test_freeze_lists_what_a_timeout_has_left_below);

  tc = harness_case (suite, "blocked");
  tcase_add_test (tc, test_change_that_waits_stalls_nobody);
  tcase_add_test (tc,
                  test_requests_behind_one_that_waits_are_answered_in_order);
  tcase_add_test (tc, test_client_goes_in_the_middle_of_a_change);
  tcase_add_test (tc, test_gone_clients_with_waiting_changes_make_room);
  tcase_add_test (tc, test_stop_does_not_wait_for_a_change_that_waits);
  tcase_add_test (tc, test_io_goes_on_while_clients_stall);
  return harness_main (suite);
}
