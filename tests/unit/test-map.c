/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-map.c: which hctxs are for which ios: what the driver says of it, what
 * of that is refused, and where the ios then go.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "harness.h"

#define D BLKMQ_HCTX_TYPE_DEFAULT
#define R BLKMQ_HCTX_TYPE_READ
#define P BLKMQ_HCTX_TYPE_POLL

/* script->opaque: the map. */
static void
says (struct script *script, unsigned nr_hw_queues, struct blkmq_queue_map *map)
{
  memcpy (map, script->opaque, BLKMQ_NR_HCTX_TYPES * sizeof map[0]);
}

static struct bed *
bed_with_map (struct blkmq_queue_map *map)
{
  struct bed *bed = bed_alloc ();

  bed->script.driver = "scripted-poll";
  bed->script.opaque = map;
  if (map != NULL)
    bed->script.on_map = says;
  return bed;
}

static void
check_types (struct bed *bed, const enum blkmq_hctx_type *types, unsigned nr)
{
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), nr);
  for (unsigned i = 0; i < nr; i++) {
    ck_assert_int_eq (blkmq_disk_hctx_type (bed->disk, i), types[i]);
    ck_assert_int_eq (blkmq_hctx_type (bed_hctx (bed, i)), types[i]);
  }
}

/* What goes wrong with these keys, as the user is told. */
static void
refused (struct bed *bed, const char *keys, const char *message)
{
  ck_assert_int_eq (bed_alloc_disk (bed, keys, true), -EINVAL);
  ck_assert_msg (strstr (bed->error.message, message) != NULL,
                 "'%s' and not '%s'", bed->error.message, message);
  pthread_mutex_destroy (&bed->script.lock);
  free (bed->script.books);
  free (bed);
}

START_TEST (test_without_the_op_the_last_are_polled)
{
  static const enum blkmq_hctx_type types[] = { D, D, D, P, P };
  struct bed *bed = bed_with_map (NULL);

  bed_open (bed, "submit_queues=3 poll_queues=2");
  check_types (bed, types, 5);
  bed_stop (bed);
}
END_TEST

START_TEST (test_the_driver_maps)
{
  struct blkmq_queue_map map[] = { { 2, 2 }, { 1, 1 }, { 1, 0 } };
  static const enum blkmq_hctx_type types[] = { P, R, D, D };
  struct bed *bed = bed_with_map (map);

  bed_open (bed, "submit_queues=3 poll_queues=1");
  check_types (bed, types, 4);
  bed_stop (bed);
}
END_TEST

START_TEST (test_an_hctx_for_reads_and_others_is_default)
{
  struct blkmq_queue_map map[] = { { 2, 0 }, { 2, 1 }, { 0, 77 } };
  static const enum blkmq_hctx_type types[] = { D, D, R };
  struct bed *bed = bed_with_map (map);

  bed_open (bed, "submit_queues=3");
  check_types (bed, types, 3);
  bed_stop (bed);
}
END_TEST

/* Of two hctxs for others and two polled ones. */
static struct {
  struct blkmq_queue_map map[BLKMQ_NR_HCTX_TYPES];
  const char *message;
} bad_maps[] = {
  { { { 0, 0 }, { 2, 0 }, { 2, 2 } }, "no hctx of 4 for type default" },
  { { { 3, 0 }, { 0, 0 }, { 1, 3 } },
    "1 hctxs for type poll; must be "
    "poll_queues=2" },
  { { { 2, 0 }, { 0, 0 }, { 2, 3 } },
    "2 hctxs from 3 on for type poll, but "
    "there are 4" },
  { { { 5, 0 }, { 0, 0 }, { 2, 2 } }, "5 hctxs from 0 on for type default" },
  { { { 2, 0 }, { 1, ~0u }, { 2, 2 } },
    "1 hctxs from 4294967295 on for type "
    "read" },
  { { { 3, 0 }, { 0, 0 }, { 2, 2 } },
    "hctx 2 of 4 for type poll and for "
    "another" },
  { { { 2, 0 }, { 1, 3 }, { 2, 2 } },
    "hctx 3 of 4 for type poll and for "
    "another" },
  { { { 1, 0 }, { 0, 0 }, { 2, 2 } }, "hctx 1 of 4 for nothing" },
};

START_TEST (test_a_bad_map_is_refused)
{
  struct bed *bed = bed_with_map (bad_maps[_i].map);

  refused (bed, "submit_queues=2 poll_queues=2", bad_maps[_i].message);
}
END_TEST

START_TEST (test_a_driver_that_does_not_poll_is_named)
{
  struct bed *bed = bed_alloc ();

  refused (bed, "poll_queues=1",
           "poll_queues=1: driver scripted does not poll; must be 0");
}
END_TEST

START_TEST (test_too_many_together_are_refused)
{
  struct blkmq_queue_map none[BLKMQ_NR_HCTX_TYPES] = { { 0, 0 } };
  struct bed *bed = bed_with_map (none);

  refused (bed, "submit_queues=1000 poll_queues=25",
           "poll_queues=25: contradicts submit_queues=1000; together they must "
           "be at most 1024");
}
END_TEST

/* ---- submitters ---- */

static void
check_bound (struct bed *bed, unsigned index, unsigned others, unsigned reads,
             unsigned polled)
{
  struct blkmq_submitter *submitter = blkmq_submitter_alloc (bed->disk, index);

  ck_assert_uint_eq (blkmq_submitter_hctx (submitter), others);
  ck_assert_uint_eq (blkmq_submitter_hctx_of (submitter, D), others);
  ck_assert_uint_eq (blkmq_submitter_hctx_of (submitter, R), reads);
  ck_assert_uint_eq (blkmq_submitter_hctx_of (submitter, P), polled);
  blkmq_submitter_free (submitter);
}

START_TEST (test_an_index_is_counted_round_in_other_types)
{
  struct blkmq_queue_map map[] = { { 3, 0 }, { 1, 3 }, { 2, 4 } };
  struct bed *bed = bed_with_map (map);

  bed_open (bed, "submit_queues=4 poll_queues=2");
  check_bound (bed, 0, 0, 3, 4);
  check_bound (bed, 1, 1, 3, 5);
  check_bound (bed, 2, 2, 3, 4);
  check_bound (bed, 3, 0, 3, 5);
  check_bound (bed, 5, 2, 3, 5);
  errno = 0;
  ck_assert_ptr_null (blkmq_submitter_alloc (bed->disk, 6));
  ck_assert_int_eq (errno, EINVAL);
  bed_stop (bed);
}
END_TEST

START_TEST (test_a_type_without_hctxs_is_the_defaults)
{
  struct bed *bed = bed_with_map (NULL);

  bed_open (bed, "submit_queues=2");
  check_bound (bed, 1, 1, 1, 1);
  bed_stop (bed);
}
END_TEST

START_TEST (test_any_spreads_over_each_type)
{
  struct bed *bed = bed_with_map (NULL);
  struct blkmq_submitter *submitters[6];
  unsigned nr[5] = { 0 };

  bed_open (bed, "submit_queues=3 poll_queues=2");
  blkmq_submitter_free (bed->submitter);
  for (unsigned i = 0; i < 6; i++) {
    submitters[i] = blkmq_submitter_alloc (bed->disk, BLKMQ_HCTX_ANY);
    nr[blkmq_submitter_hctx (submitters[i])]++;
    nr[blkmq_submitter_hctx_of (submitters[i], P)]++;
  }
  for (unsigned i = 0; i < 5; i++)
    ck_assert_uint_eq (nr[i], i < 3 ? 2 : 3);
  for (unsigned i = 0; i < 6; i++)
    blkmq_submitter_free (submitters[i]);
  /* All are as free as before. */
  for (unsigned i = 0; i < 5; i++)
    ck_assert_uint_eq (bed_hctx (bed, i)->nr_submitters, 0);
  bed->submitter = NULL;
  bed_stop (bed);
}
END_TEST

/* ---- where ios go ---- */

/* The hctx of the Nth issue. */
static unsigned
issued_to (struct bed *bed, unsigned n)
{
  return blkmq_token_hctx (script_issue (&bed->script, n)->token);
}

static void
submit_with (struct test_io *t, struct bed *bed, enum blkmq_op op,
             uint32_t flags, uint64_t block)
{
  test_io_init (t, bed, op, block);
  t->io.flags = flags;
  blkmq_submit (bed->submitter, &t->io);
}

START_TEST (test_each_io_goes_to_its_type)
{
  struct blkmq_queue_map map[] = { { 1, 0 }, { 1, 1 }, { 1, 2 } };
  static const struct {
    enum blkmq_op op;
    uint32_t flags;
    unsigned hctx;
  } cases[] = {
    { BLKMQ_OP_READ, 0, 1 },
    { BLKMQ_OP_WRITE, 0, 0 },
    { BLKMQ_OP_FLUSH, 0, 0 },
    { BLKMQ_OP_DISCARD, 0, 0 },
    { BLKMQ_OP_WRITE_ZEROES, BLKMQ_IO_NOUNMAP, 0 },
    { BLKMQ_OP_READ, BLKMQ_IO_POLLED, 2 },
    { BLKMQ_OP_WRITE, BLKMQ_IO_POLLED, 2 },
    { BLKMQ_OP_WRITE_ZEROES, BLKMQ_IO_POLLED | BLKMQ_IO_NOUNMAP, 2 },
  };
  struct bed *bed = bed_with_map (map);
  struct test_io ios[NR (cases)];

  bed_open (bed, "submit_queues=2 poll_queues=1");
  for (unsigned i = 0; i < NR (cases); i++) {
    submit_with (&ios[i], bed, cases[i].op, cases[i].flags, i);
    ck_assert_uint_eq (issued_to (bed, i), cases[i].hctx);
    ck_assert_uint_eq (script_issue (&bed->script, i)->flags, cases[i].flags);
  }
  for (unsigned i = 0; i < NR (cases); i++) {
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    assert_ended (&ios[i], BLKMQ_STS_OK);
  }
  bed_stop (bed);
}
END_TEST

/* A flush is for all who share it, and not all of them poll. */
START_TEST (test_a_flush_is_not_polled_but_its_data_is)
{
  struct bed *bed = bed_with_map (NULL);
  struct test_io t;

  bed->script.on_poll = script_reaps;
  bed->script.volatile_cache = true;
  bed_open (bed, "poll_queues=1");
  submit_with (&t, bed, BLKMQ_OP_WRITE, BLKMQ_IO_POLLED | BLKMQ_IO_PREFLUSH, 0);
  bed_turn (bed);
  ck_assert_int_eq (script_issue (&bed->script, 0)->op, BLKMQ_OP_FLUSH);
  ck_assert_uint_eq (issued_to (bed, 0), 0);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_turn (bed);
  ck_assert_int_eq (script_issue (&bed->script, 1)->op, BLKMQ_OP_WRITE);
  ck_assert_uint_eq (issued_to (bed, 1), 1);
  assert_not_ended (&t);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 1);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_polled_where_nothing_is_polled_is_ordinary)
{
  struct bed *bed = bed_with_map (NULL);
  struct test_io t;

  bed_open (bed, "irqmode=softirq");
  submit_with (&t, bed, BLKMQ_OP_READ, BLKMQ_IO_POLLED, 0);
  ck_assert_uint_eq (script_issue (&bed->script, 0)->flags, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 0);
  assert_not_ended (&t);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_polls, 0);
  bed_stop (bed);
}
END_TEST

/* Block n goes out as the n-th of its hctx. */
static void
check_batch (struct bed *bed, const char *kinds, const char *wanted)
{
  struct test_io ios[16];
  struct blkmq_batch batch;
  unsigned n = 0;

  blkmq_batch_begin (&batch, bed->submitter);
  for (unsigned i = 0; kinds[i] != '\0'; i++) {
    test_io_init (&ios[i], bed,
                  kinds[i] == 'w' ? BLKMQ_OP_WRITE : BLKMQ_OP_READ, i);
    /* Apart, so that none is merged with its neighbour. */
    ios[i].io.offset_bytes *= 2;
    ios[i].io.flags = kinds[i] == 'p' ? BLKMQ_IO_POLLED : 0;
    blkmq_batch_add (&batch, &ios[i].io);
  }
  blkmq_batch_commit (&batch);
  ck_assert_uint_eq (bed->script.nr_issues, strlen (kinds));
  for (const char *p = wanted; *p != '\0'; p++) {
    const struct issue *issue;

    if (*p == ' ')
      continue;
    issue = script_issue (&bed->script, n);
    ck_assert_uint_eq (issue->offset_bytes / (2 * BLOCK_BYTES),
                       (unsigned)(*p - '0'));
    issue_complete (&bed->script, n++, BLKMQ_STS_OK);
  }
  for (unsigned i = 0; kinds[i] != '\0'; i++)
    assert_ended (&ios[i], BLKMQ_STS_OK);
}

START_TEST (test_a_batch_is_grouped_by_hctx)
{
  struct blkmq_queue_map map[] = { { 1, 0 }, { 1, 1 }, { 1, 2 } };
  struct bed *bed = bed_with_map (map);

  bed_open (bed, "submit_queues=2 poll_queues=1");
  check_batch (bed, "rwprwpwr", "037 146 25");
  /* One doorbell each. */
  ck_assert_uint_eq (bed->script.nr_commits, 3);
  bed_stop (bed);
}
END_TEST

START_TEST (test_types_of_one_hctx_keep_their_order)
{
  struct bed *bed = bed_with_map (NULL);

  bed_open (bed, "poll_queues=1");
  check_batch (bed, "rwprwpwr", "013467 25");
  ck_assert_uint_eq (bed->script.nr_commits, 2);
  bed_stop (bed);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("map");
  TCase *tcase = harness_case (suite, "map_queues");

  tcase_add_test (tcase, test_without_the_op_the_last_are_polled);
  tcase_add_test (tcase, test_the_driver_maps);
  tcase_add_test (tcase, test_an_hctx_for_reads_and_others_is_default);
  tcase_add_loop_test (tcase, test_a_bad_map_is_refused, 0, NR (bad_maps));
  tcase_add_test (tcase, test_a_driver_that_does_not_poll_is_named);
  tcase_add_test (tcase, test_too_many_together_are_refused);

  tcase = harness_case (suite, "submitters");
  tcase_add_test (tcase, test_an_index_is_counted_round_in_other_types);
  tcase_add_test (tcase, test_a_type_without_hctxs_is_the_defaults);
  tcase_add_test (tcase, test_any_spreads_over_each_type);

  tcase = harness_case (suite, "ios");
  tcase_add_test (tcase, test_each_io_goes_to_its_type);
  tcase_add_test (tcase, test_a_flush_is_not_polled_but_its_data_is);
  tcase_add_test (tcase, test_polled_where_nothing_is_polled_is_ordinary);
  tcase_add_test (tcase, test_a_batch_is_grouped_by_hctx);
  tcase_add_test (tcase, test_types_of_one_hctx_keep_their_order);
  return harness_main (suite);
}
