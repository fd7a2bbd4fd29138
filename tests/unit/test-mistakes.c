/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-mistakes.c: drivers that give a request back twice, in the build at
 * hand: which of the dead tokens are a mistake, and what is said of it.  That
 * a mistake ends a debug build, and with what words, is in test-record.c.
 */

#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "harness.h"

#define AFTER_TIMEOUT_NS (101 * MS)

static enum blkmq_timeout_result
says_done (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_DONE;
}

static struct bed *
start_faulty (const char *keys)
{
  struct bed *bed = bed_alloc ();

  bed->script.on_timeout = says_done;
  bed_open (bed, keys);
  bed_bear_mistakes (bed);
  return bed;
}

/* What FN has reported on stderr. */
static unsigned
nr_reports (void (*fn) (void))
{
  char *text;
  unsigned nr;

  ck_assert_int_eq (run_captured (fn, &text), 0);
  nr = nr_of (text, "dead token");
  /* Nothing else was. */
  ck_assert_uint_eq (nr_of (text, "\n"), nr);
  free (text);
  return nr;
}

/* ------------------------------------------------------------------------ */
/* What is a mistake                                                         */

static void
completes_twice (void)
{
  struct bed *bed = start_faulty ("");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  require (issue_complete (&bed->script, 0, BLKMQ_STS_OK) == -ESTALE);
}

static void
completes_after_requeue (void)
{
  struct bed *bed = start_faulty ("");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  issue_requeue (&bed->script, 0);
  require (issue_complete (&bed->script, 0, BLKMQ_STS_OK) == -ESTALE);
}

static void
requeues_the_next_life (void)
{
  struct bed *bed = start_faulty ("hw_queue_depth=1");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  test_io_submit (&t, bed, 0);
  require (issue_requeue (&bed->script, 0) == -ESTALE);
}

static void
takes_another_token (void)
{
  struct bed *bed = start_faulty ("");
  struct test_io a, b;

  test_io_submit (&a, bed, 0);
  test_io_submit (&b, bed, 1);
  require (blkmq_complete (script_issue (&bed->script, 0)->rq,
                           script_issue (&bed->script, 1)->token, BLKMQ_STS_OK)
           == -ESTALE);
}

static enum blkmq_queue_result
completes_and_is_busy (struct script *script, const struct issue *issue)
{
  script_completes_inside (script, issue);
  return BLKMQ_BUSY_HOST;
}

static void
completes_and_refuses (void)
{
  struct bed *bed = start_faulty ("");
  struct test_io t;

  bed->script.on_queue = completes_and_is_busy;
  test_io_submit (&t, bed, 0);
  require (bed_stats (bed).stale_tokens == 1);
}

/* Long after something else of this tag was taken back. */
static void
completes_twice_after_a_timeout (void)
{
  struct bed *bed = start_faulty ("hw_queue_depth=1 io_timeout=100");
  struct test_io t;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, AFTER_TIMEOUT_NS);
  require (t.nr_ends == 1);
  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  require (issue_complete (&bed->script, 1, BLKMQ_STS_OK) == -ESTALE);
}

START_TEST (test_giving_back_twice_is_reported)
{
  ck_assert_uint_eq (nr_reports (completes_twice), 1);
  ck_assert_uint_eq (nr_reports (completes_after_requeue), 1);
  ck_assert_uint_eq (nr_reports (requeues_the_next_life), 1);
  ck_assert_uint_eq (nr_reports (takes_another_token), 1);
  ck_assert_uint_eq (nr_reports (completes_and_refuses), 1);
  ck_assert_uint_eq (nr_reports (completes_twice_after_a_timeout), 1);
}
END_TEST

static void
completes_after_done (void)
{
  struct bed *bed = start_faulty ("hw_queue_depth=1 io_timeout=100");
  struct test_io t;

  bed->disk->set->mistakes.are_borne = false;
  test_io_submit (&t, bed, 0);
  bed_pass (bed, AFTER_TIMEOUT_NS);
  require (issue_complete (&bed->script, 0, BLKMQ_STS_OK) == -ESTALE);
  /* In the next life as well. */
  test_io_submit (&t, bed, 0);
  require (issue_requeue (&bed->script, 0) == -ESTALE);
  require (bed_stats (bed).stale_tokens == 2);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  bed_stop (bed);
}

static void
completes_after_stop (void)
{
  struct bed *bed = start_faulty ("");
  struct test_io t;

  bed->disk->set->mistakes.are_borne = false;
  test_io_submit (&t, bed, 0);
  blkmq_disk_remove (bed->disk);
  require (t.nr_ends == 1);
  require (issue_complete (&bed->script, 0, BLKMQ_STS_OK) == -ESTALE);
  require (bed_stats (bed).stale_tokens == 1);
  bed_stop (bed);
}

static void
timer_is_late (void)
{
  struct bed *bed = start_faulty ("irqmode=timer hw_queue_depth=1");
  struct blkmq_hctx *h = bed_hctx (bed, 0);
  struct test_io t;

  bed->disk->set->mistakes.are_borne = false;
  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  blkmq_abort_io (bed->submitter, &t.io);
  timer_arm (&h->heap, &hctx_tag_request (h, 0)->timer,
             clock_now_ns (&bed->clock), script_issue (&bed->script, 0)->token);
  bed_turn (bed);
  require (bed_stats (bed).stale_tokens == 1);
  bed_stop (bed);
}

/* Also in debug builds, where a mistake would have been the end. */
START_TEST (test_what_the_engine_took_back_is_no_mistake)
{
  ck_assert_uint_eq (nr_reports (completes_after_done), 0);
  ck_assert_uint_eq (nr_reports (completes_after_stop), 0);
  ck_assert_uint_eq (nr_reports (timer_is_late), 0);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* The report                                                                */

static void
two_disks (void)
{
  for (unsigned i = 0; i < 2; i++) {
    struct bed *bed = start_faulty ("submit_queues=2 hw_queue_depth=4");
    struct blkmq_submitter *other = blkmq_submitter_alloc (bed->disk, 1);
    struct test_io a, b;

    test_io_init (&a, bed, BLKMQ_OP_READ, 0);
    blkmq_submit (other, &a.io);
    test_io_submit (&b, bed, 1);
    for (unsigned n = 0; n < 2; n++) {
      issue_complete (&bed->script, n, BLKMQ_STS_OK);
      require (issue_complete (&bed->script, n, BLKMQ_STS_OK) == -ESTALE);
      require (issue_requeue (&bed->script, n) == -ESTALE);
    }
    require (bed_stats (bed).stale_tokens == 4);
    blkmq_submitter_free (other);
    bed_stop (bed);
  }
}

START_TEST (test_report_comes_once_a_disk_and_names_the_place)
{
  unsigned tag;
  char *text;

  ck_assert_int_eq (run_captured (two_disks, &text), 0);
  ck_assert_uint_eq (nr_of (text, "\n"), 2);
  ck_assert_uint_eq (nr_of (text, "blkmq: driver=scripted: hctx 1, tag "), 2);
  ck_assert_uint_eq (nr_of (text, "completion with a dead token"), 2);
  ck_assert_int_eq (
      sscanf (text, "blkmq: driver=scripted: hctx 1, tag %u:", &tag), 1);
  ck_assert_uint_lt (tag, 4);
  free (text);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* The dump                                                                  */

/* What BED's disk prints; free it. */
static char *
dump (struct bed *bed)
{
  size_t nr_bytes;
  char *text;
  FILE *file = open_memstream (&text, &nr_bytes);

  ck_assert_ptr_nonnull (file);
  blkmq_disk_dump (bed->disk, file);
  ck_assert_int_eq (fclose (file), 0);
  return text;
}

/* The line with PART in it ends with END. */
static void
check_line (const char *text, const char *part, const char *end)
{
  const char *line = strstr (text, part);
  size_t length;

  ck_assert_ptr_nonnull (line);
  length = strcspn (line, "\n");
  ck_assert_uint_ge (length, strlen (end));
  ck_assert_mem_eq (line + length - strlen (end), end, strlen (end));
}

START_TEST (test_dump_shows_the_requests_that_are_not_free)
{
  struct bed *bed = start_faulty ("hw_queue_depth=4 io_timeout=100");
  struct test_io gone, aborted, queued;
  char *text;

  test_io_submit (&gone, bed, 7);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  test_io_submit_early (&aborted, bed, 3);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &aborted.io), 1);
  blkmq_quiesce (bed->disk);
  test_io_init (&queued, bed, BLKMQ_OP_WRITE, 5);
  blkmq_submit (bed->submitter, &queued.io);

  text = dump (bed);
  ck_assert_uint_eq (nr_of (text, "driver=scripted "), 1);
  ck_assert_uint_eq (
      nr_of (text, "hctx 0: 2 of 4 tags taken, 0 pins, scan armed, 1 requests "
                   "queued, 0 ios wait for a tag, quiesced\n"),
      1);
  ck_assert_uint_eq (nr_of (text, ": read, 512 bytes at 1536, generation "), 1);
  check_line (text, ": read,",
              ", in flight, held, ended, 1 reference, ended by abort");
  ck_assert_uint_eq (nr_of (text, ": write, 512 bytes at 2560, generation "),
                     1);
  check_line (text, ": write,", ", queued, held, 2 references");
  ck_assert_uint_eq (nr_of (text, "hctx 0, tag "), 2);
#ifdef BLKMQ_DEBUG
  ck_assert_uint_gt (nr_of (text, "] "), 0);
#else
  /* A line for the disk, one for the hctx, one for each request. */
  ck_assert_uint_eq (nr_of (text, "\n"), 4);
#endif
  free (text);
  blkmq_unquiesce (bed->disk);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
is_busy (struct script *script, const struct issue *issue)
{
  return BLKMQ_BUSY_DEVICE;
}

static void
check_hctx_line (struct bed *bed, unsigned hctx, const char *end)
{
  char *text = dump (bed), part[16];

  snprintf (part, sizeof part, "hctx %u:", hctx);
  check_line (text, part, end);
  free (text);
}

START_TEST (test_dump_tells_requests_from_tags)
{
  struct bed *bed
      = start_faulty ("scheduler=mq-deadline hw_queue_depth=4 nr_requests=10");
  struct test_io below, waiting[2];

  test_io_submit (&below, bed, 0);
  blkmq_quiesce (bed->disk);
  test_io_submit (&waiting[0], bed, 2);
  test_io_submit (&waiting[1], bed, 4);
  check_hctx_line (bed, 0,
                   "hctx 0: 1 of 4 tags taken, 3 of 10 requests, 2 in the "
                   "scheduler, 0 pins, 0 requests queued, 0 ios wait for a "
                   "tag, quiesced");
  blkmq_unquiesce (bed->disk);
  for (unsigned i = 0; i < 3; i++)
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_dump_says_why_an_hctx_does_nothing)
{
  struct bed *bed = start_faulty ("submit_queues=2");
  struct test_io t;

  check_hctx_line (bed, 1, "wait for a tag");
  ck_assert_int_eq (update_queues (bed->disk, 1, 0, NULL), 0);
  check_hctx_line (bed, 1, "wait for a tag, dropped");
  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 0);
  check_hctx_line (bed, 0, "wait for a tag, frozen");
  blkmq_unfreeze (bed->disk);
  bed->script.on_queue = is_busy;
  test_io_submit (&t, bed, 0);
  check_hctx_line (bed, 0, "1 requests queued, 0 ios wait for a tag, stalled");
  blkmq_disk_remove (bed->disk);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  check_hctx_line (bed, 1, ", removed, dropped");
  bed_stop (bed);
}
END_TEST

START_TEST (test_dump_of_an_idle_disk_has_no_request)
{
  struct bed *bed = bed_start ("submit_queues=3");
  char *text = dump (bed);

  ck_assert_uint_eq (nr_of (text, "\n"), 4);
  ck_assert_uint_eq (nr_of (text, "tag "), 0);
  free (text);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("mistakes");
  TCase *tcase;

  tcase = harness_case (suite, "report");
  tcase_add_test (tcase, test_giving_back_twice_is_reported);
  tcase_add_test (tcase, test_what_the_engine_took_back_is_no_mistake);
  tcase_add_test (tcase, test_report_comes_once_a_disk_and_names_the_place);

  tcase = harness_case (suite, "dump");
  tcase_add_test (tcase, test_dump_shows_the_requests_that_are_not_free);
  tcase_add_test (tcase, test_dump_tells_requests_from_tags);
  tcase_add_test (tcase, test_dump_says_why_an_hctx_does_nothing);
  tcase_add_test (tcase, test_dump_of_an_idle_disk_has_no_request);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
