/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-nullblk-behaviours.c: what the kernel's block tests expect of null_blk,
 * one by one, under every scheduler and way of completion.
 *
 * Some have their full tests elsewhere:
 *
 *   one tag and an I/O depth of 1024
 *       test-tags: test_one_tag_serves_1024_ios_of_many_threads
 *       test-elevator: test_one_driver_tag_serves_1024_ios
 *   two disks that are power-cycled on shared tags under load
 *       test-tagset: test_disks_are_power_cycled_under_load
 *   the number of queues changes under I/O
 *       test-update: test_data_is_right_under_load
 *   the scheduler is switched under I/O
 *       test-elevator: test_data_is_right_while_all_changes
 *   a disk of 1 ms shares tags with one of 100 ms
 *       test-tagset: test_slow_disk_does_not_slow_down_a_fast_one,
 *       test_slow_disk_with_a_scheduler_does_not_either
 *   the mean I/O time is right at 1 s and at 0.5 ms
 *       test-iostats: test_mean_and_busy_time_are_right_at_1_s_and_at_half_a_ms
 */

#include <config.h>

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "blkmq-control.h"
#include "harness.h"

#define NR_IOS 600

/* Whatever changes how a request goes down and comes up. */
static const char *const settings[] = {
  "scheduler=none irqmode=none",
  "scheduler=none irqmode=softirq",
  "scheduler=none irqmode=timer completion_nsec=1ms",
  "scheduler=mq-deadline irqmode=none",
  "scheduler=mq-deadline irqmode=softirq",
  "scheduler=mq-deadline irqmode=timer completion_nsec=1ms",
  "scheduler=mq-deadline irqmode=none shared_tag_bitmap=1",
  "scheduler=mq-deadline irqmode=none nomerges=1 nr_requests=64",
};

static const char *
with (const char *setting, const char *more)
{
  static _Thread_local char all[256];

  require (snprintf (all, sizeof all, "%s %s", setting, more)
           < (int)sizeof all);
  return all;
}

/* ------------------------------------------------------------------------ */
/* Faults                                                                    */

/* A driver with faults, and what it has done. */
struct faulty {
  struct rng rng;
  unsigned percent;
  unsigned nr_kept, nr_busy, nr_requeued;
};

/* A bed over FAULTY; the ios, reads and writes all over the disk, are submitted
 * at once: far more than there are tags. */
static struct bed *
submit_all (struct faulty *faulty, const char *keys,
            enum blkmq_queue_result (*on_queue) (struct script *,
                                                 const struct issue *),
            enum blkmq_timeout_result (*on_timeout) (struct script *,
                                                     struct blkmq_request *,
                                                     blkmq_token),
            struct test_io *ios)
{
  struct bed *bed = bed_alloc ();
  struct rng rng;

  rng_init (&rng, 1);
  rng_init (&faulty->rng, 2);
  bed->script.on_queue = on_queue;
  bed->script.on_timeout = on_timeout;
  bed->script.opaque = faulty;
  bed_open (bed, keys);
  for (unsigned n = 0; n < NR_IOS; n++) {
    test_io_init (&ios[n], bed,
                  rng_percent (&rng, 50) ? BLKMQ_OP_READ : BLKMQ_OP_WRITE,
                  rng_below (&rng, 2048));
    blkmq_submit (bed->submitter, &ios[n].io);
  }
  return bed;
}

static unsigned
nr_with (const struct test_io *ios, enum blkmq_status status)
{
  unsigned nr = 0;

  for (unsigned n = 0; n < NR_IOS; n++)
    nr += ios[n].nr_ends == 1 && ios[n].status == status;
  return nr;
}

static enum blkmq_queue_result
keeps_some (struct script *script, const struct issue *issue)
{
  struct faulty *faulty = script->opaque;

  if (!rng_percent (&faulty->rng, faulty->percent))
    return script_completes_inside (script, issue);
  faulty->nr_kept++;
  return BLKMQ_QUEUED;
}

static enum blkmq_timeout_result
says_done (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_DONE;
}

START_TEST (test_half_of_the_requests_time_out)
{
  struct faulty faulty = { .percent = 50 };
  struct test_io *ios = calloc (NR_IOS, sizeof *ios);
  struct blkmq_stats stats;
  struct bed *bed;
  unsigned nr_rounds = 0;

  ck_assert_ptr_nonnull (ios);
  bed = submit_all (&faulty,
                    with (settings[_i], "hw_queue_depth=8 io_timeout=100"),
                    keeps_some, says_done, ios);
  /* Each io_timeout frees what was kept; no more are needed than there would
   * be if each round got a single request through. */
  while (nr_with (ios, BLKMQ_STS_OK) + nr_with (ios, BLKMQ_STS_TIMEOUT)
         < NR_IOS) {
    bed_pass (bed, 20 * MS);
    ck_assert_uint_le (++nr_rounds, NR_IOS * 10);
  }
  stats = bed_stats (bed);
  ck_assert_uint_gt (faulty.nr_kept, 0);
  ck_assert_uint_eq (stats.timeouts_done, faulty.nr_kept);
  ck_assert_uint_eq (stats.errors[BLKMQ_STS_TIMEOUT], faulty.nr_kept);
  /* Ios that share a request share its fate. */
  ck_assert_uint_ge (nr_with (ios, BLKMQ_STS_TIMEOUT), faulty.nr_kept);
  ck_assert_uint_eq (stats.ios[BLKMQ_OP_READ] + stats.ios[BLKMQ_OP_WRITE],
                     NR_IOS - stats.merges);
  ck_assert_uint_eq (stats.stale_tokens, 0);
  bed_check_idle (bed);
  bed_stop (bed);
  free (ios);
}
END_TEST

/* As null_blk's requeue=: refusals and requeues in turn. */
static enum blkmq_queue_result
requeues_some (struct script *script, const struct issue *issue)
{
  struct faulty *faulty = script->opaque;

  if (!rng_percent (&faulty->rng, faulty->percent))
    return script_completes_inside (script, issue);
  if (faulty->nr_busy <= faulty->nr_requeued) {
    faulty->nr_busy++;
    return faulty->nr_busy % 2 ? BLKMQ_BUSY_HOST : BLKMQ_BUSY_DEVICE;
  }
  faulty->nr_requeued++;
  require (script_requeue (script, issue->rq, issue->token) == 0);
  return BLKMQ_QUEUED;
}

START_TEST (test_a_tenth_of_the_requests_is_requeued)
{
  struct faulty faulty = { .percent = 10 };
  struct test_io *ios = calloc (NR_IOS, sizeof *ios);
  struct blkmq_stats stats;
  unsigned nr_rounds = 0;
  struct bed *bed;

  ck_assert_ptr_nonnull (ios);
  bed = submit_all (&faulty, with (settings[_i], "hw_queue_depth=8"),
                    requeues_some, NULL, ios);
  while (nr_with (ios, BLKMQ_STS_OK) < NR_IOS) {
    bed_pass (bed, 3 * MS);
    ck_assert_uint_le (++nr_rounds, NR_IOS);
  }
  stats = bed_stats (bed);
  ck_assert_uint_gt (faulty.nr_requeued, 0);
  ck_assert_uint_eq (stats.busy, faulty.nr_busy);
  ck_assert_uint_eq (stats.requeues, faulty.nr_requeued);
  ck_assert_uint_eq (stats.ios[BLKMQ_OP_READ] + stats.ios[BLKMQ_OP_WRITE],
                     NR_IOS - stats.merges);
  ck_assert_uint_eq (bed->script.nr_issues, NR_IOS - stats.merges
                                                + faulty.nr_busy
                                                + faulty.nr_requeued);
  bed_check_idle (bed);
  bed_stop (bed);
  free (ios);
}
END_TEST

/* ---- the same by the keys that null_blk has for it ---- */

static uint64_t
nr_requests (const struct blkmq_stats *stats)
{
  return stats->ios[BLKMQ_OP_READ] + stats->ios[BLKMQ_OP_WRITE];
}

START_TEST (test_half_of_the_requests_time_out_as_timeout_says)
{
  static const char *const strings[] = {
    "hw_queue_depth=8 io_timeout=100 timeout=1,50,0,-1",
    "hw_queue_depth=8 io_timeout=100 timeout=2,100,0,-1",
  };
  bool is_exact = _i % 2;
  struct faulty faulty = { .percent = 0 };
  struct test_io *ios = calloc (NR_IOS, sizeof *ios);
  struct blkmq_stats stats;
  struct bed *bed;
  unsigned nr_rounds = 0;

  ck_assert_ptr_nonnull (ios);
  bed = submit_all (&faulty, with (settings[_i / 2], strings[is_exact]),
                    script_completes_inside, NULL, ios);
  while (nr_with (ios, BLKMQ_STS_OK) + nr_with (ios, BLKMQ_STS_TIMEOUT)
         < NR_IOS) {
    bed_pass (bed, 20 * MS);
    ck_assert_uint_le (++nr_rounds, NR_IOS * 10);
  }
  stats = bed_stats (bed);
  ck_assert_uint_eq (nr_requests (&stats), NR_IOS - stats.merges);
  ck_assert_uint_gt (stats.timeouts_done, 0);
  if (is_exact)
    ck_assert_uint_eq (stats.timeouts_done, nr_requests (&stats) / 2);
  ck_assert_uint_eq (stats.errors[BLKMQ_STS_TIMEOUT], stats.timeouts_done);
  ck_assert_uint_eq (bed->script.nr_issues,
                     nr_requests (&stats) - stats.timeouts_done);
  ck_assert_uint_ge (nr_with (ios, BLKMQ_STS_TIMEOUT), stats.timeouts_done);
  ck_assert_uint_eq (stats.stale_tokens, 0);
  bed_check_idle (bed);
  bed_stop (bed);
  free (ios);
}
END_TEST

START_TEST (test_a_tenth_of_the_requests_is_requeued_as_requeue_says)
{
  static const char *const strings[] = {
    "hw_queue_depth=8 requeue=1,10,0,-1",
    "hw_queue_depth=8 requeue=10,100,0,-1",
  };
  bool is_exact = _i % 2;
  struct faulty faulty = { .percent = 0 };
  struct test_io *ios = calloc (NR_IOS, sizeof *ios);
  struct blkmq_stats stats;
  unsigned nr_rounds = 0;
  struct bed *bed;

  ck_assert_ptr_nonnull (ios);
  bed = submit_all (&faulty, with (settings[_i / 2], strings[is_exact]),
                    script_completes_inside, NULL, ios);
  while (nr_with (ios, BLKMQ_STS_OK) < NR_IOS) {
    bed_pass (bed, 3 * MS);
    ck_assert_uint_le (++nr_rounds, NR_IOS);
  }
  stats = bed_stats (bed);
  ck_assert_uint_eq (nr_requests (&stats), NR_IOS - stats.merges);
  /* In turn, and a refusal first. */
  ck_assert_uint_gt (stats.requeues, 0);
  ck_assert_uint_le (stats.requeues, stats.busy);
  ck_assert_uint_le (stats.busy, stats.requeues + 1);
  /* What comes back is another call. */
  if (is_exact)
    ck_assert_uint_eq (stats.busy + stats.requeues,
                       (nr_requests (&stats) + stats.busy + stats.requeues)
                           / 10);
  ck_assert_uint_eq (bed->script.nr_issues, nr_requests (&stats));
  ck_assert_uint_eq (stats.stale_tokens, 0);
  bed_check_idle (bed);
  bed_stop (bed);
  free (ios);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Counters                                                                  */

static void
assert_in_flight (struct bed *bed, uint64_t nr_reads, uint64_t nr_writes)
{
  struct blkmq_stats stats = bed_stats (bed);

  ck_assert_uint_eq (stats.in_flight[BLKMQ_OP_READ], nr_reads);
  ck_assert_uint_eq (stats.in_flight[BLKMQ_OP_WRITE], nr_writes);
}

/* Whether they wait in a scheduler or are in the driver's hands. */
START_TEST (test_in_flight_counts_reads_and_writes)
{
  static const enum blkmq_op ops[]
      = { BLKMQ_OP_WRITE, BLKMQ_OP_READ,  BLKMQ_OP_READ, BLKMQ_OP_WRITE,
          BLKMQ_OP_WRITE, BLKMQ_OP_WRITE, BLKMQ_OP_READ };
  struct bed *bed = bed_alloc ();
  struct test_io ios[NR (ops)];
  unsigned nr[BLKMQ_NR_OPS] = { 0 };

  bed_open (bed, with (settings[_i], "hw_queue_depth=7"));
  for (unsigned n = 0; n < NR (ops); n++) {
    test_io_init (&ios[n], bed, ops[n], 10 * n);
    blkmq_submit (bed->submitter, &ios[n].io);
    nr[ops[n]]++;
    assert_in_flight (bed, nr[BLKMQ_OP_READ], nr[BLKMQ_OP_WRITE]);
  }
  for (unsigned n = 0; n < NR (ops); n++) {
    nr[script_issue (&bed->script, n)->op]--;
    issue_complete (&bed->script, n, BLKMQ_STS_OK);
    bed_pass (bed, 1 * MS);
    assert_in_flight (bed, nr[BLKMQ_OP_READ], nr[BLKMQ_OP_WRITE]);
  }
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* The number of queues                                                      */

struct load {
  struct bed *bed;
  _Atomic bool stop;
  _Atomic unsigned nr_done;
};

static void *
loads (void *opaque)
{
  enum { AT_ONCE = 16 };
  struct load *load = opaque;
  struct blkmq_submitter *submitter
      = blkmq_submitter_alloc (load->bed->disk, BLKMQ_HCTX_ANY);
  struct test_io ios[AT_ONCE];

  require (submitter != NULL);
  while (!load->stop) {
    for (unsigned n = 0; n < AT_ONCE; n++) {
      test_io_init (&ios[n], load->bed, n % 2 ? BLKMQ_OP_READ : BLKMQ_OP_WRITE,
                    10 * n);
      blkmq_submit (submitter, &ios[n].io);
    }
    for (unsigned n = 0; n < AT_ONCE; n++) {
      await (ios[n].nr_ends == 1);
      require (ios[n].status == BLKMQ_STS_OK);
    }
    load->nr_done++;
  }
  blkmq_submitter_free (submitter);
  return NULL;
}

/* Whichever of the new ones cannot be set up. */
START_TEST (test_init_hctx_fails_midway_under_load)
{
  enum { NR_THREADS = 2, MOST = 5 };
  struct bed *bed = bed_alloc ();
  struct load load = { .bed = bed };
  pthread_t threads[NR_THREADS];

  bed->script.max_hctxs = MOST;
  bed->script.depth = 64;
  bed->script.on_queue = script_completes_inside;
  bed_open_threads (bed, with (settings[_i], "hw_queue_depth=4"));
  for (unsigned i = 0; i < NR_THREADS; i++)
    threads[i] = thread_start (loads, &load);
  for (unsigned n = 2; n <= MOST; n++) {
    unsigned seen = load.nr_done;

    bed->script.fail_init_hctx = n;
    require (update_queues (bed->disk, MOST, 0, NULL) == -EMFILE);
    require (blkmq_disk_nr_hw_queues (bed->disk) == 1);
    require (bed->script.nr_init_hctxs == 1);
    await (load.nr_done > seen);
    bed->script.fail_init_hctx = 0;
    require (update_queues (bed->disk, MOST, 0, NULL) == 0);
    require (bed->script.nr_init_hctxs == MOST);
    seen = load.nr_done;
    await (load.nr_done > seen);
    require (update_queues (bed->disk, 1, 0, NULL) == 0);
  }
  load.stop = true;
  for (unsigned i = 0; i < NR_THREADS; i++)
    thread_join (threads[i]);
  bed_stop (bed);
}
END_TEST

/* The same by the key, which is changed meanwhile. */
START_TEST (test_init_hctx_fails_midway_as_init_hctx_says)
{
  enum { NR_THREADS = 2, MOST = 5 };
  struct bed *bed = bed_alloc ();
  struct load load = { .bed = bed };
  pthread_t threads[NR_THREADS];
  struct blkmq_error error;

  bed->script.max_hctxs = MOST;
  bed->script.depth = 64;
  bed->script.on_queue = script_completes_inside;
  bed_open_threads (bed, with (settings[_i], "hw_queue_depth=4 live=1"));
  for (unsigned i = 0; i < NR_THREADS; i++)
    threads[i] = thread_start (loads, &load);
  for (unsigned n = 2; n <= MOST; n++) {
    unsigned seen = load.nr_done;
    char string[32], number[4];
    struct blkmq_setting fails = { "init_hctx", string },
                         more = { "submit_queues", number };

    snprintf (string, sizeof string, "1,100,%u,1", n - 2);
    snprintf (number, sizeof number, "%d", MOST);
    require (blkmq_disk_set (bed->disk, &fails, 1, &error) == 0);
    require (blkmq_disk_set (bed->disk, &more, 1, &error) == -ENOMEM);
    require (strstr (error.message, "fault: Cannot allocate") != NULL);
    require (blkmq_disk_nr_hw_queues (bed->disk) == 1);
    require (bed->script.nr_init_hctxs == 1);
    await (load.nr_done > seen);
    require (blkmq_disk_set (bed->disk, &more, 1, &error) == 0);
    require (bed->script.nr_init_hctxs == MOST);
    seen = load.nr_done;
    await (load.nr_done > seen);
    require (update_queues (bed->disk, 1, 0, NULL) == 0);
  }
  load.stop = true;
  for (unsigned i = 0; i < NR_THREADS; i++)
    thread_join (threads[i]);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Signals                                                                   */

static _Atomic unsigned nr_signals;

static void
on_signal (int number)
{
  nr_signals++;
}

struct waiting {
  struct bed *bed;
  int result;
  _Atomic bool returned;
};

static void *
reads_and_waits (void *opaque)
{
  struct waiting *w = opaque;
  char data[BLOCK_BYTES];
  struct iovec segment = { data, sizeof data };
  struct blkmq_io io = {
    .op = BLKMQ_OP_READ,
    .bytes = sizeof data,
    .segments = &segment,
    .nr_segments = 1,
  };

  w->result = blkmq_submit_sync (w->bed->submitter, &io);
  w->returned = true;
  return NULL;
}

START_TEST (test_signal_while_frozen_is_no_error)
{
  /* Without SA_RESTART: system calls are interrupted. */
  struct sigaction action = { .sa_handler = on_signal };
  struct bed *bed = bed_alloc ();
  struct waiting w = { .bed = bed };
  pthread_t thread;

  ck_assert_int_eq (sigaction (SIGUSR1, &action, NULL), 0);
  bed->script.on_queue = script_completes_inside;
  bed_open_threads (bed, with (settings[_i], "hw_queue_depth=4"));
  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  thread = thread_start (reads_and_waits, &w);
  await (bed_stats (bed).waiting == 1);
  for (unsigned n = 1; n <= 20; n++) {
    /* Until one arrives: ThreadSanitizer may keep one back. */
    while (nr_signals < n) {
      ck_assert_int_eq (pthread_kill (thread, SIGUSR1), 0);
      await_pause ();
    }
    ck_assert (!w.returned);
  }
  blkmq_unfreeze (bed->disk);
  thread_join (thread);
  ck_assert_int_eq (w.result, 0);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_stop (bed);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("nullblk-behaviours");
  TCase *tcase;

  tcase = harness_case (suite, "faults");
  tcase_add_loop_test (tcase, test_half_of_the_requests_time_out, 0,
                       NR (settings));
  tcase_add_loop_test (tcase, test_a_tenth_of_the_requests_is_requeued, 0,
                       NR (settings));
  tcase_add_loop_test (tcase,
                       test_half_of_the_requests_time_out_as_timeout_says, 0,
                       2 * NR (settings));
  tcase_add_loop_test (tcase,
                       test_a_tenth_of_the_requests_is_requeued_as_requeue_says,
                       0, 2 * NR (settings));

  tcase = harness_case (suite, "counters");
  tcase_add_loop_test (tcase, test_in_flight_counts_reads_and_writes, 0,
                       NR (settings));

  tcase = harness_case (suite, "queues");
  tcase_add_loop_test (tcase, test_init_hctx_fails_midway_under_load, 0,
                       NR (settings));
  tcase_add_loop_test (tcase, test_init_hctx_fails_midway_as_init_hctx_says, 0,
                       NR (settings));

  tcase = harness_case (suite, "signals");
  tcase_add_loop_test (tcase, test_signal_while_frozen_is_no_error, 0,
                       NR (settings));

  return harness_main (suite);
}
