/* SPDX-License-Identifier: BSD-3-Clause
 *
 * races.c: see races.h.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "engine/elevator.h"
#include "engine/record.h"
#include "engine/yield.h"
#include "races.h"

#define NR_RUNS (SANITIZED ? 100u : 400u)
#define MAX_RUNS (20 * NR_RUNS)

static struct world *world;
static unsigned seen;

void
saw (unsigned bits)
{
  seen |= bits;
}

bool
race_draw (struct world *w)
{
  return rng_percent (&w->rng, 50);
}

/* ---- the driver ---- */

static struct race_disk *opening;

/* It may touch the data of what it holds: none of it is the caller's. */
static void
touch (const struct race_issue *issue)
{
  struct world *w = issue->disk->world;
  unsigned nr = (unsigned)(issue->bytes / BLOCK_BYTES);

  for (unsigned i = 0; i < nr; i++) {
    struct race_io *io = &w->ios[issue->offset_bytes / BLOCK_BYTES + i];

    require (io->is_submitted && io->nr_give_backs == 0);
    require (io->io.give_back != NULL || io->nr_ends == 0);
    require (issue->rq->segment[i].iov_base == io->data);
    memset (io->data, 0xd, sizeof io->data);
  }
}

static int
raced_open (const struct blkmq_config *config, uint64_t seed,
            struct blkmq_limits *limits, void **driver_data,
            struct blkmq_error *error)
{
  limits->volatile_cache = opening->world->race->volatile_cache;
  *driver_data = opening;
  return 0;
}

static int
raced_init_hctx (struct blkmq_hctx *hctx, void *driver_data, unsigned index)
{
  blkmq_hctx_set_data (hctx, driver_data);
  return 0;
}

static bool
any_held (struct race_disk *d)
{
  for (unsigned i = 0; i < d->world->nr_issues; i++) {
    if (d->world->issues[i].disk == d && d->world->issues[i].is_held)
      return true;
  }
  return false;
}

static enum blkmq_queue_result
refuses (struct world *w, struct race_disk *d)
{
  /* Before and after there is nothing to race with. */
  if (w->race->never_busy || w->nr_acting == 0 || !rng_percent (&w->rng, 20))
    return BLKMQ_QUEUED;
  return any_held (d) && race_draw (w) ? BLKMQ_BUSY_DEVICE : BLKMQ_BUSY_HOST;
}

static enum blkmq_queue_result
raced_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                blkmq_token token)
{
  struct race_disk *d = blkmq_hctx_data (hctx);
  struct world *w = d->world;
  struct race_issue *issue;
  enum blkmq_queue_result result;

  require (!d->is_stopped && !d->is_frozen);
  require (rq->hctx == hctx && rq->driver_data == d);
  require (blkmq_hctx_request (hctx, token) == rq);
  for (unsigned i = 0; i < w->nr_issues; i++)
    require (!w->issues[i].is_held || w->issues[i].rq != rq);

  result = refuses (w, d);
  if (result == BLKMQ_QUEUED) {
    require (w->nr_issues < RACE_MAX_ISSUES);
    issue = &w->issues[w->nr_issues++];
    *issue = (struct race_issue){ .rq = rq,
                                  .token = token,
                                  .disk = d,
                                  .op = rq->op,
                                  .offset_bytes = rq->offset_bytes,
                                  .bytes = rq->bytes,
                                  .is_held = true,
                                  .start_event = ++w->nr_events };
    touch (issue);
  }
  explore_yield ("queue_rq");
  return result;
}

static struct race_issue *
issue_of (struct world *w, blkmq_token token, struct blkmq_request *rq)
{
  for (unsigned i = 0; i < w->nr_issues; i++) {
    if (w->issues[i].token == token && w->issues[i].rq == rq)
      return &w->issues[i];
  }
  return NULL;
}

static enum blkmq_timeout_result
raced_timeout (struct blkmq_request *rq, blkmq_token token)
{
  struct race_disk *d = rq->driver_data;
  struct world *w = d->world;
  struct race_issue *issue = issue_of (w, token, rq);

  require (!d->is_stopped && issue != NULL);
  explore_yield ("timeout op");
  /* On its way back already. */
  if (!issue->is_held)
    return BLKMQ_TIMEOUT_RESET;
  if (w->answer == BLKMQ_TIMEOUT_DONE)
    issue->is_held = false;
  return w->answer;
}

static void
raced_stop (void *driver_data)
{
  struct race_disk *d = driver_data;

  explore_await (d->nr_inside == 0);
  d->is_stopped = true;
  for (unsigned i = 0; i < d->world->nr_issues; i++) {
    if (d->world->issues[i].disk == d)
      d->world->issues[i].is_held = false;
  }
}

static const struct blkmq_driver raced = {
  .name = "raced",
  .help = "takes part in races",
  .open = raced_open,
  .init_hctx = raced_init_hctx,
  .queue_rq = raced_queue_rq,
  .timeout = raced_timeout,
  .stop = raced_stop,
};

/* ---- the device ---- */

struct race_issue *
race_issue (struct world *w, unsigned n)
{
  require (n < w->nr_issues);
  return &w->issues[n];
}

/* It is the driver's to give back, once; so the engine takes it. */
static void
give_back (struct world *w, struct race_issue *issue, bool requeue)
{
  struct race_disk *d = issue->disk;
  int r;

  require (issue->is_held);
  touch (issue);
  d->nr_inside++;
  issue->is_held = false;
  explore_yield ("device");
  if (requeue)
    r = blkmq_requeue (issue->rq, issue->token);
  else {
    issue->end_event = ++w->nr_events;
    r = blkmq_complete (issue->rq, issue->token, BLKMQ_STS_OK);
  }
  require (r == 0);
  d->nr_inside--;
}

void
race_complete (struct world *w, struct race_issue *issue)
{
  give_back (w, issue, false);
}

/* One of those that it has, or NULL. */
static struct race_issue *
draw_held (struct world *w)
{
  struct race_issue *held[RACE_MAX_ISSUES];
  unsigned nr = 0;

  for (unsigned i = 0; i < w->nr_issues; i++) {
    if (w->issues[i].is_held)
      held[nr++] = &w->issues[i];
  }
  return nr > 0 ? held[rng_below (&w->rng, nr)] : NULL;
}

static void
device (void *opaque)
{
  struct world *w = opaque;

  while (w->nr_acting > 0) {
    struct race_issue *issue = draw_held (w);

    if (issue == NULL)
      explore_stuck ("idle");
    else
      give_back (w, issue, w->race->requeues && rng_percent (&w->rng, 25));
  }
}

/* ---- the loop ---- */

static void
turn (struct world *w)
{
  for (unsigned i = 0; i < w->nr_disks; i++) {
    struct race_disk *d = &w->disks[i];

    if (d->is_removed)
      continue;
    d->is_turning = true;
    disk_turn (d->disk);
    d->is_turning = false;
  }
}

static void
loop (void *opaque)
{
  struct world *w = opaque;

  while (w->nr_acting > 0) {
    turn (w);
    /* What was refused is tried again after a while. */
    if (!w->race->never_busy)
      clock_advance (&w->clock, 1 * MS);
    explore_stuck ("turned");
  }
}

void
race_time_out (struct world *w)
{
  clock_advance (&w->clock, (RACE_TIMEOUT_MS + 1) * MS);
  if (w->race->turns)
    return;
  turn (w);
}

void
race_remove (struct world *w, unsigned i)
{
  struct race_disk *d = &w->disks[i];

  d->is_removed = true;
  explore_await (!d->is_turning);
  blkmq_disk_remove (d->disk);
  require (d->is_stopped);
}

void
race_freeze (struct world *w, unsigned i)
{
  struct race_disk *d = &w->disks[i];
  unsigned nr_issues;

  require (blkmq_freeze (d->disk, NULL, 0) >= 0);
  require (!any_held (d));
  d->is_frozen = true;
  nr_issues = w->nr_issues;
  for (unsigned n = 0; n < 4; n++)
    explore_yield ("frozen");
  if (w->nr_disks == 1)
    require (w->nr_issues == nr_issues);
  d->is_frozen = false;
  blkmq_unfreeze (d->disk);
}

/* ---- ios ---- */

/* From here the memory is the caller's, who uses it for something else. */
static void
poison_io (struct race_io *io)
{
  memset (&io->io.priv, 0xee, sizeof io->io.priv);
}

static void
end_io (struct blkmq_io *opaque, enum blkmq_status status)
{
  struct race_io *io = (struct race_io *)opaque;

  require (++io->nr_ends == 1);
  require (io->nr_give_backs == 0);
  io->status = status;
  io->end_event = ++io->world->nr_events;
  io->in_end_io = true;
  if (io->io.give_back == NULL)
    poison_io (io);
  explore_yield ("end_io");
  io->in_end_io = false;
}

static void
io_give_back (struct blkmq_io *opaque)
{
  struct race_io *io = (struct race_io *)opaque;

  require (io->nr_ends == 1 && !io->in_end_io);
  require (++io->nr_give_backs == 1);
  poison_io (io);
  explore_yield ("give_back");
}

void
race_submit_op (struct world *w, unsigned n, unsigned d,
                struct blkmq_submitter *submitter, enum blkmq_op op,
                uint32_t flags)
{
  struct race_io *io = &w->ios[n];

  if (submitter == NULL)
    submitter = w->disks[d].submitters[0];
  require (n < RACE_MAX_IOS && !io->is_submitted);
  io->world = w;
  io->is_submitted = true;
  io->segment = (struct iovec){ io->data, sizeof io->data };
  io->io.op = op;
  io->io.flags = flags;
  if (op != BLKMQ_OP_FLUSH) {
    io->io.offset_bytes = n * (uint64_t)BLOCK_BYTES;
    io->io.bytes = BLOCK_BYTES;
    io->io.segments = &io->segment;
    io->io.nr_segments = 1;
  }
  io->io.end_io = end_io;
  io->io.give_back = race_draw (w) ? io_give_back : NULL;
  io->submit_event = ++w->nr_events;
  blkmq_submit (submitter, &io->io);
}

void
race_submit (struct world *w, unsigned n, unsigned d)
{
  race_submit_op (w, n, d, NULL, BLKMQ_OP_READ, 0);
}

static bool
is_over (const struct race_io *io)
{
  return !io->is_submitted
         || (io->nr_ends == 1
             && io->nr_give_backs == (io->io.give_back != NULL));
}

static bool
all_over (const struct world *w)
{
  for (unsigned n = 0; n < RACE_MAX_IOS; n++) {
    if (!is_over (&w->ios[n]))
      return false;
  }
  return true;
}

/* ---- a world ---- */

/* Whatever ended the program, say how to see it again. */
static void
on_abort (int signal_nr)
{
  struct world *w = world;

  yield_set_hook (NULL);
  fprintf (stderr, "%s, run %u: BLKMQ_SEED=%" PRIu64 " BLKMQ_RUN=%u",
           w->race->name, w->run, rng_seed (), w->run);
  for (unsigned n = 0; n < RACE_MAX_IOS; n++) {
    if (!is_over (&w->ios[n]))
      fprintf (stderr, "\n    io %u: %u ends, %u give-backs", n,
               w->ios[n].nr_ends, w->ios[n].nr_give_backs);
  }
  explore_print (&w->what, w->actors, stderr);
  for (unsigned i = 0; i < w->nr_issues; i++) {
    struct race_issue *issue = &w->issues[i];

    if (!issue->is_held)
      continue;
    fprintf (stderr, "held, block %u of disk %u:\n",
             (unsigned)(issue->offset_bytes / BLOCK_BYTES),
             (unsigned)(issue->disk - w->disks));
    record_dump (request_of (issue->rq), stderr);
  }
}

static struct blkmq_config *
make_config (const char *keys)
{
  struct blkmq_config *config = blkmq_config_alloc ();
  char *copy = strdup (keys), *word, *rest = NULL;
  struct blkmq_error error;

  require (config != NULL && copy != NULL);
  require (blkmq_config_set (config, "driver", "raced", &error) == 0);
  require (blkmq_config_set (config, "size", "64K", &error) == 0);
  for (word = strtok_r (copy, " ", &rest); word != NULL;
       word = strtok_r (NULL, " ", &rest)) {
    char *value = strchr (word, '=');

    require (value != NULL);
    *value++ = '\0';
    require (blkmq_config_set (config, word, value, &error) == 0);
  }
  free (copy);
  return config;
}

static void
open_disk (struct world *w, struct race_disk *d)
{
  struct disk_options options = { .clock = &w->clock, .manual_loops = true };
  struct blkmq_config *config = make_config (w->race->keys);
  struct blkmq_error error;

  if (w->nr_disks > 1 && w->set == NULL)
    require (blkmq_tag_set_alloc (config, &w->set, &error) == 0);
  d->world = w;
  opening = d;
  require (disk_alloc (config, &options, w->set, &d->disk, &error) == 0);
  blkmq_config_free (config);
  require (blkmq_disk_start (d->disk, &error) == 0);
  d->submitters[0] = blkmq_submitter_alloc (d->disk, 0);
  require (d->submitters[0] != NULL);
  if (blkmq_disk_nr_hw_queues (d->disk) > 1)
    d->submitters[1] = blkmq_submitter_alloc (d->disk, 1);
}

static void
check_idle (struct race_disk *d)
{
  for (unsigned i = 0; i < disk_nr_hctxs (d->disk); i++) {
    struct blkmq_hctx *h = disk_hctx (d->disk, i);

    require (hctx_nr_taken (h) == 0);
    require (pool_nr_taken (hctx_tag_pool (h)) == 0);
    require (!elevator_has_work (h));
    require (h->nr_queued == 0 && h->queue == NULL && h->aside == NULL);
    require (h->wait[WAIT_ORDINARY].nr == 0 && h->nr_waiting == 0);
    require (h->nr_taken == 0 && h->pins == 0);
  }
}

static void
close_disk (struct race_disk *d)
{
  blkmq_submitter_free (d->submitters[0]);
  blkmq_submitter_free (d->submitters[1]);
  blkmq_disk_remove (d->disk);
  check_idle (d);
  blkmq_disk_put (d->disk);
}

/* What the device still has comes back, and time passes: that is all that
 * anybody may need in order to end. */
static void
finish (struct world *w)
{
  struct race_issue *issue;

  for (unsigned round = 0, nr_over = 0; round < 40 && nr_over < 8; round++) {
    turn (w);
    while ((issue = draw_held (w)) != NULL) {
      give_back (w, issue, false);
      turn (w);
    }
    /* A flush may be left that nobody waits for any more. */
    nr_over += all_over (w);
    clock_advance (&w->clock, 1 * MS);
  }
  require (all_over (w));
}

static void
act (struct world *w, unsigned n)
{
  w->race->actors[n].fn (w);
  w->nr_acting--;
}

static void
act_first (void *opaque)
{
  act (opaque, 0);
}

static void
act_second (void *opaque)
{
  act (opaque, 1);
}

static void
act_third (void *opaque)
{
  act (opaque, 2);
}

static void
run_once (const struct race *race, unsigned run, struct world *w)
{
  static void (*const acts[]) (void *) = { act_first, act_second, act_third };
  struct actor *actors = w->actors;
  unsigned nr = 0;

  memset (w, 0, sizeof *w);
  world = w;
  w->race = race;
  w->run = run;
  rng_init (&w->rng, run);
  clock_init_fake (&w->clock, UINT64_C (1000000000));
  w->nr_disks = race->nr_disks > 0 ? race->nr_disks : 1;
  w->answer = (enum blkmq_timeout_result)rng_below (&w->rng, 3);
  for (unsigned i = 0; i < w->nr_disks; i++)
    open_disk (w, &w->disks[i]);
  if (race->prepare != NULL)
    race->prepare (w);

  while (nr < NR (acts) && race->actors[nr].fn != NULL) {
    actors[nr] = (struct actor){ race->actors[nr].name, acts[nr] };
    nr++;
  }
  w->nr_acting = nr;
  actors[nr++] = (struct actor){ "device", device };
  if (race->turns)
    actors[nr++] = (struct actor){ "loop", loop };
  explore (actors, nr, w, &w->rng, &w->what);

  if (race->settle != NULL)
    race->settle (w);
  finish (w);
  for (unsigned i = 0; i < w->nr_disks; i++)
    check_idle (&w->disks[i]);
  if (race->check != NULL)
    race->check (w);
  for (unsigned i = 0; i < w->nr_disks; i++)
    close_disk (&w->disks[i]);
  blkmq_tag_set_put (w->set);
}

void
race_run (const struct race *race)
{
  static struct world w;
  const char *only = getenv ("BLKMQ_RUN");
  unsigned first = 0, last = NR_RUNS;
  struct blkmq_error error;
  int r = blkmq_driver_register (&raced, &error);

  require (r == 0 || r == -EEXIST);
  signal (SIGABRT, on_abort);
  if (only != NULL) {
    first = (unsigned)strtoul (only, NULL, 0);
    last = first + 1;
  }
  seen = 0;
  for (unsigned run = first; run < last; run++)
    run_once (race, run, &w);
  /* What is to be seen is seen in a few runs as a rule, and sometimes not in so
   * many. */
  for (unsigned run = last; only == NULL && run < MAX_RUNS
                            && (seen & race->must_see) != race->must_see;
       run++)
    run_once (race, run, &w);
  /* Or else the scenario does not meet the race. */
  if (only == NULL)
    ck_assert_uint_eq (seen & race->must_see, race->must_see);
}
