/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-control.c: the settings of a running disk: all change together or none
 * does, what reads back is what is in force, and each has its effect.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "blkmq-control.h"
#include "harness.h"

#define MAX_HCTXS 4

static struct bed *
live_bed (const char *keys)
{
  struct bed *bed = bed_alloc ();

  bed->script.max_hctxs = MAX_HCTXS;
  bed->script.depth = 64;
  bed_open (bed, keys);
  return bed;
}

/* "a=1 b=2": what blkmq_disk_set says. */
static int
set (struct bed *bed, const char *words)
{
  struct blkmq_setting settings[8];
  char copy[256], *save, *word;
  size_t nr = 0;

  bed->error.message[0] = '\0';
  ck_assert_uint_lt (strlen (words), sizeof copy);
  strcpy (copy, words);
  for (word = strtok_r (copy, " ", &save); word != NULL;
       word = strtok_r (NULL, " ", &save)) {
    char *value = strchr (word, '=');

    ck_assert_ptr_nonnull (value);
    *value++ = '\0';
    settings[nr++] = (struct blkmq_setting){ word, value };
  }
  return blkmq_disk_set (bed->disk, settings, nr, &bed->error);
}

#define assert_set(bed, words)                                                 \
  ck_assert_msg (set (bed, words) == 0, "%s: %s", words, (bed)->error.message)

#define assert_key(bed, key, wanted)                                           \
  do {                                                                         \
    char value[64];                                                            \
                                                                               \
    ck_assert_int_eq (                                                         \
        blkmq_disk_get_key ((bed)->disk, key, value, sizeof value, NULL),      \
        strlen (wanted));                                                      \
    ck_assert_str_eq (value, wanted);                                          \
  } while (0)

#define assert_refused(bed, words, r, part)                                    \
  do {                                                                         \
    ck_assert_int_eq (set (bed, words), r);                                    \
    ck_assert_msg (strstr ((bed)->error.message, part) != NULL, "%s: %s",      \
                   words, (bed)->error.message);                               \
  } while (0)

/* ---- reading ---- */

START_TEST (test_keys_read_back_as_set_or_by_default)
{
  struct bed *bed = live_bed ("hw_queue_depth=5 io_timeout=2s irqmode=2 "
                              "seed=77");

  assert_key (bed, "hw_queue_depth", "5");
  assert_key (bed, "io_timeout", "2s");
  assert_key (bed, "irqmode", "timer");
  assert_key (bed, "nomerges", "0");
  assert_key (bed, "delay_read", "0");
  assert_key (bed, "seed", "77");
  assert_key (bed, "scheduler", "none");
  bed_stop (bed);
}
END_TEST

START_TEST (test_drawn_seed_reads_back)
{
  struct bed *bed = live_bed ("hw_queue_depth=1");
  char value[32];

  ck_assert_int_gt (
      blkmq_disk_get_key (bed->disk, "seed", value, sizeof value, NULL), 0);
  ck_assert_uint_eq (strtoull (value, NULL, 10), blkmq_disk_seed (bed->disk));
  bed_stop (bed);
}
END_TEST

START_TEST (test_text_is_cut_off_and_its_length_told)
{
  struct bed *bed = live_bed ("irqmode=timer");
  char value[4];

  ck_assert_int_eq (
      blkmq_disk_get_key (bed->disk, "irqmode", value, sizeof value, NULL), 5);
  ck_assert_str_eq (value, "tim");
  bed_stop (bed);
}
END_TEST

START_TEST (test_what_other_calls_have_changed_reads_back)
{
  struct bed *bed = live_bed ("submit_queues=2 hw_queue_depth=4");

  ck_assert_int_eq (update_queues (bed->disk, 3, 9, NULL), 0);
  ck_assert_int_eq (blkmq_disk_set_scheduler (bed->disk, "mq-deadline", NULL),
                    0);
  assert_key (bed, "submit_queues", "3");
  assert_key (bed, "hw_queue_depth", "9");
  assert_key (bed, "scheduler", "mq-deadline");
  /* And a change of something else leaves it so. */
  assert_set (bed, "io_timeout=1s");
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), 3);
  ck_assert_str_eq (blkmq_disk_scheduler (bed->disk), "mq-deadline");
  assert_set (bed, "hw_queue_depth=8");
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), 3);
  assert_key (bed, "hw_queue_depth", "8");
  bed_stop (bed);
}
END_TEST

static int
count_key (const struct blkmq_key *key, void *opaque)
{
  unsigned *nr = opaque;

  ++*nr;
  return strcmp (key->name, "delay_read") == 0 ? 7 : 0;
}

START_TEST (test_keys_are_listed_until_told_to_stop)
{
  struct bed *bed = live_bed ("hw_queue_depth=1");
  unsigned nr = 0;

  ck_assert_int_eq (blkmq_disk_for_each_key (bed->disk, count_key, &nr), 7);
  ck_assert_uint_gt (nr, 20);
  bed_stop (bed);
}
END_TEST

START_TEST (test_unknown_key_is_refused_to_readers)
{
  struct bed *bed = live_bed ("hw_queue_depth=1");
  char value[8];

  ck_assert_int_eq (blkmq_disk_get_key (bed->disk, "hw_queue_dept", value,
                                        sizeof value, &bed->error),
                    -EINVAL);
  ck_assert_ptr_nonnull (strstr (bed->error.message, "hw_queue_dept"));
  bed_stop (bed);
}
END_TEST

/* ---- effects ---- */

START_TEST (test_irqmode_changes_between_requests)
{
  struct bed *bed = live_bed ("hw_queue_depth=4");
  struct test_io t;

  bed->script.on_queue = script_completes_inside;
  test_io_submit (&t, bed, 0);
  assert_ended (&t, BLKMQ_STS_OK);

  assert_set (bed, "irqmode=softirq");
  test_io_submit (&t, bed, 0);
  assert_not_ended (&t);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_OK);

  assert_set (bed, "irqmode=timer completion_nsec=3ms");
  test_io_submit (&t, bed, 0);
  bed_pass (bed, 3 * MS - 1);
  assert_not_ended (&t);
  bed_pass (bed, 1);
  assert_ended (&t, BLKMQ_STS_OK);

  /* What only the timer needs stays, for the next time. */
  assert_set (bed, "irqmode=none");
  test_io_submit (&t, bed, 0);
  assert_ended (&t, BLKMQ_STS_OK);
  assert_key (bed, "completion_nsec", "3ms");
  bed_stop (bed);
}
END_TEST

START_TEST (test_io_timeout_goes_on_and_off_and_gets_shorter)
{
  struct bed *bed = live_bed ("hw_queue_depth=4");
  struct test_io t[4];

  test_io_submit_early (&t[0], bed, 0);
  bed_pass (bed, 1000 * MS);
  assert_not_ended (&t[0]);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);

  assert_set (bed, "io_timeout=3600s");
  test_io_submit_early (&t[1], bed, 0);
  bed_pass (bed, 1000 * MS);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  /* The scan was to come in an hour. */
  assert_set (bed, "io_timeout=20ms");
  test_io_submit_early (&t[2], bed, 0);
  bed_pass (bed, 10 * MS);
  ck_assert_uint_eq (bed->script.nr_timeouts, 0);
  bed_pass (bed, 30 * MS);
  ck_assert_uint_ge (bed->script.nr_timeouts, 1);
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  assert_ended (&t[2], BLKMQ_STS_OK);

  assert_set (bed, "io_timeout=0");
  bed->script.nr_timeouts = 0;
  test_io_submit_early (&t[3], bed, 0);
  bed_pass (bed, 10000 * MS);
  ck_assert_uint_eq (bed->script.nr_timeouts, 0);
  issue_complete (&bed->script, 3, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_iostats_go_on_and_off)
{
  struct bed *bed = live_bed ("hw_queue_depth=4");
  struct blkmq_histogram histogram;
  struct test_io t;

  for (unsigned i = 0; i < 4; i++) {
    assert_set (bed, i % 2 == 0 ? "iostats=0" : "iostats=1");
    test_io_submit (&t, bed, 0);
    bed_pass (bed, 100 * US);
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    assert_ended (&t, BLKMQ_STS_OK);
    ck_assert_int_eq (blkmq_disk_latency (bed->disk, BLKMQ_HCTX_ANY,
                                          BLKMQ_OP_READ, &histogram),
                      i % 2 == 0 ? -ENODATA : 0);
  }
  ck_assert_uint_eq (histogram.count, 2);
  ck_assert_uint_eq (histogram.sum_ns, 200 * US);
  bed_stop (bed);
}
END_TEST

START_TEST (test_layer_is_switched_on_and_off)
{
  struct bed *bed = live_bed ("hw_queue_depth=4 live=1");
  struct test_io t;

  bed->script.on_queue = script_completes_inside;
  for (unsigned i = 0; i < 3; i++) {
    test_io_submit (&t, bed, 0);
    assert_ended (&t, BLKMQ_STS_OK);
    assert_set (bed, "delay_read=2ms media_delay_read=1ms");
    test_io_submit (&t, bed, 0);
    bed_pass (bed, 1 * MS);
    bed_pass (bed, 2 * MS - 1);
    assert_not_ended (&t);
    bed_pass (bed, 1);
    assert_ended (&t, BLKMQ_STS_OK);
    assert_set (bed, "media_delay_read=0");
    test_io_submit (&t, bed, 0);
    bed_pass (bed, 2 * MS);
    assert_ended (&t, BLKMQ_STS_OK);
    assert_set (bed, "delay_read=0");
  }
  bed_stop (bed);
}
END_TEST

START_TEST (test_scheduler_keys_make_the_scheduler_anew)
{
  struct bed *bed = live_bed ("hw_queue_depth=4 scheduler=mq-deadline");

  ck_assert_uint_eq (hctx_pool (bed_hctx (bed, 0))->depth, 8);
  assert_set (bed, "nr_requests=31 fifo_batch=3");
  ck_assert_uint_eq (hctx_pool (bed_hctx (bed, 0))->depth, 31);
  assert_key (bed, "fifo_batch", "3");
  assert_set (bed, "scheduler=none hw_queue_depth=3");
  ck_assert_uint_eq (hctx_pool (bed_hctx (bed, 0))->depth, 3);
  assert_set (bed, "scheduler=mq-deadline");
  ck_assert_uint_eq (hctx_pool (bed_hctx (bed, 0))->depth, 31);
  bed_stop (bed);
}
END_TEST

START_TEST (test_queues_and_settings_change_in_one_go)
{
  struct bed *bed = live_bed ("hw_queue_depth=4 live=1");

  assert_set (bed, "submit_queues=3 hw_queue_depth=7 delay_read=1ms "
                   "scheduler=mq-deadline irqmode=softirq");
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), 3);
  ck_assert_uint_eq (blkmq_disk_queue_depth (bed->disk), 7);
  ck_assert_str_eq (blkmq_disk_scheduler (bed->disk), "mq-deadline");
  for (unsigned i = 0; i < 3; i++)
    ck_assert_int_eq (bed_hctx (bed, i)->irqmode, IRQMODE_SOFTIRQ);
  assert_key (bed, "delay_read", "1ms");
  bed_stop (bed);
}
END_TEST

/* ---- errors change nothing ---- */

START_TEST (test_bad_settings_are_refused_with_key_and_value)
{
  static const struct {
    const char *words;
    int r;
    const char *part;
  } cases[] = {
    { "io_timeout=1s hw_queue_depth=0", -EINVAL, "hw_queue_depth=0: " },
    { "io_timeout=1s hw_queue_depth=10241", -EINVAL, "10240" },
    { "io_timeout=1s blocksize=4096", -EINVAL,
      "blocksize=4096: cannot be changed while the disk runs" },
    { "io_timeout=1s size=2M", -EINVAL, "size=2M: cannot be changed" },
    { "io_timeout=1s io_timeout=2s", -EINVAL,
      "io_timeout=2s: given twice, first as io_timeout=1s" },
    { "io_timeout=1s mbsp=3", -EINVAL, "mbsp" },
    { "io_timeout=1s spin_ns=10us", -EINVAL,
      "spin_ns=10us: contradicts irqmode=none" },
    { "io_timeout=1s delay_read=1ms", -EOPNOTSUPP, "live=1" },
    { "io_timeout=1s nr_requests=3 scheduler=mq-deadline", -EINVAL,
      "nr_requests=3: contradicts hw_queue_depth=4" },
  };
  struct bed *bed = live_bed ("hw_queue_depth=4");

  for (size_t i = 0; i < NR (cases); i++) {
    assert_refused (bed, cases[i].words, cases[i].r, cases[i].part);
    assert_key (bed, "io_timeout", "0");
    ck_assert_uint_eq (bed_hctx (bed, 0)->io_timeout_ns, 0);
    ck_assert_uint_eq (blkmq_disk_queue_depth (bed->disk), 4);
    ck_assert_str_eq (blkmq_disk_scheduler (bed->disk), "none");
  }
  bed_stop (bed);
}
END_TEST

START_TEST (test_failing_init_hctx_takes_all_back)
{
  struct bed *bed = live_bed ("hw_queue_depth=4 live=1");

  bed->script.fail_init_hctx = 3;
  assert_refused (bed, "delay_read=1ms submit_queues=4 irqmode=softirq",
                  -EMFILE, "submit_queues=4");
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), 1);
  ck_assert_int_eq (bed_hctx (bed, 0)->irqmode, IRQMODE_NONE);
  assert_key (bed, "delay_read", "0");
  assert_key (bed, "submit_queues", "1");
  bed_stop (bed);
}
END_TEST

static void
set_inside (struct test_io *t)
{
  struct blkmq_setting setting = { "io_timeout", "1s" };

  ck_assert_int_eq (blkmq_disk_set (t->bed->disk, &setting, 1, NULL), -EDEADLK);
}

START_TEST (test_settings_are_refused_in_callbacks_and_after_removal)
{
  struct bed *bed = live_bed ("hw_queue_depth=4");
  struct test_io t;

  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  t.on_end = set_inside;
  blkmq_submit (bed->submitter, &t.io);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  blkmq_disk_remove (bed->disk);
  assert_refused (bed, "io_timeout=1s", -ENODEV, "removed");
  assert_refused (bed, "hw_queue_depth=2", -ENODEV, "removed");
  assert_key (bed, "io_timeout", "0");
  bed_stop (bed);
}
END_TEST

/* ---- counters ---- */

START_TEST (test_counters_start_anew)
{
  struct bed *bed = live_bed ("hw_queue_depth=4 iostats=1 submit_queues=2");
  struct blkmq_histogram histogram;
  struct test_io t[3];
  struct blkmq_stats stats;

  test_io_submit (&t[0], bed, 0);
  bed_pass (bed, 100 * US);
  issue_complete (&bed->script, 0, BLKMQ_STS_MEDIUM);
  test_io_submit (&t[1], bed, 0);
  ck_assert_uint_eq (bed_stats (bed).errors[BLKMQ_STS_MEDIUM], 1);

  ck_assert_int_eq (blkmq_disk_reset_stats (bed->disk), 0);
  stats = bed_stats (bed);
  ck_assert_uint_eq (stats.errors[BLKMQ_STS_MEDIUM], 0);
  ck_assert_uint_eq (stats.ios[BLKMQ_OP_READ], 0);
  ck_assert_uint_eq (stats.time_ns[BLKMQ_OP_READ], 0);
  ck_assert_uint_eq (stats.in_flight[BLKMQ_OP_READ], 1);
  ck_assert_int_eq (
      blkmq_disk_latency (bed->disk, BLKMQ_HCTX_ANY, BLKMQ_OP_READ, &histogram),
      0);
  ck_assert_uint_eq (histogram.count, 0);

  bed_pass (bed, 7 * US);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  test_io_submit (&t[2], bed, 0);
  bed_pass (bed, 3 * US);
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  stats = bed_stats (bed);
  ck_assert_uint_eq (stats.ios[BLKMQ_OP_READ], 2);
  ck_assert_uint_eq (stats.bytes[BLKMQ_OP_READ], (uint64_t)2 * BLOCK_BYTES);
  ck_assert_uint_eq (stats.time_ns[BLKMQ_OP_READ], 10 * US);
  ck_assert_int_eq (
      blkmq_disk_latency (bed->disk, 0, BLKMQ_OP_READ, &histogram), 0);
  ck_assert_uint_eq (histogram.count, 2);
  ck_assert_uint_eq (histogram.sum_ns, 10 * US);
  ck_assert_uint_ge (histogram.min_ns, 3 * US - 3 * US / 64);
  ck_assert_uint_le (histogram.max_ns, 7 * US + 7 * US / 64);
  bed_stop (bed);
}
END_TEST

/* ---- load ---- */

struct load {
  struct bed *bed;
  _Atomic bool quit;
  _Atomic unsigned nr_running;
};

static void *
run_load (void *opaque)
{
  struct load *load = opaque;
  struct blkmq_submitter *submitter;
  char data[BLOCK_BYTES] = { 0 };
  struct rng rng;

  rng_init (&rng, ++load->nr_running);
  submitter = blkmq_submitter_alloc (load->bed->disk, 0);
  require (submitter != NULL);
  while (!load->quit) {
    uint64_t block = rng_below (&rng, 64);

    if (rng_percent (&rng, 50))
      require (blkmq_read (submitter, data, BLOCK_BYTES, block * BLOCK_BYTES)
               == 0);
    else
      require (
          blkmq_write (submitter, data, BLOCK_BYTES, block * BLOCK_BYTES, 0)
          == 0);
  }
  blkmq_submitter_free (submitter);
  return NULL;
}

START_TEST (test_settings_change_under_load)
{
  static const char *const choices[] = { "delay_read=20us",
                                         "delay_read=0",
                                         "irqmode=softirq",
                                         "irqmode=none",
                                         "scheduler=none",
                                         "scheduler=mq-deadline",
                                         "submit_queues=1",
                                         "submit_queues=3",
                                         "hw_queue_depth=2",
                                         "hw_queue_depth=16",
                                         "iostats=1",
                                         "iostats=0",
                                         "media_delay_write=9us",
                                         "media_delay_write=0",
                                         "io_timeout=1s",
                                         "io_timeout=0",
                                         "nr_requests=40",
                                         "fifo_batch=2",
                                         "irqmode=timer completion_nsec=15us" };
  struct bed *bed = bed_alloc ();
  struct load load = { .bed = bed };
  pthread_t threads[3];
  struct rng rng;

  bed->script.driver = "memory";
  bed_open_threads (bed, "hw_queue_depth=4 live=1");
  for (size_t i = 0; i < NR (threads); i++)
    threads[i] = thread_start (run_load, &load);
  rng_init (&rng, 0);
  for (unsigned i = 0; i < (SANITIZED ? 100 : 400); i++) {
    assert_set (bed, choices[rng_below (&rng, NR (choices))]);
    if (rng_percent (&rng, 10))
      ck_assert_int_eq (blkmq_disk_reset_stats (bed->disk), 0);
  }
  load.quit = true;
  for (size_t i = 0; i < NR (threads); i++)
    thread_join (threads[i]);
  bed_stop (bed);
}
END_TEST

static void *
run_setter (void *opaque)
{
  struct load *load = opaque;
  struct blkmq_setting setting = { "delay_read", "1us" };
  int r;

  do
    r = blkmq_disk_set (load->bed->disk, &setting, 1, NULL);
  while (r == 0);
  require (r == -ENODEV);
  return NULL;
}

START_TEST (test_settings_race_with_removal)
{
  for (unsigned i = 0; i < (SANITIZED ? 20 : 100); i++) {
    struct bed *bed = bed_alloc ();
    struct load load = { .bed = bed };
    pthread_t thread;

    bed->script.driver = "memory";
    bed_open_threads (bed, "hw_queue_depth=4 live=1");
    thread = thread_start (run_setter, &load);
    for (unsigned n = 0; n < i % 7; n++)
      await_pause ();
    blkmq_disk_remove (bed->disk);
    thread_join (thread);
    bed_stop (bed);
  }
}
END_TEST

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("control");
  TCase *tcase = harness_case (suite, "reading");

  tcase_add_test (tcase, test_keys_read_back_as_set_or_by_default);
  tcase_add_test (tcase, test_drawn_seed_reads_back);
  tcase_add_test (tcase, test_text_is_cut_off_and_its_length_told);
  tcase_add_test (tcase, test_what_other_calls_have_changed_reads_back);
  tcase_add_test (tcase, test_keys_are_listed_until_told_to_stop);
  tcase_add_test (tcase, test_unknown_key_is_refused_to_readers);

  tcase = harness_case (suite, "effects");
  tcase_add_test (tcase, test_irqmode_changes_between_requests);
  tcase_add_test (tcase, test_io_timeout_goes_on_and_off_and_gets_shorter);
  tcase_add_test (tcase, test_iostats_go_on_and_off);
  tcase_add_test (tcase, test_layer_is_switched_on_and_off);
  tcase_add_test (tcase, test_scheduler_keys_make_the_scheduler_anew);
  tcase_add_test (tcase, test_queues_and_settings_change_in_one_go);

  tcase = harness_case (suite, "errors");
  tcase_add_test (tcase, test_bad_settings_are_refused_with_key_and_value);
  tcase_add_test (tcase, test_failing_init_hctx_takes_all_back);
  tcase_add_test (tcase,
                  test_settings_are_refused_in_callbacks_and_after_removal);

  tcase = harness_case (suite, "counters");
  tcase_add_test (tcase, test_counters_start_anew);

  tcase = harness_case (suite, "load");
  tcase_add_test (tcase, test_settings_change_under_load);
  tcase_add_test (tcase, test_settings_race_with_removal);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
