/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-timer.c: the heap, and irqmode=timer on top of it.
 */

#include <config.h>

#include <errno.h>

#include "engine/timer.h"
#include "harness.h"

/* ------------------------------------------------------------------------ */
/* The heap against a model: an array that is searched                       */

#define NR_TIMERS 64
#define NR_OPERATIONS 100000
#define NEVER UINT64_MAX

struct model {
  struct timer timer;
  uint64_t deadline_ns; /* NEVER: not armed */
  uint64_t token;
};

struct heap_test {
  struct timer_heap heap;
  struct model models[NR_TIMERS];
  uint64_t set_to; /* what set_deadline said last */
};

static void
remember_deadline (void *opaque, uint64_t deadline_ns)
{
  struct heap_test *test = opaque;

  test->set_to = deadline_ns;
}

static uint64_t
earliest (const struct heap_test *test)
{
  uint64_t min = NEVER;

  for (unsigned i = 0; i < NR_TIMERS; i++) {
    if (test->models[i].deadline_ns < min)
      min = test->models[i].deadline_ns;
  }
  return min;
}

/* Whoever sleeps must be woken in time: too early is no harm (a cancelled
 * timer), too late is. */
static void
check_wake_up (const struct heap_test *test)
{
  require (test->set_to <= earliest (test));
}

static void
pop_all (struct heap_test *test, uint64_t now_ns)
{
  uint64_t last_ns = 0, token;
  struct timer *timer;

  while ((timer = timer_pop_due (&test->heap, now_ns, &token)) != NULL) {
    struct model *model = (struct model *)timer;

    require (model->deadline_ns == earliest (test));
    require (model->deadline_ns <= now_ns);
    require (model->deadline_ns >= last_ns);
    require (token == model->token);
    last_ns = model->deadline_ns;
    model->deadline_ns = NEVER;
  }
  require (earliest (test) > now_ns);
  /* The one who popped goes to sleep now: exactly. */
  require (test->set_to == earliest (test));
}

START_TEST (test_heap_agrees_with_a_sorted_model)
{
  static struct heap_test test;
  uint64_t now_ns = 1000;
  struct rng rng;

  rng_init (&rng, 0);
  ck_assert_int_eq (timer_heap_init (&test.heap, NR_TIMERS), 0);
  test.heap.set_deadline = remember_deadline;
  test.heap.opaque = &test;
  test.set_to = NEVER;
  for (unsigned i = 0; i < NR_TIMERS; i++) {
    timer_init (&test.models[i].timer, TIMER_REQUEST);
    test.models[i].deadline_ns = NEVER;
  }

  for (unsigned i = 0; i < NR_OPERATIONS; i++) {
    struct model *model = &test.models[rng_below (&rng, NR_TIMERS)];

    switch (rng_below (&rng, 8)) {
    case 0:
      timer_cancel (&test.heap, &model->timer);
      model->deadline_ns = NEVER;
      break;
    case 1:
      now_ns += rng_below (&rng, 300);
      pop_all (&test, now_ns);
      break;
    default:
      /* Few values, so that many are equal; some are past. */
      model->deadline_ns = now_ns - 100 + 10 * rng_below (&rng, 100);
      model->token = rng_next (&rng);
      timer_arm (&test.heap, &model->timer, model->deadline_ns, model->token);
      break;
    }
    check_wake_up (&test);
  }
  pop_all (&test, NEVER - 1);
  ck_assert_uint_eq (test.heap.nr, 0);
  timer_heap_exit (&test.heap);
}
END_TEST

START_TEST (test_timer_stands_in_the_heap_once)
{
  struct timer_heap heap;
  struct timer timer;
  uint64_t token;

  ck_assert_int_eq (timer_heap_init (&heap, 1), 0);
  timer_init (&timer, TIMER_SCAN);
  timer_arm (&heap, &timer, 10, 1);
  timer_arm (&heap, &timer, 30, 2);
  timer_arm (&heap, &timer, 20, 3);
  ck_assert_ptr_null (timer_pop_due (&heap, 19, &token));
  ck_assert_ptr_eq (timer_pop_due (&heap, 30, &token), &timer);
  ck_assert_uint_eq (token, 3);
  ck_assert_ptr_null (timer_pop_due (&heap, NEVER - 1, &token));
  timer_cancel (&heap, &timer);
  timer_heap_exit (&heap);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* irqmode=timer                                                             */

#define TIMER_1MS "irqmode=timer completion_nsec=1ms "

START_TEST (test_request_ends_after_completion_nsec_exactly)
{
  struct bed *bed = bed_start (TIMER_1MS);
  struct test_io t;

  test_io_submit_early (&t, bed, 0);
  bed_pass (bed, 5 * MS); /* the driver's time does not count */
  issue_complete (&bed->script, 0, BLKMQ_STS_MEDIUM);
  assert_not_ended (&t);
  bed_turn (bed);
  assert_not_ended (&t);
  bed_pass (bed, 1 * MS - 1);
  assert_not_ended (&t);
  bed_pass (bed, 1);
  assert_ended (&t, BLKMQ_STS_MEDIUM);
  bed_stop (bed);
}
END_TEST

START_TEST (test_requests_end_in_the_order_of_their_deadlines)
{
  struct bed *bed = bed_start (TIMER_1MS "hw_queue_depth=32");
  static struct test_io t[32];
  unsigned order[NR (t)];
  struct rng rng;

  rng_init (&rng, 1);
  for (unsigned i = 0; i < NR (t); i++) {
    test_io_submit (&t[i], bed, i);
    order[i] = i;
  }
  /* Completed in a random order, some ns apart. */
  for (unsigned i = NR (t); i-- > 1;) {
    unsigned j = (unsigned)rng_below (&rng, i + 1), swap = order[i];

    order[i] = order[j];
    order[j] = swap;
  }
  for (unsigned i = 0; i < NR (t); i++) {
    issue_complete (&bed->script, order[i], BLKMQ_STS_OK);
    clock_advance (&bed->clock, 1 + rng_below (&rng, 50));
  }
  /* All at once, later: the order holds all the same. */
  bed_pass (bed, 2 * MS);
  for (unsigned i = 0; i < NR (t); i++) {
    assert_ended (&t[order[i]], BLKMQ_STS_OK);
    if (i > 0)
      ck_assert_uint_gt (t[order[i]].end_event, t[order[i - 1]].end_event);
  }
  bed_stop (bed);
}
END_TEST

/* The device is busy until the time has come, not until the driver is done. */
START_TEST (test_tag_is_taken_until_the_timer_has_fired)
{
  struct bed *bed = bed_alloc ();
  struct test_io first, second;

  bed->script.on_queue = script_completes_inside;
  bed_open (bed, TIMER_1MS "hw_queue_depth=1");
  test_io_submit (&first, bed, 0);
  test_io_submit (&second, bed, 1);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_pass (bed, 1 * MS);
  assert_ended (&first, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  assert_not_ended (&second);
  bed_pass (bed, 1 * MS);
  assert_ended (&second, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_completion_of_no_time_still_comes_from_the_loop)
{
  struct bed *bed = bed_start ("irqmode=timer completion_nsec=0");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_not_ended (&t);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_abort_unlinks_the_timer)
{
  struct bed *bed = bed_start (TIMER_1MS "hw_queue_depth=1");
  struct test_io first, second;

  test_io_submit (&first, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  blkmq_abort_io (bed->submitter, &first.io);
  assert_ended (&first, BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (bed_hctx (bed, 0)->heap.nr, 0);

  clock_advance (&bed->clock, MS / 2);
  test_io_submit (&second, bed, 1);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  bed_pass (bed, MS - 1);
  assert_not_ended (&second);
  bed_pass (bed, 1);
  assert_ended (&second, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (bed).stale_tokens, 0);
  bed_stop (bed);
}
END_TEST

static struct test_io *to_abort;

static void
abort_the_other (struct test_io *t)
{
  require (blkmq_abort_io (t->bed->submitter, &to_abort->io) == 1);
  test_io_submit (to_abort, t->bed, 9);
}

/* Two are due at once.  The first one's end_io aborts the second, whose tag
 * goes to a new io before its timer is looked at. */
START_TEST (test_timer_of_an_aborted_request_does_not_fire_for_the_next)
{
  struct bed *bed = bed_start (TIMER_1MS "hw_queue_depth=2");
  struct test_io first, second;

  test_io_submit (&first, bed, 0);
  test_io_submit (&second, bed, 1);
  first.on_end = abort_the_other;
  to_abort = &second;
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  bed_pass (bed, 1 * MS);
  assert_ended (&first, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  assert_not_ended (&second);
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  bed_pass (bed, 1 * MS);
  assert_ended (&second, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* The timer was popped, and before its token is looked at the request is
 * aborted and its tag taken again: what the loop has in hand then is an old
 * token.  Replayed by arming with one. */
START_TEST (test_stale_timer_is_counted_and_touches_nothing)
{
  struct bed *bed = bed_start (TIMER_1MS "hw_queue_depth=1");
  struct blkmq_hctx *h = bed_hctx (bed, 0);
  struct request *r = hctx_tag_request (h, 0);
  struct test_io first, second;
  blkmq_token old;

  test_io_submit (&first, bed, 0);
  old = script_issue (&bed->script, 0)->token;
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  blkmq_abort_io (bed->submitter, &first.io);
  ck_assert_uint_eq (hctx_nr_taken (h), 0);

  /* The tag is free. */
  timer_arm (&h->heap, &r->timer, clock_now_ns (&bed->clock), old);
  bed_turn (bed);
  ck_assert_uint_eq (bed_stats (bed).stale_tokens, 1);
  assert_ended (&first, BLKMQ_STS_ABORTED);

  /* The tag has its next life, in the driver. */
  test_io_submit (&second, bed, 1);
  timer_arm (&h->heap, &r->timer, clock_now_ns (&bed->clock), old);
  bed_turn (bed);
  ck_assert_uint_eq (bed_stats (bed).stale_tokens, 2);
  assert_not_ended (&second);
  ck_assert_int_eq (issue_complete (&bed->script, 1, BLKMQ_STS_OK), 0);
  bed_pass (bed, 1 * MS);
  assert_ended (&second, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (bed).lost_claims[BLKMQ_CAUSE_COMPLETE], 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_removal_does_not_wait_for_the_timer)
{
  struct bed *bed = bed_start ("irqmode=timer completion_nsec=3600s");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_turn (bed);
  blkmq_disk_remove (bed->disk);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("timer");
  TCase *tcase;

  tcase = harness_case (suite, "heap");
  tcase_add_test (tcase, test_heap_agrees_with_a_sorted_model);
  tcase_add_test (tcase, test_timer_stands_in_the_heap_once);

  tcase = harness_case (suite, "irqmode=timer");
  tcase_add_test (tcase, test_request_ends_after_completion_nsec_exactly);
  tcase_add_test (tcase, test_requests_end_in_the_order_of_their_deadlines);
  tcase_add_test (tcase, test_tag_is_taken_until_the_timer_has_fired);
  tcase_add_test (tcase, test_completion_of_no_time_still_comes_from_the_loop);
  tcase_add_test (tcase, test_abort_unlinks_the_timer);
  tcase_add_test (tcase,
                  test_timer_of_an_aborted_request_does_not_fire_for_the_next);
  tcase_add_test (tcase, test_stale_timer_is_counted_and_touches_nothing);
  tcase_add_test (tcase, test_removal_does_not_wait_for_the_timer);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
