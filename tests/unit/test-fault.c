/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-fault.c: the fault layer: what rules and fault strings do to requests,
 * and how rules come and go.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "blkmq-control.h"
#include "engine/stack.h"
#include "harness.h"
#include "layers/fault.h"

/* ------------------------------------------------------------------------ */
/* Rules of a bed                                                            */

static struct bed *
start (const char *keys)
{
  struct bed *bed = bed_alloc ();

  bed->script.on_queue = script_completes_inside;
  bed_open (bed, keys);
  return bed;
}

static uint64_t
add (struct bed *bed, const char *rule)
{
  struct blkmq_error error;
  uint64_t id = 0;

  if (blkmq_disk_add_fault (bed->disk, rule, &id, &error) < 0) {
    fprintf (stderr, "%s\n", error.message);
    abort ();
  }
  return id;
}

static void delete (struct bed *bed, uint64_t id)
{
  require (blkmq_disk_delete_fault (bed->disk, id, NULL) == 0);
}

/* What is listed: "ID RULE hits HITS held HELD\n" for each. */
struct list {
  char text[16384];
  size_t used;
};

static int
lists (const struct blkmq_fault *fault, void *opaque)
{
  struct list *list = opaque;

  list->used += (size_t)snprintf (
      list->text + list->used, sizeof list->text - list->used,
      "%llu %s hits %llu held %llu\n", (unsigned long long)fault->id,
      fault->rule, (unsigned long long)fault->hits,
      (unsigned long long)fault->nr_held);
  require (list->used < sizeof list->text);
  return 0;
}

static void
check_list (struct bed *bed, const char *expected)
{
  static struct list list;

  memset (&list, 0, sizeof list);
  ck_assert_int_eq (blkmq_disk_for_each_fault (bed->disk, lists, &list), 0);
  ck_assert_str_eq (list.text, expected);
}

/* Of rule ID. */
struct finding {
  uint64_t id;
  struct blkmq_fault found;
};

static int
finds (const struct blkmq_fault *fault, void *opaque)
{
  struct finding *finding = opaque;

  if (fault->id != finding->id)
    return 0;
  finding->found = *fault;
  return 1;
}

static struct blkmq_fault
fault_of (struct bed *bed, uint64_t id)
{
  struct finding finding = { .id = id };

  require (blkmq_disk_for_each_fault (bed->disk, finds, &finding) == 1);
  return finding.found;
}

/* What a request of OP at BLOCK ends with, at once. */
static enum blkmq_status
outcome (struct bed *bed, enum blkmq_op op, uint64_t block)
{
  struct test_io t;

  test_io_init (&t, bed, op, block);
  if (op == BLKMQ_OP_FLUSH)
    t.io.offset_bytes = t.io.bytes = t.io.nr_segments = 0;
  blkmq_submit (bed->submitter, &t.io);
  ck_assert_uint_eq (t.nr_ends, 1);
  return (enum blkmq_status)t.status;
}

#define check_outcome(bed, op, block, wanted)                                  \
  ck_assert_str_eq (blkmq_status_name (outcome (bed, op, block)),              \
                    blkmq_status_name (wanted))

/* ------------------------------------------------------------------------ */
/* Which requests                                                            */

START_TEST (test_rule_is_for_its_operations)
{
  struct bed *bed = start ("live=1");

  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    static const char *const rules[]
        = { "op=read", "op=write", "op=flush", "op=trim", "op=zero" };
    uint64_t id = add (bed, rules[op]);

    for (unsigned other = 0; other < BLKMQ_NR_OPS; other++)
      check_outcome (bed, (enum blkmq_op)other, 0,
                     other == op ? BLKMQ_STS_IOERR : BLKMQ_STS_OK);
    ck_assert_uint_eq (fault_of (bed, id).hits, 1);
    delete (bed, id);
    check_outcome (bed, (enum blkmq_op)op, 0, BLKMQ_STS_OK);
  }
  add (bed, "op=read|trim");
  check_outcome (bed, BLKMQ_OP_READ, 0, BLKMQ_STS_IOERR);
  check_outcome (bed, BLKMQ_OP_WRITE, 0, BLKMQ_STS_OK);
  check_outcome (bed, BLKMQ_OP_DISCARD, 0, BLKMQ_STS_IOERR);
  bed_stop (bed);
}
END_TEST

START_TEST (test_rule_is_for_what_touches_its_sectors)
{
  struct bed *bed = start ("fault=sectors=8-9");
  struct test_io t;
  char data[4 * BLOCK_BYTES];

  check_outcome (bed, BLKMQ_OP_READ, 7, BLKMQ_STS_OK);
  check_outcome (bed, BLKMQ_OP_READ, 8, BLKMQ_STS_IOERR);
  check_outcome (bed, BLKMQ_OP_WRITE, 9, BLKMQ_STS_IOERR);
  check_outcome (bed, BLKMQ_OP_DISCARD, 10, BLKMQ_STS_OK);
  check_outcome (bed, BLKMQ_OP_FLUSH, 0, BLKMQ_STS_OK);
  for (unsigned first = 3; first <= 11; first++) {
    test_io_init (&t, bed, BLKMQ_OP_READ, first);
    t.segment = (struct iovec){ data, sizeof data };
    t.io.bytes = sizeof data;
    blkmq_submit (bed->submitter, &t.io);
    assert_ended (&t,
                  first >= 5 && first <= 9 ? BLKMQ_STS_IOERR : BLKMQ_STS_OK);
  }
  check_list (bed, "1 at=bus,op=any,sectors=8-9,status=ioerr hits 7 held 0\n");
  bed_stop (bed);
}
END_TEST

START_TEST (test_sectors_past_the_end_are_refused)
{
  struct bed *bed = bed_alloc ();
  uint64_t id;

  /* 1 MiB is 2048 sectors. */
  ck_assert_int_eq (bed_alloc_disk (bed, "fault=sectors=0-2048", true),
                    -EINVAL);
  ck_assert_str_eq (bed->error.message,
                    "fault=at=bus,op=any,sectors=0-2048,status=ioerr: the last "
                    "sector of the disk is 2047");
  bed_drop (bed);
  bed = start ("live=1");
  ck_assert_int_eq (
      blkmq_disk_add_fault (bed->disk, "sectors=2048-2048", &id, &bed->error),
      -EINVAL);
  ck_assert (strstr (bed->error.message, "is 2047") != NULL);
  check_list (bed, "");
  ck_assert_uint_eq (add (bed, "sectors=2047-2047"), 1);
  check_outcome (bed, BLKMQ_OP_READ, 2047, BLKMQ_STS_IOERR);
  bed_stop (bed);
}
END_TEST

START_TEST (test_rule_ends_with_its_status)
{
  struct bed *bed = start ("live=1");

  for (unsigned status = 0; status < BLKMQ_NR_STATUSES; status++) {
    char rule[64];
    uint64_t id;

    snprintf (rule, sizeof rule, "op=write,status=%s",
              blkmq_status_name ((enum blkmq_status)status));
    id = add (bed, rule);
    check_outcome (bed, BLKMQ_OP_WRITE, 0, (enum blkmq_status)status);
    ck_assert_uint_eq (fault_of (bed, id).hits, 1);
    delete (bed, id);
  }
  /* Not one of them has got there. */
  ck_assert_uint_eq (bed->script.nr_issues, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_first_rule_that_fires_wins)
{
  struct bed *bed = start (
      "fault=op=read,every=3,status=medium;op=read,every=2,status=nospc"
      ";op=any,status=inval");
  static const enum blkmq_status expected[]
      = { BLKMQ_STS_INVAL, BLKMQ_STS_NOSPC, BLKMQ_STS_MEDIUM,
          BLKMQ_STS_INVAL, BLKMQ_STS_NOSPC, BLKMQ_STS_MEDIUM };

  /* The second sees what the first has left: 1 2 . 4 5 . */
  for (unsigned n = 0; n < NR (expected); n++)
    check_outcome (bed, BLKMQ_OP_READ, 0, expected[n]);
  check_list (bed, "1 at=bus,op=read,every=3,status=medium hits 2 held 0\n"
                   "2 at=bus,op=read,every=2,status=nospc hits 2 held 0\n"
                   "3 at=bus,op=any,status=inval hits 2 held 0\n");
  bed_stop (bed);
}
END_TEST

START_TEST (test_rule_fires_when_it_says)
{
  struct bed *bed = start ("fault=after=3,every=2,times=2");
  static const bool fails[] = { 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0 };

  for (unsigned n = 0; n < NR (fails); n++)
    check_outcome (bed, BLKMQ_OP_READ, 0,
                   fails[n] ? BLKMQ_STS_IOERR : BLKMQ_STS_OK);
  check_list (
      bed, "1 at=bus,op=any,after=3,every=2,times=2,status=ioerr hits 2 held "
           "0\n");
  bed_stop (bed);
}
END_TEST

START_TEST (test_same_seed_repeats_a_run)
{
  enum { NR_RUNS = 3, NR_IOS = 300 };
  static const unsigned long long seeds[NR_RUNS] = { 5, 5, 6 };
  static char outcomes[NR_RUNS][NR_IOS];

  for (unsigned run = 0; run < NR_RUNS; run++) {
    char keys[200];
    struct bed *bed;

    snprintf (keys, sizeof keys,
              "seed=%llu fault=op=read,probability=33.3;probability=20,"
              "status=medium;at=media,probability=10,status=nospc",
              seeds[run]);
    bed = start (keys);
    for (unsigned n = 0; n < NR_IOS; n++)
      outcomes[run][n]
          = (char)outcome (bed, n % 3 ? BLKMQ_OP_READ : BLKMQ_OP_WRITE, n);
    bed_stop (bed);
  }
  ck_assert_mem_eq (outcomes[0], outcomes[1], NR_IOS);
  ck_assert_mem_ne (outcomes[0], outcomes[2], NR_IOS);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Late                                                                      */

START_TEST (test_delayed_request_is_done_and_answered_later)
{
  struct bed *bed = start ("fault=once,delay=1ms");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_pass (bed, 1 * MS - 1);
  assert_not_ended (&t);
  bed_pass (bed, 1);
  assert_ended (&t, BLKMQ_STS_OK);
  check_outcome (bed, BLKMQ_OP_READ, 0, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_delayed_failure_is_not_done)
{
  struct bed *bed = start ("fault=once,delay=1ms,errno=ENOSPC");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, 1 * MS - 1);
  assert_not_ended (&t);
  bed_pass (bed, 1);
  assert_ended (&t, BLKMQ_STS_NOSPC);
  ck_assert_uint_eq (bed->script.nr_issues, 0);
  bed_stop (bed);
}
END_TEST

/* The tag's next life is not late, though the rule is gone and nothing looks
 * at requests on their way down any more. */
START_TEST (test_delay_is_not_inherited)
{
  struct bed *bed = bed_alloc ();
  struct test_io t, next;
  uint64_t id;

  bed_open (bed, "live=1 hw_queue_depth=1");
  id = add (bed, "delay=1ms");
  test_io_submit (&t, bed, 0);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 1);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  delete (bed, id);
  test_io_submit (&next, bed, 1);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&next, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Hanging                                                                   */

START_TEST (test_hung_request_goes_on_when_its_rule_is_deleted)
{
  struct bed *bed = start ("fault=op=read,hang;op=any,times=2,status=medium");
  struct test_io t[3];

  for (unsigned i = 0; i < NR (t); i++)
    test_io_submit (&t[i], bed, i);
  bed_pass (bed, 3600 * 1000 * MS);
  check_list (bed, "1 at=bus,op=read,hang hits 3 held 3\n"
                   "2 at=bus,op=any,times=2,status=medium hits 0 held 0\n");
  delete (bed, 1);
  bed_turn (bed);
  /* Downwards, past all rules, in their order. */
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  for (unsigned i = 0; i < NR (t); i++) {
    assert_ended (&t[i], BLKMQ_STS_OK);
    ck_assert_uint_eq (script_issue (&bed->script, i)->offset_bytes,
                       i * BLOCK_BYTES);
  }
  check_list (bed, "2 at=bus,op=any,times=2,status=medium hits 0 held 0\n");
  ck_assert_uint_eq (bed_stats (bed).stale_tokens, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_only_what_the_deleted_rule_holds_goes_on)
{
  struct bed *bed = start ("fault=op=read,hang;op=write,hang");
  struct test_io read, write;

  test_io_init (&write, bed, BLKMQ_OP_WRITE, 1);
  blkmq_submit (bed->submitter, &write.io);
  test_io_submit (&read, bed, 0);
  delete (bed, 1);
  bed_turn (bed);
  assert_ended (&read, BLKMQ_STS_OK);
  assert_not_ended (&write);
  check_list (bed, "2 at=bus,op=write,hang hits 1 held 1\n");
  delete (bed, 2);
  bed_turn (bed);
  assert_ended (&write, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* It was released, but never got to the layer again. */
START_TEST (test_passing_is_not_inherited)
{
  struct bed *bed = start ("fault=op=read,hang;op=read hw_queue_depth=1");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  blkmq_quiesce (bed->disk);
  delete (bed, 1);
  bed_turn (bed);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 1);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  blkmq_unquiesce (bed->disk);
  check_outcome (bed, BLKMQ_OP_READ, 0, BLKMQ_STS_IOERR);
  bed_stop (bed);
}
END_TEST

START_TEST (test_timeout_ends_what_hangs)
{
  struct bed *bed = start ("fault=times=1,hang io_timeout=100");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, 99 * MS);
  assert_not_ended (&t);
  bed_pass (bed, 10 * MS);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  ck_assert_uint_eq (bed_stats (bed).timeouts_done, 1);
  bed_check_idle (bed);
  check_list (bed, "1 at=bus,op=any,times=1,hang hits 1 held 0\n");
  delete (bed, 1);
  check_outcome (bed, BLKMQ_OP_READ, 0, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (bed).stale_tokens, 0);
  bed_stop (bed);
}
END_TEST

/* The data, too, is back at once, whatever io_timeout is. */
START_TEST (test_abort_ends_what_hangs)
{
  struct bed *bed = start ("fault=hang hw_queue_depth=2");
  struct test_io t, early;

  test_io_submit (&t, bed, 0);
  test_io_submit_early (&early, bed, 1);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 1);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &early.io), 1);
  assert_ended_early (&early, BLKMQ_STS_ABORTED);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  assert_ended (&early, BLKMQ_STS_ABORTED);
  bed_check_idle (bed);
  check_list (bed, "1 at=bus,op=any,hang hits 2 held 0\n");
  ck_assert_uint_eq (bed_stats (bed).lost_claims[BLKMQ_CAUSE_ABORT], 0);
  bed_stop (bed);
}
END_TEST

/* A driver without the op keeps what was aborted, as ever. */
START_TEST (test_abort_does_not_ask_the_driver_below)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed_open (bed, "fault=op=write,hang io_timeout=100");
  test_io_submit (&t, bed, 0);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 1);
  bed_turn (bed);
  assert_not_ended (&t);
  ck_assert_uint_eq (bed->script.nr_timeouts, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  bed_stop (bed);
}
END_TEST

START_TEST (test_removal_ends_what_hangs)
{
  struct bed *bed = start ("fault=hang");
  struct test_io t[2];

  test_io_submit (&t[0], bed, 0);
  test_io_submit (&t[1], bed, 1);
  blkmq_disk_remove (bed->disk);
  assert_ended (&t[0], BLKMQ_STS_OFFLINE);
  assert_ended (&t[1], BLKMQ_STS_OFFLINE);
  delete (bed, 1);
  bed_stop (bed);
}
END_TEST

static void
set_power (struct bed *bed, bool on)
{
  const struct blkmq_driver *ops;
  void *data;

  for (unsigned i = 0; (ops = stack_level (bed->disk->stack, i, &data)) != NULL;
       i++) {
    if (ops->power != NULL)
      ops->power (data, on);
  }
}

START_TEST (test_without_power_nothing_hangs)
{
  struct bed *bed = start ("fault=op=read,hang;at=media,op=write,hang");
  struct test_io t, media;

  test_io_submit (&t, bed, 0);
  test_io_init (&media, bed, BLKMQ_OP_WRITE, 0);
  blkmq_submit (bed->submitter, &media.io);
  set_power (bed, false);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  assert_ended (&media, BLKMQ_STS_OFFLINE);
  check_outcome (bed, BLKMQ_OP_READ, 0, BLKMQ_STS_OFFLINE);
  set_power (bed, true);
  test_io_submit (&t, bed, 0);
  bed_turn (bed);
  assert_not_ended (&t);
  delete (bed, 1);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Adding and deleting                                                       */

START_TEST (test_ids_are_never_used_again)
{
  struct bed *bed = start ("live=1 fault=at=media,op=read;op=write;at=media");
  uint64_t id;

  check_list (bed, "2 at=bus,op=write,status=ioerr hits 0 held 0\n"
                   "1 at=media,op=read,status=ioerr hits 0 held 0\n"
                   "3 at=media,op=any,status=ioerr hits 0 held 0\n");
  delete (bed, 3);
  ck_assert_uint_eq (add (bed, "op=flush"), 4);
  ck_assert_uint_eq (add (bed, "at=media,op=trim"), 5);
  delete (bed, 5);
  delete (bed, 2);
  /* Nor does one that is refused use one up. */
  ck_assert_int_eq (blkmq_disk_add_fault (bed->disk, "op=", &id, NULL),
                    -EINVAL);
  ck_assert_uint_eq (add (bed, "op=zero"), 6);
  check_list (bed, "4 at=bus,op=flush,status=ioerr hits 0 held 0\n"
                   "6 at=bus,op=zero,status=ioerr hits 0 held 0\n"
                   "1 at=media,op=read,status=ioerr hits 0 held 0\n");
  ck_assert_int_eq (blkmq_disk_delete_fault (bed->disk, 5, &bed->error),
                    -ENOENT);
  ck_assert_str_eq (bed->error.message, "there is no fault 5");
  ck_assert_int_eq (blkmq_disk_delete_fault (bed->disk, 0, NULL), -ENOENT);
  bed_stop (bed);
}
END_TEST

START_TEST (test_media_rule_is_below_the_bus)
{
  struct bed *bed = start ("fault=at=media,status=medium;op=read,status=nospc");

  check_outcome (bed, BLKMQ_OP_READ, 0, BLKMQ_STS_NOSPC);
  check_outcome (bed, BLKMQ_OP_WRITE, 0, BLKMQ_STS_MEDIUM);
  delete (bed, 2);
  check_outcome (bed, BLKMQ_OP_READ, 0, BLKMQ_STS_MEDIUM);
  check_list (bed, "1 at=media,op=any,status=medium hits 2 held 0\n");
  bed_stop (bed);
}
END_TEST

START_TEST (test_there_is_room_for_64_rules_at_a_place)
{
  struct bed *bed = start ("live=1");
  uint64_t id;

  for (unsigned n = 1; n <= 64; n++)
    ck_assert_uint_eq (add (bed, "op=flush"), n);
  ck_assert_int_eq (
      blkmq_disk_add_fault (bed->disk, "op=read", &id, &bed->error), -ENOSPC);
  ck_assert (strstr (bed->error.message, "64 rules at=bus") != NULL);
  ck_assert_uint_eq (add (bed, "at=media"), 65);
  for (unsigned n = 64; n > 0; n--)
    delete (bed, n);
  ck_assert_uint_eq (add (bed, "op=read"), 66);
  check_list (bed, "66 at=bus,op=read,status=ioerr hits 0 held 0\n"
                   "65 at=media,op=any,status=ioerr hits 0 held 0\n");
  bed_stop (bed);
}
END_TEST

START_TEST (test_disk_without_the_layer_takes_no_rule)
{
  struct bed *bed = start ("");
  uint64_t id;

  ck_assert_int_eq (
      blkmq_disk_add_fault (bed->disk, "op=read", &id, &bed->error),
      -EOPNOTSUPP);
  ck_assert (strstr (bed->error.message, "live=1") != NULL);
  check_list (bed, "");
  bed_stop (bed);

  bed = start ("fault=op=read");
  ck_assert_int_eq (
      blkmq_disk_add_fault (bed->disk, "at=media", &id, &bed->error),
      -EOPNOTSUPP);
  ck_assert (strstr (bed->error.message, "at that place") != NULL);
  ck_assert_uint_eq (add (bed, "op=write"), 2);
  bed_stop (bed);
}
END_TEST

START_TEST (test_bad_rule_keeps_the_disk_from_coming_up)
{
  struct bed *bed = bed_alloc ();
  struct blkmq_config *config = bed_config (bed, "fault=op=read;op=red");

  ck_assert_int_eq (blkmq_config_check (config, &bed->error), -EINVAL);
  ck_assert (strstr (bed->error.message, "fault=op=red: op=red: must be one of")
             != NULL);
  blkmq_config_free (config);
  bed_drop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Fault strings                                                             */

START_TEST (test_timeout_needs_an_io_timeout)
{
  struct bed *bed = bed_alloc ();

  ck_assert_int_eq (bed_alloc_disk (bed, "timeout=1,50,0,-1", true), -EINVAL);
  ck_assert_str_eq (bed->error.message,
                    "timeout=1,50,0,-1: contradicts io_timeout=0; needs an "
                    "io_timeout, without which nothing would end such a "
                    "request");
  bed_drop (bed);
  /* It does nothing: nothing is contradicted. */
  bed_stop (start ("timeout=1,0,0,-1"));
}
END_TEST

/* Interval 3, after 2, 2 times. */
START_TEST (test_timeout_string_keeps_requests_until_they_time_out)
{
  struct bed *bed = start ("timeout=3,100,2,2 io_timeout=100");
  static const bool hangs[] = { 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0 };
  struct test_io t[NR (hangs)];

  for (unsigned n = 0; n < NR (hangs); n++) {
    test_io_submit (&t[n], bed, n);
    ck_assert_uint_eq (t[n].nr_ends, !hangs[n]);
  }
  bed_pass (bed, 110 * MS);
  for (unsigned n = 0; n < NR (hangs); n++)
    assert_ended (&t[n], hangs[n] ? BLKMQ_STS_TIMEOUT : BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (bed).timeouts_done, 2);
  ck_assert_uint_eq (bed->script.nr_issues, NR (hangs) - 2);
  bed_stop (bed);
}
END_TEST

START_TEST (test_requeue_string_refuses_and_requeues_in_turn)
{
  struct bed *bed = start ("requeue=2,100,0,4");
  struct test_io t;

  /* 1 passes, 2 is refused, comes back as 3 and passes, 4 is requeued, comes
   * back as 5 and passes, and so on. */
  for (unsigned n = 0; n < 6; n++) {
    struct blkmq_stats before = bed_stats (bed), after;

    test_io_submit (&t, bed, n);
    bed_turn (bed);
    after = bed_stats (bed);
    ck_assert_uint_eq (after.busy - before.busy, n == 1 || n == 3);
    ck_assert_uint_eq (after.requeues - before.requeues, n == 2 || n == 4);
    bed_pass (bed, 3 * MS);
    assert_ended (&t, BLKMQ_STS_OK);
  }
  ck_assert_uint_eq (bed->script.nr_issues, 6);
  ck_assert_uint_eq (bed_stats (bed).stale_tokens, 0);
  bed_stop (bed);
}
END_TEST

/* What was sent back meets the rules once. */
START_TEST (test_requeued_request_is_counted_once_by_rules)
{
  struct bed *bed = start ("requeue=2,100,0,-1 fault=every=2");
  struct test_io t;

  for (unsigned n = 1; n <= 10; n++) {
    test_io_submit (&t, bed, n);
    bed_pass (bed, 3 * MS);
    assert_ended (&t, n % 2 ? BLKMQ_STS_OK : BLKMQ_STS_IOERR);
  }
  ck_assert_uint_gt (bed_stats (bed).requeues, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_init_hctx_string_keeps_the_disk_from_coming_up)
{
  struct bed *bed = bed_alloc ();

  ck_assert_int_eq (
      bed_alloc_disk (bed, "submit_queues=3 init_hctx=3,100,0,1", true),
      -ENOMEM);
  ck_assert_str_eq (bed->error.message, "setting up hctx 2 of 3: fault: Cannot "
                                        "allocate memory");
  ck_assert_uint_eq (bed->script.nr_init_hctxs, 0);
  bed_drop (bed);
}
END_TEST

START_TEST (test_init_hctx_string_rolls_a_live_change_back)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.max_hctxs = 4;
  bed->script.on_queue = script_completes_inside;
  bed_open (bed, "init_hctx=1,100,3,1");
  /* One hctx at the start, two more, and the last one fails. */
  ck_assert_int_eq (update_queues (bed->disk, 4, 0, &bed->error), -ENOMEM);
  ck_assert_str_eq (bed->error.message,
                    "submit_queues=4 poll_queues=0: setting up hctx 3: fault: "
                    "Cannot allocate memory");
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), 1);
  ck_assert_uint_eq (bed->script.nr_init_hctxs, 1);
  test_io_submit (&t, bed, 0);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_int_eq (update_queues (bed->disk, 4, 0, NULL), 0);
  bed_stop (bed);
}
END_TEST

static int
set (struct bed *bed, const char *key, const char *value)
{
  struct blkmq_setting setting = { key, value };

  return blkmq_disk_set (bed->disk, &setting, 1, &bed->error);
}

static void
check_message (const struct bed *bed, const char *expected)
{
  ck_assert_msg (strstr (bed->error.message, expected) != NULL,
                 "message \"%s\" lacks \"%s\"", bed->error.message, expected);
}

START_TEST (test_strings_are_live)
{
  struct bed *bed = start ("live=1 io_timeout=100");
  char value[64];
  struct test_io t;

  ck_assert_int_eq (set (bed, "timeout", "1,100,0,1"), 0);
  test_io_submit (&t, bed, 0);
  assert_not_ended (&t);
  bed_pass (bed, 110 * MS);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  check_outcome (bed, BLKMQ_OP_READ, 0, BLKMQ_STS_OK);

  /* What stays goes on counting; what is new begins. */
  ck_assert_int_eq (set (bed, "requeue", "1,100,0,1"), 0);
  test_io_submit (&t, bed, 0);
  assert_not_ended (&t);
  bed_pass (bed, 3 * MS);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (bed).busy, 1);

  ck_assert_int_eq (set (bed, "timeout", ""), 0);
  ck_assert_int_eq (set (bed, "timeout", "1,100,0,1"), 0);
  ck_assert_int_eq (
      blkmq_disk_get_key (bed->disk, "timeout", value, sizeof value, NULL), 9);
  ck_assert_str_eq (value, "1,100,0,1");
  test_io_submit (&t, bed, 0);
  bed_pass (bed, 110 * MS);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

START_TEST (test_bad_live_change_of_a_string_changes_nothing)
{
  struct bed *bed = start ("live=1 io_timeout=100 timeout=1,100,1,1");
  char value[64];
  struct test_io t;

  ck_assert_int_eq (set (bed, "timeout", "1,101,0,1"), -EINVAL);
  check_message (bed, "timeout=1,101,0,1: probability=101: must be");
  ck_assert_int_eq (set (bed, "io_timeout", "0"), -EINVAL);
  check_message (bed, "timeout=1,100,1,1: contradicts io_timeout=0");
  ck_assert_int_eq (
      blkmq_disk_get_key (bed->disk, "timeout", value, sizeof value, NULL), 9);
  ck_assert_str_eq (value, "1,100,1,1");
  check_outcome (bed, BLKMQ_OP_READ, 0, BLKMQ_STS_OK);
  test_io_submit (&t, bed, 0);
  assert_not_ended (&t);
  bed_pass (bed, 110 * MS);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);

  bed = start ("live=1");
  ck_assert_int_eq (set (bed, "timeout", "1,100,0,1"), -EINVAL);
  check_message (bed, "timeout=1,100,0,1: contradicts io_timeout=0");
  check_outcome (bed, BLKMQ_OP_READ, 0, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* A place that was asked for stays, with nothing to do. */
START_TEST (test_rules_outlive_the_string_that_brought_the_layer)
{
  struct bed *bed = start ("requeue=1,100,0,1");

  add (bed, "op=read");
  ck_assert_int_eq (set (bed, "requeue", ""), 0);
  check_outcome (bed, BLKMQ_OP_READ, 0, BLKMQ_STS_IOERR);
  ck_assert_int_eq (set (bed, "fault", "op=write"), -EINVAL);
  check_message (bed, "cannot be changed while the disk runs");
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Threads                                                                   */

enum { AT_ONCE = 8, NR_LOADS = 3 };

struct load {
  struct bed *bed;
  _Atomic bool stop;
  _Atomic unsigned nr_medium, nr_nospc;
};

static void *
loads (void *opaque)
{
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
      if (ios[n].status == BLKMQ_STS_MEDIUM)
        load->nr_medium++;
      else if (ios[n].status == BLKMQ_STS_NOSPC)
        load->nr_nospc++;
      else
        require (ios[n].status == BLKMQ_STS_OK);
    }
  }
  blkmq_submitter_free (submitter);
  return NULL;
}

/* Rules come and go from three threads, under the load of three others.  Each
 * rule does as much as it may; and so it is known how many there must be. */
struct ruling {
  struct load *load;
  const char *rule;
  unsigned times, nr_rounds;
  bool hangs;
};

static void *
rules (void *opaque)
{
  const struct ruling *ruling = opaque;
  struct bed *bed = ruling->load->bed;

  for (unsigned n = 0; n < ruling->nr_rounds; n++) {
    uint64_t id = add (bed, ruling->rule);

    await (fault_of (bed, id).hits == ruling->times);
    /* Nothing but this rule's end lets them go. */
    if (ruling->hangs)
      await (fault_of (bed, id).nr_held == ruling->times);
    delete (bed, id);
  }
  return NULL;
}

START_TEST (test_rules_come_and_go_under_load)
{
  enum { NR_ROUNDS = SANITIZED ? 60 : 300 };
  struct bed *bed = bed_alloc ();
  struct load load = { .bed = bed };
  struct ruling rulings[] = {
    { &load, "op=read,every=3,times=5,status=medium", 5, NR_ROUNDS, false },
    { &load, "at=media,op=write,probability=30,times=4,status=nospc", 4,
      NR_ROUNDS, false },
    { &load, "times=2,hang", 2, NR_ROUNDS, true },
  };
  pthread_t threads[NR_LOADS], rulers[NR (rulings)];

  bed->script.on_queue = script_completes_inside;
  bed_open_threads (bed, "live=1 submit_queues=2 hw_queue_depth=8 nomerges=1");
  for (unsigned i = 0; i < NR_LOADS; i++)
    threads[i] = thread_start (loads, &load);
  for (unsigned i = 0; i < NR (rulings); i++)
    rulers[i] = thread_start (rules, &rulings[i]);
  for (unsigned i = 0; i < NR (rulings); i++)
    thread_join (rulers[i]);
  load.stop = true;
  for (unsigned i = 0; i < NR_LOADS; i++)
    thread_join (threads[i]);
  ck_assert_uint_eq (load.nr_medium, 5 * NR_ROUNDS);
  ck_assert_uint_eq (load.nr_nospc, 4 * NR_ROUNDS);
  ck_assert_uint_eq (bed_stats (bed).stale_tokens, 0);
  check_list (bed, "");
  bed_stop (bed);
}
END_TEST

/* A hung request is ended by whoever is first: the rule's deletion, its
 * abort, or the timeout. */
static void *
aborts (void *opaque)
{
  struct load *load = opaque;

  while (!load->stop) {
    struct test_io t;

    test_io_submit (&t, load->bed, 1);
    blkmq_abort_io (load->bed->submitter, &t.io);
    await (t.nr_ends == 1);
    require (t.status == BLKMQ_STS_ABORTED || t.status == BLKMQ_STS_OK
             || t.status == BLKMQ_STS_TIMEOUT);
  }
  return NULL;
}

START_TEST (test_deletion_abort_and_timeout_race)
{
  enum { NR_ROUNDS = SANITIZED ? 200 : 1000 };
  struct bed *bed = bed_alloc ();
  struct load load = { .bed = bed };
  pthread_t threads[NR_LOADS];

  bed->script.on_queue = script_completes_inside;
  bed_open_threads (bed, "live=1 hw_queue_depth=2 io_timeout=5");
  for (unsigned i = 0; i < NR_LOADS; i++)
    threads[i] = thread_start (aborts, &load);
  for (unsigned n = 0; n < NR_ROUNDS; n++) {
    uint64_t id = add (bed, "times=3,hang");

    if (n % 2)
      await (fault_of (bed, id).hits > 0);
    delete (bed, id);
  }
  load.stop = true;
  for (unsigned i = 0; i < NR_LOADS; i++)
    thread_join (threads[i]);
  ck_assert_uint_eq (bed_stats (bed).stale_tokens, 0);
  bed_check_idle (bed);
  bed_stop (bed);
}
END_TEST

struct deleting {
  struct bed *bed;
  struct gate gate;
};

static void *
deletes_when_told (void *opaque)
{
  struct deleting *deleting = opaque;

  gate_pass (&deleting->gate);
  delete (deleting->bed, 1);
  return NULL;
}

/* What was released goes on, or the removal has it; nobody comes too late. */
START_TEST (test_deletion_and_removal_race)
{
  enum { NR_ROUNDS = SANITIZED ? 30 : 100, NR_HUNG = 20 };

  for (unsigned n = 0; n < NR_ROUNDS; n++) {
    struct deleting deleting = { .gate = GATE_INITIALIZER };
    struct bed *bed = bed_alloc ();
    struct test_io t[NR_HUNG];
    pthread_t thread;

    bed->script.on_queue = script_completes_inside;
    bed_open_threads (bed, "fault=hang hw_queue_depth=32 nomerges=1");
    for (unsigned i = 0; i < NR_HUNG; i++)
      test_io_submit (&t[i], bed, i);
    deleting.bed = bed;
    thread = thread_start (deletes_when_told, &deleting);
    gate_await_arrival (&deleting.gate, 1);
    gate_open (&deleting.gate);
    blkmq_disk_remove (bed->disk);
    thread_join (thread);
    for (unsigned i = 0; i < NR_HUNG; i++) {
      require (t[i].nr_ends == 1);
      require (t[i].status == BLKMQ_STS_OK || t[i].status == BLKMQ_STS_OFFLINE);
    }
    ck_assert_uint_eq (bed_stats (bed).stale_tokens, 0);
    bed_stop (bed);
  }
}
END_TEST

/* Held up in the end_io of the first that the deletion lets go. */
static void
passes_gate (struct test_io *t)
{
  gate_pass (t->opaque);
}

static void *
deletes (void *opaque)
{
  delete (opaque, 1);
  return NULL;
}

static void *
removes (void *opaque)
{
  blkmq_disk_remove (((struct bed *)opaque)->disk);
  return NULL;
}

START_TEST (test_stop_waits_for_who_is_letting_go)
{
  struct bed *bed = start ("fault=hang nomerges=1");
  struct gate gate = GATE_INITIALIZER;
  struct test_io first, second;
  pthread_t deleter, remover;

  test_io_init (&first, bed, BLKMQ_OP_READ, 0);
  first.on_end = passes_gate;
  first.opaque = &gate;
  blkmq_submit (bed->submitter, &first.io);
  test_io_submit (&second, bed, 1);
  /* No loop turns: it is answered when it is let go. */
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &first.io), 1);
  deleter = thread_start (deletes, bed);
  gate_await_arrival (&gate, 1);
  remover = thread_start (removes, bed);
  for (unsigned n = 0; n < 500; n++) {
    ck_assert_uint_eq (bed->script.nr_stops, 0);
    await_pause ();
  }
  gate_open (&gate);
  thread_join (deleter);
  thread_join (remover);
  assert_ended (&first, BLKMQ_STS_ABORTED);
  assert_ended (&second, BLKMQ_STS_OFFLINE);
  ck_assert_uint_eq (bed->script.nr_stops, 1);
  ck_assert_uint_eq (bed_stats (bed).stale_tokens, 0);
  bed_stop (bed);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("fault");
  TCase *tcase;

  tcase = harness_case (suite, "which");
  tcase_add_test (tcase, test_rule_is_for_its_operations);
  tcase_add_test (tcase, test_rule_is_for_what_touches_its_sectors);
  tcase_add_test (tcase, test_sectors_past_the_end_are_refused);
  tcase_add_test (tcase, test_rule_ends_with_its_status);
  tcase_add_test (tcase, test_first_rule_that_fires_wins);
  tcase_add_test (tcase, test_rule_fires_when_it_says);
  tcase_add_test (tcase, test_same_seed_repeats_a_run);

  tcase = harness_case (suite, "late");
  tcase_add_test (tcase, test_delayed_request_is_done_and_answered_later);
  tcase_add_test (tcase, test_delayed_failure_is_not_done);
  tcase_add_test (tcase, test_delay_is_not_inherited);

  tcase = harness_case (suite, "hanging");
  tcase_add_test (tcase, test_hung_request_goes_on_when_its_rule_is_deleted);
  tcase_add_test (tcase, test_only_what_the_deleted_rule_holds_goes_on);
  tcase_add_test (tcase, test_passing_is_not_inherited);
  tcase_add_test (tcase, test_timeout_ends_what_hangs);
  tcase_add_test (tcase, test_abort_ends_what_hangs);
  tcase_add_test (tcase, test_abort_does_not_ask_the_driver_below);
  tcase_add_test (tcase, test_removal_ends_what_hangs);
  tcase_add_test (tcase, test_without_power_nothing_hangs);

  tcase = harness_case (suite, "rules");
  tcase_add_test (tcase, test_ids_are_never_used_again);
  tcase_add_test (tcase, test_media_rule_is_below_the_bus);
  tcase_add_test (tcase, test_there_is_room_for_64_rules_at_a_place);
  tcase_add_test (tcase, test_disk_without_the_layer_takes_no_rule);
  tcase_add_test (tcase, test_bad_rule_keeps_the_disk_from_coming_up);

  tcase = harness_case (suite, "strings");
  tcase_add_test (tcase, test_timeout_needs_an_io_timeout);
  tcase_add_test (tcase,
                  test_timeout_string_keeps_requests_until_they_time_out);
  tcase_add_test (tcase, test_requeue_string_refuses_and_requeues_in_turn);
  tcase_add_test (tcase, test_requeued_request_is_counted_once_by_rules);
  tcase_add_test (tcase, test_init_hctx_string_keeps_the_disk_from_coming_up);
  tcase_add_test (tcase, test_init_hctx_string_rolls_a_live_change_back);
  tcase_add_test (tcase, test_strings_are_live);
  tcase_add_test (tcase, test_bad_live_change_of_a_string_changes_nothing);
  tcase_add_test (tcase, test_rules_outlive_the_string_that_brought_the_layer);

  tcase = harness_case (suite, "threads");
  tcase_add_test (tcase, test_rules_come_and_go_under_load);
  tcase_add_test (tcase, test_deletion_abort_and_timeout_race);
  tcase_add_test (tcase, test_deletion_and_removal_race);
  tcase_add_test (tcase, test_stop_waits_for_who_is_letting_go);
  return harness_main (suite);
}
