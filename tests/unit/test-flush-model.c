/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-flush-model.c: what a flush, PREFLUSH and FUA promise, against a device
 * that keeps the promise as badly as it may.
 *
 * The device has two versions of each block: the one that a read would see, and
 * the durable one.  A flush makes durable what was written when the device was
 * given the flush, and not a block that came later; nothing else is ever made
 * durable.  It completes in any order, refuses, requeues and fails.  Each io
 * that asks for durability notes, before it is submitted, what was answered
 * until then, on all hctxs.  When it is answered (for PREFLUSH: when its data
 * reaches the device) that much must be durable.
 *
 * Decisions are drawn from BLKMQ_SEED, one stream a thread.
 */

#include <config.h>

#include <string.h>

#include "harness.h"

#define NR_ROUNDS 12
#define NR_SUBMITTERS 3
#define NR_DEVICE_THREADS 2
#define NR_SLOTS 8 /* ios of one submitter, at a time */
#define SLOT_BLOCKS 3
#define NR_BLOCKS (NR_SUBMITTERS * NR_SLOTS * SLOT_BLOCKS)
#define IOS_PER_ROUND (SANITIZED ? 150 : 600) /* of one submitter */

/* What a block holds. */
struct stamp {
  uint64_t version;
  struct slot *slot;
};

/* An io, with blocks that are its alone. */
struct slot {
  struct blkmq_io io;
  struct world *world;
  uint64_t block, version;
  bool is_early;
  _Atomic bool is_idle; /* the last thing to be set */
  struct iovec segment;
  uint64_t must_be_durable[NR_BLOCKS];
  union {
    struct stamp stamp;
    char bytes[BLOCK_BYTES];
  } data[SLOT_BLOCKS];
};

struct command {
  struct blkmq_request *rq;
  blkmq_token token;
  enum blkmq_op op;
  uint32_t flags;
  uint64_t block, nr_blocks, version;
  uint64_t written[NR_BLOCKS]; /* when the device was given a flush */
};

struct world {
  struct bed *bed;
  uint64_t stream;
  unsigned nr_hctxs, depth; /* at most */
  struct blkmq_submitter *submitters[NR_SUBMITTERS];
  struct slot slots[NR_SUBMITTERS][NR_SLOTS];
  pthread_t device_threads[NR_DEVICE_THREADS];

  _Atomic uint64_t written[NR_BLOCKS], durable[NR_BLOCKS];
  _Atomic uint64_t answered[NR_BLOCKS];

  pthread_mutex_t lock;
  struct command *commands;           /* lock */
  unsigned nr_commands, max_commands; /* lock */

  _Atomic unsigned nr_threads, next_submitter;
  _Atomic bool quit;
  _Atomic uint64_t nr_checked, nr_checked_before_data;
};

static __thread struct rng rng;
static __thread bool rng_is_set;

static uint64_t
below (struct world *world, uint64_t n)
{
  if (!rng_is_set) {
    rng_init (&rng, world->stream + world->nr_threads++);
    rng_is_set = true;
  }
  return rng_below (&rng, n);
}

static bool
percent (struct world *world, unsigned percentage)
{
  return below (world, 100) < percentage;
}

static void
raise_to (_Atomic uint64_t *versions, uint64_t version)
{
  uint64_t old = *versions;

  while (old < version
         && !atomic_compare_exchange_weak (versions, &old, version))
    ;
}

static void
check_durable (struct slot *s)
{
  for (unsigned i = 0; i < NR_BLOCKS; i++)
    require (s->world->durable[i] >= s->must_be_durable[i]);
}

/* ------------------------------------------------------------------------ */
/* The device                                                                */

static enum blkmq_queue_result
model_queue_rq (struct script *script, const struct issue *issue)
{
  struct world *world = script->opaque;
  struct command *command;

  if (percent (world, 4))
    return percent (world, 50) ? BLKMQ_BUSY_HOST : BLKMQ_BUSY_DEVICE;

  pthread_mutex_lock (&world->lock);
  require (world->nr_commands < world->max_commands);
  command = &world->commands[world->nr_commands++];
  command->rq = issue->rq;
  command->token = issue->token;
  command->op = issue->op;
  command->flags = issue->flags;
  if (issue->op == BLKMQ_OP_FLUSH) {
    for (unsigned i = 0; i < NR_BLOCKS; i++)
      command->written[i] = world->written[i];
  } else {
    struct blkmq_segments it = blkmq_segments_begin (issue->rq);
    struct iovec seg;
    const struct stamp *stamp;

    require (blkmq_segments_next (&it, &seg));
    stamp = seg.iov_base;
    command->block = issue->offset_bytes / BLOCK_BYTES;
    command->nr_blocks = issue->bytes / BLOCK_BYTES;
    command->version = stamp->version;
    if (stamp->slot->io.flags & BLKMQ_IO_PREFLUSH) {
      check_durable (stamp->slot);
      world->nr_checked_before_data++;
    }
  }
  pthread_mutex_unlock (&world->lock);
  return BLKMQ_QUEUED;
}

static void
carry_out (struct world *world, const struct command *command)
{
  if (command->op == BLKMQ_OP_FLUSH) {
    for (unsigned i = 0; i < NR_BLOCKS; i++)
      raise_to (&world->durable[i], command->written[i]);
    return;
  }
  for (uint64_t i = 0; i < command->nr_blocks; i++) {
    raise_to (&world->written[command->block + i], command->version);
    if (command->flags & BLKMQ_IO_FUA)
      raise_to (&world->durable[command->block + i], command->version);
  }
}

static bool
take_command (struct world *world, struct command *command)
{
  bool found;

  pthread_mutex_lock (&world->lock);
  found = world->nr_commands > 0;
  if (found) {
    uint64_t i = below (world, world->nr_commands);

    *command = world->commands[i];
    world->commands[i] = world->commands[--world->nr_commands];
  }
  pthread_mutex_unlock (&world->lock);
  return found;
}

static void *
run_device (void *opaque)
{
  struct world *world = opaque;
  struct script *script = &world->bed->script;
  struct command command;

  while (!world->quit) {
    unsigned dice = (unsigned)below (world, 100);

    /* Now and then it dawdles, so that there is something to choose from. */
    if (dice < 30 || !take_command (world, &command)) {
      await_pause ();
      continue;
    }
    if (dice < 35)
      require (script_requeue (script, command.rq, command.token) == 0);
    else if (dice < 40)
      require (
          script_complete (script, command.rq, command.token, BLKMQ_STS_MEDIUM)
          == 0);
    else {
      carry_out (world, &command);
      require (script_complete (script, command.rq, command.token, BLKMQ_STS_OK)
               == 0);
    }
  }
  return NULL;
}

static void
model_stop (struct script *script)
{
  struct world *world = script->opaque;

  world->quit = true;
  for (unsigned i = 0; i < NR_DEVICE_THREADS; i++)
    thread_join (world->device_threads[i]);
}

/* ------------------------------------------------------------------------ */
/* Ios                                                                       */

static void
model_end_io (struct blkmq_io *io, enum blkmq_status status)
{
  struct slot *s = (struct slot *)io;
  struct world *world = s->world;
  uint64_t nr_blocks = io->bytes / BLOCK_BYTES;

  if (status == BLKMQ_STS_OK) {
    if (io->op == BLKMQ_OP_FLUSH || (io->flags & BLKMQ_IO_PREFLUSH)) {
      check_durable (s);
      world->nr_checked++;
    }
    for (uint64_t i = 0; i < nr_blocks; i++) {
      require (world->written[s->block + i] >= s->version);
      if (io->flags & BLKMQ_IO_FUA)
        require (world->durable[s->block + i] >= s->version);
      raise_to (&world->answered[s->block + i], s->version);
    }
  }
  if (!s->is_early)
    s->is_idle = true;
}

static void
model_give_back (struct blkmq_io *io)
{
  ((struct slot *)io)->is_idle = true;
}

static void
start_io (struct slot *s)
{
  struct world *world = s->world;
  unsigned dice = (unsigned)below (world, 100);
  uint64_t nr_blocks = 1 + below (world, SLOT_BLOCKS);

  memset (&s->io, 0xa5, sizeof s->io);
  s->is_early = percent (world, 50);
  s->io.end_io = model_end_io;
  s->io.give_back = s->is_early ? model_give_back : NULL;
  s->io.flags = 0;
  s->io.prio = BLKMQ_PRIO_NONE;
  if (dice < 15) {
    /* A flush, in one form or the other. */
    s->io.op = dice < 10 ? BLKMQ_OP_FLUSH : BLKMQ_OP_WRITE;
    s->io.flags = dice < 10 ? 0 : BLKMQ_IO_PREFLUSH;
    s->io.offset_bytes = s->io.bytes = 0;
  } else {
    s->io.op = BLKMQ_OP_WRITE;
    if (dice < 30)
      s->io.flags |= BLKMQ_IO_PREFLUSH;
    if (dice >= 25 && dice < 45)
      s->io.flags |= BLKMQ_IO_FUA;
    s->io.offset_bytes = s->block * BLOCK_BYTES;
    s->io.bytes = nr_blocks * BLOCK_BYTES;
    s->version++;
    for (uint64_t i = 0; i < nr_blocks; i++)
      s->data[i].stamp = (struct stamp){ s->version, s };
  }
  s->segment = (struct iovec){ s->data, s->io.bytes };
  s->io.segments = &s->segment;
  s->io.nr_segments = 1;
  for (unsigned i = 0; i < NR_BLOCKS; i++)
    s->must_be_durable[i] = world->answered[i];
}

static void *
run_submitter (void *opaque)
{
  struct world *world = opaque;
  unsigned who = world->next_submitter++;

  for (unsigned i = 0; i < IOS_PER_ROUND;) {
    struct slot *s = &world->slots[who][below (world, NR_SLOTS)];

    if (!atomic_exchange (&s->is_idle, false)) {
      if (percent (world, 1))
        blkmq_abort_io (world->submitters[who], &s->io);
      await_pause ();
      continue;
    }
    start_io (s);
    blkmq_submit (world->submitters[who], &s->io);
    i++;
  }
  return NULL;
}

static void
change_queues (struct world *world, struct blkmq_disk *disk)
{
  struct blkmq_queues queues = {
    .submit_queues = 1 + (unsigned)below (world, world->nr_hctxs),
    .hw_queue_depth = 1 + (unsigned)below (world, world->depth),
  };

  require (blkmq_update_queues (disk, &queues, NULL) == 0);
}

static void *
run_controller (void *opaque)
{
  struct world *world = opaque;
  struct blkmq_disk *disk = world->bed->disk;

  while (!world->quit) {
    if (percent (world, 50))
      change_queues (world, disk);
    else {
      require (blkmq_freeze (disk, NULL, 0) == 0);
      await_pause ();
      blkmq_unfreeze (disk);
    }
    for (unsigned i = 0; i < 50; i++)
      await_pause ();
  }
  return NULL;
}

/* ------------------------------------------------------------------------ */
/* A round                                                                   */

static void
open_at_random (struct world *world)
{
  static const char *const modes[] = { "irqmode=none", "irqmode=softirq",
                                       "irqmode=timer completion_nsec=20us" };
  struct bed *bed = bed_alloc ();
  char keys[200];

  world->bed = bed;
  world->nr_hctxs = 1 + (unsigned)below (world, NR_SUBMITTERS);
  world->depth = 1 + (unsigned)below (world, 16);
  world->max_commands = world->nr_hctxs * world->depth;
  world->commands = calloc (world->max_commands, sizeof world->commands[0]);
  require (world->commands != NULL);
  bed->script.volatile_cache = true;
  bed->script.fua = percent (world, 50);
  bed->script.on_queue = model_queue_rq;
  bed->script.on_stop = model_stop;
  bed->script.opaque = world;
  snprintf (keys, sizeof keys, "submit_queues=%u hw_queue_depth=%u %s%s",
            world->nr_hctxs, world->depth, modes[below (world, NR (modes))],
            percent (world, 50) ? " max_sectors=1" : "");
  bed_open_threads (bed, keys);
  for (unsigned i = 0; i < NR_SUBMITTERS; i++) {
    world->submitters[i] = blkmq_submitter_alloc (bed->disk, BLKMQ_HCTX_ANY);
    require (world->submitters[i] != NULL);
  }
}

static struct world *
world_alloc (unsigned round)
{
  struct world *world = calloc (1, sizeof *world);

  require (world != NULL);
  world->stream = (uint64_t)(round + 1) * 100;
  pthread_mutex_init (&world->lock, NULL);
  rng_is_set = false; /* this thread's stream is the round's first */
  for (unsigned i = 0; i < NR_SUBMITTERS; i++) {
    for (unsigned j = 0; j < NR_SLOTS; j++) {
      struct slot *s = &world->slots[i][j];

      s->world = world;
      s->block = (uint64_t)(i * NR_SLOTS + j) * SLOT_BLOCKS;
      s->is_idle = true;
    }
  }
  open_at_random (world);
  return world;
}

static void
run_round (unsigned round, struct blkmq_stats *sum, uint64_t *nr_checked)
{
  struct world *world = world_alloc (round);
  pthread_t submitters[NR_SUBMITTERS], controller;
  struct blkmq_stats stats;

  for (unsigned i = 0; i < NR_DEVICE_THREADS; i++)
    world->device_threads[i] = thread_start (run_device, world);
  for (unsigned i = 0; i < NR_SUBMITTERS; i++)
    submitters[i] = thread_start (run_submitter, world);
  controller = thread_start (run_controller, world);
  for (unsigned i = 0; i < NR_SUBMITTERS; i++)
    thread_join (submitters[i]);
  for (unsigned i = 0; i < NR_SUBMITTERS; i++) {
    for (unsigned j = 0; j < NR_SLOTS; j++)
      await (world->slots[i][j].is_idle);
  }
  world->quit = true;
  thread_join (controller);
  for (unsigned i = 0; i < NR_SUBMITTERS; i++)
    blkmq_submitter_free (world->submitters[i]);
  stats = bed_stats (world->bed);
  sum->flushes += stats.flushes;
  sum->flushes_coalesced += stats.flushes_coalesced;
  for (unsigned i = 0; i < BLKMQ_NR_STATUSES; i++)
    sum->rejected[i] += stats.rejected[i];
  nr_checked[0] += world->nr_checked;
  nr_checked[1] += world->nr_checked_before_data;
  bed_stop (world->bed);
  pthread_mutex_destroy (&world->lock);
  free (world->commands);
  free (world);
}

START_TEST (test_what_must_be_durable_is)
{
  struct blkmq_stats sum;
  uint64_t nr_checked[2] = { 0, 0 };

  memset (&sum, 0, sizeof sum);
  for (unsigned round = 0; round < NR_ROUNDS; round++)
    run_round (round, &sum, nr_checked);
  /* Or the test would not be worth its time. */
  ck_assert_uint_gt (nr_checked[0], 0);
  ck_assert_uint_gt (nr_checked[1], 0);
  ck_assert_uint_gt (sum.flushes, 0);
  ck_assert_uint_gt (sum.flushes_coalesced, 0);
  ck_assert_uint_gt (sum.rejected[BLKMQ_STS_MEDIUM], 0);
  ck_assert_uint_gt (sum.rejected[BLKMQ_STS_ABORTED], 0);
}
END_TEST

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("flush-model");
  TCase *tcase = harness_case (suite, "model");

  tcase_add_test (tcase, test_what_must_be_durable_is);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
