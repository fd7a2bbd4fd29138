/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-disk.c: setting up: what is undone when it fails half way, and what an
 * embedder can ask of a disk.
 */

#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "harness.h"

START_TEST (test_failed_open_is_not_closed)
{
  for (unsigned late = 0; late < 2; late++) {
    struct bed *bed = bed_alloc ();

    bed->script.open_error = -ENXIO;
    bed->script.open_fails_late = late;
    ck_assert_int_eq (bed_alloc_disk (bed, "", true), -ENXIO);
    ck_assert_uint_eq (bed->script.nr_closes, 0);
    bed_drop (bed);
  }
}
END_TEST

/* The driver's own books must be empty again: see scripted_close. */
START_TEST (test_failed_init_hctx_is_undone)
{
  for (unsigned n = 1; n <= 3; n++) {
    struct bed *bed = bed_alloc ();

    bed->script.fail_init_hctx = n;
    ck_assert_int_eq (
        bed_alloc_disk (bed, "submit_queues=3 hw_queue_depth=5", true),
        -EMFILE);
    ck_assert_uint_eq (bed->script.nr_closes, 1);
    bed_drop (bed);
  }
}
END_TEST

START_TEST (test_failed_init_request_is_undone)
{
  for (unsigned n = 1; n <= 15; n++) {
    struct bed *bed = bed_alloc ();

    bed->script.fail_init_request = n;
    ck_assert_int_eq (
        bed_alloc_disk (bed, "submit_queues=3 hw_queue_depth=5", true), -EDOM);
    ck_assert_uint_eq (bed->script.nr_closes, 1);
    bed_drop (bed);
  }
}
END_TEST

START_TEST (test_limits_that_make_no_sense_are_refused)
{
  struct bed *bed = bed_alloc ();

  bed->script.max_transfer_bytes = BLOCK_BYTES - 1;
  ck_assert_int_eq (bed_alloc_disk (bed, "", true), -EINVAL);
  ck_assert_uint_eq (bed->script.nr_closes, 1);
  bed_drop (bed);

  bed = bed_alloc ();
  bed->script.max_transfer_bytes = 8 * BLOCK_BYTES; /* wider than asked for */
  ck_assert_int_eq (bed_alloc_disk (bed, "max_sectors=7", true), -EINVAL);
  bed_drop (bed);

  bed = bed_alloc ();
  bed->script.max_discard_bytes = 1;
  ck_assert_int_eq (bed_alloc_disk (bed, "", true), -EINVAL);
  bed_drop (bed);
}
END_TEST

/* A driver whose open does one thing wrong with the limits. */
static void (*spoil) (struct blkmq_limits *limits);

static int
spoilt_open (const struct blkmq_config *config, uint64_t disk_seed,
             struct blkmq_limits *limits, void **driver_data,
             struct blkmq_error *error)
{
  limits->max_write_zeroes_bytes = UINT64_C (1) << 40;
  if (spoil != NULL)
    spoil (limits);
  return 0;
}

static enum blkmq_queue_result
spoilt_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                 blkmq_token token)
{
  return BLKMQ_QUEUED;
}

static const struct blkmq_driver spoilt = {
  .name = "spoilt",
  .help = "sets limits that make no sense",
  .open = spoilt_open,
  .queue_rq = spoilt_queue_rq,
};

static void
no_size (struct blkmq_limits *limits)
{
  limits->size_bytes = 0;
}

static void
size_too_large (struct blkmq_limits *limits)
{
  limits->size_bytes = (uint64_t)INT64_MAX + 1;
}

static void
no_segment (struct blkmq_limits *limits)
{
  limits->max_segments = 0;
}

static void
smaller_block (struct blkmq_limits *limits)
{
  limits->logical_block_bytes = BLOCK_BYTES / 2;
}

static void
odd_block (struct blkmq_limits *limits)
{
  limits->logical_block_bytes = 3 * BLOCK_BYTES;
}

static void
small_write_zeroes (struct blkmq_limits *limits)
{
  limits->max_write_zeroes_bytes = BLOCK_BYTES - 1;
}

START_TEST (test_each_limit_that_makes_no_sense_is_refused)
{
  static void (*const spoils[]) (struct blkmq_limits *)
      = { no_size,       size_too_large, no_segment,
          smaller_block, odd_block,      small_write_zeroes };
  struct bed *bed = bed_alloc ();
  struct blkmq_config *config;
  struct blkmq_error error;
  struct blkmq_disk *disk;

  ck_assert_int_eq (blkmq_driver_register (&spoilt, &error), 0);
  bed->script.driver = "spoilt";
  config = bed_config (bed, "");
  for (size_t i = 0; i < NR (spoils); i++) {
    spoil = spoils[i];
    ck_assert_int_eq (blkmq_disk_alloc (config, &disk, &error), -EINVAL);
    ck_assert_str_eq (error.message, "driver=spoilt: its open set limits that "
                                     "make no sense");
  }
  /* And what they are without. */
  spoil = NULL;
  ck_assert_int_eq (blkmq_disk_alloc (config, &disk, &error), 0);
  blkmq_disk_put (disk);
  blkmq_config_free (config);
  bed_drop (bed);
}
END_TEST

START_TEST (test_bad_configuration_makes_neither_disk_nor_tag_set)
{
  struct bed *bed = bed_alloc ();
  struct blkmq_config *config
      = bed_config (bed, "blocksize=4096 max_sectors=1");
  struct blkmq_tag_set *set = NULL;
  struct blkmq_disk *disk = NULL;
  struct blkmq_error error = { "" };

  ck_assert_int_eq (blkmq_disk_alloc (config, &disk, &error), -EINVAL);
  ck_assert_ptr_nonnull (strstr (error.message, "max_sectors=1"));
  error.message[0] = '\0';
  ck_assert_int_eq (blkmq_tag_set_alloc (config, &set, &error), -EINVAL);
  ck_assert_ptr_nonnull (strstr (error.message, "max_sectors=1"));
  ck_assert_ptr_null (disk);
  ck_assert_ptr_null (set);
  /* Which may nevertheless be put. */
  blkmq_submitter_free (NULL);
  blkmq_disk_put (disk);
  blkmq_tag_set_put (set);
  blkmq_config_free (config);
  bed_drop (bed);
}
END_TEST

/* What the driver says goes before what the engine would say for it. */
START_TEST (test_error_of_open_has_a_message)
{
  struct bed *bed = bed_alloc ();
  struct blkmq_config *config = bed_config (bed, "");
  struct blkmq_error error = { "of before" };
  struct blkmq_disk *disk;

  bed->script.open_error = -ENXIO;
  ck_assert_int_eq (blkmq_disk_alloc (config, &disk, &error), -ENXIO);
  ck_assert_str_eq (error.message,
                    "driver=scripted: No such device or address");
  ck_assert_int_eq (blkmq_disk_alloc (config, &disk, NULL), -ENXIO);
  blkmq_config_free (config);
  bed_drop (bed);
}
END_TEST

START_TEST (test_tag_set_of_another_driver_is_refused)
{
  struct blkmq_tag_set *set = bed_set_alloc ("scripted", "");
  struct bed *bed = bed_alloc ();
  struct blkmq_config *config;
  struct blkmq_error error;
  struct blkmq_disk *disk;

  bed->script.driver = "scripted-bare";
  config = bed_config (bed, "");
  ck_assert_int_eq (blkmq_disk_alloc_in (set, config, &disk, &error), -EINVAL);
  ck_assert_str_eq (error.message, "driver=scripted-bare: contradicts the tag "
                                   "set, which has scripted; all disks of a "
                                   "set have the same driver and layers");
  ck_assert_uint_eq (bed->script.nr_closes, 1);
  blkmq_config_free (config);
  bed_set_free (set);
  bed_drop (bed);
}
END_TEST

START_TEST (test_disk_never_started_is_freed)
{
  struct bed *bed = bed_alloc ();

  ck_assert_int_eq (bed_alloc_disk (bed, "", false), 0);
  blkmq_disk_put (bed->disk);
  ck_assert_uint_eq (bed->script.nr_stops, 0);
  ck_assert_uint_eq (bed->script.nr_closes, 1);
  bed_drop (bed);
}
END_TEST

START_TEST (test_disk_tells_what_it_is)
{
  struct bed *bed
      = bed_start ("size=12345 submit_queues=3 hw_queue_depth=17 seed=42 "
                   "blocksize=4096 rotational=1 readonly=1");
  const struct blkmq_limits *limits = blkmq_disk_limits (bed->disk);

  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), 3);
  ck_assert_uint_eq (blkmq_disk_queue_depth (bed->disk), 17);
  ck_assert_uint_eq (blkmq_disk_seed (bed->disk), 42);
  ck_assert_str_eq (blkmq_disk_driver_name (bed->disk), "scripted");
  ck_assert_uint_eq (limits->size_bytes, 12345);
  ck_assert_uint_eq (limits->logical_block_bytes, 4096);
  ck_assert (limits->rotational && limits->read_only);
  ck_assert (!limits->volatile_cache && !limits->fua);
  bed_stop (bed);
}
END_TEST

START_TEST (test_fua_needs_a_volatile_cache)
{
  for (unsigned i = 0; i < 4; i++) {
    struct bed *bed = bed_alloc ();
    const struct blkmq_limits *limits;

    bed->script.volatile_cache = i & 1;
    bed->script.fua = i & 2;
    bed_open (bed, "");
    limits = blkmq_disk_limits (bed->disk);
    ck_assert_int_eq (limits->volatile_cache, (i & 1) != 0);
    ck_assert_int_eq (limits->fua, i == 3);
    bed_stop (bed);
  }
}
END_TEST

static int
note_extent (uint64_t offset_bytes, uint64_t bytes, unsigned type, void *opaque)
{
  uint64_t *extent = opaque;

  extent[0] = offset_bytes;
  extent[1] = bytes;
  extent[2] = type;
  return 7;
}

START_TEST (test_driver_without_extents_is_all_data)
{
  struct bed *bed = bed_start ("size=1000");
  uint64_t extent[3] = { 1, 1, 1 };

  ck_assert_int_eq (blkmq_disk_extents (bed->disk, 3, 997, note_extent, extent),
                    7);
  ck_assert_uint_eq (extent[0], 3);
  ck_assert_uint_eq (extent[1], 997);
  ck_assert_uint_eq (extent[2], 0);
  ck_assert_int_eq (blkmq_disk_extents (bed->disk, 3, 998, note_extent, extent),
                    -EINVAL);
  ck_assert_int_eq (
      blkmq_disk_extents (bed->disk, UINT64_MAX, 2, note_extent, extent),
      -EINVAL);
  ck_assert_int_eq (blkmq_disk_extents (bed->disk, 0, 0, note_extent, extent),
                    -EINVAL);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Start                                                                     */

/* Use up all file descriptors but NR.  Returns the old limit. */
static struct rlimit
leave_fds (unsigned nr)
{
  struct rlimit old, tight;
  FILE *probe = tmpfile ();
  int lowest;

  ck_assert_ptr_nonnull (probe);
  lowest = fileno (probe);
  fclose (probe);
  ck_assert_int_eq (getrlimit (RLIMIT_NOFILE, &old), 0);
  tight = old;
  tight.rlim_cur = (rlim_t)lowest + nr;
  ck_assert_int_eq (setrlimit (RLIMIT_NOFILE, &tight), 0);
  return old;
}

/* Whichever hctx it fails for; and it works later, ends on the loop included.
 */
START_TEST (test_start_may_be_tried_again)
{
  unsigned nr_fds;
  int r = -1;

  for (nr_fds = 0; r < 0; nr_fds++) {
    struct bed *bed = bed_alloc ();
    struct blkmq_error error = { "" };
    struct rlimit old;
    struct test_io t;

    ck_assert_uint_lt (nr_fds, 64);
    bed->script.on_queue = script_completes_inside;
    ck_assert_int_eq (
        bed_alloc_disk (bed, "submit_queues=3 irqmode=softirq", false), 0);
    old = leave_fds (nr_fds);
    r = blkmq_disk_start (bed->disk, &error);
    ck_assert_int_eq (setrlimit (RLIMIT_NOFILE, &old), 0);
    if (r < 0) {
      ck_assert_int_eq (r, -EMFILE);
      ck_assert_ptr_nonnull (strstr (error.message, "hctx"));
      bed_start_disk (bed);
    } else {
      bed->submitter = blkmq_submitter_alloc (bed->disk, 0);
      ck_assert_ptr_nonnull (bed->submitter);
    }
    for (unsigned hctx = 0; hctx < 3; hctx++) {
      struct blkmq_submitter *submitter
          = blkmq_submitter_alloc (bed->disk, hctx);

      test_io_init_early (&t, bed, BLKMQ_OP_READ, hctx);
      blkmq_submit (submitter, &t.io);
      await (t.nr_give_backs == 1);
      blkmq_submitter_free (submitter);
    }
    bed_stop (bed);
  }
  /* It did fail at times. */
  ck_assert_uint_gt (nr_fds, 3);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("disk");
  TCase *tcase;

  tcase = harness_case (suite, "alloc");
  tcase_add_test (tcase, test_failed_open_is_not_closed);
  tcase_add_test (tcase, test_failed_init_hctx_is_undone);
  tcase_add_test (tcase, test_failed_init_request_is_undone);
  tcase_add_test (tcase, test_limits_that_make_no_sense_are_refused);
  tcase_add_test (tcase, test_each_limit_that_makes_no_sense_is_refused);
  tcase_add_test (tcase, test_bad_configuration_makes_neither_disk_nor_tag_set);
  tcase_add_test (tcase, test_error_of_open_has_a_message);
  tcase_add_test (tcase, test_tag_set_of_another_driver_is_refused);
  tcase_add_test (tcase, test_disk_never_started_is_freed);
  tcase_add_test (tcase, test_disk_tells_what_it_is);
  tcase_add_test (tcase, test_fua_needs_a_volatile_cache);
  tcase_add_test (tcase, test_driver_without_extents_is_all_data);

  tcase = harness_case (suite, "start");
  tcase_add_test (tcase, test_start_may_be_tried_again);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
