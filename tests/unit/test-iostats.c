/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-iostats.c: iostats=1: how long requests took and how long the hctx was
 * busy, on the fake clock, and exact with many threads.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "harness.h"

#define TICK_NS UINT64_C (1024)
#define SECOND (1000 * MS)

static struct blkmq_histogram latency; /* too large for some stacks */

static const struct blkmq_histogram *
get_latency (struct bed *bed, unsigned hctx, enum blkmq_op op)
{
  require (blkmq_disk_latency (bed->disk, hctx, op, &latency) == 0);
  return &latency;
}

static void
assert_latency (struct bed *bed, enum blkmq_op op, uint64_t count,
                uint64_t sum_ns, uint64_t min_ns, uint64_t max_ns)
{
  const struct blkmq_histogram *h = get_latency (bed, BLKMQ_HCTX_ANY, op);
  uint64_t in_buckets = 0;

  for (unsigned i = 0; i < BLKMQ_HISTOGRAM_NR_BUCKETS; i++)
    in_buckets += h->buckets[i];
  ck_assert_uint_eq (in_buckets, count);
  ck_assert_uint_eq (h->count, count);
  ck_assert_uint_eq (h->sum_ns, sum_ns);
  ck_assert_uint_eq (bed_stats (bed).time_ns[op], sum_ns);
  if (count > 0) {
    ck_assert_uint_eq (h->min_ns, min_ns);
    ck_assert_uint_eq (h->max_ns, max_ns);
  }
}

/* A step at each end of each busy time. */
static void
assert_busy (struct bed *bed, uint64_t wanted_ns, unsigned nr_times)
{
  uint64_t busy_ns = bed_stats (bed).busy_ns;

  ck_assert_uint_le (busy_ns, wanted_ns + nr_times * TICK_NS);
  ck_assert_uint_ge (busy_ns + nr_times * TICK_NS, wanted_ns);
}

/* ------------------------------------------------------------------------ */

START_TEST (test_latencies_need_iostats)
{
  struct bed *bed = bed_start ("");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, 5 * MS);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  ck_assert_int_eq (blkmq_disk_latency (bed->disk, 0, BLKMQ_OP_READ, &latency),
                    -ENODATA);
  ck_assert_uint_eq (bed_stats (bed).time_ns[BLKMQ_OP_READ], 0);
  ck_assert_uint_eq (bed_stats (bed).busy_ns, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_latencies_of_nothing_that_exists_fail)
{
  struct bed *bed = bed_start ("iostats=1 submit_queues=2");

  ck_assert_int_eq (blkmq_disk_latency (bed->disk, 1, BLKMQ_OP_READ, &latency),
                    0);
  ck_assert_int_eq (blkmq_disk_latency (bed->disk, 2, BLKMQ_OP_READ, &latency),
                    -EINVAL);
  ck_assert_int_eq (blkmq_disk_latency (bed->disk, 0, BLKMQ_NR_OPS, &latency),
                    -EINVAL);
  bed_stop (bed);
}
END_TEST

START_TEST (test_new_disk_has_no_latencies)
{
  struct bed *bed = bed_start ("iostats=1");

  bed_pass (bed, SECOND);
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++)
    assert_latency (bed, (enum blkmq_op)op, 0, 0, 0, 0);
  ck_assert_uint_eq (bed_stats (bed).busy_ns, 0);
  bed_stop (bed);
}
END_TEST

/* From the tag to the answer, wherever that is given. */
START_TEST (test_latency_lasts_until_the_answer_in_each_irqmode)
{
  struct bed *bed = bed_start ("iostats=1 irqmode=none");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, 3 * MS);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_latency (bed, BLKMQ_OP_READ, 1, 3 * MS, 3 * MS, 3 * MS);
  bed_stop (bed);

  bed = bed_start ("iostats=1 irqmode=softirq");
  test_io_submit (&t, bed, 0);
  bed_pass (bed, 3 * MS);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  /* Given back, but the loop has not turned. */
  assert_latency (bed, BLKMQ_OP_READ, 0, 0, 0, 0);
  bed_pass (bed, 1 * MS);
  assert_latency (bed, BLKMQ_OP_READ, 1, 4 * MS, 4 * MS, 4 * MS);
  bed_stop (bed);

  bed = bed_start ("iostats=1 irqmode=timer completion_nsec=7ms");
  test_io_submit (&t, bed, 0);
  bed_pass (bed, 3 * MS);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_pass (bed, 7 * MS);
  assert_latency (bed, BLKMQ_OP_READ, 1, 10 * MS, 10 * MS, 10 * MS);
  bed_stop (bed);
}
END_TEST

START_TEST (test_operations_and_hctxs_are_apart)
{
  struct bed *bed = bed_start ("iostats=1 submit_queues=2");
  struct blkmq_submitter *second = blkmq_submitter_alloc (bed->disk, 1);
  unsigned n = 0;

  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    for (unsigned hctx = 0; hctx < 2; hctx++) {
      struct test_io t;

      test_io_init (&t, bed, (enum blkmq_op)op, 0);
      blkmq_submit (hctx == 0 ? bed->submitter : second, &t.io);
      bed_pass (bed, (op + 1) * MS + hctx);
      issue_complete (&bed->script, n++, BLKMQ_STS_OK);
    }
  }
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    for (unsigned hctx = 0; hctx < 2; hctx++) {
      const struct blkmq_histogram *h
          = get_latency (bed, hctx, (enum blkmq_op)op);

      ck_assert_uint_eq (h->count, 1);
      ck_assert_uint_eq (h->sum_ns, (op + 1) * MS + hctx);
    }
    assert_latency (bed, (enum blkmq_op)op, 2, 2 * (op + 1) * MS + 1,
                    (op + 1) * MS, (op + 1) * MS + 1);
  }
  blkmq_submitter_free (second);
  bed_stop (bed);
}
END_TEST

/* Waiting for a tag is not the request's time, which has none yet. */
START_TEST (test_waiting_for_a_tag_does_not_count)
{
  struct bed *bed = bed_start ("iostats=1 hw_queue_depth=1");
  struct test_io first, second;

  test_io_submit (&first, bed, 0);
  test_io_submit (&second, bed, 0);
  bed_pass (bed, 10 * MS);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_turn (bed);
  bed_pass (bed, 2 * MS);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_latency (bed, BLKMQ_OP_READ, 2, 12 * MS, 2 * MS, 10 * MS);
  bed_stop (bed);
}
END_TEST

/* Waiting for the driver is: quiesced, requeued. */
START_TEST (test_waiting_with_a_tag_counts)
{
  struct bed *bed = bed_start ("iostats=1");
  struct test_io t;

  blkmq_quiesce (bed->disk);
  test_io_submit (&t, bed, 0);
  bed_pass (bed, 5 * MS);
  blkmq_unquiesce (bed->disk);
  bed_turn (bed);
  bed_pass (bed, 2 * MS);
  issue_requeue (&bed->script, 0);
  bed_turn (bed);
  bed_pass (bed, 1 * MS);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_latency (bed, BLKMQ_OP_READ, 1, 8 * MS, 8 * MS, 8 * MS);
  assert_busy (bed, 8 * MS, 1);
  bed_stop (bed);
}
END_TEST

/* Each life once, though claims are lost and the driver comes late. */
START_TEST (test_failures_count_once)
{
  struct bed *bed = bed_start ("iostats=1 hw_queue_depth=2");
  struct test_io aborted, failed;

  test_io_submit_early (&aborted, bed, 0);
  test_io_submit (&failed, bed, 1);
  bed_pass (bed, 1 * MS);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &aborted.io), 1);
  assert_latency (bed, BLKMQ_OP_READ, 1, 1 * MS, 1 * MS, 1 * MS);
  bed_pass (bed, 4 * MS);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  issue_complete (&bed->script, 1, BLKMQ_STS_MEDIUM);
  assert_latency (bed, BLKMQ_OP_READ, 2, 6 * MS, 1 * MS, 5 * MS);
  bed_stop (bed);
}
END_TEST

START_TEST (test_parts_of_a_split_io_count_each)
{
  struct bed *bed = bed_start ("iostats=1 max_sectors=1");
  static char data[3 * BLOCK_BYTES];
  struct iovec segment = { data, sizeof data };
  struct test_io t;

  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  t.io.bytes = sizeof data;
  t.io.segments = &segment;
  blkmq_submit (bed->submitter, &t.io);
  for (unsigned i = 0; i < 3; i++) {
    bed_pass (bed, 1 * MS);
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
  }
  assert_ended (&t, BLKMQ_STS_OK);
  assert_latency (bed, BLKMQ_OP_READ, 3, 6 * MS, 1 * MS, 3 * MS);
  assert_busy (bed, 3 * MS, 1);
  bed_stop (bed);
}
END_TEST

/* ---- as the kernel's diskstats ---- */

static void
check_mean (uint64_t completion_ns)
{
  struct bed *bed = bed_alloc ();
  const struct blkmq_histogram *h;
  char keys[100];
  double mean_ns, off;

  snprintf (keys, sizeof keys, "iostats=1 irqmode=timer completion_nsec=%uns",
            (unsigned)completion_ns);
  bed->script.on_queue = script_completes_inside;
  bed_open (bed, keys);
  for (unsigned i = 0; i < 20; i++) {
    struct test_io t[3];

    for (unsigned n = 0; n < NR (t); n++)
      test_io_submit (&t[n], bed, n);
    bed_pass (bed, completion_ns);
    /* And nothing for a while. */
    bed_pass (bed, 333 * US);
  }
  h = get_latency (bed, BLKMQ_HCTX_ANY, BLKMQ_OP_READ);
  mean_ns = (double)bed_stats (bed).time_ns[BLKMQ_OP_READ]
            / (double)bed_stats (bed).ios[BLKMQ_OP_READ];
  off = mean_ns / (double)completion_ns - 1;
  ck_assert_uint_eq (h->count, 60);
  ck_assert (blkmq_histogram_mean (h) == mean_ns);
  ck_assert (off <= 0.05 && off >= -0.05);
  off = (double)bed_stats (bed).busy_ns / (double)(20 * completion_ns) - 1;
  ck_assert (off <= 0.05 && off >= -0.05);
  bed_stop (bed);
}

START_TEST (test_mean_and_busy_time_are_right_at_1_s_and_at_half_a_ms)
{
  check_mean (1 * SECOND);
  check_mean (500 * US);
}
END_TEST

/* Overlapping requests count once, and so does the one that is on its way. */
START_TEST (test_busy_while_anything_is_in_flight)
{
  struct bed *bed = bed_start ("iostats=1");
  struct test_io a, b, c;

  bed_pass (bed, 1 * SECOND);
  test_io_submit (&a, bed, 0);
  bed_pass (bed, 2 * MS);
  test_io_submit (&b, bed, 0);
  bed_pass (bed, 3 * MS);
  assert_busy (bed, 5 * MS, 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_pass (bed, 4 * MS);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_busy (bed, 9 * MS, 1);
  bed_pass (bed, 1 * SECOND);
  assert_busy (bed, 9 * MS, 1);
  test_io_submit (&c, bed, 0);
  bed_pass (bed, 1 * MS);
  assert_busy (bed, 10 * MS, 2);
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  assert_busy (bed, 10 * MS, 2);
  bed_stop (bed);
}
END_TEST

/* A driver that keeps what was aborted long ago keeps a tag, and nobody waits
 * for it. */
START_TEST (test_not_busy_with_what_was_answered)
{
  struct bed *bed = bed_start ("iostats=1");
  struct test_io t, next;

  test_io_submit_early (&t, bed, 0);
  bed_pass (bed, 1 * MS);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 1);
  bed_pass (bed, 1 * SECOND);
  assert_busy (bed, 1 * MS, 1);
  test_io_submit (&next, bed, 0);
  assert_busy (bed, 1 * MS, 1);
  bed_pass (bed, 2 * MS);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_busy (bed, 3 * MS, 2);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_busy (bed, 3 * MS, 2);
  bed_stop (bed);
}
END_TEST

/* Shorter than a step: a whole one or none, and on average right. */
START_TEST (test_busy_is_right_on_average_for_short_requests)
{
  struct bed *bed = bed_start ("iostats=1");
  uint64_t wanted_ns = 0, busy_ns;
  struct rng rng;

  rng_init (&rng, 0);
  for (unsigned i = 0; i < 4000; i++) {
    uint64_t ns = 1 + rng_below (&rng, 400);
    struct test_io t;

    test_io_submit (&t, bed, 0);
    clock_advance (&bed->clock, ns);
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    clock_advance (&bed->clock, rng_below (&rng, 50 * US));
    wanted_ns += ns;
  }
  /* 781 steps are expected, with a deviation of 25: this is 7 of them. */
  busy_ns = bed_stats (bed).busy_ns;
  ck_assert_uint_le (busy_ns, wanted_ns + 175 * TICK_NS);
  ck_assert_uint_ge (busy_ns + 175 * TICK_NS, wanted_ns);
  bed_stop (bed);
}
END_TEST

/* ---- what four threads have done, to the last one ---- */

#define NR_THREADS 4
#define NR_EACH (SANITIZED ? 5000 : 50000)

struct shared {
  struct bed *bed;
  _Atomic bool over;
};

static void *
read_and_write (void *opaque)
{
  struct shared *shared = opaque;
  char data[BLOCK_BYTES] = { 0 };

  for (unsigned i = 0; i < NR_EACH; i++) {
    require (blkmq_read (shared->bed->submitter, data, sizeof data, 0) == 0);
    require (blkmq_write (shared->bed->submitter, data, sizeof data, 0, 0)
             == 0);
  }
  return NULL;
}

/* What is in the buckets is everywhere. */
static void *
look (void *opaque)
{
  struct shared *shared = opaque;
  struct blkmq_histogram *h = calloc (1, sizeof *h);

  require (h != NULL);
  while (!shared->over) {
    require (blkmq_disk_latency (shared->bed->disk, 0, BLKMQ_OP_READ, h) == 0);
    require (h->count == 0 || h->min_ns <= h->max_ns);
    require (h->sum_ns >= h->count * h->min_ns);
    require (blkmq_histogram_percentile (h, 50) <= h->max_ns);
  }
  free (h);
  return NULL;
}

START_TEST (test_latencies_are_exact_with_many_threads)
{
  struct bed *bed = bed_alloc ();
  struct shared shared = { .bed = bed };
  pthread_t threads[NR_THREADS], looker;
  struct blkmq_stats stats;

  bed->script.on_queue = script_completes_inside;
  bed_open_threads (bed, "iostats=1 hw_queue_depth=3");
  looker = thread_start (look, &shared);
  for (unsigned i = 0; i < NR_THREADS; i++)
    threads[i] = thread_start (read_and_write, &shared);
  for (unsigned i = 0; i < NR_THREADS; i++)
    thread_join (threads[i]);
  shared.over = true;
  thread_join (looker);
  stats = bed_stats (bed);
  for (enum blkmq_op op = BLKMQ_OP_READ; op <= BLKMQ_OP_WRITE; op++) {
    const struct blkmq_histogram *h = get_latency (bed, 0, op);
    uint64_t count = 0;

    for (unsigned i = 0; i < BLKMQ_HISTOGRAM_NR_BUCKETS; i++)
      count += h->buckets[i];
    ck_assert_uint_eq (count, NR_THREADS * NR_EACH);
    ck_assert_uint_eq (h->count, count);
    ck_assert_uint_eq (stats.ios[op], count);
    ck_assert_uint_eq (stats.time_ns[op], h->sum_ns);
  }
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("iostats");
  TCase *tcase;

  tcase = harness_case (suite, "latency");
  tcase_add_test (tcase, test_latencies_need_iostats);
  tcase_add_test (tcase, test_latencies_of_nothing_that_exists_fail);
  tcase_add_test (tcase, test_new_disk_has_no_latencies);
  tcase_add_test (tcase, test_latency_lasts_until_the_answer_in_each_irqmode);
  tcase_add_test (tcase, test_operations_and_hctxs_are_apart);
  tcase_add_test (tcase, test_waiting_for_a_tag_does_not_count);
  tcase_add_test (tcase, test_waiting_with_a_tag_counts);
  tcase_add_test (tcase, test_failures_count_once);
  tcase_add_test (tcase, test_parts_of_a_split_io_count_each);
  tcase_add_test (tcase, test_latencies_are_exact_with_many_threads);

  tcase = harness_case (suite, "diskstats");
  tcase_add_test (tcase,
                  test_mean_and_busy_time_are_right_at_1_s_and_at_half_a_ms);
  tcase_add_test (tcase, test_busy_while_anything_is_in_flight);
  tcase_add_test (tcase, test_not_busy_with_what_was_answered);
  tcase_add_test (tcase, test_busy_is_right_on_average_for_short_requests);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
