/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-tags.c: the bitmap of tags, and waiting for one.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "engine/dispatch.h"
#include "engine/sync.h"
#include "harness.h"

/* ------------------------------------------------------------------------ */
/* The bitmap                                                                */

#define MAX_DEPTH 10240

/* Compare everything that the map can be asked with what is so. */
static void
check_map (const struct tag_map *map, const bool *taken)
{
  unsigned nr = 0;
  int next = NO_TAG;

  ck_assert_int_eq (tag_map_next_taken (map, map->depth), NO_TAG);
  for (unsigned tag = map->depth; tag-- > 0;) {
    if (taken[tag]) {
      next = (int)tag;
      nr++;
    }
    if (tag_map_next_taken (map, tag) != next)
      ck_abort_msg ("depth %u, from %u: %d instead of %d", map->depth, tag,
                    tag_map_next_taken (map, tag), next);
    if (tag_map_is_taken (map, tag) != taken[tag])
      ck_abort_msg ("depth %u, tag %u: taken is wrong", map->depth, tag);
  }
  ck_assert_uint_eq (tag_map_nr_taken (map), nr);
}

static void
take_all (struct tag_map *map, bool *taken, unsigned hint)
{
  for (unsigned i = 0; i < map->depth; i++) {
    int tag = tag_map_get (map, hint);

    if (tag < 0 || tag >= (int)map->depth || taken[tag])
      ck_abort_msg ("depth %u, hint %u: got %d", map->depth, hint, tag);
    taken[tag] = true;
  }
  ck_assert_int_eq (tag_map_get (map, hint), NO_TAG);
}

static void
exhaust_depth (unsigned depth, struct rng *rng)
{
  static bool taken[MAX_DEPTH];
  struct tag_map map;

  ck_assert_int_eq (tag_map_init (&map, depth), 0);
  memset (taken, 0, sizeof taken);
  check_map (&map, taken);
  for (unsigned round = 0; round < 3; round++) {
    take_all (&map, taken, (unsigned)rng_next (rng));
    check_map (&map, taken);

    /* The one free tag is found from everywhere. */
    for (unsigned hint = 0; hint < map.nr_words; hint++) {
      unsigned tag = (unsigned)rng_below (rng, depth);

      tag_map_put (&map, tag);
      ck_assert (!tag_map_is_taken (&map, tag));
      ck_assert_int_eq (tag_map_get (&map, hint), (int)tag);
    }

    for (unsigned n = 0; n < depth; n++) {
      unsigned tag = (unsigned)rng_below (rng, depth);

      if (!taken[tag])
        continue;
      tag_map_put (&map, tag);
      taken[tag] = false;
    }
    check_map (&map, taken);
    for (unsigned tag = 0; tag < depth; tag++) {
      if (taken[tag])
        tag_map_put (&map, tag);
      taken[tag] = false;
    }
  }
  tag_map_exit (&map);
}

START_TEST (test_each_tag_is_given_once_at_every_depth)
{
  struct rng rng;

  rng_init (&rng, 0);
  for (unsigned depth = 1; depth <= 300; depth++)
    exhaust_depth (depth, &rng);
  exhaust_depth (MAX_DEPTH, &rng);
}
END_TEST

START_TEST (test_hints_lead_to_words_of_their_own)
{
  static const unsigned depths[] = { 16, 64, 100, 256, MAX_DEPTH };

  for (size_t i = 0; i < NR (depths); i++) {
    struct tag_map map;

    ck_assert_int_eq (tag_map_init (&map, depths[i]), 0);
    ck_assert_uint_ge (map.nr_words, 4);
    for (unsigned hint = 0; hint < map.nr_words; hint++)
      ck_assert_int_eq (tag_map_get (&map, hint + map.nr_words) >> map.shift,
                        (int)hint);
    tag_map_exit (&map);
  }
}
END_TEST

#define CONTENDED_DEPTH 3 /* one word: all meet there */
#define CONTENDERS 4
#define CONTENDED_ROUNDS (SANITIZED ? 200000 : 5000000)

struct contention {
  struct tag_map map;
  unsigned owned[CONTENDED_DEPTH]; /* who has the tag has this */
  _Atomic unsigned next_id;
  struct gate gate; /* they start together, or they never meet */
};

static void *
contend (void *opaque)
{
  struct contention *c = opaque;
  unsigned id = ++c->next_id;
  int mine[2] = { NO_TAG, NO_TAG };

  gate_pass (&c->gate);
  for (unsigned i = 0; i < CONTENDED_ROUNDS; i++) {
    int *slot = &mine[i % 2];

    if (*slot != NO_TAG) {
      require (c->owned[*slot] == id);
      c->owned[*slot] = 0;
      tag_map_put (&c->map, (unsigned)*slot);
    }
    *slot = tag_map_get (&c->map, id);
    if (*slot == NO_TAG)
      continue;
    require (c->owned[*slot] == 0);
    c->owned[*slot] = id;
  }
  for (unsigned i = 0; i < 2; i++) {
    if (mine[i] == NO_TAG)
      continue;
    c->owned[mine[i]] = 0;
    tag_map_put (&c->map, (unsigned)mine[i]);
  }
  return NULL;
}

START_TEST (test_a_tag_has_one_holder_among_threads)
{
  static struct contention c = { .gate = GATE_INITIALIZER };
  pthread_t threads[CONTENDERS];

  ck_assert_int_eq (tag_map_init (&c.map, CONTENDED_DEPTH), 0);
  for (unsigned i = 0; i < CONTENDERS; i++)
    threads[i] = thread_start (contend, &c);
  gate_await_arrival (&c.gate, CONTENDERS);
  gate_open (&c.gate);
  for (unsigned i = 0; i < CONTENDERS; i++)
    thread_join (threads[i]);
  ck_assert_uint_eq (tag_map_nr_taken (&c.map), 0);
  tag_map_exit (&c.map);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Waiting                                                                   */

START_TEST (test_waiters_are_served_in_order)
{
  struct bed *bed = bed_start ("hw_queue_depth=2");
  static struct test_io t[20];

  for (unsigned i = 0; i < NR (t); i++)
    test_io_submit (&t[i], bed, i);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (bed_stats (bed).waiting, NR (t) - 2);

  for (unsigned i = 0; i < NR (t); i++) {
    /* The second of each pair first: the order is the waiters', not that of
     * the tags. */
    ck_assert_int_eq (issue_complete (&bed->script, i ^ 1, BLKMQ_STS_OK), 0);
    bed_turn (bed);
    ck_assert_uint_eq (bed->script.nr_issues, i + 3 < NR (t) ? i + 3 : NR (t));
  }
  for (unsigned i = 0; i < NR (t); i++) {
    ck_assert_uint_eq (script_issue (&bed->script, i)->offset_bytes,
                       i * BLOCK_BYTES);
    assert_ended (&t[i], BLKMQ_STS_OK);
  }
  bed_stop (bed);
}
END_TEST

START_TEST (test_newcomer_goes_behind_waiters)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct test_io first, waiter, newcomer;

  test_io_submit (&first, bed, 0);
  test_io_submit (&waiter, bed, 1);
  /* The tag is free, the loop has not turned yet: the newcomer could take
   * it. */
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  ck_assert_uint_eq (hctx_nr_taken (bed_hctx (bed, 0)), 0);
  test_io_submit (&newcomer, bed, 2);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (script_issue (&bed->script, 1)->offset_bytes,
                     1 * BLOCK_BYTES);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  bed_turn (bed);
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  assert_ended (&newcomer, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static void
resubmit (struct test_io *t)
{
  test_io_submit (t, t->bed, 1);
  t->on_end = resubmit;
}

/* Those who come again at once do not keep out the one who waits. */
START_TEST (test_resubmitter_does_not_starve_a_waiter)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct test_io greedy[2], patient;

  for (unsigned i = 0; i < NR (greedy); i++) {
    test_io_submit (&greedy[i], bed, 1);
    greedy[i].on_end = resubmit;
  }
  test_io_submit (&patient, bed, 9);
  for (unsigned i = 0; i < 3; i++) {
    ck_assert_uint_eq (bed->script.nr_issues, i + 1);
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    bed_turn (bed);
  }
  ck_assert_uint_eq (script_issue (&bed->script, 2)->offset_bytes,
                     9 * BLOCK_BYTES);
  assert_ended (&patient, BLKMQ_STS_OK);

  for (unsigned i = 0; i < NR (greedy); i++)
    greedy[i].on_end = NULL;
  for (unsigned i = 3; i < 5; i++) {
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    bed_turn (bed);
  }
  bed_stop (bed);
}
END_TEST

START_TEST (test_nowait_ends_with_again)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct test_io first, nowait;

  test_io_init (&nowait, bed, BLKMQ_OP_WRITE, 1);
  nowait.io.flags = BLKMQ_IO_NOWAIT;
  test_io_submit (&first, bed, 0);
  blkmq_submit (bed->submitter, &nowait.io);
  assert_ended (&nowait, BLKMQ_STS_AGAIN);
  ck_assert_uint_eq (bed_stats (bed).rejected[BLKMQ_STS_AGAIN], 1);
  ck_assert_uint_eq (bed_stats (bed).waiting, 0);

  /* With a tag it is an io like any other. */
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  test_io_init (&nowait, bed, BLKMQ_OP_WRITE, 1);
  nowait.io.flags = BLKMQ_IO_NOWAIT;
  blkmq_submit (bed->submitter, &nowait.io);
  assert_not_ended (&nowait);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&nowait, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static void
submit_nowait (struct test_io *t)
{
  struct test_io *next = t->opaque;

  test_io_init (next, t->bed, BLKMQ_OP_READ, 2);
  next->io.flags = BLKMQ_IO_NOWAIT;
  blkmq_submit (t->bed->submitter, &next->io);
}

/* end_io runs inside blkmq_complete, where no queue_rq may run: the io is
 * handed to the loop, but does not wait for a tag there. */
START_TEST (test_nowait_from_end_io_does_not_wait)
{
  struct bed *bed = bed_start ("hw_queue_depth=2");
  struct test_io a, b, c, nowait = { 0 };

  test_io_submit (&a, bed, 0);
  test_io_submit (&b, bed, 1);
  test_io_submit (&c, bed, 3);
  a.opaque = &nowait;
  a.on_end = submit_nowait;
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_turn (bed);
  /* The tag that came free was c's. */
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  assert_ended (&nowait, BLKMQ_STS_AGAIN);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* submit_wait                                                               */

struct waiter {
  struct test_io t;
  int result;
  unsigned returned; /* event */
};

static void *
submit_and_wait (void *opaque)
{
  struct waiter *w = opaque;

  w->result = blkmq_submit_wait (w->t.bed->submitter, &w->t.io);
  w->returned = bed_event (w->t.bed);
  return NULL;
}

/* Does the thread sleep for its tag?  The library's own state says so: nothing
 * public tells sleeping from being about to return. */
static bool
sleeps (struct waiter *w)
{
  struct completion *c
      = bed_stats (w->t.bed).waiting > 0 ? w->t.io.priv.tag_wait : NULL;

  return c != NULL && atomic_load (&c->state) == 1;
}

START_TEST (test_submit_wait_returns_when_the_tag_is_there)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  static struct waiter w;
  struct test_io first;
  pthread_t thread;
  unsigned before;

  test_io_submit (&first, bed, 0);
  test_io_init (&w.t, bed, BLKMQ_OP_READ, 1);
  thread = thread_start (submit_and_wait, &w);
  await (sleeps (&w));
  before = bed_event (bed);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_turn (bed);
  thread_join (thread);
  ck_assert_int_eq (w.result, 0);
  ck_assert_uint_gt (w.returned, before);
  /* It does not wait for the end. */
  assert_not_ended (&w.t);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&w.t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* All parts must have their tags, not only the first. */
START_TEST (test_submit_wait_waits_for_the_last_part)
{
  struct bed *bed = bed_start ("hw_queue_depth=1 max_sectors=1");
  static struct waiter w;
  static char data[3 * BLOCK_BYTES];
  pthread_t thread;
  unsigned before;

  test_io_init (&w.t, bed, BLKMQ_OP_READ, 0);
  w.t.segment = (struct iovec){ data, sizeof data };
  w.t.io.bytes = sizeof data;
  thread = thread_start (submit_and_wait, &w);
  for (unsigned i = 0; i < 2; i++) {
    await (bed->script.nr_issues == i + 1);
    await (sleeps (&w));
    before = bed_event (bed);
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    bed_turn (bed);
  }
  thread_join (thread);
  ck_assert_uint_gt (w.returned, before);
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  assert_ended (&w.t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static void
submit_wait_is_rejected (struct waiter *w, enum blkmq_status status)
{
  pthread_t thread = thread_start (submit_and_wait, w);

  thread_join (thread);
  ck_assert_int_eq (w->result, 0);
  assert_ended (&w->t, status);
}

START_TEST (test_submit_wait_returns_when_rejected)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  static struct waiter w;
  struct test_io first;
  pthread_t thread;

  test_io_init (&w.t, bed, BLKMQ_OP_READ, UINT32_MAX);
  submit_wait_is_rejected (&w, BLKMQ_STS_INVAL);

  test_io_submit (&first, bed, 0);
  test_io_init (&w.t, bed, BLKMQ_OP_READ, 0);
  w.t.io.flags = BLKMQ_IO_NOWAIT;
  submit_wait_is_rejected (&w, BLKMQ_STS_AGAIN);

  test_io_init (&w.t, bed, BLKMQ_OP_READ, 0);
  thread = thread_start (submit_and_wait, &w);
  await (sleeps (&w));
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &w.t.io), 1);
  thread_join (thread);
  assert_ended (&w.t, BLKMQ_STS_ABORTED);

  test_io_init (&w.t, bed, BLKMQ_OP_READ, 0);
  thread = thread_start (submit_and_wait, &w);
  await (sleeps (&w));
  blkmq_disk_remove (bed->disk);
  thread_join (thread);
  assert_ended (&w.t, BLKMQ_STS_OFFLINE);

  test_io_init (&w.t, bed, BLKMQ_OP_READ, 0);
  submit_wait_is_rejected (&w, BLKMQ_STS_OFFLINE);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Where blocking would be for ever                                          */

static bool
keep_waiting (void *opaque)
{
  return true;
}

static void
check_that_all_refuse (struct bed *bed)
{
  struct blkmq_stats before = bed_stats (bed), after;
  struct test_io t;

  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  require (blkmq_submit_wait (bed->submitter, &t.io) == -EDEADLK);
  require (blkmq_submit_sync (bed->submitter, &t.io) == -EDEADLK);
  require (
      blkmq_submit_sync_while (bed->submitter, &t.io, 1, keep_waiting, NULL)
      == -EDEADLK);
  require (blkmq_read (bed->submitter, t.data, BLOCK_BYTES, 0) == -EDEADLK);
  require (blkmq_write (bed->submitter, t.data, BLOCK_BYTES, 0, 0) == -EDEADLK);
  require (blkmq_flush (bed->submitter) == -EDEADLK);
  require (blkmq_discard (bed->submitter, BLOCK_BYTES, 0) == -EDEADLK);
  require (blkmq_write_zeroes (bed->submitter, BLOCK_BYTES, 0, 0) == -EDEADLK);
  require (blkmq_quiesce (bed->disk) == -EDEADLK);
  require (blkmq_freeze (bed->disk, NULL, 0) == -EDEADLK);

  /* Nothing was submitted, frozen or quiesced. */
  require (t.nr_ends == 0);
  after = bed_stats (bed);
  require (after.waiting == before.waiting);
  require (after.in_flight[BLKMQ_OP_READ] == before.in_flight[BLKMQ_OP_READ]);
  require (bed->disk->freeze_depth == 0 && bed->disk->quiesce_depth == 0);
}

struct refusals {
  _Atomic unsigned nr;
};

static void
blocking_is_refused_in_callback (struct test_io *t)
{
  struct refusals *refusals = t->opaque;

  check_that_all_refuse (t->bed);
  refusals->nr++;
}

static enum blkmq_queue_result
blocking_is_refused_in_queue_rq (struct script *script,
                                 const struct issue *issue)
{
  check_that_all_refuse (script->opaque);
  return script_completes_inside (script, issue);
}

START_TEST (test_blocking_is_refused_in_callbacks)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;
  struct refusals refusals = { 0 };

  bed->script.on_queue = blocking_is_refused_in_queue_rq;
  bed->script.opaque = bed;
  bed_open (bed, "");
  test_io_init_early (&t, bed, BLKMQ_OP_READ, 0);
  t.on_end = t.on_give_back = blocking_is_refused_in_callback;
  t.opaque = &refusals;
  blkmq_submit (bed->submitter, &t.io);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (refusals.nr, 2);
  bed_stop (bed);
}
END_TEST

/* Not only inside callbacks: whatever else runs on the loop's thread. */
START_TEST (test_blocking_is_refused_on_the_loops_thread)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;
  struct refusals refusals = { 0 };

  bed->script.on_queue = script_completes_inside;
  bed_open_threads (bed, "irqmode=softirq");
  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  t.on_end = blocking_is_refused_in_callback;
  t.opaque = &refusals;
  blkmq_submit (bed->submitter, &t.io);
  await (refusals.nr == 1);
  ck_assert (!pthread_equal (t.end_thread, pthread_self ()));
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* One tag, many threads                                                     */

#define CROWD_THREADS 4
#define CROWD_IOS 256 /* each */

struct crowd {
  struct bed *bed;
  _Atomic bool quit;
  struct test_io ios[CROWD_THREADS][CROWD_IOS];
  _Atomic unsigned next;
};

static void *
submit_many (void *opaque)
{
  struct crowd *crowd = opaque;
  struct test_io *mine = crowd->ios[crowd->next++];

  for (unsigned i = 0; i < CROWD_IOS; i++)
    test_io_submit (&mine[i], crowd->bed, i);
  return NULL;
}

/* The device: completes what is issued, on a thread of its own. */
static void *
complete_all (void *opaque)
{
  struct crowd *crowd = opaque;
  struct script *script = &crowd->bed->script;

  for (unsigned i = 0; i < CROWD_THREADS * CROWD_IOS; i++) {
    await (script->nr_issues > i);
    require (issue_complete (script, i, BLKMQ_STS_OK) == 0);
  }
  return NULL;
}

START_TEST (test_one_tag_serves_1024_ios_of_many_threads)
{
  static struct crowd crowd;
  struct bed *bed = bed_alloc ();
  pthread_t threads[CROWD_THREADS], device;
  unsigned nr_in_order[CROWD_THREADS] = { 0 };

  crowd.bed = bed;
  bed_open_threads (bed, "hw_queue_depth=1");
  device = thread_start (complete_all, &crowd);
  for (unsigned i = 0; i < CROWD_THREADS; i++)
    threads[i] = thread_start (submit_many, &crowd);
  for (unsigned i = 0; i < CROWD_THREADS; i++)
    thread_join (threads[i]);
  thread_join (device);

  for (unsigned i = 0; i < CROWD_THREADS; i++) {
    for (unsigned j = 0; j < CROWD_IOS; j++)
      assert_ended (&crowd.ios[i][j], BLKMQ_STS_OK);
  }
  /* Each submitter's own order was kept: its ios follow its others on the
   * list. */
  for (unsigned n = 0; n < CROWD_THREADS * CROWD_IOS; n++) {
    uint64_t block = script_issue (&bed->script, n)->offset_bytes / BLOCK_BYTES;
    bool found = false;

    for (unsigned i = 0; i < CROWD_THREADS && !found; i++) {
      if (nr_in_order[i] == block) {
        nr_in_order[i]++;
        found = true;
      }
    }
    ck_assert_msg (found, "io %u came out of order", n);
  }
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("tags");
  TCase *tcase;

  tcase = harness_case (suite, "bitmap");
  tcase_add_test (tcase, test_each_tag_is_given_once_at_every_depth);
  tcase_add_test (tcase, test_hints_lead_to_words_of_their_own);
  tcase_add_test (tcase, test_a_tag_has_one_holder_among_threads);

  tcase = harness_case (suite, "waiting");
  tcase_add_test (tcase, test_waiters_are_served_in_order);
  tcase_add_test (tcase, test_newcomer_goes_behind_waiters);
  tcase_add_test (tcase, test_resubmitter_does_not_starve_a_waiter);
  tcase_add_test (tcase, test_nowait_ends_with_again);
  tcase_add_test (tcase, test_nowait_from_end_io_does_not_wait);
  tcase_add_test (tcase, test_submit_wait_returns_when_the_tag_is_there);
  tcase_add_test (tcase, test_submit_wait_waits_for_the_last_part);
  tcase_add_test (tcase, test_submit_wait_returns_when_rejected);
  tcase_add_test (tcase, test_one_tag_serves_1024_ios_of_many_threads);

  tcase = harness_case (suite, "refusing to block");
  tcase_add_test (tcase, test_blocking_is_refused_in_callbacks);
  tcase_add_test (tcase, test_blocking_is_refused_on_the_loops_thread);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
