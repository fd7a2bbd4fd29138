/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-loop.c: real loops with real time: an hctx's own thread, and loops that
 * the embedder lends.  Times are checked from one side only: never early.
 */

#include <config.h>

#include <ev.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

static uint64_t
now_ns (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* ------------------------------------------------------------------------ */
/* Own threads                                                               */

START_TEST (test_real_timers_fire_and_not_early)
{
  static const uint64_t times_ns[] = { 0, 1, 50 * US, 1 * MS, 20 * MS };

  for (size_t i = 0; i < NR (times_ns); i++) {
    struct bed *bed = bed_alloc ();
    char keys[100], data[BLOCK_BYTES];
    uint64_t start_ns;

    snprintf (keys, sizeof keys, "irqmode=timer completion_nsec=%uns",
              (unsigned)times_ns[i]);
    bed->script.on_queue = script_completes_inside;
    bed_open_threads (bed, keys);
    for (unsigned n = 0; n < 5; n++) {
      start_ns = now_ns ();
      ck_assert_int_eq (blkmq_read (bed->submitter, data, sizeof data, 0), 0);
      ck_assert_uint_ge (now_ns () - start_ns, times_ns[i]);
    }
    bed_stop (bed);
  }
}
END_TEST

static enum blkmq_timeout_result
says_done (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_DONE;
}

START_TEST (test_real_timeout_comes)
{
  struct bed *bed = bed_alloc ();
  char data[BLOCK_BYTES];

  bed->script.on_timeout = says_done;
  bed_open_threads (bed, "io_timeout=30");
  for (unsigned i = 0; i < 3; i++)
    ck_assert_int_eq (blkmq_read (bed->submitter, data, sizeof data, 0),
                      -ETIMEDOUT);
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
is_busy_every_other_time (struct script *script, const struct issue *issue)
{
  return script->nr_issues % 2 ? BLKMQ_BUSY_HOST
                               : script_completes_inside (script, issue);
}

START_TEST (test_real_rerun_comes)
{
  struct bed *bed = bed_alloc ();
  char data[BLOCK_BYTES];

  bed->script.on_queue = is_busy_every_other_time;
  bed_open_threads (bed, "");
  for (unsigned i = 0; i < 5; i++)
    ck_assert_int_eq (blkmq_read (bed->submitter, data, sizeof data, 0), 0);
  bed_stop (bed);
}
END_TEST

/* A timer that is armed while the loop sleeps for a later one wakes it. */
START_TEST (test_earlier_timer_wakes_the_loop)
{
  struct bed *bed = bed_alloc ();
  char data[BLOCK_BYTES];

  /* The scan's timer is an hour away. */
  bed->script.on_queue = script_completes_inside;
  bed_open_threads (bed,
                    "irqmode=timer completion_nsec=100us io_timeout=3600s");
  for (unsigned i = 0; i < 10; i++)
    ck_assert_int_eq (blkmq_read (bed->submitter, data, sizeof data, 0), 0);
  bed_stop (bed);
}
END_TEST

#define NR_KICKERS 4
#define NR_KICKS 2000

static void *
read_many (void *opaque)
{
  struct bed *bed = opaque;
  char data[BLOCK_BYTES];

  for (unsigned i = 0; i < NR_KICKS; i++)
    require (blkmq_read (bed->submitter, data, sizeof data, 0) == 0);
  return NULL;
}

/* Kicks coalesce; one that got lost would be a thread that hangs. */
START_TEST (test_no_kick_is_lost)
{
  struct bed *bed = bed_alloc ();
  pthread_t threads[NR_KICKERS];

  bed->script.on_queue = script_completes_inside;
  bed_open_threads (bed, "irqmode=softirq hw_queue_depth=3");
  for (unsigned i = 0; i < NR_KICKERS; i++)
    threads[i] = thread_start (read_many, bed);
  for (unsigned i = 0; i < NR_KICKERS; i++)
    thread_join (threads[i]);
  bed_stop (bed);
}
END_TEST

/* The program's signals are its own threads' business. */
START_TEST (test_loops_take_no_signals)
{
  struct bed *bed = bed_alloc ();
  char data[BLOCK_BYTES];
  sigset_t set, pending;
  int sig;

  sigemptyset (&set);
  sigaddset (&set, SIGUSR1);
  bed->script.on_queue = script_completes_inside;
  bed_open_threads (bed, "irqmode=softirq submit_queues=2");
  ck_assert_int_eq (pthread_sigmask (SIG_BLOCK, &set, NULL), 0);
  /* Of all threads only the loops' might take it, and die of it. */
  ck_assert_int_eq (kill (getpid (), SIGUSR1), 0);
  ck_assert_int_eq (blkmq_read (bed->submitter, data, sizeof data, 0), 0);
  ck_assert_int_eq (sigpending (&pending), 0);
  ck_assert (sigismember (&pending, SIGUSR1));
  ck_assert_int_eq (sigwait (&set, &sig), 0);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Lent loops                                                                */

static struct ev_loop *
new_loop (void)
{
  struct ev_loop *loop = ev_loop_new (EVBACKEND_EPOLL | EVFLAG_NOENV);

  require (loop != NULL);
  return loop;
}

static struct bed *
lend (struct ev_loop *loop, const char *keys)
{
  struct bed *bed = bed_alloc ();

  bed->script.on_queue = script_completes_inside;
  require (bed_alloc_disk (bed, keys, false) == 0);
  for (unsigned i = 0; i < blkmq_disk_nr_hw_queues (bed->disk); i++)
    require (blkmq_disk_lend_loop (bed->disk, i, loop) == 0);
  bed_start_disk (bed);
  return bed;
}

static void
breaks_the_loop (struct test_io *t)
{
  ev_break (t->opaque, EVBREAK_ALL);
}

/* Our watchers do not keep a loop going, so a test keeps it going itself. */
static void
do_nothing (struct ev_loop *loop, ev_timer *w, int revents)
{
}

static void
run_until_broken (struct ev_loop *loop)
{
  ev_timer keep;

  ev_timer_init (&keep, do_nothing, 3600., 3600.);
  ev_timer_start (loop, &keep);
  ev_run (loop, 0);
  ev_timer_stop (loop, &keep);
}

static void
submit_and_run (struct bed *bed, struct ev_loop *loop)
{
  struct test_io t;

  test_io_init_early (&t, bed, BLKMQ_OP_READ, 0);
  t.on_give_back = breaks_the_loop;
  t.opaque = loop;
  blkmq_submit (bed->submitter, &t.io);
  assert_not_ended (&t);
  run_until_broken (loop);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert (pthread_equal (t.end_thread, pthread_self ()));
}

START_TEST (test_lent_loop_ends_requests_on_its_thread)
{
  static const char *const modes[]
      = { "irqmode=softirq", "irqmode=timer completion_nsec=1ms" };

  for (size_t i = 0; i < NR (modes); i++) {
    struct ev_loop *loop = new_loop ();
    struct bed *bed = lend (loop, modes[i]);

    for (unsigned n = 0; n < 3; n++)
      submit_and_run (bed, loop);
    bed_stop (bed);
    ev_loop_destroy (loop);
  }
}
END_TEST

START_TEST (test_lent_loop_can_end)
{
  struct ev_loop *loop = new_loop ();
  struct bed *bed = lend (loop, "irqmode=softirq submit_queues=3");

  /* Nobody but us watches anything there. */
  ev_run (loop, 0);
  submit_and_run (bed, loop);
  bed_stop (bed);
  ev_run (loop, 0);
  ev_loop_destroy (loop);
}
END_TEST

START_TEST (test_one_loop_serves_hctxs_and_disks)
{
  struct ev_loop *loop = new_loop ();
  struct bed *bed = lend (loop, "irqmode=softirq submit_queues=3");
  struct bed *other = lend (loop, "irqmode=timer completion_nsec=10us");
  struct blkmq_submitter *first = bed->submitter;

  submit_and_run (other, loop);
  for (unsigned i = 0; i < 3; i++) {
    bed->submitter = blkmq_submitter_alloc (bed->disk, i);
    submit_and_run (bed, loop);
    blkmq_submitter_free (bed->submitter);
  }
  bed->submitter = first;
  bed_stop (bed);
  /* The other one's watchers are still there. */
  submit_and_run (other, loop);
  bed_stop (other);
  ev_loop_destroy (loop);
}
END_TEST

START_TEST (test_loop_is_lent_before_start_or_not_at_all)
{
  struct ev_loop *loop = new_loop ();
  struct bed *bed = lend (loop, "submit_queues=2");

  ck_assert_int_eq (blkmq_disk_lend_loop (bed->disk, 0, loop), -EBUSY);
  ck_assert_int_eq (blkmq_disk_lend_loop (bed->disk, 2, loop), -EINVAL);
  bed_stop (bed);
  ev_loop_destroy (loop);
}
END_TEST

/* ---- a driver that blocks ---- */

static struct gate blocked = GATE_INITIALIZER;
static pthread_t submitter_thread;

static enum blkmq_queue_result
blocks_and_completes (struct script *script, const struct issue *issue)
{
  require (!pthread_equal (pthread_self (), submitter_thread));
  gate_pass (&blocked);
  return script_completes_inside (script, issue);
}

static void
submits_another (struct test_io *t)
{
  test_io_submit (t->opaque, t->bed, 5);
}

/* With blocking=1 nobody but the hctx waits for it: not who submits, one or
 * several at once, nor who submits from end_io. */
START_TEST (test_blocking_driver_holds_up_no_submitter)
{
  static const char *const keys[]
      = { "blocking=1", "blocking=1 scheduler=mq-deadline",
          "blocking=1 irqmode=softirq", "blocking=1 hw_queue_depth=1" };
  struct bed *bed = bed_alloc ();
  struct test_io t[4], another;
  struct blkmq_batch batch;

  submitter_thread = pthread_self ();
  bed->script.on_queue = blocks_and_completes;
  bed_open_threads (bed, keys[_i]);
  for (unsigned i = 0; i < 2; i++) {
    test_io_init (&t[i], bed, BLKMQ_OP_READ, 100 * i);
    t[i].on_end = i == 0 ? submits_another : NULL;
    t[i].opaque = &another;
    blkmq_submit (bed->submitter, &t[i].io);
  }
  blkmq_batch_begin (&batch, bed->submitter);
  for (unsigned i = 2; i < NR (t); i++) {
    test_io_init (&t[i], bed, BLKMQ_OP_READ, 100 * i);
    blkmq_batch_add (&batch, &t[i].io);
  }
  blkmq_batch_commit (&batch);
  gate_await_arrival (&blocked, 1);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  for (unsigned i = 0; i < NR (t); i++)
    assert_not_ended (&t[i]);
  gate_open (&blocked);
  for (unsigned i = 0; i < NR (t); i++)
    await (t[i].nr_ends > 0);
  await (another.nr_ends > 0);

  /* Nor by those who wait: tags come back, a freeze ends. */
  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  ck_assert_uint_eq (bed->script.nr_issues, NR (t) + 1);
  test_io_submit (&t[0], bed, 0);
  assert_not_ended (&t[0]);
  blkmq_unfreeze (bed->disk);
  await (t[0].nr_ends > 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_blocking_disk_takes_no_lent_loop)
{
  struct ev_loop *loop = new_loop ();
  struct bed *bed = bed_alloc ();

  ck_assert_int_eq (bed_alloc_disk (bed, "blocking=1", false), 0);
  ck_assert_int_eq (blkmq_disk_lend_loop (bed->disk, 0, loop), -EOPNOTSUPP);
  bed_start_disk (bed);
  bed_stop (bed);
  ev_loop_destroy (loop);
}
END_TEST

/* ---- blocking on a lent loop's thread ---- */

struct on_loop {
  struct bed *bed;
  int result;
  bool remove;
};

static void
tries_to_block (struct ev_loop *loop, ev_timer *w, int revents)
{
  struct on_loop *on_loop = w->data;
  char data[BLOCK_BYTES];

  on_loop->result = blkmq_read (on_loop->bed->submitter, data, sizeof data, 0);
  if (on_loop->remove)
    blkmq_disk_remove (on_loop->bed->disk);
  ev_break (loop, EVBREAK_ALL);
}

static int
block_on_loop (struct bed *bed, struct ev_loop *loop, bool remove)
{
  struct on_loop on_loop = { bed, 0, remove };
  ev_timer timer;

  ev_timer_init (&timer, tries_to_block, 0., 0.);
  timer.data = &on_loop;
  ev_timer_start (loop, &timer);
  ev_run (loop, 0);
  return on_loop.result;
}

/* It would wait for itself: in any callback of the loop, also when none of ours
 * has run on this thread before. */
START_TEST (test_blocking_is_refused_while_the_loop_is_lent)
{
  struct ev_loop *loop = new_loop ();
  struct bed *bed = lend (loop, "irqmode=softirq");
  struct bed *other;
  char data[BLOCK_BYTES];

  ck_assert_int_eq (block_on_loop (bed, loop, false), -EDEADLK);
  submit_and_run (bed, loop);
  ck_assert_int_eq (block_on_loop (bed, loop, false), -EDEADLK);
  bed_stop (bed);

  /* Nothing of ours runs here any more: this is a thread like any other. */
  other = bed_alloc ();
  other->script.on_queue = script_completes_inside;
  bed_open_threads (other, "irqmode=softirq");
  ck_assert_int_eq (blkmq_read (other->submitter, data, sizeof data, 0), 0);
  bed_stop (other);
  ev_loop_destroy (loop);
}
END_TEST

struct runner {
  struct bed *bed;
  struct ev_loop *loop;
  struct gate *gate;
};

static void *
run_loop_once (void *opaque)
{
  struct runner *runner = opaque;

  submit_and_run (runner->bed, runner->loop);
  return NULL;
}

static void *
read_behind_the_gate (void *opaque)
{
  struct runner *runner = opaque;
  char data[BLOCK_BYTES];

  /* Known to the library before the loop goes. */
  require (blkmq_read (runner->bed->submitter, data, sizeof data, 0) == 0);
  gate_pass (runner->gate);
  require (blkmq_read (runner->bed->submitter, data, sizeof data, 0) == 0);
  return NULL;
}

/* The loop ran on a thread that has ended, perhaps leaving its memory to the
 * next one.  Removal, on a third, takes from nobody what was not his. */
START_TEST (test_removal_off_the_loops_thread)
{
  struct gate gate = GATE_INITIALIZER;
  struct ev_loop *loop = new_loop ();
  struct bed *bed = lend (loop, "irqmode=softirq");
  struct bed *other = bed_alloc ();
  struct runner on_loop = { bed, loop, NULL }, beside = { other, NULL, &gate };
  pthread_t thread;
  char data[BLOCK_BYTES];

  other->script.on_queue = script_completes_inside;
  bed_open_threads (other, "irqmode=softirq");
  thread_join (thread_start (run_loop_once, &on_loop));
  thread = thread_start (read_behind_the_gate, &beside);
  gate_await_arrival (&gate, 1);
  bed_stop (bed);
  ck_assert_int_eq (blkmq_read (other->submitter, data, sizeof data, 0), 0);
  gate_open (&gate);
  thread_join (thread);
  bed_stop (other);
  ev_loop_destroy (loop);
}
END_TEST

START_TEST (test_removal_on_the_loops_own_thread)
{
  struct ev_loop *loop = new_loop ();
  struct bed *bed = lend (loop, "irqmode=softirq submit_queues=2");
  struct test_io t;

  bed->script.on_queue = NULL;
  test_io_submit (&t, bed, 0);
  ck_assert_int_eq (block_on_loop (bed, loop, true), -EDEADLK);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  ev_run (loop, 0);
  bed_stop (bed);
  ev_loop_destroy (loop);
}
END_TEST

struct flood {
  struct bed *bed;
  struct ev_loop *loop;
  _Atomic bool quit;
  _Atomic unsigned nr_ends;
};

static void
floods (struct test_io *t)
{
  struct flood *flood = t->opaque;

  flood->nr_ends++;
  if (flood->quit)
    return;
  test_io_submit (t, t->bed, 0);
  t->on_end = floods;
  t->opaque = flood;
}

static enum blkmq_queue_result
completes_unrecorded (struct script *script, const struct issue *issue)
{
  script->nr_issues = 0;
  return script_completes_inside (script, issue);
}

static void
ends_the_flood (struct ev_loop *loop, ev_timer *w, int revents)
{
  struct flood *flood = w->data;

  flood->quit = true;
  ev_break (loop, EVBREAK_ALL);
}

/* An end_io that submits again, a driver that completes at once: the loop has
 * others to serve. */
START_TEST (test_resubmission_does_not_monopolise_a_loop)
{
  struct ev_loop *loop = new_loop ();
  struct bed *bed = lend (loop, "hw_queue_depth=1");
  struct flood flood = { .bed = bed, .loop = loop };
  struct test_io holder, t;
  ev_timer timer;

  /* Who waits for a tag is served on the loop. */
  bed->script.on_queue = NULL;
  test_io_submit (&holder, bed, 0);
  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  t.on_end = floods;
  t.opaque = &flood;
  blkmq_submit (bed->submitter, &t.io);
  assert_not_ended (&t);
  bed->script.on_queue = completes_unrecorded;
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);

  ev_timer_init (&timer, ends_the_flood, 0.05, 0.);
  timer.data = &flood;
  ev_timer_start (loop, &timer);
  ev_run (loop, 0);
  ck_assert_uint_gt (flood.nr_ends, 0);
  bed_stop (bed);
  ev_loop_destroy (loop);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("loop");
  TCase *tcase;

  tcase = harness_case (suite, "own");
  tcase_add_test (tcase, test_real_timers_fire_and_not_early);
  tcase_add_test (tcase, test_real_timeout_comes);
  tcase_add_test (tcase, test_real_rerun_comes);
  tcase_add_test (tcase, test_earlier_timer_wakes_the_loop);
  tcase_add_test (tcase, test_no_kick_is_lost);
  tcase_add_test (tcase, test_loops_take_no_signals);

  tcase = harness_case (suite, "lent");
  tcase_add_test (tcase, test_lent_loop_ends_requests_on_its_thread);
  tcase_add_test (tcase, test_lent_loop_can_end);
  tcase_add_test (tcase, test_one_loop_serves_hctxs_and_disks);
  tcase_add_test (tcase, test_loop_is_lent_before_start_or_not_at_all);
  tcase_add_loop_test (tcase, test_blocking_driver_holds_up_no_submitter, 0, 4);
  tcase_add_test (tcase, test_blocking_disk_takes_no_lent_loop);
  tcase_add_test (tcase, test_blocking_is_refused_while_the_loop_is_lent);
  tcase_add_test (tcase, test_removal_off_the_loops_thread);
  tcase_add_test (tcase, test_removal_on_the_loops_own_thread);
  tcase_add_test (tcase, test_resubmission_does_not_monopolise_a_loop);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
