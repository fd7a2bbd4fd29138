/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-dispatch.c: the ways to queue_rq: direct, batched, after BUSY, after
 * requeue, from end_io; and where a softirq completion ends.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "harness.h"

static void
check_order (struct bed *bed, const unsigned *blocks, unsigned nr)
{
  ck_assert_uint_eq (bed->script.nr_issues, nr);
  for (unsigned i = 0; i < nr; i++)
    ck_assert_uint_eq (script_issue (&bed->script, i)->offset_bytes,
                       blocks[i] * BLOCK_BYTES);
}

/* ------------------------------------------------------------------------ */
/* Direct                                                                    */

static enum blkmq_queue_result
is_on_the_submitters_thread (struct script *script, const struct issue *issue)
{
  const pthread_t *submitter = script->opaque;

  require (pthread_equal (*submitter, pthread_self ()));
  return script_completes_inside (script, issue);
}

START_TEST (test_submit_dispatches_and_ends_in_the_callers_context)
{
  struct bed *bed = bed_alloc ();
  pthread_t self = pthread_self ();
  struct test_io t;

  bed->script.on_queue = is_on_the_submitters_thread;
  bed->script.opaque = &self;
  bed_open_threads (bed, "");
  test_io_submit_early (&t, bed, 0);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert (pthread_equal (t.end_thread, self));
  bed_stop (bed);
}
END_TEST

START_TEST (test_submitters_spread_over_hctxs)
{
  struct bed *bed = bed_start ("submit_queues=3");
  struct blkmq_submitter *submitters[7];
  unsigned nr[3] = { 0 };

  ck_assert_ptr_null (blkmq_submitter_alloc (bed->disk, 3));
  ck_assert_int_eq (errno, EINVAL);
  for (unsigned i = 0; i < NR (submitters); i++) {
    unsigned hctx;

    submitters[i] = blkmq_submitter_alloc (bed->disk, BLKMQ_HCTX_ANY);
    hctx = blkmq_submitter_hctx (submitters[i]);
    ck_assert_uint_lt (hctx, 3);
    nr[hctx]++;
  }
  for (unsigned i = 0; i < 3; i++)
    ck_assert_uint_ge (nr[i], 2);
  for (unsigned i = 0; i < NR (submitters); i++) {
    struct test_io t;

    test_io_init (&t, bed, BLKMQ_OP_READ, 0);
    blkmq_submit (submitters[i], &t.io);
    ck_assert_uint_eq (
        blkmq_hctx_index (script_issue (&bed->script, i)->rq->hctx),
        blkmq_submitter_hctx (submitters[i]));
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    blkmq_submitter_free (submitters[i]);
  }
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* commit_rqs                                                                */

START_TEST (test_each_submit_rings_once)
{
  struct bed *bed = bed_start ("");
  struct test_io t[3];

  for (unsigned i = 0; i < 3; i++) {
    test_io_submit (&t[i], bed, i);
    ck_assert_uint_eq (bed->script.nr_commits, i + 1);
  }
  for (unsigned i = 0; i < 3; i++)
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static void
all_are_queued (struct script *script, struct blkmq_hctx *hctx)
{
  const unsigned *nr = script->opaque;

  require (script->nr_issues == *nr);
}

START_TEST (test_batch_rings_once_behind_the_last)
{
  struct bed *bed = bed_alloc ();
  static struct test_io t[10];
  struct blkmq_batch batch;
  unsigned nr = NR (t);

  bed->script.on_commit = all_are_queued;
  bed->script.opaque = &nr;
  bed_open (bed, "nomerges=1");
  blkmq_batch_begin (&batch, bed->submitter);
  blkmq_batch_commit (&batch); /* of nothing */
  ck_assert_uint_eq (bed->script.nr_commits, 0);
  for (unsigned i = 0; i < NR (t); i++) {
    test_io_init (&t[i], bed, BLKMQ_OP_READ, i);
    blkmq_batch_add (&batch, &t[i].io);
  }
  ck_assert_uint_eq (bed->script.nr_issues, 0);
  blkmq_batch_commit (&batch);
  ck_assert_uint_eq (bed->script.nr_commits, 1);
  check_order (bed, (const unsigned[]){ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 }, 10);

  /* It was emptied. */
  blkmq_batch_commit (&batch);
  ck_assert_uint_eq (bed->script.nr_issues, 10);
  for (unsigned i = 0; i < NR (t); i++) {
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    assert_ended (&t[i], BLKMQ_STS_OK);
  }
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
comes_with_a_hint_at_the_next (struct script *script, const struct issue *issue)
{
  unsigned i = script->nr_issues - 1;

  require (script->nr_hints == (i < 3 ? i + 1 : 3));
  if (i < 3)
    require (script->hint_bytes == (i + 1) * BLOCK_BYTES);
  return script_completes_inside (script, issue);
}

START_TEST (test_driver_gets_a_hint_at_the_next_of_a_batch)
{
  struct bed *bed = bed_alloc ();
  static struct test_io t[4];
  struct blkmq_batch batch;

  bed->script.on_queue = comes_with_a_hint_at_the_next;
  bed_open (bed, "nomerges=1");
  blkmq_batch_begin (&batch, bed->submitter);
  for (unsigned i = 0; i < NR (t); i++) {
    test_io_init (&t[i], bed, BLKMQ_OP_READ, i);
    blkmq_batch_add (&batch, &t[i].io);
  }
  blkmq_batch_commit (&batch);
  ck_assert_uint_eq (bed->script.nr_issues, 4);
  for (unsigned i = 0; i < NR (t); i++)
    assert_ended (&t[i], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_a_single_io_has_no_next_to_hint_at)
{
  struct bed *bed = bed_start ("");
  struct test_io t[2];

  for (unsigned i = 0; i < NR (t); i++)
    test_io_submit (&t[i], bed, i);
  ck_assert_uint_eq (bed->script.nr_hints, 0);
  for (unsigned i = 0; i < NR (t); i++)
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_batch_rings_once_though_ios_in_it_fail)
{
  struct bed *bed = bed_start ("nomerges=1 hw_queue_depth=2");
  struct test_io t[5];
  struct blkmq_batch batch;

  blkmq_batch_begin (&batch, bed->submitter);
  for (unsigned i = 0; i < NR (t); i++) {
    test_io_init (&t[i], bed, BLKMQ_OP_READ, i == 1 ? UINT32_MAX : i);
    blkmq_batch_add (&batch, &t[i].io);
  }
  blkmq_batch_commit (&batch);
  assert_ended (&t[1], BLKMQ_STS_INVAL);
  ck_assert_uint_eq (bed->script.nr_commits, 1);
  check_order (bed, (const unsigned[]){ 0, 2 }, 2);
  ck_assert_uint_eq (bed_stats (bed).waiting, 2);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  /* The waiters are one run of the loop's, and one ring. */
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_commits, 2);
  check_order (bed, (const unsigned[]){ 0, 2, 3, 4 }, 4);
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  issue_complete (&bed->script, 3, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
is_busy (struct script *script, const struct issue *issue)
{
  return BLKMQ_BUSY_HOST;
}

START_TEST (test_nothing_taken_rings_nothing)
{
  struct bed *bed = bed_alloc ();
  struct request *r;
  struct test_io t;

  bed->script.on_queue = is_busy;
  bed_open (bed, "");
  test_io_submit (&t, bed, 0);
  bed_pass (bed, 3 * MS);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (bed->script.nr_commits, 0);

  /* Dropped from the queue at its turn, because it was ended there. */
  r = request_of (script_issue (&bed->script, 0)->rq);
  ck_assert (request_claim (r, BLKMQ_CAUSE_ABORT, BLKMQ_STS_ABORTED));
  bed_pass (bed, 3 * MS);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (bed->script.nr_commits, 0);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* BUSY                                                                      */

/* A device with room for ROOM requests. */
struct small_device {
  struct bed *bed;
  unsigned room;
};

static enum blkmq_queue_result
takes_while_there_is_room (struct script *script, const struct issue *issue)
{
  struct small_device *device = script->opaque;

  if (device->room == 0)
    return BLKMQ_BUSY_DEVICE;
  device->room--;
  return BLKMQ_QUEUED;
}

static struct bed *
start_small_device (struct small_device *device, unsigned room,
                    const char *keys)
{
  struct bed *bed = bed_alloc ();

  device->bed = bed;
  device->room = room;
  bed->script.on_queue = takes_while_there_is_room;
  bed->script.opaque = device;
  bed_open (bed, keys);
  return bed;
}

static void
device_completes (struct small_device *device, unsigned issue)
{
  device->room++;
  ck_assert_int_eq (issue_complete (&device->bed->script, issue, BLKMQ_STS_OK),
                    0);
}

/* Complete what was taken, oldest first, until all of T has ended; time stands
 * still. */
static void
run_small_device (struct small_device *device, struct test_io *t, unsigned nr)
{
  unsigned next = 0, nr_ended;
  bool progress = true;

  while (progress) {
    struct script *script = &device->bed->script;

    progress = false;
    for (; next < script->nr_issues; next++) {
      const struct issue *issue = script_issue (script, next);

      /* Only the last call for a request can have been the successful one. */
      if (script_complete (script, issue->rq, issue->token, BLKMQ_STS_OK) < 0)
        continue;
      device->room++;
      progress = true;
    }
    bed_turn (device->bed);
    progress |= next < script->nr_issues;
  }
  nr_ended = 0;
  for (unsigned i = 0; i < nr; i++)
    nr_ended += t[i].nr_ends;
  ck_assert_uint_eq (nr_ended, nr);
}

START_TEST (test_busy_device_is_dispatched_at_the_next_give_back)
{
  struct small_device device;
  struct bed *bed = start_small_device (&device, 1, "");
  struct test_io first, second, third;
  unsigned nr;

  test_io_submit (&first, bed, 0);
  test_io_submit (&second, bed, 1);
  test_io_submit (&third, bed, 2);
  ck_assert_uint_ge (bed_stats (bed).busy, 1);
  /* Nobody asks again for nothing. */
  nr = bed->script.nr_issues;
  bed_turn (bed);
  bed_turn (bed);
  ck_assert_uint_le (bed->script.nr_issues, nr + 1);
  nr = bed->script.nr_issues;
  bed_pass (bed, 1000 * MS);
  ck_assert_uint_eq (bed->script.nr_issues, nr);

  device_completes (&device, 0);
  assert_ended (&first, BLKMQ_STS_OK);
  bed_turn (bed); /* no time passes */
  ck_assert_uint_eq (device.room, 0);
  ck_assert_uint_eq (script_issue (&bed->script, nr)->offset_bytes,
                     1 * BLOCK_BYTES);
  device_completes (&device, nr);
  assert_ended (&second, BLKMQ_STS_OK);
  nr = bed->script.nr_issues;
  bed_turn (bed);
  ck_assert_uint_eq (script_issue (&bed->script, nr)->offset_bytes,
                     2 * BLOCK_BYTES);
  device_completes (&device, nr);
  assert_ended (&third, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_small_device_serves_all)
{
  struct small_device device;
  static struct test_io t[200];

  for (unsigned room = 1; room <= 5; room++) {
    struct bed *bed = start_small_device (&device, room, "hw_queue_depth=16");

    bed_bear_mistakes (bed); /* it tries the tokens of refused calls, too */
    for (unsigned i = 0; i < NR (t); i++)
      test_io_submit (&t[i], bed, i);
    run_small_device (&device, t, NR (t));
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_busy_device_with_nothing_in_flight_is_tried_after_3_ms)
{
  struct small_device device;
  struct bed *bed = start_small_device (&device, 0, "");
  struct test_io t;
  unsigned nr;

  test_io_submit (&t, bed, 0);
  bed_turn (bed);
  nr = bed->script.nr_issues;
  device.room = 1;
  bed_pass (bed, 3 * MS - 1);
  ck_assert_uint_eq (bed->script.nr_issues, nr);
  bed_pass (bed, 1);
  ck_assert_uint_eq (bed->script.nr_issues, nr + 1);
  device_completes (&device, nr);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_busy_host_is_tried_every_3_ms)
{
  struct bed *bed = bed_alloc ();
  struct test_io t, other;

  bed_open (bed, "");
  test_io_submit (&other, bed, 0); /* in flight: it makes no difference */
  bed->script.on_queue = is_busy;
  test_io_submit (&t, bed, 1);
  for (unsigned i = 1; i <= 5; i++) {
    ck_assert_uint_eq (bed_stats (bed).busy, i);
    bed_pass (bed, 3 * MS - 1);
    ck_assert_uint_eq (bed_stats (bed).busy, i);
    bed_pass (bed, 1);
  }
  bed->script.on_queue = NULL;
  bed_pass (bed, 3 * MS);
  ck_assert_uint_eq (bed->script.nr_issues, 8);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  issue_complete (&bed->script, 7, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_hctx (bed, 0)->heap.nr, 0);
  bed_stop (bed);
}
END_TEST

/* Gives back number 0 while it is refusing, in the AT-th call: the room was
 * there, and no give-back will come to tell. */
struct late_device {
  struct small_device device; /* at the head: a script's opaque is both */
  unsigned at;
};

static enum blkmq_queue_result
frees_a_place_while_refusing (struct script *script, const struct issue *issue)
{
  struct late_device *late = script->opaque;

  if (script->nr_issues == late->at) {
    device_completes (&late->device, 0);
    return BLKMQ_BUSY_DEVICE;
  }
  return takes_while_there_is_room (script, issue);
}

/* In the first try nobody watches for give-backs yet, from the second on
 * somebody does. */
START_TEST (test_give_back_during_busy_is_not_missed)
{
  for (unsigned at = 3; at <= 4; at++) {
    struct late_device late = { .at = at };
    struct bed *bed = start_small_device (&late.device, 2, "");
    struct test_io first, stuck, third;
    unsigned last;

    bed->script.on_queue = frees_a_place_while_refusing;
    bed->script.opaque = &late;
    test_io_submit (&first, bed, 0);
    test_io_submit (&stuck, bed, 1);
    test_io_submit (&third, bed, 2);
    assert_ended (&first, BLKMQ_STS_OK);
    /* Though `stuck' is in flight, and never comes back. */
    bed_pass (bed, 3 * MS);
    last = bed->script.nr_issues - 1;
    ck_assert_uint_ge (last, at);
    ck_assert_uint_eq (script_issue (&bed->script, last)->offset_bytes,
                       2 * BLOCK_BYTES);
    device_completes (&late.device, last);
    assert_ended (&third, BLKMQ_STS_OK);
    device_completes (&late.device, 1);
    bed_stop (bed);
  }
}
END_TEST

struct busy_pair {
  struct small_device device; /* at the head, likewise */
  struct gate gate;
  struct test_io second;
};

/* The second io, on a thread of its own, is refused only when the gate
 * opens. */
static enum blkmq_queue_result
holds_up_the_second (struct script *script, const struct issue *issue)
{
  struct busy_pair *pair = script->opaque;

  if (issue->offset_bytes == BLOCK_BYTES && pair->second.nr_ends == 0) {
    gate_pass (&pair->gate);
    return BLKMQ_BUSY_DEVICE;
  }
  return takes_while_there_is_room (script, issue);
}

static void *
submit_second (void *opaque)
{
  struct busy_pair *pair = opaque;

  blkmq_submit (pair->device.bed->submitter, &pair->second.io);
  return NULL;
}

/* The first is refused and sees the second in flight, whose give-back will
 * wake it: that give-back is a BUSY for a request which was aborted. */
START_TEST (test_busy_for_an_ended_request_wakes_the_queue)
{
  static struct busy_pair pair = { .gate = GATE_INITIALIZER };
  struct bed *bed = start_small_device (&pair.device, 0, "");
  struct test_io first;
  pthread_t thread;
  unsigned last;

  bed->script.on_queue = holds_up_the_second;
  bed->script.opaque = &pair;
  test_io_init_early (&pair.second, bed, BLKMQ_OP_READ, 1);
  thread = thread_start (submit_second, &pair);
  gate_await_arrival (&pair.gate, 1);
  test_io_submit (&first, bed, 0);
  bed_turn (bed);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &pair.second.io), 1);
  assert_ended_early (&pair.second, BLKMQ_STS_ABORTED);
  pair.device.room = 1;
  gate_open (&pair.gate);
  thread_join (thread);
  assert_ended (&pair.second, BLKMQ_STS_ABORTED);
  bed_pass (bed, 3 * MS);
  last = bed->script.nr_issues - 1;
  ck_assert_uint_eq (script_issue (&bed->script, last)->offset_bytes, 0);
  device_completes (&pair.device, last);
  assert_ended (&first, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* Refuses each once.  While it refuses the first it gives back number 0: what
 * both lack is there by then, but nobody was seen to wait for it. */
static enum blkmq_queue_result
refuses_both_once (struct script *script, const struct issue *issue)
{
  struct busy_pair *pair = script->opaque;

  switch ((unsigned)script->nr_issues) {
  case 3:
    gate_pass (&pair->gate);
    return BLKMQ_BUSY_DEVICE;
  case 4:
    device_completes (&pair->device, 0);
    return BLKMQ_BUSY_DEVICE;
  default:
    return takes_while_there_is_room (script, issue);
  }
}

/* Runs between the refusal of the first and what the engine does about it. */
static void
let_the_second_be_refused (struct test_io *t)
{
  struct busy_pair *pair = t->bed->script.opaque;

  gate_open (&pair->gate);
  thread_join (*(pthread_t *)t->opaque);
}

/* Two threads are refused at once, and each of them sees others in flight.
 * What both lacked came back before either could be seen to wait: one must try
 * again, and the other must not keep it from that. */
START_TEST (test_two_refused_at_once_do_not_wait_for_each_other)
{
  static struct busy_pair pair = { .gate = GATE_INITIALIZER };
  struct bed *bed = start_small_device (&pair.device, 2, "");
  struct test_io x, stuck, first, bad;
  struct blkmq_batch batch;
  pthread_t thread;
  unsigned last;

  bed_bear_mistakes (bed); /* below, where the last issue is looked for */
  test_io_submit (&x, bed, 10);
  test_io_submit (&stuck, bed, 11);
  bed->script.on_queue = refuses_both_once;
  bed->script.opaque = &pair;
  test_io_init (&pair.second, bed, BLKMQ_OP_READ, 1);
  thread = thread_start (submit_second, &pair);
  gate_await_arrival (&pair.gate, 1);

  test_io_init (&first, bed, BLKMQ_OP_READ, 0);
  test_io_init (&bad, bed, BLKMQ_OP_READ, UINT32_MAX);
  bad.on_end = let_the_second_be_refused;
  bad.opaque = &thread;
  blkmq_batch_begin (&batch, bed->submitter);
  blkmq_batch_add (&batch, &first.io);
  blkmq_batch_add (&batch, &bad.io);
  blkmq_batch_commit (&batch);
  assert_ended (&x, BLKMQ_STS_OK);
  bed_pass (bed, 3 * MS);
  ck_assert_uint_eq (pair.device.room, 0);

  /* The other one's turn comes with the next give-back. */
  for (unsigned i = 0; i < 2; i++) {
    for (last = bed->script.nr_issues - 1;; last--) {
      const struct issue *issue = script_issue (&bed->script, last);

      if (issue->offset_bytes < 2 * BLOCK_BYTES
          && script_complete (&bed->script, issue->rq, issue->token,
                              BLKMQ_STS_OK)
                 == 0)
        break;
    }
    pair.device.room++;
    bed_turn (bed);
  }
  assert_ended (&first, BLKMQ_STS_OK);
  assert_ended (&pair.second, BLKMQ_STS_OK);
  device_completes (&pair.device, 1);
  assert_ended (&stuck, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* The head was refused, and is aborted: who stands behind it may be taken. */
START_TEST (test_abort_of_the_refused_head_lets_the_others_go)
{
  struct bed *bed = bed_alloc ();
  struct test_io head, behind, waiter;

  bed->script.on_queue = is_busy;
  bed_open (bed, "hw_queue_depth=2");
  test_io_submit (&head, bed, 0);
  test_io_submit (&behind, bed, 1);
  test_io_submit (&waiter, bed, 2);
  bed->script.on_queue = script_completes_inside;
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &head.io), 1);
  assert_ended (&head, BLKMQ_STS_ABORTED);
  bed_turn (bed);
  assert_ended (&behind, BLKMQ_STS_OK);
  assert_ended (&waiter, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* The same when a reference keeps the aborted request's tag from coming free,
 * which would have been another wake-up. */
START_TEST (test_abort_of_a_pinned_head_lets_the_waiters_go)
{
  struct bed *bed = bed_alloc ();
  struct blkmq_request *rq;
  struct test_io other, head, waiter;

  bed_open (bed, "hw_queue_depth=2");
  test_io_submit (&other, bed, 0);
  bed->script.on_queue = is_busy;
  test_io_submit (&head, bed, 1);
  test_io_submit (&waiter, bed, 2);
  rq = script_issue (&bed->script, 1)->rq;
  rq = blkmq_request_get (bed->disk,
                          name_make (atomic_load (&request_of (rq)->word), 0,
                                     request_of (rq)->tag));
  ck_assert_ptr_nonnull (rq);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_turn (bed);
  assert_ended (&other, BLKMQ_STS_OK);
  assert_not_ended (&waiter);
  bed->script.on_queue = script_completes_inside;
  blkmq_abort_io (bed->submitter, &head.io);
  bed_turn (bed);
  assert_ended (&waiter, BLKMQ_STS_OK);
  blkmq_request_put (rq);
  bed_stop (bed);
}
END_TEST

/* Who was ended on the queue is dropped at its turn, and the turn is the next
 * one's. */
START_TEST (test_dropped_head_lets_the_others_go)
{
  struct bed *bed = bed_start ("");
  struct test_io t[2];
  struct request *r;

  blkmq_quiesce (bed->disk);
  test_io_submit (&t[0], bed, 0);
  test_io_submit (&t[1], bed, 1);
  r = bed_hctx (bed, 0)->queue;
  ck_assert (request_claim (r, BLKMQ_CAUSE_ABORT, BLKMQ_STS_ABORTED));
  blkmq_unquiesce (bed->disk);
  assert_ended (&t[0], BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t[1], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_refused_request_keeps_its_place)
{
  struct bed *bed = bed_alloc ();
  struct test_io t[4];

  bed->script.on_queue = is_busy;
  bed_open (bed, "");
  for (unsigned i = 0; i < 4; i++)
    test_io_submit (&t[i], bed, i);
  bed_pass (bed, 3 * MS); /* refused once more, with others behind it */
  ck_assert_uint_eq (bed_stats (bed).busy, 2);
  bed->script.on_queue = NULL;
  bed->script.nr_issues = 0;
  bed_pass (bed, 3 * MS);
  check_order (bed, (const unsigned[]){ 0, 1, 2, 3 }, 4);
  for (unsigned i = 0; i < 4; i++)
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Requeue                                                                   */

START_TEST (test_requeued_goes_behind_those_that_wait)
{
  struct bed *bed = bed_start ("");
  struct test_io t[4];

  test_io_submit (&t[0], bed, 0);
  test_io_submit (&t[1], bed, 1);
  blkmq_quiesce (bed->disk);
  test_io_submit (&t[2], bed, 2);
  issue_requeue (&bed->script, 1);
  test_io_submit (&t[3], bed, 3);
  issue_requeue (&bed->script, 0);
  blkmq_unquiesce (bed->disk);
  check_order (bed, (const unsigned[]){ 0, 1, 2, 1, 3, 0 }, 6);
  ck_assert_uint_eq (bed_stats (bed).requeues, 2);
  for (unsigned i = 2; i < 6; i++)
    ck_assert_int_eq (issue_complete (&bed->script, i, BLKMQ_STS_OK), 0);
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
requeues_twice (struct script *script, const struct issue *issue)
{
  if (script->nr_issues <= 2) {
    require (script_requeue (script, issue->rq, issue->token) == 0);
    return BLKMQ_QUEUED;
  }
  return script_completes_inside (script, issue);
}

START_TEST (test_requeue_inside_queue_rq)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.on_queue = requeues_twice;
  bed_open (bed, "");
  test_io_submit_early (&t, bed, 5);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_OK);
  check_order (bed, (const unsigned[]){ 5, 5, 5 }, 3);
  bed_stop (bed);
}
END_TEST

/* queue_rq does not run inside blkmq_requeue or blkmq_complete: the driver may
 * hold its lock. */
START_TEST (test_give_back_does_not_call_queue_rq)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct test_io first, second;

  test_io_submit (&first, bed, 0);
  test_io_submit (&second, bed, 1);
  issue_requeue (&bed->script, 0);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Submitting from end_io                                                    */

#define DEEP (SANITIZED ? 100000u : 1000000u)

struct deep {
  struct test_io t;
  uintptr_t stack_lowest, stack_highest;
  unsigned nr;
};

static void
deep_end_io (struct test_io *t)
{
  struct deep *deep = t->opaque;
  uintptr_t here = (uintptr_t)__builtin_frame_address (0);

  if (here < deep->stack_lowest)
    deep->stack_lowest = here;
  if (here > deep->stack_highest)
    deep->stack_highest = here;
  if (++deep->nr == DEEP)
    return;
  test_io_init (t, t->bed, BLKMQ_OP_FLUSH, 0);
  t->on_end = deep_end_io;
  t->opaque = deep;
  blkmq_submit (t->bed->submitter, &t->io);
}

static enum blkmq_queue_result
completes_unrecorded (struct script *script, const struct issue *issue)
{
  script->nr_issues = 0;
  return script_completes_inside (script, issue);
}

START_TEST (test_resubmission_does_not_grow_the_stack)
{
  struct bed *bed = bed_alloc ();
  static struct deep deep = { .stack_lowest = UINTPTR_MAX };

  bed->script.on_queue = completes_unrecorded;
  bed_open (bed, "");
  test_io_init (&deep.t, bed, BLKMQ_OP_FLUSH, 0);
  deep.t.on_end = deep_end_io;
  deep.t.opaque = &deep;
  blkmq_submit (bed->submitter, &deep.t.io);
  ck_assert_uint_eq (deep.nr, DEEP);
  ck_assert_uint_lt (deep.stack_highest - deep.stack_lowest, 1024);
  ck_assert_uint_eq (bed_stats (bed).ios[BLKMQ_OP_FLUSH], DEEP);
  bed_stop (bed);
}
END_TEST

static void
submit_a_batch (struct test_io *t)
{
  struct test_io *more = t->opaque;
  struct blkmq_batch batch;

  blkmq_batch_begin (&batch, t->bed->submitter);
  for (unsigned i = 0; i < 3; i++) {
    test_io_init (&more[i], t->bed, BLKMQ_OP_READ, i + 1);
    blkmq_batch_add (&batch, &more[i].io);
  }
  blkmq_batch_commit (&batch);
  require (t->bed->script.nr_issues == 1);
}

START_TEST (test_ios_of_end_io_keep_their_order)
{
  struct bed *bed = bed_alloc ();
  struct test_io t, more[3];

  bed->script.on_queue = script_completes_inside;
  bed_open (bed, "");
  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  t.on_end = submit_a_batch;
  t.opaque = more;
  blkmq_submit (bed->submitter, &t.io);
  check_order (bed, (const unsigned[]){ 0, 1, 2, 3 }, 4);
  for (unsigned i = 0; i < 3; i++)
    assert_ended (&more[i], BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static void
submit_another (struct test_io *t)
{
  test_io_submit (t->opaque, t->bed, 1);
}

/* From give_back as well, and from a driver's thread: over the loop then. */
START_TEST (test_submission_inside_give_back_goes_over_the_loop)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct test_io t, another;

  test_io_init_early (&t, bed, BLKMQ_OP_READ, 0);
  t.on_give_back = submit_another;
  t.opaque = &another;
  blkmq_submit (bed->submitter, &t.io);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&another, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* However much there is, a turn of the loop does it all: whether the requests
 * stay with the driver, or end and make room for others. */
START_TEST (test_long_queue_is_served_to_its_end)
{
  static struct test_io t[1000];

  for (unsigned ends = 0; ends < 2; ends++) {
    unsigned nr = ends ? NR (t) : 500;
    struct bed *bed = bed_alloc ();

    bed->script.on_queue = is_busy;
    bed_open (bed, "hw_queue_depth=500");
    for (unsigned i = 0; i < nr; i++)
      test_io_submit (&t[i], bed, i);
    bed->script.nr_issues = 0;
    bed->script.on_queue = ends ? script_completes_inside : NULL;
    bed_pass (bed, 3 * MS);
    ck_assert_uint_eq (bed->script.nr_issues, nr);
    for (unsigned i = 0; i < nr; i++) {
      if (!ends)
        issue_complete (&bed->script, i, BLKMQ_STS_OK);
      assert_ended (&t[i], BLKMQ_STS_OK);
    }
    bed_stop (bed);
  }
}
END_TEST

/* ------------------------------------------------------------------------ */
/* irqmode=softirq                                                           */

START_TEST (test_softirq_ends_on_the_loop_in_order)
{
  struct bed *bed = bed_start ("irqmode=softirq");
  static const unsigned order[] = { 3, 0, 4, 2, 1 };
  struct test_io t[NR (order)];

  for (unsigned i = 0; i < NR (t); i++)
    test_io_submit_early (&t[i], bed, i);
  for (unsigned i = 0; i < NR (t); i++)
    ck_assert_int_eq (issue_complete (&bed->script, order[i], BLKMQ_STS_OK), 0);
  for (unsigned i = 0; i < NR (t); i++)
    assert_not_ended (&t[i]);
  bed_turn (bed);
  for (unsigned i = 0; i < NR (t); i++) {
    assert_ended (&t[order[i]], BLKMQ_STS_OK);
    if (i > 0)
      ck_assert_uint_gt (t[order[i]].end_event, t[order[i - 1]].end_event);
  }
  bed_stop (bed);
}
END_TEST

START_TEST (test_softirq_ends_on_the_hctxs_thread)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.on_queue = script_completes_inside;
  bed_open_threads (bed, "irqmode=softirq");
  test_io_submit_early (&t, bed, 0);
  await (t.nr_give_backs == 1);
  ck_assert (!pthread_equal (t.end_thread, pthread_self ()));
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* The synchronous forms                                                     */

static enum blkmq_queue_result
fails_for_block_9 (struct script *script, const struct issue *issue)
{
  enum blkmq_status status = issue->offset_bytes == 9 * BLOCK_BYTES
                                 ? BLKMQ_STS_MEDIUM
                                 : BLKMQ_STS_OK;

  require (script_complete (script, issue->rq, issue->token, status) == 0);
  return BLKMQ_QUEUED;
}

START_TEST (test_sync_forms_return_the_status)
{
  struct bed *bed = bed_alloc ();
  char data[BLOCK_BYTES] = { 0 };
  static const enum blkmq_op ops[]
      = { BLKMQ_OP_READ,    BLKMQ_OP_WRITE,        BLKMQ_OP_FLUSH,
          BLKMQ_OP_DISCARD, BLKMQ_OP_WRITE_ZEROES, BLKMQ_OP_READ };

  bed->script.on_queue = fails_for_block_9;
  bed->script.volatile_cache = bed->script.fua = true;
  bed_open_threads (bed, "irqmode=softirq");
  ck_assert_int_eq (blkmq_read (bed->submitter, data, sizeof data, 512), 0);
  ck_assert_int_eq (
      blkmq_write (bed->submitter, data, sizeof data, 512, BLKMQ_IO_FUA), 0);
  ck_assert_int_eq (blkmq_flush (bed->submitter), 0);
  ck_assert_int_eq (blkmq_discard (bed->submitter, 512, 512), 0);
  ck_assert_int_eq (
      blkmq_write_zeroes (bed->submitter, 512, 512, BLKMQ_IO_NOUNMAP), 0);
  ck_assert_int_eq (
      blkmq_read (bed->submitter, data, sizeof data, 9 * BLOCK_BYTES),
      -ENODATA);
  ck_assert_int_eq (blkmq_read (bed->submitter, data, 3, 0), -EINVAL);
  ck_assert_uint_eq (bed->script.nr_issues, NR (ops));
  for (unsigned i = 0; i < NR (ops); i++)
    ck_assert_uint_eq (script_issue (&bed->script, i)->op, ops[i]);
  ck_assert_uint_eq (script_issue (&bed->script, 1)->flags, BLKMQ_IO_FUA);
  ck_assert_uint_eq (script_issue (&bed->script, 4)->flags, BLKMQ_IO_NOUNMAP);
  blkmq_disk_remove (bed->disk);
  ck_assert_int_eq (blkmq_flush (bed->submitter), -ENODEV);
  bed_stop (bed);
}
END_TEST

static bool
waits_three_times (void *opaque)
{
  unsigned *nr = opaque;

  return ++*nr < 3;
}

START_TEST (test_sync_while_aborts_when_told_to)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;
  unsigned nr = 0;

  /* Given back at once, and then an hour to go. */
  bed->script.on_queue = script_completes_inside;
  bed_open_threads (bed, "irqmode=timer completion_nsec=3600s");
  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  ck_assert_int_eq (blkmq_submit_sync_while (bed->submitter, &t.io, 1 * MS,
                                             waits_three_times, &nr),
                    -ECANCELED);
  ck_assert_uint_eq (nr, 3);
  bed_stop (bed);
}
END_TEST

struct sync_call {
  struct test_io t;
  struct test_io *to_abort;
  int result;
};

static bool
stops_at_once (void *opaque)
{
  return false;
}

static void *
submit_sync_while (void *opaque)
{
  struct sync_call *call = opaque;

  call->result = blkmq_submit_sync_while (call->t.bed->submitter, &call->t.io,
                                          1, stops_at_once, NULL);
  return NULL;
}

/* Aborted, but the driver has the data: the call must not return before it is
 * given back. */
START_TEST (test_sync_while_waits_for_the_data)
{
  struct bed *bed = bed_alloc ();
  static struct sync_call call;
  struct blkmq_request_info info;
  struct blkmq_request *rq;
  pthread_t thread;

  bed_open (bed, "");
  test_io_init (&call.t, bed, BLKMQ_OP_READ, 0);
  call.result = 1;
  thread = thread_start (submit_sync_while, &call);
  await (bed->script.nr_issues == 1);
  rq = blkmq_request_get (bed->disk, script_issue (&bed->script, 0)->token);
  do {
    await_pause ();
    blkmq_request_info (rq, &info);
  } while (!info.ended);
  blkmq_request_put (rq);
  ck_assert_int_eq (call.result, 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  thread_join (thread);
  ck_assert_int_eq (call.result, -ECANCELED);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("dispatch");
  TCase *tcase;

  tcase = harness_case (suite, "direct");
  tcase_add_test (tcase,
                  test_submit_dispatches_and_ends_in_the_callers_context);
  tcase_add_test (tcase, test_submitters_spread_over_hctxs);

  tcase = harness_case (suite, "commit_rqs");
  tcase_add_test (tcase, test_each_submit_rings_once);
  tcase_add_test (tcase, test_batch_rings_once_behind_the_last);
  tcase_add_test (tcase, test_driver_gets_a_hint_at_the_next_of_a_batch);
  tcase_add_test (tcase, test_a_single_io_has_no_next_to_hint_at);
  tcase_add_test (tcase, test_batch_rings_once_though_ios_in_it_fail);
  tcase_add_test (tcase, test_nothing_taken_rings_nothing);

  tcase = harness_case (suite, "busy");
  tcase_add_test (tcase, test_busy_device_is_dispatched_at_the_next_give_back);
  tcase_add_test (tcase, test_small_device_serves_all);
  tcase_add_test (tcase,
                  test_busy_device_with_nothing_in_flight_is_tried_after_3_ms);
  tcase_add_test (tcase, test_busy_host_is_tried_every_3_ms);
  tcase_add_test (tcase, test_give_back_during_busy_is_not_missed);
  tcase_add_test (tcase, test_busy_for_an_ended_request_wakes_the_queue);
  tcase_add_test (tcase, test_two_refused_at_once_do_not_wait_for_each_other);
  tcase_add_test (tcase, test_abort_of_the_refused_head_lets_the_others_go);
  tcase_add_test (tcase, test_abort_of_a_pinned_head_lets_the_waiters_go);
  tcase_add_test (tcase, test_dropped_head_lets_the_others_go);
  tcase_add_test (tcase, test_refused_request_keeps_its_place);

  tcase = harness_case (suite, "requeue");
  tcase_add_test (tcase, test_requeued_goes_behind_those_that_wait);
  tcase_add_test (tcase, test_requeue_inside_queue_rq);
  tcase_add_test (tcase, test_give_back_does_not_call_queue_rq);

  tcase = harness_case (suite, "from callbacks");
  tcase_add_test (tcase, test_resubmission_does_not_grow_the_stack);
  tcase_add_test (tcase, test_ios_of_end_io_keep_their_order);
  tcase_add_test (tcase, test_submission_inside_give_back_goes_over_the_loop);
  tcase_add_test (tcase, test_long_queue_is_served_to_its_end);

  tcase = harness_case (suite, "softirq");
  tcase_add_test (tcase, test_softirq_ends_on_the_loop_in_order);
  tcase_add_test (tcase, test_softirq_ends_on_the_hctxs_thread);

  tcase = harness_case (suite, "synchronous");
  tcase_add_test (tcase, test_sync_forms_return_the_status);
  tcase_add_test (tcase, test_sync_while_aborts_when_told_to);
  tcase_add_test (tcase, test_sync_while_waits_for_the_data);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
