/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-knobs.c: null_blk's knobs, a row each: a knob has its default, is set at
 * the start, and while the disk runs; each time it reads back and does what it
 * says; and what it cannot be is refused, with nothing changed.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "blkmq-control.h"
#include "front/exports.h"
#include "knobs.h"

#define NOT_A_BOOL                                                             \
  "not a boolean; must be 1, true, yes, on or 0, false, no, off"
#define FAULT_STRING                                                           \
  "must be <interval>,<probability>,<space>,<times>: four whole numbers, "     \
  "times -1 for no limit; empty is off"

/* ------------------------------------------------------------------------ */
/* The table                                                                 */

static const struct knob knobs[] = {
  {
      .name = "size",
      .start = { "1536k", .effect = size_is, .wanted = 1536 * 1024 },
      .refused
      = { { "0", "must be a size from 1 to 9223372036854775807 (bytes; "
                 "suffixes b s k M G T P E)" },
          { "8E", "must be a size from 1 to 9223372036854775807" },
          { "16E", "too large; must be a size from 1" },
          { "-1", "negative; must be a size from 1" },
          { "1.5G", "a fraction; must be a size from 1" } },
  },
  {
      .name = "blocksize",
      .unset = { "512", .effect = block_is, .wanted = 512 },
      .start = { "4k", .effect = block_is, .wanted = 4096 },
      .refused
      = { { "256", "must be a power of two from 512 to 65536 (bytes; " },
          { "128k", "must be a power of two from 512 to 65536 (bytes; " },
          { "1000", "must be a power of two from 512 to 65536 (bytes; " } },
  },
  {
      .name = "max_sectors",
      .unset = { "0", .effect = requests_have_at_most, .wanted = 0 },
      .start = { "8", .effect = requests_have_at_most, .wanted = 8 },
      .refused
      = { { "8388608",
            "must be a whole number from 0 to 8388607 (512-byte sectors)" },
          { "4k", "not a number; must be a whole number from 0 to 8388607" },
          { "12", "contradicts blocksize=4096; must be 0 or a multiple of 8",
            .instead = "blocksize=4096" } },
  },
  {
      .name = "submit_queues",
      .unset = { "1", .effect = submitters_have_hctxs, .wanted = 1 },
      .start = { "2", .effect = submitters_have_hctxs, .wanted = 2 },
      .live = { "5", .effect = submitters_have_hctxs, .wanted = 5 },
      .refused = { { "0", "must be a whole number from 1 to 1024" },
                   { "1025", "must be a whole number from 1 to 1024" },
                   { "two", "not a number; must be a whole number" } },
  },
  {
      .name = "poll_queues",
      .driver = "scripted-poll",
      .unset = { "0", .effect = polled_ios_have_hctxs, .wanted = 0 },
      .start = { "1", .effect = polled_ios_have_hctxs, .wanted = 1 },
      .live = { "3", .effect = polled_ios_have_hctxs, .wanted = 3 },
      .refused = { { "1024", "must be a whole number from 0 to 1023" },
                   { "1023",
                     "contradicts submit_queues=2; together they must be at "
                     "most 1024",
                     .instead = "submit_queues=2" },
                   { "-1", "negative; must be a whole number" } },
  },
  {
      .name = "hw_queue_depth",
      .unset = { "64", .effect = hctx_has_in_flight, .wanted = 64 },
      .start = { "3", .effect = hctx_has_in_flight, .wanted = 3 },
      .live = { "100", .effect = hctx_has_in_flight, .wanted = 100 },
      .refused = { { "0", "must be a whole number from 1 to 10240" },
                   { "10241", "must be a whole number from 1 to 10240" },
                   { "", "empty; must be a whole number from 1 to 10240" } },
  },
  {
      .name = "irqmode",
      .unset = { "none", .effect = ends_where_the_driver_is },
      .start = { "1", "softirq", ends_at_a_turn },
      .live = { "timer", .effect = ends_after, .wanted = 10 * US },
      .refused
      = { { "3", "unknown word; must be one of none, softirq, timer (or 0 to "
                 "2)" },
          { "hardirq", "unknown word; must be one of none, softirq, timer" } },
  },
  {
      .name = "completion_nsec",
      .with = "irqmode=timer",
      .unset = { "10000", .effect = ends_after, .wanted = 10 * US },
      .start = { "2.5ms", .effect = ends_after, .wanted = 2500 * US },
      .live = { "70001", .effect = ends_after, .wanted = 70001 },
      .refused
      = { { "86400000000001",
            "must be a time from 0 to 86400000000000 (ns; suffixes ns us ms "
            "s)" },
          { "1.5ns", "not a whole number of ns; must be a time from 0" },
          { "1m", "unknown suffix; must be a time from 0" },
          { "10us", "contradicts irqmode=softirq; needs irqmode=timer",
            .instead = "irqmode=softirq" } },
  },
  {
      .name = "blocking",
      .has_threads = true,
      .unset = { "0", .effect = driver_blocks_the_submitter, .wanted = 1 },
      .start = { "1", .effect = driver_blocks_the_submitter, .wanted = 0 },
      .refused = { { "2", NOT_A_BOOL } },
  },
  {
      .name = "no_sched",
      .key = "scheduler",
      .with = "hw_queue_depth=1 nr_requests=8",
      .unset = { "none", .effect = waiting_are_sorted, .wanted = 0 },
      .start = { "mq-deadline", .effect = waiting_are_sorted, .wanted = 1 },
      .live = { "0", "none", waiting_are_sorted, 0 },
      .refused
      = { { "bfq", "unknown word; must be one of none, mq-deadline (or 0 to "
                   "1)" },
          { "2", "unknown word; must be one of none, mq-deadline" } },
  },
  {
      .name = "shared_tag_bitmap",
      .with = "submit_queues=2 hw_queue_depth=8",
      .unset = { "0", .effect = two_hctxs_have_in_flight, .wanted = 16 },
      .start = { "yes", .effect = two_hctxs_have_in_flight, .wanted = 8 },
      .refused = { { "2", NOT_A_BOOL }, { "", NOT_A_BOOL } },
  },
  {
      .name = "memory_backed",
      .key = "driver",
      .driver = "memory",
      .unset = { "memory", .effect = data_is_kept, .wanted = 1 },
      .start = { "null", .effect = data_is_kept, .wanted = 0 },
      .refused = { { "memroy", "must be one of memory, null" } },
  },
  {
      .name = "discard",
      .driver = "memory",
      .unset = { "1", .effect = discards, .wanted = 1 },
      .start = { "off", .effect = discards, .wanted = 0 },
      .refused = { { "2", NOT_A_BOOL } },
  },
  {
      .name = "cache_size",
      .with = "size=2M",
      .unset = { "0", .effect = cache_has_pages, .wanted = 0 },
      .start = { "1", .effect = cache_has_pages, .wanted = 256 },
      .refused = { { "3k", "must be 0 (none) or at least 4096 bytes" },
                   { "8k",
                     "must be 0 (none) or at least 16384 bytes, with "
                     "blocksize=16k",
                     .instead = "blocksize=16k" },
                   { "1.5", "a fraction; must be a size from 0 to " },
                   { "1X", "unknown suffix; must be a size from 0 to " } },
  },
  {
      .name = "fua",
      .with = "cache_size=64k",
      .unset = { "1", .effect = fua_passes_the_cache, .wanted = 1 },
      .start = { "0", .effect = fua_passes_the_cache, .wanted = 0 },
      .refused = { { "-1", NOT_A_BOOL } },
  },
  {
      .name = "mbps",
      .unset = { "0", .effect = data_takes, .wanted = 0 },
      .start = { "1", .effect = data_takes, .wanted = 1000 * MS },
      .live = { "2048k", .effect = data_takes, .wanted = 500 * MS },
      .refused
      = { { "40961", "must be a size from 0 to 42949672960 bytes (MiB without "
                     "a suffix; suffixes b s k M G T P E)" },
          { "0.5", "a fraction; must be a size from 0" } },
  },
  {
      .name = "virt_boundary",
      .unset = { "0", .effect = requests_have_gaps, .wanted = 1 },
      .start = { "1", .effect = requests_have_gaps, .wanted = 0 },
      .refused = { { "4095", NOT_A_BOOL } },
  },
  {
      .name = "rotational",
      .unset = { "0", .effect = is_rotational, .wanted = 0 },
      .start = { "true", .effect = is_rotational, .wanted = 1 },
      .refused = { { "7200", NOT_A_BOOL } },
  },
  {
      .name = "badblocks",
      .unset = { "-0-2047", "", is_bad, NO_SECTORS },
      .start = { "+5-15,-5-7", "+8-15", is_bad, SECTORS (8, 15) },
      .live = { "-0-2047,+20-20", "+20-20", is_bad, SECTORS (20, 20) },
      .refused
      = { { "+8-7", "must be +START-END (bad) or -START-END (good)" },
          { "8-9", "must be +START-END (bad) or -START-END (good)" },
          { "+1-1,+0-2048", "in sectors of 512 bytes from 0 to 2047" },
          { "+1-1,-", "must be +START-END (bad) or -START-END (good)" } },
  },
  {
      .name = "badblocks_once",
      .with = "badblocks=+40-40",
      .unset = { "0", .effect = bad_is_hit, .wanted = 2 },
      .start = { "1", .effect = bad_is_hit, .wanted = 1 },
      .live = { "false", .effect = bad_is_hit, .wanted = 2 },
      .refused = { { "twice", NOT_A_BOOL } },
  },
  {
      .name = "badblocks_partial_io",
      .with = "badblocks=+8-15",
      .unset = { "0", .effect = good_before_bad_is_done, .wanted = 0 },
      .start = { "1", .effect = good_before_bad_is_done, .wanted = 4 },
      .live = { "false", .effect = good_before_bad_is_done, .wanted = 0 },
      .refused = { { "some", NOT_A_BOOL } },
  },
  {
      .name = "power",
      .unset = { "1", .effect = has_power, .wanted = 1 },
      .start = { "0", .effect = has_power, .wanted = 0 },
      .live = { "off", "0", has_power, 0 },
      .refused = { { "2", NOT_A_BOOL }, { "", NOT_A_BOOL } },
  },
  {
      .name = "timeout",
      .with = "io_timeout=100",
      .unset = { "", .effect = each_nth_times_out, .wanted = 0 },
      .start = { "3,100,0,-1", .effect = each_nth_times_out, .wanted = 3 },
      .live = { "2,100,0,-1", .effect = each_nth_times_out, .wanted = 2 },
      .refused
      = { { "1,101,0,-1", "probability=101: must be a whole number from 0 to "
                          "100 (percent)" },
          { "0,100,0,-1", "interval=0: must be a whole number from 1 to " },
          { "1,100,0,-2", "or -1 for no limit" },
          { "1,100,0", FAULT_STRING },
          { "1,100,0,-1",
            "contradicts io_timeout=0; needs an io_timeout, without which "
            "nothing would end such a request",
            .instead = "io_timeout=0" } },
  },
  {
      .name = "requeue",
      .unset = { "", .effect = each_nth_is_sent_back, .wanted = 0 },
      .start = { "3,100,0,-1", .effect = each_nth_is_sent_back, .wanted = 3 },
      .live = { "2,100,0,-1", .effect = each_nth_is_sent_back, .wanted = 2 },
      .refused = { { "1,-1,0,-1", "probability=-1: negative; must be" },
                   { "1,100,none,-1", "space=none: not a number; must be" },
                   { "1,100,0,-1,0", FAULT_STRING } },
  },
  {
      .name = "init_hctx",
      .unset = { "", .effect = new_hctxs_fail, .wanted = 0 },
      .start = { "1,100,1,-1", .effect = new_hctxs_fail, .wanted = 1 },
      .live = { "1,100,0,-1", .effect = new_hctxs_fail, .wanted = 1 },
      .refused = { { "always", "interval=always: not a number; must be" },
                   { "1,100,0,many", "times=many: not a number; must be" } },
  },
};

/* The names as null_blk has them, but for the zones; one of them is the
 * server's, and has a test of its own below. */
static const char *const null_blk_names[] = {
  "size",           "blocksize",
  "max_sectors",    "submit_queues",
  "poll_queues",    "hw_queue_depth",
  "irqmode",        "completion_nsec",
  "blocking",       "no_sched",
  "shared_tags",    "shared_tag_bitmap",
  "memory_backed",  "discard",
  "cache_size",     "fua",
  "mbps",           "virt_boundary",
  "rotational",     "badblocks",
  "badblocks_once", "badblocks_partial_io",
  "power",          "timeout",
  "requeue",        "init_hctx",
};

/* What null_blk has not: it is the kernel's block layer that has it, or nobody.
 * Those of the front end and of the drivers are among them. */
static const char *const own_keys[] = {
  "nr_requests",
  "nomerges",
  "read_expire",
  "write_expire",
  "prio_aging_expire",
  "fifo_batch",
  "writes_starved",
  "front_merges",
  "spin_ns",
  "io_timeout",
  "iostats",
  "readonly",
  "live",
  "seed",
  "iops",
  "delay_read",
  "delay_write",
  "delay_flush",
  "delay_discard",
  "delay_zero",
  "media_delay_read",
  "media_delay_write",
  "media_delay_flush",
  "media_delay_discard",
  "media_delay_zero",
  "fault",
  "memory_limit",
  "hugepages",
  "export",
  "description",
  "control",
};

static const char *
key_of (const struct knob *knob)
{
  return knob->key != NULL ? knob->key : knob->name;
}

static bool
is_in (const char *name, const char *const *names, size_t nr)
{
  for (size_t i = 0; i < nr; i++) {
    if (strcmp (name, names[i]) == 0)
      return true;
  }
  return false;
}

static const struct knob *
find_row (const char *name)
{
  for (size_t i = 0; i < NR (knobs); i++) {
    if (strcmp (name, knobs[i].name) == 0)
      return &knobs[i];
  }
  return NULL;
}

START_TEST (test_each_knob_of_null_blk_has_a_row)
{
  for (size_t i = 0; i < NR (null_blk_names); i++)
    ck_assert_msg ((find_row (null_blk_names[i]) != NULL)
                       != (strcmp (null_blk_names[i], "shared_tags") == 0),
                   "%s", null_blk_names[i]);
  for (size_t i = 0; i < NR (knobs); i++)
    ck_assert_msg (is_in (knobs[i].name, null_blk_names, NR (null_blk_names)),
                   "%s", knobs[i].name);
}
END_TEST

static int
check_is_known (const struct blkmq_driver *driver, const struct blkmq_key *key,
                void *opaque)
{
  bool *seen = opaque; /* of own_keys */

  for (size_t i = 0; i < NR (knobs); i++) {
    if (strcmp (key->name, key_of (&knobs[i])) != 0)
      continue;
    /* It says itself whether it can be changed. */
    ck_assert_msg (key->live == (knobs[i].live.value != NULL), "%s", key->name);
    return 0;
  }
  for (size_t i = 0; i < NR (own_keys); i++) {
    if (strcmp (key->name, own_keys[i]) == 0) {
      seen[i] = true;
      return 0;
    }
  }
  ck_assert_msg (strcmp (key->name, "shared_tags") == 0,
                 "%s: neither null_blk's nor in the list of own keys",
                 key->name);
  return 0;
}

/* Who adds a key says which of the two it is. */
START_TEST (test_each_key_is_null_blks_or_our_own)
{
  bool seen[NR (own_keys)] = { false };

  ck_assert_int_eq (front_for_each_key (check_is_known, seen), 0);
  for (size_t i = 0; i < NR (own_keys); i++)
    ck_assert_msg (seen[i], "there is no %s", own_keys[i]);
}
END_TEST

/* The next line of the section's table: "NAME KEY live|start ...". */
static bool
next_in_manual (FILE *manual, char *name, char *key, char *when)
{
  char line[256];

  while (fgets (line, sizeof line, manual) != NULL) {
    if (sscanf (line, " %31s %31s %7s", name, key, when) == 3
        && (strcmp (when, "live") == 0 || strcmp (when, "start") == 0))
      return true;
    if (strncmp (line, "=head1", 6) == 0)
      return false;
  }
  return false;
}

/* In the order of the list. */
START_TEST (test_the_manual_has_each_knob)
{
  FILE *manual = fopen (MANUAL, "r");
  char line[256] = "", name[32], key[32], when[8];
  size_t nr = 0;

  ck_assert_msg (manual != NULL, "%s: %s", MANUAL, strerror (errno));
  while (strcmp (line, "=head1 THE KNOBS OF NULL_BLK\n") != 0)
    ck_assert_ptr_nonnull (fgets (line, sizeof line, manual));
  for (; next_in_manual (manual, name, key, when); nr++) {
    const struct knob *knob = find_row (name);

    ck_assert_uint_lt (nr, NR (null_blk_names));
    ck_assert_str_eq (name, null_blk_names[nr]);
    ck_assert_str_eq (key, knob != NULL ? key_of (knob) : name);
    ck_assert_str_eq (when, knob != NULL && knob->live.value != NULL ? "live"
                                                                     : "start");
  }
  ck_assert_uint_eq (nr, NR (null_blk_names));
  fclose (manual);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* A disk with a knob                                                        */

static const char *
driver_of (const struct knob *knob)
{
  return knob->driver != NULL ? knob->driver : "scripted";
}

/* "a=1 b=2". */
static void
set_words (struct blkmq_config *config, const char *words)
{
  char *copy = strdup (words), *save, *word;
  struct blkmq_error error;

  ck_assert_ptr_nonnull (copy);
  for (word = strtok_r (copy, " ", &save); word != NULL;
       word = strtok_r (NULL, " ", &save)) {
    char *value = strchr (word, '=');

    ck_assert_ptr_nonnull (value);
    *value++ = '\0';
    ck_assert_msg (blkmq_config_set (config, word, value, &error) == 0, "%s",
                   error.message);
  }
  free (copy);
}

/* All but the knob itself. */
static struct blkmq_config *
make_config (const struct knob *knob, struct bed *bed, const char *with)
{
  const char *key = key_of (knob);
  struct blkmq_config *config;

  bed->script.driver = driver_of (knob);
  bed->script.max_hctxs = 8;
  bed->script.depth = 128;
  /* Makes the driver known, and the next disk that it opens BED's. */
  blkmq_config_free (bed_config (bed, ""));
  config = blkmq_config_alloc ();
  ck_assert_ptr_nonnull (config);
  if (strcmp (key, "driver") != 0)
    ck_assert_int_eq (
        blkmq_config_set (config, "driver", driver_of (knob), NULL), 0);
  if (with != NULL)
    set_words (config, with);
  if (strcmp (key, "size") != 0 && !blkmq_config_is_set (config, "size"))
    set_words (config, "size=1M");
  return config;
}

static int
alloc_disk (const struct knob *knob, struct bed *bed,
            struct blkmq_config *config)
{
  bool manual = !knob->has_threads;
  struct disk_options options
      = { .clock = manual ? &bed->clock : NULL, .manual_loops = manual };

  return disk_alloc (config, &options, NULL, &bed->disk, &bed->error);
}

/* With the knob at VALUE; NULL: not set. */
static struct bed *
open_bed (const struct knob *knob, const char *with, const char *value,
          bool is_live)
{
  struct bed *bed = bed_alloc ();
  struct blkmq_config *config = make_config (knob, bed, with);
  const char *key = key_of (knob);

  if (is_live)
    set_words (config, "live=1");
  ck_assert_msg (value == NULL
                     || blkmq_config_set (config, key, value, &bed->error) == 0,
                 "%s", bed->error.message);
  ck_assert_msg (blkmq_config_check (config, &bed->error) == 0, "%s",
                 bed->error.message);
  ck_assert_msg (alloc_disk (knob, bed, config) == 0, "%s", bed->error.message);
  blkmq_config_free (config);
  bed_start_disk (bed);
  return bed;
}

static int
set_live (const struct knob *knob, struct bed *bed, const char *value)
{
  const struct blkmq_setting setting = { key_of (knob), value };

  bed->error.message[0] = '\0';
  return blkmq_disk_set (bed->disk, &setting, 1, &bed->error);
}

static void
must_set_live (const struct knob *knob, struct bed *bed, const char *value)
{
  ck_assert_msg (set_live (knob, bed, value) == 0, "%s", bed->error.message);
}

static void
check_reads (const struct knob *knob, struct bed *bed,
             const struct knob_value *value)
{
  const char *wanted = value->reads != NULL ? value->reads : value->value;
  char text[64];
  int r = blkmq_disk_get_key (bed->disk, key_of (knob), text, sizeof text,
                              &bed->error);

  ck_assert_msg (r >= 0, "%s", bed->error.message);
  ck_assert_str_eq (text, wanted);
  ck_assert_int_eq (r, strlen (wanted));
}

/* It reads back, and does what it says, not only once. */
static void
check_is (const struct knob *knob, struct bed *bed,
          const struct knob_value *value)
{
  check_reads (knob, bed, value);
  for (unsigned i = 0; i < 2; i++) {
    value->effect (bed, value->wanted);
    bed_check_idle (bed);
  }
  check_reads (knob, bed, value);
}

/* The message names key, value, and what is allowed. */
static void
check_refusal (const struct knob *knob, const char *value, const char *part,
               int r, const struct blkmq_error *error)
{
  char named[128];

  ck_assert_int_eq (r, -EINVAL);
  snprintf (named, sizeof named, "%s=%s: ", key_of (knob), value);
  ck_assert_msg (strstr (error->message, named) == error->message
                     && strstr (error->message, part) != NULL,
                 "wanted: %s...%s\n   was: %s", named, part, error->message);
}

/* ------------------------------------------------------------------------ */
/* Each row                                                                  */

/* A failure of a loop test has only a number. */
static const struct knob *
knob_at (int i)
{
  printf ("%s:\n", knobs[i].name);
  fflush (stdout);
  return &knobs[i];
}

START_TEST (test_knob_has_its_default)
{
  const struct knob *knob = knob_at (_i);
  struct bed *bed;

  if (knob->unset.value == NULL) {
    struct blkmq_config *config;

    bed = bed_alloc ();
    config = make_config (knob, bed, knob->with);
    ck_assert_int_eq (blkmq_config_check (config, &bed->error), -EINVAL);
    ck_assert_ptr_eq (strstr (bed->error.message, key_of (knob)),
                      bed->error.message);
    ck_assert_ptr_nonnull (strstr (bed->error.message, ": required; must be "));
    blkmq_config_free (config);
    bed_drop (bed);
    return;
  }
  bed = open_bed (knob, knob->with, NULL, false);
  check_is (knob, bed, &knob->unset);
  bed_stop (bed);
}
END_TEST

START_TEST (test_knob_is_set_at_the_start)
{
  const struct knob *knob = knob_at (_i);
  struct bed *bed = open_bed (knob, knob->with, knob->start.value, false);

  check_is (knob, bed, &knob->start);
  bed_stop (bed);
}
END_TEST

static void
check_cannot_be_changed (const struct knob *knob)
{
  struct bed *bed = open_bed (knob, knob->with, knob->start.value, true);
  const char *value
      = knob->unset.value != NULL ? knob->unset.value : knob->start.value;

  check_refusal (knob, value, ": cannot be changed while the disk runs",
                 set_live (knob, bed, value), &bed->error);
  check_is (knob, bed, &knob->start);
  bed_stop (bed);
}

/* From what was set at the start, and from nothing; and back. */
START_TEST (test_knob_is_set_while_the_disk_runs)
{
  const struct knob *knob = knob_at (_i);

  if (knob->live.value == NULL) {
    check_cannot_be_changed (knob);
    return;
  }
  for (unsigned i = 0; i < 2; i++) {
    const struct knob_value *before = i == 0 ? &knob->start : &knob->unset;
    struct bed *bed
        = open_bed (knob, knob->with, i == 0 ? before->value : NULL, true);

    check_is (knob, bed, before);
    must_set_live (knob, bed, knob->live.value);
    check_is (knob, bed, &knob->live);
    must_set_live (knob, bed, knob->unset.value);
    check_reads (knob, bed, &knob->unset);
    knob->unset.effect (bed, knob->unset.wanted);
    must_set_live (knob, bed, knob->live.value);
    check_is (knob, bed, &knob->live);
    bed_stop (bed);
  }
}
END_TEST

static const char *
keys_beside (const struct knob *knob, const struct knob_refusal *refusal)
{
  return refusal->instead != NULL ? refusal->instead : knob->with;
}

/* A value is refused by itself, or because of what else there is. */
static int
try_at_start (const struct knob *knob, struct bed *bed,
              struct blkmq_config *config, const char *value)
{
  int r = blkmq_config_set (config, key_of (knob), value, &bed->error);

  if (r < 0) {
    /* It is as if nothing had been said: a good one is taken. */
    ck_assert (!blkmq_config_is_set (config, key_of (knob)));
    ck_assert_int_eq (
        blkmq_config_set (config, key_of (knob), knob->start.value, NULL), 0);
    return r;
  }
  return blkmq_config_check (config, &bed->error);
}

START_TEST (test_knob_is_not_set_to_what_it_cannot_be)
{
  const struct knob *knob = knob_at (_i);
  unsigned nr = 0;

  for (const struct knob_refusal *refusal = knob->refused;
       nr < NR (knob->refused) && refusal->value != NULL; refusal++, nr++) {
    struct bed *bed = bed_alloc ();
    struct blkmq_config *config
        = make_config (knob, bed, keys_beside (knob, refusal));
    int r = try_at_start (knob, bed, config, refusal->value);

    check_refusal (knob, refusal->value, refusal->part, r, &bed->error);
    blkmq_config_free (config);
    bed_drop (bed);
  }
  ck_assert_uint_gt (nr, 0);
}
END_TEST

START_TEST (test_knob_does_not_become_what_it_cannot_be)
{
  const struct knob *knob = knob_at (_i);

  if (knob->live.value == NULL)
    return; /* see check_cannot_be_changed */
  for (unsigned i = 0; i < NR (knob->refused); i++) {
    const struct knob_refusal *refusal = &knob->refused[i];
    const struct knob_value *before
        = refusal->instead == NULL ? &knob->start : &knob->unset;
    struct bed *bed;
    int r;

    if (refusal->value == NULL)
      break;
    bed = open_bed (knob, keys_beside (knob, refusal),
                    refusal->instead == NULL ? before->value : NULL, true);
    r = set_live (knob, bed, refusal->value);
    check_refusal (knob, refusal->value, refusal->part, r, &bed->error);
    if (refusal->instead == NULL)
      check_is (knob, bed, before);
    else
      check_reads (knob, bed, before); /* it may not show beside those keys */
    bed_stop (bed);
  }
}
END_TEST

/* ------------------------------------------------------------------------ */
/* The server's                                                              */

#define NR_IOS 6
#define DEPTH 4

/* How many requests two disks have that are given NR_IOS each. */
static uint64_t
nr_in_flight (struct exports *exports)
{
  static struct test_io t[2][NR_IOS];
  struct blkmq_submitter *submitters[2];
  struct bed bed = { .nr_events = 0 };
  struct blkmq_stats stats;
  uint64_t nr = 0;

  ck_assert_int_eq (exports_start (exports, NULL), 0);
  for (unsigned i = 0; i < 2; i++) {
    struct blkmq_disk *disk = exports_at (exports, i)->disk;

    submitters[i] = blkmq_submitter_alloc (disk, 0);
    ck_assert_ptr_nonnull (submitters[i]);
    for (unsigned n = 0; n < NR_IOS; n++) {
      test_io_init (&t[i][n], &bed, BLKMQ_OP_READ, 2 * n);
      blkmq_submit (submitters[i], &t[i][n].io);
    }
    ck_assert_int_eq (blkmq_disk_stats (disk, BLKMQ_HCTX_ANY, &stats), 0);
    nr += stats.in_flight[BLKMQ_OP_READ];
    ck_assert_uint_eq (stats.waiting, NR_IOS - stats.in_flight[BLKMQ_OP_READ]);
  }
  exports_remove (exports);
  for (unsigned i = 0; i < 2; i++) {
    for (unsigned n = 0; n < NR_IOS; n++)
      assert_ended (&t[i][n], BLKMQ_STS_OFFLINE);
    blkmq_submitter_free (submitters[i]);
  }
  return nr;
}

/* Nothing of these completes within a day. */
START_TEST (test_shared_tags_is_a_knob_of_the_server)
{
  static const struct {
    const char *value;
    uint64_t nr;
  } cases[] = { { NULL, 2 * DEPTH }, { "0", 2 * DEPTH }, { "1", DEPTH } };
  static const char *const words[][2]
      = { { "size", "1M" },       { "hw_queue_depth", "4" },
          { "irqmode", "timer" }, { "completion_nsec", "86400s" },
          { "export", "a" },      { "export", "b" } };
  const struct blkmq_setting setting = { "shared_tags", "1" };
  struct blkmq_error error;

  for (size_t i = 0; i < NR (cases); i++) {
    struct exports *exports = exports_alloc ();
    const char *value;

    ck_assert_int_eq (exports_set (exports, "shared_tags", "2", &error),
                      -EINVAL);
    ck_assert_str_eq (error.message, "shared_tags=2: " NOT_A_BOOL);
    if (cases[i].value != NULL)
      ck_assert_int_eq (
          exports_set (exports, "shared_tags", cases[i].value, NULL), 0);
    for (size_t n = 0; n < NR (words); n++)
      ck_assert_int_eq (exports_set (exports, words[n][0], words[n][1], NULL),
                        0);
    ck_assert_int_eq (exports_set (exports, "shared_tags", "1", &error),
                      -EINVAL);
    ck_assert_int_eq (exports_check (exports, &error), 0);
    value = exports_server_value (exports, FRONT_SHARED_TAGS);
    if (cases[i].value == NULL)
      ck_assert_ptr_null (value);
    else
      ck_assert_str_eq (value, cases[i].value);
    ck_assert_int_eq (exports_set_up (exports, &error), 0);
    ck_assert_uint_eq (nr_in_flight (exports), cases[i].nr);
    exports_free (exports);
  }

  /* A disk has no such key. */
  struct bed *bed = bed_start ("live=1");

  ck_assert_int_eq (blkmq_disk_set (bed->disk, &setting, 1, &error), -EINVAL);
  ck_assert_ptr_nonnull (strstr (error.message, "shared_tags=1: unknown key"));
  bed_stop (bed);
}
END_TEST

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("knobs");
  TCase *tcase = harness_case (suite, "lists");

  tcase_add_test (tcase, test_each_knob_of_null_blk_has_a_row);
  tcase_add_test (tcase, test_each_key_is_null_blks_or_our_own);
  tcase_add_test (tcase, test_the_manual_has_each_knob);

  tcase = harness_case (suite, "rows");
  tcase_add_loop_test (tcase, test_knob_has_its_default, 0, NR (knobs));
  tcase_add_loop_test (tcase, test_knob_is_set_at_the_start, 0, NR (knobs));
  tcase_add_loop_test (tcase, test_knob_is_set_while_the_disk_runs, 0,
                       NR (knobs));
  tcase_add_loop_test (tcase, test_knob_is_not_set_to_what_it_cannot_be, 0,
                       NR (knobs));
  tcase_add_loop_test (tcase, test_knob_does_not_become_what_it_cannot_be, 0,
                       NR (knobs));

  tcase = harness_case (suite, "server");
  tcase_add_test (tcase, test_shared_tags_is_a_knob_of_the_server);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
