/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-spin.c: spin_ns: what a loop does in the stretch before a deadline.  The
 * stretches here last an hour, so that a test is in one for certain and never
 * sees its end.
 */

#include <config.h>

#include <errno.h>
#include <ev.h>
#include <time.h>
#include <unistd.h>

#include "engine/loop.h"
#include "engine/spin.h"
#include "harness.h"

#define HOUR (UINT64_C (3600) * 1000 * MS)

/* ------------------------------------------------------------------------ */
/* Arithmetic                                                                */

START_TEST (test_alarm_is_spin_ns_early)
{
  ck_assert_uint_eq (spin_alarm_ns (1000, 0), 1000);
  ck_assert_uint_eq (spin_alarm_ns (1000, 1), 999);
  ck_assert_uint_eq (spin_alarm_ns (1000, 999), 1);
  /* 0 would disarm; what is long over fires at once. */
  ck_assert_uint_eq (spin_alarm_ns (1000, 1000), 1);
  ck_assert_uint_eq (spin_alarm_ns (1000, 5000), 1);
  ck_assert_uint_eq (spin_alarm_ns (0, 0), 1);
  ck_assert_uint_eq (spin_alarm_ns (UINT64_MAX, 0), UINT64_MAX);
  ck_assert_uint_eq (spin_alarm_ns (UINT64_MAX, 1000), UINT64_MAX);
}
END_TEST

START_TEST (test_loop_waits_for_the_last_stretch_only)
{
  ck_assert_int_eq (spin_look (899, 1000, 100), SPIN_SLEEP);
  ck_assert_int_eq (spin_look (900, 1000, 100), SPIN_WAIT);
  ck_assert_int_eq (spin_look (999, 1000, 100), SPIN_WAIT);
  ck_assert_int_eq (spin_look (1000, 1000, 100), SPIN_DUE);
  ck_assert_int_eq (spin_look (2000, 1000, 100), SPIN_DUE);
  ck_assert_int_eq (spin_look (999, 1000, 0), SPIN_SLEEP);
  ck_assert_int_eq (spin_look (1000, 1000, 0), SPIN_DUE);
  ck_assert_int_eq (spin_look (UINT64_MAX - 1, UINT64_MAX, 100), SPIN_SLEEP);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Loops                                                                     */

static uint64_t
now_ns (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

struct rig {
  struct loop *loop;
  _Atomic unsigned nr_kicked, nr_due;
};

static void
rig_kicked (void *opaque)
{
  struct rig *rig = opaque;

  rig->nr_kicked++;
}

static void
rig_due (void *opaque)
{
  struct rig *rig = opaque;

  /* As the timer heap does: the next, before it counts as seen. */
  loop_set_deadline (rig->loop, UINT64_MAX);
  rig->nr_due++;
}

static const struct loop_ops rig_ops = { rig_kicked, rig_due, NULL };

static void
rig_start (struct rig *rig, enum loop_kind kind, struct ev_loop *ev,
           uint64_t spin_ns)
{
  rig->loop = loop_alloc (kind, ev, 0, &rig_ops, rig);
  require (rig->loop != NULL);
  loop_set_spin (rig->loop, spin_ns);
  require (loop_start (rig->loop) == 0);
}

START_TEST (test_spinning_thread_sees_kicks_and_the_end)
{
  struct rig rig = { 0 };

  rig_start (&rig, LOOP_OWN, NULL, 2 * HOUR);
  loop_set_deadline (rig.loop, now_ns () + HOUR);
  for (unsigned i = 1; i <= 1000; i++) {
    loop_kick (rig.loop);
    await (rig.nr_kicked >= i);
  }
  ck_assert_uint_eq (rig.nr_due, 0);
  /* Would wait for an hour. */
  loop_free (rig.loop);
  ck_assert_uint_eq (rig.nr_due, 0);
}
END_TEST

START_TEST (test_spinning_thread_sees_the_deadline_move)
{
  struct rig rig = { 0 };

  rig_start (&rig, LOOP_OWN, NULL, 2 * HOUR);
  for (unsigned i = 1; i <= 100; i++) {
    loop_set_deadline (rig.loop, now_ns () + HOUR);
    ck_assert_uint_eq (rig.nr_due, i - 1);
    if (i % 2)
      loop_set_deadline (rig.loop, now_ns () + 5 * HOUR); /* and back */
    loop_set_deadline (rig.loop, now_ns ());
    await (rig.nr_due >= i);
  }
  loop_free (rig.loop);
  ck_assert_uint_eq (rig.nr_due, 100);
}
END_TEST

/* A deadline that is set in a callback is set when that has returned. */
static void
sets_another (void *opaque)
{
  struct rig *rig = opaque;

  rig->nr_due++;
  loop_set_deadline (rig->loop,
                     rig->nr_due < 100 ? now_ns () + 50 * US : UINT64_MAX);
}

START_TEST (test_deadlines_follow_each_other)
{
  static const uint64_t spins_ns[] = { 0, 10 * US, 1 * MS };
  static const struct loop_ops ops = { sets_another, sets_another, NULL };

  for (size_t i = 0; i < NR (spins_ns); i++) {
    struct rig rig = { 0 };

    rig.loop = loop_alloc (LOOP_OWN, NULL, 0, &ops, &rig);
    require (rig.loop != NULL);
    loop_set_spin (rig.loop, spins_ns[i]);
    require (loop_start (rig.loop) == 0);
    loop_kick (rig.loop);
    await (rig.nr_due >= 100);
    loop_free (rig.loop);
    ck_assert_uint_eq (rig.nr_due, 100);
  }
}
END_TEST

static void
count_byte (struct ev_loop *ev, ev_io *w, int revents)
{
  unsigned *nr = w->data;
  char byte;

  require (read (w->fd, &byte, 1) == 1);
  ++*nr;
}

/* In the stretch a lent loop does not sleep, and serves what else there is. */
START_TEST (test_lent_loop_polls_and_serves_others)
{
  struct ev_loop *ev = ev_loop_new (0);
  struct rig rig = { 0 };
  unsigned nr_bytes = 0;
  int fds[2];
  ev_io other;

  require (ev != NULL && pipe (fds) == 0);
  ev_io_init (&other, count_byte, fds[0], EV_READ);
  other.data = &nr_bytes;
  ev_io_start (ev, &other);
  rig_start (&rig, LOOP_LENT, ev, 2 * HOUR);

  loop_set_deadline (rig.loop, now_ns () + HOUR);
  for (unsigned i = 1; i <= 100; i++) {
    /* The pipe is empty: a poll that slept would sleep for an hour. */
    ev_run (ev, EVRUN_ONCE);
    ck_assert_uint_eq (nr_bytes, i - 1);
    require (write (fds[1], "x", 1) == 1);
    loop_kick (rig.loop);
    while (nr_bytes < i || rig.nr_kicked < i)
      ev_run (ev, EVRUN_ONCE);
  }
  ck_assert_uint_eq (rig.nr_due, 0);
  loop_set_deadline (rig.loop, now_ns ());
  while (rig.nr_due == 0)
    ev_run (ev, EVRUN_ONCE);
  ck_assert_uint_eq (rig.nr_due, 1);
  loop_free (rig.loop);
  ev_io_stop (ev, &other);
  ev_loop_destroy (ev);
  close (fds[0]);
  close (fds[1]);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Disks                                                                     */

START_TEST (test_requests_with_spin_end_on_time_and_not_early)
{
  static const char *const keys[] = {
    "irqmode=timer completion_nsec=0 spin_ns=1ms",
    "irqmode=timer completion_nsec=50us spin_ns=20us",
    "irqmode=timer completion_nsec=50us spin_ns=1ms",
    "irqmode=timer completion_nsec=2ms spin_ns=100us io_timeout=3600s",
  };
  static const uint64_t times_ns[] = { 0, 50 * US, 50 * US, 2 * MS };

  for (size_t i = 0; i < NR (keys); i++) {
    struct bed *bed = bed_alloc ();
    char data[BLOCK_BYTES];

    bed->script.on_queue = script_completes_inside;
    bed_open_threads (bed, keys[i]);
    for (unsigned n = 0; n < 20; n++) {
      uint64_t start_ns = now_ns ();

      ck_assert_int_eq (blkmq_read (bed->submitter, data, sizeof data, 0), 0);
      ck_assert_uint_ge (now_ns () - start_ns, times_ns[i]);
    }
    bed_stop (bed);
  }
}
END_TEST

/* Manual loops and the fake clock know nothing of it. */
START_TEST (test_spin_does_not_move_the_fake_clock)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.on_queue = script_completes_inside;
  bed_open (bed, "irqmode=timer completion_nsec=1ms spin_ns=1ms");
  test_io_submit (&t, bed, 0);
  bed_pass (bed, 1 * MS - 1);
  assert_not_ended (&t);
  bed_pass (bed, 1);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("spin");
  TCase *tcase;

  tcase = harness_case (suite, "arithmetic");
  tcase_add_test (tcase, test_alarm_is_spin_ns_early);
  tcase_add_test (tcase, test_loop_waits_for_the_last_stretch_only);

  tcase = harness_case (suite, "loops");
  tcase_add_test (tcase, test_spinning_thread_sees_kicks_and_the_end);
  tcase_add_test (tcase, test_spinning_thread_sees_the_deadline_move);
  tcase_add_test (tcase, test_deadlines_follow_each_other);
  tcase_add_test (tcase, test_lent_loop_polls_and_serves_others);

  tcase = harness_case (suite, "disks");
  tcase_add_test (tcase, test_requests_with_spin_end_on_time_and_not_early);
  tcase_add_test (tcase, test_spin_does_not_move_the_fake_clock);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
