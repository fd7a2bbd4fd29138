/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-badblocks.c: the layer badblocks over the scripted driver, between
 * two layers of the test's own: one looks at what comes up, one can fail.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "blkmq-control.h"
#include "engine/stack.h"
#include "harness.h"
#include "layers/layers.h"

#define MAX_BLOCKS 64u

/* ------------------------------------------------------------------------ */
/* The stack                                                                 */

static _Atomic uint64_t bytes_above; /* of the last request on its way up */
static bool change_fails;

static bool
is_always_wanted (const struct blkmq_config *config)
{
  return true;
}

static int
open_nothing (const struct blkmq_config *config, uint64_t seed,
              struct blkmq_limits *limits, void **data,
              struct blkmq_error *error)
{
  return 0;
}

static enum blkmq_status
look_at_bytes (struct blkmq_request *rq, enum blkmq_status status)
{
  bytes_above = rq->bytes;
  return status;
}

static const struct blkmq_driver above = {
  .name = "above",
  .help = "for a test",
  .is_wanted = is_always_wanted,
  .open = open_nothing,
  .queue_rq = blkmq_pass,
  .complete = look_at_bytes,
};

static int
change_or_fail (void *data, const struct blkmq_config *config,
                struct blkmq_error *error)
{
  return change_fails ? -EXDEV : 0;
}

static const struct blkmq_key key_below = {
  .name = "below",
  .type = BLKMQ_KEY_BOOL,
  .default_value = "0",
  .help = "for a test",
  .live = true,
};

static const struct blkmq_driver below = {
  .name = "below",
  .help = "for a test",
  .keys = &key_below,
  .nr_keys = 1,
  .is_wanted = is_always_wanted,
  .open = open_nothing,
  .queue_rq = blkmq_pass,
  .change = change_or_fail,
};

/* In place of the engine's own. */
const struct blkmq_driver *const blkmq_layers[]
    = { &above, &blkmq_layer_badblocks, &below, NULL };

/* ---- settings while it runs ---- */

static const char *
shown (struct bed *bed)
{
  static char text[200];
  int r = blkmq_disk_get_key (bed->disk, "badblocks", text, sizeof text, NULL);

  ck_assert_int_ge (r, 0);
  ck_assert_int_lt (r, sizeof text);
  return text;
}

/* With another key, unless that is NULL. */
static int
set (struct bed *bed, const char *value, const char *key,
     const char *other_value)
{
  struct blkmq_setting settings[2];
  size_t nr = 0;

  if (value != NULL)
    settings[nr++] = (struct blkmq_setting){ "badblocks", value };
  if (key != NULL)
    settings[nr++] = (struct blkmq_setting){ key, other_value };
  bed->error.message[0] = '\0';
  return blkmq_disk_set (bed->disk, settings, nr, &bed->error);
}

static void
must_set (struct bed *bed, const char *value, const char *key,
          const char *other_value)
{
  int r = set (bed, value, key, other_value);

  ck_assert_msg (r == 0, "%s", bed->error.message);
}

/* ---- ios of several blocks ---- */

struct big_io {
  struct test_io t;
  char data[MAX_BLOCKS * BLOCK_BYTES];
};

static void
big_io_init (struct big_io *big, struct bed *bed, enum blkmq_op op,
             uint64_t block, uint64_t nr)
{
  ck_assert_uint_le (nr, MAX_BLOCKS);
  test_io_init (&big->t, bed, op, block);
  big->t.segment = (struct iovec){ big->data, nr * BLOCK_BYTES };
  big->t.io.bytes = nr * BLOCK_BYTES;
}

static void
big_io_submit (struct big_io *big, struct bed *bed, enum blkmq_op op,
               uint64_t block, uint64_t nr)
{
  big_io_init (big, bed, op, block, nr);
  blkmq_submit (bed->submitter, &big->t.io);
}

static void
expect (struct bed *bed, enum blkmq_op op, uint64_t block, uint64_t nr,
        enum blkmq_status status)
{
  static struct big_io big;

  big_io_submit (&big, bed, op, block, nr);
  assert_ended (&big.t, status);
}

static struct bed *
start_answering (const char *keys)
{
  struct bed *bed = bed_alloc ();

  bed->script.on_queue = script_completes_inside;
  bed_open (bed, keys);
  return bed;
}

static const enum blkmq_op ops_with_a_place[]
    = { BLKMQ_OP_READ, BLKMQ_OP_WRITE, BLKMQ_OP_DISCARD,
        BLKMQ_OP_WRITE_ZEROES };

/* ------------------------------------------------------------------------ */
/* Hits                                                                      */

START_TEST (test_what_touches_a_bad_sector_fails_and_does_nothing)
{
  static const char *const modes[]
      = { "", "irqmode=softirq", "scheduler=mq-deadline" };
  struct bed *bed = bed_alloc ();
  enum blkmq_op op = ops_with_a_place[_i % 4];
  char keys[200];
  static struct big_io big;

  snprintf (keys, sizeof keys, "badblocks=+8-15,+100-100 %s", modes[_i / 4]);
  bed->script.on_queue = script_completes_inside;
  bed_open (bed, keys);
  for (uint64_t first = 0; first < 24; first++) {
    for (uint64_t nr = 1; nr <= 24; nr++) {
      bool is_hit = first <= 15 && first + nr > 8;
      unsigned nr_before = bed->script.nr_issues;

      big_io_submit (&big, bed, op, first, nr);
      bed_turn (bed);
      assert_ended (&big.t, is_hit ? BLKMQ_STS_MEDIUM : BLKMQ_STS_OK);
      ck_assert_uint_eq (bed->script.nr_issues, nr_before + !is_hit);
    }
  }
  ck_assert_uint_gt (bed_stats (bed).errors[BLKMQ_STS_MEDIUM], 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_flush_has_no_place_and_passes)
{
  struct bed *bed = start_answering ("badblocks=+0-0");
  struct test_io t;

  test_io_init (&t, bed, BLKMQ_OP_FLUSH, 0);
  blkmq_submit (bed->submitter, &t.io);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_stop (bed);
}
END_TEST

/* Sectors are of 512 bytes, whatever the blocks. */
START_TEST (test_block_with_a_bad_sector_is_bad_as_a_whole)
{
  struct bed *bed = start_answering ("blocksize=4096 badblocks=+13-13"
                                     " badblocks_partial_io=1");

  expect (bed, BLKMQ_OP_READ, 0, 8, BLKMQ_STS_OK);
  expect (bed, BLKMQ_OP_READ, 8, 8, BLKMQ_STS_MEDIUM);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  expect (bed, BLKMQ_OP_READ, 0, 24, BLKMQ_STS_MEDIUM);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (script_issue (&bed->script, 1)->bytes, 4096);
  expect (bed, BLKMQ_OP_READ, 16, 8, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_tail_of_a_disk_that_is_no_whole_number_of_blocks_can_be_bad)
{
  struct bed *bed = start_answering ("size=1000 badblocks=+1-1");
  struct test_io t;

  test_io_init (&t, bed, BLKMQ_OP_READ, 1);
  t.io.bytes = t.segment.iov_len = 488;
  blkmq_submit (bed->submitter, &t.io);
  assert_ended (&t, BLKMQ_STS_MEDIUM);
  expect (bed, BLKMQ_OP_READ, 0, 1, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_only_the_part_of_a_split_io_that_is_hit_is_not_done)
{
  struct bed *bed = start_answering ("max_sectors=8 badblocks=+12-12");

  expect (bed, BLKMQ_OP_WRITE, 0, 24, BLKMQ_STS_MEDIUM);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (script_issue (&bed->script, 0)->offset_bytes, 0);
  ck_assert_uint_eq (script_issue (&bed->script, 1)->offset_bytes,
                     16 * BLOCK_BYTES);
  bed_stop (bed);
}
END_TEST

/* They are one request to the medium, here as in the kernel. */
START_TEST (test_ios_that_share_a_request_share_its_fate)
{
  struct bed *bed = start_answering ("badblocks=+2-2");
  struct blkmq_batch batch;
  struct test_io t[4];

  for (unsigned nomerges = 0; nomerges < 2; nomerges++) {
    blkmq_batch_begin (&batch, bed->submitter);
    for (unsigned i = 0; i < NR (t); i++) {
      test_io_init (&t[i], bed, BLKMQ_OP_READ, i);
      blkmq_batch_add (&batch, &t[i].io);
    }
    blkmq_batch_commit (&batch);
    for (unsigned i = 0; i < NR (t); i++)
      assert_ended (&t[i],
                    !nomerges || i == 2 ? BLKMQ_STS_MEDIUM : BLKMQ_STS_OK);
    if (nomerges == 0) {
      bed_stop (bed);
      bed = start_answering ("badblocks=+2-2 nomerges=1");
    }
  }
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* The part before                                                           */

START_TEST (test_partial_does_what_is_before_and_then_fails)
{
  struct bed *bed = start_answering ("badblocks=+8-15 badblocks_partial_io=1");
  enum blkmq_op op = ops_with_a_place[_i];
  const struct issue *issue;
  struct blkmq_stats stats;

  for (uint64_t first = 0; first < 16; first++) {
    unsigned nr_before = bed->script.nr_issues;

    bytes_above = 0;
    expect (bed, op, first, 20, BLKMQ_STS_MEDIUM);
    ck_assert_uint_eq (bed->script.nr_issues, nr_before + (first < 8));
    /* Above nobody notices. */
    ck_assert_uint_eq (bytes_above, 20 * BLOCK_BYTES);
    if (first >= 8)
      continue;
    issue = script_issue (&bed->script, nr_before);
    ck_assert_uint_eq (issue->offset_bytes, first * BLOCK_BYTES);
    ck_assert_uint_eq (issue->bytes, (8 - first) * BLOCK_BYTES);
  }
  stats = bed_stats (bed);
  ck_assert_uint_eq (stats.errors[BLKMQ_STS_MEDIUM], 16);
  ck_assert_uint_eq (stats.bytes[op], 0);
  /* The tags' next lives are not short. */
  expect (bed, op, 16, 20, BLKMQ_STS_OK);
  ck_assert_uint_eq (script_issue (&bed->script, 8)->bytes, 20 * BLOCK_BYTES);
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
fills_in (struct script *script, const struct issue *issue)
{
  struct blkmq_segments it = blkmq_segments_begin (issue->rq);
  struct iovec seg;

  while (blkmq_segments_next (&it, &seg))
    memset (seg.iov_base, 'd', seg.iov_len);
  return script_completes_inside (script, issue);
}

START_TEST (test_partial_touches_the_data_before_and_none_behind)
{
  struct bed *bed = start_answering ("badblocks=+3-3 badblocks_partial_io=1");
  static struct big_io big;

  bed->script.on_queue = fills_in;
  memset (big.data, '-', sizeof big.data);
  big_io_submit (&big, bed, BLKMQ_OP_READ, 0, 8);
  assert_ended (&big.t, BLKMQ_STS_MEDIUM);
  for (unsigned i = 0; i < sizeof big.data; i++)
    ck_assert_int_eq (big.data[i], i < 3 * BLOCK_BYTES ? 'd' : '-');
  bed_stop (bed);
}
END_TEST

START_TEST (test_partial_keeps_the_error_of_what_is_below)
{
  struct bed *bed = bed_start ("badblocks=+8-15 badblocks_partial_io=1");
  static struct big_io big;

  big_io_submit (&big, bed, BLKMQ_OP_READ, 0, 9);
  issue_complete (&bed->script, 0, BLKMQ_STS_NOSPC);
  assert_ended (&big.t, BLKMQ_STS_NOSPC);
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
is_busy (struct script *script, const struct issue *issue)
{
  return BLKMQ_BUSY_HOST;
}

/* It comes back to the driver, not to us: still short. */
START_TEST (test_short_request_stays_short_when_the_driver_is_not_ready)
{
  struct bed *bed = bed_alloc ();
  static struct big_io big, next;

  bed->script.on_queue = is_busy;
  bed_open (bed, _i == 0 ? "badblocks=+8-15 badblocks_partial_io=1"
                         : "badblocks=+8-15 badblocks_partial_io=1"
                           " scheduler=mq-deadline hw_queue_depth=2");
  big_io_submit (&big, bed, BLKMQ_OP_READ, 4, 20);
  /* What would follow it, if it were as long as it looks. */
  big_io_submit (&next, bed, BLKMQ_OP_READ, 24, 4);
  ck_assert_uint_eq (script_issue (&bed->script, 0)->bytes, 4 * BLOCK_BYTES);
  bed->script.on_queue = NULL;
  bed_pass (bed, 3 * MS);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  for (unsigned n = 1; n < 3; n++) {
    const struct issue *issue = script_issue (&bed->script, n);

    ck_assert_uint_eq (issue->bytes, 4 * BLOCK_BYTES);
    if (issue->offset_bytes == 4 * BLOCK_BYTES)
      issue_requeue (&bed->script, n);
    else
      issue_complete (&bed->script, n, BLKMQ_STS_OK);
  }
  bed_turn (bed);
  ck_assert_uint_eq (script_issue (&bed->script, 3)->bytes, 4 * BLOCK_BYTES);
  assert_not_ended (&big.t);
  issue_complete (&bed->script, 3, BLKMQ_STS_OK);
  assert_ended (&big.t, BLKMQ_STS_MEDIUM);
  assert_ended (&next.t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bytes_above, 20 * BLOCK_BYTES);
  bed_stop (bed);
}
END_TEST

START_TEST (test_short_request_that_was_aborted_leaves_nothing_to_its_tag)
{
  struct bed *bed = bed_start ("badblocks=+8-15 badblocks_partial_io=1"
                               " hw_queue_depth=1");
  static struct big_io big, next;

  big_io_init (&big, bed, BLKMQ_OP_READ, 0, 20);
  blkmq_submit (bed->submitter, &big.t.io);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &big.t.io), 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&big.t, BLKMQ_STS_ABORTED);
  big_io_submit (&next, bed, BLKMQ_OP_READ, 16, 20);
  ck_assert_uint_eq (script_issue (&bed->script, 1)->bytes, 20 * BLOCK_BYTES);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&next.t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Once                                                                      */

START_TEST (test_once_clears_the_whole_range_that_was_hit_and_no_other)
{
  struct bed *bed
      = start_answering ("badblocks=+8-15,+20-23,+100-100 badblocks_once=1");

  expect (bed, BLKMQ_OP_READ, 0, 8, BLKMQ_STS_OK);
  ck_assert_str_eq (shown (bed), "+8-15,+20-23,+100-100");
  /* Two of them: the first. */
  expect (bed, BLKMQ_OP_WRITE, 15, 20, BLKMQ_STS_MEDIUM);
  ck_assert_str_eq (shown (bed), "+20-23,+100-100");
  expect (bed, BLKMQ_OP_WRITE, 15, 20, BLKMQ_STS_MEDIUM);
  ck_assert_str_eq (shown (bed), "+100-100");
  expect (bed, BLKMQ_OP_WRITE, 0, 60, BLKMQ_STS_OK);
  expect (bed, BLKMQ_OP_READ, 100, 1, BLKMQ_STS_MEDIUM);
  ck_assert_str_eq (shown (bed), "");
  expect (bed, BLKMQ_OP_READ, 100, 1, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_once_and_partial_do_the_part_before_once)
{
  struct bed *bed = start_answering ("badblocks=+8-15 badblocks_once=1"
                                     " badblocks_partial_io=1");

  expect (bed, BLKMQ_OP_WRITE, 0, 16, BLKMQ_STS_MEDIUM);
  ck_assert_uint_eq (script_issue (&bed->script, 0)->bytes, 8 * BLOCK_BYTES);
  expect (bed, BLKMQ_OP_WRITE, 0, 16, BLKMQ_STS_OK);
  ck_assert_uint_eq (script_issue (&bed->script, 1)->bytes, 16 * BLOCK_BYTES);
  bed_stop (bed);
}
END_TEST

#define NR_THREADS 3
#define NR_BAD 300

struct load {
  struct bed *bed;
  struct blkmq_submitter *submitter;
  unsigned stream, nr_hits;
};

/* Reads of random length at random places, until nothing is bad. */
static void *
read_at_random (void *opaque)
{
  struct load *load = opaque;
  struct rng rng;

  rng_init (&rng, load->stream);
  for (;;) {
    char data[8 * BLOCK_BYTES], left[200];
    uint64_t nr = 1 + rng_below (&rng, 8);
    struct iovec segment = { data, nr * BLOCK_BYTES };
    struct blkmq_io io = {
      .op = BLKMQ_OP_READ,
      .offset_bytes = rng_below (&rng, 4 * NR_BAD) * BLOCK_BYTES,
      .bytes = nr * BLOCK_BYTES,
      .segments = &segment,
      .nr_segments = 1,
    };
    int r = blkmq_submit_sync (load->submitter, &io);

    require (r == 0 || r == -ENODATA);
    if (r < 0)
      load->nr_hits++;
    else if (rng_percent (&rng, 5)
             && blkmq_disk_get_key (load->bed->disk, "badblocks", left,
                                    sizeof left, NULL)
                    == 0)
      return NULL;
  }
}

START_TEST (test_each_bad_range_hits_once_under_load)
{
  static char keys[NR_BAD * 16 + 100];
  struct bed *bed = bed_alloc ();
  struct load loads[NR_THREADS];
  pthread_t threads[NR_THREADS];
  unsigned nr_hits = 0;
  int used;

  used = snprintf (keys, sizeof keys,
                   "submit_queues=%u badblocks_once=1 badblocks_partial_io=%d"
                   " badblocks=",
                   NR_THREADS, _i);
  for (unsigned i = 0; i < NR_BAD; i++)
    used += snprintf (keys + used, sizeof keys - (size_t)used, "%s+%u-%u",
                      i > 0 ? "," : "", 4 * i + 1, 4 * i + 2);
  bed->script.on_queue = script_completes_inside;
  bed->script.max_hctxs = NR_THREADS;
  bed_open_threads (bed, keys);
  for (unsigned i = 0; i < NR_THREADS; i++) {
    loads[i] = (struct load){
      .bed = bed,
      .submitter = blkmq_submitter_alloc (bed->disk, i),
      .stream = i + 1,
    };
    ck_assert_ptr_nonnull (loads[i].submitter);
    threads[i] = thread_start (read_at_random, &loads[i]);
  }
  for (unsigned i = 0; i < NR_THREADS; i++) {
    thread_join (threads[i]);
    nr_hits += loads[i].nr_hits;
    blkmq_submitter_free (loads[i].submitter);
  }
  ck_assert_uint_eq (nr_hits, NR_BAD);
  ck_assert_uint_eq (bed_stats (bed).errors[BLKMQ_STS_MEDIUM], NR_BAD);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Live                                                                      */

START_TEST (test_live_changes_are_relative_to_what_is_there)
{
  struct bed *bed = start_answering ("badblocks=+8-15");

  must_set (bed, "+100-100", NULL, NULL);
  ck_assert_str_eq (shown (bed), "+8-15,+100-100");
  expect (bed, BLKMQ_OP_READ, 100, 1, BLKMQ_STS_MEDIUM);
  expect (bed, BLKMQ_OP_READ, 8, 1, BLKMQ_STS_MEDIUM);
  must_set (bed, "-10-12,+101-101", NULL, NULL);
  ck_assert_str_eq (shown (bed), "+8-9,+13-15,+100-101");
  expect (bed, BLKMQ_OP_READ, 10, 3, BLKMQ_STS_OK);
  expect (bed, BLKMQ_OP_READ, 13, 1, BLKMQ_STS_MEDIUM);
  must_set (bed, "-0-2047", NULL, NULL);
  ck_assert_str_eq (shown (bed), "");
  expect (bed, BLKMQ_OP_READ, 8, 60, BLKMQ_STS_OK);
  must_set (bed, "+8-8", NULL, NULL);
  expect (bed, BLKMQ_OP_READ, 8, 1, BLKMQ_STS_MEDIUM);
  bed_stop (bed);
}
END_TEST

START_TEST (test_other_keys_change_without_bringing_back_what_is_spent)
{
  struct bed *bed = start_answering ("badblocks=+8-15,+20-20 badblocks_once=1");

  expect (bed, BLKMQ_OP_READ, 8, 1, BLKMQ_STS_MEDIUM);
  must_set (bed, NULL, "badblocks_once", "0");
  ck_assert_str_eq (shown (bed), "+20-20");
  expect (bed, BLKMQ_OP_READ, 8, 1, BLKMQ_STS_OK);
  expect (bed, BLKMQ_OP_READ, 20, 1, BLKMQ_STS_MEDIUM);
  expect (bed, BLKMQ_OP_READ, 20, 1, BLKMQ_STS_MEDIUM);
  must_set (bed, NULL, "badblocks_partial_io", "1");
  expect (bed, BLKMQ_OP_READ, 18, 4, BLKMQ_STS_MEDIUM);
  ck_assert_uint_eq (
      script_issue (&bed->script, bed->script.nr_issues - 1)->bytes,
      2 * BLOCK_BYTES);
  /* And the same text again does, since it is a change. */
  must_set (bed, "+8-15,+20-20", "badblocks_once", "1");
  ck_assert_str_eq (shown (bed), "+8-15,+20-20");
  expect (bed, BLKMQ_OP_READ, 8, 1, BLKMQ_STS_MEDIUM);
  bed_stop (bed);
}
END_TEST

/* What hits in between is not forgotten, and what was spent stays so. */
START_TEST (test_change_is_undone_when_that_of_another_level_fails)
{
  struct bed *bed = start_answering ("badblocks=+8-15,+20-20,+30-30"
                                     " badblocks_once=1");

  change_fails = true;
  expect (bed, BLKMQ_OP_READ, 20, 1, BLKMQ_STS_MEDIUM);
  for (unsigned i = 0; i < 2; i++) {
    ck_assert_int_eq (set (bed, "-8-11,+40-50", "below", "1"), -EXDEV);
    ck_assert_str_eq (shown (bed), "+8-15,+30-30");
  }
  expect (bed, BLKMQ_OP_READ, 45, 1, BLKMQ_STS_OK);
  expect (bed, BLKMQ_OP_READ, 8, 1, BLKMQ_STS_MEDIUM);
  expect (bed, BLKMQ_OP_READ, 8, 1, BLKMQ_STS_OK);
  ck_assert_int_eq (set (bed, NULL, "below", "1"), -EXDEV);
  ck_assert_str_eq (shown (bed), "+30-30");
  change_fails = false;
  must_set (bed, "-8-11,+40-50", "below", "1");
  ck_assert_str_eq (shown (bed), "+30-30,+40-50");
  expect (bed, BLKMQ_OP_READ, 45, 1, BLKMQ_STS_MEDIUM);
  bed_stop (bed);
}
END_TEST

START_TEST (test_layer_comes_and_goes_with_what_is_bad)
{
  struct bed *bed = start_answering ("live=1");

  expect (bed, BLKMQ_OP_READ, 8, 1, BLKMQ_STS_OK);
  must_set (bed, "+8-15", "badblocks_once", "1");
  expect (bed, BLKMQ_OP_READ, 8, 1, BLKMQ_STS_MEDIUM);
  ck_assert_str_eq (shown (bed), "");
  must_set (bed, NULL, "below", "1");
  expect (bed, BLKMQ_OP_READ, 8, 1, BLKMQ_STS_OK);
  must_set (bed, "+8-15", NULL, NULL);
  must_set (bed, "", "below", "0");
  ck_assert_str_eq (shown (bed), "+8-15");
  expect (bed, BLKMQ_OP_READ, 8, 1, BLKMQ_STS_MEDIUM);
  bed_stop (bed);
}
END_TEST

START_TEST (test_wrong_values_are_refused_and_change_nothing)
{
  static const struct {
    const char *value, *message;
  } cases[] = {
    { "8-15", "badblocks=8-15: begins with neither + nor -; must be " },
    { "+8-2048", "badblocks=+8-2048: beyond the disk's end; must be " },
    { "-3-2", "badblocks=-3-2: ends before it starts; must be " },
    { "+1-1,-3-2",
      "badblocks=+1-1,-3-2: -3-2 ends before it starts; must be " },
    { "+1-1,", "badblocks=+1-1,: begins with neither + nor -; must be " },
    { "yes\n", "badblocks=yes?: begins with neither + nor -; must be " },
  };
  static const char allowed[]
      = "must be +START-END (bad) or -START-END (good), one or more with "
        "commas between them, in sectors of 512 bytes from 0 to 2047, and make "
        "at most 4096 ranges";
  struct bed *bed = start_answering ("badblocks=+8-15");

  for (size_t i = 0; i < NR (cases); i++) {
    struct bed *other = bed_alloc ();
    struct blkmq_config *config = bed_config (other, "");

    ck_assert_int_eq (set (bed, cases[i].value, "badblocks_once", "1"),
                      -EINVAL);
    ck_assert_msg (strncmp (bed->error.message, cases[i].message,
                            strlen (cases[i].message))
                       == 0,
                   "%s", bed->error.message);
    ck_assert_ptr_nonnull (strstr (bed->error.message, allowed));
    ck_assert_str_eq (shown (bed), "+8-15");
    /* At start likewise, before there is a disk. */
    ck_assert_int_eq (
        blkmq_config_set (config, "badblocks", cases[i].value, NULL), 0);
    ck_assert_int_eq (blkmq_config_check (config, &other->error), -EINVAL);
    ck_assert_str_eq (other->error.message, bed->error.message);
    blkmq_config_free (config);
    bed_drop (other);
  }
  expect (bed, BLKMQ_OP_READ, 8, 1, BLKMQ_STS_MEDIUM);
  expect (bed, BLKMQ_OP_READ, 8, 1, BLKMQ_STS_MEDIUM);
  expect (bed, BLKMQ_OP_READ, 1, 1, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_layer_is_there_when_something_is_bad)
{
  static const struct {
    const char *keys;
    bool is_wanted;
  } cases[] = {
    { "", false },
    { "badblocks=", false },
    { "badblocks_once=1 badblocks_partial_io=1", false },
    { "badblocks=+0-0", true },
  };
  struct bed *bed = bed_alloc ();

  for (size_t i = 0; i < NR (cases); i++) {
    struct blkmq_config *config = bed_config (bed, cases[i].keys);

    ck_assert (blkmq_layer_badblocks.is_wanted (config) == cases[i].is_wanted);
    blkmq_config_free (config);
  }
  bed_drop (bed);
}
END_TEST

START_TEST (test_too_many_ranges_are_refused_and_change_nothing)
{
  struct bed *bed = start_answering ("size=100M badblocks=+0-8195");
  static char value[4097 * 16];
  size_t used = 0;

  for (unsigned i = 0; i < 4096; i++)
    used += (size_t)snprintf (value + used, sizeof value - used, "%s-%u-%u",
                              i > 0 ? "," : "", 2 * i + 1, 2 * i + 1);
  ck_assert_int_eq (set (bed, value, NULL, NULL), -ENOSPC);
  ck_assert_ptr_nonnull (
      strstr (bed->error.message, "-8191-8191 makes too many ranges"));
  ck_assert_str_eq (shown (bed), "+0-8195");
  *strrchr (value, ',') = '\0';
  must_set (bed, value, NULL, NULL);
  expect (bed, BLKMQ_OP_READ, 8188, 1, BLKMQ_STS_MEDIUM);
  expect (bed, BLKMQ_OP_READ, 8189, 1, BLKMQ_STS_OK);
  expect (bed, BLKMQ_OP_READ, 8191, 1, BLKMQ_STS_MEDIUM);
  bed_stop (bed);
}
END_TEST

/* More of them than there may be, if these were all. */
START_TEST (test_ranges_that_are_there_already_are_not_too_many)
{
  struct bed *bed = start_answering ("size=100M badblocks=+0-8195");
  static char value[4097 * 16];
  size_t used = 0;

  for (unsigned i = 0; i < 4097; i++)
    used += (size_t)snprintf (value + used, sizeof value - used, "%s+%u-%u",
                              i > 0 ? "," : "", 2 * i, 2 * i);
  must_set (bed, value, NULL, NULL);
  ck_assert_str_eq (shown (bed), "+0-8195");
  bed_stop (bed);
}
END_TEST

START_TEST (test_other_keys_read_back_as_set)
{
  struct bed *bed = start_answering ("badblocks=+8-15 badblocks_once=yes");
  char text[10];

  ck_assert_int_eq (
      blkmq_disk_get_key (bed->disk, "badblocks_once", text, sizeof text, NULL),
      3);
  ck_assert_str_eq (text, "yes");
  must_set (bed, NULL, "badblocks_once", "0");
  ck_assert_int_eq (
      blkmq_disk_get_key (bed->disk, "badblocks_once", text, sizeof text, NULL),
      1);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("badblocks");
  TCase *tcase = harness_case (suite, "hits");

  tcase_add_loop_test (
      tcase, test_what_touches_a_bad_sector_fails_and_does_nothing, 0, 12);
  tcase_add_test (tcase, test_flush_has_no_place_and_passes);
  tcase_add_test (tcase, test_block_with_a_bad_sector_is_bad_as_a_whole);
  tcase_add_test (
      tcase, test_tail_of_a_disk_that_is_no_whole_number_of_blocks_can_be_bad);
  tcase_add_test (tcase,
                  test_only_the_part_of_a_split_io_that_is_hit_is_not_done);
  tcase_add_test (tcase, test_ios_that_share_a_request_share_its_fate);

  tcase = harness_case (suite, "partial");
  tcase_add_loop_test (tcase, test_partial_does_what_is_before_and_then_fails,
                       0, NR (ops_with_a_place));
  tcase_add_test (tcase, test_partial_touches_the_data_before_and_none_behind);
  tcase_add_test (tcase, test_partial_keeps_the_error_of_what_is_below);
  tcase_add_loop_test (
      tcase, test_short_request_stays_short_when_the_driver_is_not_ready, 0, 2);
  tcase_add_test (
      tcase, test_short_request_that_was_aborted_leaves_nothing_to_its_tag);

  tcase = harness_case (suite, "once");
  tcase_add_test (tcase,
                  test_once_clears_the_whole_range_that_was_hit_and_no_other);
  tcase_add_test (tcase, test_once_and_partial_do_the_part_before_once);
  tcase_add_loop_test (tcase, test_each_bad_range_hits_once_under_load, 0, 2);

  tcase = harness_case (suite, "live");
  tcase_add_test (tcase, test_live_changes_are_relative_to_what_is_there);
  tcase_add_test (tcase,
                  test_other_keys_change_without_bringing_back_what_is_spent);
  tcase_add_test (tcase,
                  test_change_is_undone_when_that_of_another_level_fails);
  tcase_add_test (tcase, test_layer_comes_and_goes_with_what_is_bad);
  tcase_add_test (tcase, test_wrong_values_are_refused_and_change_nothing);
  tcase_add_test (tcase, test_layer_is_there_when_something_is_bad);
  tcase_add_test (tcase, test_too_many_ranges_are_refused_and_change_nothing);
  tcase_add_test (tcase, test_ranges_that_are_there_already_are_not_too_many);
  tcase_add_test (tcase, test_other_keys_read_back_as_set);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
