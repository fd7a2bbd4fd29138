/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-sync.c: a thread that waits for its io is the timer of its request.
 */

#include <config.h>

#include <errno.h>

#include "harness.h"

static struct gate gate = GATE_INITIALIZER;

static void
waits_at_the_gate (struct test_io *t)
{
  gate_pass (&gate);
}

START_TEST (test_sync_io_ends_in_time_though_the_loop_is_busy)
{
  struct bed *bed = bed_alloc ();
  char data[BLOCK_BYTES];
  struct test_io t;

  bed->script.driver = "memory";
  bed_open_threads (bed, "irqmode=timer completion_nsec=1ms");
  /* Nobody waits for this one: it ends on the loop, and stays there. */
  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  t.on_end = waits_at_the_gate;
  blkmq_submit (bed->submitter, &t.io);
  gate_await_arrival (&gate, 1);

  for (unsigned i = 0; i < 3; i++)
    ck_assert_int_eq (blkmq_read (bed->submitter, data, sizeof data, 0), 0);
  ck_assert_uint_eq (bed_hctx (bed, 0)->nr_sleepers, 0);
  gate_open (&gate);
  await (t.nr_ends == 1);
  bed_stop (bed);
}
END_TEST

static bool
no_longer (void *opaque)
{
  return false;
}

START_TEST (test_abort_wakes_who_is_the_timer)
{
  struct bed *bed = bed_alloc ();
  char data[BLOCK_BYTES];
  struct iovec segment = { data, sizeof data };
  struct blkmq_io io = {
    .op = BLKMQ_OP_READ,
    .bytes = sizeof data,
    .segments = &segment,
    .nr_segments = 1,
  };

  bed->script.driver = "memory";
  bed_open_threads (bed, "irqmode=timer completion_nsec=3600s");
  ck_assert_int_eq (
      blkmq_submit_sync_while (bed->submitter, &io, 1 * MS, no_longer, NULL),
      -ECANCELED);
  ck_assert_uint_eq (bed_hctx (bed, 0)->nr_sleepers, 0);
  bed_stop (bed);
}
END_TEST

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("sync");
  TCase *tcase = harness_case (suite, "timer");

  tcase_add_test (tcase, test_sync_io_ends_in_time_though_the_loop_is_busy);
  tcase_add_test (tcase, test_abort_wakes_who_is_the_timer);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
