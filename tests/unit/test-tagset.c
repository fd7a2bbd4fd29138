/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-tagset.c: disks, and hctxs of a disk, that draw on the same tags: fair
 * shares and turns, look-ups that do not mix them up, disks that come and go;
 * and reserved tags.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "engine/share.h"
#include "harness.h"

/* ------------------------------------------------------------------------ */
/* Several beds on one set                                                   */

#define MAX_BEDS 3

struct beds {
  struct blkmq_tag_set *set;
  struct bed *bed[MAX_BEDS];
  unsigned nr;
};

static struct bed *
bed_in (struct beds *beds, const char *driver, const char *keys,
        enum blkmq_queue_result (*on_queue) (struct script *,
                                             const struct issue *))
{
  struct bed *bed = bed_alloc ();

  bed->script.driver = driver;
  bed->script.on_queue = on_queue;
  bed->script.depth = 64; /* with a scheduler there are more names than tags */
  bed->set = beds->set;
  bed_open (bed, keys);
  beds->bed[beds->nr++] = bed;
  return bed;
}

static void
stop_beds (struct beds *beds)
{
  for (unsigned i = 0; i < beds->nr; i++)
    bed_stop (beds->bed[i]);
  bed_set_free (beds->set);
}

/* What one disk does may be another's to go on with. */
static void
turn_beds (struct beds *beds)
{
  for (unsigned round = 0; round < 3; round++) {
    for (unsigned i = 0; i < beds->nr; i++)
      bed_turn (beds->bed[i]);
  }
}

static void
pass_beds (struct beds *beds, uint64_t ns)
{
  for (unsigned i = 0; i < beds->nr; i++)
    clock_advance (&beds->bed[i]->clock, ns);
  turn_beds (beds);
}

/* Keeps NR ios under way: each that ends is submitted again, from end_io. */
struct flow {
  struct bed *bed;
  struct test_io *ios;
  unsigned nr;
  uint64_t nr_ended;
  bool stop;
};

static void
submits_again (struct test_io *t)
{
  struct flow *flow = t->opaque;

  flow->nr_ended++;
  if (flow->stop)
    return;
  test_io_init (t, flow->bed, BLKMQ_OP_READ, 0);
  t->on_end = submits_again;
  t->opaque = flow;
  blkmq_submit (flow->bed->submitter, &t->io);
}

static void
flow_start (struct flow *flow, struct bed *bed, unsigned nr)
{
  flow->bed = bed;
  flow->nr = nr;
  flow->nr_ended = 0;
  flow->stop = false;
  flow->ios = calloc (nr, sizeof flow->ios[0]);
  require (flow->ios != NULL);
  for (unsigned i = 0; i < nr; i++) {
    test_io_init (&flow->ios[i], bed, BLKMQ_OP_READ, 0);
    flow->ios[i].on_end = submits_again;
    flow->ios[i].opaque = flow;
    blkmq_submit (bed->submitter, &flow->ios[i].io);
  }
}

/* The disks are removed: nothing of it is under way. */
static void
flow_free (struct flow *flow)
{
  free (flow->ios);
}

static unsigned
in_flight (struct bed *bed)
{
  return (unsigned)bed_stats (bed).in_flight[BLKMQ_OP_READ];
}

/* ------------------------------------------------------------------------ */
/* Shares                                                                    */

#define KEYS16 "hw_queue_depth=16 "

/* With a scheduler, shares are of the driver tags. */
static void
check_shares (const char *slow_keys, const char *fast_keys)
{
  struct beds beds = { bed_set_alloc ("scripted", KEYS16), { NULL }, 0 };
  struct bed *slow
      = bed_in (&beds, "scripted", slow_keys, script_completes_inside);
  struct bed *fast
      = bed_in (&beds, "scripted", fast_keys, script_completes_inside);
  struct flow slow_flow, fast_flow;
  uint64_t fast_before, slow_before;

  /* The slow one has all tags, and a thousand more ios, when the other comes.
   */
  flow_start (&slow_flow, slow, 1024);
  ck_assert_uint_eq (atomic_load (&bed_hctx (slow, 0)->nr_taken), 16);
  flow_start (&fast_flow, fast, 64);
  for (unsigned ms = 0; ms < 200; ms++)
    pass_beds (&beds, 1 * MS);
  fast_before = fast_flow.nr_ended;
  slow_before = slow_flow.nr_ended;
  for (unsigned ms = 0; ms < 1000; ms++) {
    pass_beds (&beds, 1 * MS);
    ck_assert_uint_eq (atomic_load (&bed_hctx (slow, 0)->nr_taken), 8);
  }
  /* Half of the tags each, all the time. */
  ck_assert_uint_eq (fast_flow.nr_ended - fast_before, 8 * 1000);
  ck_assert_uint_eq (slow_flow.nr_ended - slow_before, 8 * 10);
  slow_flow.stop = fast_flow.stop = true;
  stop_beds (&beds);
  flow_free (&slow_flow);
  flow_free (&fast_flow);
}

#define SLOW "irqmode=timer completion_nsec=100ms "
#define FAST "irqmode=timer completion_nsec=1ms "

START_TEST (test_slow_disk_does_not_slow_down_a_fast_one)
{
  check_shares (KEYS16 SLOW, KEYS16 FAST);
}
END_TEST

START_TEST (test_slow_disk_with_a_scheduler_does_not_either)
{
  check_shares (KEYS16 SLOW "scheduler=mq-deadline", KEYS16 FAST);
  check_shares (KEYS16 SLOW, KEYS16 FAST "scheduler=mq-deadline");
  check_shares (KEYS16 SLOW "scheduler=mq-deadline",
                KEYS16 FAST "scheduler=mq-deadline");
}
END_TEST

START_TEST (test_submitter_that_pauses_keeps_its_share)
{
  struct beds beds = { bed_set_alloc ("scripted", KEYS16), { NULL }, 0 };
  struct bed *busy
      = bed_in (&beds, "scripted", KEYS16 "irqmode=timer completion_nsec=100ms",
                script_completes_inside);
  struct bed *polite = bed_in (&beds, "scripted", KEYS16, NULL);
  struct flow flow;
  struct test_io t;

  /* Known to be about. */
  test_io_submit (&t, polite, 0);
  issue_complete (&polite->script, 0, BLKMQ_STS_OK);
  flow_start (&flow, busy, 1024);
  for (unsigned i = 1; i <= 10; i++) {
    for (unsigned ms = 0; ms < 900; ms += 100)
      pass_beds (&beds, 100 * MS);
    test_io_submit (&t, polite, i);
    ck_assert_uint_eq (polite->script.nr_issues, i + 1); /* no wait at all */
    issue_complete (&polite->script, i, BLKMQ_STS_OK);
    assert_ended (&t, BLKMQ_STS_OK);
  }
  flow.stop = true;
  stop_beds (&beds);
  flow_free (&flow);
}
END_TEST

START_TEST (test_idle_disk_gives_up_its_share)
{
  struct beds beds = { bed_set_alloc ("scripted", KEYS16), { NULL }, 0 };
  struct bed *idle = bed_in (&beds, "scripted", KEYS16, NULL);
  struct bed *busy = bed_in (&beds, "scripted", KEYS16, NULL);
  struct test_io t, ios[24];

  test_io_submit (&t, idle, 0);
  issue_complete (&idle->script, 0, BLKMQ_STS_OK);
  for (unsigned i = 0; i < NR (ios); i++)
    test_io_submit (&ios[i], busy, i);
  ck_assert_uint_eq (in_flight (busy), 8);
  pass_beds (&beds, SHARE_IDLE_NS);
  issue_complete (&busy->script, 0, BLKMQ_STS_OK);
  turn_beds (&beds);
  ck_assert_uint_eq (in_flight (busy), 8); /* not yet */
  pass_beds (&beds, 1);
  issue_complete (&busy->script, 1, BLKMQ_STS_OK);
  turn_beds (&beds);
  ck_assert_uint_eq (in_flight (busy), 16);
  /* It comes back: the next ones are its own. */
  test_io_submit (&t, idle, 0);
  assert_not_ended (&t);
  issue_complete (&busy->script, 2, BLKMQ_STS_OK);
  turn_beds (&beds);
  ck_assert_uint_eq (in_flight (idle), 1);
  ck_assert_uint_eq (in_flight (busy), 15);
  stop_beds (&beds);
}
END_TEST

/* What the busy one has in flight does not come back, and the idle one does
 * nothing: time alone must tell. */
START_TEST (test_share_of_an_idle_disk_is_found_without_a_put)
{
  struct beds beds = { bed_set_alloc ("scripted", KEYS16), { NULL }, 0 };
  struct bed *idle = bed_in (&beds, "scripted", KEYS16, NULL);
  struct bed *busy = bed_in (&beds, "scripted", KEYS16, NULL);
  struct test_io t, ios[12];

  test_io_submit (&t, idle, 0);
  issue_complete (&idle->script, 0, BLKMQ_STS_OK);
  for (unsigned i = 0; i < NR (ios); i++)
    test_io_submit (&ios[i], busy, i);
  ck_assert_uint_eq (in_flight (busy), 8);
  for (unsigned i = 0; i < 20; i++)
    pass_beds (&beds, SHARE_IDLE_NS / 10);
  ck_assert_uint_eq (in_flight (busy), 12);
  stop_beds (&beds);
}
END_TEST

START_TEST (test_removed_disk_gives_up_its_share_at_once)
{
  struct beds beds = { bed_set_alloc ("scripted", KEYS16), { NULL }, 0 };
  struct bed *gone = bed_alloc (), *busy;
  struct test_io t, ios[16];

  gone->set = beds.set;
  bed_open (gone, KEYS16);
  busy = bed_in (&beds, "scripted", KEYS16, NULL);
  test_io_submit (&t, gone, 0);
  blkmq_disk_remove (gone->disk);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  for (unsigned i = 0; i < NR (ios); i++)
    test_io_submit (&ios[i], busy, i);
  ck_assert_uint_eq (in_flight (busy), 16);
  bed_stop (gone);
  stop_beds (&beds);
}
END_TEST

/* One tag for all, DEPTHS[i] ios on disk i. */
static void
check_nobody_starves (const char *keys, const unsigned *depths, unsigned nr)
{
  struct beds beds
      = { bed_set_alloc ("scripted", "hw_queue_depth=1"), { NULL }, 0 };
  struct flow flows[MAX_BEDS];
  uint64_t least;

  for (unsigned i = 0; i < nr; i++) {
    bed_in (&beds, "scripted", keys, script_completes_inside);
    flow_start (&flows[i], beds.bed[i], depths[i]);
  }
  for (unsigned ms = 0; ms < 3000; ms++)
    pass_beds (&beds, 1 * MS);
  least = flows[0].nr_ended;
  for (unsigned i = 0; i < nr; i++) {
    if (flows[i].nr_ended < least)
      least = flows[i].nr_ended;
    flows[i].stop = true;
  }
  ck_assert_uint_ge (least, 3000 / nr * 9 / 10);
  stop_beds (&beds);
  for (unsigned i = 0; i < nr; i++)
    flow_free (&flows[i]);
}

START_TEST (test_one_tag_goes_round)
{
  static const unsigned depths[][MAX_BEDS]
      = { { 1024, 1024, 1024 }, { 1, 1024, 1 }, { 1, 1, 1 }, { 1024, 1, 7 } };

  for (size_t i = 0; i < NR (depths); i++) {
    for (unsigned nr = 2; nr <= MAX_BEDS; nr++)
      check_nobody_starves ("hw_queue_depth=1 irqmode=timer "
                            "completion_nsec=1ms",
                            depths[i], nr);
    check_nobody_starves ("hw_queue_depth=1 irqmode=timer completion_nsec=1ms "
                          "scheduler=mq-deadline",
                          depths[i], MAX_BEDS);
  }
}
END_TEST

/* The same where a driver completes on a thread of its own, so that all is left
 * to the loops: each io in its turn. */
START_TEST (test_one_tag_goes_round_when_the_driver_completes)
{
  struct beds beds
      = { bed_set_alloc ("scripted", "hw_queue_depth=1"), { NULL }, 0 };
  struct flow flows[2];
  unsigned nr[2] = { 0, 0 };

  for (unsigned i = 0; i < 2; i++) {
    bed_in (&beds, "scripted", "hw_queue_depth=1", NULL);
    flow_start (&flows[i], beds.bed[i], i == 0 ? 1 : 100);
  }
  for (unsigned n = 0; n < 1000; n++) {
    unsigned who = in_flight (beds.bed[0]) == 1 ? 0 : 1;

    ck_assert_uint_eq (in_flight (beds.bed[who]), 1);
    issue_complete (&beds.bed[who]->script, nr[who]++, BLKMQ_STS_OK);
    /* As if the loop of the one that just had it were the faster one. */
    bed_turn (beds.bed[(n / 7 + who) % 2]);
    turn_beds (&beds);
  }
  ck_assert_uint_ge (flows[0].nr_ended, 200);
  ck_assert_uint_ge (flows[1].nr_ended, 200);
  flows[0].stop = flows[1].stop = true;
  stop_beds (&beds);
  flow_free (&flows[0]);
  flow_free (&flows[1]);
}
END_TEST

/* A disk that waits but may not start anything passes the tag on. */
START_TEST (test_frozen_disk_takes_no_turn)
{
  for (unsigned still = 0; still < 2; still++) {
    for (unsigned order = 0; order < 2; order++) {
      struct beds beds
          = { bed_set_alloc ("scripted", "hw_queue_depth=1"), { NULL }, 0 };
      struct bed *a, *frozen, *waiting;
      struct test_io first, second, third;

      for (unsigned i = 0; i < MAX_BEDS; i++)
        bed_in (&beds, "scripted", "hw_queue_depth=1", NULL);
      a = beds.bed[0];
      frozen = beds.bed[1 + order];
      waiting = beds.bed[2 - order];
      test_io_submit (&first, a, 0);
      if (still == 0)
        ck_assert_int_eq (blkmq_freeze (frozen->disk, NULL, 0), 0);
      else
        ck_assert_int_eq (blkmq_quiesce (frozen->disk), 0);
      test_io_submit (&second, frozen, 0);
      test_io_submit (&third, waiting, 0);
      issue_complete (&a->script, 0, BLKMQ_STS_OK);
      turn_beds (&beds);
      ck_assert_uint_eq (waiting->script.nr_issues, 1);
      ck_assert_uint_eq (frozen->script.nr_issues, 0);
      issue_complete (&waiting->script, 0, BLKMQ_STS_OK);
      if (still == 0)
        blkmq_unfreeze (frozen->disk);
      else
        blkmq_unquiesce (frozen->disk);
      turn_beds (&beds);
      ck_assert_uint_eq (frozen->script.nr_issues, 1);
      issue_complete (&frozen->script, 0, BLKMQ_STS_OK);
      assert_ended (&second, BLKMQ_STS_OK);
      stop_beds (&beds);
    }
  }
}
END_TEST

/* Freezing one does not wait for what the others have in flight. */
START_TEST (test_freeze_waits_for_its_own_disk_only)
{
  struct beds beds = { bed_set_alloc ("scripted", KEYS16), { NULL }, 0 };
  struct bed *a = bed_in (&beds, "scripted", KEYS16, NULL);
  struct bed *b = bed_in (&beds, "scripted", KEYS16, NULL);
  struct test_io t, u;

  test_io_submit (&t, a, 0);
  ck_assert_int_eq (blkmq_freeze (b->disk, NULL, 0), 0);
  test_io_submit (&u, b, 0);
  ck_assert_uint_eq (b->script.nr_issues, 0);
  issue_complete (&a->script, 0, BLKMQ_STS_OK);
  blkmq_unfreeze (b->disk);
  ck_assert_uint_eq (b->script.nr_issues, 1);
  stop_beds (&beds);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Disks come and go                                                         */

START_TEST (test_disk_that_was_never_started_leaves_no_trace)
{
  struct beds beds = { bed_set_alloc ("scripted", KEYS16), { NULL }, 0 };
  struct bed *never = bed_alloc (), *other;
  struct test_io ios[20];

  never->set = beds.set;
  ck_assert_int_eq (bed_alloc_disk (never, KEYS16, true), 0);
  blkmq_disk_put (never->disk);
  ck_assert_uint_eq (never->script.nr_closes, 1);
  free (never->script.books);
  free (never);

  other = bed_in (&beds, "scripted", KEYS16, script_completes_inside);
  ck_assert_ptr_eq (beds.set->disks, other->disk);
  ck_assert_ptr_null (other->disk->set_next);
  for (unsigned i = 0; i < NR (ios); i++)
    test_io_submit (&ios[i], other, i);
  ck_assert_int_eq (update_queues (other->disk, 0, 8, NULL), 0);
  stop_beds (&beds);
}
END_TEST

START_TEST (test_disks_of_a_set_must_agree)
{
  static const struct {
    const char *keys, *message;
  } cases[] = {
    { "hw_queue_depth=8", "hw_queue_depth=8: contradicts the tag set, which "
                          "has 16" },
    { KEYS16 "submit_queues=2",
      "submit_queues=2: contradicts the tag set, which has 1" },
    { KEYS16 "shared_tag_bitmap=1",
      "shared_tag_bitmap=1: contradicts the tag set, which has 0" },
  };
  struct blkmq_tag_set *set = bed_set_alloc ("scripted", KEYS16);

  for (size_t i = 0; i < NR (cases); i++) {
    struct bed *bed = bed_alloc ();

    bed->set = set;
    ck_assert_int_eq (bed_alloc_disk (bed, cases[i].keys, true), -EINVAL);
    ck_assert_str_eq (bed->error.message, cases[i].message);
    ck_assert_uint_eq (bed->script.nr_closes, 1);
    free (bed->script.books);
    free (bed);
  }
  bed_set_free (set);
}
END_TEST

/* An update through one disk while a reference still pins a request of another
 * that was removed. */
START_TEST (test_reference_outlives_disk_and_update)
{
  struct beds beds = { bed_set_alloc ("scripted", KEYS16), { NULL }, 0 };
  struct bed *gone = bed_alloc (), *other;
  struct blkmq_request_info info;
  struct blkmq_request *rq;
  struct test_io t;

  gone->set = beds.set;
  bed_open (gone, KEYS16);
  other = bed_in (&beds, "scripted", KEYS16, script_completes_inside);
  test_io_submit_early (&t, gone, 7);
  rq = blkmq_request_get (gone->disk, script_issue (&gone->script, 0)->token);
  ck_assert_ptr_nonnull (rq);
  blkmq_disk_remove (gone->disk);
  assert_ended_early (&t, BLKMQ_STS_OFFLINE);
  ck_assert_int_eq (update_queues (other->disk, 3, 4, NULL), 0);
  ck_assert_int_eq (update_queues (other->disk, 1, 32, NULL), 0);
  blkmq_request_info (rq, &info);
  ck_assert_uint_eq (info.offset_bytes, 7 * BLOCK_BYTES);
  ck_assert (info.ended);
  blkmq_request_put (rq);
  assert_ended (&t, BLKMQ_STS_OFFLINE);
  ck_assert_uint_eq (bed_stats (gone).ios[BLKMQ_OP_READ], 1);
  ck_assert_int_eq (update_queues (gone->disk, 1, 16, NULL), -ENODEV);
  bed_stop (gone);
  ck_assert_int_eq (update_queues (other->disk, 1, 16, NULL), 0);
  ck_assert_ptr_null (atomic_load (&beds.set->retired));
  stop_beds (&beds);
}
END_TEST

/* ---- power-cycled under load, with threads ---- */

#define NR_CYCLES (SANITIZED ? 15 : 60)
#define CYCLE_IOS 48

struct cycler {
  struct blkmq_tag_set *set;
  const char *keys;
  unsigned index;
};

struct load {
  struct bed *bed;
  struct test_io ios[CYCLE_IOS];
  _Atomic unsigned nr_ended, nr_idle;
  unsigned limit;
};

static void
goes_on_while_online (struct test_io *t)
{
  struct load *load = t->opaque;
  struct bed *bed = t->bed;
  unsigned status = t->status;

  if (status == BLKMQ_STS_OFFLINE
      || atomic_fetch_add (&load->nr_ended, 1) >= load->limit) {
    load->nr_idle++;
    return;
  }
  require (status == BLKMQ_STS_OK);
  test_io_init (t, bed, BLKMQ_OP_READ, 0);
  t->on_end = goes_on_while_online;
  t->opaque = load;
  blkmq_submit (bed->submitter, &t->io);
}

static void
load_start (struct load *load, struct bed *bed, unsigned limit)
{
  load->bed = bed;
  load->limit = limit;
  load->nr_ended = load->nr_idle = 0;
  for (unsigned i = 0; i < CYCLE_IOS; i++) {
    test_io_init (&load->ios[i], bed, BLKMQ_OP_READ, 0);
    load->ios[i].on_end = goes_on_while_online;
    load->ios[i].opaque = load;
    blkmq_submit (bed->submitter, &load->ios[i].io);
  }
}

static void *
power_cycles (void *opaque)
{
  const struct cycler *cycler = opaque;
  struct load *load = calloc (1, sizeof *load);
  struct rng rng;

  require (load != NULL);
  rng_init (&rng, cycler->index);
  for (unsigned n = 0; n < NR_CYCLES; n++) {
    struct bed *bed = bed_alloc ();

    bed->script.driver = "null";
    bed->set = cycler->set;
    bed_open_threads (bed, cycler->keys);
    load_start (load, bed, 1000000);
    /* Without an end of its own it must get somewhere: nobody starves. */
    await (load->nr_ended >= rng_below (&rng, 300));
    blkmq_disk_remove (bed->disk);
    require (load->nr_idle == CYCLE_IOS);
    bed_stop (bed);
  }
  free (load);
  return NULL;
}

static void
cycle_power (const char *keys)
{
  struct blkmq_tag_set *set = bed_set_alloc ("null", keys);
  struct load *load = calloc (1, sizeof *load);
  struct cycler cyclers[2] = { { set, keys, 0 }, { set, keys, 1 } };
  struct bed *bed = bed_alloc ();
  pthread_t threads[2];

  require (load != NULL);
  bed->script.driver = "null";
  bed->set = set;
  bed_open_threads (bed, keys);
  load_start (load, bed, 5000);
  for (unsigned i = 0; i < 2; i++)
    threads[i] = thread_start (power_cycles, &cyclers[i]);
  await (load->nr_idle == CYCLE_IOS);
  for (unsigned i = 0; i < 2; i++)
    thread_join (threads[i]);
  ck_assert_uint_ge (load->nr_ended, 5000);
  bed_stop (bed);
  ck_assert_ptr_null (set->disks);
  ck_assert_uint_eq (set->nr_waiting, 0);
  for (unsigned i = 0; i < set->nr_pools; i++) {
    ck_assert_uint_eq (pool_nr_taken (set->pools[i]), 0);
    ck_assert_uint_eq (set->pools[i]->nr_active, 0);
  }
  bed_set_free (set);
  free (load);
}

START_TEST (test_disks_are_power_cycled_under_load)
{
  cycle_power ("hw_queue_depth=4 irqmode=timer completion_nsec=20us");
  cycle_power ("hw_queue_depth=1 irqmode=softirq");
  cycle_power ("hw_queue_depth=2 irqmode=softirq scheduler=mq-deadline");
  cycle_power ("hw_queue_depth=3 submit_queues=2 shared_tag_bitmap=1 "
               "irqmode=timer completion_nsec=20us");
}
END_TEST

/* ------------------------------------------------------------------------ */
/* shared_tag_bitmap                                                         */

#define BITMAP "submit_queues=2 hw_queue_depth=4 shared_tag_bitmap=1"

START_TEST (test_shared_bitmap_depth_is_for_all_hctxs)
{
  struct bed *bed = bed_start (BITMAP);
  struct blkmq_submitter *second = blkmq_submitter_alloc (bed->disk, 1);
  struct test_io ios[6];

  for (unsigned i = 0; i < NR (ios); i++) {
    test_io_init (&ios[i], bed, BLKMQ_OP_READ, i);
    blkmq_submit (i % 2 == 0 ? bed->submitter : second, &ios[i].io);
  }
  ck_assert_uint_eq (bed->script.nr_issues, 4);
  ck_assert_uint_eq (bed_stats (bed).waiting, 2);
  for (unsigned i = 0; i < NR (ios); i++) {
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    bed_turn (bed);
  }
  for (unsigned i = 0; i < NR (ios); i++)
    assert_ended (&ios[i], BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (bed).ios[BLKMQ_OP_READ], NR (ios));
  blkmq_submitter_free (second);
  bed_stop (bed);
}
END_TEST

START_TEST (test_shared_bitmap_hctxs_count_their_own)
{
  struct bed *bed = bed_start (BITMAP);
  struct blkmq_submitter *second = blkmq_submitter_alloc (bed->disk, 1);
  struct blkmq_stats stats;
  struct test_io ios[3];

  for (unsigned i = 0; i < NR (ios); i++) {
    test_io_init (&ios[i], bed, BLKMQ_OP_READ, i);
    blkmq_submit (i == 0 ? bed->submitter : second, &ios[i].io);
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
  }
  for (unsigned i = 0; i < 2; i++) {
    ck_assert_int_eq (blkmq_disk_stats (bed->disk, i, &stats), 0);
    ck_assert_uint_eq (stats.ios[BLKMQ_OP_READ], i + 1);
    ck_assert_uint_eq (stats.bytes[BLKMQ_OP_READ], (i + 1) * BLOCK_BYTES);
  }
  blkmq_submitter_free (second);
  bed_stop (bed);
}
END_TEST

/* The same generation and tag, but the name of another hctx. */
START_TEST (test_handle_of_another_hctx_finds_nothing)
{
  struct bed *bed = bed_start (BITMAP);
  struct blkmq_submitter *second = blkmq_submitter_alloc (bed->disk, 1);
  blkmq_handle right, wrong;
  struct blkmq_request *rq;
  struct test_io t;

  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  blkmq_submit (second, &t.io);
  right = script_issue (&bed->script, 0)->token;
  ck_assert_uint_eq (blkmq_token_hctx (right), 1);
  wrong = right & ~(UINT64_C (0x3ff) << 14);
  ck_assert_ptr_null (blkmq_request_get (bed->disk, wrong));
  ck_assert_uint_eq (bed_stats (bed).stale_handles, 1);
  ck_assert_uint_eq (blkmq_abort_request (bed->disk, wrong), 0);
  rq = blkmq_request_get (bed->disk, right);
  ck_assert_ptr_nonnull (rq);
  blkmq_request_put (rq);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  blkmq_submitter_free (second);
  bed_stop (bed);
}
END_TEST

static int
counts_requests (struct blkmq_request *rq, void *opaque)
{
  ++*(unsigned *)opaque;
  return 0;
}

START_TEST (test_handle_of_another_disk_finds_nothing)
{
  struct beds beds = { bed_set_alloc ("scripted", KEYS16), { NULL }, 0 };
  struct bed *a = bed_in (&beds, "scripted", KEYS16, NULL);
  struct bed *b = bed_in (&beds, "scripted", KEYS16, NULL);
  blkmq_handle handle;
  unsigned nr = 0;
  struct test_io t;

  test_io_submit (&t, a, 0);
  handle = script_issue (&a->script, 0)->token;
  ck_assert_ptr_null (blkmq_request_get (b->disk, handle));
  ck_assert_uint_eq (blkmq_abort_request (b->disk, handle), 0);
  ck_assert_uint_eq (blkmq_abort_submitter (b->submitter), 0);
  ck_assert_int_eq (blkmq_for_each_request (b->disk, counts_requests, &nr), 0);
  ck_assert_uint_eq (nr, 0);
  ck_assert_int_eq (blkmq_for_each_request (a->disk, counts_requests, &nr), 0);
  ck_assert_uint_eq (nr, 1);
  ck_assert_uint_eq (blkmq_abort_request (a->disk, handle), 1);
  issue_complete (&a->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  stop_beds (&beds);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Reserved tags                                                             */

static void
submit_reserved (struct test_io *t, struct bed *bed, uint64_t block)
{
  test_io_init (t, bed, BLKMQ_OP_READ, block);
  t->io.flags = BLKMQ_IO_RESERVED;
  blkmq_submit (bed->submitter, &t->io);
}

START_TEST (test_reserved_does_not_wait_for_ordinary_ones)
{
  struct bed *bed = bed_alloc ();
  struct test_io ordinary[4], reserved[3];

  bed->script.driver = "scripted-reserved"; /* two of them */
  bed_open (bed, "hw_queue_depth=4");
  for (unsigned i = 0; i < NR (ordinary); i++)
    test_io_submit (&ordinary[i], bed, i);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  for (unsigned i = 0; i < NR (reserved); i++)
    submit_reserved (&reserved[i], bed, 100 + i);
  ck_assert_uint_eq (bed->script.nr_issues, 4);
  ck_assert_uint_eq (bed_stats (bed).waiting, 3);
  for (unsigned i = 0; i < 4; i++)
    ck_assert_int_eq (
        blkmq_token_tag (script_issue (&bed->script, i)->token) < 2, i >= 2);
  /* An ordinary tag is of no use to it, nor its own to an ordinary io. */
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  bed_turn (bed);
  ck_assert_uint_eq (script_issue (&bed->script, 4)->offset_bytes,
                     2 * BLOCK_BYTES);
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  bed_turn (bed);
  ck_assert_uint_eq (script_issue (&bed->script, 5)->offset_bytes,
                     102 * BLOCK_BYTES);
  issue_complete (&bed->script, 3, BLKMQ_STS_OK);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 6);
  /* One more ordinary one waits, and a reserved tag is free. */
  submit_reserved (&reserved[0], bed, 103);
  ck_assert_uint_eq (bed->script.nr_issues, 7);
  bed_stop (bed);
}
END_TEST

START_TEST (test_reserved_is_outside_of_shares)
{
  struct beds beds
      = { bed_set_alloc ("scripted-reserved", KEYS16), { NULL }, 0 };
  struct bed *a = bed_in (&beds, "scripted-reserved", KEYS16, NULL);
  struct bed *b = bed_in (&beds, "scripted-reserved", KEYS16, NULL);
  struct test_io one, ordinary[10], reserved[2];

  test_io_submit (&one, b, 0);
  for (unsigned i = 0; i < NR (ordinary); i++)
    test_io_submit (&ordinary[i], a, i);
  ck_assert_uint_eq (in_flight (a), 7); /* half of 14 */
  for (unsigned i = 0; i < NR (reserved); i++)
    submit_reserved (&reserved[i], a, i);
  ck_assert_uint_eq (in_flight (a), 9);
  /* And they count as nobody's. */
  issue_complete (&a->script, 0, BLKMQ_STS_OK);
  turn_beds (&beds);
  ck_assert_uint_eq (in_flight (a), 9);
  stop_beds (&beds);
}
END_TEST

START_TEST (test_reserved_without_any_is_invalid)
{
  struct bed *bed = bed_start ("");
  struct test_io t;

  submit_reserved (&t, bed, 0);
  assert_ended (&t, BLKMQ_STS_INVAL);
  ck_assert_uint_eq (bed->script.nr_issues, 0);
  bed_stop (bed);
}
END_TEST

START_TEST (test_reserved_leaves_one_for_the_others)
{
  struct bed *bed = bed_alloc ();

  bed->script.driver = "scripted-reserved";
  ck_assert_int_eq (bed_alloc_disk (bed, "hw_queue_depth=2", true), -EINVAL);
  ck_assert_str_eq (bed->error.message,
                    "hw_queue_depth=2: driver scripted-reserved reserves 2 "
                    "tags; must be at least 3");
  free (bed->script.books);
  free (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("tagset");
  TCase *tcase = harness_case (suite, "shares");

  tcase_add_test (tcase, test_slow_disk_does_not_slow_down_a_fast_one);
  tcase_add_test (tcase, test_slow_disk_with_a_scheduler_does_not_either);
  tcase_add_test (tcase, test_submitter_that_pauses_keeps_its_share);
  tcase_add_test (tcase, test_idle_disk_gives_up_its_share);
  tcase_add_test (tcase, test_share_of_an_idle_disk_is_found_without_a_put);
  tcase_add_test (tcase, test_removed_disk_gives_up_its_share_at_once);
  tcase_add_test (tcase, test_one_tag_goes_round);
  tcase_add_test (tcase, test_one_tag_goes_round_when_the_driver_completes);
  tcase_add_test (tcase, test_frozen_disk_takes_no_turn);
  tcase_add_test (tcase, test_freeze_waits_for_its_own_disk_only);

  tcase = harness_case (suite, "come and go");
  tcase_add_test (tcase, test_disk_that_was_never_started_leaves_no_trace);
  tcase_add_test (tcase, test_disks_of_a_set_must_agree);
  tcase_add_test (tcase, test_reference_outlives_disk_and_update);
  tcase_add_test (tcase, test_disks_are_power_cycled_under_load);

  tcase = harness_case (suite, "shared_tag_bitmap");
  tcase_add_test (tcase, test_shared_bitmap_depth_is_for_all_hctxs);
  tcase_add_test (tcase, test_shared_bitmap_hctxs_count_their_own);
  tcase_add_test (tcase, test_handle_of_another_hctx_finds_nothing);
  tcase_add_test (tcase, test_handle_of_another_disk_finds_nothing);

  tcase = harness_case (suite, "reserved tags");
  tcase_add_test (tcase, test_reserved_does_not_wait_for_ordinary_ones);
  tcase_add_test (tcase, test_reserved_is_outside_of_shares);
  tcase_add_test (tcase, test_reserved_without_any_is_invalid);
  tcase_add_test (tcase, test_reserved_leaves_one_for_the_others);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
