/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-poll.c: polled ios: they end in a poll and nowhere else, on the thread
 * that polls, unless a timeout, an abort or removal ends them; and those who
 * wait for them poll.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include <ev.h>

#include "harness.h"

#define POLLED BLKMQ_HCTX_TYPE_POLL

/* The driver completes when it is polled, from the start or from the Nth poll
 * on (script->opaque: N). */
static unsigned
reaps_later (struct script *script, struct blkmq_hctx *hctx)
{
  const unsigned *first = script->opaque;

  return script->nr_polls >= *first ? script_reaps (script, hctx) : 0;
}

static struct bed *
poll_bed_alloc (void)
{
  struct bed *bed = bed_alloc ();

  bed->script.driver = "scripted-poll";
  bed->script.on_poll = script_reaps;
  return bed;
}

static struct bed *
poll_bed (const char *keys)
{
  struct bed *bed = poll_bed_alloc ();

  bed_open (bed, keys);
  return bed;
}

static void
init_polled (struct test_io *t, struct bed *bed, uint64_t block)
{
  test_io_init (t, bed, BLKMQ_OP_READ, block);
  t->io.flags = BLKMQ_IO_POLLED;
}

static void
submit_polled (struct test_io *t, struct bed *bed, uint64_t block)
{
  init_polled (t, bed, block);
  blkmq_submit (bed->submitter, &t->io);
}

/* The answer before the data. */
static void
submit_polled_early (struct test_io *t, struct bed *bed, uint64_t block)
{
  test_io_init_early (t, bed, BLKMQ_OP_READ, block);
  t->io.flags = BLKMQ_IO_POLLED;
  blkmq_submit (bed->submitter, &t->io);
}

/* ------------------------------------------------------------------------ */
/* Reaping                                                                   */

static const struct {
  const char *driver, *keys;
} modes[] = {
  { "scripted-poll", "poll_queues=1" },
  { "scripted-poll", "poll_queues=1 irqmode=softirq" },
  { "scripted-poll", "poll_queues=1 irqmode=timer completion_nsec=1s" },
  { "scripted-poll", "poll_queues=1 shared_tag_bitmap=1" },
  { "scripted-poll-complete", "poll_queues=1 irqmode=softirq" },
  { "memory", "poll_queues=1" },
  { "null", "poll_queues=1 irqmode=softirq" },
};

START_TEST (test_a_polled_io_ends_in_a_poll)
{
  struct bed *bed = poll_bed_alloc ();
  struct blkmq_stats stats;
  struct test_io t[3];

  bed->script.driver = modes[_i].driver;
  bed_open (bed, modes[_i].keys);
  for (unsigned i = 0; i < 3; i++)
    submit_polled (&t[i], bed, i * 2);
  bed_pass (bed, 3600 * 1000 * MS);
  for (unsigned i = 0; i < 3; i++)
    assert_not_ended (&t[i]);

  /* All in this call: nothing is left to the loop. */
  ck_assert_int_eq (blkmq_poll (bed->submitter), 3);
  for (unsigned i = 0; i < 3; i++) {
    assert_ended (&t[i], BLKMQ_STS_OK);
    ck_assert_uint_eq (t[i].end_event, i + 1);
  }
  bed_check_idle (bed);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 0);

  /* They are its hctx's, and the other's are not. */
  ck_assert_int_eq (blkmq_disk_stats (bed->disk, 1, &stats), 0);
  ck_assert_uint_eq (stats.ios[BLKMQ_OP_READ], 3);
  ck_assert_uint_eq (stats.polled, 3);
  ck_assert_int_eq (blkmq_disk_stats (bed->disk, 0, &stats), 0);
  ck_assert_uint_eq (stats.ios[BLKMQ_OP_READ], 0);
  ck_assert_uint_eq (stats.polled, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_a_poll_reaps_what_others_have_submitted)
{
  struct bed *bed = poll_bed ("poll_queues=2");
  struct blkmq_submitter *same = blkmq_submitter_alloc (bed->disk, 2);
  struct blkmq_submitter *other = blkmq_submitter_alloc (bed->disk, 1);
  struct test_io t;

  blkmq_submitter_free (bed->submitter);
  bed->submitter = blkmq_submitter_alloc (bed->disk, 2);
  submit_polled (&t, bed, 0);
  ck_assert_int_eq (blkmq_poll (other), 0);
  assert_not_ended (&t);
  ck_assert_int_eq (blkmq_poll (same), 1);
  assert_ended (&t, BLKMQ_STS_OK);
  blkmq_submitter_free (same);
  blkmq_submitter_free (other);
  bed_stop (bed);
}
END_TEST

START_TEST (test_ordinary_ios_are_not_polled_for)
{
  struct bed *bed = poll_bed ("poll_queues=1 irqmode=softirq");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 0);
  assert_not_ended (&t);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static void
polls_and_submits (struct test_io *t)
{
  struct test_io *next = t->opaque;

  ck_assert_int_eq (blkmq_poll (t->bed->submitter), -EDEADLK);
  if (next != NULL)
    blkmq_submit (t->bed->submitter, &next->io);
}

START_TEST (test_end_io_may_submit_but_not_poll)
{
  struct bed *bed = poll_bed ("poll_queues=1 hw_queue_depth=1");
  struct test_io t[2];

  init_polled (&t[0], bed, 0);
  init_polled (&t[1], bed, 2);
  t[0].on_end = polls_and_submits;
  t[0].opaque = &t[1];
  t[1].on_end = polls_and_submits;
  blkmq_submit (bed->submitter, &t[0].io);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
  assert_ended (&t[0], BLKMQ_STS_OK);
  /* It got the tag, and the driver has it. */
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
  assert_ended (&t[1], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_who_waits_for_a_tag_gets_one_by_polling)
{
  struct bed *bed = poll_bed ("poll_queues=1 hw_queue_depth=1");
  struct test_io t[3];

  for (unsigned i = 0; i < 3; i++)
    submit_polled (&t[i], bed, i * 2);
  ck_assert_uint_eq (bed_stats (bed).waiting, 2);
  for (unsigned i = 0; i < 3; i++) {
    ck_assert_uint_eq (bed->script.nr_issues, i + 1);
    ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
    assert_ended (&t[i], BLKMQ_STS_OK);
  }
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
refuses_the_second (struct script *script, const struct issue *issue)
{
  return script->nr_issues == 2 ? BLKMQ_BUSY_DEVICE : BLKMQ_QUEUED;
}

START_TEST (test_reaping_reruns_what_the_driver_refused)
{
  struct bed *bed = poll_bed_alloc ();
  struct test_io t[2];

  bed->script.on_queue = refuses_the_second;
  bed_open (bed, "poll_queues=1");
  submit_polled (&t[0], bed, 0);
  submit_polled (&t[1], bed, 2);
  bed_turn (bed); /* the watched try, which is taken */
  ck_assert_uint_eq (bed_stats (bed).busy, 1);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 2);
  assert_ended (&t[0], BLKMQ_STS_OK);
  assert_ended (&t[1], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_a_poll_may_requeue)
{
  struct bed *bed = poll_bed ("poll_queues=1");
  struct test_io t;

  submit_polled (&t, bed, 0);
  issue_requeue (&bed->script, 0);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (script_issue (&bed->script, 1)->flags, BLKMQ_IO_POLLED);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Waiting                                                                   */

static unsigned third = 3;

START_TEST (test_sync_polls_until_it_is_done)
{
  struct bed *bed = poll_bed_alloc ();
  struct test_io t;

  bed->script.on_poll = reaps_later;
  bed->script.opaque = &third;
  bed_open (bed, "poll_queues=1");
  init_polled (&t, bed, 0);
  ck_assert_int_eq (blkmq_submit_sync (bed->submitter, &t.io), 0);
  ck_assert_uint_eq (bed->script.nr_polls, 3);
  ck_assert_int_eq (
      blkmq_write (bed->submitter, t.data, BLOCK_BYTES, 0, BLKMQ_IO_POLLED), 0);
  ck_assert_uint_eq (bed->script.nr_polls, 4);
  bed_stop (bed);
}
END_TEST

/* opaque: how often it is to say yes, and how often it was asked. */
static bool
is_patient (void *opaque)
{
  unsigned *left = opaque;

  return (*left)-- > 0;
}

/* The device gives back when it is polled, but only what was aborted. */
static unsigned
reaps_aborted (struct script *script, struct blkmq_hctx *hctx)
{
  const struct issue *issue = script_issue (script, 0);
  uint64_t word = atomic_load (&request_of (issue->rq)->word);

  return word & WORD_ENDED ? script_reaps (script, hctx) : 0;
}

START_TEST (test_sync_asks_while_it_polls)
{
  struct bed *bed = poll_bed_alloc ();
  unsigned left = 3;
  struct test_io t;

  bed->script.on_poll = reaps_aborted;
  bed_open (bed, "poll_queues=1");
  init_polled (&t, bed, 0);
  ck_assert_int_eq (blkmq_submit_sync_while (bed->submitter, &t.io, MS / 10,
                                             is_patient, &left),
                    -ECANCELED);
  /* Three times yes, once no, and not again. */
  ck_assert_uint_eq (left, ~0u);
  ck_assert_uint_gt (bed->script.nr_polls, 4);
  bed_stop (bed);
}
END_TEST

START_TEST (test_sync_of_a_done_io_asks_nobody)
{
  struct bed *bed = poll_bed_alloc ();
  struct test_io t;

  bed->script.on_queue = script_completes_inside;
  bed_open (bed, "poll_queues=1");
  init_polled (&t, bed, 0);
  ck_assert_int_eq (
      blkmq_submit_sync_while (bed->submitter, &t.io, 1, NULL, NULL), 0);
  ck_assert_uint_eq (bed->script.nr_polls, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_submit_wait_polls_for_a_tag)
{
  struct bed *bed = poll_bed ("poll_queues=1 hw_queue_depth=1");
  struct test_io t[2];

  submit_polled (&t[0], bed, 0);
  init_polled (&t[1], bed, 2);
  ck_assert_int_eq (blkmq_submit_wait (bed->submitter, &t[1].io), 0);
  assert_ended (&t[0], BLKMQ_STS_OK);
  assert_not_ended (&t[1]);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
  assert_ended (&t[1], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Ends without a poll                                                       */

#define IO_TIMEOUT "io_timeout=5 poll_queues=1 hw_queue_depth=2 "

/* script->opaque: the answer. */
static enum blkmq_timeout_result
answers (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  const enum blkmq_timeout_result *answer = script->opaque;

  return *answer;
}

static struct bed *
timeout_bed (enum blkmq_timeout_result *answer)
{
  struct bed *bed = poll_bed_alloc ();

  bed->script.on_timeout = answers;
  bed->script.opaque = answer;
  bed_open (bed, IO_TIMEOUT);
  return bed;
}

START_TEST (test_a_timeout_ends_what_nobody_polls_for)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_DONE;
  struct bed *bed = timeout_bed (&answer);
  struct test_io t;

  submit_polled (&t, bed, 0);
  bed_pass (bed, 5 * MS - 1);
  assert_not_ended (&t);
  bed_pass (bed, 1);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  bed_check_idle (bed);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_a_poll_in_time_wins)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_DONE;
  struct bed *bed = timeout_bed (&answer);
  struct test_io t;

  submit_polled (&t, bed, 0);
  bed_pass (bed, 5 * MS - 1);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_pass (bed, 5 * MS);
  ck_assert_uint_eq (bed->script.nr_timeouts, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_a_late_poll_gives_back_what_was_held)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_HELD;
  struct bed *bed = timeout_bed (&answer);
  struct test_io t;

  submit_polled_early (&t, bed, 0);
  bed_pass (bed, 5 * MS);
  assert_ended_early (&t, BLKMQ_STS_TIMEOUT);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  ck_assert_uint_eq (bed_stats (bed).lost_claims[BLKMQ_CAUSE_COMPLETE], 1);
  bed_check_idle (bed);
  bed_stop (bed);
}
END_TEST

/* The built-in drivers keep polled requests on a list.  One is taken out, and
 * from where: the first, in the middle, the last. */
START_TEST (test_a_timeout_leaves_the_others_to_the_poll)
{
  static const char *const drivers[] = { "memory", "null" };
  struct bed *bed = bed_alloc ();
  struct test_io t[3];
  unsigned nr_out = (unsigned)_i;

  bed->script.driver = drivers[nr_out % 2];
  bed_open (bed, "io_timeout=5 poll_queues=1");
  for (unsigned i = 0; i < 3; i++) {
    submit_polled (&t[i], bed, i * 2);
    bed_pass (bed, MS);
  }
  /* The first runs out at 5 ms, the second at 6; now it is 3. */
  for (unsigned i = 0; i < nr_out; i++) {
    bed_pass (bed, i == 0 ? 2 * MS : MS);
    assert_ended (&t[i], BLKMQ_STS_TIMEOUT);
  }
  ck_assert_int_eq (blkmq_poll (bed->submitter), 3 - (int)nr_out);
  for (unsigned i = nr_out; i < 3; i++)
    assert_ended (&t[i], BLKMQ_STS_OK);
  bed_check_idle (bed);
  bed_stop (bed);
}
END_TEST

START_TEST (test_an_aborted_one_is_given_back_by_the_poll)
{
  struct bed *bed = poll_bed ("poll_queues=1");
  struct test_io early, t;

  submit_polled_early (&early, bed, 0);
  submit_polled (&t, bed, 2);
  ck_assert_uint_eq (blkmq_abort_submitter (bed->submitter), 2);
  assert_ended_early (&early, BLKMQ_STS_ABORTED);
  assert_not_ended (&t);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 2);
  assert_ended (&early, BLKMQ_STS_ABORTED);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  bed_stop (bed);
}
END_TEST

START_TEST (test_removal_ends_what_nobody_polls_for)
{
  static const char *const drivers[] = { "scripted-poll", "memory", "null" };

  for (unsigned d = 0; d < NR (drivers); d++) {
    struct bed *bed = poll_bed_alloc ();
    struct test_io t[3];
    unsigned nr_polls;

    bed->script.driver = drivers[d];
    bed_open (bed, "poll_queues=1 hw_queue_depth=2");
    for (unsigned i = 0; i < 3; i++)
      submit_polled (&t[i], bed, i * 2);
    blkmq_disk_remove (bed->disk);
    for (unsigned i = 0; i < 3; i++)
      assert_ended (&t[i], BLKMQ_STS_OFFLINE);
    nr_polls = bed->script.nr_polls;
    ck_assert_int_eq (blkmq_poll (bed->submitter), 0);
    ck_assert_uint_eq (bed->script.nr_polls, nr_polls);
    bed_stop (bed);
  }
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Freeze                                                                    */

START_TEST (test_freeze_polls)
{
  struct bed *bed = poll_bed_alloc ();
  struct test_io t[2], late;

  bed->script.on_poll = reaps_later;
  bed->script.opaque = &third;
  bed_open (bed, "poll_queues=2");
  submit_polled (&t[0], bed, 0);
  blkmq_submitter_free (bed->submitter);
  bed->submitter = blkmq_submitter_alloc (bed->disk, 2);
  submit_polled (&t[1], bed, 2);
  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  assert_ended (&t[0], BLKMQ_STS_OK);
  assert_ended (&t[1], BLKMQ_STS_OK);

  submit_polled (&late, bed, 4);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 0);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  blkmq_unfreeze (bed->disk);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
  assert_ended (&late, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_freeze_leaves_what_a_timeout_left)
{
  enum blkmq_timeout_result answer = BLKMQ_TIMEOUT_HELD;
  struct bed *bed = timeout_bed (&answer);
  blkmq_handle held[2];
  struct test_io t;

  bed->script.on_poll = NULL;
  submit_polled_early (&t, bed, 0);
  bed_pass (bed, 5 * MS);
  ck_assert_int_eq (blkmq_freeze (bed->disk, held, 2), 1);
  blkmq_unfreeze (bed->disk);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

START_TEST (test_a_quiesced_disk_is_polled)
{
  struct bed *bed = poll_bed ("poll_queues=1");
  struct test_io t[2];

  submit_polled (&t[0], bed, 0);
  ck_assert_int_eq (blkmq_quiesce (bed->disk), 0);
  submit_polled (&t[1], bed, 2);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
  assert_ended (&t[0], BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  blkmq_unquiesce (bed->disk);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
  assert_ended (&t[1], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* A lent loop                                                               */

static struct bed *
lend (struct ev_loop *loop, const char *keys, unsigned nr_hctxs,
      unsigned *first_poll)
{
  struct bed *bed = poll_bed_alloc ();

  bed->script.max_hctxs = 4;
  bed->script.on_poll = reaps_later;
  bed->script.opaque = first_poll;
  ck_assert_int_eq (bed_alloc_disk (bed, keys, false), 0);
  for (unsigned i = 0; i < nr_hctxs; i++)
    ck_assert_int_eq (blkmq_disk_lend_loop (bed->disk, i, loop), 0);
  bed_start_disk (bed);
  return bed;
}

static void
breaks_the_loop (struct test_io *t)
{
  ev_break (t->opaque, EVBREAK_ALL);
}

static void
do_nothing (struct ev_loop *loop, ev_timer *w, int revents)
{
}

/* Nothing else would ever wake it. */
static void
run_until_ended (struct bed *bed, struct ev_loop *loop)
{
  struct test_io t;
  ev_timer keep;

  init_polled (&t, bed, 0);
  t.on_end = breaks_the_loop;
  t.opaque = loop;
  blkmq_submit (bed->submitter, &t.io);
  assert_not_ended (&t);
  ev_timer_init (&keep, do_nothing, 3600., 3600.);
  ev_timer_start (loop, &keep);
  ev_run (loop, 0);
  ev_timer_stop (loop, &keep);
  assert_ended (&t, BLKMQ_STS_OK);
}

START_TEST (test_a_lent_loop_does_not_sleep_meanwhile)
{
  struct ev_loop *loop = ev_loop_new (EVBACKEND_EPOLL | EVFLAG_NOENV);
  unsigned first_poll = 100;
  struct bed *bed = lend (loop, "poll_queues=1", 2, &first_poll);
  unsigned nr_polls;

  run_until_ended (bed, loop);
  ck_assert_uint_ge (bed->script.nr_polls, 100);
  /* It sleeps when nothing is in flight; and it can end. */
  nr_polls = bed->script.nr_polls;
  ev_run (loop, 0);
  for (unsigned i = 0; i < 5; i++)
    ev_run (loop, EVRUN_NOWAIT);
  ck_assert_uint_eq (bed->script.nr_polls, nr_polls);
  bed_stop (bed);
  ev_run (loop, 0);
  ev_loop_destroy (loop);
}
END_TEST

START_TEST (test_a_lent_loop_can_be_stopped_while_it_polls)
{
  struct ev_loop *loop = ev_loop_new (EVBACKEND_EPOLL | EVFLAG_NOENV);
  unsigned never = ~0u;
  struct bed *bed = lend (loop, "poll_queues=1", 2, &never);
  struct test_io t;
  ev_timer other;

  submit_polled (&t, bed, 0);
  for (unsigned i = 0; i < 5; i++)
    ev_run (loop, EVRUN_NOWAIT);
  ck_assert_uint_ge (bed->script.nr_polls, 5);
  bed_stop (bed);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  /* Its watchers are gone, and the loop counts right: it ends with ours. */
  ev_timer_init (&other, do_nothing, 0.001, 0.);
  ev_timer_start (loop, &other);
  ev_run (loop, 0);
  ck_assert (!ev_is_active (&other));
  ev_loop_destroy (loop);
}
END_TEST

/* A live update blocks, and so comes from another thread than the loop's. */
static void *
updates (void *opaque)
{
  struct bed *bed = opaque;
  struct blkmq_queues queues;
  struct blkmq_error error;

  blkmq_disk_queues (bed->disk, &queues);
  queues.submit_queues = 1;
  queues.poll_queues = 1;
  require (blkmq_update_queues (bed->disk, &queues, &error) == 0);
  return NULL;
}

START_TEST (test_a_lent_loop_begins_to_poll)
{
  struct ev_loop *loop = ev_loop_new (EVBACKEND_EPOLL | EVFLAG_NOENV);
  unsigned first_poll = 10;
  struct bed *bed = lend (loop, "submit_queues=2", 2, &first_poll);

  thread_join (thread_start (updates, bed));
  ck_assert_int_eq (blkmq_disk_hctx_type (bed->disk, 1), POLLED);
  run_until_ended (bed, loop);
  bed_stop (bed);
  ev_loop_destroy (loop);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("poll");
  TCase *tcase = harness_case (suite, "reaping");

  tcase_add_loop_test (tcase, test_a_polled_io_ends_in_a_poll, 0, NR (modes));
  tcase_add_test (tcase, test_a_poll_reaps_what_others_have_submitted);
  tcase_add_test (tcase, test_ordinary_ios_are_not_polled_for);
  tcase_add_test (tcase, test_end_io_may_submit_but_not_poll);
  tcase_add_test (tcase, test_who_waits_for_a_tag_gets_one_by_polling);
  tcase_add_test (tcase, test_reaping_reruns_what_the_driver_refused);
  tcase_add_test (tcase, test_a_poll_may_requeue);

  tcase = harness_case (suite, "waiting");
  tcase_add_test (tcase, test_sync_polls_until_it_is_done);
  tcase_add_test (tcase, test_sync_asks_while_it_polls);
  tcase_add_test (tcase, test_sync_of_a_done_io_asks_nobody);
  tcase_add_test (tcase, test_submit_wait_polls_for_a_tag);

  tcase = harness_case (suite, "ends without a poll");
  tcase_add_test (tcase, test_a_timeout_ends_what_nobody_polls_for);
  tcase_add_test (tcase, test_a_poll_in_time_wins);
  tcase_add_test (tcase, test_a_late_poll_gives_back_what_was_held);
  tcase_add_loop_test (tcase, test_a_timeout_leaves_the_others_to_the_poll, 0,
                       4);
  tcase_add_test (tcase, test_an_aborted_one_is_given_back_by_the_poll);
  tcase_add_test (tcase, test_removal_ends_what_nobody_polls_for);

  tcase = harness_case (suite, "freeze");
  tcase_add_test (tcase, test_freeze_polls);
  tcase_add_test (tcase, test_freeze_leaves_what_a_timeout_left);
  tcase_add_test (tcase, test_a_quiesced_disk_is_polled);

  tcase = harness_case (suite, "lent loops");
  tcase_add_test (tcase, test_a_lent_loop_does_not_sleep_meanwhile);
  tcase_add_test (tcase, test_a_lent_loop_can_be_stopped_while_it_polls);
  tcase_add_test (tcase, test_a_lent_loop_begins_to_poll);
  return harness_main (suite);
}
