/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-interleave-flush.c: the flush machinery, in every order that some
 * hundred seeds make (races.h).  Whatever happens, what was answered with OK
 * is what it says: each flush covers what was answered before it was asked
 * for, PREFLUSH comes before the data, and FUA is followed by a flush.
 */

#include <config.h>

#include "races.h"

#define ABORTED (1u << 0)
#define NOT_ABORTED (1u << 1)
#define TIMED_OUT (1u << 2)
#define OFFLINE (1u << 3)
#define SHARED (1u << 4)
#define UPDATED (1u << 5)
#define ENDED_OK (1u << 6)

/* ---- the ios ---- */

#define FUA BLKMQ_IO_FUA
#define BOTH (BLKMQ_IO_FUA | BLKMQ_IO_PREFLUSH)

static const struct {
  enum blkmq_op op;
  uint32_t flags;
} kinds[RACE_MAX_IOS] = {
  { BLKMQ_OP_WRITE, BOTH }, { BLKMQ_OP_FLUSH, 0 },
  { BLKMQ_OP_WRITE, FUA },  { BLKMQ_OP_FLUSH, 0 },
  { BLKMQ_OP_WRITE, BOTH }, { BLKMQ_OP_WRITE, BLKMQ_IO_PREFLUSH },
  { BLKMQ_OP_WRITE, FUA },  { BLKMQ_OP_FLUSH, 0 },
};

static void
submit (struct world *w, unsigned n)
{
  struct blkmq_submitter *s = w->disks[0].submitters[n % 2];

  race_submit_op (w, n, 0, s, kinds[n].op, kinds[n].flags);
}

static void
submits_even (void *opaque)
{
  for (unsigned n = 0; n < 6; n += 2)
    submit (opaque, n);
}

static void
submits_odd (void *opaque)
{
  for (unsigned n = 1; n < 6; n += 2)
    submit (opaque, n);
}

static void
submits_0 (struct world *w)
{
  submit (w, 0);
}

static void
submits_the_others (void *opaque)
{
  for (unsigned n = 1; n < 6; n++)
    submit (opaque, n);
}

/* ---- the other actors ---- */

static void
aborts_io (void *opaque)
{
  struct world *w = opaque;
  unsigned when = 1 + (unsigned)rng_below (&w->rng, 4);

  /* In any phase. */
  explore_await (w->nr_issues >= when || w->ios[0].nr_ends == 1);
  w->nr_aborted += blkmq_abort_io (w->disks[0].submitters[0], &w->ios[0].io);
}

static void
aborts_submitter (void *opaque)
{
  struct world *w = opaque;

  w->nr_aborted += blkmq_abort_submitter (w->disks[0].submitters[0]);
}

static void
removes (void *opaque)
{
  race_remove (opaque, 0);
}

static void
times_out (void *opaque)
{
  race_time_out (opaque);
}

static void
updates (void *opaque)
{
  struct world *w = opaque;
  struct blkmq_error error;

  for (unsigned nr = 1; nr <= 2; nr++)
    require (update_queues (w->disks[0].disk, nr, race_draw (w) ? 1 : 2, &error)
             == 0);
  saw (UPDATED);
}

static void
freezes (void *opaque)
{
  race_freeze (opaque, 0);
}

/* ---- what must hold ---- */

/* A flush that began after FROM and had ended by UNTIL. */
static bool
flushed_between (struct world *w, unsigned from, unsigned until)
{
  for (unsigned i = 0; i < w->nr_issues; i++) {
    const struct race_issue *issue = &w->issues[i];

    if (issue->op == BLKMQ_OP_FLUSH && issue->end_event != 0
        && issue->start_event > from && issue->end_event < until)
      return true;
  }
  return false;
}

/* When the data of io N was written.  Requeued, it came more than once. */
static const struct race_issue *
write_of (struct world *w, unsigned n)
{
  for (unsigned i = 0; i < w->nr_issues; i++) {
    const struct race_issue *issue = &w->issues[i];

    if (issue->op == BLKMQ_OP_WRITE && issue->end_event != 0
        && issue->offset_bytes == n * (uint64_t)BLOCK_BYTES)
      return issue;
  }
  return NULL;
}

static unsigned
first_try_of (struct world *w, unsigned n)
{
  for (unsigned i = 0; i < w->nr_issues; i++) {
    if (w->issues[i].op == BLKMQ_OP_WRITE
        && w->issues[i].offset_bytes == n * (uint64_t)BLOCK_BYTES)
      return w->issues[i].start_event;
  }
  return ~0u;
}

static void
check_ok (struct world *w, unsigned n)
{
  const struct race_io *io = &w->ios[n];
  const struct race_issue *write;

  if (kinds[n].op == BLKMQ_OP_FLUSH) {
    require (flushed_between (w, io->submit_event, io->end_event));
    return;
  }
  write = write_of (w, n);
  require (write != NULL && write->end_event < io->end_event);
  if (kinds[n].flags & BLKMQ_IO_PREFLUSH)
    require (flushed_between (w, io->submit_event, first_try_of (w, n)));
  if (kinds[n].flags & BLKMQ_IO_FUA)
    require (flushed_between (w, write->end_event, io->end_event));
}

static void
check_durable (struct world *w)
{
  struct blkmq_stats stats;
  unsigned nr_aborted = 0;

  for (unsigned n = 0; n < RACE_MAX_IOS; n++) {
    const struct race_io *io = &w->ios[n];

    if (!io->is_submitted)
      continue;
    switch (io->status) {
    case BLKMQ_STS_OK:
      saw (ENDED_OK);
      check_ok (w, n);
      break;
    case BLKMQ_STS_ABORTED:
      nr_aborted++;
      break;
    case BLKMQ_STS_TIMEOUT:
      saw (TIMED_OUT);
      break;
    default:
      require (io->status == BLKMQ_STS_OFFLINE && w->disks[0].is_removed);
      saw (OFFLINE);
    }
  }
  saw (nr_aborted > 0 ? ABORTED : NOT_ABORTED);
  require (blkmq_disk_stats (w->disks[0].disk, BLKMQ_HCTX_ANY, &stats) == 0);
  if (stats.flushes_coalesced > 0)
    saw (SHARED);
}

/* ------------------------------------------------------------------------ */

START_TEST (test_join_against_begin)
{
  static const struct race race = {
    .name = "join-against-begin",
    .keys = "hw_queue_depth=1 submit_queues=2",
    .volatile_cache = true,
    .actors = { { "even", submits_even }, { "odd", submits_odd } },
    .turns = true,
    .requeues = true,
    .check = check_durable,
    .must_see = SHARED | ENDED_OK,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_sequence_against_abort_of_the_io)
{
  static const struct race race = {
    .name = "sequence-against-abort-of-the-io",
    .keys = "hw_queue_depth=1 submit_queues=2",
    .volatile_cache = true,
    .actors = { { "abort", aborts_io }, { "odd", submits_odd } },
    .turns = true,
    .prepare = submits_0,
    .check = check_durable,
    .must_see = ABORTED | NOT_ABORTED | ENDED_OK,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_sequences_against_abort_of_the_submitter)
{
  static const struct race race = {
    .name = "sequences-against-abort-of-the-submitter",
    .keys = "hw_queue_depth=2 submit_queues=2 scheduler=mq-deadline",
    .volatile_cache = true,
    .actors = { { "even", submits_even },
                { "odd", submits_odd },
                { "abort", aborts_submitter } },
    .turns = true,
    .check = check_durable,
    .must_see = ABORTED | NOT_ABORTED | ENDED_OK,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_sequences_against_timeout)
{
  static const struct race race = {
    .name = "sequences-against-timeout",
    .keys = "hw_queue_depth=2 submit_queues=2 io_timeout=100",
    .volatile_cache = true,
    .actors = { { "time", times_out }, { "others", submits_the_others } },
    .turns = true,
    .never_busy = true,
    .prepare = submits_0,
    .check = check_durable,
    .must_see = TIMED_OUT | ENDED_OK,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_sequences_against_removal)
{
  static const struct race race = {
    .name = "sequences-against-removal",
    .keys = "hw_queue_depth=1 submit_queues=2",
    .volatile_cache = true,
    .actors = { { "remove", removes },
                { "others", submits_the_others },
                { "abort", aborts_io } },
    .turns = true,
    .prepare = submits_0,
    .check = check_durable,
    .must_see = OFFLINE | ENDED_OK | ABORTED,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_sequences_against_update)
{
  static const struct race race = {
    .name = "sequences-against-update",
    .keys = "hw_queue_depth=1 submit_queues=2",
    .volatile_cache = true,
    .actors = { { "update", updates },
                { "even", submits_even },
                { "odd", submits_odd } },
    .turns = true,
    .check = check_durable,
    .must_see = UPDATED | SHARED | ENDED_OK,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_sequences_against_update_and_abort)
{
  static const struct race race = {
    .name = "sequences-against-update-and-abort",
    .keys = "hw_queue_depth=1 submit_queues=2",
    .volatile_cache = true,
    .actors = { { "update", updates },
                { "others", submits_the_others },
                { "abort", aborts_submitter } },
    .turns = true,
    .prepare = submits_0,
    .check = check_durable,
    .must_see = UPDATED | ABORTED | ENDED_OK,
  };

  race_run (&race);
}
END_TEST

START_TEST (test_sequences_against_freeze)
{
  static const struct race race = {
    .name = "sequences-against-freeze",
    .keys = "hw_queue_depth=2 submit_queues=2",
    .volatile_cache = true,
    .actors = { { "freeze", freezes },
                { "even", submits_even },
                { "odd", submits_odd } },
    .turns = true,
    .check = check_durable,
    .must_see = ENDED_OK,
  };

  race_run (&race);
}
END_TEST

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("interleave-flush");
  TCase *tcase;

  tcase = harness_case (suite, "sequences");
  tcase_add_test (tcase, test_join_against_begin);
  tcase_add_test (tcase, test_sequence_against_abort_of_the_io);
  tcase_add_test (tcase, test_sequences_against_abort_of_the_submitter);
  tcase_add_test (tcase, test_sequences_against_timeout);
  tcase_add_test (tcase, test_sequences_against_removal);
  tcase_add_test (tcase, test_sequences_against_update);
  tcase_add_test (tcase, test_sequences_against_update_and_abort);
  tcase_add_test (tcase, test_sequences_against_freeze);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
