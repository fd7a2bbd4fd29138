/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-cache-threads.c: several threads on a small cache, whose pages they
 * share but not the blocks, while the power is cut again and again.  What a
 * thread finds in its blocks must be what it may find.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "blkmq-control.h"
#include "cache-model.h"

#define NR_THREADS 4u
#define NR_OWN 24u /* blocks of each thread */
#define NR_CUTS (SANITIZED ? 15u : 60u)
#define OPS_BETWEEN_CUTS 300u

static struct {
  struct bed *bed;
  /* Odd while the power is off. */
  _Atomic unsigned epoch;
  _Atomic bool is_over;
  _Atomic uint64_t nr_ops;
} world;

struct worker {
  pthread_t thread;
  unsigned index, epoch;
  struct rng rng;
  struct blkmq_submitter *submitter;
  uint32_t last_value;
  struct block_model blocks[NR_OWN];
  unsigned nr_flushes;
};

static uint64_t
offset_of (const struct worker *w, unsigned own)
{
  return (uint64_t)(own * NR_THREADS + w->index) * BLOCK_BYTES;
}

static int
read_value (struct worker *w, unsigned own, uint32_t *value)
{
  char data[BLOCK_BYTES];
  int r = blkmq_read (w->submitter, data, sizeof data, offset_of (w, own));

  require (r == 0 || r == -ENODEV);
  if (r == 0)
    *value = model_value (data);
  return r;
}

/* There was a power cut: find out what is left. */
static void
catch_up (struct worker *w)
{
  uint32_t value;

  do {
    unsigned own;

    await ((world.epoch & 1) == 0);
    w->epoch = world.epoch;
    for (own = 0; own < NR_OWN; own++) {
      if (read_value (w, own, &value) != 0)
        break;
      require (model_allows (&w->blocks[own], value, true));
    }
    /* None has come since: these are the values. */
    for (own = 0; world.epoch == w->epoch && own < NR_OWN; own++) {
      struct block_model *m = &w->blocks[own];

      if (read_value (w, own, &value) != 0)
        break;
      require (model_allows (m, value, true));
      if (world.epoch == w->epoch)
        model_init (m, value);
    }
  } while (world.epoch != w->epoch || (world.epoch & 1));
}

static void
change (struct worker *w, unsigned own, enum blkmq_op op, uint32_t flags)
{
  struct block_model *m = &w->blocks[own];
  char data[BLOCK_BYTES];
  uint32_t value = 0;
  bool is_sure;
  int r;

  model_forget (m);
  if (!model_has_room (m))
    return;
  if (op == BLKMQ_OP_WRITE) {
    value = ++w->last_value * NR_THREADS + w->index;
    model_fill (data, value);
    r = blkmq_write (w->submitter, data, sizeof data, offset_of (w, own),
                     flags);
  } else if (op == BLKMQ_OP_DISCARD)
    r = blkmq_discard (w->submitter, sizeof data, offset_of (w, own));
  else
    r = blkmq_write_zeroes (w->submitter, sizeof data, offset_of (w, own), 0);
  require (r == 0 || r == -ENODEV);
  /* One that a cut came into may be lost though it was answered. */
  is_sure = r == 0 && world.epoch == w->epoch;
  model_write (m, value, is_sure,
               op != BLKMQ_OP_WRITE || (flags & BLKMQ_IO_FUA));
}

static void
flush (struct worker *w)
{
  int r = blkmq_flush (w->submitter);

  require (r == 0 || r == -ENODEV);
  if (r < 0 || world.epoch != w->epoch)
    return;
  w->nr_flushes++;
  for (unsigned own = 0; own < NR_OWN; own++)
    w->blocks[own].durable = w->blocks[own].sure;
}

static void
check_one (struct worker *w, unsigned own)
{
  uint32_t value;

  if (read_value (w, own, &value) == 0)
    require (model_allows (&w->blocks[own], value, world.epoch != w->epoch));
}

static void *
work (void *opaque)
{
  struct worker *w = opaque;

  while (!world.is_over) {
    unsigned own = (unsigned)rng_below (&w->rng, NR_OWN);
    unsigned dice = (unsigned)rng_below (&w->rng, 100);

    if (world.epoch != w->epoch)
      catch_up (w);
    if (dice < 50)
      change (w, own, BLKMQ_OP_WRITE, 0);
    else if (dice < 75)
      check_one (w, own);
    else if (dice < 85)
      change (w, own, BLKMQ_OP_WRITE, BLKMQ_IO_FUA);
    else if (dice < 90)
      change (w, own, BLKMQ_OP_DISCARD, 0);
    else if (dice < 95)
      change (w, own, BLKMQ_OP_WRITE_ZEROES, 0);
    else
      flush (w);
    world.nr_ops++;
  }
  return NULL;
}

static void
cut_power (void)
{
  uint64_t before = world.nr_ops;

  await (world.nr_ops - before > OPS_BETWEEN_CUTS);
  world.epoch++;
  require (blkmq_disk_set_power (world.bed->disk, false, NULL) == 0);
  require (blkmq_disk_set_power (world.bed->disk, true, NULL) == 0);
  world.epoch++;
}

static const char *const configs[] = {
  "cache_size=16k submit_queues=2",
  "cache_size=4k submit_queues=2 hw_queue_depth=2 fua=0",
  "cache_size=32k submit_queues=3 scheduler=mq-deadline irqmode=softirq",
};

START_TEST (test_threads_find_what_they_may_while_power_is_cut)
{
  static struct worker workers[NR_THREADS];
  unsigned nr_flushes = 0;

  world.bed = bed_alloc ();
  world.bed->script.driver = "memory";
  bed_open_threads (world.bed, configs[_i]);
  for (unsigned i = 0; i < NR_THREADS; i++) {
    struct worker *w = &workers[i];

    w->index = i;
    rng_init (&w->rng, (uint64_t)_i * NR_THREADS + i);
    w->submitter = blkmq_submitter_alloc (world.bed->disk, BLKMQ_HCTX_ANY);
    for (unsigned own = 0; own < NR_OWN; own++)
      model_init (&w->blocks[own], 0);
    w->thread = thread_start (work, w);
  }
  for (unsigned i = 0; i < NR_CUTS; i++)
    cut_power ();
  world.is_over = true;
  for (unsigned i = 0; i < NR_THREADS; i++) {
    struct worker *w = &workers[i];

    thread_join (w->thread);
    catch_up (w);
    nr_flushes += w->nr_flushes;
    blkmq_submitter_free (w->submitter);
  }
  ck_assert_uint_gt (nr_flushes, 0);
  bed_stop (world.bed);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("cache threads");
  TCase *tcase = harness_case (suite, "threads");

  tcase_add_loop_test (tcase,
                       test_threads_find_what_they_may_while_power_is_cut, 0,
                       NR (configs));
  return harness_main (suite);
}
