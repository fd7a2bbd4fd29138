/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-stats.c: the counters, each exact.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "harness.h"

static void
check_all_zero (const struct blkmq_stats *stats)
{
  static const struct blkmq_stats zero;

  ck_assert_mem_eq (stats, &zero, sizeof zero);
}

START_TEST (test_new_disk_has_counted_nothing)
{
  struct bed *bed = bed_start ("submit_queues=2");
  struct blkmq_stats stats = bed_stats (bed);

  check_all_zero (&stats);
  bed_stop (bed);
}
END_TEST

START_TEST (test_stats_of_no_such_hctx_fail)
{
  struct bed *bed = bed_start ("submit_queues=2");
  struct blkmq_stats stats;

  ck_assert_int_eq (blkmq_disk_stats (bed->disk, 0, &stats), 0);
  ck_assert_int_eq (blkmq_disk_stats (bed->disk, 1, &stats), 0);
  ck_assert_int_eq (blkmq_disk_stats (bed->disk, 2, &stats), -EINVAL);
  ck_assert_int_eq (blkmq_disk_stats (bed->disk, BLKMQ_HCTX_ANY - 1, &stats),
                    -EINVAL);
  bed_stop (bed);
}
END_TEST

START_TEST (test_each_operation_is_counted_by_itself)
{
  struct bed *bed = bed_start ("hw_queue_depth=16");
  static struct test_io t[BLKMQ_NR_OPS][4];
  struct blkmq_stats stats;
  unsigned n = 0;

  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    /* op + 1 of each, minus one in the end. */
    for (unsigned i = 0; i <= op && i < 3; i++) {
      test_io_init (&t[op][i], bed, (enum blkmq_op)op, i);
      blkmq_submit (bed->submitter, &t[op][i].io);
    }
  }
  stats = bed_stats (bed);
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    ck_assert_uint_eq (stats.in_flight[op], op < 3 ? op + 1 : 3);
    ck_assert_uint_eq (stats.ios[op], 0);
    ck_assert_uint_eq (stats.bytes[op], 0);
  }
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    for (unsigned i = 0; i <= op && i < 3; i++)
      issue_complete (&bed->script, n++, BLKMQ_STS_OK);
  }
  stats = bed_stats (bed);
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    unsigned nr = op < 3 ? op + 1 : 3;

    ck_assert_uint_eq (stats.in_flight[op], 0);
    ck_assert_uint_eq (stats.ios[op], nr);
    ck_assert_uint_eq (stats.bytes[op],
                       op == BLKMQ_OP_FLUSH ? 0 : nr * BLOCK_BYTES);
  }
  bed_stop (bed);
}
END_TEST

START_TEST (test_each_status_is_counted_by_itself)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct blkmq_stats stats;
  unsigned n = 0;

  for (unsigned status = 0; status < BLKMQ_NR_STATUSES; status++) {
    for (unsigned i = 0; i <= status; i++) {
      struct test_io t;

      test_io_submit (&t, bed, 0);
      issue_complete (&bed->script, n++, (enum blkmq_status)status);
      assert_ended (&t, (enum blkmq_status)status);
    }
  }
  stats = bed_stats (bed);
  ck_assert_uint_eq (stats.errors[BLKMQ_STS_OK], 0);
  for (unsigned status = 1; status < BLKMQ_NR_STATUSES; status++) {
    ck_assert_uint_eq (stats.errors[status], status + 1);
    ck_assert_uint_eq (stats.rejected[status], 0);
  }
  ck_assert_uint_eq (stats.ios[BLKMQ_OP_READ], n);
  ck_assert_uint_eq (stats.bytes[BLKMQ_OP_READ], BLOCK_BYTES);
  bed_stop (bed);
}
END_TEST

START_TEST (test_what_never_became_a_request_is_rejected)
{
  struct bed *bed = bed_start ("hw_queue_depth=1");
  struct blkmq_stats stats;
  struct test_io t, waiter;

  test_io_submit (&t, bed, UINT32_MAX);
  stats = bed_stats (bed);
  ck_assert_uint_eq (stats.rejected[BLKMQ_STS_INVAL], 1);
  test_io_submit (&t, bed, 0);
  test_io_submit (&waiter, bed, 0);
  ck_assert_uint_eq (bed_stats (bed).waiting, 1);
  blkmq_abort_io (bed->submitter, &waiter.io);
  stats = bed_stats (bed);
  ck_assert_uint_eq (stats.rejected[BLKMQ_STS_ABORTED], 1);
  ck_assert_uint_eq (stats.errors[BLKMQ_STS_ABORTED], 0);
  ck_assert_uint_eq (stats.waiting, 0);
  ck_assert_uint_eq (stats.ios[BLKMQ_OP_READ], 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (bed).ios[BLKMQ_OP_READ], 1);
  bed_stop (bed);
}
END_TEST

static enum blkmq_timeout_result
says_held (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_HELD;
}

/* In flight is "started and not yet released": on the queue and after the
 * answer as well. */
START_TEST (test_in_flight_lasts_from_start_to_release)
{
  struct bed *bed = bed_alloc ();
  struct blkmq_request *rq;
  struct test_io t;

  bed->script.on_timeout = says_held;
  bed_open (bed, "io_timeout=10");
  blkmq_quiesce (bed->disk);
  test_io_init_early (&t, bed, BLKMQ_OP_WRITE, 0);
  blkmq_submit (bed->submitter, &t.io);
  ck_assert_uint_eq (bed_stats (bed).in_flight[BLKMQ_OP_WRITE], 1);
  blkmq_unquiesce (bed->disk);
  bed_pass (bed, 10 * MS);
  assert_ended_early (&t, BLKMQ_STS_TIMEOUT);
  ck_assert_uint_eq (bed_stats (bed).in_flight[BLKMQ_OP_WRITE], 1);
  rq = blkmq_request_get (bed->disk, script_issue (&bed->script, 0)->token);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (bed).in_flight[BLKMQ_OP_WRITE], 1);
  blkmq_request_put (rq);
  ck_assert_uint_eq (bed_stats (bed).in_flight[BLKMQ_OP_WRITE], 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_hctxs_count_apart_and_any_is_the_sum)
{
  struct bed *bed = bed_start ("submit_queues=3");
  struct blkmq_stats stats;
  unsigned n = 0;

  bed_bear_mistakes (bed);
  for (unsigned hctx = 0; hctx < 3; hctx++) {
    struct blkmq_submitter *submitter = blkmq_submitter_alloc (bed->disk, hctx);

    for (unsigned i = 0; i <= hctx; i++) {
      struct test_io t;

      test_io_init (&t, bed, BLKMQ_OP_READ, 0);
      blkmq_submit (submitter, &t.io);
      issue_complete (&bed->script, n++, BLKMQ_STS_OK);
      issue_complete (&bed->script, n - 1, BLKMQ_STS_OK);
    }
    blkmq_submitter_free (submitter);
  }
  for (unsigned hctx = 0; hctx < 3; hctx++) {
    ck_assert_int_eq (blkmq_disk_stats (bed->disk, hctx, &stats), 0);
    ck_assert_uint_eq (stats.ios[BLKMQ_OP_READ], hctx + 1);
    ck_assert_uint_eq (stats.bytes[BLKMQ_OP_READ], (hctx + 1) * BLOCK_BYTES);
    ck_assert_uint_eq (stats.stale_tokens, hctx + 1);
  }
  stats = bed_stats (bed);
  ck_assert_uint_eq (stats.ios[BLKMQ_OP_READ], n);
  ck_assert_uint_eq (stats.stale_tokens, n);
  bed_stop (bed);
}
END_TEST

/* ---- what four threads have done, to the last one ---- */

#define NR_WRITERS 4
#define NR_EACH 5000

struct shared {
  struct bed *bed;
  _Atomic unsigned next;
  _Atomic uint64_t nr_ok, nr_bad, nr_invalid;
};

static enum blkmq_queue_result
fails_odd_blocks (struct script *script, const struct issue *issue)
{
  enum blkmq_status status
      = issue->offset_bytes / BLOCK_BYTES % 2 ? BLKMQ_STS_MEDIUM : BLKMQ_STS_OK;

  require (script_complete (script, issue->rq, issue->token, status) == 0);
  return BLKMQ_QUEUED;
}

static void *
write_many (void *opaque)
{
  struct shared *shared = opaque;
  struct rng rng;
  char data[BLOCK_BYTES] = { 0 };

  rng_init (&rng, 100 + shared->next++);
  for (unsigned i = 0; i < NR_EACH; i++) {
    uint64_t block = rng_below (&rng, 2100); /* of 2048 */

    switch (blkmq_write (shared->bed->submitter, data, sizeof data,
                         block * BLOCK_BYTES, 0)) {
    case 0:
      shared->nr_ok++;
      break;
    case -ENODATA:
      shared->nr_bad++;
      break;
    case -EINVAL:
      shared->nr_invalid++;
      break;
    default:
      require (!"any other error");
    }
  }
  return NULL;
}

START_TEST (test_counters_are_exact_with_many_threads)
{
  struct bed *bed = bed_alloc ();
  struct shared shared = { .bed = bed };
  pthread_t threads[NR_WRITERS];
  struct blkmq_stats stats;

  bed->script.on_queue = fails_odd_blocks;
  bed_open_threads (bed, "hw_queue_depth=3");
  for (unsigned i = 0; i < NR_WRITERS; i++)
    threads[i] = thread_start (write_many, &shared);
  for (unsigned i = 0; i < NR_WRITERS; i++)
    thread_join (threads[i]);
  stats = bed_stats (bed);
  ck_assert_uint_eq (shared.nr_ok + shared.nr_bad + shared.nr_invalid,
                     NR_WRITERS * NR_EACH);
  ck_assert_uint_eq (stats.ios[BLKMQ_OP_WRITE], shared.nr_ok + shared.nr_bad);
  ck_assert_uint_eq (stats.bytes[BLKMQ_OP_WRITE], shared.nr_ok * BLOCK_BYTES);
  ck_assert_uint_eq (stats.errors[BLKMQ_STS_MEDIUM], shared.nr_bad);
  ck_assert_uint_eq (stats.rejected[BLKMQ_STS_INVAL], shared.nr_invalid);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Names                                                                     */

START_TEST (test_statuses_have_names_and_errnos)
{
  static const struct {
    enum blkmq_status status;
    const char *name;
    int err;
  } wanted[] = {
    { BLKMQ_STS_OK, "ok", 0 },
    { BLKMQ_STS_NOTSUPP, "notsupp", EOPNOTSUPP },
    { BLKMQ_STS_TIMEOUT, "timeout", ETIMEDOUT },
    { BLKMQ_STS_NOSPC, "nospc", ENOSPC },
    { BLKMQ_STS_RESOURCE, "resource", ENOMEM },
    { BLKMQ_STS_IOERR, "ioerr", EIO },
    { BLKMQ_STS_MEDIUM, "medium", ENODATA },
    { BLKMQ_STS_AGAIN, "again", EAGAIN },
    { BLKMQ_STS_OFFLINE, "offline", ENODEV },
    { BLKMQ_STS_INVAL, "inval", EINVAL },
    { BLKMQ_STS_READONLY, "readonly", EROFS },
    { BLKMQ_STS_ABORTED, "aborted", ECANCELED },
  };

  ck_assert_uint_eq (NR (wanted), BLKMQ_NR_STATUSES);
  for (size_t i = 0; i < NR (wanted); i++) {
    ck_assert_str_eq (blkmq_status_name (wanted[i].status), wanted[i].name);
    ck_assert_int_eq (blkmq_status_to_errno (wanted[i].status), wanted[i].err);
  }
  ck_assert_str_eq (blkmq_op_name (BLKMQ_OP_READ), "read");
  ck_assert_str_eq (blkmq_op_name (BLKMQ_OP_WRITE_ZEROES), "write_zeroes");
  ck_assert_str_eq (blkmq_cause_name (BLKMQ_CAUSE_COMPLETE), "complete");
  ck_assert_str_eq (blkmq_cause_name (BLKMQ_CAUSE_REMOVE), "remove");
}
END_TEST

/* A number of the future, or of nowhere, must not be a crash. */
START_TEST (test_unknown_numbers_have_a_name_too)
{
  ck_assert_str_eq (blkmq_status_name (BLKMQ_NR_STATUSES), "unknown");
  ck_assert_str_eq (blkmq_status_name ((enum blkmq_status) - 1), "unknown");
  ck_assert_int_eq (blkmq_status_to_errno (BLKMQ_NR_STATUSES), EIO);
  ck_assert_str_eq (blkmq_op_name (BLKMQ_NR_OPS), "unknown");
  ck_assert_str_eq (blkmq_cause_name (BLKMQ_NR_CAUSES), "unknown");
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("stats");
  TCase *tcase;

  tcase = harness_case (suite, "counters");
  tcase_add_test (tcase, test_new_disk_has_counted_nothing);
  tcase_add_test (tcase, test_stats_of_no_such_hctx_fail);
  tcase_add_test (tcase, test_each_operation_is_counted_by_itself);
  tcase_add_test (tcase, test_each_status_is_counted_by_itself);
  tcase_add_test (tcase, test_what_never_became_a_request_is_rejected);
  tcase_add_test (tcase, test_in_flight_lasts_from_start_to_release);
  tcase_add_test (tcase, test_hctxs_count_apart_and_any_is_the_sum);
  tcase_add_test (tcase, test_counters_are_exact_with_many_threads);

  tcase = harness_case (suite, "names");
  tcase_add_test (tcase, test_statuses_have_names_and_errnos);
  tcase_add_test (tcase, test_unknown_numbers_have_a_name_too);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
