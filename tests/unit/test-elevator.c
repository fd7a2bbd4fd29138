/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-elevator.c: schedulers at work: internal tags and driver tags, the order
 * in which requests reach the driver, merges on the way there, and what ends,
 * stops and changes all that.
 *
 * The rules of mq-deadline themselves are test-sched.c's, and who may merge
 * with whom is test-merge.c's.  That a driver tag is below the depth and in
 * nobody else's hands is checked by the harness, at every issue of every test.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "harness.h"

#define MAX_HCTXS 4
#define MAX_TAGS 1024
#define NR_THREADS 3

/* ------------------------------------------------------------------------ */
/* Beds with schedulers                                                      */

static struct bed *
elevated_alloc (void)
{
  struct bed *bed = bed_alloc ();

  bed->script.max_hctxs = MAX_HCTXS;
  bed->script.depth = MAX_TAGS;
  return bed;
}

static const char *
with_scheduler (const char *keys)
{
  static _Thread_local char all[256];

  require (snprintf (all, sizeof all, "scheduler=mq-deadline %s", keys)
           < (int)sizeof all);
  return all;
}

static struct bed *
elevated (const char *keys)
{
  struct bed *bed = elevated_alloc ();

  bed_open (bed, with_scheduler (keys));
  return bed;
}

static void
submit (struct test_io *t, struct bed *bed, enum blkmq_op op, uint64_t block,
        enum blkmq_prio prio)
{
  test_io_init (t, bed, op, block);
  t->io.prio = (uint8_t)prio;
  blkmq_submit (bed->submitter, &t->io);
}

static void
set_scheduler (struct bed *bed, const char *name)
{
  ck_assert_int_eq (blkmq_disk_set_scheduler (bed->disk, name, &bed->error), 0);
  ck_assert_str_eq (blkmq_disk_scheduler (bed->disk), name);
}

/* The block of the Nth issue. */
static uint64_t
issued_block (struct bed *bed, unsigned n)
{
  return script_issue (&bed->script, n)->offset_bytes / BLOCK_BYTES;
}

static void
complete (struct bed *bed, unsigned n)
{
  ck_assert_int_eq (issue_complete (&bed->script, n, BLKMQ_STS_OK), 0);
  bed_turn (bed);
}

/* Complete one after the other from the issue FROM on, until none is left. */
static void
complete_from (struct bed *bed, unsigned from)
{
  for (unsigned n = from; n < bed->script.nr_issues; n++)
    complete (bed, n);
}

/* The same, having got as far as *DONE. */
static void
complete_from_on (struct bed *bed, unsigned *done)
{
  while (*done < bed->script.nr_issues)
    complete (bed, (*done)++);
}

static unsigned
nr_in_flight (struct bed *bed, enum blkmq_op op)
{
  return (unsigned)bed_stats (bed).in_flight[op];
}

/* No hctx waits for a driver tag, nor does the set think so. */
static void
check_nobody_waits (struct bed *bed)
{
  for (unsigned i = 0; i < disk_nr_hctxs (bed->disk); i++)
    ck_assert_uint_eq (bed_hctx (bed, i)->nr_waiting, 0);
}

/* ------------------------------------------------------------------------ */
/* Tags                                                                      */

START_TEST (test_internal_tags_are_twice_the_depth_or_as_told)
{
  static const struct {
    const char *keys;
    unsigned nr_requests;
  } cases[] = {
    { "hw_queue_depth=4", 8 },
    { "hw_queue_depth=4 nr_requests=8", 8 },
    { "hw_queue_depth=4 nr_requests=13", 13 },
  };
  struct test_io ios[16];

  for (size_t i = 0; i < NR (cases); i++) {
    struct bed *bed = elevated (cases[i].keys);

    for (unsigned n = 0; n < NR (ios); n++)
      test_io_submit (&ios[n], bed, 10 * n);
    ck_assert_uint_eq (bed->script.nr_issues, 4);
    ck_assert_uint_eq (nr_in_flight (bed, BLKMQ_OP_READ), cases[i].nr_requests);
    ck_assert_uint_eq (bed_stats (bed).waiting,
                       NR (ios) - cases[i].nr_requests);
    complete_from (bed, 0);
    for (unsigned n = 0; n < NR (ios); n++)
      assert_ended (&ios[n], BLKMQ_STS_OK);
    bed_check_idle (bed);
    check_nobody_waits (bed);
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_names_have_internal_tags_and_drivers_have_their_own)
{
  struct bed *bed = elevated ("hw_queue_depth=2");
  struct test_io ios[4];
  bool seen[2] = { false };

  for (unsigned n = 0; n < NR (ios); n++)
    test_io_submit (&ios[n], bed, 10 * n);
  complete_from (bed, 0);
  ck_assert_uint_eq (bed->script.nr_issues, NR (ios));
  for (unsigned n = 0; n < NR (ios); n++) {
    const struct issue *issue = script_issue (&bed->script, n);

    ck_assert_uint_ge (blkmq_token_tag (issue->token), 2);
    ck_assert_uint_lt (blkmq_token_tag (issue->token), 2 + 4);
    ck_assert_uint_lt (issue->tag, 2);
    seen[issue->tag] = true;
  }
  ck_assert (seen[0] && seen[1]);
  bed_stop (bed);
}
END_TEST

START_TEST (test_one_driver_tag_serves_1024_ios)
{
  struct bed *bed = elevated ("hw_queue_depth=1 nomerges=1");
  struct test_io *ios = calloc (1024, sizeof *ios);

  ck_assert_ptr_nonnull (ios);
  for (unsigned n = 0; n < 1024; n++)
    test_io_submit (&ios[n], bed, n * 7 % 2048);
  for (unsigned n = 0; n < 1024; n++) {
    ck_assert_uint_eq (bed->script.nr_issues, n + 1);
    complete (bed, n);
  }
  for (unsigned n = 0; n < 1024; n++)
    assert_ended (&ios[n], BLKMQ_STS_OK);
  check_nobody_waits (bed);
  free (ios);
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
busy_once (struct script *script, const struct issue *issue)
{
  unsigned *nr = script->opaque;

  if (*nr == 0)
    return BLKMQ_QUEUED;
  --*nr;
  return BLKMQ_BUSY_HOST;
}

START_TEST (test_refused_request_gives_the_driver_tag_back)
{
  struct bed *bed = elevated ("hw_queue_depth=1");
  struct request_pool *tags = hctx_tag_pool (bed_hctx (bed, 0));
  struct test_io ios[3];
  unsigned nr_busy = 1;

  bed->script.on_queue = busy_once;
  bed->script.opaque = &nr_busy;
  for (unsigned n = 0; n < NR (ios); n++)
    test_io_submit (&ios[n], bed, 10 * n);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  ck_assert_uint_eq (pool_nr_taken (tags), 0);
  bed_pass (bed, 3 * MS);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (issued_block (bed, 1), 0); /* before the scheduler's */
  ck_assert_uint_eq (pool_nr_taken (tags), 1);
  complete_from (bed, 1);
  for (unsigned n = 0; n < NR (ios); n++)
    assert_ended (&ios[n], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_requeued_request_gives_the_driver_tag_back)
{
  struct bed *bed = elevated ("hw_queue_depth=1");
  struct test_io ios[3];
  const struct issue *issue;

  for (unsigned n = 0; n < NR (ios); n++)
    test_io_submit (&ios[n], bed, 10 * n);
  issue = script_issue (&bed->script, 0);
  ck_assert_int_eq (
      script_requeue_aside (&bed->script, issue->rq, issue->token), 0);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2); /* with its tag */
  ck_assert_uint_eq (issued_block (bed, 1), 10);
  blkmq_kick_requeues (bed_hctx (bed, 0));
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  complete (bed, 1);
  ck_assert_uint_eq (issued_block (bed, 2), 0); /* before the scheduler's */
  complete (bed, 2);
  complete (bed, 3);
  for (unsigned n = 0; n < NR (ios); n++)
    assert_ended (&ios[n], BLKMQ_STS_OK);
  check_nobody_waits (bed);
  bed_stop (bed);
}
END_TEST

START_TEST (test_reserved_passes_the_scheduler_by)
{
  struct bed *bed = elevated_alloc ();
  struct test_io ios[6], reserved;

  bed->script.driver = "scripted-reserved";
  bed_open (bed, with_scheduler ("hw_queue_depth=3"));
  for (unsigned n = 0; n < NR (ios); n++)
    test_io_submit (&ios[n], bed, 10 * n);
  ck_assert_uint_eq (bed->script.nr_issues, 1); /* 2 of 3 are reserved */
  test_io_init (&reserved, bed, BLKMQ_OP_READ, 5);
  reserved.io.flags |= BLKMQ_IO_RESERVED;
  blkmq_submit (bed->submitter, &reserved.io);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (issued_block (bed, 1), 5);
  ck_assert_uint_lt (script_issue (&bed->script, 1)->tag, 2);
  complete (bed, 1);
  assert_ended (&reserved, BLKMQ_STS_OK);
  complete (bed, 0);
  complete_from (bed, 2);
  bed_stop (bed);
}
END_TEST

START_TEST (test_reserved_passes_a_requeued_one_that_waits_for_a_tag)
{
  struct bed *bed = elevated_alloc ();
  struct test_io ios[2], reserved;
  const struct issue *issue;

  bed->script.driver = "scripted-reserved";
  bed_open (bed, with_scheduler ("hw_queue_depth=3"));
  test_io_submit (&ios[0], bed, 10);
  test_io_submit (&ios[1], bed, 20);
  issue = script_issue (&bed->script, 0);
  ck_assert_int_eq (
      script_requeue_aside (&bed->script, issue->rq, issue->token), 0);
  bed_turn (bed); /* the other has the only ordinary tag */
  ck_assert_uint_eq (issued_block (bed, 1), 20);
  blkmq_kick_requeues (bed_hctx (bed, 0));
  bed_turn (bed);
  test_io_init (&reserved, bed, BLKMQ_OP_READ, 5);
  reserved.io.flags |= BLKMQ_IO_RESERVED;
  blkmq_submit (bed->submitter, &reserved.io);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  ck_assert_uint_eq (issued_block (bed, 2), 5);
  complete (bed, 2);
  assert_ended (&reserved, BLKMQ_STS_OK);
  assert_not_ended (&ios[0]);
  complete (bed, 1);
  complete (bed, 3);
  assert_ended (&ios[0], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Order                                                                     */

START_TEST (test_requests_reach_the_driver_sorted)
{
  static const uint64_t blocks[] = { 500, 100, 300, 200, 400 };
  struct bed *bed = elevated ("hw_queue_depth=1 nr_requests=8");
  struct test_io first, ios[NR (blocks)];

  test_io_submit (&first, bed, 0);
  for (unsigned n = 0; n < NR (blocks); n++)
    test_io_submit (&ios[n], bed, blocks[n]);
  for (unsigned n = 0; n <= NR (blocks); n++) {
    ck_assert_uint_eq (bed->script.nr_issues, n + 1);
    ck_assert_uint_eq (issued_block (bed, n), 100 * n);
    complete (bed, n);
  }
  bed_stop (bed);
}
END_TEST

/* Which of two reads comes first after DELAY_NS: the young one that is next in
 * order, or the old one that is behind? */
static uint64_t
first_after (uint64_t delay_ns)
{
  struct bed *bed = elevated ("hw_queue_depth=1 nr_requests=8 fifo_batch=1"
                              " read_expire=100");
  struct test_io first, old, young;
  uint64_t block;

  test_io_submit (&first, bed, 100);
  test_io_submit (&old, bed, 50);
  bed_pass (bed, delay_ns);
  test_io_submit (&young, bed, 110);
  complete (bed, 0);
  block = issued_block (bed, 1);
  complete_from (bed, 1);
  assert_ended (&old, BLKMQ_STS_OK);
  assert_ended (&young, BLKMQ_STS_OK);
  bed_stop (bed);
  return block;
}

START_TEST (test_expired_request_is_next)
{
  ck_assert_uint_eq (first_after (99 * MS), 110);
  ck_assert_uint_eq (first_after (100 * MS), 50);
}
END_TEST

START_TEST (test_lower_class_waits_though_there_are_tags)
{
  struct bed *bed = elevated ("hw_queue_depth=4");
  struct test_io rt, be, idle;

  submit (&rt, bed, BLKMQ_OP_READ, 1, BLKMQ_PRIO_RT);
  submit (&idle, bed, BLKMQ_OP_READ, 10, BLKMQ_PRIO_IDLE);
  submit (&be, bed, BLKMQ_OP_READ, 20, BLKMQ_PRIO_BE);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  complete (bed, 0);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (issued_block (bed, 1), 20);
  complete (bed, 1);
  ck_assert_uint_eq (issued_block (bed, 2), 10);
  complete (bed, 2);
  assert_ended (&idle, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* Whoever looks and finds that what there is has to wait does not look again
 * and again until it is so no more. */
START_TEST (test_lower_class_waits_quietly)
{
  struct bed *bed = elevated ("hw_queue_depth=2 nomerges=1");
  struct test_io rt, idle[8];

  submit (&rt, bed, BLKMQ_OP_READ, 1, BLKMQ_PRIO_RT);
  for (unsigned n = 0; n < NR (idle); n++)
    submit (&idle[n], bed, BLKMQ_OP_READ, 10 * n, BLKMQ_PRIO_IDLE);
  ck_assert_uint_gt (bed_stats (bed).waiting, 0); /* for an internal tag */
  bed_turn (bed); /* returns when there is nothing to do */
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  complete_from (bed, 0);
  for (unsigned n = 0; n < NR (idle); n++)
    assert_ended (&idle[n], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_lower_class_goes_when_the_higher_is_aborted)
{
  struct bed *bed = elevated ("hw_queue_depth=1");
  struct test_io rt[2], idle;

  submit (&rt[0], bed, BLKMQ_OP_READ, 1, BLKMQ_PRIO_RT);
  submit (&rt[1], bed, BLKMQ_OP_READ, 10, BLKMQ_PRIO_RT);
  bed_turn (bed);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &rt[1].io), 1);
  submit (&idle, bed, BLKMQ_OP_READ, 20, BLKMQ_PRIO_IDLE);
  complete (bed, 0);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (issued_block (bed, 1), 20);
  complete (bed, 1);
  bed_stop (bed);
}
END_TEST

/* Though nothing ends and nothing comes that would look for work. */
START_TEST (test_aged_request_of_a_lower_class_goes_in_time)
{
  struct bed *bed = elevated ("hw_queue_depth=4 prio_aging_expire=1000");
  struct test_io rt, idle;

  submit (&rt, bed, BLKMQ_OP_READ, 1, BLKMQ_PRIO_RT);
  submit (&idle, bed, BLKMQ_OP_READ, 10, BLKMQ_PRIO_IDLE);
  bed_pass (bed, 999 * MS);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_pass (bed, 20 * MS);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (issued_block (bed, 1), 10);
  complete_from (bed, 0);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Merges                                                                    */

START_TEST (test_waiting_neighbours_are_one_request)
{
  struct bed *bed = elevated ("hw_queue_depth=1");
  struct test_io first, ios[8];

  test_io_submit (&first, bed, 0);
  for (unsigned n = 0; n < NR (ios); n++) /* from the middle to both ends */
    test_io_submit (&ios[n], bed, n % 2 ? 104 + n / 2 : 103 - n / 2);
  complete (bed, 0);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (issued_block (bed, 1), 100);
  ck_assert_uint_eq (script_issue (&bed->script, 1)->bytes, 8 * BLOCK_BYTES);
  ck_assert_uint_eq (bed_stats (bed).merges, 7);
  for (unsigned n = 0; n < NR (ios); n++)
    assert_not_ended (&ios[n]);
  complete (bed, 1);
  for (unsigned n = 0; n < NR (ios); n++)
    assert_ended (&ios[n], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_merged_io_needs_no_tag)
{
  struct bed *bed = elevated ("hw_queue_depth=1");
  struct test_io ios[3], joins;

  for (unsigned n = 0; n < NR (ios);
       n++) /* one in flight, one queued, one not */
    test_io_submit (&ios[n], bed, 10 * n);
  ck_assert_uint_eq (bed_stats (bed).waiting, 1);
  test_io_submit (&joins, bed, 11);
  ck_assert_uint_eq (bed_stats (bed).waiting, 1);
  complete (bed, 0);
  complete (bed, 1);
  assert_ended (&joins, BLKMQ_STS_OK);
  assert_not_ended (&ios[2]);
  complete (bed, 2);
  bed_stop (bed);
}
END_TEST

START_TEST (test_nomerges_merges_nothing)
{
  struct bed *bed = elevated ("hw_queue_depth=1 nomerges=1");
  struct test_io ios[3];

  for (unsigned n = 0; n < NR (ios); n++)
    test_io_submit (&ios[n], bed, n);
  complete_from (bed, 0);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  ck_assert_uint_eq (bed_stats (bed).merges, 0);
  bed_stop (bed);
}
END_TEST

/* Random writes and reads that overlap only when nothing is under way, so that
 * a shadow knows what each must find. */
START_TEST (test_data_of_merged_ios_is_what_the_shadow_holds)
{
  enum { BLOCKS = 64 };
  struct bed *bed = bed_alloc ();
  struct test_io *ios = calloc (BLOCKS, sizeof *ios);
  char shadow[BLOCKS] = { 0 };
  struct rng rng;

  ck_assert_ptr_nonnull (ios);
  rng_init (&rng, 1);
  bed->script.driver = "memory";
  bed_open (bed, with_scheduler ("hw_queue_depth=4 nr_requests=100"));
  for (unsigned round = 0; round < 50; round++) {
    unsigned step = 1 + 2 * (unsigned)rng_below (&rng, BLOCKS / 2);

    /* Each block once, in a scrambled order. */
    ck_assert_int_eq (blkmq_quiesce (bed->disk), 0);
    for (unsigned n = 0; n < BLOCKS; n++) {
      unsigned block = (n * step + round) % BLOCKS;
      bool write = rng_percent (&rng, 50);

      test_io_init (&ios[block], bed, write ? BLKMQ_OP_WRITE : BLKMQ_OP_READ,
                    block);
      memset (ios[block].data, (int)rng_below (&rng, 256), BLOCK_BYTES);
      if (write)
        shadow[block] = ios[block].data[0];
      blkmq_submit (bed->submitter, &ios[block].io);
    }
    blkmq_unquiesce (bed->disk);
    bed_turn (bed);
    for (unsigned n = 0; n < BLOCKS; n++) {
      assert_ended (&ios[n], BLKMQ_STS_OK);
      for (unsigned i = 0; i < BLOCK_BYTES; i++)
        require (ios[n].data[i] == shadow[n]);
    }
  }
  ck_assert_uint_gt (bed_stats (bed).merges, 50);
  free (ios);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Ends                                                                      */

START_TEST (test_abort_of_a_waiting_one_ends_it_at_once)
{
  struct bed *bed = elevated ("hw_queue_depth=1");
  struct test_io ios[2];

  test_io_submit (&ios[0], bed, 10);
  test_io_submit (&ios[1], bed, 20);
  ck_assert_uint_eq (bed_hctx (bed, 0)->nr_waiting, 1); /* for a tag */
  ck_assert_int_eq (blkmq_quiesce (bed->disk), 0); /* nobody looks for work */
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &ios[1].io), 1);
  assert_ended (&ios[1], BLKMQ_STS_ABORTED);
  check_nobody_waits (bed);
  blkmq_unquiesce (bed->disk);
  complete (bed, 0);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_check_idle (bed);
  bed_stop (bed);
}
END_TEST

START_TEST (test_abort_of_merged_ones_ends_them_with_the_last)
{
  struct bed *bed = elevated ("hw_queue_depth=1");
  struct test_io ios[3];

  test_io_submit (&ios[0], bed, 10);
  test_io_submit (&ios[1], bed, 20);
  test_io_submit (&ios[2], bed, 21);
  blkmq_abort_io (bed->submitter, &ios[1].io);
  assert_not_ended (&ios[1]);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &ios[2].io), 1);
  assert_ended (&ios[1], BLKMQ_STS_ABORTED);
  assert_ended (&ios[2], BLKMQ_STS_ABORTED);
  complete (bed, 0);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_stop (bed);
}
END_TEST

START_TEST (test_aborted_one_keeps_its_driver_tag_until_it_is_given_back)
{
  struct bed *bed = elevated ("hw_queue_depth=1");
  struct test_io ios[2];

  test_io_submit_early (&ios[0], bed, 10);
  test_io_submit (&ios[1], bed, 20);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &ios[0].io), 1);
  bed_turn (bed);
  assert_ended_early (&ios[0], BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  complete (bed, 0);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  complete (bed, 1);
  assert_ended (&ios[1], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_abort_of_a_submitter_ends_what_waits_and_merged)
{
  struct bed *bed = elevated ("hw_queue_depth=1");
  struct test_io ios[5];

  for (unsigned n = 0; n < NR (ios); n++) /* 0; 10; 20 21 waits for a tag */
    test_io_submit (&ios[n], bed, 10 * (n / 2) + n % 2);
  ck_assert_uint_gt (blkmq_abort_submitter (bed->submitter), 0);
  for (unsigned n = 1; n < NR (ios); n++)
    assert_ended (&ios[n], BLKMQ_STS_ABORTED);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_turn (bed);
  check_nobody_waits (bed);
  bed_check_idle (bed);
  bed_stop (bed);
}
END_TEST

static enum blkmq_timeout_result
says_done (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_DONE;
}

static enum blkmq_timeout_result
says_held (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_HELD;
}

START_TEST (test_time_in_the_scheduler_does_not_count)
{
  struct bed *bed = elevated ("hw_queue_depth=1 io_timeout=100");
  struct test_io ios[2];

  bed->script.on_timeout = says_done;
  test_io_submit (&ios[0], bed, 10);
  test_io_submit (&ios[1], bed, 20);
  bed_pass (bed, 90 * MS);
  complete (bed, 0);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  bed_pass (bed, 90 * MS);
  assert_not_ended (&ios[1]);
  bed_pass (bed, 30 * MS);
  assert_ended (&ios[1], BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

START_TEST (test_driver_tag_of_a_timed_out_one_goes_to_the_next)
{
  struct bed *bed = elevated ("hw_queue_depth=1 io_timeout=100");
  struct test_io ios[2];

  bed->script.on_timeout = says_done;
  test_io_submit (&ios[0], bed, 10);
  test_io_submit (&ios[1], bed, 20);
  bed_pass (bed, 120 * MS);
  assert_ended (&ios[0], BLKMQ_STS_TIMEOUT);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  complete (bed, 1);
  assert_ended (&ios[1], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_held_one_keeps_its_driver_tag)
{
  struct bed *bed = elevated ("hw_queue_depth=1 io_timeout=100");
  struct test_io ios[2];

  bed->script.on_timeout = says_held;
  test_io_submit_early (&ios[0], bed, 10);
  test_io_submit (&ios[1], bed, 20);
  bed_pass (bed, 120 * MS);
  assert_ended_early (&ios[0], BLKMQ_STS_TIMEOUT);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  complete (bed, 0);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  complete (bed, 1);
  assert_ended (&ios[1], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_removal_answers_what_waits_in_the_scheduler)
{
  struct bed *bed = elevated ("hw_queue_depth=1 nr_requests=4");
  struct test_io ios[8];

  for (unsigned n = 0; n < NR (ios); n++)
    test_io_submit (&ios[n], bed, n < 4 ? n : 10 * n); /* some merge */
  ck_assert_uint_gt (bed_stats (bed).merges, 0);
  ck_assert_uint_gt (bed_stats (bed).waiting, 0);
  blkmq_disk_remove (bed->disk);
  for (unsigned n = 0; n < NR (ios); n++)
    assert_ended (&ios[n], BLKMQ_STS_OFFLINE);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  check_nobody_waits (bed);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Quiesce and freeze                                                        */

START_TEST (test_quiesced_requests_wait_in_the_scheduler)
{
  struct bed *bed = elevated ("hw_queue_depth=4");
  struct test_io ios[3];

  ck_assert_int_eq (blkmq_quiesce (bed->disk), 0);
  for (unsigned n = 0; n < NR (ios); n++)
    test_io_submit (&ios[n], bed, 100 - 10 * n);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 0);
  blkmq_unquiesce (bed->disk);
  bed_turn (bed);
  for (unsigned n = 0; n < NR (ios); n++)
    ck_assert_uint_eq (issued_block (bed, n), 80 + 10 * n);
  complete_from (bed, 0);
  bed_stop (bed);
}
END_TEST

static void *
freezes (void *opaque)
{
  struct bed *bed = opaque;

  require (blkmq_freeze (bed->disk, NULL, 0) == 0);
  return NULL;
}

START_TEST (test_freeze_waits_for_what_waits_in_the_scheduler)
{
  struct bed *bed = elevated ("hw_queue_depth=1");
  struct test_io ios[2], late;
  pthread_t thread;

  test_io_submit (&ios[0], bed, 10);
  test_io_submit (&ios[1], bed, 20);
  thread = thread_start (freezes, bed);
  await (bed_hctx (bed, 0)->flags & HCTX_FROZEN);
  test_io_submit (&late, bed, 30);
  complete (bed, 0);
  complete (bed, 1);
  thread_join (thread);
  assert_ended (&ios[1], BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  blkmq_unfreeze (bed->disk);
  bed_turn (bed);
  complete (bed, 2);
  assert_ended (&late, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Switching                                                                 */

START_TEST (test_scheduler_is_switched_and_back)
{
  struct bed *bed = elevated_alloc ();
  struct test_io ios[4];
  unsigned first;

  bed_open (bed, "hw_queue_depth=1 nr_requests=4");
  ck_assert_str_eq (blkmq_disk_scheduler (bed->disk), "none");
  for (unsigned round = 0; round < 4; round++) {
    bool with = round % 2;

    set_scheduler (bed, with ? "mq-deadline" : "none");
    ck_assert_uint_eq (bed->script.nr_init_requests, with ? 1 + 4 : 1);
    first = bed->script.nr_issues;
    test_io_submit (&ios[0], bed, 10);
    test_io_submit (&ios[1], bed, 40);
    test_io_submit (&ios[2], bed, 20);
    complete_from (bed, first);
    ck_assert_uint_eq (issued_block (bed, first + 1), with ? 20 : 40);
    for (unsigned n = 0; n < 3; n++)
      assert_ended (&ios[n], BLKMQ_STS_OK);
    ck_assert_uint_eq (bed_stats (bed).ios[BLKMQ_OP_READ], 3 * (round + 1));
  }
  bed_stop (bed);
}
END_TEST

START_TEST (test_names_of_before_the_switch_name_nothing_after)
{
  struct bed *bed = elevated ("hw_queue_depth=1");
  blkmq_handle old;
  struct test_io t;

  test_io_submit (&t, bed, 10);
  old = script_issue (&bed->script, 0)->token;
  complete (bed, 0);
  for (unsigned round = 0; round < 4; round++) {
    set_scheduler (bed, round % 2 ? "mq-deadline" : "none");
    test_io_submit (&t, bed, 10);
    ck_assert_ptr_null (blkmq_request_get (bed->disk, old));
    complete (bed, round + 1);
  }
  ck_assert_uint_eq (bed_stats (bed).stale_handles, 4);
  bed_stop (bed);
}
END_TEST

/* What a timeout has left below has an internal tag of a scheduler that is gone
 * and a driver tag of the present pool. */
START_TEST (test_held_request_lives_through_switches)
{
  struct bed *bed = elevated ("hw_queue_depth=2 io_timeout=100");
  struct test_io held, ios[3];
  blkmq_handle handle;
  unsigned first;

  bed->script.on_timeout = says_held;
  test_io_submit_early (&held, bed, 10);
  bed_pass (bed, 120 * MS);
  assert_ended_early (&held, BLKMQ_STS_TIMEOUT);
  for (unsigned round = 0; round < 3; round++) {
    set_scheduler (bed, round % 2 ? "mq-deadline" : "none");
    first = bed->script.nr_issues;
    for (unsigned n = 0; n < NR (ios); n++)
      test_io_submit (&ios[n], bed, 20 * n);
    ck_assert_uint_eq (bed->script.nr_issues, first + 1); /* one tag is left */
    complete_from (bed, first);
    ck_assert_int_eq (blkmq_freeze (bed->disk, &handle, 1), 1);
    ck_assert (handle == script_issue (&bed->script, 0)->token);
    blkmq_unfreeze (bed->disk);
  }
  complete (bed, 0);
  assert_ended (&held, BLKMQ_STS_TIMEOUT);
  first = bed->script.nr_issues;
  test_io_submit (&ios[0], bed, 10);
  test_io_submit (&ios[1], bed, 20);
  ck_assert_uint_eq (bed->script.nr_issues, first + 2);
  complete_from (bed, first);
  bed_check_idle (bed);
  bed_stop (bed);
}
END_TEST

START_TEST (test_held_request_lives_through_changes_of_depth)
{
  struct bed *bed = elevated ("hw_queue_depth=2 io_timeout=100");
  struct test_io held, ios[8];
  static const unsigned depths[] = { 4, 1, 3 };

  bed->script.on_timeout = says_held;
  test_io_submit_early (&held, bed, 10);
  bed_pass (bed, 120 * MS);
  for (size_t i = 0; i < NR (depths); i++) {
    unsigned first = bed->script.nr_issues;

    ck_assert_int_eq (update_queues (bed->disk, 0, depths[i], NULL), 0);
    for (unsigned n = 0; n < NR (ios); n++)
      test_io_submit (&ios[n], bed, 20 * n);
    ck_assert_uint_eq (bed->script.nr_issues - first, depths[i]);
    ck_assert_uint_eq (nr_in_flight (bed, BLKMQ_OP_READ), /* and the held one */
                       (2 * depths[i] < 8 ? 2 * depths[i] : 8) + 1);
    complete_from (bed, first);
  }
  complete (bed, 0);
  bed_check_idle (bed);
  bed_stop (bed);
}
END_TEST

START_TEST (test_switch_that_fails_changes_nothing)
{
  struct bed *bed = elevated_alloc ();
  struct test_io t;

  bed_open (bed, "hw_queue_depth=2 submit_queues=2");
  bed->script.fail_init_request = 2 * 2 + 4 + 2; /* of the second hctx */
  ck_assert_int_eq (
      blkmq_disk_set_scheduler (bed->disk, "mq-deadline", &bed->error), -EDOM);
  ck_assert_ptr_nonnull (strstr (bed->error.message, "scheduler=mq-deadline"));
  ck_assert_ptr_nonnull (strstr (bed->error.message, "hctx 1"));
  ck_assert_str_eq (blkmq_disk_scheduler (bed->disk), "none");
  ck_assert_uint_eq (bed->script.nr_init_requests, 2 * 2);
  test_io_submit (&t, bed, 1);
  complete (bed, 0);
  bed->script.fail_init_request = 0;
  set_scheduler (bed, "mq-deadline");
  ck_assert_uint_eq (bed->script.nr_init_requests, 2 * (2 + 4));
  test_io_submit (&t, bed, 1);
  complete (bed, 1);
  bed_stop (bed);
}
END_TEST

START_TEST (test_dropped_hctx_comes_back_with_the_present_scheduler)
{
  struct bed *bed = elevated ("hw_queue_depth=1 submit_queues=2");
  struct blkmq_submitter *second;
  struct test_io t;

  ck_assert_int_eq (update_queues (bed->disk, 1, 0, NULL), 0);
  set_scheduler (bed, "none");
  ck_assert_int_eq (update_queues (bed->disk, 2, 0, NULL), 0);
  ck_assert_ptr_null (hctx_pool (bed_hctx (bed, 1))->sched);
  second = blkmq_submitter_alloc (bed->disk, 1);
  ck_assert_ptr_nonnull (second);
  test_io_init (&t, bed, BLKMQ_OP_READ, 1);
  blkmq_submit (second, &t.io);
  complete (bed, 0);
  assert_ended (&t, BLKMQ_STS_OK);
  blkmq_submitter_free (second);
  bed_stop (bed);
}
END_TEST

START_TEST (test_errors_name_key_and_value)
{
  struct bed *bed = elevated_alloc ();

  bed_open (bed, "hw_queue_depth=2 nr_requests=4");
  ck_assert_int_eq (blkmq_disk_set_scheduler (bed->disk, "cfq", &bed->error),
                    -EINVAL);
  ck_assert_str_eq (bed->error.message,
                    "scheduler=cfq: must be one of none, mq-deadline");
  set_scheduler (bed, "mq-deadline");
  ck_assert_int_eq (update_queues (bed->disk, 0, 3, &bed->error), -EINVAL);
  ck_assert_ptr_nonnull (strstr (bed->error.message, "hw_queue_depth=3"));
  ck_assert_ptr_nonnull (strstr (bed->error.message, "nr_requests=4"));
  ck_assert_uint_eq (blkmq_disk_queue_depth (bed->disk), 2);
  bed_stop (bed);

  bed = elevated_alloc ();
  bed_open (bed, "hw_queue_depth=6000");
  ck_assert_int_eq (
      blkmq_disk_set_scheduler (bed->disk, "mq-deadline", &bed->error),
      -EINVAL);
  ck_assert_ptr_nonnull (strstr (bed->error.message, "hw_queue_depth=6000"));
  ck_assert_ptr_nonnull (strstr (bed->error.message, "16384"));
  ck_assert_str_eq (blkmq_disk_scheduler (bed->disk), "none");
  bed_stop (bed);
}
END_TEST

static void
switches_inside (struct test_io *t)
{
  ck_assert_int_eq (blkmq_disk_set_scheduler (t->bed->disk, "none", NULL),
                    -EDEADLK);
}

START_TEST (test_switch_is_refused_in_callbacks)
{
  struct bed *bed = elevated ("");
  struct test_io t;

  test_io_init (&t, bed, BLKMQ_OP_READ, 1);
  t.on_end = switches_inside;
  blkmq_submit (bed->submitter, &t.io);
  complete (bed, 0);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Threads: everything changes under load                                    */

#define BLOCKS_EACH 64

struct load {
  struct bed *bed;
  unsigned thread;
  _Atomic bool *stop;
  _Atomic unsigned *nr_done;
};

/* Write, read back and compare blocks of its own, several at a time. */
static void *
loads (void *opaque)
{
  struct load *load = opaque;
  struct bed *bed = load->bed;
  struct blkmq_submitter *submitter
      = blkmq_submitter_alloc (bed->disk, BLKMQ_HCTX_ANY);
  struct test_io *ios = calloc (BLOCKS_EACH, sizeof *ios);
  struct rng rng;

  require (submitter != NULL && ios != NULL);
  rng_init (&rng, load->thread);
  while (!*load->stop) {
    unsigned nr = 1 + (unsigned)rng_below (&rng, BLOCKS_EACH);
    char value = (char)rng_next (&rng);

    for (unsigned pass = 0; pass < 2; pass++) {
      for (unsigned n = 0; n < nr; n++) {
        test_io_init (&ios[n], bed, pass == 0 ? BLKMQ_OP_WRITE : BLKMQ_OP_READ,
                      load->thread * BLOCKS_EACH + n);
        memset (ios[n].data, pass == 0 ? value : ~value, BLOCK_BYTES);
        blkmq_submit (submitter, &ios[n].io);
      }
      for (unsigned n = 0; n < nr; n++) {
        await (ios[n].nr_ends == 1);
        require (ios[n].status == BLKMQ_STS_OK);
        require (ios[n].data[0] == value
                 && ios[n].data[BLOCK_BYTES - 1] == value);
      }
    }
    ++*load->nr_done;
  }
  free (ios);
  blkmq_submitter_free (submitter);
  return NULL;
}

static void
change_something (struct bed *bed, struct rng *rng)
{
  static const char *const names[] = { "none", "mq-deadline" };

  switch (rng_below (rng, 4)) {
  case 0:
    require (
        update_queues (bed->disk, 1 + (unsigned)rng_below (rng, 3), 0, NULL)
        == 0);
    break;
  case 1:
    require (
        update_queues (bed->disk, 0, 1 + (unsigned)rng_below (rng, 9), NULL)
        == 0);
    break;
  default:
    require (
        blkmq_disk_set_scheduler (bed->disk, names[rng_below (rng, 2)], NULL)
        == 0);
  }
}

static void
change_under_load (const char *keys)
{
  enum { CHANGES = SANITIZED ? 40 : 120 };
  _Atomic bool stop = false;
  _Atomic unsigned nr_done = 0;
  struct bed *bed = bed_alloc ();
  struct load loads_of[NR_THREADS];
  pthread_t threads[NR_THREADS];
  struct rng rng;

  rng_init (&rng, 100);
  bed->script.driver = "memory";
  bed_open_threads (bed, keys);
  for (unsigned i = 0; i < NR_THREADS; i++) {
    loads_of[i] = (struct load){ bed, i, &stop, &nr_done };
    threads[i] = thread_start (loads, &loads_of[i]);
  }
  for (unsigned n = 0; n < CHANGES; n++) {
    unsigned seen = nr_done;

    change_something (bed, &rng);
    await (nr_done > seen);
  }
  stop = true;
  for (unsigned i = 0; i < NR_THREADS; i++)
    thread_join (threads[i]);
  bed_stop (bed);
}

START_TEST (test_data_is_right_while_all_changes)
{
  static const char *const keys[] = {
    "hw_queue_depth=4",
    "hw_queue_depth=4 scheduler=mq-deadline irqmode=softirq",
    "hw_queue_depth=4 scheduler=mq-deadline shared_tag_bitmap=1",
    "hw_queue_depth=2 irqmode=timer completion_nsec=1000 submit_queues=2",
  };

  change_under_load (keys[_i]);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Shared tags                                                               */

static void
open_two (struct bed *beds[2], struct blkmq_tag_set *set, const char *keys)
{
  for (unsigned i = 0; i < 2; i++) {
    beds[i] = elevated_alloc ();
    beds[i]->set = set;
    bed_open (beds[i], keys);
  }
}

static void
stop_two (struct bed *beds[2], struct blkmq_tag_set *set)
{
  ck_assert_uint_eq (set->nr_waiting, 0);
  bed_stop (beds[0]);
  bed_stop (beds[1]);
  bed_set_free (set);
}

START_TEST (test_disks_with_schedulers_take_turns_with_one_tag)
{
  const char *keys = with_scheduler ("hw_queue_depth=1 nr_requests=8");
  struct blkmq_tag_set *set = bed_set_alloc ("scripted", keys);
  struct bed *beds[2];
  struct test_io ios[2][4];
  unsigned done[2] = { 0 };

  open_two (beds, set, keys);
  for (unsigned n = 0; n < 4; n++) {
    for (unsigned d = 0; d < 2; d++)
      test_io_submit (&ios[d][n], beds[d], 10 * n);
  }
  for (unsigned n = 0; n < 8; n++) {
    unsigned d = beds[1]->script.nr_issues > done[1];

    /* One of them has it, and neither gets far ahead. */
    ck_assert_uint_eq (beds[0]->script.nr_issues + beds[1]->script.nr_issues,
                       n + 1);
    ck_assert_uint_le (beds[0]->script.nr_issues,
                       beds[1]->script.nr_issues + 1);
    ck_assert_uint_le (beds[1]->script.nr_issues,
                       beds[0]->script.nr_issues + 1);
    issue_complete (&beds[d]->script, done[d]++, BLKMQ_STS_OK);
    bed_turn (beds[!d]); /* who puts a tag comes last */
    bed_turn (beds[d]);
  }
  for (unsigned n = 0; n < 4; n++) {
    assert_ended (&ios[0][n], BLKMQ_STS_OK);
    assert_ended (&ios[1][n], BLKMQ_STS_OK);
  }
  stop_two (beds, set);
}
END_TEST

START_TEST (test_refused_disk_lets_the_other_have_the_tag)
{
  const char *keys = with_scheduler ("hw_queue_depth=1");
  struct blkmq_tag_set *set = bed_set_alloc ("scripted", keys);
  struct bed *beds[2];
  struct test_io ios[2];
  unsigned nr_busy = 1;

  open_two (beds, set, keys);
  beds[0]->script.on_queue = busy_once;
  beds[0]->script.opaque = &nr_busy;
  test_io_submit (&ios[0], beds[0], 10);
  test_io_submit (&ios[1], beds[1], 10);
  ck_assert_uint_eq (beds[1]->script.nr_issues, 1);
  bed_pass (beds[0], 3 * MS); /* tries again: the other has it */
  ck_assert_uint_eq (beds[0]->script.nr_issues, 1);
  complete (beds[1], 0);
  bed_turn (beds[0]);
  complete (beds[0], 1);
  assert_ended (&ios[0], BLKMQ_STS_OK);
  stop_two (beds, set);
}
END_TEST

/* Both find, each time that the other puts a tag, that what they have has to
 * wait for a class that is in flight.  They do not wake each other for ever. */
START_TEST (test_two_disks_with_waiting_classes_are_quiet)
{
  const char *keys = with_scheduler ("hw_queue_depth=8 nr_requests=16"
                                     " nomerges=1");
  struct blkmq_tag_set *set = bed_set_alloc ("scripted", keys);
  struct bed *beds[2];
  struct test_io rt[2], idle[2][20];
  unsigned done[2] = { 0 };

  open_two (beds, set, keys);
  for (unsigned d = 0; d < 2; d++) {
    submit (&rt[d], beds[d], BLKMQ_OP_READ, 1, BLKMQ_PRIO_RT);
    for (unsigned n = 0; n < 20; n++)
      submit (&idle[d][n], beds[d], BLKMQ_OP_READ, 10 * n, BLKMQ_PRIO_IDLE);
  }
  for (unsigned n = 0; n < 4; n++)
    bed_turn (beds[n % 2]);
  ck_assert_uint_eq (beds[0]->script.nr_issues, 1);
  for (unsigned n = 0; n < 4; n++) {
    complete_from_on (beds[n % 2], &done[n % 2]);
    bed_turn (beds[n % 2]);
  }
  for (unsigned n = 0; n < 20; n++) {
    assert_ended (&idle[0][n], BLKMQ_STS_OK);
    assert_ended (&idle[1][n], BLKMQ_STS_OK);
  }
  stop_two (beds, set);
}
END_TEST

START_TEST (test_removed_disk_does_not_wait_for_tags_any_more)
{
  const char *keys = with_scheduler ("hw_queue_depth=1");
  struct blkmq_tag_set *set = bed_set_alloc ("scripted", keys);
  struct bed *beds[2];
  struct test_io ios[2];

  open_two (beds, set, keys);
  test_io_submit (&ios[0], beds[0], 10);
  test_io_submit (&ios[1], beds[1], 10);
  ck_assert_uint_eq (set->nr_waiting, 1);
  blkmq_disk_remove (beds[1]->disk);
  assert_ended (&ios[1], BLKMQ_STS_OFFLINE);
  ck_assert_uint_eq (set->nr_waiting, 0);
  complete (beds[0], 0);
  stop_two (beds, set);
}
END_TEST

START_TEST (test_one_disk_of_a_set_switches_alone)
{
  const char *keys = "hw_queue_depth=2";
  struct blkmq_tag_set *set = bed_set_alloc ("scripted", keys);
  struct bed *beds[2];
  struct test_io ios[2];

  open_two (beds, set, keys);
  set_scheduler (beds[1], "mq-deadline");
  ck_assert_str_eq (blkmq_disk_scheduler (beds[0]->disk), "none");
  for (unsigned d = 0; d < 2; d++)
    test_io_submit (&ios[d], beds[d], 10);
  for (unsigned d = 0; d < 2; d++) {
    complete (beds[d], 0);
    assert_ended (&ios[d], BLKMQ_STS_OK);
  }
  stop_two (beds, set);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("elevator");
  TCase *tcase;

  tcase = harness_case (suite, "tags");
  tcase_add_test (tcase, test_internal_tags_are_twice_the_depth_or_as_told);
  tcase_add_test (tcase,
                  test_names_have_internal_tags_and_drivers_have_their_own);
  tcase_add_test (tcase, test_one_driver_tag_serves_1024_ios);
  tcase_add_test (tcase, test_refused_request_gives_the_driver_tag_back);
  tcase_add_test (tcase, test_requeued_request_gives_the_driver_tag_back);
  tcase_add_test (tcase, test_reserved_passes_the_scheduler_by);
  tcase_add_test (tcase,
                  test_reserved_passes_a_requeued_one_that_waits_for_a_tag);

  tcase = harness_case (suite, "order");
  tcase_add_test (tcase, test_requests_reach_the_driver_sorted);
  tcase_add_test (tcase, test_expired_request_is_next);
  tcase_add_test (tcase, test_lower_class_waits_though_there_are_tags);
  tcase_add_test (tcase, test_lower_class_waits_quietly);
  tcase_add_test (tcase, test_lower_class_goes_when_the_higher_is_aborted);
  tcase_add_test (tcase, test_aged_request_of_a_lower_class_goes_in_time);

  tcase = harness_case (suite, "merges");
  tcase_add_test (tcase, test_waiting_neighbours_are_one_request);
  tcase_add_test (tcase, test_merged_io_needs_no_tag);
  tcase_add_test (tcase, test_nomerges_merges_nothing);
  tcase_add_test (tcase, test_data_of_merged_ios_is_what_the_shadow_holds);

  tcase = harness_case (suite, "ends");
  tcase_add_test (tcase, test_abort_of_a_waiting_one_ends_it_at_once);
  tcase_add_test (tcase, test_abort_of_merged_ones_ends_them_with_the_last);
  tcase_add_test (tcase,
                  test_aborted_one_keeps_its_driver_tag_until_it_is_given_back);
  tcase_add_test (tcase, test_abort_of_a_submitter_ends_what_waits_and_merged);
  tcase_add_test (tcase, test_time_in_the_scheduler_does_not_count);
  tcase_add_test (tcase, test_driver_tag_of_a_timed_out_one_goes_to_the_next);
  tcase_add_test (tcase, test_held_one_keeps_its_driver_tag);
  tcase_add_test (tcase, test_removal_answers_what_waits_in_the_scheduler);

  tcase = harness_case (suite, "quiesce and freeze");
  tcase_add_test (tcase, test_quiesced_requests_wait_in_the_scheduler);
  tcase_add_test (tcase, test_freeze_waits_for_what_waits_in_the_scheduler);

  tcase = harness_case (suite, "switching");
  tcase_add_test (tcase, test_scheduler_is_switched_and_back);
  tcase_add_test (tcase, test_names_of_before_the_switch_name_nothing_after);
  tcase_add_test (tcase, test_held_request_lives_through_switches);
  tcase_add_test (tcase, test_held_request_lives_through_changes_of_depth);
  tcase_add_test (tcase, test_switch_that_fails_changes_nothing);
  tcase_add_test (tcase,
                  test_dropped_hctx_comes_back_with_the_present_scheduler);
  tcase_add_test (tcase, test_errors_name_key_and_value);
  tcase_add_test (tcase, test_switch_is_refused_in_callbacks);
  tcase_add_loop_test (tcase, test_data_is_right_while_all_changes, 0, 4);

  tcase = harness_case (suite, "shared tags");
  tcase_add_test (tcase, test_disks_with_schedulers_take_turns_with_one_tag);
  tcase_add_test (tcase, test_refused_disk_lets_the_other_have_the_tag);
  tcase_add_test (tcase, test_two_disks_with_waiting_classes_are_quiet);
  tcase_add_test (tcase, test_removed_disk_does_not_wait_for_tags_any_more);
  tcase_add_test (tcase, test_one_disk_of_a_set_switches_alone);

  return harness_main (suite);
}
