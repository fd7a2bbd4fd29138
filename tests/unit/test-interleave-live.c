/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-interleave-live.c: freezes and live changes of queues and depth, against
 * all that goes on meanwhile, in every order that some hundred seeds make
 * (races.h).  BLKMQ_SEED=S BLKMQ_RUN=N CK_RUN_CASE=CASE repeats one.
 */

#include <config.h>

#include <errno.h>

#include "races.h"

#define UPDATED (1u << 0)
#define FOUND (1u << 1)
#define NOT_FOUND (1u << 2)
#define ABORTED (1u << 3)
#define NOT_ABORTED (1u << 4)
#define OFFLINE (1u << 5)
#define ENDED_OK (1u << 6)

/* ---- the actors ---- */

static void
submits_0 (struct world *w)
{
  race_submit (w, 0, 0);
}

static void
submits_three (void *opaque)
{
  struct world *w = opaque;

  for (unsigned n = 0; n < 3; n++)
    race_submit (w, n, 0);
}

static void
submits_more (void *opaque)
{
  struct world *w = opaque;

  for (unsigned n = 3; n < 6; n++)
    race_submit (w, n, 0);
}

static void
freezes (void *opaque)
{
  race_freeze (opaque, 0);
}

static void
freezes_twice (void *opaque)
{
  race_freeze (opaque, 0);
  race_freeze (opaque, 0);
}

static void
update (struct world *w, unsigned nr_hw_queues, unsigned queue_depth)
{
  struct blkmq_error error;
  int r = update_queues (w->disks[0].disk, nr_hw_queues, queue_depth, &error);

  require (r == 0 || (r == -ENODEV && w->disks[0].is_removed));
  if (w->disks[0].is_removed)
    return;
  saw (UPDATED);
}

static void
changes_depth (void *opaque)
{
  struct world *w = opaque;

  update (w, 0, race_draw (w) ? 1 : 3);
  if (race_draw (w))
    update (w, 0, 2);
}

static void
drops_hctx (void *opaque)
{
  update (opaque, 1, 0);
}

static void
drops_and_adds_hctx (void *opaque)
{
  update (opaque, 1, 0);
  update (opaque, 2, 0);
}

static void
removes (void *opaque)
{
  race_remove (opaque, 0);
}

/* ---- freeze ---- */

/* All tags are fresh: what was never used looks like nobody's. */
START_TEST (test_freeze_against_takers_of_fresh_tags)
{
  static const struct race race = {
    .name = "freeze-against-takers-of-fresh-tags",
    .keys = "hw_queue_depth=2",
    .actors = { { "freeze", freezes_twice },
                { "submit", submits_three },
                { "again", submits_more } },
    .turns = true,
  };

  race_run (&race);
}
END_TEST

static void
times_out (void *opaque)
{
  race_time_out (opaque);
}

/* One that is held after a timeout is not waited for, but may be in the very
 * moment of its timeout. */
static void
freezes_over_held (void *opaque)
{
  struct world *w = opaque;
  blkmq_handle held[2];
  int nr = blkmq_freeze (w->disks[0].disk, held, 2);

  require (nr == 0 || (nr == 1 && held[0] == w->issues[0].token));
  saw (nr == 0 ? NOT_FOUND : FOUND);
  blkmq_unfreeze (w->disks[0].disk);
}

static void
submits_and_holds (struct world *w)
{
  w->answer = BLKMQ_TIMEOUT_HELD;
  submits_0 (w);
}

START_TEST (test_freeze_against_timeout)
{
  static const struct race race = {
    .name = "freeze-against-timeout",
    .keys = "hw_queue_depth=1 io_timeout=100",
    .actors = { { "freeze", freezes_over_held }, { "time", times_out } },
    .turns = true,
    .never_busy = true,
    .prepare = submits_and_holds,
    .must_see = FOUND | NOT_FOUND,
  };

  race_run (&race);
}
END_TEST

/* The driver has nothing: what a timeout ends on the engine's own queue is
 * waited for, or an update would replace the tags under it. */
static void
freezes_over_queued (void *opaque)
{
  struct world *w = opaque;

  require (blkmq_freeze (w->disks[0].disk, NULL, 0) == 0);
  require (w->ios[0].nr_ends == 1);
  blkmq_unfreeze (w->disks[0].disk);
}

static void
requeues_while_quiesced (struct world *w)
{
  struct race_issue *issue = &w->issues[0];

  submits_0 (w);
  require (blkmq_quiesce (w->disks[0].disk) == 0);
  issue->is_held = false;
  require (blkmq_requeue (issue->rq, issue->token) == 0);
}

static void
unquiesces (struct world *w)
{
  blkmq_unquiesce (w->disks[0].disk);
}

static void
check_timed_out (struct world *w)
{
  require (w->ios[0].status == BLKMQ_STS_TIMEOUT);
}

START_TEST (test_freeze_against_timeout_on_the_queue)
{
  static const struct race race = {
    .name = "freeze-against-timeout-on-the-queue",
    .keys = "hw_queue_depth=1 io_timeout=100",
    .actors = { { "freeze", freezes_over_queued }, { "time", times_out } },
    .turns = true,
    .never_busy = true,
    .prepare = requeues_while_quiesced,
    .settle = unquiesces,
    .check = check_timed_out,
  };

  race_run (&race);
}
END_TEST

/* ---- depth ---- */

START_TEST (test_depth_against_submission)
{
  static const struct race race = {
    .name = "depth-against-submission",
    .keys = "hw_queue_depth=2",
    .actors = { { "update", changes_depth },
                { "submit", submits_three },
                { "again", submits_more } },
    .requeues = true,
    .turns = true,
    .must_see = UPDATED,
  };

  race_run (&race);
}
END_TEST

static void
looks_up (void *opaque)
{
  struct world *w = opaque;
  blkmq_token token = w->issues[0].token;
  struct blkmq_request_info info;

  for (unsigned n = 0; n < 3; n++) {
    struct blkmq_request *rq = blkmq_request_get (w->disks[0].disk, token);

    saw (rq != NULL ? FOUND : NOT_FOUND);
    if (rq == NULL)
      continue;
    for (unsigned i = 0; i < 3; i++) {
      explore_yield ("looking");
      blkmq_request_info (rq, &info);
      /* Whatever pools have come and gone: this is the one. */
      require (rq == w->issues[0].rq && info.handle == token);
      require (info.offset_bytes == 0 && info.bytes == BLOCK_BYTES);
    }
    blkmq_request_put (rq);
  }
}

START_TEST (test_depth_against_look_up)
{
  static const struct race race = {
    .name = "depth-against-look-up",
    .keys = "hw_queue_depth=2",
    .actors = { { "update", changes_depth },
                { "look", looks_up },
                { "submit", submits_more } },
    .never_busy = true,
    .turns = true,
    .prepare = submits_0,
    .must_see = UPDATED | FOUND | NOT_FOUND,
  };

  race_run (&race);
}
END_TEST

static void
is_held_after_timeout (struct world *w)
{
  submits_and_holds (w);
  clock_advance (&w->clock, (RACE_TIMEOUT_MS + 1) * MS);
  disk_turn (w->disks[0].disk);
}

/* Only what has a give_back was answered; the data of either is the device's
 * until then. */
static void
check_late (struct world *w)
{
  require (w->ios[0].status == BLKMQ_STS_TIMEOUT);
  for (unsigned n = 3; n < 6; n++)
    require (w->ios[n].status == BLKMQ_STS_OK);
}

START_TEST (test_depth_against_late_give_back)
{
  static const struct race race = {
    .name = "depth-against-late-give-back",
    .keys = "hw_queue_depth=2 io_timeout=100",
    .actors = { { "update", changes_depth },
                { "look", looks_up },
                { "submit", submits_more } },
    .never_busy = true,
    .turns = true,
    .prepare = is_held_after_timeout,
    .check = check_late,
    .must_see = UPDATED | FOUND | NOT_FOUND,
  };

  race_run (&race);
}
END_TEST

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
check_aborted (struct world *w)
{
  unsigned nr = 0;

  for (unsigned n = 0; n < RACE_MAX_IOS; n++) {
    require (!w->ios[n].is_submitted || w->ios[n].status == BLKMQ_STS_OK
             || w->ios[n].status == BLKMQ_STS_ABORTED);
    nr += w->ios[n].is_submitted && w->ios[n].status == BLKMQ_STS_ABORTED;
  }
  /* Some were in nobody's hands but their submitter's, who found the mark. */
  require (nr >= w->nr_aborted);
  saw (nr > 0 ? ABORTED : NOT_ABORTED);
}

static void
submits_two (struct world *w)
{
  race_submit (w, 0, 0);
  race_submit (w, 1, 0);
}

START_TEST (test_depth_against_abort_of_an_io)
{
  static const struct race race = {
    .name = "depth-against-abort-of-an-io",
    .keys = "hw_queue_depth=1",
    .actors = { { "update", changes_depth },
                { "abort", aborts_io },
                { "submit", submits_more } },
    .requeues = true,
    .turns = true,
    .prepare = submits_two,
    .check = check_aborted,
    .must_see = UPDATED | ABORTED | NOT_ABORTED,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_depth_against_abort_of_a_submitter)
{
  static const struct race race = {
    .name = "depth-against-abort-of-a-submitter",
    .keys = "hw_queue_depth=1",
    .actors = { { "update", changes_depth },
                { "abort", aborts_submitter },
                { "submit", submits_more } },
    .requeues = true,
    .turns = true,
    .prepare = submits_two,
    .check = check_aborted,
    .must_see = UPDATED | ABORTED,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_update_against_update)
{
  static const struct race race = {
    .name = "update-against-update",
    .keys = "hw_queue_depth=2 submit_queues=2",
    .actors = { { "update", changes_depth },
                { "drop", drops_and_adds_hctx },
                { "submit", submits_three } },
    .turns = true,
    .must_see = UPDATED,
  };

  race_run (&race);
}
END_TEST

static void
note_offline (struct world *w)
{
  for (unsigned n = 0; n < 3; n++)
    saw (w->ios[n].status == BLKMQ_STS_OFFLINE ? OFFLINE : ENDED_OK);
}

START_TEST (test_update_against_removal)
{
  static const struct race race = {
    .name = "update-against-removal",
    .keys = "hw_queue_depth=2 submit_queues=2",
    .actors = { { "update", changes_depth },
                { "remove", removes },
                { "submit", submits_three } },
    .turns = true,
    .check = note_offline,
    .must_see = UPDATED | OFFLINE | ENDED_OK,
  };

  race_run (&race);
}
END_TEST

/* ---- hctxs ---- */

static void
submits_to_second (void *opaque)
{
  struct world *w = opaque;

  for (unsigned n = 0; n < 3; n++)
    race_submit_op (w, n, 0, w->disks[0].submitters[1], BLKMQ_OP_READ, 0);
}

START_TEST (test_drop_of_an_hctx_against_waiters)
{
  static const struct race race = {
    .name = "drop-of-an-hctx-against-waiters",
    .keys = "hw_queue_depth=1 submit_queues=2",
    .actors = { { "drop", drops_hctx },
                { "submit", submits_to_second },
                { "again", submits_more } },
    .turns = true,
    .must_see = UPDATED,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_drop_and_return_of_an_hctx_against_waiters)
{
  static const struct race race = {
    .name = "drop-and-return-of-an-hctx-against-waiters",
    .keys = "hw_queue_depth=1 submit_queues=2 shared_tag_bitmap=1",
    .actors = { { "drop", drops_and_adds_hctx },
                { "submit", submits_to_second },
                { "again", submits_more } },
    .requeues = true,
    .turns = true,
    .must_see = UPDATED,
  };

  race_run (&race);
}
END_TEST

static void
aborts_second (void *opaque)
{
  struct world *w = opaque;

  w->nr_aborted += blkmq_abort_submitter (w->disks[0].submitters[1]);
}

START_TEST (test_drop_of_an_hctx_against_abort)
{
  static const struct race race = {
    .name = "drop-of-an-hctx-against-abort",
    .keys = "hw_queue_depth=1 submit_queues=2",
    .actors = { { "drop", drops_hctx },
                { "submit", submits_to_second },
                { "abort", aborts_second } },
    .turns = true,
    .check = check_aborted,
    .must_see = UPDATED | ABORTED,
  };

  race_run (&race);
}
END_TEST

static void
comes_and_goes (void *opaque)
{
  struct world *w = opaque;

  for (unsigned n = 0; n < 3; n++) {
    struct blkmq_submitter *s
        = blkmq_submitter_alloc (w->disks[0].disk, BLKMQ_HCTX_ANY);

    require (s != NULL);
    race_submit_op (w, n, 0, s, BLKMQ_OP_READ, 0);
    explore_await (w->ios[n].nr_ends == 1
                   && w->ios[n].nr_give_backs
                          == (w->ios[n].io.give_back != NULL));
    explore_await (!w->ios[n].in_end_io);
    blkmq_submitter_free (s);
  }
}

static void
check_submitters (struct world *w)
{
  struct blkmq_disk *disk = w->disks[0].disk;
  unsigned nr = 0;

  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++)
    nr += disk_hctx (disk, i)->nr_submitters;
  require (nr == 2);
  for (unsigned i = 0; i < 2; i++)
    require (blkmq_submitter_hctx (w->disks[0].submitters[i])
             < blkmq_disk_nr_hw_queues (disk));
}

START_TEST (test_drop_of_an_hctx_against_submitters)
{
  static const struct race race = {
    .name = "drop-of-an-hctx-against-submitters",
    .keys = "hw_queue_depth=1 submit_queues=2",
    .actors = { { "drop", drops_and_adds_hctx },
                { "come", comes_and_goes },
                { "submit", submits_more } },
    .turns = true,
    .check = check_submitters,
    .must_see = UPDATED,
  };

  race_run (&race);
}
END_TEST

static void
adds_hctxs (void *opaque)
{
  update (opaque, 3, 2);
}

START_TEST (test_new_hctx_against_freeze)
{
  static const struct race race = {
    .name = "new-hctx-against-freeze",
    .keys = "hw_queue_depth=1",
    .actors = { { "add", adds_hctxs },
                { "freeze", freezes },
                { "submit", submits_three } },
    .turns = true,
    .must_see = UPDATED,
  };

  race_run (&race);
}
END_TEST

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("interleave-live");
  TCase *tcase;

  tcase = harness_case (suite, "freeze");
  tcase_add_test (tcase, test_freeze_against_takers_of_fresh_tags);
  tcase_add_test (tcase, test_freeze_against_timeout);
  tcase_add_test (tcase, test_freeze_against_timeout_on_the_queue);

  tcase = harness_case (suite, "depth");
  tcase_add_test (tcase, test_depth_against_submission);
  tcase_add_test (tcase, test_depth_against_look_up);
  tcase_add_test (tcase, test_depth_against_late_give_back);
  tcase_add_test (tcase, test_depth_against_abort_of_an_io);
  tcase_add_test (tcase, test_depth_against_abort_of_a_submitter);
  tcase_add_test (tcase, test_update_against_update);
  tcase_add_test (tcase, test_update_against_removal);

  tcase = harness_case (suite, "hctxs");
  tcase_add_test (tcase, test_drop_of_an_hctx_against_waiters);
  tcase_add_test (tcase, test_drop_and_return_of_an_hctx_against_waiters);
  tcase_add_test (tcase, test_drop_of_an_hctx_against_abort);
  tcase_add_test (tcase, test_drop_of_an_hctx_against_submitters);
  tcase_add_test (tcase, test_new_hctx_against_freeze);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
