/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-requeue.c: a driver gives requests back unfinished and says when they
 * are to be tried again.
 */

#include <config.h>

#include <errno.h>

#include "harness.h"

static int
set_aside (struct bed *bed, unsigned n)
{
  const struct issue *issue = script_issue (&bed->script, n);

  return script_requeue_aside (&bed->script, issue->rq, issue->token);
}

static void
complete_all_from (struct bed *bed, unsigned from)
{
  for (unsigned i = from; i < bed->script.nr_issues; i++) {
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    bed_turn (bed);
  }
}

static void
check_issue (struct bed *bed, unsigned n, unsigned block)
{
  ck_assert_uint_gt (bed->script.nr_issues, n);
  ck_assert_uint_eq (script_issue (&bed->script, n)->offset_bytes,
                     block * BLOCK_BYTES);
}

/* ------------------------------------------------------------------------ */
/* Aside                                                                     */

START_TEST (test_aside_waits_for_the_kick_and_holds_up_nobody)
{
  struct bed *bed = bed_start ("");
  struct test_io t[3];

  test_io_submit (&t[0], bed, 0);
  ck_assert_int_eq (set_aside (bed, 0), 0);
  bed_pass (bed, 1000 * MS);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  test_io_submit (&t[1], bed, 1);
  check_issue (bed, 1, 1);
  ck_assert_uint_eq (bed_stats (bed).requeues, 1);

  blkmq_kick_requeues (bed_hctx (bed, 0));
  ck_assert_uint_eq (bed->script.nr_issues, 2); /* not from inside */
  bed_turn (bed);
  check_issue (bed, 2, 0);
  complete_all_from (bed, 1);
  assert_ended (&t[0], BLKMQ_STS_OK);
  assert_ended (&t[1], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_kicked_ones_go_behind_those_that_wait_in_their_order)
{
  struct bed *bed = bed_start ("");
  struct test_io t[4];
  static const unsigned order[] = { 2, 3, 1, 0 };

  test_io_submit (&t[0], bed, 0);
  test_io_submit (&t[1], bed, 1);
  set_aside (bed, 1);
  set_aside (bed, 0);
  blkmq_quiesce (bed->disk);
  test_io_submit (&t[2], bed, 2);
  test_io_submit (&t[3], bed, 3);
  blkmq_kick_requeues (bed_hctx (bed, 0));
  blkmq_unquiesce (bed->disk);
  bed_turn (bed);
  for (unsigned i = 0; i < NR (order); i++)
    check_issue (bed, 2 + i, order[i]);
  complete_all_from (bed, 2);
  bed_stop (bed);
}
END_TEST

START_TEST (test_kick_with_nothing_aside_does_nothing)
{
  struct bed *bed = bed_start ("");
  struct test_io t;

  blkmq_kick_requeues (bed_hctx (bed, 0));
  bed_turn (bed);
  test_io_submit (&t, bed, 0);
  blkmq_kick_requeues (bed_hctx (bed, 0));
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  complete_all_from (bed, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_delayed_kick_comes_at_its_time)
{
  struct bed *bed = bed_start ("");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  set_aside (bed, 0);
  blkmq_delay_kick_requeues (bed_hctx (bed, 0), 5 * MS);
  bed_pass (bed, 5 * MS - 1);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  /* A later call takes the place of the earlier. */
  blkmq_delay_kick_requeues (bed_hctx (bed, 0), 2 * MS);
  bed_pass (bed, 2 * MS - 1);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_pass (bed, 1);
  check_issue (bed, 1, 0);
  complete_all_from (bed, 1);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_token_is_dead_once_aside)
{
  struct bed *bed = bed_start ("");
  struct test_io t;
  const struct issue *issue;

  bed_bear_mistakes (bed);
  test_io_submit (&t, bed, 0);
  issue = script_issue (&bed->script, 0);
  ck_assert_int_eq (set_aside (bed, 0), 0);
  ck_assert_int_eq (blkmq_requeue_aside (issue->rq, issue->token), -ESTALE);
  ck_assert_int_eq (blkmq_requeue (issue->rq, issue->token), -ESTALE);
  ck_assert_int_eq (blkmq_complete (issue->rq, issue->token, BLKMQ_STS_OK),
                    -ESTALE);
  ck_assert_uint_eq (bed_stats (bed).stale_tokens, 3);
  assert_not_ended (&t);
  blkmq_kick_requeues (bed_hctx (bed, 0));
  bed_turn (bed);
  complete_all_from (bed, 1);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_timeout_ends_what_is_aside)
{
  struct bed *bed = bed_start ("io_timeout=100 hw_queue_depth=1");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  set_aside (bed, 0);
  bed_pass (bed, 99 * MS);
  assert_not_ended (&t);
  bed_pass (bed, 2 * MS);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  ck_assert_uint_eq (hctx_nr_taken (bed_hctx (bed, 0)), 0);
  blkmq_kick_requeues (bed_hctx (bed, 0));
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_stop (bed);
}
END_TEST

START_TEST (test_abort_ends_what_is_aside)
{
  struct bed *bed = bed_start ("");
  struct test_io t[3];

  for (unsigned i = 0; i < 3; i++) {
    test_io_submit (&t[i], bed, i);
    set_aside (bed, i);
  }
  /* First, last and middle of the list. */
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t[0].io), 1);
  assert_ended (&t[0], BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t[2].io), 1);
  assert_ended (&t[2], BLKMQ_STS_ABORTED);
  blkmq_kick_requeues (bed_hctx (bed, 0));
  bed_turn (bed);
  check_issue (bed, 3, 1);
  ck_assert_uint_eq (bed->script.nr_issues, 4);
  complete_all_from (bed, 3);
  assert_ended (&t[1], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_removal_ends_what_is_aside)
{
  struct bed *bed = bed_start ("");
  struct test_io t[2];

  for (unsigned i = 0; i < 2; i++) {
    test_io_submit (&t[i], bed, i);
    set_aside (bed, i);
  }
  blkmq_disk_remove (bed->disk);
  assert_ended (&t[0], BLKMQ_STS_OFFLINE);
  assert_ended (&t[1], BLKMQ_STS_OFFLINE);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Running again                                                             */

static enum blkmq_queue_result
lacks_something (struct script *script, const struct issue *issue)
{
  const bool *lacks = script->opaque;

  return *lacks ? BLKMQ_BUSY_HOST : script_completes_inside (script, issue);
}

static struct bed *
start_lacking (bool *lacks)
{
  struct bed *bed = bed_alloc ();

  *lacks = true;
  bed->script.on_queue = lacks_something;
  bed->script.opaque = lacks;
  bed_open (bed, "");
  return bed;
}

START_TEST (test_run_tries_again_at_once)
{
  bool lacks;
  struct bed *bed = start_lacking (&lacks);
  struct test_io t[2];

  test_io_submit (&t[0], bed, 0);
  test_io_submit (&t[1], bed, 1);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  lacks = false;
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  blkmq_run_hctx (bed_hctx (bed, 0));
  ck_assert_uint_eq (bed->script.nr_issues, 1); /* not from inside */
  bed_turn (bed);
  assert_ended (&t[0], BLKMQ_STS_OK);
  assert_ended (&t[1], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_delayed_run_comes_at_its_time_and_spares_the_3_ms)
{
  bool lacks;
  struct bed *bed = start_lacking (&lacks);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  blkmq_delay_run_hctx (bed_hctx (bed, 0), 50 * MS);
  bed_pass (bed, 3 * MS); /* the engine's own */
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  blkmq_delay_run_hctx (bed_hctx (bed, 0), 1 * MS);
  lacks = false;
  bed_pass (bed, 1 * MS - 1);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  bed_pass (bed, 1);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Busy for so long                                                          */

struct refusal {
  uint64_t ns;
  bool yields_to_freeze, runs_meanwhile;
  unsigned nr; /* refused until it is 0 */
};

static enum blkmq_queue_result
is_busy_for (struct script *script, const struct issue *issue)
{
  struct refusal *refusal = script->opaque;
  struct blkmq_hctx *hctx = issue->rq->hctx;

  if (refusal->nr == 0
      || (refusal->yields_to_freeze && blkmq_hctx_is_frozen (hctx)))
    return script_completes_inside (script, issue);
  refusal->nr--;
  if (refusal->runs_meanwhile)
    blkmq_run_hctx (hctx);
  return blkmq_busy_for (refusal->ns);
}

static struct bed *
start_refusing (struct refusal *refusal, bool with_threads, const char *keys)
{
  struct bed *bed = bed_alloc ();

  bed->script.on_queue = is_busy_for;
  bed->script.opaque = refusal;
  if (with_threads)
    bed_open_threads (bed, keys);
  else
    bed_open (bed, keys);
  return bed;
}

START_TEST (test_busy_for_is_tried_again_at_its_time_and_not_before)
{
  static const uint64_t ns[] = { 1, 100 * US, 3 * MS, 50 * MS };
  struct refusal refusal = { .ns = ns[_i], .nr = 2 };
  struct bed *bed = start_refusing (&refusal, false, "");
  uint64_t start_ns = blkmq_hctx_now_ns (bed_hctx (bed, 0));
  struct test_io t;

  test_io_submit (&t, bed, 0);
  for (unsigned tried = 1; tried <= 2; tried++) {
    ck_assert_uint_eq (bed->script.nr_issues, tried);
    for (uint64_t left = ns[_i] - 1; left > 0;) {
      uint64_t step = left < 1 * MS ? left : 1 * MS;

      bed_pass (bed, step);
      left -= step;
    }
    ck_assert_uint_eq (bed->script.nr_issues, tried);
    bed_pass (bed, 1);
  }
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (blkmq_hctx_now_ns (bed_hctx (bed, 0)) - start_ns,
                     2 * ns[_i]);
  bed_stop (bed);
}
END_TEST

/* What it has said once is not said of the next refusal. */
START_TEST (test_busy_host_after_busy_for_takes_3_ms)
{
  struct refusal refusal = { .ns = 50 * MS, .nr = 1 };
  struct bed *bed = start_refusing (&refusal, false, "");
  struct test_io t;
  bool lacks = true;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, 50 * MS - 1);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed->script.on_queue = lacks_something;
  bed->script.opaque = &lacks;
  bed_pass (bed, 1);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  lacks = false;
  bed_pass (bed, 3 * MS - 1);
  assert_not_ended (&t);
  bed_pass (bed, 1);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_busy_for_is_over_when_the_hctx_is_run)
{
  struct refusal refusal = { .ns = 3600 * 1000 * MS, .nr = 1 };
  struct bed *bed = start_refusing (&refusal, false, "");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, 100 * MS);
  assert_not_ended (&t);
  blkmq_run_hctx (bed_hctx (bed, 0));
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_OK);

  /* Also when that comes in the middle of the try. */
  refusal.nr = 1;
  refusal.runs_meanwhile = true;
  test_io_submit (&t, bed, 0);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_freeze_tries_what_was_refused)
{
  struct refusal refusal
      = { .ns = 3600 * 1000 * MS, .nr = 1000, .yields_to_freeze = true };
  struct bed *bed = start_refusing (&refusal, true, "");
  struct test_io t[3];

  for (unsigned i = 0; i < NR (t); i++)
    test_io_submit (&t[i], bed, i);
  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  for (unsigned i = 0; i < NR (t); i++)
    assert_ended (&t[i], BLKMQ_STS_OK);
  ck_assert (blkmq_hctx_is_frozen (bed_hctx (bed, 0)));
  blkmq_unfreeze (bed->disk);
  ck_assert (!blkmq_hctx_is_frozen (bed_hctx (bed, 0)));
  bed_stop (bed);
}
END_TEST

/* A request that was never taken is not in flight. */
START_TEST (test_io_timeout_does_not_count_while_refused)
{
  struct refusal refusal = { .ns = 1000 * MS, .nr = 1 };
  struct bed *bed = start_refusing (&refusal, false, "io_timeout=100");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  for (unsigned i = 0; i < 10; i++) {
    assert_not_ended (&t);
    bed_pass (bed, 100 * MS);
  }
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* Round and round, with others that come and go: everyone gets his turn. */
START_TEST (test_nothing_overtakes_for_ever)
{
  struct bed *bed = bed_start ("hw_queue_depth=4");
  struct test_io stubborn;
  struct rng rng;

  rng_init (&rng, 1);
  test_io_submit (&stubborn, bed, 0);
  for (unsigned round = 0; round < 1000; round++) {
    static struct test_io others[6];
    unsigned turn = bed->script.nr_issues;

    issue_requeue (&bed->script, turn - 1);
    for (unsigned i = 0; i < NR (others); i++)
      test_io_submit (&others[i], bed, 1 + i);
    bed_turn (bed);
    /* Before any of those that came after it. */
    check_issue (bed, turn, 0);
    for (unsigned i = turn + 1; bed->script.nr_issues > i; i++) {
      issue_complete (&bed->script, i, BLKMQ_STS_OK);
      bed_turn (bed);
    }
    for (unsigned i = 0; i < NR (others); i++)
      assert_ended (&others[i], BLKMQ_STS_OK);
    bed->script.issues[0] = *script_issue (&bed->script, turn);
    bed->script.nr_issues = 1;
  }
  complete_all_from (bed, 0);
  assert_ended (&stubborn, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("requeue");
  TCase *tcase;

  tcase = harness_case (suite, "aside");
  tcase_add_test (tcase, test_aside_waits_for_the_kick_and_holds_up_nobody);
  tcase_add_test (tcase,
                  test_kicked_ones_go_behind_those_that_wait_in_their_order);
  tcase_add_test (tcase, test_kick_with_nothing_aside_does_nothing);
  tcase_add_test (tcase, test_delayed_kick_comes_at_its_time);
  tcase_add_test (tcase, test_token_is_dead_once_aside);
  tcase_add_test (tcase, test_timeout_ends_what_is_aside);
  tcase_add_test (tcase, test_abort_ends_what_is_aside);
  tcase_add_test (tcase, test_removal_ends_what_is_aside);

  tcase = harness_case (suite, "run");
  tcase_add_test (tcase, test_run_tries_again_at_once);
  tcase_add_test (tcase,
                  test_delayed_run_comes_at_its_time_and_spares_the_3_ms);
  tcase_add_test (tcase, test_nothing_overtakes_for_ever);

  tcase = harness_case (suite, "busy for");
  tcase_add_loop_test (
      tcase, test_busy_for_is_tried_again_at_its_time_and_not_before, 0, 4);
  tcase_add_test (tcase, test_busy_host_after_busy_for_takes_3_ms);
  tcase_add_test (tcase, test_busy_for_is_over_when_the_hctx_is_run);
  tcase_add_test (tcase, test_freeze_tries_what_was_refused);
  tcase_add_test (tcase, test_io_timeout_does_not_count_while_refused);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
