/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-update.c: a live change of the number of hctxs and of their depth: what
 * goes on, what moves, what stays valid, and that an error changes nothing.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "harness.h"

#define MAX_HCTXS 8
#define MAX_DEPTH 64

/* A bed whose driver keeps books for all that an update may ask for. */
static struct bed *
updatable (const char *keys)
{
  struct bed *bed = bed_alloc ();

  bed->script.max_hctxs = MAX_HCTXS;
  bed->script.depth = MAX_DEPTH;
  bed_open (bed, keys);
  return bed;
}

static void
update (struct bed *bed, unsigned nr_hw_queues, unsigned depth)
{
  ck_assert_int_eq (update_queues (bed->disk, nr_hw_queues, depth, &bed->error),
                    0);
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), nr_hw_queues);
  ck_assert_uint_eq (blkmq_disk_queue_depth (bed->disk), depth);
}

static unsigned
nr_retired (struct bed *bed)
{
  struct request_pool *pool = atomic_load (&bed->disk->set->retired);
  unsigned nr = 0;

  for (; pool != NULL; pool = atomic_load (&pool->next_retired))
    nr++;
  return nr;
}

/* ------------------------------------------------------------------------ */
/* What it changes                                                           */

START_TEST (test_depth_changes_both_ways)
{
  static const unsigned depths[] = { 3, 17, 1, 64, 2 };
  struct bed *bed = updatable ("hw_queue_depth=5");
  struct test_io ios[MAX_DEPTH + 1];

  for (size_t i = 0; i < NR (depths); i++) {
    unsigned first = bed->script.nr_issues;

    update (bed, 1, depths[i]);
    ck_assert_uint_eq (bed->script.nr_init_requests, depths[i]);
    ck_assert_uint_eq (nr_retired (bed), 0);
    for (unsigned n = 0; n <= depths[i]; n++)
      test_io_submit (&ios[n], bed, n);
    ck_assert_uint_eq (bed->script.nr_issues - first, depths[i]);
    ck_assert_uint_eq (bed_stats (bed).waiting, 1);
    for (unsigned n = 0; n <= depths[i]; n++) {
      issue_complete (&bed->script, first + n, BLKMQ_STS_OK);
      bed_turn (bed);
    }
    for (unsigned n = 0; n <= depths[i]; n++)
      assert_ended (&ios[n], BLKMQ_STS_OK);
  }
  bed_stop (bed);
}
END_TEST

START_TEST (test_zero_leaves_it_as_it_is)
{
  struct bed *bed = updatable ("hw_queue_depth=5 submit_queues=2");

  ck_assert_int_eq (update_queues (bed->disk, 0, 7, NULL), 0);
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), 2);
  ck_assert_uint_eq (blkmq_disk_queue_depth (bed->disk), 7);
  ck_assert_int_eq (update_queues (bed->disk, 3, 0, NULL), 0);
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), 3);
  ck_assert_uint_eq (blkmq_disk_queue_depth (bed->disk), 7);
  bed_stop (bed);
}
END_TEST

START_TEST (test_driver_knows_the_hctxs_in_use)
{
  struct bed *bed = updatable ("submit_queues=2 hw_queue_depth=2");
  static const unsigned nrs[] = { 5, 1, 8, 3, 4 };

  for (size_t i = 0; i < NR (nrs); i++) {
    update (bed, nrs[i], 2);
    ck_assert_uint_eq (bed->script.nr_init_hctxs, nrs[i]);
    for (unsigned n = 0; n < MAX_HCTXS; n++)
      ck_assert_int_eq (bed->script.hctx_is_init[n], n < nrs[i]);
  }
  bed_stop (bed);
}
END_TEST

START_TEST (test_counters_go_on)
{
  struct bed *bed = updatable ("submit_queues=2 hw_queue_depth=2");
  struct test_io t;

  bed_bear_mistakes (bed);
  bed->script.on_queue = script_completes_inside;
  for (unsigned i = 1; i <= 6; i++) {
    test_io_submit (&t, bed, 0);
    ck_assert_int_eq (blkmq_complete (script_issue (&bed->script, i - 1)->rq,
                                      script_issue (&bed->script, i - 1)->token,
                                      BLKMQ_STS_OK),
                      -ESTALE);
    update (bed, 1 + i % 3, 1 + i);
    ck_assert_uint_eq (bed_stats (bed).ios[BLKMQ_OP_READ], i);
    ck_assert_uint_eq (bed_stats (bed).bytes[BLKMQ_OP_READ], i * BLOCK_BYTES);
    ck_assert_uint_eq (bed_stats (bed).stale_tokens, i);
  }
  bed_stop (bed);
}
END_TEST

START_TEST (test_submitters_spread_again)
{
  struct bed *bed = updatable ("submit_queues=2");
  struct blkmq_submitter *any[8], *third;
  unsigned nr[MAX_HCTXS];

  update (bed, 3, 64);
  third = blkmq_submitter_alloc (bed->disk, 2);
  for (unsigned i = 0; i < NR (any); i++)
    any[i] = blkmq_submitter_alloc (bed->disk, BLKMQ_HCTX_ANY);
  for (unsigned nr_hctxs = 1; nr_hctxs <= 5; nr_hctxs++) {
    update (bed, nr_hctxs, 64);
    memset (nr, 0, sizeof nr);
    for (unsigned i = 0; i < NR (any); i++)
      nr[blkmq_submitter_hctx (any[i])]++;
    nr[blkmq_submitter_hctx (third)]++;
    nr[blkmq_submitter_hctx (bed->submitter)]++;
    for (unsigned i = 0; i < nr_hctxs; i++) {
      ck_assert_uint_ge (nr[i], 10 / nr_hctxs);
      ck_assert_uint_le (nr[i], (10 + nr_hctxs - 1) / nr_hctxs);
      ck_assert_uint_eq (bed_hctx (bed, i)->nr_submitters, nr[i]);
    }
    /* Those that were bound to an hctx are there whenever it is there. */
    ck_assert_uint_eq (blkmq_submitter_hctx (bed->submitter), 0);
    if (nr_hctxs > 2)
      ck_assert_uint_eq (blkmq_submitter_hctx (third), 2);
  }
  for (unsigned i = 0; i < NR (any); i++)
    blkmq_submitter_free (any[i]);
  blkmq_submitter_free (third);
  bed_stop (bed);
}
END_TEST

START_TEST (test_all_disks_of_a_set_change)
{
  static const char keys[] = "hw_queue_depth=4";
  struct blkmq_tag_set *set = bed_set_alloc ("scripted", keys);
  struct bed *a = bed_alloc (), *b = bed_alloc ();
  struct blkmq_submitter *second;
  struct test_io t, ios[4];

  a->set = b->set = set;
  a->script.max_hctxs = b->script.max_hctxs = 2;
  bed_open (a, keys);
  bed_open (b, keys);
  test_io_submit (&t, b, 0);
  issue_complete (&b->script, 0, BLKMQ_STS_OK);
  update (a, 2, 3);
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (b->disk), 2);
  ck_assert_uint_eq (blkmq_disk_queue_depth (b->disk), 3);
  second = blkmq_submitter_alloc (b->disk, 1);
  for (unsigned i = 0; i < NR (ios); i++) {
    test_io_init (&ios[i], b, BLKMQ_OP_READ, i);
    blkmq_submit (second, &ios[i].io);
  }
  ck_assert_uint_eq (b->script.nr_issues, 1 + 3);
  for (unsigned i = 1; i <= NR (ios); i++) {
    issue_complete (&b->script, i, BLKMQ_STS_OK);
    bed_turn (b);
  }
  for (unsigned i = 0; i < NR (ios); i++)
    assert_ended (&ios[i], BLKMQ_STS_OK);
  blkmq_submitter_free (second);
  bed_stop (a);
  bed_stop (b);
  bed_set_free (set);
}
END_TEST

/* Dropped before the start, used after it: with a loop that runs. */
START_TEST (test_hctx_that_was_dropped_before_start_comes_back)
{
  struct bed *bed = bed_alloc ();
  struct blkmq_submitter *last;
  char data[BLOCK_BYTES];

  bed->script.driver = "null";
  ck_assert_int_eq (
      bed_alloc_disk (bed, "submit_queues=3 irqmode=softirq", false), 0);
  update (bed, 1, 64);
  bed_start_disk (bed);
  update (bed, 3, 64);
  last = blkmq_submitter_alloc (bed->disk, 2);
  ck_assert_int_eq (blkmq_read (last, data, sizeof data, 0), 0);
  blkmq_submitter_free (last);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* What goes on                                                              */

/* They wait since the disk is frozen; then their hctx is no more. */
START_TEST (test_waiting_ios_of_a_dropped_hctx_go_on)
{
  struct bed *bed = updatable ("submit_queues=3 hw_queue_depth=2");
  struct blkmq_submitter *submitters[3];
  struct test_io ios[3][4];

  for (unsigned i = 0; i < 3; i++)
    submitters[i] = blkmq_submitter_alloc (bed->disk, i);
  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  for (unsigned i = 0; i < 3; i++) {
    for (unsigned n = 0; n < 4; n++) {
      test_io_init (&ios[i][n], bed, BLKMQ_OP_READ, i * 4 + n);
      blkmq_submit (submitters[i], &ios[i][n].io);
    }
  }
  update (bed, 1, 5);
  ck_assert_uint_eq (bed->script.nr_issues, 0); /* frozen, still */
  ck_assert_uint_eq (bed_stats (bed).waiting, 12);
  ck_assert_uint_eq (atomic_load (&bed_hctx (bed, 0)->nr_waiting), 12);
  /* One that has moved can be aborted. */
  ck_assert_uint_eq (blkmq_abort_io (submitters[2], &ios[2][1].io), 1);
  assert_ended (&ios[2][1], BLKMQ_STS_ABORTED);
  blkmq_unfreeze (bed->disk);
  ck_assert_uint_eq (bed->script.nr_issues, 5);
  for (unsigned n = 0; n < 11; n++) {
    issue_complete (&bed->script, n, BLKMQ_STS_OK);
    bed_turn (bed);
  }
  for (unsigned i = 0; i < 3; i++) {
    for (unsigned n = 0; n < 4; n++) {
      if (i != 2 || n != 1)
        assert_ended (&ios[i][n], BLKMQ_STS_OK);
    }
    blkmq_submitter_free (submitters[i]);
  }
  bed_stop (bed);
}
END_TEST

START_TEST (test_update_leaves_it_frozen_and_quiesced)
{
  struct bed *bed = updatable ("submit_queues=1 hw_queue_depth=2");
  struct blkmq_submitter *second;
  struct test_io t, u;

  ck_assert_int_eq (blkmq_quiesce (bed->disk), 0);
  update (bed, 2, 3);
  second = blkmq_submitter_alloc (bed->disk, 1);
  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  blkmq_submit (second, &t.io);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 0); /* the new hctx is quiet */
  blkmq_unquiesce (bed->disk);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);

  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  update (bed, 4, 4);
  test_io_init (&u, bed, BLKMQ_OP_READ, 0);
  blkmq_submit (second, &u.io);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  blkmq_unfreeze (bed->disk);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&u, BLKMQ_STS_OK);
  blkmq_submitter_free (second);
  bed_stop (bed);
}
END_TEST

static enum blkmq_timeout_result
says_held (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_HELD;
}

/* A driver that is stuck with requests of two hctxs, one of them dropped. */
START_TEST (test_held_requests_live_through_updates)
{
  struct bed *bed = bed_alloc ();
  struct blkmq_submitter *last;
  struct blkmq_request_info info;
  struct blkmq_request *rq;
  struct test_io t[2];
  blkmq_handle held;

  bed->script.max_hctxs = MAX_HCTXS;
  bed->script.depth = MAX_DEPTH;
  bed->script.on_timeout = says_held;
  bed_open (bed, "submit_queues=3 hw_queue_depth=2 io_timeout=1000");
  last = blkmq_submitter_alloc (bed->disk, 2);
  test_io_submit_early (&t[0], bed, 0);
  test_io_init_early (&t[1], bed, BLKMQ_OP_READ, 1);
  blkmq_submit (last, &t[1].io);
  bed_pass (bed, 1000 * MS);
  assert_ended_early (&t[0], BLKMQ_STS_TIMEOUT);
  assert_ended_early (&t[1], BLKMQ_STS_TIMEOUT);

  update (bed, 1, 5);
  ck_assert_uint_eq (nr_retired (bed), 1); /* of the dropped, the pool stays */
  ck_assert (bed->script.hctx_is_init[2]); /* and the driver knows it */
  ck_assert (!bed->script.hctx_is_init[1]);
  update (bed, 2, 7);
  update (bed, 3, 3);
  ck_assert_uint_eq (nr_retired (bed), 2);
  bed_pass (bed, 5000 * MS);
  ck_assert_uint_eq (bed->script.nr_timeouts, 2); /* nor is it asked again */
  ck_assert_uint_eq (blkmq_freeze (bed->disk, &held, 1), 2);
  blkmq_unfreeze (bed->disk);

  for (unsigned i = 0; i < 2; i++) {
    const struct issue *issue = script_issue (&bed->script, i);

    rq = blkmq_request_get (bed->disk, issue->token);
    ck_assert_ptr_eq (rq, issue->rq);
    blkmq_request_info (rq, &info);
    ck_assert (info.held && info.timed_out);
    ck_assert_uint_eq (info.hctx, i * 2);
    blkmq_request_put (rq);
    ck_assert_int_eq (issue_complete (&bed->script, i, BLKMQ_STS_OK), 0);
    ck_assert_uint_eq (t[i].nr_give_backs, 1);
    ck_assert_ptr_null (blkmq_request_get (bed->disk, issue->token));
  }
  update (bed, 1, 4);
  ck_assert_uint_eq (nr_retired (bed), 0);
  ck_assert_uint_eq (bed->script.nr_init_hctxs, 1);
  blkmq_submitter_free (last);
  bed_stop (bed);
}
END_TEST

/* With a scheduler it is the driver tag that is of an old pool. */
START_TEST (test_held_driver_tag_goes_back_to_its_pool)
{
  struct bed *bed = bed_alloc ();
  struct test_io held[2], t[4];

  bed->script.depth = MAX_DEPTH;
  bed->script.on_timeout = says_held;
  bed_open (bed, "hw_queue_depth=2 io_timeout=1000 scheduler=mq-deadline");
  test_io_submit_early (&held[0], bed, 0);
  test_io_submit_early (&held[1], bed, 2);
  bed_pass (bed, 1000 * MS);
  assert_ended_early (&held[1], BLKMQ_STS_TIMEOUT);
  update (bed, 1, 3);
  ck_assert_uint_eq (nr_retired (bed), 2);
  /* Some names are there once more. */
  for (unsigned i = 0; i < MAX_DEPTH; i++)
    bed->script.books[i].held = 0;
  for (unsigned i = 0; i < NR (t); i++)
    test_io_submit (&t[i], bed, 2 * i);
  ck_assert_uint_eq (bed->script.nr_issues, 2 + 3);
  for (unsigned i = 0; i < 2; i++) {
    ck_assert_int_eq (issue_complete (&bed->script, i, BLKMQ_STS_OK), 0);
    bed_turn (bed);
    assert_ended (&held[i], BLKMQ_STS_TIMEOUT);
  }
  ck_assert_uint_eq (bed->script.nr_issues, 2 + 3); /* not a tag more */
  for (unsigned i = 0; i < NR (t); i++) {
    ck_assert_int_eq (issue_complete (&bed->script, 2 + i, BLKMQ_STS_OK), 0);
    bed_turn (bed);
    assert_ended (&t[i], BLKMQ_STS_OK);
  }
  update (bed, 1, 2);
  ck_assert_uint_eq (nr_retired (bed), 0);
  bed_stop (bed);
}
END_TEST

/* What is held of the past does not use up the share of the present. */
START_TEST (test_stuck_disk_has_a_share_of_the_new_pool)
{
  static const char keys[] = "hw_queue_depth=4 io_timeout=1000";
  struct blkmq_tag_set *set = bed_set_alloc ("scripted", keys);
  struct bed *stuck = bed_alloc (), *other = bed_alloc ();
  struct test_io held[4], t, u;

  stuck->set = other->set = set;
  stuck->script.on_timeout = says_held;
  bed_open (stuck, keys);
  bed_open (other, keys);
  for (unsigned i = 0; i < NR (held); i++)
    test_io_submit_early (&held[i], stuck, i);
  ck_assert_uint_eq (stuck->script.nr_issues, 4);
  bed_pass (stuck, 1000 * MS);
  update (other, 1, 2);
  /* Its books are by tag, and the tag is there once more. */
  for (unsigned i = 0; i < NR (held); i++)
    stuck->script.books[i].held = 0;
  test_io_submit (&t, other, 0);
  test_io_submit (&u, stuck, 0);
  ck_assert_uint_eq (stuck->script.nr_issues, 5);
  for (unsigned i = 0; i < 5; i++)
    ck_assert_int_eq (issue_complete (&stuck->script, i, BLKMQ_STS_OK), 0);
  ck_assert_uint_eq (atomic_load (&bed_hctx (stuck, 0)->nr_taken), 0);
  bed_stop (stuck);
  bed_stop (other);
  bed_set_free (set);
}
END_TEST

/* Tags and hctxs are the same numbers, but a name is of one life. */
START_TEST (test_names_of_before_name_nothing_after)
{
  static blkmq_handle names[MAX_ISSUES];
  struct bed *bed = updatable ("submit_queues=2 hw_queue_depth=2");
  unsigned nr = 0;
  struct rng rng;
  struct test_io ios[2];

  rng_init (&rng, 0);
  for (unsigned round = 0; round < 100; round++) {
    struct blkmq_submitter *s
        = blkmq_submitter_alloc (bed->disk, BLKMQ_HCTX_ANY);

    for (unsigned i = 0; i < 2; i++) {
      test_io_init (&ios[i], bed, BLKMQ_OP_READ, i);
      blkmq_submit (i == 0 ? s : bed->submitter, &ios[i].io);
      bed_turn (bed);
    }
    while (nr < bed->script.nr_issues) {
      const struct issue *issue = script_issue (&bed->script, nr);

      for (unsigned n = 0; n < nr; n++)
        ck_assert_uint_ne (names[n], issue->token);
      names[nr++] = issue->token;
      issue_complete (&bed->script, nr - 1, BLKMQ_STS_OK);
      bed_turn (bed);
    }
    for (unsigned i = 0; i < 2; i++)
      assert_ended (&ios[i], BLKMQ_STS_OK);
    blkmq_submitter_free (s);
    update (bed, 1 + (unsigned)rng_below (&rng, MAX_HCTXS),
            1 + (unsigned)rng_below (&rng, 8));
    for (unsigned n = 0; n < nr; n++)
      ck_assert_ptr_null (blkmq_request_get (bed->disk, names[n]));
  }
  ck_assert_uint_eq (nr, 200);
  bed_stop (bed);
}
END_TEST

static void *
updates_to_three_by_three (void *opaque)
{
  struct bed *bed = opaque;

  require (update_queues (bed->disk, 3, 3, NULL) == 0);
  return NULL;
}

static enum blkmq_timeout_result
says_done (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_DONE;
}

/* The update waits for a request that only its timeout can end. */
START_TEST (test_timeout_ends_what_an_update_waits_for)
{
  struct bed *bed = bed_alloc ();
  struct test_io t, waiting;
  pthread_t thread;

  bed->script.max_hctxs = MAX_HCTXS;
  bed->script.depth = MAX_DEPTH;
  bed->script.on_timeout = says_done;
  bed_open (bed, "hw_queue_depth=2 io_timeout=1000");
  test_io_submit (&t, bed, 0);
  thread = thread_start (updates_to_three_by_three, bed);
  await (atomic_load (&bed_hctx (bed, 0)->flags) & HCTX_FROZEN);
  test_io_submit (&waiting, bed, 1);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  ck_assert_uint_eq (blkmq_disk_queue_depth (bed->disk), 2);
  bed_pass (bed, 1000 * MS);
  thread_join (thread);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), 3);
  ck_assert_uint_eq (blkmq_disk_queue_depth (bed->disk), 3);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  /* And the new ones have their timeouts, too. */
  bed_pass (bed, 1000 * MS);
  assert_ended (&waiting, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Errors change nothing                                                     */

static void
check_unchanged (struct bed *bed, int r, int err, const char *message)
{
  unsigned n = bed->script.nr_issues;
  struct test_io t[3];

  ck_assert_int_eq (r, err);
  ck_assert_str_eq (bed->error.message, message);
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), 2);
  ck_assert_uint_eq (blkmq_disk_queue_depth (bed->disk), 2);
  ck_assert_uint_eq (bed->script.nr_init_hctxs, 2);
  ck_assert_uint_eq (nr_retired (bed), 0);
  for (unsigned i = 0; i < 3; i++)
    test_io_submit (&t[i], bed, i);
  ck_assert_uint_eq (bed->script.nr_issues, n + 2);
  for (unsigned i = 0; i < 3; i++) {
    issue_complete (&bed->script, n + i, BLKMQ_STS_OK);
    bed_turn (bed);
    assert_ended (&t[i], BLKMQ_STS_OK);
  }
}

START_TEST (test_init_hctx_that_fails_changes_nothing)
{
  for (unsigned n = 3; n <= 6; n++) {
    struct bed *bed = updatable ("submit_queues=2 hw_queue_depth=2");
    char message[128];
    int r;

    bed->script.fail_init_hctx = n;
    r = update_queues (bed->disk, 6, 9, &bed->error);
    snprintf (message, sizeof message,
              "submit_queues=6 poll_queues=0: setting up hctx %u: Too many "
              "open files",
              n - 1);
    check_unchanged (bed, r, -EMFILE, message);
    bed->script.fail_init_hctx = 0;
    update (bed, 6, 9);
    ck_assert_uint_eq (bed->script.nr_init_hctxs, 6);
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_init_request_that_fails_changes_nothing)
{
  /* There are four; up to twelve more. */
  for (unsigned n = 5; n <= 16; n++) {
    struct bed *bed = updatable ("submit_queues=2 hw_queue_depth=2");
    int r;

    bed->script.fail_init_request = n;
    r = update_queues (bed->disk, 3, 4, &bed->error);
    check_unchanged (
        bed, r, -EDOM,
        "submit_queues=3 poll_queues=0 hw_queue_depth=4: Numerical argument "
        "out of domain");
    bed->script.fail_init_request = 0;
    update (bed, 3, 4);
    ck_assert_uint_eq (bed->script.nr_init_requests, 12);
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_out_of_bounds_is_refused)
{
  static const struct {
    unsigned nr, depth;
    const char *message;
  } cases[] = {
    { 1025, 0, "submit_queues=1025: must be a whole number from 1 to 1024" },
    { 0, 10241,
      "hw_queue_depth=10241: must be a whole number from 1 to 10240" },
  };
  struct bed *bed = updatable ("submit_queues=2 hw_queue_depth=2");

  for (size_t i = 0; i < NR (cases); i++)
    check_unchanged (
        bed,
        update_queues (bed->disk, cases[i].nr, cases[i].depth, &bed->error),
        -EINVAL, cases[i].message);
  bed_stop (bed);

  bed = bed_alloc ();
  bed->script.driver = "scripted-reserved";
  bed_open (bed, "hw_queue_depth=3");
  ck_assert_int_eq (update_queues (bed->disk, 0, 2, &bed->error), -EINVAL);
  ck_assert_str_eq (bed->error.message,
                    "hw_queue_depth=2: must be a whole number from 3 to 10240");
  bed_stop (bed);
}
END_TEST

static void
updates_from_end_io (struct test_io *t)
{
  require (update_queues (t->bed->disk, 1, 3, NULL) == -EDEADLK);
}

START_TEST (test_unknown_scheduler_is_refused_with_the_known)
{
  struct bed *bed = updatable ("");

  ck_assert_int_eq (
      blkmq_disk_set_scheduler (bed->disk, "elevator", &bed->error), -EINVAL);
  ck_assert_str_eq (bed->error.message,
                    "scheduler=elevator: must be one of none, mq-deadline");
  ck_assert_int_eq (blkmq_disk_set_scheduler (bed->disk, "elevator", NULL),
                    -EINVAL);
  ck_assert_str_eq (blkmq_disk_scheduler (bed->disk), "none");
  bed_stop (bed);
}
END_TEST

START_TEST (test_update_is_refused_in_callbacks_and_after_removal)
{
  struct bed *bed = updatable ("submit_queues=2 hw_queue_depth=2");
  struct test_io t;

  bed->script.on_queue = script_completes_inside;
  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  t.on_end = updates_from_end_io;
  blkmq_submit (bed->submitter, &t.io);
  assert_ended (&t, BLKMQ_STS_OK);
  blkmq_disk_remove (bed->disk);
  ck_assert_int_eq (update_queues (bed->disk, 1, 3, &bed->error), -ENODEV);
  ck_assert_str_eq (bed->error.message, "the disk was removed");
  ck_assert_uint_eq (blkmq_disk_queue_depth (bed->disk), 2);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Under load                                                                */

#define LOAD_THREADS 4
#define NR_UPDATES (SANITIZED ? 60 : 250)
#define BLOCKS_EACH 128

struct writer {
  struct bed *bed;
  unsigned index;
  _Atomic bool *stop;
  uint64_t nr_ios;
};

/* Writes and reads back blocks of its own; the submitter comes and goes. */
static void *
writes_and_verifies (void *opaque)
{
  struct writer *writer = opaque;
  struct blkmq_disk *disk = writer->bed->disk;
  struct blkmq_submitter *s = blkmq_submitter_alloc (disk, BLKMQ_HCTX_ANY);
  uint64_t written[BLOCKS_EACH] = { 0 };
  struct rng rng;

  rng_init (&rng, 100 + writer->index);
  while (!*writer->stop || writer->nr_ios < 100) {
    unsigned block = (unsigned)rng_below (&rng, BLOCKS_EACH);
    uint64_t at = (block * LOAD_THREADS + writer->index) * BLOCK_BYTES;
    uint64_t data[BLOCK_BYTES / 8];

    require (blkmq_read (s, data, sizeof data, at) == 0);
    for (size_t i = 0; i < NR (data); i++)
      require (data[i] == written[block]);
    written[block] = rng_next (&rng);
    for (size_t i = 0; i < NR (data); i++)
      data[i] = written[block];
    require (blkmq_write (s, data, sizeof data, at, 0) == 0);
    writer->nr_ios++;
    if (rng_percent (&rng, 2)) {
      blkmq_submitter_free (s);
      s = blkmq_submitter_alloc (disk, BLKMQ_HCTX_ANY);
      require (s != NULL);
    }
  }
  blkmq_submitter_free (s);
  return NULL;
}

/* Looks at everything from outside, all the time. */
static int
looks_closely (struct blkmq_request *rq, void *opaque)
{
  struct blkmq_request_info info;

  blkmq_request_info (rq, &info);
  require (info.hctx < MAX_HCTXS && info.tag < MAX_DEPTH);
  return 0;
}

static void *
looks (void *opaque)
{
  struct writer *writer = opaque;
  struct blkmq_stats stats;
  uint64_t handle = 1;

  while (!*writer->stop) {
    blkmq_for_each_request (writer->bed->disk, looks_closely, NULL);
    blkmq_disk_stats (writer->bed->disk, BLKMQ_HCTX_ANY, &stats);
    struct blkmq_request *rq = blkmq_request_get (writer->bed->disk, handle);

    if (rq != NULL)
      blkmq_request_put (rq);
    handle += (UINT64_C (1) << 24) + (UINT64_C (1) << 14);
    await_pause ();
  }
  return NULL;
}

/* What aborts do to the ios of one submitter must not reach the others. */
static void *
submits_and_aborts (void *opaque)
{
  struct writer *writer = opaque;
  struct bed *bed = writer->bed;
  struct blkmq_submitter *s = blkmq_submitter_alloc (bed->disk, BLKMQ_HCTX_ANY);
  struct test_io *ios = calloc (32, sizeof ios[0]);
  struct rng rng;

  require (ios != NULL);
  rng_init (&rng, 200 + writer->index);
  while (!*writer->stop) {
    for (unsigned i = 0; i < 32; i++) {
      test_io_init (&ios[i], bed, BLKMQ_OP_READ, i);
      blkmq_submit (s, &ios[i].io);
    }
    if (rng_percent (&rng, 50))
      blkmq_abort_submitter (s);
    for (unsigned i = 0; i < 32; i++) {
      await (ios[i].nr_ends == 1);
      require (ios[i].status == BLKMQ_STS_OK
               || ios[i].status == BLKMQ_STS_ABORTED);
    }
  }
  blkmq_submitter_free (s);
  free (ios);
  return NULL;
}

static void
update_under_load (const char *keys)
{
  static void *(*const jobs[]) (void *) = { looks, submits_and_aborts };
  struct bed *bed = bed_alloc ();
  struct writer writers[LOAD_THREADS + 2];
  pthread_t threads[LOAD_THREADS + 2];
  _Atomic bool stop = false;
  struct rng rng;

  bed->script.driver = "memory";
  bed_open_threads (bed, keys);
  for (unsigned i = 0; i < NR (threads); i++) {
    writers[i] = (struct writer){ bed, i, &stop, 0 };
    threads[i] = thread_start (i < LOAD_THREADS ? writes_and_verifies
                                                : jobs[i - LOAD_THREADS],
                               &writers[i]);
  }
  rng_init (&rng, 0);
  for (unsigned i = 0; i < NR_UPDATES; i++) {
    unsigned nr = 1 + (unsigned)rng_below (&rng, 4);
    unsigned depth = 1 + (unsigned)rng_below (&rng, 8);

    update (bed, nr, depth);
    if (rng_percent (&rng, 10)) {
      ck_assert_int_ge (blkmq_freeze (bed->disk, NULL, 0), 0);
      update (bed, depth, nr);
      blkmq_unfreeze (bed->disk);
    }
    if (rng_percent (&rng, 10))
      ck_assert_int_eq (
          blkmq_disk_set_scheduler (
              bed->disk, rng_percent (&rng, 50) ? "mq-deadline" : "none", NULL),
          0);
  }
  stop = true;
  for (unsigned i = 0; i < NR (threads); i++)
    thread_join (threads[i]);
  update (bed, 1, 1);
  ck_assert_uint_eq (nr_retired (bed), 0);
  bed_stop (bed);
}

START_TEST (test_data_is_right_under_load)
{
  update_under_load ("submit_queues=2 hw_queue_depth=2");
  update_under_load ("hw_queue_depth=2 irqmode=softirq");
  update_under_load ("submit_queues=2 hw_queue_depth=3 irqmode=timer "
                     "completion_nsec=10us");
  update_under_load ("submit_queues=3 hw_queue_depth=4 shared_tag_bitmap=1");
  update_under_load ("submit_queues=2 hw_queue_depth=2 scheduler=mq-deadline");
}
END_TEST

/* ---- against removal, on one set ---- */

struct changer {
  struct bed *bed;
  _Atomic bool stop;
  _Atomic unsigned nr_updates;
};

static void *
changes_all_the_time (void *opaque)
{
  struct changer *changer = opaque;
  struct rng rng;

  rng_init (&rng, 300);
  while (!changer->stop) {
    require (update_queues (changer->bed->disk,
                            1 + (unsigned)rng_below (&rng, 3),
                            1 + (unsigned)rng_below (&rng, 5), NULL)
             == 0);
    changer->nr_updates++;
  }
  return NULL;
}

/* The queues of a set change while another disk of it is removed under load: a
 * new disk may find them changed, and asks again. */
START_TEST (test_update_races_with_removal)
{
  static const char keys[] = "hw_queue_depth=2 irqmode=softirq";
  struct blkmq_tag_set *set = bed_set_alloc ("null", keys);
  struct changer changer = { bed_alloc (), false, 0 };
  struct test_io ios[16];
  pthread_t thread;

  changer.bed->script.driver = "null";
  changer.bed->set = set;
  bed_open_threads (changer.bed, keys);
  thread = thread_start (changes_all_the_time, &changer);
  await (changer.nr_updates > 0);
  for (unsigned n = 0; n < (SANITIZED ? 15 : 60); n++) {
    struct bed *bed = bed_alloc ();
    char now[128];

    bed->script.driver = "null";
    bed->set = set;
    do {
      snprintf (now, sizeof now,
                "submit_queues=%u hw_queue_depth=%u irqmode=softirq",
                blkmq_disk_nr_hw_queues (changer.bed->disk),
                blkmq_disk_queue_depth (changer.bed->disk));
    } while (bed_alloc_disk (bed, now, false) == -EINVAL);
    bed_start_disk (bed);
    for (unsigned i = 0; i < NR (ios); i++)
      test_io_submit (&ios[i], bed, i);
    if (n % 2 == 0)
      blkmq_disk_remove (bed->disk);
    for (unsigned i = 0; i < NR (ios); i++) {
      await (ios[i].nr_ends == 1);
      require (ios[i].status == BLKMQ_STS_OK
               || (n % 2 == 0 && ios[i].status == BLKMQ_STS_OFFLINE));
    }
    bed_stop (bed);
  }
  changer.stop = true;
  thread_join (thread);
  bed_stop (changer.bed);
  bed_set_free (set);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("update");
  TCase *tcase = harness_case (suite, "changes");

  tcase_add_test (tcase, test_depth_changes_both_ways);
  tcase_add_test (tcase, test_zero_leaves_it_as_it_is);
  tcase_add_test (tcase, test_driver_knows_the_hctxs_in_use);
  tcase_add_test (tcase, test_counters_go_on);
  tcase_add_test (tcase, test_submitters_spread_again);
  tcase_add_test (tcase, test_all_disks_of_a_set_change);
  tcase_add_test (tcase, test_hctx_that_was_dropped_before_start_comes_back);

  tcase = harness_case (suite, "goes on");
  tcase_add_test (tcase, test_waiting_ios_of_a_dropped_hctx_go_on);
  tcase_add_test (tcase, test_update_leaves_it_frozen_and_quiesced);
  tcase_add_test (tcase, test_held_requests_live_through_updates);
  tcase_add_test (tcase, test_held_driver_tag_goes_back_to_its_pool);
  tcase_add_test (tcase, test_stuck_disk_has_a_share_of_the_new_pool);
  tcase_add_test (tcase, test_names_of_before_name_nothing_after);
  tcase_add_test (tcase, test_timeout_ends_what_an_update_waits_for);

  tcase = harness_case (suite, "errors");
  tcase_add_test (tcase, test_init_hctx_that_fails_changes_nothing);
  tcase_add_test (tcase, test_init_request_that_fails_changes_nothing);
  tcase_add_test (tcase, test_out_of_bounds_is_refused);
  tcase_add_test (tcase, test_unknown_scheduler_is_refused_with_the_known);
  tcase_add_test (tcase, test_update_is_refused_in_callbacks_and_after_removal);

  tcase = harness_case (suite, "load");
  tcase_add_test (tcase, test_data_is_right_under_load);
  tcase_add_test (tcase, test_update_races_with_removal);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
