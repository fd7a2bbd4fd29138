/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-interleave-sched.c: schedulers, driver tags and merging, in every order
 * that some hundred seeds make (races.h): a scheduler changed under ios, a tag
 * that is waited for, a request joined while it ends.
 */

#include <config.h>

#include "races.h"

#define MERGED (1u << 0)
#define ABORTED (1u << 1)
#define NOT_ABORTED (1u << 2)
#define TIMED_OUT (1u << 3)
#define NOT_TIMED_OUT (1u << 4)
#define OFFLINE (1u << 5)
#define SWITCHED (1u << 6)
#define REFUSED (1u << 7)

/* ---- the actors ---- */

static void
submits_even (void *opaque)
{
  struct world *w = opaque;

  for (unsigned n = 1; n < 6; n += 2)
    race_submit (w, n, 0);
}

/* Each continues, or precedes, one of the others. */
static void
submits_odd (void *opaque)
{
  struct world *w = opaque;

  for (unsigned n = 2; n < 6; n += 2)
    race_submit (w, n, 0);
}

static void
switches (void *opaque)
{
  static const char *const names[] = { "none", "mq-deadline" };
  struct world *w = opaque;
  bool first = race_draw (w);
  struct blkmq_error error;

  for (unsigned n = 0; n < 2; n++)
    require (
        blkmq_disk_set_scheduler (w->disks[0].disk, names[first ^ n], &error)
        == 0);
  saw (SWITCHED);
}

static void
aborts_io (void *opaque)
{
  struct world *w = opaque;

  w->nr_aborted += blkmq_abort_io (w->disks[0].submitters[0], &w->ios[1].io);
}

static void
aborts_submitter (void *opaque)
{
  struct world *w = opaque;

  w->nr_aborted += blkmq_abort_submitter (w->disks[0].submitters[0]);
}

static void
times_out (void *opaque)
{
  race_time_out (opaque);
}

static void
removes (void *opaque)
{
  race_remove (opaque, 0);
}

/* ---- before and after ---- */

static void
submits_0 (struct world *w)
{
  race_submit (w, 0, 0);
}

/* The only tag is taken by 0, and 1 waits in the scheduler. */
static void
submits_0_and_1 (struct world *w)
{
  race_submit (w, 0, 0);
  race_submit (w, 1, 0);
}

static void
check_statuses (struct world *w)
{
  unsigned nr_aborted = 0, nr_requests = 0;
  struct blkmq_stats stats;

  for (unsigned n = 0; n < RACE_MAX_IOS; n++) {
    const struct race_io *io = &w->ios[n];

    if (!io->is_submitted)
      continue;
    nr_requests++;
    switch (io->status) {
    case BLKMQ_STS_ABORTED:
      nr_aborted++;
      break;
    case BLKMQ_STS_TIMEOUT:
      saw (TIMED_OUT);
      break;
    case BLKMQ_STS_OFFLINE:
      require (w->disks[0].is_removed);
      saw (OFFLINE);
      break;
    default:
      require (io->status == BLKMQ_STS_OK);
    }
  }
  saw (nr_aborted > 0 ? ABORTED : NOT_ABORTED);
  require (blkmq_disk_stats (w->disks[0].disk, BLKMQ_HCTX_ANY, &stats) == 0);
  for (unsigned i = 0; i < BLKMQ_NR_STATUSES; i++)
    nr_requests -= (unsigned)stats.rejected[i];
  require (stats.ios[BLKMQ_OP_READ] + stats.merges == nr_requests);
  if (stats.merges > 0)
    saw (MERGED);
  if (stats.timeouts == 0)
    saw (NOT_TIMED_OUT);
  if (stats.busy > 0)
    saw (REFUSED);
}

#define DEADLINE "scheduler=mq-deadline hw_queue_depth=1"

/* ------------------------------------------------------------------------ */
/* A scheduler changed                                                       */

START_TEST (test_switch_against_submission)
{
  static const struct race race = {
    .name = "switch-against-submission",
    .keys = DEADLINE,
    .actors = { { "switch", switches },
                { "submit", submits_even },
                { "again", submits_odd } },
    .turns = true,
    .requeues = true,
    .check = check_statuses,
    .must_see = SWITCHED | MERGED | REFUSED,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_switch_against_abort)
{
  static const struct race race = {
    .name = "switch-against-abort",
    .keys = DEADLINE,
    .actors = { { "switch", switches },
                { "abort", aborts_submitter },
                { "submit", submits_odd } },
    .turns = true,
    .requeues = true,
    .prepare = submits_0_and_1,
    .check = check_statuses,
    .must_see = SWITCHED | MERGED | ABORTED,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_switch_against_timeout)
{
  static const struct race race = {
    .name = "switch-against-timeout",
    .keys = DEADLINE " io_timeout=100",
    .actors = { { "switch", switches },
                { "time", times_out },
                { "submit", submits_odd } },
    .turns = true,
    .never_busy = true,
    .prepare = submits_0_and_1,
    .check = check_statuses,
    .must_see = SWITCHED | TIMED_OUT | NOT_TIMED_OUT,
  };

  race_run (&race);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Driver tags                                                               */

START_TEST (test_wait_for_a_driver_tag_against_its_put)
{
  static const struct race race = {
    .name = "wait-for-a-driver-tag-against-its-put",
    .keys = DEADLINE " nomerges=1",
    .actors = { { "submit", submits_even }, { "again", submits_odd } },
    .turns = true,
    .never_busy = true,
    .prepare = submits_0,
    .check = check_statuses,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_refusal_against_put_and_requeue)
{
  static const struct race race = {
    .name = "refusal-against-put-and-requeue",
    .keys = "scheduler=mq-deadline hw_queue_depth=2 nomerges=1",
    .actors = { { "submit", submits_even }, { "again", submits_odd } },
    .turns = true,
    .requeues = true,
    .check = check_statuses,
    .must_see = REFUSED,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_refusal_against_abort)
{
  static const struct race race = {
    .name = "refusal-against-abort",
    .keys = DEADLINE " nomerges=1",
    .actors = { { "submit", submits_even },
                { "abort", aborts_io },
                { "again", submits_odd } },
    .turns = true,
    .requeues = true,
    .check = check_statuses,
    .must_see = REFUSED | ABORTED | NOT_ABORTED,
  };

  race_run (&race);
}
END_TEST

static void
changes_depth (void *opaque)
{
  struct world *w = opaque;
  struct blkmq_error error;

  require (update_queues (w->disks[0].disk, 0, race_draw (w) ? 1 : 3, &error)
           == 0);
  saw (SWITCHED);
}

/* Tags 0 and 1 are with the device, and it keeps them for a while. */
static void
two_are_held_after_timeout (struct world *w)
{
  w->answer = BLKMQ_TIMEOUT_HELD;
  submits_0 (w);
  race_submit (w, 7, 0);
  clock_advance (&w->clock, (RACE_TIMEOUT_MS + 1) * MS);
  disk_turn (w->disks[0].disk);
}

/* The driver's tag goes back to where it was taken. */
START_TEST (test_depth_against_late_give_back_of_a_driver_tag)
{
  static const struct race race = {
    .name = "depth-against-late-give-back-of-a-driver-tag",
    .keys = "scheduler=mq-deadline hw_queue_depth=2 nomerges=1 io_timeout=100",
    .actors = { { "update", changes_depth }, { "submit", submits_even } },
    .turns = true,
    .never_busy = true,
    .prepare = two_are_held_after_timeout,
    .check = check_statuses,
    .must_see = SWITCHED | TIMED_OUT,
  };

  race_run (&race);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Merging                                                                   */

START_TEST (test_merge_against_abort_of_what_is_joined)
{
  static const struct race race = {
    .name = "merge-against-abort-of-what-is-joined",
    .keys = DEADLINE,
    .actors = { { "submit", submits_odd }, { "abort", aborts_io } },
    .turns = true,
    .never_busy = true,
    .prepare = submits_0_and_1,
    .check = check_statuses,
    .must_see = MERGED | ABORTED | NOT_ABORTED,
  };

  race_run (&race);
}
END_TEST

static blkmq_handle handle_of_1;

static int
note_handle (struct blkmq_request *rq, void *opaque)
{
  struct blkmq_request_info info;

  blkmq_request_info (rq, &info);
  if (info.offset_bytes <= BLOCK_BYTES
      && info.offset_bytes + info.bytes > BLOCK_BYTES)
    handle_of_1 = info.handle;
  return 0;
}

static void
submits_and_notes (struct world *w)
{
  submits_0_and_1 (w);
  handle_of_1 = 0;
  blkmq_for_each_request (w->disks[0].disk, note_handle, NULL);
  require (handle_of_1 != 0);
}

/* All that has joined it by then goes with it. */
static void
aborts_request (void *opaque)
{
  struct world *w = opaque;

  w->nr_aborted += blkmq_abort_request (w->disks[0].disk, handle_of_1);
}

START_TEST (test_merge_against_abort_of_the_request)
{
  static const struct race race = {
    .name = "merge-against-abort-of-the-request",
    .keys = DEADLINE,
    .actors = { { "submit", submits_odd }, { "abort", aborts_request } },
    .turns = true,
    .never_busy = true,
    .prepare = submits_and_notes,
    .check = check_statuses,
    .must_see = MERGED | ABORTED | NOT_ABORTED,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_merge_against_timeout_and_abort)
{
  static const struct race race = {
    .name = "merge-against-timeout-and-abort",
    .keys = DEADLINE " io_timeout=100",
    .actors = { { "submit", submits_odd },
                { "time", times_out },
                { "abort", aborts_io } },
    .turns = true,
    .never_busy = true,
    .prepare = submits_0_and_1,
    .check = check_statuses,
    .must_see = MERGED | ABORTED | TIMED_OUT | NOT_TIMED_OUT,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_merge_against_removal)
{
  static const struct race race = {
    .name = "merge-against-removal",
    .keys = DEADLINE,
    .actors = { { "submit", submits_odd },
                { "remove", removes },
                { "abort", aborts_io } },
    .turns = true,
    .requeues = true,
    .prepare = submits_0_and_1,
    .check = check_statuses,
    .must_see = MERGED | OFFLINE,
  };

  race_run (&race);
}
END_TEST

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("interleave-sched");
  TCase *tcase;

  tcase = harness_case (suite, "switch");
  tcase_add_test (tcase, test_switch_against_submission);
  tcase_add_test (tcase, test_switch_against_abort);
  tcase_add_test (tcase, test_switch_against_timeout);

  tcase = harness_case (suite, "tags");
  tcase_add_test (tcase, test_wait_for_a_driver_tag_against_its_put);
  tcase_add_test (tcase, test_refusal_against_put_and_requeue);
  tcase_add_test (tcase, test_refusal_against_abort);
  tcase_add_test (tcase, test_depth_against_late_give_back_of_a_driver_tag);

  tcase = harness_case (suite, "merge");
  tcase_add_test (tcase, test_merge_against_abort_of_what_is_joined);
  tcase_add_test (tcase, test_merge_against_abort_of_the_request);
  tcase_add_test (tcase, test_merge_against_timeout_and_abort);
  tcase_add_test (tcase, test_merge_against_removal);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
