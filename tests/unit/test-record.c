/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-record.c: what a debug build does more: the flight record, the end of a
 * driver that gives a request back twice, and, with AddressSanitizer, of one
 * that touches a free request.  Built with BLKMQ_DEBUG whatever the build is.
 */

#include <config.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/poison.h"
#include "engine/record.h"
#include "harness.h"

/* ---- reading a record ---- */

struct line {
  unsigned long number, seconds, ns;
  char thread[32];
  unsigned tid;
  char what[32]; /* "complete ok" */
};

#define MAX_LINES (RECORD_NR_MOVES + RECORD_NR_REFERENCES + 1)

static unsigned
read_record (struct request *r, struct line lines[MAX_LINES])
{
  size_t nr_bytes;
  char *text, *rest, *line, *save = NULL;
  FILE *file = open_memstream (&text, &nr_bytes);
  unsigned nr = 0;

  require (file != NULL);
  record_dump (r, file);
  require (fclose (file) == 0);
  for (rest = text; (line = strtok_r (rest, "\n", &save)) != NULL;
       rest = NULL) {
    struct line *l = &lines[nr++];

    require (nr < MAX_LINES);
    require (sscanf (line, " %lu %lu.%lu %31[^[][%u] %31[^:]:", &l->number,
                     &l->seconds, &l->ns, l->thread, &l->tid, l->what)
             == 6);
  }
  free (text);
  return nr;
}

/* The moves, without references, in order. */
static void
check_moves (struct request *r, const char *const wanted[])
{
  struct line lines[MAX_LINES];
  unsigned nr = read_record (r, lines), n = 0;

  for (unsigned i = 0; i < nr; i++) {
    if (strcmp (lines[i].what, "get") == 0
        || strcmp (lines[i].what, "put") == 0)
      continue;
    ck_assert_ptr_nonnull (wanted[n]);
    ck_assert_str_eq (lines[i].what, wanted[n++]);
  }
  ck_assert_ptr_null (wanted[n]);
}

static struct request *
only_request (struct bed *bed)
{
  return hctx_tag_request (bed_hctx (bed, 0), 0);
}

static enum blkmq_timeout_result
says_held (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_HELD;
}

static enum blkmq_timeout_result
says_done (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_DONE;
}

static struct bed *
start (const char *keys,
       enum blkmq_timeout_result (*on_timeout) (struct script *script,
                                                struct blkmq_request *rq,
                                                blkmq_token token))
{
  struct bed *bed = bed_alloc ();

  bed->script.on_timeout = on_timeout;
  bed_open (bed, keys);
  return bed;
}

/* ------------------------------------------------------------------------ */
/* What is recorded                                                          */

START_TEST (test_record_tells_a_life)
{
  static const char *const wanted[]
      = { "issue", "complete ok", "answer ok", "release", NULL };
  struct bed *bed = start ("hw_queue_depth=1", NULL);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  check_moves (only_request (bed), wanted);
  bed_stop (bed);
}
END_TEST

START_TEST (test_record_tells_a_requeue)
{
  static const char *const wanted[]
      = { "start",          "issue",        "return",  "issue",
          "complete nospc", "answer nospc", "release", NULL };
  struct bed *bed = start ("hw_queue_depth=1", NULL);
  struct test_io t;

  blkmq_quiesce (bed->disk);
  test_io_submit (&t, bed, 0);
  blkmq_unquiesce (bed->disk);
  bed_turn (bed);
  issue_requeue (&bed->script, 0);
  bed_turn (bed);
  issue_complete (&bed->script, 1, BLKMQ_STS_NOSPC);
  check_moves (only_request (bed), wanted);
  bed_stop (bed);
}
END_TEST

static enum blkmq_queue_result
is_busy_once (struct script *script, const struct issue *issue)
{
  return script->nr_issues == 1 ? BLKMQ_BUSY_HOST : BLKMQ_QUEUED;
}

START_TEST (test_record_tells_a_refusal)
{
  static const char *const wanted[]
      = { "issue",       "busy",      "return",  "issue",
          "complete ok", "answer ok", "release", NULL };
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.on_queue = is_busy_once;
  bed_open (bed, "hw_queue_depth=1");
  test_io_submit (&t, bed, 0);
  bed_pass (bed, 3 * MS);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  check_moves (only_request (bed), wanted);
  bed_stop (bed);
}
END_TEST

START_TEST (test_record_tells_who_lost)
{
  static const char *const held[]
      = { "issue",         "claim timeout",  "defer",   "complete ok",
          "lose complete", "answer timeout", "release", NULL };
  static const char *const done[]
      = { "issue", "take back timeout", "answer timeout", "release", NULL };
  static const char *const aborted[]
      = { "issue",          "complete ok", "timer arm", "claim abort",
          "answer aborted", "release",     NULL };
  static const char *const timer[]
      = { "issue",          "complete ok", "timer arm", "timer fire",
          "claim complete", "answer ok",   "release",   NULL };
  struct bed *bed = start ("hw_queue_depth=1 io_timeout=100", says_held);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, 101 * MS);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  check_moves (only_request (bed), held);
  bed_stop (bed);

  bed = start ("hw_queue_depth=1 io_timeout=100", says_done);
  test_io_submit (&t, bed, 0);
  bed_pass (bed, 101 * MS);
  check_moves (only_request (bed), done);
  bed_stop (bed);

  bed = start ("hw_queue_depth=1 irqmode=timer completion_nsec=1ms", NULL);
  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  blkmq_abort_io (bed->submitter, &t.io);
  check_moves (only_request (bed), aborted);
  bed_stop (bed);

  bed = start ("hw_queue_depth=1 irqmode=timer completion_nsec=1ms", NULL);
  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_pass (bed, 1 * MS);
  check_moves (only_request (bed), timer);
  bed_stop (bed);
}
END_TEST

static void *
device (void *opaque)
{
  struct bed *bed = opaque;

  pthread_setname_np (pthread_self (), "a-device");
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  return NULL;
}

START_TEST (test_record_tells_thread_and_time)
{
  struct bed *bed = start ("hw_queue_depth=1", NULL);
  struct line lines[MAX_LINES];
  struct test_io t;
  unsigned nr;

  test_io_submit (&t, bed, 0);
  bed_pass (bed, 2 * MS);
  thread_join (thread_start (device, bed));
  nr = read_record (only_request (bed), lines);
  ck_assert_uint_eq (lines[0].tid, (unsigned)gettid ());
  ck_assert_uint_eq (lines[0].seconds, 1);
  ck_assert_uint_eq (lines[0].ns, 0);
  for (unsigned i = 1; i < nr; i++) {
    ck_assert_str_eq (lines[i].thread, "a-device");
    ck_assert_uint_ne (lines[i].tid, (unsigned)gettid ());
    ck_assert_uint_eq (lines[i].ns, 2 * MS);
    ck_assert_uint_gt (lines[i].number, lines[i - 1].number);
  }
  bed_stop (bed);
}
END_TEST

/* Whoever comes often and only looks does not push out what has happened. */
START_TEST (test_record_keeps_the_last_moves)
{
  struct bed *bed = start ("hw_queue_depth=1", NULL);
  struct line lines[MAX_LINES];
  struct test_io t;
  unsigned nr;

  for (unsigned i = 0; i < 100; i++) {
    test_io_submit (&t, bed, 0);
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
  }
  test_io_submit (&t, bed, 0);
  for (unsigned i = 0; i < 100; i++)
    blkmq_request_put (
        blkmq_request_get (bed->disk, script_issue (&bed->script, 100)->token));
  nr = read_record (only_request (bed), lines);
  ck_assert_uint_eq (nr, RECORD_NR_MOVES + RECORD_NR_REFERENCES);
  ck_assert_str_eq (lines[RECORD_NR_MOVES - 1].what, "issue");
  for (unsigned i = RECORD_NR_MOVES; i < nr; i++)
    ck_assert_str_eq (lines[i].what, i % 2 == 0 ? "get" : "put");
  /* The last of each, and none twice. */
  ck_assert_uint_eq (lines[nr - 1].number, 100 * 5 + 1 + 200);
  ck_assert_uint_eq (lines[nr - 1].number - lines[nr - 2].number, 1);
  issue_complete (&bed->script, 100, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ---- read while it is written ---- */

#define NR_LIVES 20000

static _Atomic bool readers_quit;

static void *
reads_all_the_time (void *opaque)
{
  struct bed *bed = opaque;
  struct line lines[MAX_LINES];

  while (!readers_quit) {
    unsigned nr = read_record (only_request (bed), lines);

    /* Each entry is whole: what a writer is at is left out. */
    for (unsigned i = 0; i < nr; i++) {
      require (lines[i].tid != 0 && lines[i].number != 0);
      require (i == 0 || lines[i].number > lines[i - 1].number);
    }
  }
  return NULL;
}

START_TEST (test_record_is_read_while_it_is_written)
{
  struct bed *bed = bed_alloc ();
  pthread_t thread;
  struct test_io t;

  bed->script.on_queue = script_completes_inside;
  bed_open (bed, "hw_queue_depth=1");
  thread = thread_start (reads_all_the_time, bed);
  for (unsigned i = 0; i < NR_LIVES; i++) {
    test_io_submit (&t, bed, 0);
    require (t.nr_ends == 1);
  }
  readers_quit = true;
  thread_join (thread);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* A mistake is the end                                                      */

/* FN is ended by abort, after the report and the history with TOLD in it. */
static void
check_fatal (void (*fn) (void), const char *how, const char *told)
{
  char *text;
  int status = run_captured (fn, &text);

  ck_assert (WIFSIGNALED (status));
  ck_assert_int_eq (WTERMSIG (status), SIGABRT);
  ck_assert_uint_eq (nr_of (text, "blkmq: driver=scripted: hctx 0, tag 0: "),
                     1);
  ck_assert_uint_eq (nr_of (text, how), 1);
  ck_assert_uint_gt (nr_of (text, told), 0);
  ck_assert_uint_eq (nr_of (text, "] refuse: a token of generation "), 1);
  free (text);
}

static void
completes_twice_at_once (void)
{
  struct bed *bed = start ("hw_queue_depth=1", NULL);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
}

static void
completes_what_it_has_requeued (void)
{
  struct bed *bed = start ("hw_queue_depth=1", NULL);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  issue_requeue (&bed->script, 0);
  bed_turn (bed);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
}

static void
completes_the_next_life (void)
{
  struct bed *bed = start ("hw_queue_depth=1", NULL);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
}

static void
requeues_what_it_has_completed (void)
{
  struct bed *bed = start ("hw_queue_depth=1", NULL);
  struct test_io t;

  test_io_submit (&t, bed, 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  issue_requeue (&bed->script, 0);
}

START_TEST (test_giving_back_twice_is_fatal_with_history)
{
  check_fatal (completes_twice_at_once, "completion with a dead token",
               "] complete ok: ");
  check_fatal (completes_what_it_has_requeued, "completion with a dead token",
               "] return: ");
  check_fatal (completes_the_next_life, "completion with a dead token",
               "] complete ok: ");
  check_fatal (requeues_what_it_has_completed, "requeue with a dead token",
               "] complete ok: ");
}
END_TEST

/* ------------------------------------------------------------------------ */
/* The pdu of a free request.  Without AddressSanitizer nobody watches it, and
 * there is nothing to test.                                                 */

#ifdef BLKMQ_ASAN
static void
touches_the_pdu_after_completing (void)
{
  struct bed *bed = start ("hw_queue_depth=1", NULL);
  struct blkmq_request *rq;
  struct test_io t;

  test_io_submit (&t, bed, 0);
  rq = script_issue (&bed->script, 0)->rq;
  memset (rq->pdu, 0, 1); /* it is the driver's */
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  fprintf (stderr, "completed\n");
  *(volatile char *)rq->pdu = 1;
  fprintf (stderr, "touched\n");
}

START_TEST (test_touching_the_pdu_of_a_free_request_kills)
{
  char *text;
  int status = run_captured (touches_the_pdu_after_completing, &text);

  ck_assert (WIFSIGNALED (status) || WEXITSTATUS (status) != 0);
  ck_assert_uint_eq (nr_of (text, "completed\n"), 1);
  ck_assert_uint_eq (nr_of (text, "touched\n"), 0);
  ck_assert_uint_gt (nr_of (text, "use-after-poison"), 0);
  ck_assert_uint_gt (nr_of (text, "touches_the_pdu_after_completing"), 0);
  free (text);
}
END_TEST
#endif

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("record");
  TCase *tcase;

  tcase = harness_case (suite, "record");
  tcase_add_test (tcase, test_record_tells_a_life);
  tcase_add_test (tcase, test_record_tells_a_requeue);
  tcase_add_test (tcase, test_record_tells_a_refusal);
  tcase_add_test (tcase, test_record_tells_who_lost);
  tcase_add_test (tcase, test_record_tells_thread_and_time);
  tcase_add_test (tcase, test_record_keeps_the_last_moves);
  tcase_add_test (tcase, test_record_is_read_while_it_is_written);

  tcase = harness_case (suite, "fatal");
  tcase_add_test (tcase, test_giving_back_twice_is_fatal_with_history);

#ifdef BLKMQ_ASAN
  tcase = harness_case (suite, "poison");
  tcase_add_test (tcase, test_touching_the_pdu_of_a_free_request_kills);
#endif
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
