/* SPDX-License-Identifier: BSD-3-Clause
 *
 * crowd.c: the threads that use the disks: workers submit, a keeper holds
 * references and looks at everything, one controller quiesces, one freezes and
 * cuts the power.  Each thread's choices are its own stream's.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blkmq-control.h"
#include "stress.h"

#define MAX_BATCH 16

/* What a worker has of a unit. */
struct share {
  struct unit *unit;
  struct run *run;
  uint64_t epoch; /* of run */
  struct blkmq_submitter *submitter;
  struct slots *slots;
};

struct worker {
  struct round *round;
  unsigned index;
  pthread_t thread;
  struct share shares[MAX_DISKS];
};

/* ---- what each thread does, for the dump ---- */

static __thread const char *_Atomic *doing;

static void
name_thread (struct round *round, unsigned member, uint64_t stream)
{
  doing = &round->doing[member];
  rng_name_thread (round->stream + stream);
}

static void
now (const char *what)
{
  *doing = what;
}

unsigned
crowd_slots_of_worker (const struct shape *shape)
{
  return (shape->iodepth + NR_WORKERS - 1) / NR_WORKERS;
}

/* ---- workers ---- */

static void
join_run (struct share *share)
{
  share->epoch = share->unit->epoch;
  share->run = run_get (share->unit);
  share->submitter = blkmq_submitter_alloc (share->run->disk, BLKMQ_HCTX_ANY);
  require (share->submitter != NULL);
}

static void
leave_run (struct share *share)
{
  blkmq_submitter_free (share->submitter);
  run_put (share->run);
}

static void
count_aborts (struct run *run, unsigned nr)
{
  atomic_fetch_add (&run->aborted, nr);
}

static void
abort_something (struct share *share)
{
  struct blkmq_io *io;

  now ("aborts");
  share->run->nr_aborts++;
  if (permille (30)) {
    count_aborts (share->run, blkmq_abort_submitter (share->submitter));
    return;
  }
  io = slots_any_io (share->slots);
  if (io != NULL)
    count_aborts (share->run, blkmq_abort_io (share->submitter, io));
}

static void
submit_batch (struct share *share, struct slot *slot)
{
  unsigned left = 1 + (unsigned)rng_below (MAX_BATCH);
  struct blkmq_batch batch;

  blkmq_batch_begin (&batch, share->submitter);
  while (slot != NULL) {
    blkmq_batch_add (&batch, slot_io (slot));
    slot = --left > 0
               ? slots_start (share->slots, share->run, share->submitter, false)
               : NULL;
  }
  blkmq_batch_commit (&batch);
}

/* Ios that follow each other: forwards or backwards, as a batch or one by one,
 * so that a scheduler finds them where others are waiting. */
static void
submit_run (struct share *share)
{
  struct slot *slots[MAX_RUN];
  unsigned nr
      = slots_start_run (share->slots, share->run, share->submitter, slots);
  bool is_batch = permille (600), forwards = permille (600);
  struct blkmq_batch batch;

  blkmq_batch_begin (&batch, share->submitter);
  for (unsigned i = 0; i < nr; i++) {
    struct blkmq_io *io = slot_io (slots[forwards ? i : nr - 1 - i]);

    if (is_batch)
      blkmq_batch_add (&batch, io);
    else
      blkmq_submit (share->submitter, io);
  }
  blkmq_batch_commit (&batch);
}

/* Gives up after some looks, if the configuration has aborts at all. */
static bool
keep_waiting (void *opaque)
{
  struct run *run = opaque;

  if (run->unit->round->shape->abort == 0 || !permille (300))
    return true;
  run->nr_aborts++;
  run->nr_gave_up++;
  return false;
}

static void
submit_sync (struct share *share, struct slot *slot)
{
  struct blkmq_io *io = slot_io (slot);
  int r;

  now ("submits and waits for the end");
  if (permille (500))
    r = blkmq_submit_sync (share->submitter, io);
  else
    r = blkmq_submit_sync_while (share->submitter, io, 100 * US, keep_waiting,
                                 share->run);
  slot_finish_sync (slot, r);
}

static void
submit_something (struct share *share)
{
  const struct shape *shape = share->unit->round->shape;
  unsigned dice = (unsigned)rng_below (1000);
  bool is_sync = permille (shape->sync);
  struct slot *slot;

  now ("submits");
  if (permille (shape->runs)) {
    submit_run (share);
    return;
  }
  slot = slots_start (share->slots, share->run, share->submitter, is_sync);
  if (slot == NULL) {
    if (permille (shape->abort * 10))
      abort_something (share);
    now ("waits for its ios");
    slots_wait (share->slots);
  } else if (is_sync)
    submit_sync (share, slot);
  else if (dice < 150)
    submit_batch (share, slot);
  else if (dice < 200) {
    now ("submits and waits for a tag");
    require_op (blkmq_submit_wait (share->submitter, slot_io (slot)), ==, 0);
  } else
    blkmq_submit (share->submitter, slot_io (slot));
}

static void
work (struct worker *worker, struct share *share)
{
  const struct shape *shape = worker->round->shape;

  if (share->unit->epoch != share->epoch) {
    /* To the new run, when all is back from the old. */
    now ("waits for its ios of before the power cycle");
    if (slots_all_idle (share->slots)) {
      leave_run (share);
      join_run (share);
    } else if (permille (100))
      pause_us (20);
    return;
  }
  /* A disk that is gone refuses at once: a few of these will do. */
  if (share->run->removed && !permille (20)) {
    pause_us (20);
    return;
  }
  submit_something (share);
  if (permille (shape->abort))
    abort_something (share);
}

static void *
run_worker (void *opaque)
{
  struct worker *worker = opaque;
  struct round *round = worker->round;
  unsigned nr_disks = round->shape->disks;

  name_thread (round, WORKER + worker->index, worker->index);
  for (unsigned i = 0; i < nr_disks; i++)
    join_run (&worker->shares[i]);
  while (round->nr_submitted < round->quota)
    work (worker, &worker->shares[rng_below (nr_disks)]);
  for (unsigned i = 0; i < nr_disks; i++) {
    now ("waits for the last of its ios");
    while (!slots_all_idle (worker->shares[i].slots))
      slots_wait (worker->shares[i].slots);
    leave_run (&worker->shares[i]);
  }
  now ("done");
  return NULL;
}

static struct worker *
worker_alloc (struct round *round, unsigned index)
{
  struct worker *worker = calloc (1, sizeof *worker);
  unsigned nr = crowd_slots_of_worker (round->shape);

  require (worker != NULL);
  worker->round = round;
  worker->index = index;
  for (unsigned i = 0; i < round->shape->disks; i++) {
    worker->shares[i].unit = round->units[i];
    worker->shares[i].slots
        = slots_alloc (worker, round->units[i], index * nr, nr);
  }
  return worker;
}

static void
worker_free (struct worker *worker)
{
  for (unsigned i = 0; i < worker->round->shape->disks; i++)
    slots_free (worker->shares[i].slots);
  free (worker);
}

/* ---- the keeper of references ---- */

#define NR_KEPT 4
#define MAX_VISITS 8192

struct keeper {
  struct round *round;
  struct run *run;
  struct blkmq_request *kept[NR_KEPT];
  struct blkmq_request_info infos[NR_KEPT]; /* as of the get */
  struct blkmq_stats stats;                 /* as last read */
  unsigned nr_visited;
  const struct blkmq_request *visited[MAX_VISITS];
};

/* What a life is never changes under a reference; ended stays ended. */
static void
check_same_life (const struct shape *shape,
                 const struct blkmq_request_info *was,
                 const struct blkmq_request_info *is)
{
  require (is->op == was->op);
  /* In a scheduler ios may join it; from the first dispatch on no more. */
  if (!shape->may_grow || was->in_flight)
    require (is->offset_bytes == was->offset_bytes && is->bytes == was->bytes);
  require (is->offset_bytes <= was->offset_bytes
           && is->offset_bytes + is->bytes >= was->offset_bytes + was->bytes);
  require (is->hctx == was->hctx && is->tag == was->tag);
  require (blkmq_token_generation (is->handle)
           >= blkmq_token_generation (was->handle));
  require (is->ended || !was->ended);
}

static void
drop_kept (struct keeper *keeper, unsigned i)
{
  struct blkmq_request_info info;

  if (keeper->kept[i] == NULL)
    return;
  blkmq_request_info (keeper->kept[i], &info);
  check_same_life (keeper->round->shape, &keeper->infos[i], &info);
  blkmq_request_put (keeper->kept[i]);
  keeper->kept[i] = NULL;
}

static void
abort_by_handle (struct run *run, blkmq_handle handle)
{
  unsigned nr;

  run->nr_aborts++;
  nr = blkmq_abort_request (run->disk, handle);
  require (nr <= 1);
  if (nr == 0)
    run->zero_aborts++;
  count_aborts (run, nr);
}

static int
compare_pointers (const void *a, const void *b)
{
  uintptr_t x = (uintptr_t) * (const void *const *)a;
  uintptr_t y = (uintptr_t) * (const void *const *)b;

  return x < y ? -1 : x > y;
}

static int
visit (struct blkmq_request *rq, void *opaque)
{
  struct keeper *keeper = opaque;
  struct blkmq_request_info was, is;

  blkmq_request_info (rq, &was);
  require (was.handle != 0 && was.op < BLKMQ_NR_OPS);
  require (was.op == rq->op);
  if (!keeper->round->shape->may_grow || was.in_flight)
    require (was.bytes == rq->bytes && was.offset_bytes == rq->offset_bytes);
  require (was.hctx == blkmq_hctx_index (rq->hctx));
  if (keeper->nr_visited < MAX_VISITS)
    keeper->visited[keeper->nr_visited++] = rq;
  if (keeper->round->shape->abort > 0 && permille (5))
    abort_by_handle (keeper->run, was.handle);
  blkmq_request_info (rq, &is);
  check_same_life (keeper->round->shape, &was, &is);
  return permille (2);
}

/* A request's memory is one life at a time, so one visited twice in one go
 * would be seen here; but where hctxs share it, it may be the next one's. */
static void
visit_all (struct keeper *keeper)
{
  keeper->nr_visited = 0;
  blkmq_for_each_request (keeper->run->disk, visit, keeper);
  qsort (keeper->visited, keeper->nr_visited, sizeof keeper->visited[0],
         compare_pointers);
  for (unsigned i = 1;
       i < keeper->nr_visited && !keeper->round->shape->is_shared; i++)
    require (keeper->visited[i] != keeper->visited[i - 1]);
  keeper->round->nr_visits += keeper->nr_visited;
}

/* Counters never go back. */
static void
check_counters_grow (struct keeper *keeper)
{
  struct blkmq_stats now, was = keeper->stats;
  const uint64_t *a = (const uint64_t *)&was, *b = (const uint64_t *)&now;

  require_op (blkmq_disk_stats (keeper->run->disk, BLKMQ_HCTX_ANY, &now), ==,
              0);
  keeper->stats = now;
  /* But for these two, which are gauges. */
  memset (was.in_flight, 0, sizeof was.in_flight);
  was.waiting = 0;
  for (size_t i = 0; i < sizeof now / sizeof a[0]; i++)
    require_op (a[i], <=, b[i]);
}

static void
look_up (struct keeper *keeper, unsigned i)
{
  struct run *run = keeper->run;
  blkmq_handle handle = device_any_token (run->device);

  if (permille (50))
    handle += UINT64_C (1) << 24; /* of the future */
  else if (permille (20))
    handle = rng_next (); /* of nowhere */
  if (run->unit->round->shape->abort > 0 && permille (50)) {
    abort_by_handle (run, handle);
    return;
  }
  keeper->kept[i] = blkmq_request_get (run->disk, handle);
  if (keeper->kept[i] == NULL) {
    run->stale_handles++;
    return;
  }
  /* It may have been issued again since, but is never older. */
  blkmq_request_info (keeper->kept[i], &keeper->infos[i]);
  require_op (blkmq_token_generation (keeper->infos[i].handle), >=,
              blkmq_token_generation (handle));
  require (blkmq_token_tag (keeper->infos[i].handle)
           == blkmq_token_tag (handle));
  keeper->round->nr_refs++;
}

static void
keep_references (struct keeper *keeper, struct unit *unit)
{
  uint64_t epoch = unit->epoch;
  unsigned nr = 50 + (unsigned)rng_below (200);

  memset (&keeper->stats, 0, sizeof keeper->stats);
  keeper->run = run_get (unit);
  while (nr-- > 0 && unit->epoch == epoch && !keeper->round->quit) {
    unsigned i = (unsigned)rng_below (NR_KEPT);

    now ("holds references");
    drop_kept (keeper, i);
    look_up (keeper, i);
    now ("visits all, or counts");
    if (permille (50))
      visit_all (keeper);
    if (permille (30))
      check_counters_grow (keeper);
    if (permille (200))
      pause_us (20);
  }
  for (unsigned i = 0; i < NR_KEPT; i++)
    drop_kept (keeper, i);
  run_put (keeper->run);
}

static void *
run_keeper (void *opaque)
{
  struct keeper *keeper = opaque;
  struct round *round = keeper->round;

  name_thread (round, KEEPER, 10);
  while (!round->quit && round->shape->control)
    keep_references (keeper, round->units[rng_below (round->shape->disks)]);
  now ("done");
  free (keeper);
  return NULL;
}

/* ---- controllers ---- */

static void
quiesce_for_a_while (struct run *run)
{
  unsigned depth = 1 + (unsigned)rng_below (3);

  now ("quiesces");
  for (unsigned i = 0; i < depth; i++)
    require_op (blkmq_quiesce (run->disk), ==, 0);
  device_expect_quiet (run->device, true);
  pause_us (1 + (unsigned)rng_below (50));
  device_expect_quiet (run->device, false);
  now ("unquiesces");
  for (unsigned i = 0; i < depth; i++)
    blkmq_unquiesce (run->disk);
}

/* All or nothing, and nothing only if the device has refused. */
static void
change_queues (struct round *round, struct run *run)
{
  const struct shape *shape = round->shape;
  unsigned least = shape->reserved + 1;
  unsigned most
      = shape->more_requests > 0 ? shape->depth : 2 * shape->depth + least;
  unsigned nr = (unsigned)rng_below (5);
  unsigned depth = least + (unsigned)rng_below (most - least + 1);
  unsigned old_nr = blkmq_disk_nr_hw_queues (run->disk);
  unsigned old_depth = blkmq_disk_queue_depth (run->disk), nr_failures;
  struct blkmq_error error = { "" };
  struct blkmq_queues queues;
  int r;

  if (permille (300))
    depth = 0;
  device_fail_inits (permille (300) ? 300 : 0);
  now ("updates the queues");
  blkmq_disk_queues (run->disk, &queues);
  if (nr != 0)
    queues.submit_queues = nr;
  if (depth != 0)
    queues.hw_queue_depth = depth;
  r = blkmq_update_queues (run->disk, &queues, &error);
  nr_failures = device_fail_inits (0);
  if (r == -ENODEV) {
    require (run->removed);
    return;
  }
  if (r < 0) {
    require_op (r, ==, -ENOMEM);
    require_op (nr_failures, ==, 1);
    require (error.message[0] != '\0');
    nr = depth = 0;
    round->nr_undone++;
  } else {
    require_op (nr_failures, ==, 0);
    round->nr_updates++;
  }
  if (run->removed)
    return;
  require_op (blkmq_disk_nr_hw_queues (run->disk), ==, nr != 0 ? nr : old_nr);
  require_op (blkmq_disk_queue_depth (run->disk), ==,
              depth != 0 ? depth : old_depth);
}

static void
change_scheduler (struct round *round, struct run *run)
{
  const char *name = permille (500) ? "none" : "mq-deadline";
  int r;

  now ("changes the scheduler");
  r = blkmq_disk_set_scheduler (run->disk, name, NULL);
  require (r == 0 || (r == -ENODEV && run->removed));
  if (!run->removed)
    require (strcmp (blkmq_disk_scheduler (run->disk), name) == 0);
  round->nr_switches++;
}

/* Several at once, of which one may be bad: then none is changed. */
static void
change_settings (struct round *round, struct run *run)
{
  static const struct {
    const char *name, *unit;
    unsigned least, most; /* beside 0 */
  } keys[] = {
    { "delay_read", "us", 0, 40 },       { "delay_write", "us", 0, 40 },
    { "media_delay_read", "us", 0, 40 }, { "media_delay_flush", "us", 0, 40 },
    { "iops", "", 30000, 500000 },       { "mbps", "", 100, 2000 },
  };
  bool is_bad = permille (200);
  struct blkmq_setting settings[NR (keys) + 1];
  char values[NR (keys)][16], value[16];
  size_t nr = 0;
  int r;

  for (size_t i = 0; i < NR (keys); i++) {
    if (permille (500))
      continue;
    snprintf (values[i], sizeof values[i], "%u%s",
              permille (500)
                  ? 0
                  : keys[i].least
                        + (unsigned)rng_below (keys[i].most - keys[i].least),
              keys[i].unit);
    settings[nr++] = (struct blkmq_setting){ keys[i].name, values[i] };
  }
  if (is_bad)
    settings[nr++] = (struct blkmq_setting){ "blocksize", "4096" };
  r = blkmq_disk_set (run->disk, settings, nr, NULL);
  require (r == (is_bad ? -EINVAL : 0) || (r == -ENODEV && run->removed));
  for (size_t i = 0; i < nr && r == 0; i++) {
    require (blkmq_disk_get_key (run->disk, settings[i].key, value,
                                 sizeof value, NULL)
             > 0);
    require (strcmp (value, settings[i].value) == 0);
  }
  if (r == 0)
    round->nr_settings++;
}

/* And changes what can be changed under load. */
static void *
run_quiescer (void *opaque)
{
  struct round *round = opaque;
  struct run *run;

  name_thread (round, QUIESCER, 11);
  while (!round->quit && round->shape->control) {
    run = run_get (round->units[rng_below (round->shape->disks)]);
    quiesce_for_a_while (run);
    round->nr_quiesces++;
    if (round->shape->live && permille (300))
      change_queues (round, run);
    if (round->shape->change && permille (300))
      change_scheduler (round, run);
    if (round->shape->settings && permille (300))
      change_settings (round, run);
    run_put (run);
    now ("pauses");
    pause_us (300 + (unsigned)rng_below (2000));
  }
  now ("done");
  return NULL;
}

static int
is_held_after_timeout (struct blkmq_request *rq, void *opaque)
{
  struct blkmq_request_info info;

  blkmq_request_info (rq, &info);
  require (info.ended && info.timed_out);
  return 0;
}

/* False when the disk is gone. */
static bool
freeze_for_a_while (struct run *run)
{
  unsigned depth = 1 + (unsigned)rng_below (3), i;
  blkmq_handle held[16];
  int r = 0;

  now ("freezes");
  for (i = 0; i < depth; i++) {
    r = blkmq_freeze (run->disk, held, NR (held));
    if (r < 0)
      break;
    for (int j = 0; j < r && j < (int)NR (held); j++)
      require (held[j] != 0);
  }
  if (r >= 0) {
    now ("has frozen");
    device_expect_quiet (run->device, true);
    device_check_frozen (run->device);
    blkmq_for_each_request (run->disk, is_held_after_timeout, NULL);
    if (permille (300))
      quiesce_for_a_while (run);
    device_expect_quiet (run->device, false);
  } else
    require (r == -ENODEV && run->removed);
  now ("unfreezes");
  while (i-- > 0)
    blkmq_unfreeze (run->disk);
  return r >= 0;
}

/* Cuts the power when so and so much of the quota is done. */
static void *
run_freezer (void *opaque)
{
  struct round *round = opaque;
  const struct shape *shape = round->shape;
  unsigned nr_cycles = 0;
  struct run *run;

  name_thread (round, FREEZER, 12);
  while (!round->quit) {
    struct unit *unit = round->units[rng_below (shape->disks)];

    if (nr_cycles < shape->power
        && round->nr_submitted
               >= (nr_cycles + 1) * round->quota / (shape->power + 1)) {
      nr_cycles++;
      now ("cuts the power");
      unit_cycle (unit);
      round->nr_cycles++;
      continue;
    }
    if (shape->control) {
      run = run_get (unit);
      if (freeze_for_a_while (run))
        round->nr_freezes++;
      run_put (run);
    }
    now ("pauses");
    pause_us (500 + (unsigned)rng_below (4000));
  }
  now ("done");
  return NULL;
}

/* ---- all of them ---- */

static pthread_t
start (void *(*fn) (void *), void *opaque)
{
  pthread_t thread;

  require_op (pthread_create (&thread, NULL, fn, opaque), ==, 0);
  return thread;
}

static void
join (pthread_t thread)
{
  require_op (pthread_join (thread, NULL), ==, 0);
}

void
crowd_run (struct round *round)
{
  struct keeper *keeper = calloc (1, sizeof *keeper);
  pthread_t keeping, quiescing, freezing;

  require (keeper != NULL);
  keeper->round = round;
  for (unsigned i = 0; i < NR_WORKERS; i++)
    round->workers[i] = worker_alloc (round, i);
  round->stage = "load";
  for (unsigned i = 0; i < NR_WORKERS; i++)
    round->workers[i]->thread = start (run_worker, round->workers[i]);
  keeping = start (run_keeper, keeper);
  quiescing = start (run_quiescer, round);
  freezing = start (run_freezer, round);

  for (unsigned i = 0; i < NR_WORKERS; i++)
    join (round->workers[i]->thread);
  round->stage = "the others end";
  round->quit = true;
  join (freezing);
  join (quiescing);
  join (keeping);
}

void
crowd_free (struct round *round)
{
  for (unsigned i = 0; i < NR_WORKERS; i++) {
    worker_free (round->workers[i]);
    round->workers[i] = NULL;
  }
}

void
crowd_dump_doing (struct round *round)
{
  static const char *const names[NR_MEMBERS]
      = { "worker 0", "worker 1",         "worker 2",
          "keeper",   "first controller", "second controller" };

  static_assert (NR_WORKERS == 3, "each has a name");
  for (unsigned i = 0; i < NR_MEMBERS; i++)
    fprintf (stderr, "%s%s: %s", i == 0 ? "  " : "; ", names[i],
             round->doing[i] != NULL ? round->doing[i] : "not begun");
  fputc ('\n', stderr);
}

void
crowd_dump (struct round *round)
{
  for (unsigned i = 0; i < NR_WORKERS; i++) {
    if (round->workers[i] == NULL)
      continue;
    for (unsigned j = 0; j < round->shape->disks; j++) {
      fprintf (stderr, "  worker %u on disk %u:\n", i, j);
      slots_dump (round->workers[i]->shares[j].slots);
    }
  }
}
