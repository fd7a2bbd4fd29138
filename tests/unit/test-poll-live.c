/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-poll-live.c: polled queues that come and go under ios, and many who poll
 * at once.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "harness.h"

#define POLLED BLKMQ_HCTX_TYPE_POLL

static struct bed *
live_bed (const char *keys)
{
  struct bed *bed = bed_alloc ();

  bed->script.driver = "scripted-poll";
  bed->script.on_poll = script_reaps;
  bed->script.max_hctxs = 8;
  bed_open (bed, keys);
  return bed;
}

static int
update (struct blkmq_disk *disk, unsigned submit_queues, unsigned poll_queues,
        struct blkmq_error *error)
{
  struct blkmq_queues queues;

  blkmq_disk_queues (disk, &queues);
  queues.submit_queues = submit_queues;
  queues.poll_queues = poll_queues;
  return blkmq_update_queues (disk, &queues, error);
}

static void
check_queues (struct bed *bed, unsigned submit_queues, unsigned poll_queues)
{
  struct blkmq_queues queues;

  blkmq_disk_queues (bed->disk, &queues);
  ck_assert_uint_eq (queues.submit_queues, submit_queues);
  ck_assert_uint_eq (queues.poll_queues, poll_queues);
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk),
                     submit_queues + poll_queues);
  for (unsigned i = 0; i < submit_queues + poll_queues; i++)
    ck_assert_int_eq (blkmq_disk_hctx_type (bed->disk, i),
                      i < submit_queues ? BLKMQ_HCTX_TYPE_DEFAULT : POLLED);
}

static void
submit_with (struct test_io *t, struct bed *bed, uint32_t flags, uint64_t block)
{
  test_io_init (t, bed, BLKMQ_OP_READ, block);
  t->io.flags = flags;
  blkmq_submit (bed->submitter, &t->io);
}

/* The hctx of the latest issue. */
static unsigned
latest (struct bed *bed)
{
  return blkmq_token_hctx (
      script_issue (&bed->script, bed->script.nr_issues - 1)->token);
}

START_TEST (test_polled_queues_come_and_go)
{
  struct bed *bed = live_bed ("submit_queues=2 irqmode=softirq");
  struct test_io t;

  check_queues (bed, 2, 0);
  ck_assert_int_eq (update (bed->disk, 2, 1, NULL), 0);
  check_queues (bed, 2, 1);
  submit_with (&t, bed, BLKMQ_IO_POLLED, 0);
  ck_assert_uint_eq (latest (bed), 2);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
  assert_ended (&t, BLKMQ_STS_OK);

  ck_assert_int_eq (update (bed->disk, 1, 0, NULL), 0);
  check_queues (bed, 1, 0);
  submit_with (&t, bed, BLKMQ_IO_POLLED, 0);
  ck_assert_uint_eq (latest (bed), 0);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 0);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* The same hctx, first for polled ios, then for the others, and back: what it
 * completes ends as befits it each time. */
START_TEST (test_an_hctx_changes_its_type)
{
  struct bed *bed = live_bed ("submit_queues=1 poll_queues=1 irqmode=softirq");
  struct test_io t;

  blkmq_submitter_free (bed->submitter);
  bed->submitter = blkmq_submitter_alloc (bed->disk, 1);
  for (unsigned round = 0; round < 3; round++) {
    check_queues (bed, 1, 1);
    submit_with (&t, bed, BLKMQ_IO_POLLED, 0);
    ck_assert_uint_eq (latest (bed), 1);
    ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
    assert_ended (&t, BLKMQ_STS_OK);

    ck_assert_int_eq (update (bed->disk, 2, 1, NULL), 0);
    check_queues (bed, 2, 1);
    submit_with (&t, bed, 0, 0);
    ck_assert_uint_eq (latest (bed), 1);
    issue_complete (&bed->script, round * 2 + 1, BLKMQ_STS_OK);
    assert_not_ended (&t);
    bed_turn (bed);
    assert_ended (&t, BLKMQ_STS_OK);
    ck_assert_int_eq (update (bed->disk, 1, 1, NULL), 0);
  }
  bed_stop (bed);
}
END_TEST

START_TEST (test_an_update_polls_for_those_in_flight)
{
  struct bed *bed = live_bed ("poll_queues=2");
  struct test_io t;

  submit_with (&t, bed, BLKMQ_IO_POLLED, 0);
  ck_assert_int_eq (update (bed->disk, 1, 0, NULL), 0);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* Ios wait on an hctx that is another's when the update is through. */
START_TEST (test_who_waits_moves_to_its_type)
{
  struct bed *bed = live_bed ("submit_queues=3");
  struct test_io polled, other;

  blkmq_submitter_free (bed->submitter);
  bed->submitter = blkmq_submitter_alloc (bed->disk, 2);
  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  submit_with (&other, bed, 0, 0);
  submit_with (&polled, bed, BLKMQ_IO_POLLED, 2);
  ck_assert_uint_eq (atomic_load (&bed_hctx (bed, 2)->nr_waiting), 2);
  ck_assert_int_eq (update (bed->disk, 2, 1, NULL), 0);
  /* The polled one may stay. */
  ck_assert_uint_eq (atomic_load (&bed_hctx (bed, 2)->nr_waiting), 1);
  ck_assert_uint_eq (atomic_load (&bed_hctx (bed, 0)->nr_waiting), 1);
  blkmq_unfreeze (bed->disk);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
  assert_ended (&polled, BLKMQ_STS_OK);
  assert_not_ended (&other);
  for (unsigned n = 0; n < 2; n++) {
    if (script_issue (&bed->script, n)->flags == 0)
      issue_complete (&bed->script, n, BLKMQ_STS_OK);
  }
  assert_ended (&other, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static void
maps_badly (struct script *script, unsigned nr_hw_queues,
            struct blkmq_queue_map *map)
{
  if (nr_hw_queues == 4)
    map[BLKMQ_HCTX_TYPE_DEFAULT].nr = 1;
}

START_TEST (test_a_refused_update_changes_nothing)
{
  struct bed *bed = live_bed ("submit_queues=2 poll_queues=1");
  struct blkmq_error error;
  struct test_io t;

  bed->script.on_map = maps_badly;
  ck_assert_int_eq (update (bed->disk, 3, 1, &error), -EINVAL);
  ck_assert_ptr_nonnull (strstr (error.message, "hctx 1 of 4 for nothing"));
  check_queues (bed, 2, 1);
  bed->script.on_map = NULL;
  bed->script.fail_init_hctx = 4;
  ck_assert_int_eq (update (bed->disk, 2, 2, &error), -EMFILE);
  ck_assert_ptr_nonnull (strstr (error.message, "submit_queues=2 poll_queues=2"
                                                ": setting up hctx 3"));
  check_queues (bed, 2, 1);
  ck_assert_int_eq (update (bed->disk, 1000, 25, &error), -EINVAL);
  ck_assert_ptr_nonnull (strstr (error.message, "poll_queues=25: contradicts"));
  ck_assert_int_eq (update (bed->disk, 0, 2, &error), -EINVAL);
  ck_assert_ptr_nonnull (strstr (error.message, "submit_queues=0"));
  check_queues (bed, 2, 1);
  submit_with (&t, bed, BLKMQ_IO_POLLED, 0);
  ck_assert_uint_eq (latest (bed), 2);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
  bed_stop (bed);
}
END_TEST

START_TEST (test_a_driver_that_does_not_poll_gets_no_polled_queues)
{
  struct bed *bed = bed_start ("");
  struct blkmq_error error;

  ck_assert_int_eq (update (bed->disk, 1, 1, &error), -EINVAL);
  ck_assert_ptr_nonnull (
      strstr (error.message, "poll_queues=1: driver scripted does not poll"));
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Disks that share their tags                                               */

static struct blkmq_config *
make_config (const char *poll_queues)
{
  struct blkmq_config *config = blkmq_config_alloc ();
  struct blkmq_error error;

  require (blkmq_config_set (config, "size", "1M", &error) == 0);
  require (blkmq_config_set (config, "driver", "null", &error) == 0);
  require (blkmq_config_set (config, "hw_queue_depth", "4", &error) == 0);
  require (blkmq_config_set (config, "poll_queues", poll_queues, &error) == 0);
  return config;
}

START_TEST (test_disks_of_a_tag_set_agree_and_change_together)
{
  struct blkmq_config *config = make_config ("1"), *other = make_config ("2");
  struct blkmq_submitter *submitters[2];
  struct blkmq_tag_set *set;
  struct blkmq_disk *disks[2];
  struct blkmq_error error;
  char data[BLOCK_BYTES];

  ck_assert_int_eq (blkmq_tag_set_alloc (config, &set, &error), 0);
  ck_assert_int_eq (blkmq_disk_alloc_in (set, other, &disks[0], &error),
                    -EINVAL);
  ck_assert_ptr_nonnull (strstr (error.message, "poll_queues=2: contradicts"));
  for (unsigned i = 0; i < 2; i++) {
    ck_assert_int_eq (blkmq_disk_alloc_in (set, config, &disks[i], &error), 0);
    ck_assert_int_eq (blkmq_disk_start (disks[i], &error), 0);
    submitters[i] = blkmq_submitter_alloc (disks[i], BLKMQ_HCTX_ANY);
  }
  ck_assert_int_eq (update (disks[0], 2, 2, &error), 0);
  for (unsigned i = 0; i < 2; i++) {
    ck_assert_int_eq (blkmq_disk_hctx_type (disks[i], 1),
                      BLKMQ_HCTX_TYPE_DEFAULT);
    ck_assert_int_eq (blkmq_disk_hctx_type (disks[i], 3), POLLED);
    ck_assert_int_eq (
        blkmq_write (submitters[i], data, sizeof data, 0, BLKMQ_IO_POLLED), 0);
  }
  for (unsigned i = 0; i < 2; i++) {
    blkmq_submitter_free (submitters[i]);
    blkmq_disk_put (disks[i]);
  }
  blkmq_tag_set_put (set);
  blkmq_config_free (config);
  blkmq_config_free (other);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Many at once                                                              */

#define NR_THREADS 4
#define NR_ROUNDS (SANITIZED ? 300 : 3000)
#define NR_IOS 8

struct crowd {
  struct blkmq_disk *disk;
  _Atomic unsigned nr_working;
  bool lax; /* the disk may be removed at any time */
};

struct worker {
  struct crowd *crowd;
  struct rng rng;
};

struct crowd_io {
  struct blkmq_io io;
  _Atomic bool ended;
  bool lax;
};

static void
crowd_end_io (struct blkmq_io *io, enum blkmq_status status)
{
  struct crowd_io *c = (struct crowd_io *)io;

  require (status == BLKMQ_STS_OK || (c->lax && status == BLKMQ_STS_OFFLINE));
  require (!c->ended);
  c->ended = true;
}

static void
one_round (struct worker *w, struct blkmq_submitter *submitter)
{
  struct crowd_io ios[NR_IOS];
  struct blkmq_batch batch;
  char data[BLOCK_BYTES];
  struct iovec segment = { data, sizeof data };

  memset (ios, 0, sizeof ios);
  blkmq_batch_begin (&batch, submitter);
  for (unsigned i = 0; i < NR_IOS; i++) {
    struct blkmq_io *io = &ios[i].io;

    ios[i].lax = w->crowd->lax;
    /* Of reads alone: several in one buffer at a time would be a race. */
    io->op = BLKMQ_OP_DISCARD;
    io->flags = rng_percent (&w->rng, 70) ? BLKMQ_IO_POLLED : 0;
    io->offset_bytes = rng_below (&w->rng, 1000) * 2 * BLOCK_BYTES;
    io->bytes = BLOCK_BYTES;
    io->segments = &segment;
    io->nr_segments = 1;
    io->end_io = crowd_end_io;
    if (rng_percent (&w->rng, 50))
      blkmq_batch_add (&batch, io);
    else
      blkmq_submit (submitter, io);
  }
  blkmq_batch_commit (&batch);
  for (unsigned i = 0; i < NR_IOS; i++)
    await (blkmq_poll (submitter) > 0 || ios[i].ended);
  for (unsigned i = 0; i < NR_IOS; i++) {
    while (!ios[i].ended)
      blkmq_poll (submitter);
  }
}

static void *
works (void *opaque)
{
  struct worker *w = opaque;
  struct blkmq_submitter *submitter
      = blkmq_submitter_alloc (w->crowd->disk, BLKMQ_HCTX_ANY);
  char data[BLOCK_BYTES];

  require (submitter != NULL);
  for (unsigned n = 0; n < NR_ROUNDS; n++) {
    int r;

    one_round (w, submitter);
    r = blkmq_read (submitter, data, sizeof data, 0);
    require (r == 0 || (w->crowd->lax && r == -ENODEV));
    r = blkmq_write (submitter, data, sizeof data,
                     rng_below (&w->rng, 4) * BLOCK_BYTES, BLKMQ_IO_POLLED);
    require (r == 0 || (w->crowd->lax && r == -ENODEV));
  }
  blkmq_submitter_free (submitter);
  w->crowd->nr_working--;
  return NULL;
}

static struct blkmq_disk *
open_crowded (const char *driver, const char *irqmode)
{
  struct blkmq_config *config = blkmq_config_alloc ();
  struct blkmq_disk *disk;
  struct blkmq_error error;

  require (blkmq_config_set (config, "size", "1M", &error) == 0);
  require (blkmq_config_set (config, "driver", driver, &error) == 0);
  require (blkmq_config_set (config, "irqmode", irqmode, &error) == 0);
  require (blkmq_config_set (config, "hw_queue_depth", "4", &error) == 0);
  require (blkmq_config_set (config, "poll_queues", "1", &error) == 0);
  require (blkmq_config_set (config, "io_timeout", "60s", &error) == 0);
  require (blkmq_disk_alloc (config, &disk, &error) == 0);
  require (blkmq_disk_start (disk, &error) == 0);
  blkmq_config_free (config);
  return disk;
}

static void
start_workers (struct crowd *crowd, struct worker *workers, pthread_t *threads)
{
  crowd->nr_working = NR_THREADS;
  for (unsigned i = 0; i < NR_THREADS; i++) {
    workers[i].crowd = crowd;
    rng_init (&workers[i].rng, i);
    threads[i] = thread_start (works, &workers[i]);
  }
}

static void
check_idle (struct blkmq_disk *disk)
{
  struct blkmq_stats stats;

  ck_assert_int_ge (blkmq_freeze (disk, NULL, 0), 0);
  ck_assert_int_eq (blkmq_disk_stats (disk, BLKMQ_HCTX_ANY, &stats), 0);
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++)
    ck_assert_uint_eq (stats.in_flight[op], 0);
  ck_assert_uint_eq (stats.waiting, 0);
  ck_assert_uint_eq (stats.stale_tokens, 0);
  ck_assert_uint_gt (stats.polled, 0);
  blkmq_unfreeze (disk);
}

static const char *const crowds[][2] = {
  { "memory", "none" },
  { "null", "softirq" },
};

START_TEST (test_all_end_while_queues_come_and_go)
{
  struct crowd crowd = { .disk = open_crowded (crowds[_i][0], crowds[_i][1]) };
  struct worker workers[NR_THREADS];
  pthread_t threads[NR_THREADS];
  struct rng rng;

  rng_init (&rng, 100);
  start_workers (&crowd, workers, threads);
  while (crowd.nr_working > 0) {
    ck_assert_int_eq (update (crowd.disk, 1 + (unsigned)rng_below (&rng, 3),
                              (unsigned)rng_below (&rng, 3), NULL),
                      0);
    await_pause ();
  }
  for (unsigned i = 0; i < NR_THREADS; i++)
    thread_join (threads[i]);
  check_idle (crowd.disk);
  blkmq_disk_put (crowd.disk);
}
END_TEST

START_TEST (test_removal_among_those_who_poll)
{
  struct rng rng;

  rng_init (&rng, 200);
  for (unsigned n = 0; n < (SANITIZED ? 3 : 20); n++) {
    struct crowd crowd = { .disk = open_crowded ("memory", "none") };
    struct worker workers[NR_THREADS];
    pthread_t threads[NR_THREADS];
    struct blkmq_stats stats;
    uint64_t wanted = rng_below (&rng, 2000);

    crowd.lax = true;
    start_workers (&crowd, workers, threads);
    do {
      await_pause ();
      ck_assert_int_eq (blkmq_disk_stats (crowd.disk, BLKMQ_HCTX_ANY, &stats),
                        0);
    } while (stats.polled < wanted && crowd.nr_working > 0);
    blkmq_disk_remove (crowd.disk);
    for (unsigned i = 0; i < NR_THREADS; i++)
      thread_join (threads[i]);
    blkmq_disk_put (crowd.disk);
  }
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("poll live");
  TCase *tcase = harness_case (suite, "updates");

  tcase_add_test (tcase, test_polled_queues_come_and_go);
  tcase_add_test (tcase, test_an_hctx_changes_its_type);
  tcase_add_test (tcase, test_an_update_polls_for_those_in_flight);
  tcase_add_test (tcase, test_who_waits_moves_to_its_type);
  tcase_add_test (tcase, test_a_refused_update_changes_nothing);
  tcase_add_test (tcase,
                  test_a_driver_that_does_not_poll_gets_no_polled_queues);
  tcase_add_test (tcase, test_disks_of_a_tag_set_agree_and_change_together);

  tcase = harness_case (suite, "many at once");
  tcase_add_loop_test (tcase, test_all_end_while_queues_come_and_go, 0,
                       NR (crowds));
  tcase_add_test (tcase, test_removal_among_those_who_poll);
  return harness_main (suite);
}
