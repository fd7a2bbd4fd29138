/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-timeout.c: io_timeout: when it runs out, whom the scan asks, and what
 * each answer does.
 */

#include <config.h>

#include <errno.h>

#include "harness.h"

#define IO_TIMEOUT "io_timeout=1000 "
#define IO_TIMEOUT_NS (1000 * MS)

/* ------------------------------------------------------------------------ */
/* What the driver answers                                                   */

/* script->opaque: the answer. */
static enum blkmq_timeout_result
answers (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  const enum blkmq_timeout_result *answer = script->opaque;

  return *answer;
}

static struct bed *
start_with_answer (enum blkmq_timeout_result *answer, const char *keys)
{
  struct bed *bed = bed_alloc ();

  bed->script.on_timeout = answers;
  bed->script.opaque = answer;
  bed_open (bed, keys);
  return bed;
}

static void
check_asked (struct bed *bed, unsigned done, unsigned reset, unsigned held)
{
  struct blkmq_stats stats = bed_stats (bed);

  ck_assert_uint_eq (stats.timeouts_done, done);
  ck_assert_uint_eq (stats.timeouts_reset, reset);
  ck_assert_uint_eq (stats.timeouts_held, held);
  ck_assert_uint_eq (stats.timeouts, done + reset + held);
}

START_TEST (test_timeout_is_not_early)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_DONE;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, IO_TIMEOUT_NS - 1);
  ck_assert_uint_eq (bed->script.nr_timeouts, 0);
  bed_pass (bed, 1);
  ck_assert_uint_eq (bed->script.nr_timeouts, 1);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

/* The deadline is taken from a clock that may lag, and so the lag is added. */
START_TEST (test_lag_of_the_coarse_clock_is_added)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_DONE;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT);
  struct test_io t;

  bed->clock.coarse_resolution_ns = 4 * MS;
  test_io_submit (&t, bed, 0);
  bed_pass (bed, IO_TIMEOUT_NS + 4 * MS - 1);
  ck_assert_uint_eq (bed->script.nr_timeouts, 0);
  bed_pass (bed, 1);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

START_TEST (test_done_ends_and_takes_back)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_DONE;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT "hw_queue_depth=1");
  struct test_io t, waiter;

  test_io_submit_early (&t, bed, 0);
  test_io_submit (&waiter, bed, 1);
  bed_pass (bed, IO_TIMEOUT_NS);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  check_asked (bed, 1, 0, 0);
  /* The tag is free again. */
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&waiter, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_reset_gives_another_io_timeout)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_RESET;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, IO_TIMEOUT_NS);
  check_asked (bed, 0, 1, 0);
  bed_pass (bed, IO_TIMEOUT_NS - 1);
  check_asked (bed, 0, 1, 0);
  bed_pass (bed, 1);
  check_asked (bed, 0, 2, 0);
  assert_not_ended (&t);
  answer = BLKMQ_TIMEOUT_DONE;
  bed_pass (bed, IO_TIMEOUT_NS);
  check_asked (bed, 1, 2, 0);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

START_TEST (test_held_is_asked_once)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_HELD;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT);
  struct blkmq_request_info info;
  struct blkmq_request *rq;
  struct test_io t;

  test_io_submit_early (&t, bed, 0);
  bed_pass (bed, IO_TIMEOUT_NS);
  assert_ended_early (&t, BLKMQ_STS_TIMEOUT);
  for (unsigned i = 0; i < 5; i++)
    bed_pass (bed, IO_TIMEOUT_NS);
  check_asked (bed, 0, 0, 1);
  rq = blkmq_request_get (bed->disk, script_issue (&bed->script, 0)->token);
  blkmq_request_info (rq, &info);
  ck_assert (info.ended && info.held && info.timed_out);
  blkmq_request_put (rq);
  ck_assert_int_eq (issue_complete (&bed->script, 0, BLKMQ_STS_OK), 0);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

START_TEST (test_driver_without_timeout_op_resets)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.driver = "scripted-bare";
  bed_open (bed, IO_TIMEOUT);
  test_io_submit (&t, bed, 0);
  for (unsigned i = 1; i <= 3; i++) {
    bed_pass (bed, IO_TIMEOUT_NS);
    check_asked (bed, 0, i, 0);
  }
  assert_not_ended (&t);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_no_io_timeout_never_asks)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_DONE;
  struct bed *bed = start_with_answer (&answer, "");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  ck_assert_uint_eq (bed_hctx (bed, 0)->heap.nr, 0);
  bed_pass (bed, UINT64_C (1) << 50);
  check_asked (bed, 0, 0, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* Each on its own deadline, though there is one timer. */
START_TEST (test_each_request_has_its_own_deadline)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_DONE;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT "hw_queue_depth=8");
  static struct test_io t[8];

  for (unsigned i = 0; i < NR (t); i++) {
    test_io_submit (&t[i], bed, i);
    clock_advance (&bed->clock, 7 * MS);
  }
  bed_pass (bed, IO_TIMEOUT_NS - 8 * 7 * MS - 1);
  for (unsigned i = 0; i < NR (t); i++) {
    check_asked (bed, i, 0, 0);
    bed_pass (bed, 1);
    check_asked (bed, i + 1, 0, 0);
    assert_ended (&t[i], BLKMQ_STS_TIMEOUT);
    bed_pass (bed, 7 * MS - 1);
  }
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* When the time starts                                                      */

static struct gate queue_gate = GATE_INITIALIZER;

static enum blkmq_queue_result
passes_the_gate (struct script *script, const struct issue *issue)
{
  gate_pass (&queue_gate);
  return BLKMQ_QUEUED;
}

static void *
submit_one (void *opaque)
{
  struct test_io *t = opaque;

  blkmq_submit (t->bed->submitter, &t->io);
  return NULL;
}

/* Also checked by the harness: no timeout while queue_rq runs. */
START_TEST (test_request_inside_queue_rq_is_left_alone)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_DONE;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT);
  pthread_t thread;
  struct test_io t;

  bed->script.on_queue = passes_the_gate;
  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  thread = thread_start (submit_one, &t);
  gate_await_arrival (&queue_gate, 1);
  bed_pass (bed, 2 * IO_TIMEOUT_NS);
  ck_assert_uint_eq (bed->script.nr_timeouts, 0);
  assert_not_ended (&t);

  gate_open (&queue_gate);
  thread_join (thread);
  /* It is not forgotten: the next scan is not an io_timeout away. */
  bed_pass (bed, IO_TIMEOUT_NS / 10);
  check_asked (bed, 1, 0, 0);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

/* How often queue_rq says BUSY first. */
static unsigned nr_busy;

static enum blkmq_queue_result
is_busy_first (struct script *script, const struct issue *issue)
{
  return script->nr_issues <= nr_busy ? BLKMQ_BUSY_HOST : BLKMQ_QUEUED;
}

START_TEST (test_time_starts_at_the_first_acceptance)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_DONE;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT);
  struct test_io t;

  nr_busy = 1000;
  bed->script.on_queue = is_busy_first;
  test_io_submit (&t, bed, 0);
  for (unsigned i = 0; i < 100; i++)
    bed_pass (bed, IO_TIMEOUT_NS / 20);
  ck_assert_uint_gt (bed->script.nr_issues, 50);
  assert_not_ended (&t);

  nr_busy = 0;
  bed_pass (bed, 3 * MS);
  bed_pass (bed, IO_TIMEOUT_NS - 1);
  check_asked (bed, 0, 0, 0);
  bed_pass (bed, 1);
  check_asked (bed, 1, 0, 0);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

START_TEST (test_waiting_for_the_driver_does_not_count)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_DONE;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT "hw_queue_depth=1");
  struct test_io first, waiter;

  test_io_submit (&first, bed, 0);
  test_io_submit (&waiter, bed, 1);
  bed_pass (bed, IO_TIMEOUT_NS - 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  blkmq_quiesce (bed->disk);
  bed_pass (bed, 10 * IO_TIMEOUT_NS); /* QUEUED now, and not yet issued */
  blkmq_unquiesce (bed->disk);
  check_asked (bed, 0, 0, 0);
  bed_pass (bed, IO_TIMEOUT_NS - 1);
  check_asked (bed, 0, 0, 0);
  bed_pass (bed, 1);
  check_asked (bed, 1, 0, 0);
  assert_ended (&waiter, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

START_TEST (test_requeue_does_not_start_the_time_again)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_DONE;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  for (unsigned i = 0; i < 9; i++) {
    bed_pass (bed, IO_TIMEOUT_NS / 10);
    ck_assert_int_eq (issue_requeue (&bed->script, i), 0);
    bed_turn (bed);
    ck_assert_uint_eq (bed->script.nr_issues, i + 2);
  }
  bed_pass (bed, IO_TIMEOUT_NS / 10 - 1);
  check_asked (bed, 0, 0, 0);
  bed_pass (bed, 1);
  check_asked (bed, 1, 0, 0);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

/* Nor does it when BUSY comes after that. */
START_TEST (test_busy_after_requeue_does_not_start_the_time_again)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_DONE;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  nr_busy = 1000;
  bed->script.on_queue = is_busy_first;
  issue_requeue (&bed->script, 0);
  bed_pass (bed, IO_TIMEOUT_NS - 1);
  ck_assert_uint_gt (bed->script.nr_issues, 1);
  assert_not_ended (&t);
  bed_pass (bed, 1);
  /* The engine holds it, and lets go by itself. */
  ck_assert_uint_eq (bed->script.nr_timeouts, 0);
  check_asked (bed, 1, 0, 0);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Who else can hold a request                                               */

START_TEST (test_queued_again_times_out_though_quiesced)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_HELD;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  blkmq_quiesce (bed->disk);
  issue_requeue (&bed->script, 0);
  bed_pass (bed, IO_TIMEOUT_NS);
  ck_assert_uint_eq (bed->script.nr_timeouts, 0);
  check_asked (bed, 1, 0, 0);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  blkmq_unquiesce (bed->disk);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_stop (bed);
}
END_TEST

START_TEST (test_request_in_the_timer_heap_times_out)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_HELD;
  struct bed *bed
      = start_with_answer (&answer, IO_TIMEOUT "hw_queue_depth=1 irqmode=timer "
                                               "completion_nsec=3s");
  struct test_io first, second;

  test_io_submit (&first, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_pass (bed, IO_TIMEOUT_NS);
  ck_assert_uint_eq (bed->script.nr_timeouts, 0);
  check_asked (bed, 1, 0, 0);
  assert_ended (&first, BLKMQ_STS_TIMEOUT);

  /* Its timer, due at 3 s, has nothing to do with the tag's next request. */
  answer = BLKMQ_TIMEOUT_RESET;
  test_io_submit (&second, bed, 1);
  bed_pass (bed, 3 * IO_TIMEOUT_NS);
  assert_not_ended (&second);
  ck_assert_uint_eq (bed_stats (bed).lost_claims[BLKMQ_CAUSE_COMPLETE], 0);
  answer = BLKMQ_TIMEOUT_DONE;
  bed_pass (bed, IO_TIMEOUT_NS);
  assert_ended (&second, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

/* An abort answers at once only those who have a give_back.  For the others
 * the driver must be asked to let go: only then can they be told. */
START_TEST (test_aborted_request_is_asked_for)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_RESET;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 1);
  assert_not_ended (&t);
  bed_pass (bed, IO_TIMEOUT_NS);
  check_asked (bed, 0, 1, 0);
  assert_not_ended (&t);
  answer = BLKMQ_TIMEOUT_DONE;
  bed_pass (bed, IO_TIMEOUT_NS);
  check_asked (bed, 1, 1, 0);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  bed_stop (bed);
}
END_TEST

static enum blkmq_timeout_result
requeues_and_says_held (struct script *script, struct blkmq_request *rq,
                        blkmq_token token)
{
  require (script_requeue (script, rq, token) == 0);
  return BLKMQ_TIMEOUT_HELD;
}

/* Given back while it was asked, in the other way: what is claimed is on the
 * engine's queue by then and must not wait there. */
START_TEST (test_requeue_inside_timeout_and_held)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.on_timeout = requeues_and_says_held;
  bed_open (bed, IO_TIMEOUT);
  test_io_submit (&t, bed, 0);
  blkmq_quiesce (bed->disk);
  bed_pass (bed, IO_TIMEOUT_NS);
  check_asked (bed, 0, 0, 1);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  blkmq_unquiesce (bed->disk);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_stop (bed);
}
END_TEST

/* Another thread of the driver's, and of the caller's. */
static void *
run_and_abort (void *opaque)
{
  struct test_io *t = opaque;
  struct bed *bed = t->bed;

  require (blkmq_quiesce (bed->disk) == 0);
  blkmq_unquiesce (bed->disk);
  require (bed->script.nr_issues == 2);
  require (blkmq_abort_io (bed->submitter, &t->io) == 1);
  return NULL;
}

static enum blkmq_timeout_result
is_late_with_held (struct script *script, struct blkmq_request *rq,
                   blkmq_token token)
{
  if (script->nr_timeouts > 1)
    return BLKMQ_TIMEOUT_DONE;
  require (script_requeue (script, rq, token) == 0);
  thread_join (thread_start (run_and_abort, script->opaque));
  return BLKMQ_TIMEOUT_HELD;
}

/* What the driver says of one issue is not said of the next, although that one
 * was ended meanwhile: nobody else would ask for it. */
START_TEST (test_held_is_said_of_one_issue)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.on_timeout = is_late_with_held;
  bed->script.opaque = &t;
  bed_open (bed, IO_TIMEOUT);
  test_io_submit (&t, bed, 0);
  bed_pass (bed, IO_TIMEOUT_NS);
  check_asked (bed, 0, 0, 1);
  assert_not_ended (&t);
  bed_pass (bed, IO_TIMEOUT_NS);
  check_asked (bed, 1, 0, 1);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* The scan                                                                  */

START_TEST (test_scan_stops_when_idle_and_starts_again)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_DONE;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT);
  struct blkmq_hctx *h = bed_hctx (bed, 0);
  struct test_io t;

  ck_assert_uint_eq (h->heap.nr, 0);
  for (unsigned i = 0; i < 3; i++) {
    test_io_submit (&t, bed, 0);
    ck_assert_uint_eq (h->heap.nr, 1);
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    /* One more scan, which finds nothing. */
    bed_pass (bed, 2 * IO_TIMEOUT_NS);
    ck_assert_uint_eq (h->heap.nr, 0);
  }
  test_io_submit (&t, bed, 0);
  bed_pass (bed, IO_TIMEOUT_NS);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

START_TEST (test_scan_runs_on_each_hctx)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_DONE;
  struct bed *bed = start_with_answer (&answer, IO_TIMEOUT "submit_queues=3");
  struct blkmq_submitter *submitters[3];
  struct test_io t[3];

  for (unsigned i = 0; i < 3; i++) {
    submitters[i] = blkmq_submitter_alloc (bed->disk, i);
    test_io_init (&t[i], bed, BLKMQ_OP_READ, i);
    blkmq_submit (submitters[i], &t[i].io);
    clock_advance (&bed->clock, 1);
  }
  bed_pass (bed, IO_TIMEOUT_NS - 3);
  for (unsigned i = 0; i < 3; i++) {
    assert_ended (&t[i], BLKMQ_STS_TIMEOUT);
    if (i < 2)
      assert_not_ended (&t[i + 1]);
    bed_pass (bed, 1);
    blkmq_submitter_free (submitters[i]);
  }
  bed_stop (bed);
}
END_TEST

static void
turns_in_stop (struct script *script)
{
  struct bed *bed = script->opaque;

  bed_pass (bed, 2 * IO_TIMEOUT_NS);
}

/* The harness sees to it that the driver is not asked. */
START_TEST (test_nobody_is_asked_once_stop_was_called)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.on_stop = turns_in_stop;
  bed->script.opaque = bed;
  bed_open (bed, IO_TIMEOUT);
  test_io_submit (&t, bed, 0);
  blkmq_disk_remove (bed->disk);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  check_asked (bed, 0, 0, 0);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("timeout");
  TCase *tcase;

  tcase = harness_case (suite, "answers");
  tcase_add_test (tcase, test_timeout_is_not_early);
  tcase_add_test (tcase, test_lag_of_the_coarse_clock_is_added);
  tcase_add_test (tcase, test_done_ends_and_takes_back);
  tcase_add_test (tcase, test_reset_gives_another_io_timeout);
  tcase_add_test (tcase, test_held_is_asked_once);
  tcase_add_test (tcase, test_driver_without_timeout_op_resets);
  tcase_add_test (tcase, test_no_io_timeout_never_asks);
  tcase_add_test (tcase, test_each_request_has_its_own_deadline);

  tcase = harness_case (suite, "start");
  tcase_add_test (tcase, test_request_inside_queue_rq_is_left_alone);
  tcase_add_test (tcase, test_time_starts_at_the_first_acceptance);
  tcase_add_test (tcase, test_waiting_for_the_driver_does_not_count);
  tcase_add_test (tcase, test_requeue_does_not_start_the_time_again);
  tcase_add_test (tcase, test_busy_after_requeue_does_not_start_the_time_again);

  tcase = harness_case (suite, "holders");
  tcase_add_test (tcase, test_queued_again_times_out_though_quiesced);
  tcase_add_test (tcase, test_request_in_the_timer_heap_times_out);
  tcase_add_test (tcase, test_aborted_request_is_asked_for);
  tcase_add_test (tcase, test_requeue_inside_timeout_and_held);
  tcase_add_test (tcase, test_held_is_said_of_one_issue);

  tcase = harness_case (suite, "scan");
  tcase_add_test (tcase, test_scan_stops_when_idle_and_starts_again);
  tcase_add_test (tcase, test_scan_runs_on_each_hctx);
  tcase_add_test (tcase, test_nobody_is_asked_once_stop_was_called);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
