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
#include "engine/tagset.h"
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

/* A disk that joins a tag set has to say what the set is at that moment. */
static int
alloc_in_set (struct run *run, const struct disk_options *options,
              struct blkmq_error *error)
{
  struct round *round = run->unit->round;
  struct blkmq_tag_set *set = round->set;
  struct blkmq_config *config;
  unsigned queues = 0, depth = 0;
  int r;

  do {
    if (set != NULL) {
      pthread_mutex_lock (&set->update_lock);
      queues = set->nr_hw_queues;
      depth = set->queue_depth;
      pthread_mutex_unlock (&set->update_lock);
    }
    run->device = device_alloc (run);
    config = matrix_config (round->shape, queues, depth);
    r = disk_alloc (config, options, set, &run->disk, error);
    blkmq_config_free (config);
    if (r < 0)
      device_free (run->device);
  } while (r == -EINVAL && set != NULL && round->shape->live);
  return r;
}

static struct run *
power_on (struct unit *unit)
{
  const struct shape *shape = unit->round->shape;
  struct disk_options options = { .clock = shape->fast ? &unit->clock : NULL,
                                  .manual_loops = shape->fast };
  struct run *run = calloc (1, sizeof *run);
  struct blkmq_error error;

  require (run != NULL);
  run->unit = unit;
  if (alloc_in_set (run, &options, &error) < 0
      || blkmq_disk_start (run->disk, &error) < 0) {
    fprintf (stderr, "stress: %s\n", error.message);
    require (!"a disk can be had");
  }
  /* What the device does on purpose is not worth a word, nor, in a debug build,
   * the end. */
  run->disk->set->mistakes.are_borne = true;
  run->disk->set->mistakes.are_reported = true;
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

/* What an io needs of the flush machinery, if it gets that far. */
static void
count_flushes (struct run *run, const struct blkmq_io *io,
               enum blkmq_status status)
{
  const struct shape *shape = run->unit->round->shape;
  bool ok = status == BLKMQ_STS_OK, is_empty = io->bytes == 0;
  bool pre = io->flags & BLKMQ_IO_PREFLUSH;
  bool post = (io->flags & BLKMQ_IO_FUA) && io->op != BLKMQ_OP_READ && !is_empty
              && !shape->fua;
  unsigned nr = is_empty ? 1 : (unsigned)pre + (unsigned)post;

  /* Without a cache a flush is a request like any other. */
  if (is_empty && ok && (shape->cache || io->op != BLKMQ_OP_FLUSH))
    run->empty_ok++;
  if (!shape->cache)
    return;
  atomic_fetch_add (&run->joins, nr);
  if (ok)
    atomic_fetch_add (&run->joins_ok, nr);
  if (post && !ok) {
    run->post_failed++;
    atomic_fetch_add (&run->post_failed_bytes[io->op], io->bytes);
  }
}

void
run_count_end (struct run *run, const struct blkmq_io *io,
               enum blkmq_status status)
{
  run->ended[status]++;
  run->ended_op[io->op]++;
  if (status == BLKMQ_STS_OK)
    atomic_fetch_add (&run->ok_bytes[io->op], io->bytes);
  count_flushes (run, io, status);
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

/* The engine makes flushes for those who need one, and each is a request, or
 * rejected by removal. */
static void
check_flushes (struct run *run, const struct blkmq_stats *s)
{
  uint64_t joins = s->flushes + s->flushes_coalesced;

  if (!run->unit->round->shape->cache) {
    require_op (joins, ==, 0);
    return;
  }
  require_op (s->ios[BLKMQ_OP_FLUSH], <=, s->flushes);
  if (!run->removed)
    require_op (s->ios[BLKMQ_OP_FLUSH], ==, s->flushes);
  require_op (joins, >=, run->joins_ok);
  require_op (joins, <=, run->joins);
}

/* What came of each io: it was rejected, it became a request, it joined one, or
 * it needed no more than a flush; and two of these if its data was written and
 * the flush after that failed. */
static void
check_fates (struct run *run, const struct blkmq_stats *s)
{
  uint64_t fates = sum_of (s->ios, BLKMQ_NR_OPS) + s->merges
                   + sum_of (s->rejected, BLKMQ_NR_STATUSES) + run->empty_ok
                   - s->flushes;

  if (run->unit->round->shape->max_part_bytes == 0)
    require_op (fates, <=, run->submitted + run->post_failed);
  require_op (fates, >=, run->submitted);
}

/* Those of one request share its status, as those of one flush do. */
static void
check_statuses (struct run *run, const struct blkmq_stats *s)
{
  uint64_t ok
      = sum_of (s->ios, BLKMQ_NR_OPS) - sum_of (s->errors, BLKMQ_NR_STATUSES);
  uint64_t ended_ok = run->ended[BLKMQ_STS_OK] - run->empty_ok;

  for (unsigned i = 1; i < BLKMQ_NR_STATUSES; i++) {
    uint64_t nr = s->errors[i] + s->rejected[i];

    require_op (nr, <=, run->ended[i] + s->flushes);
    require_op (nr + s->merges, >=, run->ended[i]);
  }
  require_op (ok, <=, ended_ok + s->flushes + run->post_failed);
  require_op (ok + s->merges, >=, ended_ok);
}

static void
check_bytes (struct run *run, const struct blkmq_stats *s)
{
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    require_op (s->bytes[op], >=, run->ok_bytes[op]);
    if (run->unit->round->shape->max_part_bytes == 0)
      require_op (s->bytes[op], <=,
                  run->ok_bytes[op] + run->post_failed_bytes[op]);
    if (run->unit->round->shape->max_part_bytes == 0
        && !(run->unit->round->shape->cache && op == BLKMQ_OP_FLUSH))
      require_op (s->ios[op], <=, run->ended_op[op]);
  }
}

static void
check_ios (struct run *run, const struct blkmq_stats *s)
{
  const struct shape *shape = run->unit->round->shape;
  uint64_t ended = 0;

  for (unsigned i = 0; i < BLKMQ_NR_STATUSES; i++)
    ended += run->ended[i];
  require_op (ended, ==, run->submitted);
  require_op (run->given_back, ==, run->early);
  require_op (s->rejected[BLKMQ_STS_INVAL], ==, run->ended[BLKMQ_STS_INVAL]);
  require_op (s->errors[BLKMQ_STS_OK] + s->rejected[BLKMQ_STS_OK], ==, 0);
  if (!shape->may_merge)
    require_op (s->merges, ==, 0);
  check_flushes (run, s);
  check_fates (run, s);
  check_bytes (run, s);
  /* Parts: how many an io had that ended early is the engine's affair. */
  if (shape->max_part_bytes != 0)
    require_op (sum_of (s->ios, BLKMQ_NR_OPS), <=, run->max_parts + s->flushes);
  else
    check_statuses (run, s);
}

/* Each request was measured once. */
static void
check_latencies (struct run *run, const struct blkmq_stats *s)
{
  static __thread struct blkmq_histogram histogram;

  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    if (!run->unit->round->shape->iostats) {
      require_op (s->time_ns[op], ==, 0);
      continue;
    }
    require_op (blkmq_disk_latency (run->disk, BLKMQ_HCTX_ANY,
                                    (enum blkmq_op)op, &histogram),
                ==, 0);
    require_op (histogram.count, ==, s->ios[op]);
    require_op (histogram.sum_ns, ==, s->time_ns[op]);
  }
}

static void
check_faults (struct run *run, const struct blkmq_stats *s)
{
  const struct shape *shape = run->unit->round->shape;
  const struct device_counts *d = device_counts (run->device);
  /* Requests that a completion has ended. */
  uint64_t won = sum_of (s->ios, BLKMQ_NR_OPS)
                 - sum_of (s->errors, BLKMQ_NR_STATUSES)
                 + s->errors[BLKMQ_STS_MEDIUM];
  /* Nothing but completions has ended a request. */
  bool is_plain = s->errors[BLKMQ_STS_TIMEOUT] == 0
                  && s->errors[BLKMQ_STS_ABORTED] == 0 && !run->removed;

  /* A timer that finds its request gone has a dead token as well; and what is
   * counted with a set's tags is counted for all its disks. */
  if (shape->may_be_kept || shape->set)
    require_op (s->stale_tokens, >=, d->stale);
  else
    require_op (s->stale_tokens, ==, d->stale);
  require_op (s->stale_handles, >=, run->stale_handles);
  require_op (s->stale_handles, <=, run->stale_handles + run->zero_aborts);

  require_op (s->timeouts, ==,
              s->timeouts_done + s->timeouts_reset + s->timeouts_held);
  require_op (s->timeouts_done, >=, d->done);
  /* A layer that keeps a request when it runs out says so itself. */
  if (shape->may_be_kept)
    require_op (s->timeouts_reset, >=, d->reset);
  else
    require_op (s->timeouts_reset, ==, d->reset);
  require_op (s->timeouts_held, ==, d->held);
  require_op (s->errors[BLKMQ_STS_TIMEOUT]
                  + s->lost_claims[BLKMQ_CAUSE_TIMEOUT],
              <=, s->timeouts_done + s->timeouts_held);

  if (!shape->may_refuse)
    require_op (s->busy, <=, d->busy);
  require_op (s->requeues, <=, d->requeues);
  if (is_plain) {
    require_op (s->busy, >=, d->busy);
    require_op (s->requeues, ==, d->requeues);
    require_op (sum_of (s->lost_claims, BLKMQ_NR_CAUSES), ==, 0);
  }
  if (!shape->may_be_kept)
    require_op (d->completes, ==, won + s->lost_claims[BLKMQ_CAUSE_COMPLETE]);

  if (shape->max_part_bytes == 0) {
    require_op (s->errors[BLKMQ_STS_ABORTED], <=,
                run->aborted + run->nr_gave_up);
    require_op (run->aborted, <=, run->ended[BLKMQ_STS_ABORTED] + s->flushes);
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
  check_latencies (run, &stats);
}

static void
run_free (struct run *run)
{
  struct blkmq_stats stats;

  blkmq_disk_stats (run->disk, BLKMQ_HCTX_ANY, &stats);
  add_to_sum (run->unit, &stats);
  blkmq_disk_put (run->disk);
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
  run_count_end (guest->run, io, status);
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

/* The load is over, but a device may still have what a timeout has ended, and
 * the engine a flush for which nobody waits any more. */
static void
settle (struct run *run)
{
  const struct shape *shape = run->unit->round->shape;
  struct blkmq_stats s;
  unsigned nr_taken;

  for (;; pause_us (50)) {
    require_op (blkmq_disk_stats (run->disk, BLKMQ_HCTX_ANY, &s), ==, 0);
    nr_taken = 0;
    for (unsigned i = 0; i < run->disk->nr_hw_queues && !shape->set; i++) {
      struct blkmq_hctx *h = disk_hctx (run->disk, i);

      nr_taken += pool_nr_taken (hctx_pool (h));
      nr_taken += pool_nr_taken (hctx_tag_pool (h));
    }
    if (nr_taken == 0 && s.waiting == 0
        && sum_of (s.in_flight, BLKMQ_NR_OPS) == 0
        && (!shape->cache || s.ios[BLKMQ_OP_FLUSH] == s.flushes)
        && device_is_idle (run->device))
      return;
  }
}

/* Nothing is dispatched: just as many ios get a tag as there are tags, which
 * shows that all of them are free; one more is refused; and those that then
 * wait, and some who come when it goes on, are served in their order if one tag
 * serves them. */
static void
fill_house (struct run *run, unsigned index)
{
  const struct shape *shape = run->unit->round->shape;
  const struct request_pool *pool = hctx_pool (disk_hctx (run->disk, index));
  unsigned nr = pool->depth - pool->nr_reserved;
  unsigned nr_waiting = nr == 1 ? 1024 : 16;
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
  unit->blocks
      = calloc (unit->media_bytes / BLOCK_BYTES, sizeof unit->blocks[0]);
  require (unit->media != NULL && unit->blocks != NULL);
  unit->current = power_on (unit);
  return unit;
}

void
unit_free (struct unit *unit)
{
  pthread_mutex_destroy (&unit->lock);
  free (unit->blocks);
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
  /* A flush that timed out may still be with the device. */
  require_op (blkmq_freeze (run->disk, NULL, 0), >=, 0);
  blkmq_unfreeze (run->disk);
  device_calm (run->device);
  unit->round->stage = "the device gives back";
  settle (run);
  unit->round->stage = "all tags are free";
  /* Shares are no numbers to count on. */
  for (unsigned i = 0;
       i < run->disk->nr_hw_queues && !unit->round->shape->is_shared; i++)
    fill_house (run, i);
  settle (run);
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
unit_dump_state (struct unit *unit)
{
  struct run *run = unit->current;
  struct blkmq_stats s;

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
             ", timeouts %" PRIu64 ", stale %" PRIu64 ", flushes %" PRIu64
             ", saved %" PRIu64 "\n",
             sum_of (s.ios, BLKMQ_NR_OPS),
             sum_of (s.rejected, BLKMQ_NR_STATUSES), s.waiting,
             sum_of (s.in_flight, BLKMQ_NR_OPS), s.busy, s.requeues, s.timeouts,
             s.stale_tokens, s.flushes, s.flushes_coalesced);
  disk_dump_hctxs (run->disk, stderr);
}

void
unit_dump (struct unit *unit)
{
  unsigned nr = 0;

  unit_dump_state (unit);
  if (unit->current != NULL)
    blkmq_for_each_request (unit->current->disk, print_request, &nr);
}
