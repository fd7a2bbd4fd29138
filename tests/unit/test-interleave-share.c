/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-interleave-share.c: tags that several disks or hctxs share, in every
 * order that some hundred seeds make (races.h): who is woken by whose release,
 * and what is left when one of the disks goes.
 */

#include <config.h>

#include "races.h"

#define OFFLINE (1u << 0)
#define ENDED_OK (1u << 1)
#define UPDATED (1u << 2)

/* ---- the actors ---- */

static void
submits_to_a (void *opaque)
{
  struct world *w = opaque;

  for (unsigned n = 0; n < 3; n++)
    race_submit (w, n, 0);
}

static void
submits_to_b (void *opaque)
{
  struct world *w = opaque;

  for (unsigned n = 3; n < 6; n++)
    race_submit (w, n, 1);
}

static void
removes_a (void *opaque)
{
  race_remove (opaque, 0);
}

static void
freezes_a (void *opaque)
{
  race_freeze (opaque, 0);
}

static void
updates_b (void *opaque)
{
  struct world *w = opaque;
  struct blkmq_error error;

  require (update_queues (w->disks[1].disk, 0, race_draw (w) ? 1 : 3, &error)
           == 0);
  saw (UPDATED);
}

static unsigned
nr_active (struct world *w)
{
  unsigned nr = 0;

  for (unsigned d = 0; d < w->nr_disks; d++) {
    struct blkmq_disk *disk = w->disks[d].disk;

    for (unsigned i = 0; i < disk_nr_hctxs (disk); i++) {
      bool active = disk_hctx (disk, i)->active;

      require (!active || !w->disks[d].is_removed);
      nr += active;
    }
  }
  return nr;
}

/* Whatever has become of A, B has been served. */
static void
check_b (struct world *w)
{
  for (unsigned n = 0; n < 3; n++) {
    if (!w->ios[n].is_submitted)
      continue;
    require (w->ios[n].status == BLKMQ_STS_OK || w->disks[0].is_removed);
    saw (w->ios[n].status == BLKMQ_STS_OFFLINE ? OFFLINE : ENDED_OK);
  }
  for (unsigned n = 3; n < 6; n++)
    require (!w->ios[n].is_submitted || w->ios[n].status == BLKMQ_STS_OK);
  /* The shares are of those who are there. */
  require (nr_active (w)
           == hctx_tag_pool (disk_hctx (w->disks[0].disk, 0))->nr_active);
}

/* ---- two disks ---- */

START_TEST (test_release_on_one_disk_against_wait_on_the_other)
{
  static const struct race race = {
    .name = "release-on-one-disk-against-wait-on-the-other",
    .keys = "hw_queue_depth=1",
    .nr_disks = 2,
    .actors = { { "a", submits_to_a }, { "b", submits_to_b } },
    .turns = true,
    .never_busy = true,
    .check = check_b,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_release_against_wait_with_schedulers_and_refusals)
{
  static const struct race race = {
    .name = "release-against-wait-with-schedulers-and-refusals",
    .keys = "hw_queue_depth=1 scheduler=mq-deadline",
    .nr_disks = 2,
    .actors = { { "a", submits_to_a }, { "b", submits_to_b } },
    .turns = true,
    .requeues = true,
    .check = check_b,
  };

  race_run (&race);
}
END_TEST

static void
submits_one_to_a (struct world *w)
{
  race_submit (w, 7, 0);
}

START_TEST (test_removal_of_one_disk_against_wake_by_the_other)
{
  static const struct race race = {
    .name = "removal-of-one-disk-against-wake-by-the-other",
    .keys = "hw_queue_depth=1",
    .nr_disks = 2,
    .actors
    = { { "a", submits_to_a }, { "b", submits_to_b }, { "remove", removes_a } },
    .turns = true,
    .never_busy = true,
    .prepare = submits_one_to_a,
    .check = check_b,
    .must_see = OFFLINE | ENDED_OK,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_freeze_of_one_disk_against_the_other)
{
  static const struct race race = {
    .name = "freeze-of-one-disk-against-the-other",
    .keys = "hw_queue_depth=1",
    .nr_disks = 2,
    .actors
    = { { "a", submits_to_a }, { "b", submits_to_b }, { "freeze", freezes_a } },
    .turns = true,
    .check = check_b,
  };

  race_run (&race);
}
END_TEST

/* A is entered after it was removed, while what it had is replaced. */
static void
removes_and_submits_to_a (void *opaque)
{
  race_remove (opaque, 0);
  submits_to_a (opaque);
}

START_TEST (test_update_against_a_removed_disk)
{
  static const struct race race = {
    .name = "update-against-a-removed-disk",
    .keys = "hw_queue_depth=2",
    .nr_disks = 2,
    .actors = { { "a", removes_and_submits_to_a },
                { "update", updates_b },
                { "b", submits_to_b } },
    .turns = true,
    .prepare = submits_one_to_a,
    .check = check_b,
    .must_see = OFFLINE | UPDATED,
  };

  race_run (&race);
}
END_TEST

/* ---- the last reference ---- */

static void
pins_a (struct world *w)
{
  submits_one_to_a (w);
  w->pin = blkmq_request_get (w->disks[0].disk, w->issues[0].token);
  require (w->pin != NULL);
}

static void
puts_last (void *opaque)
{
  struct world *w = opaque;

  explore_yield ("before put");
  blkmq_request_put (w->pin);
}

/* The tag that the reference pins is the only one. */
START_TEST (test_last_put_against_wait_and_removal)
{
  static const struct race race = {
    .name = "last-put-against-wait-and-removal",
    .keys = "hw_queue_depth=1",
    .nr_disks = 2,
    .actors
    = { { "put", puts_last }, { "b", submits_to_b }, { "remove", removes_a } },
    .turns = true,
    .never_busy = true,
    .prepare = pins_a,
    .check = check_b,
  };

  race_run (&race);
}
END_TEST

/* ---- two hctxs ---- */

static void
submits_to_second (void *opaque)
{
  struct world *w = opaque;

  for (unsigned n = 3; n < 6; n++)
    race_submit_op (w, n, 0, w->disks[0].submitters[1], BLKMQ_OP_READ, 0);
}

START_TEST (test_release_on_one_hctx_against_wait_on_the_other)
{
  static const struct race race = {
    .name = "release-on-one-hctx-against-wait-on-the-other",
    .keys = "hw_queue_depth=1 submit_queues=2 shared_tag_bitmap=1",
    .actors = { { "first", submits_to_a }, { "second", submits_to_second } },
    .turns = true,
    .never_busy = true,
    .check = check_b,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_freeze_against_two_hctxs)
{
  static const struct race race = {
    .name = "freeze-against-two-hctxs",
    .keys = "hw_queue_depth=2 submit_queues=2 shared_tag_bitmap=1",
    .actors = { { "first", submits_to_a },
                { "second", submits_to_second },
                { "freeze", freezes_a } },
    .turns = true,
    .check = check_b,
  };

  race_run (&race);
}
END_TEST

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("interleave-share");
  TCase *tcase;

  tcase = harness_case (suite, "disks");
  tcase_add_test (tcase, test_release_on_one_disk_against_wait_on_the_other);
  tcase_add_test (tcase,
                  test_release_against_wait_with_schedulers_and_refusals);
  tcase_add_test (tcase, test_removal_of_one_disk_against_wake_by_the_other);
  tcase_add_test (tcase, test_freeze_of_one_disk_against_the_other);
  tcase_add_test (tcase, test_update_against_a_removed_disk);
  tcase_add_test (tcase, test_last_put_against_wait_and_removal);

  tcase = harness_case (suite, "hctxs");
  tcase_add_test (tcase, test_release_on_one_hctx_against_wait_on_the_other);
  tcase_add_test (tcase, test_freeze_against_two_hctxs);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
