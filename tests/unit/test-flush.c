/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-flush.c: the flush machinery: what is done for PREFLUSH, FUA and flushes
 * on a device with a volatile cache and on one without, and how flushes are
 * shared, fail, are aborted, time out and are overtaken by removal.
 * test-flush-model.c says whether data is durable that must be.
 */

#include <config.h>

#include <string.h>

#include "harness.h"

/* ------------------------------------------------------------------------ */
/* Beds and ios                                                              */

/* A disk whose device has a volatile cache. */
static struct bed *
start_cached (bool fua, const char *keys)
{
  struct bed *bed = bed_alloc ();

  bed->script.volatile_cache = true;
  bed->script.fua = fua;
  bed_open (bed, keys);
  return bed;
}

static void
submit_flags (struct test_io *t, struct bed *bed, enum blkmq_op op,
              uint32_t flags)
{
  test_io_init_early (t, bed, op, 1);
  t->io.flags = flags;
  blkmq_submit (bed->submitter, &t->io);
}

static void
submit_flush (struct test_io *t, struct bed *bed)
{
  submit_flags (t, bed, BLKMQ_OP_FLUSH, 0);
}

/* The kernel's form of a flush. */
static void
submit_empty (struct test_io *t, struct bed *bed)
{
  test_io_init_early (t, bed, BLKMQ_OP_WRITE, 0);
  t->io.bytes = 0;
  t->io.flags = BLKMQ_IO_PREFLUSH;
  blkmq_submit (bed->submitter, &t->io);
}

static void
complete (struct bed *bed, unsigned n, enum blkmq_status status)
{
  ck_assert_int_eq (issue_complete (&bed->script, n, status), 0);
  bed_turn (bed);
}

/* The Nth issue is the last so far, and it is this. */
#define assert_last_issue(bed, n, wanted_op, wanted_flags)                     \
  do {                                                                         \
    ck_assert_uint_eq ((bed)->script.nr_issues, (n) + 1);                      \
    ck_assert_str_eq (blkmq_op_name (script_issue (&(bed)->script, n)->op),    \
                      blkmq_op_name (wanted_op));                              \
    ck_assert_uint_eq (script_issue (&(bed)->script, n)->flags, wanted_flags); \
  } while (0)

/* ------------------------------------------------------------------------ */
/* What is done for whom                                                     */

START_TEST (test_without_a_cache_flags_mean_nothing)
{
  struct bed *bed = bed_start ("");
  struct test_io t;

  submit_flags (&t, bed, BLKMQ_OP_WRITE, BLKMQ_IO_PREFLUSH | BLKMQ_IO_FUA);
  assert_last_issue (bed, 0, BLKMQ_OP_WRITE, 0);
  complete (bed, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  ck_assert_uint_eq (bed_stats (bed).flushes, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_without_a_cache_a_flush_is_the_drivers)
{
  struct bed *bed = bed_start ("");
  struct test_io t[2];

  for (unsigned i = 0; i < 2; i++) {
    submit_flush (&t[i], bed);
    assert_last_issue (bed, i, BLKMQ_OP_FLUSH, 0);
  }
  complete (bed, 1, BLKMQ_STS_OK);
  complete (bed, 0, BLKMQ_STS_IOERR);
  assert_ended (&t[1], BLKMQ_STS_OK);
  assert_ended (&t[0], BLKMQ_STS_IOERR);
  bed_stop (bed);
}
END_TEST

START_TEST (test_without_a_cache_an_empty_write_ends_at_once)
{
  struct bed *bed = bed_start ("");
  struct test_io t;

  submit_empty (&t, bed);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 0);
  blkmq_disk_remove (bed->disk);
  submit_empty (&t, bed);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  bed_stop (bed);
}
END_TEST

START_TEST (test_preflush_is_for_writes_and_flushes)
{
  static const enum blkmq_op wrong[]
      = { BLKMQ_OP_READ, BLKMQ_OP_DISCARD, BLKMQ_OP_WRITE_ZEROES };

  for (unsigned cached = 0; cached < 2; cached++) {
    struct bed *bed = cached ? start_cached (false, "") : bed_start ("");
    struct test_io t;

    for (unsigned i = 0; i < NR (wrong); i++) {
      submit_flags (&t, bed, wrong[i], BLKMQ_IO_PREFLUSH);
      assert_ended (&t, BLKMQ_STS_INVAL);
    }
    /* Empty, but no flush; a flush, but not empty; not at 0. */
    test_io_init (&t, bed, BLKMQ_OP_WRITE, 0);
    t.io.bytes = 0;
    t.io.flags = BLKMQ_IO_FUA;
    blkmq_submit (bed->submitter, &t.io);
    assert_ended (&t, BLKMQ_STS_INVAL);
    test_io_init (&t, bed, BLKMQ_OP_FLUSH, 0);
    t.io.bytes = BLOCK_BYTES;
    blkmq_submit (bed->submitter, &t.io);
    assert_ended (&t, BLKMQ_STS_INVAL);
    test_io_init (&t, bed, BLKMQ_OP_WRITE, 1);
    t.io.bytes = 0;
    t.io.flags = BLKMQ_IO_PREFLUSH;
    blkmq_submit (bed->submitter, &t.io);
    assert_ended (&t, BLKMQ_STS_INVAL);
    ck_assert_uint_eq (bed->script.nr_issues, 0);
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_plain_ios_are_left_alone)
{
  struct bed *bed = start_cached (false, "");
  struct test_io t;

  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    unsigned n = bed->script.nr_issues;

    submit_flags (&t, bed, (enum blkmq_op)op, 0);
    assert_last_issue (bed, n, (enum blkmq_op)op, 0);
    complete (bed, n, BLKMQ_STS_OK);
    assert_ended (&t, BLKMQ_STS_OK);
  }
  /* FUA says nothing to a read. */
  submit_flags (&t, bed, BLKMQ_OP_READ, BLKMQ_IO_FUA);
  assert_last_issue (bed, BLKMQ_NR_OPS, BLKMQ_OP_READ, 0);
  complete (bed, BLKMQ_NR_OPS, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (bed).flushes, 1);
  bed_stop (bed);
}
END_TEST

START_TEST (test_preflush_data_postflush)
{
  struct bed *bed = start_cached (false, "");
  struct test_io t;

  submit_flags (&t, bed, BLKMQ_OP_WRITE, BLKMQ_IO_PREFLUSH | BLKMQ_IO_FUA);
  assert_last_issue (bed, 0, BLKMQ_OP_FLUSH, 0);
  complete (bed, 0, BLKMQ_STS_OK);
  assert_last_issue (bed, 1, BLKMQ_OP_WRITE, 0);
  ck_assert_uint_eq (script_issue (&bed->script, 1)->offset_bytes, BLOCK_BYTES);
  complete (bed, 1, BLKMQ_STS_OK);
  assert_not_ended (&t);
  ck_assert_uint_eq (t.nr_give_backs, 0);
  assert_last_issue (bed, 2, BLKMQ_OP_FLUSH, 0);
  complete (bed, 2, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  ck_assert_uint_eq (bed_stats (bed).flushes, 2);
  bed_stop (bed);
}
END_TEST

START_TEST (test_preflush_alone_ends_with_the_data)
{
  struct bed *bed = start_cached (false, "");
  struct test_io t;

  submit_flags (&t, bed, BLKMQ_OP_WRITE, BLKMQ_IO_PREFLUSH);
  complete (bed, 0, BLKMQ_STS_OK);
  assert_last_issue (bed, 1, BLKMQ_OP_WRITE, 0);
  complete (bed, 1, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  bed_stop (bed);
}
END_TEST

START_TEST (test_fua_is_the_drivers_if_it_can)
{
  struct bed *bed = start_cached (true, "");
  struct test_io t;

  submit_flags (&t, bed, BLKMQ_OP_WRITE, BLKMQ_IO_FUA);
  assert_last_issue (bed, 0, BLKMQ_OP_WRITE, BLKMQ_IO_FUA);
  complete (bed, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  submit_flags (&t, bed, BLKMQ_OP_WRITE, BLKMQ_IO_PREFLUSH | BLKMQ_IO_FUA);
  assert_last_issue (bed, 1, BLKMQ_OP_FLUSH, 0);
  complete (bed, 1, BLKMQ_STS_OK);
  assert_last_issue (bed, 2, BLKMQ_OP_WRITE, BLKMQ_IO_FUA);
  complete (bed, 2, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  bed_stop (bed);
}
END_TEST

START_TEST (test_fua_of_all_that_write)
{
  static const enum blkmq_op ops[]
      = { BLKMQ_OP_WRITE, BLKMQ_OP_DISCARD, BLKMQ_OP_WRITE_ZEROES };

  for (unsigned i = 0; i < NR (ops); i++) {
    struct bed *bed = start_cached (false, "");
    struct test_io t;

    submit_flags (&t, bed, ops[i], BLKMQ_IO_FUA | BLKMQ_IO_NOUNMAP);
    assert_last_issue (bed, 0, ops[i], BLKMQ_IO_NOUNMAP);
    complete (bed, 0, BLKMQ_STS_OK);
    assert_not_ended (&t);
    assert_last_issue (bed, 1, BLKMQ_OP_FLUSH, 0);
    complete (bed, 1, BLKMQ_STS_OK);
    assert_ended (&t, BLKMQ_STS_OK);
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_an_empty_write_with_preflush_is_a_flush)
{
  struct bed *bed = start_cached (false, "");
  struct test_io t;

  submit_empty (&t, bed);
  assert_last_issue (bed, 0, BLKMQ_OP_FLUSH, 0);
  assert_not_ended (&t);
  complete (bed, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_stop (bed);
}
END_TEST

START_TEST (test_postflush_waits_for_all_parts)
{
  struct bed *bed = start_cached (false, "max_sectors=1 hw_queue_depth=2");
  static char data[3 * BLOCK_BYTES];
  struct test_io t;

  /* Two parts find a tag, the third waits for one. */
  for (unsigned early = 0; early < 2; early++) {
    unsigned first = bed->script.nr_issues;

    if (early)
      test_io_init_early (&t, bed, BLKMQ_OP_WRITE, 0);
    else
      test_io_init (&t, bed, BLKMQ_OP_WRITE, 0);
    t.segment = (struct iovec){ data, sizeof data };
    t.io.bytes = sizeof data;
    t.io.flags = BLKMQ_IO_FUA | BLKMQ_IO_PREFLUSH;
    blkmq_submit (bed->submitter, &t.io);
    assert_last_issue (bed, first, BLKMQ_OP_FLUSH, 0);
    complete (bed, first, BLKMQ_STS_OK);
    assert_last_issue (bed, first + 2, BLKMQ_OP_WRITE, 0);
    complete (bed, first + 2, BLKMQ_STS_OK);
    assert_last_issue (bed, first + 3, BLKMQ_OP_WRITE, 0);
    complete (bed, first + 3, BLKMQ_STS_OK);
    ck_assert_uint_eq (bed->script.nr_issues, first + 4);
    complete (bed, first + 1, BLKMQ_STS_OK);
    assert_last_issue (bed, first + 4, BLKMQ_OP_FLUSH, 0);
    assert_not_ended (&t);
    ck_assert_uint_eq (t.nr_give_backs, 0);
    complete (bed, first + 4, BLKMQ_STS_OK);
    assert_ended (&t, BLKMQ_STS_OK);
  }
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Errors                                                                    */

START_TEST (test_failed_preflush_writes_nothing)
{
  struct bed *bed = start_cached (false, "");
  struct test_io t;

  submit_flags (&t, bed, BLKMQ_OP_WRITE, BLKMQ_IO_PREFLUSH | BLKMQ_IO_FUA);
  complete (bed, 0, BLKMQ_STS_MEDIUM);
  assert_ended (&t, BLKMQ_STS_MEDIUM);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  ck_assert_uint_eq (bed_stats (bed).rejected[BLKMQ_STS_MEDIUM], 1);
  bed_stop (bed);
}
END_TEST

START_TEST (test_failed_data_needs_no_postflush)
{
  struct bed *bed = start_cached (false, "");
  struct test_io t;

  submit_flags (&t, bed, BLKMQ_OP_WRITE, BLKMQ_IO_FUA);
  complete (bed, 0, BLKMQ_STS_NOSPC);
  assert_ended (&t, BLKMQ_STS_NOSPC);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_stop (bed);
}
END_TEST

START_TEST (test_failed_part_needs_no_postflush)
{
  struct bed *bed = start_cached (false, "max_sectors=1");
  static char data[2 * BLOCK_BYTES];
  struct test_io t;

  test_io_init_early (&t, bed, BLKMQ_OP_WRITE, 0);
  t.segment = (struct iovec){ data, sizeof data };
  t.io.bytes = sizeof data;
  t.io.flags = BLKMQ_IO_FUA;
  blkmq_submit (bed->submitter, &t.io);
  complete (bed, 0, BLKMQ_STS_MEDIUM);
  assert_not_ended (&t);
  complete (bed, 1, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_MEDIUM);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  bed_stop (bed);
}
END_TEST

START_TEST (test_failed_postflush_fails_the_io)
{
  struct bed *bed = start_cached (false, "");
  struct test_io t;

  submit_flags (&t, bed, BLKMQ_OP_WRITE, BLKMQ_IO_FUA);
  complete (bed, 0, BLKMQ_STS_OK);
  complete (bed, 1, BLKMQ_STS_IOERR);
  assert_ended (&t, BLKMQ_STS_IOERR);
  ck_assert_uint_eq (bed_stats (bed).rejected[BLKMQ_STS_IOERR], 1);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Sharing                                                                   */

#define NR_SHARING 5

START_TEST (test_flushes_that_come_meanwhile_share_the_next)
{
  struct bed *bed = start_cached (false, "hw_queue_depth=2");
  struct test_io first, later[NR_SHARING], last;

  submit_flush (&first, bed);
  for (unsigned i = 0; i < NR_SHARING; i++) {
    submit_flush (&later[i], bed);
    /* Nobody joins one that was issued, and one is under way at a time. */
    assert_last_issue (bed, 0, BLKMQ_OP_FLUSH, 0);
  }
  complete (bed, 0, BLKMQ_STS_OK);
  assert_ended (&first, BLKMQ_STS_OK);
  for (unsigned i = 0; i < NR_SHARING; i++)
    assert_not_ended (&later[i]);
  assert_last_issue (bed, 1, BLKMQ_OP_FLUSH, 0);
  submit_flush (&last, bed);
  complete (bed, 1, BLKMQ_STS_OK);
  for (unsigned i = 0; i < NR_SHARING; i++)
    assert_ended (&later[i], BLKMQ_STS_OK);
  assert_not_ended (&last);
  complete (bed, 2, BLKMQ_STS_OK);
  assert_ended (&last, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  ck_assert_uint_eq (bed_stats (bed).flushes, 3);
  ck_assert_uint_eq (bed_stats (bed).flushes_coalesced, NR_SHARING - 1);
  ck_assert_uint_eq (bed_stats (bed).ios[BLKMQ_OP_FLUSH], 3);
  bed_stop (bed);
}
END_TEST

START_TEST (test_all_steps_share)
{
  struct bed *bed = start_cached (false, "");
  struct test_io flush, fua, both, bare;

  submit_flush (&flush, bed);                             /* 0: FLUSH */
  submit_flags (&fua, bed, BLKMQ_OP_WRITE, BLKMQ_IO_FUA); /* 1: WRITE */
  complete (bed, 1, BLKMQ_STS_OK);
  submit_flags (&both, bed, BLKMQ_OP_WRITE, BLKMQ_IO_PREFLUSH);
  submit_empty (&bare, bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  complete (bed, 0, BLKMQ_STS_OK);
  assert_ended (&flush, BLKMQ_STS_OK);
  /* One POSTFLUSH, one PREFLUSH, one flush. */
  assert_last_issue (bed, 2, BLKMQ_OP_FLUSH, 0);
  assert_not_ended (&fua);
  complete (bed, 2, BLKMQ_STS_OK);
  assert_ended (&fua, BLKMQ_STS_OK);
  assert_ended (&bare, BLKMQ_STS_OK);
  assert_not_ended (&both);
  assert_last_issue (bed, 3, BLKMQ_OP_WRITE, 0);
  complete (bed, 3, BLKMQ_STS_OK);
  assert_ended (&both, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (bed).flushes_coalesced, 2);
  bed_stop (bed);
}
END_TEST

START_TEST (test_error_of_a_shared_flush_goes_to_all)
{
  struct bed *bed = start_cached (false, "");
  struct test_io first, fua, flush, pre, next;

  submit_flush (&first, bed);
  submit_flags (&fua, bed, BLKMQ_OP_WRITE, BLKMQ_IO_FUA);
  complete (bed, 1, BLKMQ_STS_OK);
  submit_flush (&flush, bed);
  submit_flags (&pre, bed, BLKMQ_OP_WRITE, BLKMQ_IO_PREFLUSH);
  complete (bed, 0, BLKMQ_STS_OK);
  submit_flush (&next, bed);
  complete (bed, 2, BLKMQ_STS_IOERR);
  assert_ended (&first, BLKMQ_STS_OK);
  assert_ended (&fua, BLKMQ_STS_IOERR);
  assert_ended (&flush, BLKMQ_STS_IOERR);
  assert_ended (&pre, BLKMQ_STS_IOERR);
  /* And to nobody else. */
  assert_not_ended (&next);
  complete (bed, 3, BLKMQ_STS_OK);
  assert_ended (&next, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 4);
  bed_stop (bed);
}
END_TEST

START_TEST (test_flush_goes_where_the_first_waits)
{
  struct bed *bed = start_cached (false, "submit_queues=3");
  struct test_io t[3];
  static const unsigned hctx_of[] = { 1, 2, 0 };
  struct blkmq_submitter *submitters[3];
  struct blkmq_stats stats;

  for (unsigned i = 0; i < 3; i++) {
    submitters[i] = blkmq_submitter_alloc (bed->disk, hctx_of[i]);
    test_io_init_early (&t[i], bed, BLKMQ_OP_WRITE, i);
    t[i].io.flags = BLKMQ_IO_PREFLUSH;
    blkmq_submit (submitters[i], &t[i].io);
  }
  /* One flush is for all hctxs, and each goes on on its own. */
  ck_assert_uint_eq (blkmq_token_hctx (script_issue (&bed->script, 0)->token),
                     1);
  complete (bed, 0, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  for (unsigned i = 1; i < 3; i++) {
    const struct issue *issue = script_issue (&bed->script, i);

    ck_assert_uint_eq (blkmq_token_hctx (issue->token),
                       issue->op == BLKMQ_OP_FLUSH ? 2 : 1);
  }
  complete (bed, 1, BLKMQ_STS_OK);
  complete (bed, 2, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 5);
  for (unsigned i = 3; i < 5; i++) {
    const struct issue *issue = script_issue (&bed->script, i);

    ck_assert_uint_eq (issue->op, BLKMQ_OP_WRITE);
    ck_assert_uint_eq (blkmq_token_hctx (issue->token),
                       hctx_of[issue->offset_bytes / BLOCK_BYTES]);
    complete (bed, i, BLKMQ_STS_OK);
  }
  ck_assert_int_eq (blkmq_disk_stats (bed->disk, 2, &stats), 0);
  ck_assert_uint_eq (stats.flushes, 1);
  ck_assert_uint_eq (stats.flushes_coalesced, 1);
  for (unsigned i = 0; i < 3; i++) {
    assert_ended (&t[i], BLKMQ_STS_OK);
    blkmq_submitter_free (submitters[i]);
  }
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Tags, BUSY, freeze                                                        */

START_TEST (test_nobody_holds_a_tag_while_waiting_for_a_flush)
{
  struct bed *bed = start_cached (false, "hw_queue_depth=1");
  static struct test_io t[20];
  unsigned n;

  for (unsigned i = 0; i < NR (t); i++)
    submit_flags (&t[i], bed, BLKMQ_OP_WRITE, BLKMQ_IO_PREFLUSH | BLKMQ_IO_FUA);
  for (n = 0; n < bed->script.nr_issues; n++) {
    /* One tag, always with the driver. */
    ck_assert_uint_eq (bed->script.nr_issues, n + 1);
    complete (bed, n, BLKMQ_STS_OK);
  }
  for (unsigned i = 0; i < NR (t); i++)
    assert_ended (&t[i], BLKMQ_STS_OK);
  ck_assert_uint_lt (bed_stats (bed).flushes, NR (t));
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
busy_once (struct script *script, const struct issue *issue)
{
  (void)issue;
  return script->nr_issues == 1 ? BLKMQ_BUSY_HOST : BLKMQ_QUEUED;
}

START_TEST (test_a_refused_flush_is_tried_again)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.volatile_cache = true;
  bed->script.on_queue = busy_once;
  bed_open (bed, "");
  submit_flush (&t, bed);
  bed_turn (bed);
  assert_not_ended (&t);
  bed_pass (bed, 3 * MS);
  assert_last_issue (bed, 1, BLKMQ_OP_FLUSH, 0);
  ck_assert_int_eq (issue_requeue (&bed->script, 1), 0);
  bed_turn (bed);
  assert_last_issue (bed, 2, BLKMQ_OP_FLUSH, 0);
  complete (bed, 2, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (bed).flushes, 1);
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

/* What is between two steps holds no tag, so freeze does not wait for it. */
START_TEST (test_freeze_stops_between_the_steps)
{
  struct bed *bed = start_cached (false, "");
  struct test_io t;

  submit_flags (&t, bed, BLKMQ_OP_WRITE, BLKMQ_IO_PREFLUSH | BLKMQ_IO_FUA);
  for (unsigned n = 0; n < 3; n++) {
    pthread_t freezer = thread_start (freezes, bed);

    await (atomic_load (&bed_hctx (bed, 0)->flags) & HCTX_FROZEN);
    complete (bed, n, BLKMQ_STS_OK);
    thread_join (freezer);
    bed_turn (bed);
    ck_assert_uint_eq (bed->script.nr_issues, n + 1);
    ck_assert_uint_eq (t.nr_ends, n == 2);
    blkmq_unfreeze (bed->disk);
    ck_assert_uint_eq (bed->script.nr_issues, n == 2 ? 3 : n + 2);
  }
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* Both flushes begin on the submitter's hctx, which is then no longer in use.
 * The data waits for a tag of another, which is, and stays there. */
START_TEST (test_live_change_of_queues_moves_the_flush)
{
  struct bed *bed = start_cached (false, "submit_queues=3");
  struct blkmq_submitter *submitter = blkmq_submitter_alloc (bed->disk, 2);
  static const unsigned nr_hw_queues[] = { 1, 3, 2 };
  struct test_io t;

  test_io_init_early (&t, bed, BLKMQ_OP_WRITE, 0);
  t.io.flags = BLKMQ_IO_PREFLUSH | BLKMQ_IO_FUA;
  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  blkmq_submit (submitter, &t.io);
  for (unsigned n = 0; n < 3; n++) {
    struct blkmq_queues queues;
    pthread_t freezer;

    blkmq_disk_queues (bed->disk, &queues);
    queues.submit_queues = nr_hw_queues[n];
    ck_assert_int_eq (blkmq_update_queues (bed->disk, &queues, NULL), 0);
    ck_assert_uint_eq (bed->script.nr_issues, n);
    blkmq_unfreeze (bed->disk);
    bed_turn (bed);
    assert_last_issue (bed, n, n == 1 ? BLKMQ_OP_WRITE : BLKMQ_OP_FLUSH, 0);
    ck_assert_uint_eq (blkmq_token_hctx (script_issue (&bed->script, n)->token),
                       0);
    freezer = thread_start (freezes, bed);
    await (atomic_load (&bed_hctx (bed, 0)->flags) & HCTX_FROZEN);
    complete (bed, n, BLKMQ_STS_OK);
    thread_join (freezer);
  }
  assert_ended (&t, BLKMQ_STS_OK);
  blkmq_unfreeze (bed->disk);
  blkmq_submitter_free (submitter);
  bed_stop (bed);
}
END_TEST

struct waiter {
  struct bed *bed;
  struct test_io t;
  _Atomic bool has_returned;
};

static void *
submits_and_waits (void *opaque)
{
  struct waiter *w = opaque;

  require (blkmq_submit_wait (w->bed->submitter, &w->t.io) == 0);
  w->has_returned = true;
  return NULL;
}

START_TEST (test_submit_wait_waits_for_the_tag_of_the_data)
{
  struct bed *bed = start_cached (false, "");
  struct waiter w = { .bed = bed };
  struct test_io flush;
  pthread_t thread;

  /* A flush has no tag of its own to wait for. */
  test_io_init (&flush, bed, BLKMQ_OP_FLUSH, 0);
  ck_assert_int_eq (blkmq_submit_wait (bed->submitter, &flush.io), 0);
  assert_not_ended (&flush);

  test_io_init (&w.t, bed, BLKMQ_OP_WRITE, 0);
  w.t.io.flags = BLKMQ_IO_PREFLUSH;
  thread = thread_start (submits_and_waits, &w);
  complete (bed, 0, BLKMQ_STS_OK);
  await (bed->script.nr_issues == 2);
  ck_assert (!w.has_returned);
  complete (bed, 1, BLKMQ_STS_OK);
  await (w.has_returned);
  thread_join (thread);
  assert_last_issue (bed, 2, BLKMQ_OP_WRITE, 0);
  assert_not_ended (&w.t);
  complete (bed, 2, BLKMQ_STS_OK);
  assert_ended (&w.t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* Each end submits the next, and the driver completes inside queue_rq: the
 * stack must not grow by it. */
#define NR_CHAINED 20000

struct chain {
  struct test_io t;
  unsigned nr_left;
  char *lowest, *highest;
};

static void
submits_the_next (struct test_io *t)
{
  struct chain *chain = (struct chain *)t;
  char here;

  if (chain->lowest == NULL || &here < chain->lowest)
    chain->lowest = &here;
  if (chain->highest == NULL || &here > chain->highest)
    chain->highest = &here;
  if (--chain->nr_left == 0)
    return;
  test_io_init (t, t->bed, BLKMQ_OP_WRITE, 0);
  t->io.flags = BLKMQ_IO_PREFLUSH | BLKMQ_IO_FUA;
  t->on_end = submits_the_next;
  blkmq_submit (t->bed->submitter, &t->io);
}

START_TEST (test_sequences_do_not_recurse)
{
  static struct chain chain;
  struct bed *bed = bed_alloc ();

  bed->script.volatile_cache = true;
  bed->script.on_queue = script_completes_inside;
  bed_open (bed, "hw_queue_depth=1");
  test_io_init (&chain.t, bed, BLKMQ_OP_WRITE, 0);
  chain.t.io.flags = BLKMQ_IO_PREFLUSH | BLKMQ_IO_FUA;
  chain.t.on_end = submits_the_next;
  chain.nr_left = NR_CHAINED;
  blkmq_submit (bed->submitter, &chain.t.io);
  while (chain.nr_left > 0) {
    unsigned before = chain.nr_left;

    bed_turn (bed);
    ck_assert_uint_lt (chain.nr_left, before);
  }
  ck_assert_uint_eq (bed->script.nr_issues, 3 * NR_CHAINED);
  ck_assert_int_lt (chain.highest - chain.lowest, 16384);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* References, timeouts                                                      */

START_TEST (test_give_back_waits_for_the_data)
{
  struct bed *bed = start_cached (false, "");
  struct blkmq_request *rq;
  struct test_io t;

  submit_flags (&t, bed, BLKMQ_OP_WRITE, BLKMQ_IO_FUA);
  rq = blkmq_request_get (bed->disk, script_issue (&bed->script, 0)->token);
  ck_assert_ptr_nonnull (rq);
  complete (bed, 0, BLKMQ_STS_OK);
  complete (bed, 1, BLKMQ_STS_OK);
  assert_ended_early (&t, BLKMQ_STS_OK);
  blkmq_request_put (rq);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_a_kept_flush_request_delays_nobody)
{
  struct bed *bed = start_cached (false, "");
  struct blkmq_request *rq;
  struct test_io t[2];

  submit_flush (&t[0], bed);
  rq = blkmq_request_get (bed->disk, script_issue (&bed->script, 0)->token);
  ck_assert_ptr_nonnull (rq);
  complete (bed, 0, BLKMQ_STS_OK);
  assert_ended (&t[0], BLKMQ_STS_OK);
  submit_flush (&t[1], bed);
  assert_last_issue (bed, 1, BLKMQ_OP_FLUSH, 0);
  complete (bed, 1, BLKMQ_STS_OK);
  assert_ended (&t[1], BLKMQ_STS_OK);
  blkmq_request_put (rq);
  bed_stop (bed);
}
END_TEST

static enum blkmq_timeout_result timeout_says;

static enum blkmq_timeout_result
says (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  (void)script;
  (void)rq;
  (void)token;
  return timeout_says;
}

static struct bed *
start_timing (enum blkmq_timeout_result result)
{
  struct bed *bed = bed_alloc ();

  timeout_says = result;
  bed->script.volatile_cache = true;
  bed->script.on_timeout = says;
  bed_open (bed, "io_timeout=10ms");
  return bed;
}

START_TEST (test_a_flush_that_times_out_ends_all_who_share_it)
{
  struct bed *bed = start_timing (BLKMQ_TIMEOUT_DONE);
  struct test_io first, t[2];

  submit_flush (&first, bed);
  submit_flush (&t[0], bed);
  submit_flags (&t[1], bed, BLKMQ_OP_WRITE, BLKMQ_IO_PREFLUSH);
  complete (bed, 0, BLKMQ_STS_OK);
  bed_pass (bed, 30 * MS);
  assert_ended (&t[0], BLKMQ_STS_TIMEOUT);
  assert_ended (&t[1], BLKMQ_STS_TIMEOUT);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  bed_stop (bed);
}
END_TEST

/* The driver keeps a flush that has timed out: who shared it, with or without
 * a give_back, is answered, and the next flush does not wait for it. */
START_TEST (test_a_flush_that_is_held_delays_nobody)
{
  struct bed *bed = start_timing (BLKMQ_TIMEOUT_HELD);
  struct test_io t, deferred, next;

  submit_flush (&t, bed);
  bed_pass (bed, 30 * MS);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  test_io_init (&deferred, bed, BLKMQ_OP_FLUSH, 0);
  blkmq_submit (bed->submitter, &deferred.io);
  assert_last_issue (bed, 1, BLKMQ_OP_FLUSH, 0);
  submit_flush (&next, bed);
  bed_pass (bed, 30 * MS);
  assert_ended (&deferred, BLKMQ_STS_TIMEOUT);
  assert_last_issue (bed, 2, BLKMQ_OP_FLUSH, 0);
  /* Late ones are no answer to this one. */
  complete (bed, 0, BLKMQ_STS_OK);
  complete (bed, 1, BLKMQ_STS_OK);
  assert_not_ended (&next);
  complete (bed, 2, BLKMQ_STS_OK);
  assert_ended (&next, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_data_that_times_out_needs_no_postflush)
{
  struct bed *bed = start_timing (BLKMQ_TIMEOUT_HELD);
  struct test_io t;

  submit_flags (&t, bed, BLKMQ_OP_WRITE, BLKMQ_IO_FUA);
  bed_pass (bed, 30 * MS);
  assert_ended_early (&t, BLKMQ_STS_TIMEOUT);
  complete (bed, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Abort and removal in each phase                                           */

enum phase {
  SHARES_NEXT,      /* the preflush is yet to begin */
  PREFLUSH,         /* it is with the driver */
  WAITS_FOR_TAG,    /* the data is to be dispatched */
  DATA,             /* the data is with the driver */
  DATA_IN_PART,     /* so is the first part; the rest waits for a tag */
  BEFORE_POSTFLUSH, /* another flush is with the driver */
  POSTFLUSH,        /* its own is */
  NR_PHASES
};

struct phased {
  struct bed *bed;
  struct blkmq_submitter *other_submitter;
  struct test_io t, other, blocker;
  char data[2 * BLOCK_BYTES];
  unsigned nr_issues; /* when the phase was reached */
};

static void
submit_other (struct phased *p, struct test_io *t, enum blkmq_op op)
{
  test_io_init (t, p->bed, op, 5);
  blkmq_submit (p->other_submitter, &t->io);
}

/* A flush, PREFLUSH and FUA, up to PHASE.  What else is under way is another
 * submitter's. */
static struct phased *
reach (enum phase phase, bool early)
{
  struct phased *p = calloc (1, sizeof *p);
  struct bed *bed;
  unsigned n = 0;

  require (p != NULL);
  bed = start_cached (false, "max_sectors=1 hw_queue_depth=2");
  bed_bear_mistakes (bed); /* complete_all completes the first ones again */
  p->bed = bed;
  p->other_submitter = blkmq_submitter_alloc (bed->disk, 0);
  require (p->other_submitter != NULL);
  if (early)
    test_io_init_early (&p->t, bed, BLKMQ_OP_WRITE, 1);
  else
    test_io_init (&p->t, bed, BLKMQ_OP_WRITE, 1);
  p->t.io.flags = BLKMQ_IO_PREFLUSH | BLKMQ_IO_FUA;
  if (phase == DATA_IN_PART) {
    p->t.io.bytes = sizeof p->data;
    p->t.segment = (struct iovec){ p->data, sizeof p->data };
  }

  if (phase == SHARES_NEXT) {
    submit_other (p, &p->other, BLKMQ_OP_FLUSH);
    n++;
  }
  blkmq_submit (bed->submitter, &p->t.io);
  if (phase <= PREFLUSH)
    goto reached;

  if (phase == WAITS_FOR_TAG || phase == DATA_IN_PART) {
    submit_other (p, &p->blocker, BLKMQ_OP_READ);
    if (phase == WAITS_FOR_TAG)
      submit_other (p, &p->other, BLKMQ_OP_READ);
    complete (bed, n++, BLKMQ_STS_OK);
    goto reached;
  }
  complete (bed, n++, BLKMQ_STS_OK);
  if (phase == DATA)
    goto reached;
  if (phase == BEFORE_POSTFLUSH) {
    submit_other (p, &p->other, BLKMQ_OP_FLUSH);
    complete (bed, n, BLKMQ_STS_OK);
  } else
    complete (bed, n++, BLKMQ_STS_OK);

reached:
  assert_not_ended (&p->t);
  ck_assert_uint_eq (p->t.nr_give_backs, 0);
  p->nr_issues = bed->script.nr_issues;
  return p;
}

static bool
is_with_driver (enum phase phase)
{
  return phase == DATA || phase == DATA_IN_PART;
}

/* Let the driver complete all that it has, until nothing more comes. */
static void
complete_all (struct bed *bed)
{
  for (unsigned n = 0; n < bed->script.nr_issues; n++) {
    issue_complete (&bed->script, n, BLKMQ_STS_OK);
    bed_turn (bed);
  }
}

static void
phased_free (struct phased *p)
{
  blkmq_disk_remove (p->bed->disk);
  blkmq_submitter_free (p->other_submitter);
  bed_stop (p->bed);
  free (p);
}

static unsigned
nr_issues_of (struct phased *p, uint64_t block)
{
  unsigned nr = 0;

  for (unsigned n = 0; n < p->bed->script.nr_issues; n++)
    nr += script_issue (&p->bed->script, n)->op == BLKMQ_OP_WRITE
          && script_issue (&p->bed->script, n)->offset_bytes
                 == block * BLOCK_BYTES;
  return nr;
}

static void
check_aborted (enum phase phase, bool early, bool by_submitter)
{
  struct phased *p = reach (phase, early);
  unsigned nr_written = nr_issues_of (p, 1), nr;

  bed_bear_mistakes (p->bed); /* complete_all tries what is over, too */
  nr = by_submitter ? blkmq_abort_submitter (p->bed->submitter)
                    : blkmq_abort_io (p->bed->submitter, &p->t.io);
  bed_turn (p->bed);
  ck_assert_uint_ge (nr, 1);
  if (!is_with_driver (phase))
    assert_ended (&p->t, BLKMQ_STS_ABORTED);
  else if (early)
    assert_ended_early (&p->t, BLKMQ_STS_ABORTED);
  else
    assert_not_ended (&p->t);
  complete_all (p->bed);
  assert_ended (&p->t, BLKMQ_STS_ABORTED);
  /* No step of it follows, and the others' go on. */
  ck_assert_uint_eq (nr_issues_of (p, 1), nr_written);
  ck_assert_uint_eq (nr_issues_of (p, 2), 0);
  if (p->other.bed != NULL)
    assert_ended (&p->other, BLKMQ_STS_OK);
  if (p->blocker.bed != NULL)
    assert_ended (&p->blocker, BLKMQ_STS_OK);
  if (is_with_driver (phase))
    ck_assert_uint_eq (p->bed->script.nr_issues, p->nr_issues);
  bed_check_idle (p->bed);
  /* The machinery is as good as new. */
  nr = p->bed->script.nr_issues;
  submit_flush (&p->other, p->bed);
  assert_last_issue (p->bed, nr, BLKMQ_OP_FLUSH, 0);
  complete (p->bed, nr, BLKMQ_STS_OK);
  assert_ended (&p->other, BLKMQ_STS_OK);
  phased_free (p);
}

START_TEST (test_abort_of_an_io_in_each_phase)
{
  check_aborted ((enum phase) (_i / 2), _i % 2, false);
}
END_TEST

START_TEST (test_abort_of_a_submitter_in_each_phase)
{
  check_aborted ((enum phase) (_i / 2), _i % 2, true);
}
END_TEST

START_TEST (test_abort_leaves_those_who_share_alone)
{
  struct bed *bed = start_cached (false, "");
  struct test_io first, t[3], after;

  submit_flush (&first, bed);
  for (unsigned i = 0; i < 3; i++)
    submit_flush (&t[i], bed);
  /* The last of those who wait: whoever comes then is not lost. */
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t[2].io), 1);
  assert_ended (&t[2], BLKMQ_STS_ABORTED);
  submit_flush (&after, bed);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &first.io), 1);
  assert_ended (&first, BLKMQ_STS_ABORTED);
  complete (bed, 0, BLKMQ_STS_OK);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t[0].io), 1);
  assert_last_issue (bed, 1, BLKMQ_OP_FLUSH, 0);
  assert_not_ended (&t[1]);
  complete (bed, 1, BLKMQ_STS_OK);
  assert_ended (&t[0], BLKMQ_STS_ABORTED);
  assert_ended (&t[1], BLKMQ_STS_OK);
  assert_ended (&after, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (bed_stats (bed).flushes_coalesced, 2);
  bed_stop (bed);
}
END_TEST

/* The last part of a split write is answered, and before the engine comes to
 * the POSTFLUSH the io is aborted. */
static enum blkmq_queue_result
completes_and_aborts (struct script *script, const struct issue *issue)
{
  struct test_io *t = script->opaque;

  require (issue->op == BLKMQ_OP_WRITE);
  require (script_complete (script, issue->rq, issue->token, BLKMQ_STS_OK)
           == 0);
  if (script->nr_issues == 2)
    require (blkmq_abort_io (t->bed->submitter, &t->io) == 0);
  return BLKMQ_QUEUED;
}

START_TEST (test_no_flush_begins_for_an_aborted_io)
{
  struct bed *bed = bed_alloc ();
  char data[2 * BLOCK_BYTES] = { 0 };
  struct test_io t;

  bed->script.volatile_cache = true;
  bed->script.on_queue = completes_and_aborts;
  bed->script.opaque = &t;
  bed_open (bed, "max_sectors=1");
  test_io_init_early (&t, bed, BLKMQ_OP_WRITE, 0);
  t.io.flags = BLKMQ_IO_FUA;
  t.io.bytes = sizeof data;
  t.segment = (struct iovec){ data, sizeof data };
  blkmq_submit (bed->submitter, &t.io);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (bed_stats (bed).flushes, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_abort_of_the_flush_ends_all_who_share_it)
{
  struct bed *bed = start_cached (false, "");
  struct test_io t, next;

  submit_flush (&t, bed);
  submit_flush (&next, bed);
  ck_assert_uint_eq (
      blkmq_abort_request (bed->disk, script_issue (&bed->script, 0)->token),
      1);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  assert_last_issue (bed, 1, BLKMQ_OP_FLUSH, 0);
  complete (bed, 0, BLKMQ_STS_OK);
  assert_not_ended (&next);
  complete (bed, 1, BLKMQ_STS_OK);
  assert_ended (&next, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_removal_in_each_phase)
{
  struct phased *p = reach ((enum phase) (_i / 2), _i % 2);
  uint64_t nr_flushes = bed_stats (p->bed).flushes;
  struct test_io t;

  blkmq_disk_remove (p->bed->disk);
  assert_ended (&p->t, BLKMQ_STS_OFFLINE);
  ck_assert_uint_eq (bed_stats (p->bed).flushes, nr_flushes);
  if (p->other.bed != NULL)
    assert_ended (&p->other, BLKMQ_STS_OFFLINE);
  ck_assert_uint_eq (p->bed->script.nr_issues, p->nr_issues);
  submit_flush (&t, p->bed);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  submit_flags (&t, p->bed, BLKMQ_OP_WRITE, BLKMQ_IO_PREFLUSH | BLKMQ_IO_FUA);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  phased_free (p);
}
END_TEST

START_TEST (test_removal_of_a_frozen_disk_between_the_steps)
{
  struct bed *bed = start_cached (false, "");
  struct test_io t, flush;
  pthread_t freezer;

  submit_flags (&t, bed, BLKMQ_OP_WRITE, BLKMQ_IO_PREFLUSH | BLKMQ_IO_FUA);
  submit_flush (&flush, bed);
  freezer = thread_start (freezes, bed);
  await (atomic_load (&bed_hctx (bed, 0)->flags) & HCTX_FROZEN);
  complete (bed, 0, BLKMQ_STS_OK);
  thread_join (freezer);
  assert_not_ended (&t);
  assert_not_ended (&flush);
  blkmq_disk_remove (bed->disk);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  assert_ended (&flush, BLKMQ_STS_OFFLINE);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("flush");
  TCase *tcase = harness_case (suite, "steps");

  tcase_add_test (tcase, test_without_a_cache_flags_mean_nothing);
  tcase_add_test (tcase, test_without_a_cache_a_flush_is_the_drivers);
  tcase_add_test (tcase, test_without_a_cache_an_empty_write_ends_at_once);
  tcase_add_test (tcase, test_preflush_is_for_writes_and_flushes);
  tcase_add_test (tcase, test_plain_ios_are_left_alone);
  tcase_add_test (tcase, test_preflush_data_postflush);
  tcase_add_test (tcase, test_preflush_alone_ends_with_the_data);
  tcase_add_test (tcase, test_fua_is_the_drivers_if_it_can);
  tcase_add_test (tcase, test_fua_of_all_that_write);
  tcase_add_test (tcase, test_an_empty_write_with_preflush_is_a_flush);
  tcase_add_test (tcase, test_postflush_waits_for_all_parts);
  tcase = harness_case (suite, "errors");
  tcase_add_test (tcase, test_failed_preflush_writes_nothing);
  tcase_add_test (tcase, test_failed_data_needs_no_postflush);
  tcase_add_test (tcase, test_failed_part_needs_no_postflush);
  tcase_add_test (tcase, test_failed_postflush_fails_the_io);
  tcase = harness_case (suite, "sharing");
  tcase_add_test (tcase, test_flushes_that_come_meanwhile_share_the_next);
  tcase_add_test (tcase, test_all_steps_share);
  tcase_add_test (tcase, test_error_of_a_shared_flush_goes_to_all);
  tcase_add_test (tcase, test_flush_goes_where_the_first_waits);
  tcase = harness_case (suite, "tags");
  tcase_add_test (tcase, test_nobody_holds_a_tag_while_waiting_for_a_flush);
  tcase_add_test (tcase, test_a_refused_flush_is_tried_again);
  tcase_add_test (tcase, test_freeze_stops_between_the_steps);
  tcase_add_test (tcase, test_live_change_of_queues_moves_the_flush);
  tcase_add_test (tcase, test_submit_wait_waits_for_the_tag_of_the_data);
  tcase_add_test (tcase, test_sequences_do_not_recurse);
  tcase = harness_case (suite, "references");
  tcase_add_test (tcase, test_give_back_waits_for_the_data);
  tcase_add_test (tcase, test_a_kept_flush_request_delays_nobody);
  tcase_add_test (tcase, test_a_flush_that_times_out_ends_all_who_share_it);
  tcase_add_test (tcase, test_a_flush_that_is_held_delays_nobody);
  tcase_add_test (tcase, test_data_that_times_out_needs_no_postflush);
  tcase = harness_case (suite, "abort");
  tcase_add_loop_test (tcase, test_abort_of_an_io_in_each_phase, 0,
                       2 * NR_PHASES);
  tcase_add_loop_test (tcase, test_abort_of_a_submitter_in_each_phase, 0,
                       2 * NR_PHASES);
  tcase_add_test (tcase, test_abort_leaves_those_who_share_alone);
  tcase_add_test (tcase, test_no_flush_begins_for_an_aborted_io);
  tcase_add_test (tcase, test_abort_of_the_flush_ends_all_who_share_it);
  tcase_add_loop_test (tcase, test_removal_in_each_phase, 0, 2 * NR_PHASES);
  tcase_add_test (tcase, test_removal_of_a_frozen_disk_between_the_steps);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
