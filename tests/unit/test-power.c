/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-power.c: power cut and brought back, with a cache and without one, one
 * behaviour at a time.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "blkmq-control.h"
#include "cache-bed.h"

static struct media media;

static void
set_power (struct bed *bed, bool on)
{
  ck_assert_int_eq (blkmq_disk_set_power (bed->disk, on, NULL), 0);
  ck_assert (blkmq_disk_has_power (bed->disk) == on);
}

static void
submit (struct test_io *t, struct bed *bed, enum blkmq_op op, unsigned block,
        char fill, uint32_t flags)
{
  test_io_init (t, bed, op, block);
  memset (t->data, fill, sizeof t->data);
  t->io.flags = flags;
  blkmq_submit (bed->submitter, &t->io);
  bed_turn (bed);
}

static void
do_io (struct bed *bed, enum blkmq_op op, unsigned block, char fill,
       uint32_t flags)
{
  struct test_io t;

  submit (&t, bed, op, block, fill, flags);
  assert_ended (&t, BLKMQ_STS_OK);
}

static char
letter_at (struct bed *bed, unsigned block)
{
  struct test_io t;

  submit (&t, bed, BLKMQ_OP_READ, block, 'X', 0);
  assert_ended (&t, BLKMQ_STS_OK);
  return t.data[0];
}

START_TEST (test_without_power_all_is_refused_and_then_goes_on)
{
  static const char *const keys[] = { "", "cache_size=1", "scheduler=1" };

  for (unsigned i = 0; i < NR (keys); i++) {
    struct bed *bed = cache_bed_start (&media, keys[i]);
    struct test_io t;

    ck_assert (blkmq_disk_has_power (bed->disk));
    set_power (bed, false);
    set_power (bed, false);
    for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
      submit (&t, bed, (enum blkmq_op)op, 0, 'a', 0);
      assert_ended (&t, BLKMQ_STS_OFFLINE);
    }
    ck_assert_uint_eq (bed->script.nr_issues, 0);
    set_power (bed, true);
    set_power (bed, true);
    do_io (bed, BLKMQ_OP_WRITE, 0, 'a', 0);
    do_io (bed, BLKMQ_OP_FLUSH, 0, 0, 0);
    ck_assert_int_eq (letter_at (bed, 0), 'a');
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_what_was_not_flushed_is_lost)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1");

  do_io (bed, BLKMQ_OP_WRITE, 0, 'a', 0);
  do_io (bed, BLKMQ_OP_WRITE, 8, 'a', 0);
  do_io (bed, BLKMQ_OP_FLUSH, 0, 0, 0);
  do_io (bed, BLKMQ_OP_WRITE, 0, 'b', 0);
  do_io (bed, BLKMQ_OP_WRITE, 8, 'b', BLKMQ_IO_FUA);
  do_io (bed, BLKMQ_OP_WRITE, 16, 'b', 0);
  set_power (bed, false);
  set_power (bed, true);
  ck_assert_int_eq (letter_at (bed, 0), 'a');
  ck_assert_int_eq (letter_at (bed, 8), 'b');
  ck_assert_int_eq (letter_at (bed, 16), 0);
  do_io (bed, BLKMQ_OP_FLUSH, 0, 0, 0);
  ck_assert_int_eq (media.blocks[0][0], 'a');
  bed_stop (bed);
}
END_TEST

START_TEST (test_a_whole_cache_is_there_again)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=32k");
  unsigned nr;

  for (unsigned round = 0; round < 3; round++) {
    nr = bed->script.nr_issues;
    for (unsigned page = 0; page < 8; page++)
      do_io (bed, BLKMQ_OP_WRITE, page * 8, 'a', 0);
    ck_assert_uint_eq (bed->script.nr_issues, nr);
    set_power (bed, false);
    set_power (bed, true);
    ck_assert_int_eq (letter_at (bed, 0), 0);
  }
  bed_stop (bed);
}
END_TEST

static enum blkmq_timeout_result
says_held (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_HELD;
}

struct cutter {
  struct bed *bed;
  _Atomic bool is_done;
};

static void *
cut_thread (void *opaque)
{
  struct cutter *cutter = opaque;

  set_power (cutter->bed, false);
  cutter->is_done = true;
  return NULL;
}

/* All are answered though the driver still has some; it is these that the cut
 * waits for. */
START_TEST (test_cut_answers_what_is_in_flight_and_waits_for_the_driver)
{
  static const char *const keys[]
      = { "hw_queue_depth=2", "hw_queue_depth=4 cache_size=4k" };

  for (unsigned i = 0; i < NR (keys); i++) {
    struct bed *bed = cache_bed_start (&media, keys[i]);
    struct cutter cutter = { .bed = bed };
    struct test_io t[6];
    pthread_t thread;

    media.keeps = true;
    for (unsigned n = 0; n < NR (t); n++) {
      test_io_init_early (&t[n], bed,
                          n == 5   ? BLKMQ_OP_FLUSH
                          : n == 0 ? BLKMQ_OP_READ
                                   : BLKMQ_OP_WRITE,
                          n * 8);
      blkmq_submit (bed->submitter, &t[n].io);
    }
    bed_turn (bed);
    thread = thread_start (cut_thread, &cutter);
    for (unsigned n = 0; n < NR (t); n++)
      await (t[n].nr_ends == 1);
    ck_assert (!cutter.is_done);
    for (unsigned n = 0; n < bed->script.nr_issues; n++)
      issue_complete (&bed->script, n, BLKMQ_STS_OK);
    thread_join (thread);
    for (unsigned n = 0; n < NR (t); n++) {
      ck_assert_uint_eq (t[n].nr_give_backs, 1);
      /* With a cache the first write has been answered. */
      if (i == 0 || n != 1)
        assert_ended (&t[n], BLKMQ_STS_OFFLINE);
    }
    bed_check_idle (bed);
    media.keeps = false;
    set_power (bed, true);
    do_io (bed, BLKMQ_OP_WRITE, 0, 'a', 0);
    ck_assert_int_eq (letter_at (bed, 0), 'a');
    bed_stop (bed);
  }
}
END_TEST

/* Nor is what comes back later mistaken for something of the present. */
START_TEST (test_cut_leaves_what_a_timeout_has_left_below)
{
  struct bed *bed = cache_bed_alloc (&media);
  struct test_io flush, fua;

  bed->script.on_timeout = says_held;
  bed_open (bed, "cache_size=4k io_timeout=1000");
  do_io (bed, BLKMQ_OP_WRITE, 0, 'a', 0);
  media.keeps = true;
  submit (&flush, bed, BLKMQ_OP_FLUSH, 0, 0, 0);
  bed_pass (bed, 1100 * MS);
  assert_ended (&flush, BLKMQ_STS_TIMEOUT);
  set_power (bed, false);
  set_power (bed, true);
  media.keeps = false;
  do_io (bed, BLKMQ_OP_WRITE, 0, 'b', 0);
  submit (&fua, bed, BLKMQ_OP_WRITE, 0, 'F', BLKMQ_IO_FUA);
  assert_not_ended (&fua); /* behind what is still below */
  media_complete (bed, 0);
  assert_ended (&fua, BLKMQ_STS_OK);
  ck_assert_int_eq (letter_at (bed, 0), 'F');
  ck_assert_int_eq (media.blocks[0][0], 'F');
  bed_stop (bed);
}
END_TEST

START_TEST (test_cut_ends_what_hangs_on_purpose)
{
  static const char *const rules[] = { "at=bus,hang", "at=media,hang" };

  for (unsigned i = 0; i < NR (rules); i++) {
    struct bed *bed = cache_bed_start (&media, "cache_size=1 live=1");
    struct test_io read, flush;
    uint64_t id;

    do_io (bed, BLKMQ_OP_WRITE, 0, 'a', 0);
    ck_assert_int_eq (blkmq_disk_add_fault (bed->disk, rules[i], &id, NULL), 0);
    submit (&read, bed, BLKMQ_OP_READ, 8, 0, 0);
    submit (&flush, bed, BLKMQ_OP_FLUSH, 0, 0, 0);
    assert_not_ended (&read);
    assert_not_ended (&flush);
    set_power (bed, false);
    assert_ended (&read, BLKMQ_STS_OFFLINE);
    assert_ended (&flush, BLKMQ_STS_OFFLINE);
    set_power (bed, true);
    ck_assert_int_eq (blkmq_disk_delete_fault (bed->disk, id, NULL), 0);
    ck_assert_int_eq (letter_at (bed, 0), 0);
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_disk_may_start_without_power)
{
  static const char *const keys[] = { "power=0", "power=0 cache_size=1" };

  for (unsigned i = 0; i < NR (keys); i++) {
    struct bed *bed = cache_bed_start (&media, keys[i]);
    struct test_io t;

    ck_assert (!blkmq_disk_has_power (bed->disk));
    submit (&t, bed, BLKMQ_OP_READ, 0, 'X', 0);
    assert_ended (&t, BLKMQ_STS_OFFLINE);
    set_power (bed, true);
    do_io (bed, BLKMQ_OP_WRITE, 0, 'a', 0);
    ck_assert_int_eq (letter_at (bed, 0), 'a');
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_setting_is_power)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1");
  struct blkmq_setting setting = { "power", "0" };
  char text[8];

  ck_assert_int_eq (blkmq_disk_set (bed->disk, &setting, 1, NULL), 0);
  ck_assert (!blkmq_disk_has_power (bed->disk));
  blkmq_disk_get_key (bed->disk, "power", text, sizeof text, NULL);
  ck_assert_str_eq (text, "0");
  set_power (bed, true);
  blkmq_disk_get_key (bed->disk, "power", text, sizeof text, NULL);
  ck_assert_str_eq (text, "1");
  bed_stop (bed);
}
END_TEST

START_TEST (test_disks_that_share_tags_have_power_of_their_own)
{
  struct blkmq_tag_set *set = bed_set_alloc ("scripted", "hw_queue_depth=1");
  struct bed *beds[2];
  struct test_io t[3];

  for (unsigned i = 0; i < 2; i++) {
    beds[i] = cache_bed_alloc (&media);
    beds[i]->set = set;
    bed_open (beds[i], "hw_queue_depth=1");
  }
  media.keeps = true;
  submit (&t[0], beds[0], BLKMQ_OP_READ, 0, 0, 0);
  submit (&t[1], beds[1], BLKMQ_OP_READ, 0, 0, 0); /* waits for the tag */
  submit (&t[2], beds[0], BLKMQ_OP_READ, 0, 0, 0);
  set_power (beds[1], false);
  assert_ended (&t[1], BLKMQ_STS_OFFLINE);
  assert_not_ended (&t[0]);
  media_complete (beds[0], 0);
  assert_ended (&t[0], BLKMQ_STS_OK);
  media_complete (beds[0], 1);
  assert_ended (&t[2], BLKMQ_STS_OK);
  media.keeps = false;
  set_power (beds[1], true);
  do_io (beds[1], BLKMQ_OP_READ, 0, 0, 0);
  for (unsigned i = 0; i < 2; i++)
    bed_stop (beds[i]);
  bed_set_free (set);
}
END_TEST

START_TEST (test_power_goes_with_freezes_updates_and_removal)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1");
  struct test_io t;

  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  submit (&t, bed, BLKMQ_OP_READ, 0, 0, 0);
  assert_not_ended (&t);
  set_power (bed, false);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  submit (&t, bed, BLKMQ_OP_READ, 0, 0, 0);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  blkmq_unfreeze (bed->disk);
  ck_assert_int_eq (update_queues (bed->disk, 3, 0, NULL), 0);
  for (unsigned i = 0; i < 3; i++) {
    struct blkmq_submitter *s = blkmq_submitter_alloc (bed->disk, i);

    test_io_init (&t, bed, BLKMQ_OP_READ, 0);
    blkmq_submit (s, &t.io);
    assert_ended (&t, BLKMQ_STS_OFFLINE);
    blkmq_submitter_free (s);
  }
  set_power (bed, true);
  do_io (bed, BLKMQ_OP_WRITE, 0, 'a', 0);
  set_power (bed, false);
  blkmq_disk_remove (bed->disk);
  ck_assert_int_eq (blkmq_disk_set_power (bed->disk, true, NULL), -ENODEV);
  bed_stop (bed);
}
END_TEST

/* ---- under load ---- */

#define NR_CYCLES (SANITIZED ? 10u : 30u)

struct load {
  struct bed *bed;
  struct blkmq_submitter *submitter;
  pthread_t thread;
  unsigned stream;
  _Atomic unsigned nr_ok, nr_refused;
};

static _Atomic bool is_over;

static void *
do_ios (void *opaque)
{
  struct load *load = opaque;
  char data[BLOCK_BYTES] = "";
  struct rng rng;

  rng_init (&rng, load->stream);
  while (!is_over) {
    uint64_t at = rng_below (&rng, 64) * BLOCK_BYTES;
    int r;

    switch (rng_below (&rng, 4)) {
    case 0:
      r = blkmq_read (load->submitter, data, sizeof data, at);
      break;
    case 1:
      r = blkmq_write (load->submitter, data, sizeof data, at, BLKMQ_IO_FUA);
      break;
    case 2:
      r = blkmq_flush (load->submitter);
      break;
    default:
      r = blkmq_write (load->submitter, data, sizeof data, at, 0);
      break;
    }
    require (r == 0 || r == -ENODEV);
    if (r == 0)
      load->nr_ok++;
    else
      load->nr_refused++;
  }
  return NULL;
}

static void
start_load (struct load *load, struct bed *bed, unsigned stream)
{
  *load = (struct load){ .bed = bed, .stream = stream };
  load->submitter = blkmq_submitter_alloc (bed->disk, BLKMQ_HCTX_ANY);
  require (load->submitter != NULL);
  load->thread = thread_start (do_ios, load);
}

static void
end_load (struct load *load)
{
  thread_join (load->thread);
  blkmq_submitter_free (load->submitter);
}

/* Off until some ios were refused, on until some were not. */
static void
cycle (struct load *load)
{
  unsigned nr = load->nr_refused;

  set_power (load->bed, false);
  await (load->nr_refused > nr + 2);
  nr = load->nr_ok;
  set_power (load->bed, true);
  await (load->nr_ok > nr + 2);
}

START_TEST (test_disks_on_shared_tags_are_cycled_under_load)
{
  static const char *const keys[]
      = { "hw_queue_depth=2", "hw_queue_depth=1 cache_size=8k" };

  for (unsigned k = 0; k < NR (keys); k++) {
    struct blkmq_tag_set *set = bed_set_alloc ("memory", keys[k]);
    struct load loads[6];
    struct bed *beds[2];

    is_over = false;
    for (unsigned i = 0; i < 2; i++) {
      beds[i] = bed_alloc ();
      beds[i]->script.driver = "memory";
      beds[i]->set = set;
      bed_open_threads (beds[i], keys[k]);
    }
    for (unsigned i = 0; i < NR (loads); i++)
      start_load (&loads[i], beds[i % 2], i);
    for (unsigned n = 0; n < NR_CYCLES; n++)
      cycle (&loads[n % 2]);
    is_over = true;
    for (unsigned i = 0; i < NR (loads); i++)
      end_load (&loads[i]);
    for (unsigned i = 0; i < 2; i++)
      bed_stop (beds[i]);
    bed_set_free (set);
  }
}
END_TEST

static void *
do_control (void *opaque)
{
  struct bed *bed = opaque;
  struct rng rng;

  rng_init (&rng, 100);
  while (!is_over) {
    struct blkmq_setting setting
        = { "io_timeout", rng_percent (&rng, 50) ? "0" : "100s" };

    switch (rng_below (&rng, 3)) {
    case 0:
      require (blkmq_freeze (bed->disk, NULL, 0) >= 0);
      blkmq_unfreeze (bed->disk);
      break;
    case 1:
      require (update_queues (bed->disk, 1 + (unsigned)rng_below (&rng, 3),
                              1 + (unsigned)rng_below (&rng, 4), NULL)
               == 0);
      break;
    default:
      require (blkmq_disk_set (bed->disk, &setting, 1, NULL) == 0);
      break;
    }
  }
  return NULL;
}

START_TEST (test_power_is_cycled_while_all_else_is_changed)
{
  struct bed *bed = bed_alloc ();
  struct load loads[3];
  pthread_t control;

  bed->script.driver = "memory";
  bed_open_threads (bed, "submit_queues=2 hw_queue_depth=4 cache_size=8k");
  is_over = false;
  for (unsigned i = 0; i < NR (loads); i++)
    start_load (&loads[i], bed, i);
  control = thread_start (do_control, bed);
  for (unsigned n = 0; n < NR_CYCLES; n++)
    cycle (&loads[n % NR (loads)]);
  is_over = true;
  thread_join (control);
  /* The last of them find it removed. */
  set_power (bed, false);
  blkmq_disk_remove (bed->disk);
  for (unsigned i = 0; i < NR (loads); i++)
    end_load (&loads[i]);
  bed_stop (bed);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("power");
  TCase *tcase = harness_case (suite, "power");

  tcase_add_test (tcase, test_without_power_all_is_refused_and_then_goes_on);
  tcase_add_test (tcase, test_what_was_not_flushed_is_lost);
  tcase_add_test (tcase, test_a_whole_cache_is_there_again);
  tcase_add_test (tcase,
                  test_cut_answers_what_is_in_flight_and_waits_for_the_driver);
  tcase_add_test (tcase, test_cut_leaves_what_a_timeout_has_left_below);
  tcase_add_test (tcase, test_cut_ends_what_hangs_on_purpose);
  tcase_add_test (tcase, test_disk_may_start_without_power);
  tcase_add_test (tcase, test_setting_is_power);
  tcase_add_test (tcase, test_disks_that_share_tags_have_power_of_their_own);
  tcase_add_test (tcase, test_power_goes_with_freezes_updates_and_removal);

  tcase = harness_case (suite, "under load");
  tcase_add_test (tcase, test_disks_on_shared_tags_are_cycled_under_load);
  tcase_add_test (tcase, test_power_is_cycled_while_all_else_is_changed);
  return harness_main (suite);
}
