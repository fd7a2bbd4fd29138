/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-cache-model.c: random ios, faults of the media and power cuts, over a
 * small cache and a driver that answers when the test says, all on one thread
 * and the fake clock, so that a seed replays it.  The driver can have a
 * volatile cache of its own.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "blkmq-control.h"
#include "cache-model.h"

#define NR_BLOCKS 96u
#define MAX_PENDING 256u
#define NR_OPS 8u
#define NR_STEPS (SANITIZED ? 6000u : 30000u)

/* ---- the driver ---- */

static struct {
  struct rng rng;
  bool is_volatile, has_fua, has_power;
  unsigned fail_percent;
  char now[NR_BLOCKS][BLOCK_BYTES], durable[NR_BLOCKS][BLOCK_BYTES];
  struct {
    struct blkmq_request *rq;
    blkmq_token token;
  } pending[MAX_PENDING];
  unsigned nr_pending;
  unsigned nr_writes, nr_failed, nr_flushes;
} media;

static int
media_open (const struct blkmq_config *config, uint64_t seed,
            struct blkmq_limits *limits, void **data, struct blkmq_error *error)
{
  limits->max_discard_bytes = limits->max_write_zeroes_bytes = UINT64_MAX / 2;
  limits->volatile_cache = media.is_volatile;
  limits->fua = media.has_fua;
  *data = &media;
  return 0;
}

static void
media_move (struct blkmq_request *rq)
{
  struct blkmq_segments it = blkmq_segments_begin (rq);
  uint64_t at = rq->offset_bytes;
  struct iovec seg;

  if (rq->op == BLKMQ_OP_FLUSH)
    memcpy (media.durable, media.now, sizeof media.now);
  if (rq->op == BLKMQ_OP_DISCARD || rq->op == BLKMQ_OP_WRITE_ZEROES)
    memset (media.now[0] + at, 0, rq->bytes);
  for (; blkmq_segments_next (&it, &seg); at += seg.iov_len) {
    if (rq->op == BLKMQ_OP_READ)
      memcpy (seg.iov_base, media.now[0] + at, seg.iov_len);
    else
      memcpy (media.now[0] + at, seg.iov_base, seg.iov_len);
  }
  if (rq->op != BLKMQ_OP_READ
      && (!media.is_volatile || (rq->flags & BLKMQ_IO_FUA)))
    memcpy (media.durable[0] + rq->offset_bytes,
            media.now[0] + rq->offset_bytes, rq->bytes);
}

static void
media_end (struct blkmq_request *rq, blkmq_token token, unsigned fail_percent,
           enum blkmq_status failure)
{
  bool fails = rng_percent (&media.rng, fail_percent);

  media.nr_writes += rq->op == BLKMQ_OP_WRITE;
  media.nr_flushes += rq->op == BLKMQ_OP_FLUSH;
  media.nr_failed += fails;
  /* What has failed may have been done. */
  if (!fails || rng_percent (&media.rng, 50))
    media_move (rq);
  require (blkmq_complete (rq, token, fails ? failure : BLKMQ_STS_OK) == 0);
}

static enum blkmq_queue_result
media_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                blkmq_token token)
{
  require (media.has_power);
  if (rng_percent (&media.rng, 40)) {
    media_end (rq, token, media.fail_percent, BLKMQ_STS_MEDIUM);
    return BLKMQ_QUEUED;
  }
  require (media.nr_pending < MAX_PENDING);
  media.pending[media.nr_pending].rq = rq;
  media.pending[media.nr_pending++].token = token;
  return BLKMQ_QUEUED;
}

static void
media_end_one (unsigned fail_percent, enum blkmq_status failure)
{
  unsigned n = (unsigned)rng_below (&media.rng, media.nr_pending);
  struct blkmq_request *rq = media.pending[n].rq;
  blkmq_token token = media.pending[n].token;

  media.pending[n] = media.pending[--media.nr_pending];
  media_end (rq, token, fail_percent, failure);
}

static void
media_power (void *data, bool on)
{
  media.has_power = on;
  while (!on && media.nr_pending > 0)
    media_end_one (50, BLKMQ_STS_OFFLINE);
}

static void
media_power_lost (void *data)
{
  require (media.nr_pending == 0);
  for (unsigned i = 0; i < NR_BLOCKS; i++) {
    if (rng_percent (&media.rng, 50))
      memcpy (media.now[i], media.durable[i], BLOCK_BYTES);
  }
  memcpy (media.durable, media.now, sizeof media.now);
}

static void
media_stop (void *data)
{
  media.nr_pending = 0; /* the engine takes them back */
}

static const struct blkmq_driver media_driver = {
  .name = "model-media",
  .help = "answers when a test says",
  .open = media_open,
  .queue_rq = media_queue_rq,
  .stop = media_stop,
  .power = media_power,
  .power_lost = media_power_lost,
};

/* ---- the world above ---- */

struct op {
  struct test_io t;
  bool is_out;
  unsigned first, nr;
  uint32_t value;
  unsigned covers[NR_BLOCKS]; /* a flush: what was answered before it */
  char data[NR_BLOCKS * BLOCK_BYTES];
};

struct world {
  struct bed *bed;
  struct rng rng;
  struct block_model blocks[NR_BLOCKS];
  bool is_busy[NR_BLOCKS];
  struct op ops[NR_OPS];
  uint32_t last_value;
  unsigned nr_reads, nr_flushes, nr_failed_flushes, nr_cuts;
};

static void
check_data (struct world *w, const struct op *op, bool after_cut)
{
  for (unsigned i = 0; i < op->nr; i++) {
    uint32_t value = model_value (op->data + i * BLOCK_BYTES);

    if (!model_allows (&w->blocks[op->first + i], value, after_cut))
      ck_abort_msg ("block %u has %u after %s", op->first + i, value,
                    after_cut ? "a power cut" : "no power cut");
  }
}

static bool
is_through (const struct op *op)
{
  return op->t.io.op != BLKMQ_OP_WRITE || (op->t.io.flags & BLKMQ_IO_FUA);
}

static void
op_ended (struct world *w, struct op *op)
{
  bool is_ok = op->t.status == BLKMQ_STS_OK;
  bool is_durable = (op->t.io.flags & BLKMQ_IO_FUA)
                    || (is_through (op) && !media.is_volatile);

  op->is_out = false;
  if (op->t.io.op == BLKMQ_OP_FLUSH) {
    w->nr_flushes++;
    w->nr_failed_flushes += !is_ok;
    for (unsigned i = 0; i < NR_BLOCKS && is_ok; i++) {
      struct block_model *m = &w->blocks[i];

      if (op->covers[i] > m->durable)
        m->durable = op->covers[i];
    }
    return;
  }
  for (unsigned i = op->first; i < op->first + op->nr; i++) {
    require (w->is_busy[i]);
    w->is_busy[i] = false;
    if (op->t.io.op != BLKMQ_OP_READ)
      model_write (&w->blocks[i], op->value, is_ok, is_durable);
  }
  if (op->t.io.op == BLKMQ_OP_READ && is_ok) {
    w->nr_reads++;
    check_data (w, op, false);
  }
}

static void
see_to_ended (struct world *w)
{
  bed_turn (w->bed);
  for (unsigned i = 0; i < NR_OPS; i++) {
    if (w->ops[i].is_out && w->ops[i].t.nr_ends == 1)
      op_ended (w, &w->ops[i]);
  }
}

static bool
choose_range (struct world *w, struct op *op)
{
  op->first = (unsigned)rng_below (&w->rng, NR_BLOCKS);
  op->nr = 1
           + (unsigned)rng_below (&w->rng,
                                  rng_percent (&w->rng, 90) ? 12 : NR_BLOCKS);
  if (op->nr > NR_BLOCKS - op->first)
    op->nr = NR_BLOCKS - op->first;
  for (unsigned i = op->first; i < op->first + op->nr; i++) {
    if (w->is_busy[i] || !model_has_room (&w->blocks[i]))
      return false;
  }
  return true;
}

static void
submit (struct world *w, struct op *op, enum blkmq_op what, uint32_t flags)
{
  test_io_init (&op->t, w->bed, what, op->first);
  op->t.io.flags = flags;
  op->is_out = true;
  if (what == BLKMQ_OP_FLUSH) {
    for (unsigned i = 0; i < NR_BLOCKS; i++)
      op->covers[i] = w->blocks[i].sure;
  } else {
    op->t.io.bytes = op->nr * BLOCK_BYTES;
    op->t.segment.iov_base = op->data;
    op->t.segment.iov_len = op->t.io.bytes;
    for (unsigned i = op->first; i < op->first + op->nr; i++)
      w->is_busy[i] = true;
  }
  if (what == BLKMQ_OP_WRITE)
    op->value = ++w->last_value;
  else if (what != BLKMQ_OP_READ)
    op->value = 0;
  for (unsigned i = 0; what == BLKMQ_OP_WRITE && i < op->nr; i++)
    model_fill (op->data + i * BLOCK_BYTES, op->value);
  blkmq_submit (w->bed->submitter, &op->t.io);
}

/* A flush's numbers are of the histories as they are. */
static bool
any_flush (const struct world *w)
{
  for (unsigned i = 0; i < NR_OPS; i++) {
    if (w->ops[i].is_out && w->ops[i].t.io.op == BLKMQ_OP_FLUSH)
      return true;
  }
  return false;
}

static void
submit_random (struct world *w)
{
  static const struct {
    enum blkmq_op op;
    uint32_t flags;
    unsigned percent;
  } kinds[] = {
    { BLKMQ_OP_WRITE, 0, 45 },
    { BLKMQ_OP_READ, 0, 25 },
    { BLKMQ_OP_WRITE, BLKMQ_IO_FUA, 10 },
    { BLKMQ_OP_FLUSH, 0, 8 },
    { BLKMQ_OP_DISCARD, 0, 6 },
    { BLKMQ_OP_WRITE_ZEROES, 0, 6 },
  };
  struct op *op = &w->ops[rng_below (&w->rng, NR_OPS)];
  unsigned dice = (unsigned)rng_below (&w->rng, 100), kind = 0;

  if (op->is_out)
    return;
  for (; dice >= kinds[kind].percent; kind++)
    dice -= kinds[kind].percent;
  if (kinds[kind].op == BLKMQ_OP_FLUSH || choose_range (w, op))
    submit (w, op, kinds[kind].op, kinds[kind].flags);
}

static void
read_all (struct world *w, bool after_cut)
{
  static struct op all;
  unsigned fail_percent = media.fail_percent;

  media.fail_percent = 0;
  all.first = 0;
  all.nr = NR_BLOCKS;
  submit (w, &all, BLKMQ_OP_READ, 0);
  for (;;) {
    bed_turn (w->bed);
    if (all.t.nr_ends > 0)
      break;
    media_end_one (0, BLKMQ_STS_OK);
  }
  assert_ended (&all.t, BLKMQ_STS_OK);
  check_data (w, &all, after_cut);
  for (unsigned i = 0; i < NR_BLOCKS; i++) {
    w->is_busy[i] = false;
    if (after_cut)
      model_init (&w->blocks[i], model_value (all.data + i * BLOCK_BYTES));
  }
  media.fail_percent = fail_percent;
}

static void
cut_power (struct world *w)
{
  ck_assert_int_eq (blkmq_disk_set_power (w->bed->disk, false, NULL), 0);
  see_to_ended (w);
  for (unsigned i = 0; i < NR_OPS; i++)
    ck_assert (!w->ops[i].is_out);
  bed_check_idle (w->bed);
  ck_assert_int_eq (blkmq_disk_set_power (w->bed->disk, true, NULL), 0);
  read_all (w, true);
  w->nr_cuts++;
}

static void
drain (struct world *w)
{
  bool any;

  do {
    if (media.nr_pending > 0)
      media_end_one (0, BLKMQ_STS_OK);
    else
      bed_pass (w->bed, 3 * MS);
    see_to_ended (w);
    any = false;
    for (unsigned i = 0; i < NR_OPS; i++)
      any |= w->ops[i].is_out;
  } while (any);
}

static void
flush_all (struct world *w)
{
  media.fail_percent = 0;
  drain (w);
  submit (w, &w->ops[0], BLKMQ_OP_FLUSH, 0);
  drain (w);
  ck_assert_uint_eq (w->ops[0].t.status, BLKMQ_STS_OK);
  read_all (w, false);
}

static void
step (struct world *w)
{
  unsigned dice = (unsigned)rng_below (&w->rng, 1000);

  if (dice < 450)
    submit_random (w);
  else if (dice < 950) {
    if (media.nr_pending > 0)
      media_end_one (media.fail_percent, BLKMQ_STS_IOERR);
  } else if (dice < 994)
    bed_pass (w->bed, 3 * MS);
  else
    cut_power (w);
  see_to_ended (w);
  for (unsigned i = 0; i < NR_BLOCKS && !any_flush (w); i++)
    model_forget (&w->blocks[i]);
}

static const struct {
  const char *keys;
  bool is_volatile, has_fua;
  unsigned fail_percent;
} worlds[] = {
  { "cache_size=16k", false, false, 0 },
  { "cache_size=16k submit_queues=2", false, false, 5 },
  { "cache_size=4k hw_queue_depth=4", false, false, 5 },
  { "cache_size=1 scheduler=mq-deadline", false, false, 5 },
  { "cache_size=16k fua=0 max_sectors=8", false, false, 5 },
  { "cache_size=16k", true, true, 5 },
  { "cache_size=16k", true, false, 5 },
};

START_TEST (test_every_block_has_a_value_that_it_may_have)
{
  static struct world w;
  struct blkmq_error error;
  int r = blkmq_driver_register (&media_driver, &error);

  ck_assert (r == 0 || r == -EEXIST);
  rng_init (&w.rng, (uint64_t)_i * 2);
  rng_init (&media.rng, (uint64_t)_i * 2 + 1);
  media.is_volatile = worlds[_i].is_volatile;
  media.has_fua = worlds[_i].has_fua;
  media.has_power = true;
  media.fail_percent = worlds[_i].fail_percent;
  for (unsigned i = 0; i < NR_BLOCKS; i++)
    model_init (&w.blocks[i], 0);
  w.bed = bed_alloc ();
  w.bed->script.driver = "model-media";
  {
    char keys[200];

    snprintf (keys, sizeof keys, "size=%u %s", NR_BLOCKS * BLOCK_BYTES,
              worlds[_i].keys);
    bed_open (w.bed, keys);
  }
  for (unsigned n = 0; n < NR_STEPS; n++)
    step (&w);
  flush_all (&w);
  cut_power (&w);

  /* It was not all the same. */
  ck_assert_uint_gt (w.nr_reads, NR_STEPS / 100);
  ck_assert_uint_gt (w.nr_flushes, NR_STEPS / 200);
  ck_assert_uint_gt (w.nr_cuts, NR_STEPS / 1000);
  ck_assert_uint_gt (media.nr_writes, NR_STEPS / 50);
  if (worlds[_i].fail_percent > 0)
    ck_assert_uint_gt (w.nr_failed_flushes, 10);
  bed_stop (w.bed);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("cache model");
  TCase *tcase = harness_case (suite, "model");

  tcase_add_loop_test (tcase, test_every_block_has_a_value_that_it_may_have, 0,
                       NR (worlds));
  return harness_main (suite);
}
