/* SPDX-License-Identifier: BSD-3-Clause
 *
 * unit.c: a disk of the stress program: power on, power off under load, and
 * what must hold when a run is over: nothing left, and the engine's counters
 * what the harness has counted.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/disk.h"
#include "stress.h"

/* ---- runs ---- */

static void *
run_looper (void *opaque)
{
  struct run *run = opaque;

  const struct shape *shape = run->unit->round->shape;

  rng_name_thread (run->unit->round->stream + 200);
  while (!run->quit_looper) {
    if (permille (300))
      clock_advance (&run->unit->clock, rng_below (30 * US));
    if (permille (50))
      clock_advance (&run->unit->clock, rng_below (shape->io_timeout_ns + MS));
    disk_turn (run->disk);
    sched_yield ();
  }
  return NULL;
}

static struct run *
power_on (struct unit *unit)
{
  const struct shape *shape = unit->round->shape;
  struct disk_options options
      = { shape->fast ? &unit->clock : NULL, shape->fast };
  struct blkmq_config *config = matrix_config (shape);
  struct run *run = calloc (1, sizeof *run);
  struct blkmq_error error;

  require (run != NULL);
  run->unit = unit;
  run->device = device_alloc (run);
  if (disk_alloc (config, &options, NULL, &run->disk, &error) < 0
      || blkmq_disk_start (run->disk, &error) < 0) {
    fprintf (stderr, "stress: %s\n", error.message);
    require (!"a disk can be had");
  }
  blkmq_config_free (config);
  if (shape->fast)
    require_op (pthread_create (&run->looper, NULL, run_looper, run), ==, 0);
  return run;
}

static void
remove_disk (struct run *run)
{
  run->removed = true;
  /* Removal stops loops; this thread it does not know. */
  if (run->unit->round->shape->fast) {
    run->quit_looper = true;
    require_op (pthread_join (run->looper, NULL), ==, 0);
  }
  blkmq_disk_remove (run->disk);
}

struct run *
run_get (struct unit *unit)
{
  struct run *run;

  pthread_mutex_lock (&unit->lock);
  run = unit->current;
  run->nr_users++;
  pthread_mutex_unlock (&unit->lock);
  return run;
}

void
run_put (struct run *run)
{
  run->nr_users--;
}

/* ---- the harness's own count ---- */

void
run_count_end (struct run *run, enum blkmq_op op, uint64_t bytes,
               enum blkmq_status status)
{
  run->ended[status]++;
  run->ended_op[op]++;
  if (status == BLKMQ_STS_OK)
    atomic_fetch_add (&run->ok_bytes[op], bytes);
  run->unit->nr_ended++;
}

void
run_check_status (struct run *run, uint32_t io_flags, bool is_bad,
                  enum blkmq_status status)
{
  const struct shape *shape = run->unit->round->shape;
  bool is_allowed = false;

  switch (status) {
  case BLKMQ_STS_OK:
    is_allowed = true;
    break;
  case BLKMQ_STS_MEDIUM:
    is_allowed = shape->error > 0;
    break;
  case BLKMQ_STS_TIMEOUT:
    is_allowed = shape->io_timeout_ns > 0;
    break;
  case BLKMQ_STS_AGAIN:
    is_allowed = io_flags & BLKMQ_IO_NOWAIT;
    break;
  case BLKMQ_STS_OFFLINE:
    is_allowed = run->removed;
    break;
  case BLKMQ_STS_ABORTED:
    is_allowed = run->nr_aborts > 0;
    break;
  default:
    break;
  }
  /* A bad io may be found aborted before it is found bad. */
  if (is_bad)
    is_allowed = status == BLKMQ_STS_INVAL
                 || (status == BLKMQ_STS_ABORTED && run->nr_aborts > 0);
  if (!is_allowed) {
    fprintf (stderr, "stress: an io ended with %s\n",
             blkmq_status_name (status));
    require (is_allowed);
  }
}

/* ---- what must hold ---- */

static uint64_t
sum_of (const uint64_t *numbers, unsigned nr)
{
  uint64_t sum = 0;

  for (unsigned i = 0; i < nr; i++)
    sum += numbers[i];
  return sum;
}

static void
check_ios (struct run *run, const struct blkmq_stats *s)
{
  uint64_t ios = sum_of (s->ios, BLKMQ_NR_OPS);
  uint64_t errors = sum_of (s->errors, BLKMQ_NR_STATUSES);
  uint64_t rejected = sum_of (s->rejected, BLKMQ_NR_STATUSES);
  uint64_t ended = 0;

  for (unsigned i = 0; i < BLKMQ_NR_STATUSES; i++)
    ended += run->ended[i];
  require_op (ended, ==, run->submitted);
  require_op (run->given_back, ==, run->early);
  require_op (s->rejected[BLKMQ_STS_INVAL], ==, run->ended[BLKMQ_STS_INVAL]);
  require_op (s->errors[BLKMQ_STS_OK] + s->rejected[BLKMQ_STS_OK], ==, 0);

  if (run->unit->round->shape->max_part_bytes != 0) {
    /* Parts: how many an io had that ended early is the engine's affair. */
    require_op (ios + rejected, >=, run->submitted);
    require_op (ios, <=, run->max_parts);
    for (unsigned op = 0; op < BLKMQ_NR_OPS; op++)
      require_op (s->bytes[op], >=, run->ok_bytes[op]);
    return;
  }
  require_op (ios + rejected, ==, run->submitted);
  require_op (ios - errors, ==, run->ended[BLKMQ_STS_OK]);
  for (unsigned i = 1; i < BLKMQ_NR_STATUSES; i++)
    require_op (s->errors[i] + s->rejected[i], ==, run->ended[i]);
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    require_op (s->ios[op], <=, run->ended_op[op]);
    require_op (s->bytes[op], ==, run->ok_bytes[op]);
  }
}

static void
check_faults (struct run *run, const struct blkmq_stats *s)
{
  const struct shape *shape = run->unit->round->shape;
  const struct device_counts *d = device_counts (run->device);
  uint64_t won = run->ended[BLKMQ_STS_OK] + run->ended[BLKMQ_STS_MEDIUM];
  /* Nothing but completions has ended a request. */
  bool is_plain = s->errors[BLKMQ_STS_TIMEOUT] == 0
                  && s->errors[BLKMQ_STS_ABORTED] == 0 && !run->removed;

  /* A timer that finds its request gone has a dead token as well. */
  if (shape->is_timer)
    require_op (s->stale_tokens, >=, d->stale);
  else
    require_op (s->stale_tokens, ==, d->stale);
  require_op (s->stale_handles, >=, run->stale_handles);
  require_op (s->stale_handles, <=, run->stale_handles + run->zero_aborts);

  require_op (s->timeouts, ==,
              s->timeouts_done + s->timeouts_reset + s->timeouts_held);
  require_op (s->timeouts_done, >=, d->done);
  require_op (s->timeouts_reset, ==, d->reset);
  require_op (s->timeouts_held, ==, d->held);
  require_op (s->errors[BLKMQ_STS_TIMEOUT]
                  + s->lost_claims[BLKMQ_CAUSE_TIMEOUT],
              <=, s->timeouts_done + s->timeouts_held);

  require_op (s->busy, <=, d->busy);
  require_op (s->requeues, <=, d->requeues);
  if (is_plain) {
    require_op (s->busy, ==, d->busy);
    require_op (s->requeues, ==, d->requeues);
    require_op (sum_of (s->lost_claims, BLKMQ_NR_CAUSES), ==, 0);
  }
  if (shape->max_part_bytes == 0 && !shape->is_timer)
    require_op (d->completes, ==, won + s->lost_claims[BLKMQ_CAUSE_COMPLETE]);

  if (shape->max_part_bytes == 0) {
    require_op (s->errors[BLKMQ_STS_ABORTED], <=,
                run->aborted + run->nr_gave_up);
    require_op (run->aborted, <=, run->ended[BLKMQ_STS_ABORTED]);
  }
}

static int
must_not_be (struct blkmq_request *rq, void *opaque)
{
  require (!"a request is left");
  return 0;
}

static void
add_to_sum (struct unit *unit, const struct blkmq_stats *stats)
{
  const uint64_t *from = (const uint64_t *)stats;
  uint64_t *to = (uint64_t *)&unit->sum;

  for (size_t i = 0; i < sizeof *stats / sizeof *to; i++)
    to[i] += from[i];
}

/* The run is over, and its disk removed. */
static void
check_run (struct run *run)
{
  struct blkmq_stats stats;

  require_op (blkmq_disk_stats (run->disk, BLKMQ_HCTX_ANY, &stats), ==, 0);
  require_op (sum_of (stats.in_flight, BLKMQ_NR_OPS), ==, 0);
  require_op (stats.waiting, ==, 0);
  blkmq_for_each_request (run->disk, must_not_be, NULL);
  check_ios (run, &stats);
  check_faults (run, &stats);
}

static void
run_free (struct run *run)
{
  struct blkmq_stats stats;

  blkmq_disk_stats (run->disk, BLKMQ_HCTX_ANY, &stats);
  add_to_sum (run->unit, &stats);
  blkmq_disk_put (run->disk); /* the last reference: closes the device */
  device_free (run->device);
  free (run);
}

/* ---- all tags are free, and the order is kept ---- */

struct guest {
  struct blkmq_io io;
  struct run *run;
  struct house *house;
  struct iovec segment;
  _Atomic unsigned nr_ends;
  enum blkmq_status status;
  unsigned position;
  char data[BLOCK_BYTES];
};

struct house {
  _Atomic unsigned nr_positions, nr_ended;
};

static void
guest_end_io (struct blkmq_io *io, enum blkmq_status status)
{
  struct guest *guest = (struct guest *)io;

  guest->status = status;
  require_op (guest->nr_ends++, ==, 0);
  run_count_end (guest->run, io->op, io->bytes, status);
  guest->position = guest->house->nr_positions++;
  guest->house->nr_ended++; /* the last to be set */
}

static void
guest_submit (struct guest *guest, struct house *house, struct run *run,
              struct blkmq_submitter *submitter, uint32_t flags)
{
  guest->house = house;
  guest->run = run;
  guest->segment = (struct iovec){ guest->data, BLOCK_BYTES };
  guest->io = (struct blkmq_io){ .op = BLKMQ_OP_READ,
                                 .flags = flags,
                                 .bytes = BLOCK_BYTES,
                                 .segments = &guest->segment,
                                 .nr_segments = 1,
                                 .end_io = guest_end_io };
  run->submitted++;
  run->min_parts++;
  run->max_parts++;
  blkmq_submit (submitter, &guest->io);
}

/* Nothing is dispatched: just as many ios get a tag as there are tags, which
 * shows that all of them are free; one more is refused; and those that then
 * wait, and some who come when it goes on, are served in their order if one tag
 * serves them. */
static void
fill_house (struct run *run, unsigned index)
{
  const struct shape *shape = run->unit->round->shape;
  unsigned nr = shape->depth, nr_waiting = nr == 1 ? 1024 : 16;
  unsigned nr_late = 256, nr_all = nr + 1 + nr_waiting + nr_late;
  struct blkmq_submitter *submitter = blkmq_submitter_alloc (run->disk, index);
  struct guest *guests = calloc (nr_all, sizeof *guests);
  struct house house = { 0, 0 };

  require (submitter != NULL && guests != NULL);
  require_op (blkmq_quiesce (run->disk), ==, 0);
  for (unsigned i = 0; i < nr; i++) {
    guest_submit (&guests[i], &house, run, submitter, BLKMQ_IO_NOWAIT);
    require_op (guests[i].nr_ends, ==, 0);
  }
  guest_submit (&guests[nr], &house, run, submitter, BLKMQ_IO_NOWAIT);
  require (guests[nr].nr_ends == 1 && guests[nr].status == BLKMQ_STS_AGAIN);
  for (unsigned i = 0; i < nr_waiting; i++)
    guest_submit (&guests[nr + 1 + i], &house, run, submitter, 0);
  require_op (house.nr_ended, ==, 1);
  blkmq_unquiesce (run->disk);
  for (unsigned i = nr_all - nr_late; i < nr_all; i++)
    guest_submit (&guests[i], &house, run, submitter, 0);
  while (house.nr_ended < nr_all)
    pause_us (20);
  for (unsigned i = 0; i < nr_all; i++) {
    if (i == nr)
      continue;
    require (
        guests[i].status == BLKMQ_STS_OK
        || (guests[i].status == BLKMQ_STS_TIMEOUT && shape->io_timeout_ns > 0));
    if (nr == 1)
      require_op (guests[i].position, ==, i == 0 ? 1 : i);
  }
  /* A tag is put after the answer. */
  require (blkmq_freeze (run->disk, NULL, 0) >= 0);
  blkmq_unfreeze (run->disk);
  blkmq_submitter_free (submitter);
  free (guests);
}

/* ---- units ---- */

uint64_t
unit_now_ns (struct unit *unit)
{
  return unit->round->shape->fast ? clock_now_ns (&unit->clock)
                                  : real_now_ns ();
}

struct unit *
unit_alloc (struct round *round, unsigned index)
{
  struct unit *unit = calloc (1, sizeof *unit);

  require (unit != NULL);
  unit->round = round;
  unit->index = index;
  pthread_mutex_init (&unit->lock, NULL);
  clock_init_fake (&unit->clock, 1000 * MS);
  unit->media_bytes
      = slots_media_bytes (NR_WORKERS * crowd_slots_of_worker (round->shape));
  unit->media = calloc (1, unit->media_bytes);
  require (unit->media != NULL);
  unit->current = power_on (unit);
  return unit;
}

void
unit_free (struct unit *unit)
{
  pthread_mutex_destroy (&unit->lock);
  free (unit->media);
  free (unit);
}

void
unit_cycle (struct unit *unit)
{
  struct run *old = unit->current, *new;

  remove_disk (old);
  new = power_on (unit);
  pthread_mutex_lock (&unit->lock);
  unit->current = new;
  unit->epoch++;
  pthread_mutex_unlock (&unit->lock);
  while (old->nr_users > 0)
    pause_us (50);
  check_run (old);
  run_free (old);
}

void
unit_finish (struct unit *unit)
{
  struct run *run = unit->current;

  require_op (run->nr_users, ==, 0);
  unit->round->stage = "freeze";
  require_op (blkmq_freeze (run->disk, NULL, 0), ==, 0);
  blkmq_unfreeze (run->disk);
  device_calm (run->device);
  unit->round->stage = "all tags are free";
  for (unsigned i = 0; i < unit->round->shape->queues; i++)
    fill_house (run, i);
  unit->round->stage = "counters";
  check_run (run);
  unit->round->stage = "removal";
  remove_disk (run);
  check_run (run);
  run_free (run);
  unit->current = NULL;
}

static int
print_request (struct blkmq_request *rq, void *opaque)
{
  unsigned *nr = opaque;
  struct blkmq_request_info info;

  blkmq_request_info (rq, &info);
  fprintf (stderr,
           "    hctx %u tag %u: %s, %" PRIu64 " at %" PRIu64 "%s%s%s%s\n",
           info.hctx, info.tag, blkmq_op_name (info.op), info.bytes,
           info.offset_bytes, info.in_flight ? ", in flight" : ", queued",
           info.held ? ", held" : "", info.ended ? ", ended" : "",
           info.timed_out ? ", timed out" : "");
  return ++*nr == 20;
}

void
unit_dump (struct unit *unit)
{
  struct run *run = unit->current;
  struct blkmq_stats s;
  unsigned nr = 0;

  if (run == NULL)
    return;
  fprintf (stderr,
           "  disk %u: %u users%s, submitted %" PRIu64 ", freeze depth %u, "
           "quiesce depth %u\n",
           unit->index, run->nr_users, run->removed ? ", removed" : "",
           run->submitted, run->disk->freeze_depth, run->disk->quiesce_depth);
  device_dump (run->device);
  if (blkmq_disk_stats (run->disk, BLKMQ_HCTX_ANY, &s) == 0)
    fprintf (stderr,
             "  engine: ios %" PRIu64 ", rejected %" PRIu64 ", waiting %" PRIu64
             ", in flight %" PRIu64 ", busy %" PRIu64 ", requeues %" PRIu64
             ", timeouts %" PRIu64 ", stale %" PRIu64 "\n",
             sum_of (s.ios, BLKMQ_NR_OPS),
             sum_of (s.rejected, BLKMQ_NR_STATUSES), s.waiting,
             sum_of (s.in_flight, BLKMQ_NR_OPS), s.busy, s.requeues, s.timeouts,
             s.stale_tokens);
  blkmq_for_each_request (run->disk, print_request, &nr);
}
