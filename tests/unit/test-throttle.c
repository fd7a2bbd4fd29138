/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-throttle.c: how fast a throttled disk is, to the nanosecond of the fake
 * clock, and who waits for whom.  The driver completes at once and writes down
 * when it was reached.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "blkmq-control.h"
#include "harness.h"

#define KIB UINT64_C (1024)
#define MIB (1024 * KIB)
#define S (1000 * MS)

#define MAX_ARRIVALS 20000
#define MAX_IO_BYTES (2 * MIB)

struct arrival {
  uint64_t at_ns; /* since the bed was opened */
  uint64_t bytes;
  enum blkmq_op op;
  unsigned hctx;
};

static struct arrival arrivals[MAX_ARRIVALS];
static unsigned nr_arrivals;
static uint64_t opened_ns;
static char data[MAX_IO_BYTES];
static struct test_io ios[MAX_ARRIVALS];

static uint64_t
now_ns (struct bed *bed)
{
  return blkmq_hctx_now_ns (bed_hctx (bed, 0)) - opened_ns;
}

static enum blkmq_queue_result
notes_and_completes (struct script *script, const struct issue *issue)
{
  struct arrival *arrival = &arrivals[nr_arrivals++];

  require (nr_arrivals <= MAX_ARRIVALS);
  arrival->at_ns = blkmq_hctx_now_ns (issue->rq->hctx) - opened_ns;
  arrival->bytes = issue->bytes;
  arrival->op = issue->op;
  arrival->hctx = blkmq_hctx_index (issue->rq->hctx);
  return script_completes_inside (script, issue);
}

static struct bed *
start_throttled (const char *keys)
{
  struct bed *bed = bed_alloc ();
  char all[256];

  nr_arrivals = 0;
  bed->script.on_queue = notes_and_completes;
  bed->script.max_discard_bytes = UINT32_MAX;
  bed->script.max_write_zeroes_bytes = UINT32_MAX;
  snprintf (all, sizeof all, "size=64M %s", keys);
  bed_open (bed, all);
  opened_ns = blkmq_hctx_now_ns (bed_hctx (bed, 0));
  return bed;
}

static void
submit_to (struct blkmq_submitter *submitter, struct bed *bed,
           struct test_io *t, enum blkmq_op op, uint64_t bytes)
{
  require (bytes <= MAX_IO_BYTES);
  test_io_init (t, bed, op, 0);
  t->segment = (struct iovec){ data, bytes };
  t->io.bytes = bytes;
  if (op == BLKMQ_OP_FLUSH)
    t->io.nr_segments = 0;
  blkmq_submit (submitter, &t->io);
}

static void
submit (struct bed *bed, struct test_io *t, enum blkmq_op op, uint64_t bytes)
{
  submit_to (bed->submitter, bed, t, op, bytes);
}

/* Let time pass until the next timer, and do what is due. */
static void
step (struct bed *bed)
{
  uint64_t next = UINT64_MAX;

  for (unsigned i = 0; i < bed->disk->nr_hw_queues; i++) {
    struct timer_heap *heap = &bed_hctx (bed, i)->heap;

    if (heap->nr > 0 && heap->timers[0]->deadline_ns < next)
      next = heap->timers[0]->deadline_ns;
  }
  require (next != UINT64_MAX);
  next -= opened_ns;
  bed_pass (bed, next > now_ns (bed) ? next - now_ns (bed) : 0);
}

static void
step_until_arrived (struct bed *bed, unsigned nr)
{
  while (nr_arrivals < nr)
    step (bed);
}

static void
check_arrival (unsigned n, uint64_t at_ns)
{
  ck_assert_uint_gt (nr_arrivals, n);
  /* Costs are rounded to parts of a nanosecond, timers to whole ones. */
  ck_assert_msg (arrivals[n].at_ns >= at_ns && arrivals[n].at_ns <= at_ns + 2,
                 "arrival %u at %llu and not at %llu", n,
                 (unsigned long long)arrivals[n].at_ns,
                 (unsigned long long)at_ns);
}

/* ------------------------------------------------------------------------ */
/* The rate                                                                  */

struct load {
  const char *keys;
  double bytes_per_s, requests_per_s; /* 0: no limit */
  uint64_t min_bytes, max_bytes;      /* of an io */
  unsigned nr;
};

static double
units_of (const struct arrival *arrival, bool in_bytes)
{
  return in_bytes ? (double)arrival->bytes : 1;
}

/* In each window of 10 ms that begins with a request: never more than the rate
 * allows, with a burst of 1 ms or one request; and, since there are always some
 * that wait, never less by more than one request. */
static void
check_windows (double per_s, bool in_bytes, double largest)
{
  const double window_s = 0.010;
  double burst = per_s * 0.001 > largest ? per_s * 0.001 : largest, sum = 0;
  unsigned end = 0;

  for (unsigned begin = 0; begin < nr_arrivals; begin++) {
    while (end < nr_arrivals
           && (double)(arrivals[end].at_ns - arrivals[begin].at_ns)
                  < window_s * 1e9)
      sum += units_of (&arrivals[end++], in_bytes);
    ck_assert_msg (sum <= per_s * window_s + burst + 1e-6 * per_s,
                   "%.0f in the window from %u", sum, begin);
    if (end == nr_arrivals)
      break; /* the load ends in this window */
    ck_assert_msg (sum >= per_s * window_s - largest - 1e-6 * per_s,
                   "only %.0f in the window from %u", sum, begin);
    /* Once the burst is spent a window has what it should, to 2 %. */
    if (largest <= per_s * window_s * 0.01 && arrivals[begin].at_ns > 1 * MS)
      ck_assert_msg (sum >= per_s * window_s * 0.98
                         && sum <= per_s * window_s * 1.02,
                     "%.0f in the window from %u", sum, begin);
    sum -= units_of (&arrivals[begin], in_bytes);
  }
}

START_TEST (test_rate_holds_in_every_window)
{
  static const struct load loads[] = {
    { "mbps=100", 100 * 1048576.0, 0, 4 * KIB, 4 * KIB, 6400 },
    { "mbps=100 submit_queues=3", 100 * 1048576.0, 0, 512, 9 * KIB, 6000 },
    { "mbps=1", 1048576.0, 0, 512, 64 * KIB, 400 },
    { "mbps=1000k", 1024000.0, 0, 4 * KIB, 4 * KIB, 600 },
    { "mbps=10240 hw_queue_depth=1", 10240 * 1048576.0, 0, 4 * KIB, 256 * KIB,
      4000 },
    { "iops=20000", 0, 20000, 512, 512, 4000 },
    { "iops=777 scheduler=mq-deadline nomerges=1", 0, 777, 512, 64 * KIB, 300 },
    { "iops=30000 mbps=20", 20 * 1048576.0, 30000, 4 * KIB, 4 * KIB, 1000 },
    { "iops=1000 mbps=20", 20 * 1048576.0, 1000, 4 * KIB, 4 * KIB, 300 },
  };
  const struct load *load = &loads[_i];
  struct bed *bed = start_throttled (load->keys);
  struct blkmq_submitter *submitters[3];
  unsigned nr_hctxs = bed->disk->nr_hw_queues;
  double by_bytes = 0, by_requests = 0, mean;
  uint64_t bytes = 0;
  struct rng rng;

  require (nr_hctxs <= NR (submitters));
  rng_init (&rng, 1);
  for (unsigned i = 0; i < nr_hctxs; i++)
    submitters[i] = blkmq_submitter_alloc (bed->disk, i);
  for (unsigned i = 0; i < load->nr; i++) {
    uint64_t blocks = 1 + (load->max_bytes - load->min_bytes) / BLOCK_BYTES;
    uint64_t size = load->min_bytes + rng_below (&rng, blocks) * BLOCK_BYTES;

    bytes += size;
    submit_to (submitters[i % nr_hctxs], bed, &ios[i],
               i % 2 ? BLKMQ_OP_READ : BLKMQ_OP_WRITE, size);
  }
  step_until_arrived (bed, load->nr);

  if (load->bytes_per_s > 0)
    by_bytes = (double)bytes / load->bytes_per_s;
  if (load->requests_per_s > 0)
    by_requests = load->nr / load->requests_per_s;
  mean = by_bytes > by_requests ? by_bytes : by_requests;
  /* All but the burst and the last one took its time. */
  ck_assert_double_le ((double)now_ns (bed) / 1e9, mean + 1e-6);
  ck_assert_double_ge ((double)now_ns (bed) / 1e9,
                       mean - 0.001 - mean * 3 / load->nr);
  if (by_bytes >= by_requests)
    check_windows (load->bytes_per_s, true, (double)load->max_bytes);
  else
    check_windows (load->requests_per_s, false, 1);
  for (unsigned i = 0; i < load->nr; i++)
    assert_ended (&ios[i], BLKMQ_STS_OK);
  for (unsigned i = 0; i < nr_hctxs; i++)
    blkmq_submitter_free (submitters[i]);
  bed_stop (bed);
}
END_TEST

START_TEST (test_large_request_waits_for_its_own_cost)
{
  struct bed *bed = start_throttled ("mbps=1");

  for (unsigned i = 0; i < 4; i++)
    submit (bed, &ios[i], BLKMQ_OP_WRITE, MIB);
  step_until_arrived (bed, 4);
  for (unsigned i = 0; i < 4; i++)
    check_arrival (i, i * S);

  /* What is left of the debt, and no more. */
  bed_pass (bed, 10 * S);
  nr_arrivals = 0;
  submit (bed, &ios[0], BLKMQ_OP_WRITE, 64 * KIB); /* 62.5 ms */
  bed_pass (bed, 10 * MS);
  submit (bed, &ios[1], BLKMQ_OP_WRITE, MIB);
  step_until_arrived (bed, 2);
  check_arrival (1, 13 * S + 62500 * US);
  bed_stop (bed);
}
END_TEST

START_TEST (test_idle_disk_saves_up_a_millisecond)
{
  struct bed *bed = start_throttled ("iops=10000");

  bed_pass (bed, 100 * S);
  for (unsigned i = 0; i < 30; i++)
    submit (bed, &ios[i], BLKMQ_OP_READ, BLOCK_BYTES);
  ck_assert_uint_eq (nr_arrivals, 10);
  step_until_arrived (bed, 30);
  for (unsigned i = 10; i < 30; i++)
    check_arrival (i, 100 * S + (i - 9) * 100 * US);
  bed_stop (bed);
}
END_TEST

/* The loop gets to its timers every 5 ms only; each time there is what there
 * should be by then. */
START_TEST (test_late_timers_cost_nothing)
{
  struct bed *bed = start_throttled ("iops=10000");

  for (unsigned i = 0; i < 2000; i++)
    submit (bed, &ios[i], BLKMQ_OP_READ, BLOCK_BYTES);
  for (unsigned i = 1; i <= 30; i++) {
    bed_pass (bed, 5 * MS);
    ck_assert_uint_ge (nr_arrivals, 50 * i);
    ck_assert_uint_le (nr_arrivals, 50 * i + 10);
  }
  step_until_arrived (bed, 2000);
  ck_assert_uint_ge (now_ns (bed), 198 * MS);

  /* A pause is no lateness. */
  bed_pass (bed, 100 * S);
  for (unsigned i = 0; i < 2000; i++)
    submit (bed, &ios[i], BLKMQ_OP_READ, BLOCK_BYTES);
  ck_assert_uint_eq (nr_arrivals, 2010);
  bed_stop (bed);
}
END_TEST

START_TEST (test_mbps_is_of_data_and_iops_of_all)
{
  static const enum blkmq_op ops[]
      = { BLKMQ_OP_FLUSH, BLKMQ_OP_DISCARD, BLKMQ_OP_WRITE_ZEROES,
          BLKMQ_OP_READ, BLKMQ_OP_WRITE };
  struct bed *bed = start_throttled ("mbps=1");

  for (unsigned i = 0; i < NR (ops); i++)
    submit (bed, &ios[i], ops[i], i == 0 ? 0 : MIB);
  step_until_arrived (bed, NR (ops));
  for (unsigned i = 0; i < NR (ops); i++)
    check_arrival (i, i == 4 ? 1 * S : 0);
  bed_stop (bed);

  bed = start_throttled ("iops=100");
  for (unsigned i = 0; i < NR (ops); i++)
    submit (bed, &ios[i], ops[i], i == 0 ? 0 : MIB);
  step_until_arrived (bed, NR (ops));
  for (unsigned i = 0; i < NR (ops); i++)
    check_arrival (i, i * 10 * MS);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Waiting                                                                   */

/* Each hctx has as many turns as the others, whatever is asked for there. */
START_TEST (test_hctxs_take_turns)
{
  static const uint64_t bytes[] = { 256 * KIB, 4 * KIB, 512 };
  struct bed *bed = start_throttled ("mbps=8 submit_queues=3");
  struct blkmq_submitter *submitters[3];
  unsigned next = 0, nr_of[3] = { 0 };

  for (unsigned h = 0; h < 3; h++) {
    submitters[h] = blkmq_submitter_alloc (bed->disk, h);
    for (unsigned i = 0; i < 100; i++)
      submit_to (submitters[h], bed, &ios[next++], BLKMQ_OP_WRITE, bytes[h]);
  }
  step_until_arrived (bed, 300);
  for (unsigned i = 0; i < 300; i++) {
    nr_of[arrivals[i].hctx]++;
    for (unsigned h = 0; h < 3; h++)
      ck_assert_uint_le (nr_of[arrivals[i].hctx], nr_of[h] + 2);
  }
  for (unsigned h = 0; h < 3; h++)
    blkmq_submitter_free (submitters[h]);
  bed_stop (bed);
}
END_TEST

/* A request costs what it costs once, however often it is tried meanwhile. */
START_TEST (test_refused_is_not_charged_again)
{
  struct bed *bed = start_throttled ("iops=10");

  for (unsigned i = 0; i < 3; i++)
    submit (bed, &ios[i], BLKMQ_OP_READ, BLOCK_BYTES);
  for (unsigned i = 0; i < 50; i++) {
    bed_pass (bed, 1 * MS);
    blkmq_run_hctx (bed_hctx (bed, 0));
    bed_turn (bed);
  }
  ck_assert_uint_eq (nr_arrivals, 1);
  step_until_arrived (bed, 3);
  check_arrival (1, 100 * MS);
  check_arrival (2, 200 * MS);
  bed_stop (bed);
}
END_TEST

START_TEST (test_wait_takes_one_timer_and_one_try)
{
  struct bed *bed = start_throttled ("iops=10");

  submit (bed, &ios[0], BLKMQ_OP_READ, BLOCK_BYTES);
  submit (bed, &ios[1], BLKMQ_OP_READ, BLOCK_BYTES);
  ck_assert_uint_eq (bed_stats (bed).busy, 1);
  step (bed);
  ck_assert_uint_eq (nr_arrivals, 2);
  check_arrival (1, 100 * MS);
  ck_assert_uint_eq (bed_stats (bed).busy, 1);
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
is_busy_once (struct script *script, const struct issue *issue)
{
  script->on_queue = notes_and_completes;
  return BLKMQ_BUSY_HOST;
}

/* Who has passed and is refused below does not come back here. */
START_TEST (test_refused_below_is_not_charged_again)
{
  struct bed *bed = start_throttled ("iops=10");

  bed->script.on_queue = is_busy_once;
  submit (bed, &ios[0], BLKMQ_OP_READ, BLOCK_BYTES);
  submit (bed, &ios[1], BLKMQ_OP_READ, BLOCK_BYTES);
  step_until_arrived (bed, 2);
  check_arrival (0, 3 * MS);
  check_arrival (1, 100 * MS);
  bed_stop (bed);
}
END_TEST

START_TEST (test_io_timeout_does_not_end_what_waits_for_the_budget)
{
  struct bed *bed = start_throttled ("iops=1 io_timeout=100");

  for (unsigned i = 0; i < 3; i++)
    submit (bed, &ios[i], BLKMQ_OP_READ, BLOCK_BYTES);
  for (unsigned i = 0; i < 40; i++)
    bed_pass (bed, 50 * MS);
  for (unsigned i = 0; i < 3; i++)
    assert_ended (&ios[i], BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (bed).timeouts, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_abort_and_removal_do_not_wait)
{
  struct bed *bed = start_throttled ("iops=1");

  for (unsigned i = 0; i < 10; i++)
    submit (bed, &ios[i], BLKMQ_OP_READ, BLOCK_BYTES);
  assert_ended (&ios[0], BLKMQ_STS_OK);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &ios[1].io), 1);
  assert_ended (&ios[1], BLKMQ_STS_ABORTED);
  blkmq_disk_remove (bed->disk);
  for (unsigned i = 2; i < 10; i++)
    assert_ended (&ios[i], BLKMQ_STS_OFFLINE);
  ck_assert_uint_eq (nr_arrivals, 1);
  bed_stop (bed);
}
END_TEST

/* The tag of one that was aborted here begins anew. */
START_TEST (test_place_of_an_aborted_request_is_not_inherited)
{
  struct bed *bed = start_throttled ("iops=10 hw_queue_depth=1");

  submit (bed, &ios[0], BLKMQ_OP_READ, BLOCK_BYTES);
  submit (bed, &ios[1], BLKMQ_OP_READ, BLOCK_BYTES);
  blkmq_abort_io (bed->submitter, &ios[1].io);
  submit (bed, &ios[2], BLKMQ_OP_READ, BLOCK_BYTES);
  bed_pass (bed, 100 * MS);
  ck_assert_uint_eq (nr_arrivals, 1);
  step_until_arrived (bed, 2);
  check_arrival (1, 200 * MS);
  bed_stop (bed);
}
END_TEST

/* Reaped by who polls, but let through by the hctx's own timer. */
START_TEST (test_polled_queue_is_throttled)
{
  struct bed *bed = bed_alloc ();

  bed->script.driver = "scripted-poll";
  bed->script.on_poll = script_reaps;
  bed_open (bed, "iops=10 poll_queues=1");
  for (unsigned i = 0; i < 3; i++) {
    test_io_init (&ios[i], bed, BLKMQ_OP_READ, 0);
    ios[i].io.flags = BLKMQ_IO_POLLED;
    blkmq_submit (bed->submitter, &ios[i].io);
  }
  for (unsigned i = 0; i < 3; i++) {
    ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
    assert_ended (&ios[i], BLKMQ_STS_OK);
    bed_pass (bed, 100 * MS - 1);
    ck_assert_int_eq (blkmq_poll (bed->submitter), 0);
    bed_pass (bed, 1);
  }
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Changes                                                                   */

struct changer {
  struct bed *bed;
  struct blkmq_setting settings[2];
  int result;
  _Atomic bool done;
};

static void *
change (void *opaque)
{
  struct changer *changer = opaque;

  changer->result = blkmq_disk_set (changer->bed->disk, changer->settings, 2,
                                    &changer->bed->error);
  changer->done = true;
  return NULL;
}

/* While the clock stands still. */
static void
set_rates (struct bed *bed, const char *mbps, const char *iops)
{
  struct changer changer
      = { .bed = bed, .settings = { { "mbps", mbps }, { "iops", iops } } };
  pthread_t thread = thread_start (change, &changer);

  while (!changer.done) {
    bed_turn (bed);
    await_pause ();
  }
  thread_join (thread);
  ck_assert_msg (changer.result == 0, "%s", bed->error.message);
}

/* What waits when the rate changes goes through at once, so that the change is
 * not the slower the slower the disk is; but it is paid for by those that come
 * afterwards, at the new rate. */
START_TEST (test_change_does_not_wait_and_forgives_nothing)
{
  struct bed *bed = start_throttled ("mbps=1");

  for (unsigned i = 0; i < 9; i++)
    submit (bed, &ios[i], BLKMQ_OP_WRITE, MIB);
  bed_pass (bed, 500 * MS);
  ck_assert_uint_eq (nr_arrivals, 1);
  set_rates (bed, "2", "0");
  ck_assert_uint_eq (nr_arrivals, 9);
  ck_assert_uint_eq (now_ns (bed), 500 * MS);

  /* 8.5 MiB are owed. */
  submit (bed, &ios[9], BLKMQ_OP_WRITE, MIB);
  submit (bed, &ios[10], BLKMQ_OP_WRITE, MIB);
  step_until_arrived (bed, 11);
  check_arrival (9, 500 * MS + 4250 * MS);
  check_arrival (10, 500 * MS + 4750 * MS);
  bed_stop (bed);
}
END_TEST

START_TEST (test_throttle_is_switched_on_and_off)
{
  struct bed *bed = start_throttled ("live=1");

  for (unsigned i = 0; i < 5; i++)
    submit (bed, &ios[i], BLKMQ_OP_WRITE, MIB);
  ck_assert_uint_eq (nr_arrivals, 5);
  set_rates (bed, "0", "10");
  for (unsigned i = 5; i < 8; i++)
    submit (bed, &ios[i], BLKMQ_OP_WRITE, MIB);
  step_until_arrived (bed, 8);
  check_arrival (7, 200 * MS);

  set_rates (bed, "0", "0");
  for (unsigned i = 8; i < 20; i++)
    submit (bed, &ios[i], BLKMQ_OP_WRITE, MIB);
  ck_assert_uint_eq (nr_arrivals, 20);

  /* What was let through without a limit is not owed. */
  set_rates (bed, "1", "1");
  submit (bed, &ios[20], BLKMQ_OP_WRITE, MIB);
  ck_assert_uint_eq (nr_arrivals, 21);
  bed_stop (bed);
}
END_TEST

/* The slowest there is: what is owed does not wrap. */
START_TEST (test_debt_is_bounded)
{
  struct bed *bed = start_throttled ("mbps=1b");
  unsigned n;

  for (n = 0; n < 60; n++)
    submit (bed, &ios[n], BLKMQ_OP_WRITE, 2 * MIB);
  set_rates (bed, "2b", "0");
  for (; n < 120; n++)
    submit (bed, &ios[n], BLKMQ_OP_WRITE, 2 * MIB);
  set_rates (bed, "1b", "0");
  ck_assert_uint_eq (nr_arrivals, 120);
  submit (bed, &ios[n], BLKMQ_OP_WRITE, BLOCK_BYTES);
  ck_assert_uint_eq (nr_arrivals, 120);
  bed_pass (bed, 86400 * S);
  ck_assert_uint_eq (nr_arrivals, 120);
  step_until_arrived (bed, 121);
  assert_ended (&ios[n], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("throttle");
  TCase *tcase;

  tcase = harness_case (suite, "rate");
  tcase_add_loop_test (tcase, test_rate_holds_in_every_window, 0, 9);
  tcase_add_test (tcase, test_large_request_waits_for_its_own_cost);
  tcase_add_test (tcase, test_idle_disk_saves_up_a_millisecond);
  tcase_add_test (tcase, test_late_timers_cost_nothing);
  tcase_add_test (tcase, test_mbps_is_of_data_and_iops_of_all);

  tcase = harness_case (suite, "waiting");
  tcase_add_test (tcase, test_hctxs_take_turns);
  tcase_add_test (tcase, test_refused_is_not_charged_again);
  tcase_add_test (tcase, test_wait_takes_one_timer_and_one_try);
  tcase_add_test (tcase, test_refused_below_is_not_charged_again);
  tcase_add_test (tcase,
                  test_io_timeout_does_not_end_what_waits_for_the_budget);
  tcase_add_test (tcase, test_abort_and_removal_do_not_wait);
  tcase_add_test (tcase, test_place_of_an_aborted_request_is_not_inherited);
  tcase_add_test (tcase, test_polled_queue_is_throttled);

  tcase = harness_case (suite, "change");
  tcase_add_test (tcase, test_change_does_not_wait_and_forgives_nothing);
  tcase_add_test (tcase, test_throttle_is_switched_on_and_off);
  tcase_add_test (tcase, test_debt_is_bounded);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
