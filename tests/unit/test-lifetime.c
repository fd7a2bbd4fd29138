/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-lifetime.c: who may end a request, who may touch it, and when its tag
 * is free: one test for each rule at the head of request.c, and the counters.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "engine/poison.h"
#include "harness.h"

#define TIMEOUT_MS 100
#define WITH_TIMEOUT "io_timeout=100 "
#define AFTER_TIMEOUT_NS ((TIMEOUT_MS + 1) * MS)

static void
check_lost (struct bed *bed, unsigned complete, unsigned timeout,
            unsigned abort_, unsigned remove_)
{
  struct blkmq_stats stats = bed_stats (bed);

  ck_assert_uint_eq (stats.lost_claims[BLKMQ_CAUSE_COMPLETE], complete);
  ck_assert_uint_eq (stats.lost_claims[BLKMQ_CAUSE_TIMEOUT], timeout);
  ck_assert_uint_eq (stats.lost_claims[BLKMQ_CAUSE_ABORT], abort_);
  ck_assert_uint_eq (stats.lost_claims[BLKMQ_CAUSE_REMOVE], remove_);
}

static unsigned
nr_tags_taken (struct bed *bed)
{
  return hctx_nr_taken (bed_hctx (bed, 0));
}

static blkmq_handle
handle_of (struct bed *bed, unsigned issue)
{
  return script_issue (&bed->script, issue)->token;
}

/* The request is not free, is unchanged and waits for its driver. */
static void
check_in_flight (struct bed *bed, blkmq_handle handle)
{
  struct blkmq_request *rq = blkmq_request_get (bed->disk, handle);
  struct blkmq_request_info info;

  ck_assert_ptr_nonnull (rq);
  blkmq_request_info (rq, &info);
  ck_assert (info.in_flight && info.held && !info.ended);
  blkmq_request_put (rq);
}

/* ------------------------------------------------------------------------ */
/* One end, one winner: in both orders                                       */

static enum blkmq_timeout_result
says_held (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_HELD;
}

static enum blkmq_timeout_result
says_done (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_DONE;
}

static enum blkmq_timeout_result
completes_and_says_done (struct script *script, struct blkmq_request *rq,
                         blkmq_token token)
{
  require (script_complete (script, rq, token, BLKMQ_STS_OK) == 0);
  return BLKMQ_TIMEOUT_DONE;
}

static enum blkmq_timeout_result
completes_and_says_held (struct script *script, struct blkmq_request *rq,
                         blkmq_token token)
{
  require (script_complete (script, rq, token, BLKMQ_STS_OK) == 0);
  return BLKMQ_TIMEOUT_HELD;
}

static struct bed *
start_with_timeout (enum blkmq_timeout_result (*on_timeout) (
                        struct script *script, struct blkmq_request *rq,
                        blkmq_token token),
                    const char *keys)
{
  struct bed *bed = bed_alloc ();

  bed->script.on_timeout = on_timeout;
  bed_open (bed, keys);
  return bed;
}

static void timeout_loses_to_complete (enum blkmq_timeout_result (*on_timeout) (
    struct script *script, struct blkmq_request *rq, blkmq_token token))
{
  struct bed *bed = start_with_timeout (on_timeout, WITH_TIMEOUT);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, AFTER_TIMEOUT_NS);
  assert_ended (&t, BLKMQ_STS_OK);
  check_lost (bed, 0, 1, 0, 0);
  ck_assert_uint_eq (nr_tags_taken (bed), 0);
  bed_stop (bed);
}

START_TEST (test_timeout_loses_to_complete)
{
  timeout_loses_to_complete (completes_and_says_done);
  timeout_loses_to_complete (completes_and_says_held);
}
END_TEST

START_TEST (test_complete_loses_to_timeout)
{
  struct bed *bed = start_with_timeout (says_held, WITH_TIMEOUT);
  struct test_io t;

  test_io_submit_early (&t, bed, 0);
  bed_pass (bed, AFTER_TIMEOUT_NS);
  assert_ended_early (&t, BLKMQ_STS_TIMEOUT);
  /* It was its to give back, all the same. */
  ck_assert_int_eq (issue_complete (&bed->script, 0, BLKMQ_STS_IOERR), 0);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  check_lost (bed, 1, 0, 0, 0);
  ck_assert_uint_eq (bed_stats (bed).errors[BLKMQ_STS_TIMEOUT], 1);
  ck_assert_uint_eq (bed_stats (bed).errors[BLKMQ_STS_IOERR], 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_abort_loses_to_complete)
{
  struct bed *bed = bed_start ("");
  struct blkmq_request *rq;
  struct test_io t;

  test_io_submit (&t, bed, 0);
  rq = blkmq_request_get (bed->disk, handle_of (bed, 0));
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (blkmq_abort_request (bed->disk, handle_of (bed, 0)), 0);
  check_lost (bed, 0, 0, 1, 0);
  blkmq_request_put (rq);

  /* Without a reference there is nothing left to lose. */
  ck_assert_uint_eq (blkmq_abort_request (bed->disk, handle_of (bed, 0)), 0);
  check_lost (bed, 0, 0, 1, 0);
  ck_assert_uint_eq (bed_stats (bed).stale_handles, 1);
  bed_stop (bed);
}
END_TEST

START_TEST (test_complete_loses_to_abort)
{
  struct bed *bed = bed_start ("");
  struct test_io t;

  test_io_submit_early (&t, bed, 0);
  ck_assert_uint_eq (blkmq_abort_request (bed->disk, handle_of (bed, 0)), 1);
  assert_ended_early (&t, BLKMQ_STS_ABORTED);
  ck_assert_int_eq (issue_complete (&bed->script, 0, BLKMQ_STS_OK), 0);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  check_lost (bed, 1, 0, 0, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_timeout_loses_to_abort)
{
  struct bed *bed = start_with_timeout (says_held, WITH_TIMEOUT);
  struct test_io t;

  test_io_submit_early (&t, bed, 0);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 1);
  bed_pass (bed, AFTER_TIMEOUT_NS);
  ck_assert_uint_eq (bed_stats (bed).timeouts_held, 1);
  check_lost (bed, 0, 1, 0, 0);
  assert_ended_early (&t, BLKMQ_STS_ABORTED);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  check_lost (bed, 1, 1, 0, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_abort_loses_to_timeout)
{
  struct bed *bed = start_with_timeout (says_held, WITH_TIMEOUT);
  struct test_io t;

  test_io_submit_early (&t, bed, 0);
  bed_pass (bed, AFTER_TIMEOUT_NS);
  ck_assert_uint_eq (blkmq_abort_request (bed->disk, handle_of (bed, 0)), 0);
  check_lost (bed, 0, 0, 1, 0);
  assert_ended_early (&t, BLKMQ_STS_TIMEOUT);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  check_lost (bed, 1, 0, 1, 0);
  bed_stop (bed);
}
END_TEST

static void
completes_in_stop (struct script *script)
{
  require (issue_complete (script, 0, BLKMQ_STS_OK) == 0);
}

START_TEST (test_complete_loses_to_removal)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.on_stop = completes_in_stop;
  bed_open (bed, "");
  test_io_submit_early (&t, bed, 0);
  blkmq_disk_remove (bed->disk);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  check_lost (bed, 1, 0, 0, 0);
  bed_stop (bed);
}
END_TEST

/* Removal does not even try: it has lost nothing when it finds an end. */
START_TEST (test_removal_leaves_ends_alone)
{
  struct bed *bed = start_with_timeout (says_held, WITH_TIMEOUT);
  struct blkmq_request *rq;
  struct test_io completed, aborted, timed_out, taken;

  test_io_submit (&timed_out, bed, 0);
  bed_pass (bed, AFTER_TIMEOUT_NS);
  test_io_submit (&completed, bed, 1);
  test_io_submit (&aborted, bed, 2);
  test_io_submit (&taken, bed, 3);
  rq = blkmq_request_get (bed->disk, handle_of (bed, 1));
  issue_complete (&bed->script, 1, BLKMQ_STS_MEDIUM);
  blkmq_abort_io (bed->submitter, &aborted.io);
  assert_not_ended (&timed_out);
  assert_not_ended (&aborted);

  blkmq_disk_remove (bed->disk);
  assert_ended (&completed, BLKMQ_STS_MEDIUM);
  assert_ended (&aborted, BLKMQ_STS_ABORTED);
  assert_ended (&timed_out, BLKMQ_STS_TIMEOUT);
  assert_ended (&taken, BLKMQ_STS_OFFLINE);
  ck_assert_uint_eq (bed_stats (bed).lost_claims[BLKMQ_CAUSE_COMPLETE], 0);
  blkmq_request_put (rq);
  bed_stop (bed);
}
END_TEST

START_TEST (test_removals_own_claims_are_not_lost)
{
  struct bed *bed = bed_start ("hw_queue_depth=2");
  struct test_io held, requeued, queued;

  test_io_submit (&held, bed, 0);
  test_io_submit (&requeued, bed, 1);
  test_io_submit (&queued, bed, 2);
  blkmq_quiesce (bed->disk);
  issue_requeue (&bed->script, 1);
  blkmq_disk_remove (bed->disk);
  assert_ended (&held, BLKMQ_STS_OFFLINE);
  assert_ended (&requeued, BLKMQ_STS_OFFLINE);
  assert_ended (&queued, BLKMQ_STS_OFFLINE);
  check_lost (bed, 0, 0, 0, 0);
  ck_assert_uint_eq (bed_stats (bed).errors[BLKMQ_STS_OFFLINE], 2);
  ck_assert_uint_eq (bed_stats (bed).rejected[BLKMQ_STS_OFFLINE], 1);
  blkmq_unquiesce (bed->disk);
  bed_stop (bed);
}
END_TEST

/* The same race one step later: given back, but the end is still to come.  The
 * driver's complete is not asked for a status that nobody wants. */
START_TEST (test_softirq_end_loses_to_abort)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.driver = "scripted-complete";
  bed_open (bed, "irqmode=softirq");
  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_not_ended (&t);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 1);
  /* Nobody below has the data: no need to wait for the loop. */
  assert_ended (&t, BLKMQ_STS_ABORTED);
  /* But the loop has the request. */
  ck_assert_uint_eq (nr_tags_taken (bed), 1);
  bed_turn (bed);
  check_lost (bed, 1, 0, 0, 0);
  ck_assert_uint_eq (bed->script.nr_completes, 0);
  ck_assert_uint_eq (nr_tags_taken (bed), 0);
  bed_stop (bed);
}
END_TEST

/* A reference keeps the request, and so its timer. */
START_TEST (test_timer_end_of_a_pinned_request_loses_to_abort)
{
  struct bed *bed = bed_alloc ();
  struct blkmq_request *rq;
  struct test_io t;

  bed->script.driver = "scripted-complete";
  bed_open (bed, "irqmode=timer completion_nsec=1ms");
  test_io_submit (&t, bed, 0);
  rq = blkmq_request_get (bed->disk, handle_of (bed, 0));
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  blkmq_abort_io (bed->submitter, &t.io);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  bed_pass (bed, 1 * MS);
  check_lost (bed, 1, 0, 0, 0);
  ck_assert_uint_eq (bed->script.nr_completes, 0);
  ck_assert_uint_eq (bed_stats (bed).stale_tokens, 0);
  blkmq_request_put (rq);
  bed_stop (bed);
}
END_TEST

START_TEST (test_timer_end_loses_to_abort)
{
  struct bed *bed = bed_start ("irqmode=timer completion_nsec=1ms");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 1);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (nr_tags_taken (bed), 0);
  bed_pass (bed, 2 * MS);
  check_lost (bed, 0, 0, 0, 0);
  bed_stop (bed);
}
END_TEST

static enum blkmq_status
turns_into_medium (struct script *script, struct blkmq_request *rq,
                   enum blkmq_status status)
{
  require (status == BLKMQ_STS_IOERR);
  return BLKMQ_STS_MEDIUM;
}

START_TEST (test_complete_op_decides_the_status)
{
  static const char *const modes[] = { "irqmode=none", "irqmode=softirq",
                                       "irqmode=timer completion_nsec=1ms" };

  for (size_t i = 0; i < NR (modes); i++) {
    struct bed *bed = bed_alloc ();
    struct test_io t;

    bed->script.driver = "scripted-complete";
    bed->script.on_complete = turns_into_medium;
    bed_open (bed, modes[i]);
    test_io_submit (&t, bed, 0);
    issue_complete (&bed->script, 0, BLKMQ_STS_IOERR);
    bed_pass (bed, 1 * MS);
    assert_ended (&t, BLKMQ_STS_MEDIUM);
    ck_assert_uint_eq (bed->script.nr_completes, 1);
    ck_assert_uint_eq (bed_stats (bed).errors[BLKMQ_STS_MEDIUM], 1);
    ck_assert_uint_eq (bed_stats (bed).errors[BLKMQ_STS_IOERR], 0);

    /* Who was ended before is none of its business. */
    test_io_submit (&t, bed, 0);
    blkmq_abort_io (bed->submitter, &t.io);
    issue_complete (&bed->script, 1, BLKMQ_STS_IOERR);
    bed_pass (bed, 1 * MS);
    assert_ended (&t, BLKMQ_STS_ABORTED);
    ck_assert_uint_eq (bed->script.nr_completes, 1);
    bed_stop (bed);
  }
}
END_TEST

/* ------------------------------------------------------------------------ */
/* HELD: answered, but not given back                                        */

START_TEST (test_held_request_answers_early_with_give_back)
{
  struct bed *bed
      = start_with_timeout (says_held, WITH_TIMEOUT "hw_queue_depth=1");
  struct test_io t, next;

  test_io_submit_early (&t, bed, 0);
  bed_pass (bed, AFTER_TIMEOUT_NS);
  assert_ended_early (&t, BLKMQ_STS_TIMEOUT);

  /* The tag is not free: whoever wants it waits. */
  ck_assert_uint_eq (nr_tags_taken (bed), 1);
  test_io_submit (&next, bed, 1);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 1);

  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  ck_assert_uint_gt (t.give_back_event, t.end_event);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&next, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_held_request_answers_late_without_give_back)
{
  struct bed *bed
      = start_with_timeout (says_held, WITH_TIMEOUT "hw_queue_depth=1");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, AFTER_TIMEOUT_NS);
  ck_assert_uint_eq (bed_stats (bed).timeouts_held, 1);
  assert_not_ended (&t);
  ck_assert_uint_eq (nr_tags_taken (bed), 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  ck_assert_uint_eq (nr_tags_taken (bed), 0);
  bed_stop (bed);
}
END_TEST

/* Giving back by requeue: an ended request is not issued again. */
START_TEST (test_requeue_of_an_ended_request_is_its_give_back)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  blkmq_abort_io (bed->submitter, &t.io);
  assert_not_ended (&t);
  ck_assert_int_eq (issue_requeue (&bed->script, 0), 0);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (nr_tags_taken (bed), 0);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
is_busy_when_aborted (struct script *script, const struct issue *issue)
{
  struct bed *bed = script->opaque;

  require (blkmq_abort_request (bed->disk, issue->token) == 1);
  return BLKMQ_BUSY_HOST;
}

START_TEST (test_busy_for_an_ended_request_is_its_give_back)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.on_queue = is_busy_when_aborted;
  bed->script.opaque = bed;
  bed_open (bed, "hw_queue_depth=1");
  test_io_submit_early (&t, bed, 0);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  bed_pass (bed, 10 * MS);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_stop (bed);
}
END_TEST

static void
free_io (struct test_io *t)
{
  _Atomic unsigned *nr_freed = t->opaque;

  ++*nr_freed;
  free (t);
}

/* Under AddressSanitizer this is more than it seems: nobody may look at an io
 * behind its last callback. */
START_TEST (test_io_may_be_freed_in_its_last_callback)
{
  static const char *const modes[]
      = { "irqmode=none", "irqmode=softirq", "irqmode=timer" };
  static _Atomic unsigned nr_freed;

  for (size_t i = 0; i < NR (modes); i++) {
    struct bed *bed = bed_start (modes[i]);
    struct test_io *t[4];

    nr_freed = 0;
    for (unsigned j = 0; j < 4; j++) {
      t[j] = malloc (sizeof *t[j]);
      if (j % 2 == 0) {
        test_io_init (t[j], bed, BLKMQ_OP_READ, j);
        t[j]->on_end = free_io;
      } else {
        test_io_init_early (t[j], bed, BLKMQ_OP_READ, j);
        t[j]->on_give_back = free_io;
      }
      t[j]->opaque = &nr_freed;
      blkmq_submit (bed->submitter, &t[j]->io);
    }
    for (unsigned j = 0; j < 4; j++) {
      if (j >= 2)
        blkmq_abort_request (bed->disk, handle_of (bed, j));
      issue_complete (&bed->script, j, BLKMQ_STS_OK);
    }
    bed_pass (bed, 1 * MS);
    ck_assert_uint_eq (nr_freed, 4);
    bed_stop (bed);
  }
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Stale tokens                                                              */

static void
check_stale (struct bed *bed, unsigned nr)
{
  ck_assert_uint_eq (bed_stats (bed).stale_tokens, nr);
}

START_TEST (test_second_completion_is_refused)
{
  struct bed *bed = bed_start ("");
  struct test_io t;

  bed_bear_mistakes (bed);
  test_io_submit (&t, bed, 0);
  ck_assert_int_eq (issue_complete (&bed->script, 0, BLKMQ_STS_OK), 0);
  ck_assert_int_eq (issue_complete (&bed->script, 0, BLKMQ_STS_IOERR), -ESTALE);
  ck_assert_int_eq (issue_requeue (&bed->script, 0), -ESTALE);
  check_stale (bed, 2);
  assert_ended (&t, BLKMQ_STS_OK);
  check_lost (bed, 0, 0, 0, 0);
  bed_stop (bed);
}
END_TEST

/* As long as something keeps the request, its word does not change
 * generations: HELD alone tells the second completion from the first. */
START_TEST (test_second_completion_is_refused_while_pinned)
{
  static const char *const modes[] = { "irqmode=none", "irqmode=softirq",
                                       "irqmode=timer completion_nsec=1ms" };

  for (size_t i = 0; i < NR (modes); i++) {
    struct bed *bed = bed_start (modes[i]);
    struct blkmq_request *rq;
    struct test_io t;

    bed_bear_mistakes (bed);
    test_io_submit (&t, bed, 0);
    rq = blkmq_request_get (bed->disk, handle_of (bed, 0));
    ck_assert_int_eq (issue_complete (&bed->script, 0, BLKMQ_STS_OK), 0);
    ck_assert_int_eq (issue_complete (&bed->script, 0, BLKMQ_STS_IOERR),
                      -ESTALE);
    bed_pass (bed, 1 * MS);
    assert_ended (&t, BLKMQ_STS_OK);
    ck_assert_int_eq (issue_complete (&bed->script, 0, BLKMQ_STS_IOERR),
                      -ESTALE);
    ck_assert_int_eq (issue_requeue (&bed->script, 0), -ESTALE);
    check_stale (bed, 3);
    blkmq_request_put (rq);
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_token_of_an_earlier_issue_is_refused)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct test_io t;

  bed_bear_mistakes (bed);
  test_io_submit (&t, bed, 0);
  ck_assert_int_eq (issue_requeue (&bed->script, 0), 0);

  /* Dead while it is the engine's ... */
  ck_assert_int_eq (issue_complete (&bed->script, 0, BLKMQ_STS_OK), -ESTALE);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_ne (handle_of (bed, 0), handle_of (bed, 1));

  /* ... and when it is the driver's again. */
  ck_assert_int_eq (issue_complete (&bed->script, 0, BLKMQ_STS_OK), -ESTALE);
  ck_assert_int_eq (issue_requeue (&bed->script, 0), -ESTALE);
  check_stale (bed, 3);
  check_in_flight (bed, handle_of (bed, 1));
  assert_not_ended (&t);
  ck_assert_int_eq (issue_complete (&bed->script, 1, BLKMQ_STS_OK), 0);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_token_of_an_earlier_life_is_refused)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct test_io first, second;

  bed_bear_mistakes (bed);
  test_io_submit (&first, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  test_io_submit (&second, bed, 1);
  ck_assert_ptr_eq (script_issue (&bed->script, 0)->rq,
                    script_issue (&bed->script, 1)->rq);
  ck_assert_int_eq (issue_complete (&bed->script, 0, BLKMQ_STS_OK), -ESTALE);
  ck_assert_int_eq (issue_requeue (&bed->script, 0), -ESTALE);
  check_stale (bed, 2);
  check_in_flight (bed, handle_of (bed, 1));
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&second, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
is_busy_once (struct script *script, const struct issue *issue)
{
  return script->nr_issues == 1 ? BLKMQ_BUSY_HOST : BLKMQ_QUEUED;
}

START_TEST (test_token_of_a_refused_issue_is_refused)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.on_queue = is_busy_once;
  bed_bear_mistakes (bed);
  bed_open (bed, "");
  test_io_submit (&t, bed, 0);
  ck_assert_int_eq (issue_complete (&bed->script, 0, BLKMQ_STS_OK), -ESTALE);
  bed_pass (bed, 3 * MS);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_int_eq (issue_complete (&bed->script, 0, BLKMQ_STS_OK), -ESTALE);
  assert_not_ended (&t);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_token_of_another_request_is_refused)
{
  struct bed *bed = bed_start ("hw_queue_depth=2 submit_queues=2");
  struct blkmq_submitter *other = blkmq_submitter_alloc (bed->disk, 1);
  struct blkmq_request *rq;
  struct test_io a, b, c;

  bed_bear_mistakes (bed);
  test_io_submit (&a, bed, 0);
  test_io_submit (&b, bed, 1);
  test_io_init (&c, bed, BLKMQ_OP_READ, 2);
  blkmq_submit (other, &c.io);

  /* All are alive; but for this request only the first. */
  rq = script_issue (&bed->script, 0)->rq;
  ck_assert_int_eq (blkmq_complete (rq, handle_of (bed, 1), BLKMQ_STS_OK),
                    -ESTALE);
  ck_assert_int_eq (blkmq_complete (rq, handle_of (bed, 2), BLKMQ_STS_OK),
                    -ESTALE);
  ck_assert_int_eq (blkmq_complete (rq, 0, BLKMQ_STS_OK), -ESTALE);
  ck_assert_int_eq (blkmq_requeue (rq, handle_of (bed, 1)), -ESTALE);
  check_stale (bed, 4);
  for (unsigned i = 0; i < 3; i++) {
    check_in_flight (bed, handle_of (bed, i));
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
  }
  blkmq_submitter_free (other);
  bed_stop (bed);
}
END_TEST

START_TEST (test_token_is_dead_after_timeout_done)
{
  struct bed *bed = start_with_timeout (says_done, WITH_TIMEOUT);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, AFTER_TIMEOUT_NS);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  ck_assert_int_eq (issue_complete (&bed->script, 0, BLKMQ_STS_OK), -ESTALE);
  check_stale (bed, 1);
  check_lost (bed, 0, 0, 0, 0);
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
completes_and_is_busy (struct script *script, const struct issue *issue)
{
  script_completes_inside (script, issue);
  return BLKMQ_BUSY_DEVICE;
}

static enum blkmq_queue_result
completes_and_requeues (struct script *script, const struct issue *issue)
{
  script_completes_inside (script, issue);
  require (script_requeue (script, issue->rq, issue->token) == -ESTALE);
  return BLKMQ_QUEUED;
}

static enum blkmq_queue_result
requeues_and_completes (struct script *script, const struct issue *issue)
{
  if (script->nr_issues > 1)
    return BLKMQ_QUEUED;
  require (script_requeue (script, issue->rq, issue->token) == 0);
  require (script_complete (script, issue->rq, issue->token, BLKMQ_STS_OK)
           == -ESTALE);
  return BLKMQ_BUSY_HOST;
}

/* Two give-backs of one issue: the first counts. */
START_TEST (test_driver_that_gives_back_twice_harms_nobody)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.on_queue = completes_and_is_busy;
  bed_bear_mistakes (bed);
  bed_open (bed, "hw_queue_depth=1");
  test_io_submit (&t, bed, 0);
  assert_ended (&t, BLKMQ_STS_OK);
  check_stale (bed, 1);
  ck_assert_uint_eq (bed_stats (bed).busy, 0);

  bed->script.on_queue = completes_and_requeues;
  test_io_submit (&t, bed, 0);
  assert_ended (&t, BLKMQ_STS_OK);
  check_stale (bed, 2);
  bed_pass (bed, 10 * MS);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  bed_stop (bed);

  bed = bed_alloc ();
  bed_bear_mistakes (bed);
  bed->script.on_queue = requeues_and_completes;
  bed_open (bed, "hw_queue_depth=1");
  test_io_submit (&t, bed, 0);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  check_stale (bed, 2);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Stale handles                                                             */

static void
check_no_request (struct bed *bed, blkmq_handle handle)
{
  uint64_t before = bed_stats (bed).stale_handles;

  ck_assert_ptr_null (blkmq_request_get (bed->disk, handle));
  ck_assert_uint_eq (bed_stats (bed).stale_handles, before + 1);
}

#define GENERATION (UINT64_C (1) << 24)
#define ON_HCTX(n) ((uint64_t)(n) << 14)

START_TEST (test_handle_that_names_nothing_finds_nothing)
{
  struct bed *bed = bed_start ("hw_queue_depth=2 submit_queues=2");
  struct test_io t;
  blkmq_handle handle;

  test_io_submit (&t, bed, 0);
  handle = handle_of (bed, 0);
  check_in_flight (bed, handle);

  check_no_request (bed, 0);
  check_no_request (bed, ~UINT64_C (0));
  check_no_request (bed, handle ^ 1); /* a free tag */
  check_no_request (bed, handle | 2); /* no such tag */
  check_no_request (bed, handle | 0x3fff);
  check_no_request (bed, handle | ON_HCTX (1)); /* another hctx, free */
  check_no_request (bed, handle | ON_HCTX (2)); /* no such hctx */
  check_no_request (bed, handle | ON_HCTX (1023));
  check_no_request (bed, handle - GENERATION); /* before */
  check_no_request (bed, handle + GENERATION); /* to come */
  ck_assert_uint_eq (blkmq_abort_request (bed->disk, handle ^ 1), 0);

  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  check_no_request (bed, handle);
  /* The free word's own generation is no request's name. */
  check_no_request (bed, handle + GENERATION);
  bed_stop (bed);
}
END_TEST

START_TEST (test_handle_of_an_earlier_life_finds_nothing)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct test_io first, second;

  test_io_submit (&first, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  test_io_submit (&second, bed, 1);
  check_no_request (bed, handle_of (bed, 0));
  ck_assert_uint_eq (blkmq_abort_request (bed->disk, handle_of (bed, 0)), 0);
  check_in_flight (bed, handle_of (bed, 1));
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&second, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* The next life starts on the queue, where no issue has changed the generation
 * yet: the release did. */
START_TEST (test_handle_of_an_earlier_life_does_not_find_a_queued_one)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct test_io first, second;

  test_io_submit (&first, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  blkmq_quiesce (bed->disk);
  test_io_submit (&second, bed, 1);
  ck_assert_uint_eq (nr_tags_taken (bed), 1);
  check_no_request (bed, handle_of (bed, 0));
  ck_assert_uint_eq (blkmq_abort_request (bed->disk, handle_of (bed, 0)), 0);
  blkmq_unquiesce (bed->disk);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&second, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* What blkmq.h says of the time until a handle's generation wraps. */
START_TEST (test_a_request_uses_two_generations)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct test_io t;

  for (unsigned i = 0; i < 20; i++) {
    bool over_the_queue = i % 3 == 0;

    if (over_the_queue)
      blkmq_quiesce (bed->disk);
    test_io_submit (&t, bed, 0);
    if (over_the_queue)
      blkmq_unquiesce (bed->disk);
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    if (i > 0)
      ck_assert_uint_eq (blkmq_token_generation (handle_of (bed, i)),
                         blkmq_token_generation (handle_of (bed, i - 1)) + 2);
  }
  bed_stop (bed);
}
END_TEST

/* After 2^40 of them; 0 is left out, since no handle is 0. */
START_TEST (test_generations_wrap_to_one)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct request *r = hctx_tag_request (bed_hctx (bed, 0), 0);
  const uint64_t last = (UINT64_C (1) << 40) - 1;
  struct test_io t;

  atomic_store (&r->word, (last - 1) << WORD_GEN_SHIFT);
  test_io_submit (&t, bed, 0);
  ck_assert_uint_eq (blkmq_token_generation (handle_of (bed, 0)), last);
  check_in_flight (bed, handle_of (bed, 0));
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  check_no_request (bed, handle_of (bed, 0));
  ck_assert_uint_eq (word_gen (atomic_load (&r->word)), 1);
  test_io_submit (&t, bed, 0);
  ck_assert_uint_eq (blkmq_token_generation (handle_of (bed, 1)), 2);
  check_in_flight (bed, handle_of (bed, 1));
  check_no_request (bed, handle_of (bed, 0));
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_handle_of_an_earlier_issue_finds_nothing)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  issue_requeue (&bed->script, 0);
  bed_turn (bed);
  check_no_request (bed, handle_of (bed, 0));
  check_in_flight (bed, handle_of (bed, 1));
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* References                                                                */

START_TEST (test_tag_returns_with_the_last_reference)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct blkmq_request *rq, *again;
  struct blkmq_request_info info;
  struct test_io t, next;

  test_io_submit_early (&t, bed, 7);
  rq = blkmq_request_get (bed->disk, handle_of (bed, 0));
  again = blkmq_request_get (bed->disk, handle_of (bed, 0));
  ck_assert_ptr_eq (rq, again);

  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended_early (&t, BLKMQ_STS_OK);
  test_io_submit (&next, bed, 1);
  blkmq_request_put (again);
  bed_turn (bed);
  /* The request is still that of t. */
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  blkmq_request_info (rq, &info);
  ck_assert_uint_eq (info.handle, handle_of (bed, 0));
  ck_assert_uint_eq (info.offset_bytes, 7 * BLOCK_BYTES);
  ck_assert (info.ended && !info.held && !info.timed_out);

  blkmq_request_put (rq);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* end_io does not wait for references: they are about the request, and the io
 * without a give_back is its caller's. */
START_TEST (test_reference_does_not_delay_the_answer)
{
  struct bed *bed = bed_start ("");
  struct blkmq_request *rq;
  struct test_io t;

  test_io_submit (&t, bed, 0);
  rq = blkmq_request_get (bed->disk, handle_of (bed, 0));
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (nr_tags_taken (bed), 1);
  blkmq_request_put (rq);
  ck_assert_uint_eq (nr_tags_taken (bed), 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_reference_pins_the_disk_after_removal)
{
  struct bed *bed = bed_start ("");
  struct blkmq_request *rq;
  struct test_io t;

  test_io_submit_early (&t, bed, 0);
  rq = blkmq_request_get (bed->disk, handle_of (bed, 0));
  /* Does not wait for us. */
  blkmq_disk_remove (bed->disk);
  assert_ended_early (&t, BLKMQ_STS_OFFLINE);
  blkmq_submitter_free (bed->submitter);
  blkmq_disk_put (bed->disk);
  ck_assert_uint_eq (bed->script.nr_closes, 0);
  ck_assert_uint_eq (rq->offset_bytes, 0);
  blkmq_request_put (rq);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  ck_assert_uint_eq (bed->script.nr_closes, 1);
  free (bed->script.books);
  free (bed);
}
END_TEST

/* The tag may not be seen free before the give_back of its request has run. */
static void
tag_is_still_taken (struct test_io *t)
{
  require (nr_tags_taken (t->bed) == 1);
}

START_TEST (test_tag_is_free_after_the_callbacks)
{
  struct bed *bed = bed_start ("");
  struct test_io t;

  test_io_init_early (&t, bed, BLKMQ_OP_READ, 0);
  t.on_end = t.on_give_back = tag_is_still_taken;
  blkmq_submit (bed->submitter, &t.io);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (nr_tags_taken (bed), 0);
  bed_stop (bed);
}
END_TEST

struct visits {
  unsigned nr, stop_at;
  blkmq_handle handles[64];
  struct blkmq_request_info infos[64];
};

static int
visit (struct blkmq_request *rq, void *opaque)
{
  struct visits *visits = opaque;

  blkmq_request_info (rq, &visits->infos[visits->nr]);
  visits->handles[visits->nr] = visits->infos[visits->nr].handle;
  visits->nr++;
  return visits->nr == visits->stop_at ? 42 : 0;
}

START_TEST (test_for_each_visits_all_that_are_not_free_once)
{
  struct bed *bed = start_with_timeout (says_held, WITH_TIMEOUT
                                        "submit_queues=2 hw_queue_depth=3");
  struct blkmq_submitter *other = blkmq_submitter_alloc (bed->disk, 1);
  struct visits visits = { 0 };
  struct test_io held, in_flight, queued, gone;
  bool seen[3] = { false };

  test_io_submit_early (&held, bed, 0);
  bed_pass (bed, AFTER_TIMEOUT_NS);
  test_io_init (&in_flight, bed, BLKMQ_OP_WRITE, 1);
  blkmq_submit (other, &in_flight.io);
  test_io_submit (&gone, bed, 2);
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  blkmq_quiesce (bed->disk);
  test_io_init (&queued, bed, BLKMQ_OP_FLUSH, 0);
  blkmq_submit (bed->submitter, &queued.io);

  ck_assert_int_eq (blkmq_for_each_request (bed->disk, visit, &visits), 0);
  ck_assert_uint_eq (visits.nr, 3);
  for (unsigned i = 0; i < 3; i++) {
    const struct blkmq_request_info *info = &visits.infos[i];
    struct blkmq_request *rq = blkmq_request_get (bed->disk, info->handle);

    ck_assert_ptr_nonnull (rq);
    blkmq_request_put (rq);
    ck_assert_uint_eq (blkmq_token_hctx (info->handle), info->hctx);
    ck_assert_uint_eq (blkmq_token_tag (info->handle), info->tag);
    ck_assert (!seen[info->op]);
    seen[info->op] = true;
    switch (info->op) {
    case BLKMQ_OP_READ:
      ck_assert (info->in_flight && info->held && info->ended
                 && info->timed_out);
      break;
    case BLKMQ_OP_WRITE:
      ck_assert (info->in_flight && info->held && !info->ended
                 && !info->timed_out);
      ck_assert_uint_eq (info->offset_bytes, 1 * BLOCK_BYTES);
      ck_assert_uint_eq (info->bytes, BLOCK_BYTES);
      ck_assert_uint_eq (info->hctx, 1);
      break;
    default:
      ck_assert_uint_eq (info->op, BLKMQ_OP_FLUSH);
      ck_assert (!info->in_flight && info->held && !info->ended);
    }
  }

  visits.nr = 0;
  visits.stop_at = 2;
  ck_assert_int_eq (blkmq_for_each_request (bed->disk, visit, &visits), 42);
  ck_assert_uint_eq (visits.nr, 2);

  blkmq_unquiesce (bed->disk);
  for (unsigned i = 0; i < 4; i++) {
    if (i != 2)
      issue_complete (&bed->script, i, BLKMQ_STS_OK);
  }
  blkmq_submitter_free (other);
  bed_stop (bed);
}
END_TEST

struct keeper {
  struct bed *bed;
  struct blkmq_request *kept;
};

static int
keep (struct blkmq_request *rq, void *opaque)
{
  struct keeper *keeper = opaque;
  struct blkmq_request_info info;

  blkmq_request_info (rq, &info);
  keeper->kept = blkmq_request_get (keeper->bed->disk, info.handle);
  /* The visit's own reference keeps the tag, even from its give-back. */
  issue_complete (&keeper->bed->script, 0, BLKMQ_STS_OK);
  require (nr_tags_taken (keeper->bed) == 1);
  return 0;
}

START_TEST (test_visitor_may_keep_the_request)
{
  struct bed *bed = bed_start ("");
  struct keeper keeper = { bed, NULL };
  struct test_io t;

  test_io_submit (&t, bed, 3);
  ck_assert_int_eq (blkmq_for_each_request (bed->disk, keep, &keeper), 0);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_ptr_nonnull (keeper.kept);
  ck_assert_uint_eq (keeper.kept->offset_bytes, 3 * BLOCK_BYTES);
  ck_assert_uint_eq (nr_tags_taken (bed), 1);
  blkmq_request_put (keeper.kept);
  bed_stop (bed);
}
END_TEST

/* 16 bits of references: the one too many is refused, and nobody who has none
 * puts one.  A completion on its way to the loop needs one and gets it. */
START_TEST (test_references_saturate)
{
  struct bed *bed = bed_start (_i == 0 ? "hw_queue_depth=1"
                                       : "hw_queue_depth=1 irqmode=softirq");
  struct visits visits = { 0 };
  struct blkmq_request *rq = NULL;
  struct blkmq_stats stats;
  struct test_io t;
  unsigned nr = 0;

  test_io_submit_early (&t, bed, 0);
  for (;; nr++) {
    struct blkmq_request *got
        = blkmq_request_get (bed->disk, handle_of (bed, 0));

    if (got == NULL)
      break;
    rq = got;
    ck_assert_uint_lt (nr, 65536);
  }
  ck_assert_uint_eq (nr, 65533); /* and the answer's, and that one */
  ck_assert_int_eq (blkmq_for_each_request (bed->disk, visit, &visits), 0);
  stats = bed_stats (bed);
  ck_assert_uint_eq (stats.stale_handles, 1);

  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_turn (bed);
  while (nr-- > 0) {
    assert_ended_early (&t, BLKMQ_STS_OK);
    blkmq_request_put (rq);
  }
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (nr_tags_taken (bed), 0);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Abort                                                                     */

START_TEST (test_abort_of_a_queued_request_ends_it_at_once)
{
  struct bed *bed = bed_start ("");
  struct test_io t, other;

  blkmq_quiesce (bed->disk);
  test_io_submit (&t, bed, 0);
  test_io_submit (&other, bed, 1);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 1);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (nr_tags_taken (bed), 1);
  blkmq_unquiesce (bed->disk);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  ck_assert_uint_eq (script_issue (&bed->script, 0)->offset_bytes,
                     1 * BLOCK_BYTES);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&other, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_abort_io_ends_one_that_waits_for_a_tag)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct test_io first, second, third;

  test_io_submit (&first, bed, 0);
  test_io_submit_early (&second, bed, 1);
  test_io_submit (&third, bed, 2);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &second.io), 1);
  assert_ended (&second, BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (bed_stats (bed).rejected[BLKMQ_STS_ABORTED], 1);
  ck_assert_uint_eq (bed_stats (bed).waiting, 1);
  /* It is known to be over, and that is all. */
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &second.io), 0);

  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_turn (bed);
  ck_assert_uint_eq (script_issue (&bed->script, 1)->offset_bytes,
                     2 * BLOCK_BYTES);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&third, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_abort_submitter_ends_its_ios_only)
{
  struct bed *bed = bed_start ("hw_queue_depth=3");
  struct blkmq_submitter *other = blkmq_submitter_alloc (bed->disk, 0);
  static struct test_io mine[4], others[2];
  unsigned nr_mine = 0;

  /* In flight: mine, other's, mine; waiting: mine, other's, mine. */
  for (unsigned i = 0; i < 6; i++) {
    bool is_other = i % 3 == 1;
    struct test_io *t = is_other ? &others[i / 3] : &mine[nr_mine++];

    test_io_init_early (t, bed, BLKMQ_OP_READ, i);
    blkmq_submit (is_other ? other : bed->submitter, &t->io);
  }
  ck_assert_uint_eq (bed_stats (bed).waiting, 3);
  ck_assert_uint_eq (blkmq_abort_submitter (bed->submitter), 4);
  assert_ended_early (&mine[0], BLKMQ_STS_ABORTED);
  assert_ended_early (&mine[1], BLKMQ_STS_ABORTED);
  assert_ended (&mine[2], BLKMQ_STS_ABORTED);
  assert_ended (&mine[3], BLKMQ_STS_ABORTED);
  assert_not_ended (&others[0]);
  assert_not_ended (&others[1]);
  ck_assert_uint_eq (blkmq_abort_submitter (bed->submitter), 0);
  check_lost (bed, 0, 0, 0, 0);

  for (unsigned i = 0; i < 4; i++) {
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    bed_turn (bed);
  }
  check_lost (bed, 2, 0, 0, 0);
  assert_ended (&mine[0], BLKMQ_STS_ABORTED);
  assert_ended (&others[0], BLKMQ_STS_OK);
  assert_ended (&others[1], BLKMQ_STS_OK);
  blkmq_submitter_free (other);
  bed_stop (bed);
}
END_TEST

static void *
submit_one (void *opaque)
{
  struct test_io *t = opaque;

  blkmq_submit (t->bed->submitter, &t->io);
  return NULL;
}

/* An abort that comes between "it is QUEUED" and "it is on the queue" finds
 * nothing to take off.  The queue does not move, so nobody else would. */
START_TEST (test_abort_is_seen_by_one_on_its_way_to_the_queue)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct blkmq_hctx *h = bed_hctx (bed, 0);
  struct request *r = hctx_tag_request (h, 0);
  struct test_io t;
  pthread_t thread;
  uint64_t name;

  blkmq_quiesce (bed->disk);
  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  /* Whoever wants to the queue stands at its lock. */
  pthread_mutex_lock (&h->lock);
  thread = thread_start (submit_one, &t);
  await (word_state (atomic_load (&r->word)) == WORD_QUEUED);
  name = name_make (atomic_load (&r->word), 0, 0);
  ck_assert (request_try_get (r, name));
  ck_assert (request_claim (r, BLKMQ_CAUSE_ABORT, BLKMQ_STS_ABORTED));
  pthread_mutex_unlock (&h->lock);
  thread_join (thread);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (atomic_load (&h->nr_queued), 0);
  request_put (r);
  ck_assert_uint_eq (nr_tags_taken (bed), 0);
  blkmq_unquiesce (bed->disk);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* The pdu of a free request                                                 */

#ifdef BLKMQ_ASAN
START_TEST (test_pdu_is_off_limits_while_the_request_is_free)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct blkmq_request *rq = &hctx_tag_request (bed_hctx (bed, 0), 0)->rq;
  struct test_io t;

  ck_assert (__asan_address_is_poisoned (rq->pdu));
  test_io_submit (&t, bed, 0);
  ck_assert (!__asan_address_is_poisoned (rq->pdu));
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  ck_assert (__asan_address_is_poisoned (rq->pdu));

  /* On the way over the queue as well. */
  blkmq_quiesce (bed->disk);
  test_io_submit (&t, bed, 0);
  ck_assert (!__asan_address_is_poisoned (rq->pdu));
  blkmq_abort_io (bed->submitter, &t.io);
  ck_assert (__asan_address_is_poisoned (rq->pdu));
  blkmq_unquiesce (bed->disk);
  bed_stop (bed);
}
END_TEST
#endif

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("lifetime");
  TCase *tcase;

  tcase = harness_case (suite, "one end");
  tcase_add_test (tcase, test_timeout_loses_to_complete);
  tcase_add_test (tcase, test_complete_loses_to_timeout);
  tcase_add_test (tcase, test_abort_loses_to_complete);
  tcase_add_test (tcase, test_complete_loses_to_abort);
  tcase_add_test (tcase, test_timeout_loses_to_abort);
  tcase_add_test (tcase, test_abort_loses_to_timeout);
  tcase_add_test (tcase, test_complete_loses_to_removal);
  tcase_add_test (tcase, test_removal_leaves_ends_alone);
  tcase_add_test (tcase, test_removals_own_claims_are_not_lost);
  tcase_add_test (tcase, test_softirq_end_loses_to_abort);
  tcase_add_test (tcase, test_timer_end_loses_to_abort);
  tcase_add_test (tcase, test_timer_end_of_a_pinned_request_loses_to_abort);
  tcase_add_test (tcase, test_complete_op_decides_the_status);

  tcase = harness_case (suite, "held");
  tcase_add_test (tcase, test_held_request_answers_early_with_give_back);
  tcase_add_test (tcase, test_held_request_answers_late_without_give_back);
  tcase_add_test (tcase, test_requeue_of_an_ended_request_is_its_give_back);
  tcase_add_test (tcase, test_busy_for_an_ended_request_is_its_give_back);
  tcase_add_test (tcase, test_io_may_be_freed_in_its_last_callback);

  tcase = harness_case (suite, "stale tokens");
  tcase_add_test (tcase, test_second_completion_is_refused);
  tcase_add_test (tcase, test_second_completion_is_refused_while_pinned);
  tcase_add_test (tcase, test_token_of_an_earlier_issue_is_refused);
  tcase_add_test (tcase, test_token_of_an_earlier_life_is_refused);
  tcase_add_test (tcase, test_token_of_a_refused_issue_is_refused);
  tcase_add_test (tcase, test_token_of_another_request_is_refused);
  tcase_add_test (tcase, test_token_is_dead_after_timeout_done);
  tcase_add_test (tcase, test_driver_that_gives_back_twice_harms_nobody);

  tcase = harness_case (suite, "stale handles");
  tcase_add_test (tcase, test_handle_that_names_nothing_finds_nothing);
  tcase_add_test (tcase, test_handle_of_an_earlier_life_finds_nothing);
  tcase_add_test (tcase,
                  test_handle_of_an_earlier_life_does_not_find_a_queued_one);
  tcase_add_test (tcase, test_a_request_uses_two_generations);
  tcase_add_test (tcase, test_generations_wrap_to_one);
  tcase_add_test (tcase, test_handle_of_an_earlier_issue_finds_nothing);

  tcase = harness_case (suite, "references");
  tcase_add_test (tcase, test_tag_returns_with_the_last_reference);
  tcase_add_test (tcase, test_reference_does_not_delay_the_answer);
  tcase_add_test (tcase, test_reference_pins_the_disk_after_removal);
  tcase_add_test (tcase, test_tag_is_free_after_the_callbacks);
  tcase_add_test (tcase, test_for_each_visits_all_that_are_not_free_once);
  tcase_add_test (tcase, test_visitor_may_keep_the_request);
  tcase_add_loop_test (tcase, test_references_saturate, 0, 2);

  tcase = harness_case (suite, "abort");
  tcase_add_test (tcase, test_abort_of_a_queued_request_ends_it_at_once);
  tcase_add_test (tcase, test_abort_io_ends_one_that_waits_for_a_tag);
  tcase_add_test (tcase, test_abort_submitter_ends_its_ios_only);
  tcase_add_test (tcase, test_abort_is_seen_by_one_on_its_way_to_the_queue);

#ifdef BLKMQ_ASAN
  tcase = harness_case (suite, "poison");
  tcase_add_test (tcase, test_pdu_is_off_limits_while_the_request_is_free);
#endif
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
