/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-freeze.c: quiesce, freeze and removal: what each waits for, what it
 * holds up, and that it lets everything go.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "harness.h"

static void *
submit_one (void *opaque)
{
  struct test_io *t = opaque;

  blkmq_submit (t->bed->submitter, &t->io);
  return NULL;
}

/* A blocking call on a thread of its own. */
struct call {
  struct bed *bed;
  blkmq_handle *held;
  unsigned max;
  int result;
  unsigned returned; /* event */
};

static void *
call_quiesce (void *opaque)
{
  struct call *call = opaque;

  call->result = blkmq_quiesce (call->bed->disk);
  call->returned = bed_event (call->bed);
  return NULL;
}

static void *
call_freeze (void *opaque)
{
  struct call *call = opaque;

  call->result = blkmq_freeze (call->bed->disk, call->held, call->max);
  call->returned = bed_event (call->bed);
  return NULL;
}

/* How often whoever waits for the disk to drain was told to look again.  It
 * would look by itself sooner or later, but that is not how it should be. */
static uint64_t
nr_drain_events (struct bed *bed)
{
  uint64_t nr;

  pthread_mutex_lock (&bed->disk->drain_lock);
  nr = bed->disk->drain_events;
  pthread_mutex_unlock (&bed->disk->drain_lock);
  return nr;
}

static bool
has_flag (struct bed *bed, unsigned flag)
{
  return atomic_load (&bed_hctx (bed, 0)->flags) & flag;
}

/* ------------------------------------------------------------------------ */
/* Quiesce                                                                   */

struct gated {
  struct gate gate;
  struct bed *bed;
  unsigned left; /* event: queue_rq is about to return */
};

static enum blkmq_queue_result
passes_the_gate (struct script *script, const struct issue *issue)
{
  struct gated *gated = script->opaque;

  gate_pass (&gated->gate);
  gated->left = bed_event (gated->bed);
  return BLKMQ_QUEUED;
}

START_TEST (test_quiesce_waits_for_queue_rq)
{
  struct bed *bed = bed_start ("");
  struct gated gated = { .gate = GATE_INITIALIZER, .bed = bed };
  struct call call = { .bed = bed };
  pthread_t submitter, quiescer;
  struct test_io t;

  bed->script.on_queue = passes_the_gate;
  bed->script.opaque = &gated;
  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  submitter = thread_start (submit_one, &t);
  gate_await_arrival (&gated.gate, 1);
  quiescer = thread_start (call_quiesce, &call);
  await (has_flag (bed, HCTX_QUIESCED));
  gate_open (&gated.gate);
  thread_join (submitter);
  thread_join (quiescer);
  ck_assert_int_eq (call.result, 0);
  ck_assert_uint_gt (call.returned, gated.left);
  blkmq_unquiesce (bed->disk);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_quiesced_disk_queues)
{
  struct bed *bed = bed_start ("hw_queue_depth=3");
  struct test_io t[5];

  ck_assert_int_eq (blkmq_quiesce (bed->disk), 0);
  for (unsigned i = 0; i < 5; i++)
    test_io_submit (&t[i], bed, i);
  bed_pass (bed, 100 * MS);
  ck_assert_uint_eq (bed->script.nr_issues, 0);
  ck_assert_uint_eq (bed_stats (bed).in_flight[BLKMQ_OP_READ], 3);
  ck_assert_uint_eq (bed_stats (bed).waiting, 2);

  /* In the order of submission, by the call itself. */
  blkmq_unquiesce (bed->disk);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  for (unsigned i = 0; i < 5; i++) {
    ck_assert_uint_eq (script_issue (&bed->script, i)->offset_bytes,
                       i * BLOCK_BYTES);
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    bed_turn (bed);
  }
  bed_stop (bed);
}
END_TEST

/* Requests in flight end as ever; what they give back stays inside. */
START_TEST (test_quiesced_disk_still_ends)
{
  struct bed *bed = bed_start ("hw_queue_depth=2");
  struct test_io a, b, waiter;

  test_io_submit (&a, bed, 0);
  test_io_submit (&b, bed, 1);
  test_io_submit (&waiter, bed, 2);
  ck_assert_int_eq (blkmq_quiesce (bed->disk), 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  issue_requeue (&bed->script, 1);
  bed_turn (bed);
  assert_ended (&a, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  blkmq_unquiesce (bed->disk);
  ck_assert_uint_eq (bed->script.nr_issues, 4);
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  issue_complete (&bed->script, 3, BLKMQ_STS_OK);
  assert_ended (&b, BLKMQ_STS_OK);
  assert_ended (&waiter, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_quiesce_nests)
{
  struct bed *bed = bed_start ("submit_queues=2");
  struct test_io t;

  for (unsigned i = 0; i < 3; i++)
    ck_assert_int_eq (blkmq_quiesce (bed->disk), 0);
  test_io_submit (&t, bed, 0);
  for (unsigned i = 0; i < 3; i++) {
    ck_assert_uint_eq (bed->script.nr_issues, 0);
    blkmq_unquiesce (bed->disk);
  }
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* An unquiesce that comes between "I have seen it quiesced" and "I am on the
 * queue" finds the queue empty.  The submitter must look again. */
START_TEST (test_unquiesce_does_not_miss_one_on_its_way_to_the_queue)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct blkmq_hctx *h = bed_hctx (bed, 0);
  struct request *r = hctx_tag_request (h, 0);
  struct test_io t;
  pthread_t thread;

  ck_assert_int_eq (blkmq_quiesce (bed->disk), 0);
  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  /* Whoever wants to the queue stands at its lock. */
  pthread_mutex_lock (&h->lock);
  thread = thread_start (submit_one, &t);
  await (word_state (atomic_load (&r->word)) == WORD_QUEUED);
  /* What unquiesce does, as long as there is nothing on the queue. */
  atomic_fetch_and (&h->flags, ~HCTX_QUIESCED);
  bed->disk->quiesce_depth = 0;
  pthread_mutex_unlock (&h->lock);
  thread_join (thread);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

#define TOGGLES 2000

struct toggling {
  struct bed *bed;
  _Atomic bool quit;
  _Atomic unsigned nr_inside;
};

static enum blkmq_queue_result
is_seen_inside (struct script *script, const struct issue *issue)
{
  struct toggling *toggling = script->opaque;

  toggling->nr_inside++;
  script_completes_inside (script, issue);
  toggling->nr_inside--;
  return BLKMQ_QUEUED;
}

static void *
submit_until_told (void *opaque)
{
  struct toggling *toggling = opaque;
  char data[BLOCK_BYTES];

  while (!toggling->quit)
    require (blkmq_read (toggling->bed->submitter, data, sizeof data, 0) == 0);
  return NULL;
}

/* Each read must come through, or its thread would be stuck here for ever. */
START_TEST (test_quiesce_keeps_threads_out_again_and_again)
{
  struct bed *bed = bed_alloc ();
  struct toggling toggling = { .bed = bed };
  pthread_t threads[2];

  bed->script.on_queue = is_seen_inside;
  bed->script.opaque = &toggling;
  bed_open_threads (bed, "hw_queue_depth=2");
  for (unsigned i = 0; i < NR (threads); i++)
    threads[i] = thread_start (submit_until_told, &toggling);
  for (unsigned i = 0; i < TOGGLES; i++) {
    unsigned nr_issues;

    ck_assert_int_eq (blkmq_quiesce (bed->disk), 0);
    nr_issues = bed->script.nr_issues;
    ck_assert_uint_eq (toggling.nr_inside, 0);
    if (i % 16 == 0)
      await_pause ();
    ck_assert_uint_eq (bed->script.nr_issues, nr_issues);
    blkmq_unquiesce (bed->disk);
  }
  toggling.quit = true;
  for (unsigned i = 0; i < NR (threads); i++)
    thread_join (threads[i]);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Freeze                                                                    */

START_TEST (test_freeze_of_an_idle_disk_returns_at_once)
{
  struct bed *bed = bed_start ("submit_queues=2");

  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  blkmq_unfreeze (bed->disk);
  bed_stop (bed);
}
END_TEST

/* By what is still missing: an end on the loop, a timer, a reference. */
static void
freeze_waits_for_the_end (const char *keys, bool pin)
{
  struct bed *bed = bed_start (keys);
  struct call call = { .bed = bed };
  struct blkmq_request *rq = NULL;
  pthread_t freezer;
  struct test_io t;
  uint64_t nr_events;
  unsigned before;

  test_io_submit_early (&t, bed, 0);
  if (pin)
    rq = blkmq_request_get (bed->disk, script_issue (&bed->script, 0)->token);
  freezer = thread_start (call_freeze, &call);
  await (has_flag (bed, HCTX_FROZEN));
  nr_events = nr_drain_events (bed);
  before = bed_event (bed);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_pass (bed, 1 * MS);
  if (pin) {
    assert_ended_early (&t, BLKMQ_STS_OK);
    before = bed_event (bed);
    blkmq_request_put (rq);
  }
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_gt (nr_drain_events (bed), nr_events);
  thread_join (freezer);
  ck_assert_int_eq (call.result, 0);
  ck_assert_uint_gt (call.returned, before);
  ck_assert_uint_gt (call.returned, t.give_back_event);
  ck_assert_uint_eq (hctx_nr_taken (bed_hctx (bed, 0)), 0);
  blkmq_unfreeze (bed->disk);
  bed_stop (bed);
}

START_TEST (test_freeze_waits_for_answer_and_give_back)
{
  freeze_waits_for_the_end ("", false);
  freeze_waits_for_the_end ("irqmode=softirq", false);
  freeze_waits_for_the_end ("irqmode=timer completion_nsec=1ms", false);
}
END_TEST

START_TEST (test_freeze_waits_for_references)
{
  freeze_waits_for_the_end ("", true);
}
END_TEST

static void *
freeze_once_more (void *opaque)
{
  struct call *call = opaque;

  call->result = blkmq_freeze (call->bed->disk, NULL, 0);
  blkmq_unfreeze (call->bed->disk);
  return NULL;
}

START_TEST (test_frozen_disk_lets_new_ios_wait)
{
  struct bed *bed = bed_start ("hw_queue_depth=2");
  struct test_io t[4], nowait;

  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  for (unsigned i = 0; i < 4; i++)
    test_io_submit (&t[i], bed, i);
  test_io_init (&nowait, bed, BLKMQ_OP_READ, 9);
  nowait.io.flags = BLKMQ_IO_NOWAIT;
  blkmq_submit (bed->submitter, &nowait.io);
  assert_ended (&nowait, BLKMQ_STS_AGAIN);
  bed_pass (bed, 100 * MS);
  ck_assert_uint_eq (bed->script.nr_issues, 0);
  ck_assert_uint_eq (bed_stats (bed).waiting, 4);
  ck_assert_uint_eq (hctx_nr_taken (bed_hctx (bed, 0)), 0);

  blkmq_unfreeze (bed->disk);
  for (unsigned i = 0; i < 4; i++) {
    ck_assert_uint_eq (script_issue (&bed->script, i)->offset_bytes,
                       i * BLOCK_BYTES);
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    bed_turn (bed);
    assert_ended (&t[i], BLKMQ_STS_OK);
  }
  bed_stop (bed);
}
END_TEST

/* T has found the disk frozen, and stands at the lock of the wait list, which
 * is empty. */
static pthread_t
submit_up_to_the_list (struct bed *bed, struct test_io *t)
{
  struct blkmq_hctx *h = bed_hctx (bed, 0);
  uint64_t nr_events;
  pthread_t thread;

  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  nr_events = nr_drain_events (bed);
  test_io_init (t, bed, BLKMQ_OP_READ, 0);
  pthread_mutex_lock (&h->lock);
  thread = thread_start (submit_one, t);
  /* It tells of the tag that it has given back. */
  await (nr_drain_events (bed) > nr_events);
  return thread;
}

/* An unfreeze that comes just then finds nobody waiting. */
START_TEST (test_unfreeze_does_not_miss_one_on_its_way_to_the_list)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct blkmq_hctx *h = bed_hctx (bed, 0);
  pthread_t thread;
  struct test_io t;

  thread = submit_up_to_the_list (bed, &t);
  /* What unfreeze does, as long as nobody is on the list. */
  atomic_fetch_and (&h->flags, ~HCTX_FROZEN);
  bed->disk->freeze_depth = 0;
  pthread_mutex_unlock (&h->lock);
  thread_join (thread);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* Nor does an abort of all that the submitter has. */
START_TEST (test_abort_does_not_miss_one_on_its_way_to_the_list)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct blkmq_hctx *h = bed_hctx (bed, 0);
  pthread_t thread;
  struct test_io t;

  thread = submit_up_to_the_list (bed, &t);
  /* What it does before it looks at the list. */
  bed->submitter->abort_epoch++;
  pthread_mutex_unlock (&h->lock);
  thread_join (thread);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  blkmq_unfreeze (bed->disk);
  ck_assert_uint_eq (bed->script.nr_issues, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_freeze_nests)
{
  struct bed *bed = bed_start ("");
  struct call call = { .bed = bed, .result = 1 };
  struct test_io t;

  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  thread_join (thread_start (freeze_once_more, &call));
  ck_assert_int_eq (call.result, 0);
  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  test_io_submit (&t, bed, 0);
  blkmq_unfreeze (bed->disk);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 0);
  blkmq_unfreeze (bed->disk);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static enum blkmq_timeout_result
says_held (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_HELD;
}

static bool
lists (const blkmq_handle *held, unsigned nr, blkmq_handle wanted)
{
  for (unsigned i = 0; i < nr; i++) {
    if (held[i] == wanted)
      return true;
  }
  return false;
}

START_TEST (test_freeze_lists_what_is_held_after_a_timeout)
{
  struct bed *bed = bed_alloc ();
  blkmq_handle held[4] = { 0 };
  struct call call = { .bed = bed, .held = held, .max = 4 };
  struct test_io early, late, aborted;
  pthread_t freezer;
  unsigned before;

  bed->script.on_timeout = says_held;
  bed_open (bed, "io_timeout=100");
  test_io_submit_early (&early, bed, 0);
  test_io_submit (&late, bed, 1);
  bed_pass (bed, 100 * MS);
  ck_assert_uint_eq (bed_stats (bed).timeouts_held, 2);

  /* One that was aborted is waited for all the same. */
  test_io_submit_early (&aborted, bed, 2);
  blkmq_abort_io (bed->submitter, &aborted.io);
  freezer = thread_start (call_freeze, &call);
  await (has_flag (bed, HCTX_FROZEN));
  before = bed_event (bed);
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  thread_join (freezer);
  ck_assert_uint_gt (call.returned, before);
  ck_assert_int_eq (call.result, 2);
  ck_assert (lists (held, 2, script_issue (&bed->script, 0)->token));
  ck_assert (lists (held, 2, script_issue (&bed->script, 1)->token));

  /* The number is the whole, however little room there is. */
  held[0] = held[1] = 0;
  ck_assert_int_eq (blkmq_freeze (bed->disk, held, 1), 2);
  ck_assert_uint_ne (held[0], 0);
  ck_assert_uint_eq (held[1], 0);
  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 7), 2);

  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  ck_assert_int_eq (blkmq_freeze (bed->disk, held, 4), 1);
  ck_assert_uint_eq (held[0], script_issue (&bed->script, 1)->token);
  for (unsigned i = 0; i < 4; i++)
    blkmq_unfreeze (bed->disk);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&late, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

/* The answer HELD is what a freeze that waits already has waited for. */
START_TEST (test_waiting_freeze_notices_a_timeout)
{
  struct bed *bed = bed_alloc ();
  struct call call = { .bed = bed };
  pthread_t freezer;
  struct test_io t;
  uint64_t nr_events;

  bed->script.on_timeout = says_held;
  bed_open (bed, "io_timeout=100");
  test_io_submit_early (&t, bed, 0);
  freezer = thread_start (call_freeze, &call);
  await (has_flag (bed, HCTX_FROZEN));
  nr_events = nr_drain_events (bed);
  bed_pass (bed, 100 * MS);
  ck_assert_uint_gt (nr_drain_events (bed), nr_events);
  thread_join (freezer);
  ck_assert_int_eq (call.result, 1);
  blkmq_unfreeze (bed->disk);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_freeze_of_a_removed_disk_fails)
{
  struct bed *bed = bed_start ("");

  blkmq_disk_remove (bed->disk);
  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), -ENODEV);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Letting go from callbacks: unquiesce and unfreeze do not block */

static void
unquiesces (struct test_io *t)
{
  blkmq_unquiesce (t->bed->disk);
}

START_TEST (test_unquiesce_inside_end_io)
{
  struct bed *bed = bed_start ("hw_queue_depth=2");
  struct test_io first, second;

  test_io_submit (&first, bed, 0);
  first.on_end = unquiesces;
  ck_assert_int_eq (blkmq_quiesce (bed->disk), 0);
  test_io_submit (&second, bed, 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  /* A driver was completing: not here. */
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static void
unfreezes (struct test_io *t)
{
  unsigned before = t->bed->script.nr_issues;

  blkmq_unfreeze (t->bed->disk);
  require (t->bed->script.nr_issues == before);
}

static enum blkmq_queue_result
is_busy (struct script *script, const struct issue *issue)
{
  return BLKMQ_BUSY_HOST;
}

/* The request that is waited for ends inside queue_rq, and its end_io lets the
 * waiters go: queue_rq is not entered a second time for them. */
START_TEST (test_unfreeze_inside_end_io_inside_queue_rq)
{
  struct bed *bed = bed_alloc ();
  struct call call = { .bed = bed };
  struct test_io first, waiter;
  pthread_t freezer;

  bed->script.on_queue = is_busy;
  bed_open (bed, "");
  test_io_init (&first, bed, BLKMQ_OP_READ, 0);
  first.on_end = unfreezes;
  blkmq_submit (bed->submitter, &first.io);
  freezer = thread_start (call_freeze, &call);
  await (has_flag (bed, HCTX_FROZEN));
  test_io_submit (&waiter, bed, 1);
  bed->script.on_queue = script_completes_inside;
  bed_pass (bed, 3 * MS);
  assert_ended (&first, BLKMQ_STS_OK);
  assert_ended (&waiter, BLKMQ_STS_OK);
  thread_join (freezer);
  ck_assert_int_eq (call.result, 0);
  bed_stop (bed);
}
END_TEST

static struct gate end_gate = GATE_INITIALIZER;

static void
unquiesces_behind_the_gate (struct test_io *t)
{
  gate_pass (&end_gate);
  blkmq_unquiesce (t->bed->disk);
}

static void *
call_remove (void *opaque)
{
  struct call *call = opaque;

  blkmq_disk_remove (call->bed->disk);
  call->returned = bed_event (call->bed);
  return NULL;
}

/* Removal waits for the loop's thread, which is inside an end_io: that may not
 * wait for anything that removal has. */
START_TEST (test_removal_waits_for_an_end_io_that_unquiesces)
{
  struct bed *bed = bed_alloc ();
  struct call call = { .bed = bed };
  struct test_io t;
  pthread_t remover;

  bed->script.on_queue = script_completes_inside;
  bed_open_threads (bed, "irqmode=softirq");
  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  t.on_end = unquiesces_behind_the_gate;
  blkmq_submit (bed->submitter, &t.io);
  gate_await_arrival (&end_gate, 1);
  ck_assert_int_eq (blkmq_quiesce (bed->disk), 0);
  remover = thread_start (call_remove, &call);
  await (has_flag (bed, HCTX_REMOVED));
  ck_assert_uint_eq (call.returned, 0);
  gate_open (&end_gate);
  thread_join (remover);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Removal                                                                   */

/* One io in each state that there is. */
struct all_states {
  struct bed *bed;
  struct test_io held_late, held_early; /* the driver has them */
  struct test_io timed_out_late, timed_out_early, aborted_late, aborted_early;
  struct test_io on_its_way; /* given back: softirq or timer */
  struct test_io split;      /* one part queued, one waits for a tag */
  struct test_io requeued, refused, queued, waiting_late, waiting_early;
  char split_data[2 * BLOCK_BYTES];
};

static enum blkmq_queue_result
refuses_block_20 (struct script *script, const struct issue *issue)
{
  return issue->offset_bytes == 20 * BLOCK_BYTES ? BLKMQ_BUSY_HOST
                                                 : BLKMQ_QUEUED;
}

/* The driver may still touch the data of what it holds. */
static void
holds_still (struct script *script)
{
  struct all_states *all = script->opaque;

  require (all->held_late.nr_ends == 0);
  require (all->timed_out_late.nr_ends == 0);
  require (all->aborted_late.nr_ends == 0);
  require (all->held_early.nr_give_backs == 0);
  require (all->timed_out_early.nr_give_backs == 0);
  require (all->aborted_early.nr_give_backs == 0);
  /* But who can be answered was. */
  require (all->held_early.nr_ends == 1);
  require (all->waiting_late.nr_ends == 1);
}

/* Eleven requests, which is all the tags there are, and three ios without. */
static void
fill_all_states (struct all_states *all)
{
  struct bed *bed = all->bed;

  test_io_submit (&all->timed_out_late, bed, 0);
  test_io_submit_early (&all->timed_out_early, bed, 1);
  bed_pass (bed, 100 * MS);
  test_io_submit (&all->held_late, bed, 2);
  test_io_submit_early (&all->held_early, bed, 3);
  test_io_submit (&all->aborted_late, bed, 4);
  test_io_submit_early (&all->aborted_early, bed, 5);
  blkmq_abort_io (bed->submitter, &all->aborted_late.io);
  blkmq_abort_io (bed->submitter, &all->aborted_early.io);
  test_io_submit (&all->on_its_way, bed, 6);
  issue_complete (&bed->script, 6, BLKMQ_STS_OK);
  test_io_submit_early (&all->requeued, bed, 7);
  test_io_submit (&all->refused, bed, 20);
  test_io_submit (&all->queued, bed, 21);
  issue_requeue (&bed->script, 7);

  test_io_init (&all->split, bed, BLKMQ_OP_WRITE, 8);
  all->split.segment
      = (struct iovec){ all->split_data, sizeof all->split_data };
  all->split.io.bytes = sizeof all->split_data;
  blkmq_submit (bed->submitter, &all->split.io);
  test_io_submit (&all->waiting_late, bed, 30);
  test_io_submit_early (&all->waiting_early, bed, 31);
}

static void
remove_in_all_states (const char *keys)
{
  struct all_states *all = calloc (1, sizeof *all);
  struct bed *bed = bed_alloc ();
  struct blkmq_stats stats;

  all->bed = bed;
  bed->script.on_queue = refuses_block_20;
  bed->script.on_timeout = says_held;
  bed->script.on_stop = holds_still;
  bed->script.opaque = all;
  bed_open (bed, keys);
  fill_all_states (all);
  stats = bed_stats (bed);
  ck_assert_uint_eq (
      stats.in_flight[BLKMQ_OP_READ] + stats.in_flight[BLKMQ_OP_WRITE], 11);
  ck_assert_uint_eq (stats.waiting, 3);

  blkmq_disk_remove (bed->disk);
  assert_ended (&all->timed_out_late, BLKMQ_STS_TIMEOUT);
  assert_ended (&all->timed_out_early, BLKMQ_STS_TIMEOUT);
  assert_ended (&all->held_late, BLKMQ_STS_OFFLINE);
  assert_ended (&all->held_early, BLKMQ_STS_OFFLINE);
  assert_ended (&all->aborted_late, BLKMQ_STS_ABORTED);
  assert_ended (&all->aborted_early, BLKMQ_STS_ABORTED);
  assert_ended (&all->on_its_way, BLKMQ_STS_OFFLINE);
  assert_ended (&all->requeued, BLKMQ_STS_OFFLINE);
  assert_ended (&all->refused, BLKMQ_STS_OFFLINE);
  assert_ended (&all->queued, BLKMQ_STS_OFFLINE);
  assert_ended (&all->split, BLKMQ_STS_OFFLINE);
  assert_ended (&all->waiting_late, BLKMQ_STS_OFFLINE);
  assert_ended (&all->waiting_early, BLKMQ_STS_OFFLINE);
  bed_stop (bed);
  free (all);
}

START_TEST (test_removal_answers_in_every_state)
{
  remove_in_all_states ("hw_queue_depth=11 max_sectors=1 io_timeout=100 "
                        "irqmode=softirq");
  remove_in_all_states ("hw_queue_depth=11 max_sectors=1 io_timeout=100 "
                        "irqmode=timer completion_nsec=3600s");
}
END_TEST

START_TEST (test_removal_of_a_frozen_and_quiesced_disk)
{
  struct bed *bed = bed_start ("");
  struct test_io waiting, queued;

  ck_assert_int_eq (blkmq_quiesce (bed->disk), 0);
  test_io_submit (&queued, bed, 0);
  /* A freeze would wait for `queued': enter it by its flag. */
  bed->disk->freeze_depth++;
  atomic_fetch_or (&bed_hctx (bed, 0)->flags, HCTX_FROZEN);
  test_io_submit (&waiting, bed, 1);
  blkmq_disk_remove (bed->disk);
  assert_ended (&queued, BLKMQ_STS_OFFLINE);
  assert_ended (&waiting, BLKMQ_STS_OFFLINE);
  /* Who had stopped it lets go when he knows no better. */
  blkmq_unquiesce (bed->disk);
  blkmq_unfreeze (bed->disk);
  bed_stop (bed);
}
END_TEST

START_TEST (test_removed_disk_answers_offline)
{
  struct bed *bed = bed_start ("");
  struct blkmq_batch batch;
  struct test_io t[3];

  blkmq_disk_remove (bed->disk);
  blkmq_disk_remove (bed->disk); /* once more is once too often: no matter */
  test_io_submit (&t[0], bed, 0);
  blkmq_batch_begin (&batch, bed->submitter);
  for (unsigned i = 1; i < 3; i++) {
    test_io_init_early (&t[i], bed, BLKMQ_OP_WRITE, i);
    blkmq_batch_add (&batch, &t[i].io);
  }
  blkmq_batch_commit (&batch);
  for (unsigned i = 0; i < 3; i++)
    assert_ended (&t[i], BLKMQ_STS_OFFLINE);
  bed_stop (bed);
}
END_TEST

START_TEST (test_last_put_removes)
{
  struct bed *bed = bed_start ("");
  struct test_io t;

  test_io_submit_early (&t, bed, 0);
  blkmq_disk_put (bed->disk);
  assert_not_ended (&t);
  blkmq_submitter_free (bed->submitter);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  ck_assert_uint_eq (bed->script.nr_stops, 1);
  ck_assert_uint_eq (bed->script.nr_closes, 1);
  free (bed->script.books);
  free (bed);
}
END_TEST

static void
resubmits_until_offline (struct test_io *t)
{
  if (t->status == BLKMQ_STS_OFFLINE)
    return;
  test_io_submit (t, t->bed, 0);
  t->on_end = resubmits_until_offline;
}

/* The ios of an end_io belong to the removal that has caused them. */
START_TEST (test_removal_answers_what_its_callbacks_submit)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct test_io t, other;

  test_io_submit (&t, bed, 0);
  t.on_end = resubmits_until_offline;
  blkmq_abort_io (bed->submitter, &t.io); /* ABORTED at removal */
  test_io_submit (&other, bed, 1);
  blkmq_disk_remove (bed->disk);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  assert_ended (&other, BLKMQ_STS_OFFLINE);
  bed_stop (bed);
}
END_TEST

static void
nobody_is_inside (struct script *script)
{
  struct gated *gated = script->opaque;

  require (gated->left != 0);
}

/* Nor may stop be called while somebody is still handing over a request. */
START_TEST (test_removal_waits_for_queue_rq_before_stop)
{
  struct bed *bed = bed_alloc ();
  struct gated gated = { .gate = GATE_INITIALIZER, .bed = bed };
  struct call call = { .bed = bed };
  pthread_t submitter, remover;
  struct test_io t, waiter;

  bed->script.on_queue = passes_the_gate;
  bed->script.on_stop = nobody_is_inside;
  bed->script.opaque = &gated;
  bed_open (bed, "hw_queue_depth=1");
  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  submitter = thread_start (submit_one, &t);
  gate_await_arrival (&gated.gate, 1);
  test_io_submit (&waiter, bed, 1);
  remover = thread_start (call_remove, &call);
  await (waiter.nr_ends == 1);
  /* Time enough to do it wrong. */
  for (unsigned i = 0; i < 1000 && bed->script.nr_stops == 0; i++)
    await_pause ();
  gate_open (&gated.gate);
  thread_join (submitter);
  thread_join (remover);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  assert_ended (&waiter, BLKMQ_STS_OFFLINE);
  bed_stop (bed);
}
END_TEST

static void
requeues_in_stop (struct script *script)
{
  struct bed *bed = script->opaque;

  require (issue_requeue (script, 0) == 0);
  /* Whatever would run the queue now must not: the harness sees to it that
   * queue_rq is not called any more. */
  bed_pass (bed, 10 * MS);
}

START_TEST (test_removal_answers_what_is_requeued_in_stop)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.on_stop = requeues_in_stop;
  bed->script.opaque = bed;
  bed_open (bed, "");
  test_io_submit_early (&t, bed, 0);
  blkmq_disk_remove (bed->disk);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  bed_stop (bed);
}
END_TEST

/* ---- removal while threads are at it ---- */

#define CROWD 3

struct crowd {
  struct bed *bed;
  pthread_t device;
  _Atomic bool quit; /* the device */
  _Atomic unsigned nr_ios, nr_ok, nr_offline;
};

static void *
submit_until_offline (void *opaque)
{
  struct crowd *crowd = opaque;
  char data[BLOCK_BYTES];
  int r;

  do {
    crowd->nr_ios++;
    r = blkmq_read (crowd->bed->submitter, data, sizeof data, 0);
    require (r == 0 || r == -ENODEV);
    if (r == 0)
      crowd->nr_ok++;
    else
      crowd->nr_offline++;
  } while (r == 0);
  return NULL;
}

/* Two out of three complete inside, the others are the device's. */
static enum blkmq_queue_result
completes_most (struct script *script, const struct issue *issue)
{
  return script->nr_issues % 3 > 0 ? script_completes_inside (script, issue)
                                   : BLKMQ_QUEUED;
}

static void *
complete_until_told (void *opaque)
{
  struct crowd *crowd = opaque;
  struct script *script = &crowd->bed->script;
  unsigned depth = script->depth;

  while (!crowd->quit) {
    for (unsigned tag = 0; tag < depth; tag++) {
      blkmq_token token = script->books[tag].held;
      struct blkmq_request *rq;

      if (token == 0 || script->books[tag].inside > 0)
        continue;
      rq = blkmq_hctx_request (bed_hctx (crowd->bed, 0), token);
      script_complete (script, rq, token, BLKMQ_STS_OK);
    }
    await_pause ();
  }
  return NULL;
}

static void
stops_the_device (struct script *script)
{
  struct crowd *crowd = script->opaque;

  crowd->quit = true;
  thread_join (crowd->device);
}

static void
remove_in_a_crowd (const char *keys)
{
  struct bed *bed = bed_alloc ();
  struct crowd crowd = { .bed = bed };
  pthread_t threads[CROWD];

  bed->script.on_queue = completes_most;
  bed->script.on_stop = stops_the_device;
  bed->script.opaque = &crowd;
  bed_open_threads (bed, keys);
  crowd.device = thread_start (complete_until_told, &crowd);
  for (unsigned i = 0; i < CROWD; i++)
    threads[i] = thread_start (submit_until_offline, &crowd);
  await (crowd.nr_ok > 200);
  blkmq_disk_remove (bed->disk);
  for (unsigned i = 0; i < CROWD; i++)
    thread_join (threads[i]);
  ck_assert_uint_eq (crowd.nr_offline, CROWD);
  ck_assert_uint_eq (crowd.nr_ok + crowd.nr_offline, crowd.nr_ios);
  bed_stop (bed);
}

START_TEST (test_removal_while_threads_submit)
{
  for (unsigned i = 0; i < 10; i++) {
    remove_in_a_crowd ("hw_queue_depth=2");
    remove_in_a_crowd ("hw_queue_depth=2 irqmode=softirq");
    remove_in_a_crowd ("hw_queue_depth=4 irqmode=timer completion_nsec=1us");
  }
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("freeze");
  TCase *tcase;

  tcase = harness_case (suite, "quiesce");
  tcase_add_test (tcase, test_quiesce_waits_for_queue_rq);
  tcase_add_test (tcase, test_quiesced_disk_queues);
  tcase_add_test (tcase, test_quiesced_disk_still_ends);
  tcase_add_test (tcase, test_quiesce_nests);
  tcase_add_test (tcase,
                  test_unquiesce_does_not_miss_one_on_its_way_to_the_queue);
  tcase_add_test (tcase, test_quiesce_keeps_threads_out_again_and_again);

  tcase = harness_case (suite, "freeze");
  tcase_add_test (tcase, test_freeze_of_an_idle_disk_returns_at_once);
  tcase_add_test (tcase, test_freeze_waits_for_answer_and_give_back);
  tcase_add_test (tcase, test_freeze_waits_for_references);
  tcase_add_test (tcase, test_frozen_disk_lets_new_ios_wait);
  tcase_add_test (tcase,
                  test_unfreeze_does_not_miss_one_on_its_way_to_the_list);
  tcase_add_test (tcase, test_abort_does_not_miss_one_on_its_way_to_the_list);
  tcase_add_test (tcase, test_freeze_nests);
  tcase_add_test (tcase, test_freeze_lists_what_is_held_after_a_timeout);
  tcase_add_test (tcase, test_waiting_freeze_notices_a_timeout);
  tcase_add_test (tcase, test_freeze_of_a_removed_disk_fails);

  tcase = harness_case (suite, "callbacks");
  tcase_add_test (tcase, test_unquiesce_inside_end_io);
  tcase_add_test (tcase, test_unfreeze_inside_end_io_inside_queue_rq);
  tcase_add_test (tcase, test_removal_waits_for_an_end_io_that_unquiesces);

  tcase = harness_case (suite, "removal");
  tcase_add_test (tcase, test_removal_answers_in_every_state);
  tcase_add_test (tcase, test_removal_of_a_frozen_and_quiesced_disk);
  tcase_add_test (tcase, test_removed_disk_answers_offline);
  tcase_add_test (tcase, test_last_put_removes);
  tcase_add_test (tcase, test_removal_answers_what_its_callbacks_submit);
  tcase_add_test (tcase, test_removal_waits_for_queue_rq_before_stop);
  tcase_add_test (tcase, test_removal_answers_what_is_requeued_in_stop);
  tcase_add_test (tcase, test_removal_while_threads_submit);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
