/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-sched.c: mq-deadline, rule by rule, and against a model that searches
 * an array.  No disk, no thread, and the time is what the test says.
 */

#include <config.h>

#include <limits.h>
#include <string.h>

#include "engine/io.h"
#include "engine/merge.h"
#include "engine/sched.h"
#include "harness.h"

#define SECOND (1000 * MS)
#define NR_REQUESTS 64

/* ------------------------------------------------------------------------ */
/* Requests without a disk                                                   */

struct bench {
  struct blkmq_hctx hctx; /* counts merges */
  struct blkmq_submitter submitter;
  struct blkmq_limits limits;
  struct sched *sched;
  uint64_t now_ns;
  struct request requests[NR_REQUESTS];
  struct request_merge *merges;
  struct blkmq_io ios[NR_REQUESTS + 4096]; /* the first are the requests' */
  unsigned nr_requests, nr_ios;
};

static const struct sched_options defaults = SCHED_OPTIONS_DEFAULT;

static void
end_io (struct blkmq_io *io, enum blkmq_status status)
{
}

static struct bench *
bench_alloc (const struct sched_options *options)
{
  struct bench *b = aligned_alloc (CACHE_LINE_BYTES, sizeof *b);

  ck_assert_ptr_nonnull (b);
  memset (b, 0, sizeof *b);
  b->now_ns = 100 * SECOND;
  b->limits.size_bytes = 1u << 30;
  b->limits.logical_block_bytes = BLOCK_BYTES;
  b->limits.max_transfer_bytes = 64 * BLOCK_BYTES;
  b->limits.max_segments = 128;
  b->limits.max_discard_bytes = 64 * BLOCK_BYTES;
  b->limits.max_write_zeroes_bytes = 64 * BLOCK_BYTES;
  b->nr_ios = NR_REQUESTS;
  b->merges = merge_alloc (NR_REQUESTS);
  ck_assert_ptr_nonnull (b->merges);
  ck_assert_int_eq (
      sched_alloc (sched_find ("mq-deadline"), options, NR_REQUESTS, &b->sched),
      0);
  ck_assert_ptr_nonnull (b->sched);
  return b;
}

static void
bench_free (struct bench *b)
{
  while (sched_drain (b->sched) != NULL)
    ;
  sched_free (b->sched);
  free (b->merges);
  free (b);
}

static void
fill_io (struct bench *b, struct blkmq_io *io, enum blkmq_op op, uint64_t block,
         unsigned nr_blocks, enum blkmq_prio prio)
{
  memset (io, 0, sizeof *io);
  io->op = op;
  io->offset_bytes = block * BLOCK_BYTES;
  io->bytes = nr_blocks * BLOCK_BYTES;
  io->prio = (uint8_t)prio;
  io->end_io = end_io;
  io->priv.submitter = &b->submitter;
}

/* Request N, as it is before it is inserted. */
static struct request *
fill (struct bench *b, unsigned n, enum blkmq_op op, uint64_t block,
      unsigned nr_blocks, enum blkmq_prio prio)
{
  struct request *r = &b->requests[n];
  struct blkmq_io *io = &b->ios[n];

  fill_io (b, io, op, block, nr_blocks, prio);
  memset (r, 0, sizeof *r);
  r->merge = &b->merges[n];
  r->rq.hctx = &b->hctx;
  r->rq.op = op;
  r->rq.offset_bytes = io->offset_bytes;
  r->rq.bytes = io->bytes;
  r->io = io;
  r->submitter = &b->submitter;
  return r;
}

static struct request *
add_prio (struct bench *b, enum blkmq_op op, uint64_t block,
          enum blkmq_prio prio)
{
  struct request *r;

  ck_assert_uint_lt (b->nr_requests, NR_REQUESTS);
  r = fill (b, b->nr_requests++, op, block, op == BLKMQ_OP_FLUSH ? 0 : 1, prio);
  sched_insert (b->sched, r, false, b->now_ns);
  return r;
}

static struct request *
add (struct bench *b, enum blkmq_op op, uint64_t block)
{
  return add_prio (b, op, block, BLKMQ_PRIO_NONE);
}

static struct request *
add_read (struct bench *b, uint64_t block)
{
  return add (b, BLKMQ_OP_READ, block);
}

static struct request *
add_write (struct bench *b, uint64_t block)
{
  return add (b, BLKMQ_OP_WRITE, block);
}

static struct request *
dispatch (struct bench *b)
{
  uint64_t again_ns;
  bool can = sched_can_dispatch (b->sched, b->now_ns, &again_ns);
  struct request *r;

  /* Time alone: not before again_ns, and then indeed. */
  if (!can && again_ns != UINT64_MAX) {
    uint64_t unused;

    require (again_ns > b->now_ns);
    require (!sched_can_dispatch (b->sched, again_ns - 1, &unused));
    require (sched_can_dispatch (b->sched, again_ns, &unused));
  }
  r = sched_dispatch (b->sched, b->now_ns);
  require (can == (r != NULL));
  return r;
}

/* The next one is a request of this kind at this block. */
#define assert_next(b, wanted_op, block)                                       \
  do {                                                                         \
    struct request *next = dispatch (b);                                       \
    ck_assert_ptr_nonnull (next);                                              \
    ck_assert_str_eq (blkmq_op_name (next->rq.op), blkmq_op_name (wanted_op)); \
    ck_assert_uint_eq (next->rq.offset_bytes / BLOCK_BYTES, block);            \
  } while (0)
#define assert_read(b, block) assert_next (b, BLKMQ_OP_READ, block)
#define assert_write(b, block) assert_next (b, BLKMQ_OP_WRITE, block)
#define assert_none(b) ck_assert_ptr_null (dispatch (b))

/* Try to merge one block. */
static struct blkmq_io *
merge_prio (struct bench *b, enum blkmq_op op, uint64_t block,
            enum blkmq_prio prio)
{
  struct blkmq_io *io = &b->ios[b->nr_ios++];

  fill_io (b, io, op, block, 1, prio);
  return sched_merge_io (b->sched, &b->limits, io) ? io : NULL;
}

static bool
merges (struct bench *b, enum blkmq_op op, uint64_t block)
{
  return merge_prio (b, op, block, BLKMQ_PRIO_NONE) != NULL;
}

/* ------------------------------------------------------------------------ */
/* Order and batches                                                         */

START_TEST (test_requests_leave_in_order_of_offset)
{
  struct bench *b = bench_alloc (&defaults);
  static const unsigned blocks[] = { 20, 50, 30, 90, 40 };

  for (unsigned i = 0; i < NR (blocks); i++)
    add_read (b, blocks[i]);
  ck_assert_uint_eq (sched_nr_queued (b->sched), NR (blocks));
  assert_read (b, 20);
  assert_read (b, 30);
  assert_read (b, 40);
  assert_read (b, 50);
  assert_read (b, 90);
  assert_none (b);
  ck_assert_uint_eq (sched_nr_queued (b->sched), 0);
  bench_free (b);
}
END_TEST

START_TEST (test_requests_of_one_offset_leave_as_they_came)
{
  struct bench *b = bench_alloc (&defaults);
  struct request *r[8];

  for (unsigned i = 0; i < NR (r); i++)
    r[i] = add_write (b, 7);
  for (unsigned i = 0; i < NR (r); i++)
    ck_assert_ptr_eq (dispatch (b), r[i]);
  bench_free (b);
}
END_TEST

START_TEST (test_order_goes_on_above_the_last_and_then_with_the_oldest)
{
  struct bench *b = bench_alloc (&defaults);

  add_read (b, 50);
  assert_read (b, 50);
  add_read (b, 40);
  add_read (b, 10);
  add_read (b, 60);
  assert_read (b, 60); /* above the last, though the youngest */
  assert_read (b, 40); /* nothing is above: the oldest */
  add_read (b, 41);
  assert_read (b, 41);
  assert_read (b, 10);
  bench_free (b);
}
END_TEST

START_TEST (test_batch_ends_after_fifo_batch_requests)
{
  struct sched_options options = defaults;
  struct bench *b;

  options.fifo_batch = 4;
  b = bench_alloc (&options);
  for (unsigned i = 0; i < 6; i++)
    add_write (b, 10 * i);
  assert_write (b, 0);
  /* Writes are on their way: reads wait for the end of the batch. */
  add_read (b, 5);
  for (unsigned i = 1; i < 4; i++)
    assert_write (b, 10 * i);
  assert_read (b, 5);
  assert_write (b, 40); /* the reads ran out: from where it was */
  assert_write (b, 50);
  bench_free (b);
}
END_TEST

START_TEST (test_batch_ends_when_its_direction_runs_out)
{
  struct bench *b = bench_alloc (&defaults);

  add_read (b, 1);
  add_write (b, 2);
  assert_read (b, 1);
  assert_write (b, 2);
  add_read (b, 3);
  add_write (b, 4);
  assert_write (b, 4); /* of the same batch */
  assert_read (b, 3);
  bench_free (b);
}
END_TEST

START_TEST (test_discards_and_zeroes_are_sorted_with_the_writes)
{
  struct bench *b = bench_alloc (&defaults);

  add (b, BLKMQ_OP_WRITE_ZEROES, 10);
  add (b, BLKMQ_OP_DISCARD, 30);
  add (b, BLKMQ_OP_WRITE, 20);
  add (b, BLKMQ_OP_READ, 25);
  assert_read (b, 25);
  assert_next (b, BLKMQ_OP_WRITE_ZEROES, 10);
  assert_next (b, BLKMQ_OP_WRITE, 20);
  assert_next (b, BLKMQ_OP_DISCARD, 30);
  bench_free (b);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Expiry                                                                    */

/* One batch is over; what is next if the oldest read is AGE_NS old? */
static uint64_t
block_after_a_batch (uint64_t age_ns)
{
  struct sched_options options = defaults;
  struct bench *b;
  uint64_t block;

  options.fifo_batch = 2;
  b = bench_alloc (&options);
  add_read (b, 50);
  assert_read (b, 50);
  add_read (b, 10); /* behind the position */
  b->now_ns += age_ns;
  add_read (b, 60);
  add_read (b, 70);
  assert_read (b, 60);
  block = dispatch (b)->rq.offset_bytes / BLOCK_BYTES;
  bench_free (b);
  return block;
}

START_TEST (test_expired_read_is_first_when_a_batch_ends)
{
  ck_assert_uint_eq (block_after_a_batch (500 * MS - 1), 70);
  ck_assert_uint_eq (block_after_a_batch (500 * MS), 10);
}
END_TEST

START_TEST (test_expired_read_does_not_break_a_batch)
{
  struct bench *b = bench_alloc (&defaults);

  add_read (b, 50);
  assert_read (b, 50);
  add_read (b, 10);
  for (unsigned i = 0; i < 20; i++)
    add_read (b, 60 + i);
  b->now_ns += 3600 * SECOND;
  for (unsigned i = 0; i < 15; i++)
    assert_read (b, 60 + i);
  assert_read (b, 10);
  bench_free (b);
}
END_TEST

START_TEST (test_writes_expire_after_write_expire)
{
  for (unsigned expired = 0; expired < 2; expired++) {
    struct sched_options options = defaults;
    struct bench *b;

    options.fifo_batch = 1;
    b = bench_alloc (&options);
    add_write (b, 50);
    assert_write (b, 50);
    add_write (b, 10);
    b->now_ns += 5 * SECOND - 1 + expired;
    add_write (b, 60);
    assert_write (b, expired ? 10 : 60);
    bench_free (b);
  }
}
END_TEST

START_TEST (test_changed_expiry_is_in_force_for_what_is_queued)
{
  struct sched_options options = defaults;
  struct bench *b;

  options.fifo_batch = 1;
  b = bench_alloc (&options);
  add_read (b, 50);
  assert_read (b, 50);
  add_read (b, 10);
  b->now_ns += 20 * MS;
  add_read (b, 60);
  add_read (b, 70);
  assert_read (b, 60);
  options.read_expire_ns = 20 * MS;
  sched_set_options (b->sched, &options);
  assert_read (b, 10);
  bench_free (b);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Starvation                                                                */

static void
check_starved_limit (unsigned limit)
{
  struct sched_options options = defaults;
  struct bench *b;
  unsigned block = 0;

  options.fifo_batch = 3;
  options.writes_starved = limit;
  b = bench_alloc (&options);
  add_write (b, 1000);
  add_write (b, 1001);
  for (unsigned i = 0; i < 40; i++)
    add_read (b, i);
  /* Nothing was dispatched: the first batch is of reads, unless there may not
   * be any. */
  for (unsigned batch = 0; batch < limit; batch++) {
    for (unsigned i = 0; i < 3; i++)
      assert_read (b, block++);
  }
  assert_write (b, 1000);
  assert_write (b, 1001); /* its batch */
  assert_read (b, block);
  bench_free (b);
}

START_TEST (test_reads_pass_writes_for_writes_starved_batches_only)
{
  check_starved_limit (0);
  check_starved_limit (1);
  check_starved_limit (2);
  check_starved_limit (5);
}
END_TEST

START_TEST (test_batches_of_reads_do_not_count_while_no_write_waits)
{
  struct sched_options options = defaults;
  struct bench *b;

  options.fifo_batch = 1;
  b = bench_alloc (&options);
  for (unsigned i = 0; i < 20; i++)
    add_read (b, i);
  for (unsigned i = 0; i < 10; i++)
    assert_read (b, i);
  add_write (b, 100);
  assert_read (b, 10);
  assert_read (b, 11);
  assert_write (b, 100);
  bench_free (b);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Priorities                                                                */

START_TEST (test_lower_class_waits_until_the_higher_is_finished)
{
  struct bench *b = bench_alloc (&defaults);
  struct request *rt[2], *be, *idle;

  idle = add_prio (b, BLKMQ_OP_READ, 1, BLKMQ_PRIO_IDLE);
  be = add_prio (b, BLKMQ_OP_READ, 2, BLKMQ_PRIO_BE);
  rt[0] = add_prio (b, BLKMQ_OP_WRITE, 3, BLKMQ_PRIO_RT);
  rt[1] = add_prio (b, BLKMQ_OP_WRITE, 4, BLKMQ_PRIO_RT);
  ck_assert_ptr_eq (dispatch (b), rt[0]);
  ck_assert_ptr_eq (dispatch (b), rt[1]);
  assert_none (b); /* in flight */
  ck_assert (!sched_finish (b->sched, rt[0]));
  assert_none (b);
  ck_assert (sched_finish (b->sched, rt[1])); /* so look for work */
  ck_assert_uint_eq (sched_nr_queued (b->sched), 2);
  ck_assert_ptr_eq (dispatch (b), be);
  assert_none (b);
  ck_assert (sched_finish (b->sched, be));
  ck_assert_ptr_eq (dispatch (b), idle);
  bench_free (b);
}
END_TEST

START_TEST (test_no_priority_is_best_effort)
{
  struct bench *b = bench_alloc (&defaults);

  add_prio (b, BLKMQ_OP_READ, 3, BLKMQ_PRIO_NONE);
  add_prio (b, BLKMQ_OP_READ, 2, BLKMQ_PRIO_BE);
  add_prio (b, BLKMQ_OP_READ, 1, BLKMQ_PRIO_NONE);
  assert_read (b, 1);
  assert_read (b, 2);
  assert_read (b, 3);
  bench_free (b);
}
END_TEST

START_TEST (test_aged_request_passes_a_higher_class)
{
  struct bench *b = bench_alloc (&defaults);
  struct request *rt;

  add_prio (b, BLKMQ_OP_WRITE, 1, BLKMQ_PRIO_IDLE);
  b->now_ns += 1;
  add_prio (b, BLKMQ_OP_WRITE, 2, BLKMQ_PRIO_IDLE);
  rt = add_prio (b, BLKMQ_OP_READ, 9, BLKMQ_PRIO_RT);
  ck_assert_ptr_eq (dispatch (b), rt);
  b->now_ns += 10 * SECOND - 2;
  assert_none (b);
  b->now_ns += 1;
  assert_write (b, 1);
  assert_none (b); /* the other is a ns too young */
  b->now_ns += 1;
  assert_write (b, 2);
  bench_free (b);
}
END_TEST

START_TEST (test_aged_write_is_not_held_back_by_young_reads_of_its_class)
{
  struct bench *b = bench_alloc (&defaults);
  struct request *rt;

  add_prio (b, BLKMQ_OP_WRITE, 1, BLKMQ_PRIO_IDLE);
  rt = add_prio (b, BLKMQ_OP_READ, 9, BLKMQ_PRIO_RT);
  ck_assert_ptr_eq (dispatch (b), rt);
  b->now_ns += 10 * SECOND;
  add_prio (b, BLKMQ_OP_READ, 2, BLKMQ_PRIO_IDLE);
  assert_write (b, 1);
  assert_none (b);
  bench_free (b);
}
END_TEST

START_TEST (test_looking_for_aged_requests_in_vain_changes_nothing)
{
  struct sched_options options = defaults;
  struct bench *b;

  options.fifo_batch = 4;
  b = bench_alloc (&options);
  add_prio (b, BLKMQ_OP_READ, 500, BLKMQ_PRIO_IDLE);
  add_prio (b, BLKMQ_OP_WRITE, 501, BLKMQ_PRIO_IDLE);
  add_write (b, 100);
  for (unsigned i = 0; i < 20; i++)
    add_read (b, i);
  for (unsigned i = 0; i < 8; i++)
    assert_read (b, i);
  assert_write (b, 100);
  assert_read (b, 8);
  bench_free (b);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Flushes, at_head, out of turn                                             */

START_TEST (test_flush_passes_everything_and_holds_nothing_back)
{
  struct bench *b = bench_alloc (&defaults);
  struct request *flush, *rt, *idle;

  idle = add_prio (b, BLKMQ_OP_READ, 1, BLKMQ_PRIO_IDLE);
  rt = add_prio (b, BLKMQ_OP_READ, 2, BLKMQ_PRIO_RT);
  flush = add_prio (b, BLKMQ_OP_FLUSH, 0, BLKMQ_PRIO_IDLE);
  ck_assert_ptr_eq (dispatch (b), flush);
  ck_assert_ptr_eq (dispatch (b), rt);
  ck_assert (sched_finish (b->sched, rt));
  ck_assert_ptr_eq (dispatch (b), idle);
  ck_assert (!sched_finish (b->sched, flush));
  bench_free (b);
}
END_TEST

START_TEST (test_request_at_head_is_the_first_of_its_class)
{
  struct bench *b = bench_alloc (&defaults);
  struct request *rt, *back;

  add_read (b, 1);
  add_read (b, 2);
  back = dispatch (b);
  ck_assert_uint_eq (back->rq.offset_bytes, 1 * BLOCK_BYTES);
  rt = add_prio (b, BLKMQ_OP_READ, 9, BLKMQ_PRIO_RT);
  sched_insert (b->sched, back, true, b->now_ns);
  ck_assert_ptr_eq (dispatch (b), rt);
  assert_none (b);
  ck_assert (sched_finish (b->sched, rt));
  ck_assert_ptr_eq (dispatch (b), back);
  assert_read (b, 2);
  /* It came twice and is counted once. */
  ck_assert (!sched_finish (b->sched, back));
  ck_assert (sched_finish (b->sched, &b->requests[1]));
  bench_free (b);
}
END_TEST

START_TEST (test_removed_request_is_gone_from_order_age_and_count)
{
  struct bench *b = bench_alloc (&defaults);
  struct request *rt, *flush, *head, *first;

  first = add_read (b, 1);
  add_read (b, 2);
  rt = add_prio (b, BLKMQ_OP_READ, 9, BLKMQ_PRIO_RT);
  flush = add (b, BLKMQ_OP_FLUSH, 0);
  head = fill (b, b->nr_requests++, BLKMQ_OP_READ, 8, 1, BLKMQ_PRIO_NONE);
  sched_insert (b->sched, head, true, b->now_ns);
  ck_assert_uint_eq (sched_nr_queued (b->sched), 5);
  ck_assert (sched_remove (b->sched, flush));
  ck_assert (sched_remove (b->sched, head));
  ck_assert (sched_remove (b->sched, rt));
  ck_assert (sched_remove (b->sched, first));
  ck_assert (!sched_remove (b->sched, first));
  ck_assert (!sched_finish (b->sched, rt));
  ck_assert_uint_eq (sched_nr_queued (b->sched), 1);
  ck_assert (!merges (b, BLKMQ_OP_READ, 0)); /* in front of it */
  assert_read (b, 2);
  assert_none (b);
  ck_assert (!sched_remove (b->sched, &b->requests[1]));
  bench_free (b);
}
END_TEST

START_TEST (test_drain_takes_all_whatever_the_rules)
{
  struct bench *b = bench_alloc (&defaults);
  struct request *r, *out;
  unsigned nr = 0;

  out = add_prio (b, BLKMQ_OP_WRITE, 5, BLKMQ_PRIO_RT);
  ck_assert_ptr_eq (dispatch (b), out);
  for (unsigned i = 0; i < 10; i++) {
    add_prio (b, i % 2 ? BLKMQ_OP_READ : BLKMQ_OP_WRITE, i,
              (enum blkmq_prio) (i % BLKMQ_NR_PRIOS));
  }
  add (b, BLKMQ_OP_FLUSH, 0);
  sched_insert (
      b->sched,
      fill (b, b->nr_requests++, BLKMQ_OP_READ, 8, 1, BLKMQ_PRIO_IDLE), true,
      b->now_ns);
  while ((r = sched_drain (b->sched)) != NULL) {
    ck_assert_ptr_ne (r, out);
    ck_assert (!sched_finish (b->sched, r));
    nr++;
  }
  ck_assert_uint_eq (nr, 12);
  ck_assert_uint_eq (sched_nr_queued (b->sched), 0);
  ck_assert (sched_finish (b->sched, out));
  bench_free (b);
}
END_TEST

START_TEST (test_table_has_the_names_and_none_schedules_nothing)
{
  struct bench *b = bench_alloc (&defaults);
  struct sched *s = b->sched;
  unsigned i;

  for (i = 0; sched_names[i] != NULL; i++)
    ck_assert_ptr_eq (sched_find (sched_names[i]), sched_table[i]);
  ck_assert_ptr_null (sched_table[i]);
  ck_assert_ptr_null (sched_find ("bfq"));
  ck_assert_int_eq (sched_alloc (sched_find ("none"), &defaults, 1, &s), 0);
  ck_assert_ptr_null (s);
  sched_free (s);
  bench_free (b);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Merges                                                                    */

START_TEST (test_back_merge_is_found_by_the_end_and_again_by_the_new_end)
{
  struct bench *b = bench_alloc (&defaults);
  struct request *r;

  add_write (b, 50);
  r = add_write (b, 10);
  add_write (b, 30);
  ck_assert (merges (b, BLKMQ_OP_WRITE, 11));
  ck_assert (!merges (b, BLKMQ_OP_WRITE, 11)); /* there it ends no more */
  ck_assert (merges (b, BLKMQ_OP_WRITE, 12));
  ck_assert_uint_eq (r->nr_merged, 2);
  ck_assert_uint_eq (r->rq.bytes, 3 * BLOCK_BYTES);
  ck_assert_uint_eq (sched_nr_queued (b->sched), 3);
  ck_assert_uint_eq (b->hctx.merges, 2);
  assert_write (b, 10);
  assert_write (b, 30);
  bench_free (b);
}
END_TEST

START_TEST (test_front_merge_moves_the_request_in_the_order)
{
  struct bench *b = bench_alloc (&defaults);
  struct request *r;

  /* Two that start at 12: the merged one passes the other. */
  add_read (b, 12);
  r = add_read (b, 12);
  ck_assert (sched_remove (b->sched, &b->requests[0]));
  sched_insert (b->sched, fill (b, 0, BLKMQ_OP_READ, 12, 60, BLKMQ_PRIO_NONE),
                false, b->now_ns);
  ck_assert (merges (b, BLKMQ_OP_READ, 11));
  ck_assert_uint_eq (r->rq.offset_bytes, 11 * BLOCK_BYTES);
  ck_assert (merges (b, BLKMQ_OP_READ, 10));
  ck_assert_ptr_eq (dispatch (b), r);
  ck_assert_uint_eq (r->rq.offset_bytes, 10 * BLOCK_BYTES);
  ck_assert_uint_eq (r->rq.bytes, 3 * BLOCK_BYTES);
  assert_read (b, 12);
  bench_free (b);
}
END_TEST

START_TEST (test_front_merges_can_be_switched_off)
{
  struct sched_options options = defaults;
  struct bench *b;

  options.front_merges = false;
  b = bench_alloc (&options);
  add_read (b, 10);
  ck_assert (!merges (b, BLKMQ_OP_READ, 9));
  ck_assert (merges (b, BLKMQ_OP_READ, 11));
  bench_free (b);
}
END_TEST

START_TEST (test_back_merge_is_preferred)
{
  struct bench *b = bench_alloc (&defaults);
  struct request *low, *high;

  high = add_read (b, 12);
  low = add_read (b, 10);
  ck_assert (merges (b, BLKMQ_OP_READ, 11));
  ck_assert_uint_eq (low->nr_merged, 1);
  ck_assert_uint_eq (high->nr_merged, 0);
  bench_free (b);
}
END_TEST

START_TEST (test_merged_request_keeps_the_age_of_its_first_io)
{
  struct sched_options options = defaults;
  struct bench *b;

  options.fifo_batch = 1;
  b = bench_alloc (&options);
  add_read (b, 50);
  assert_read (b, 50);
  add_read (b, 20);
  b->now_ns += 500 * MS - 1;
  add_read (b, 60);
  add_read (b, 70);
  ck_assert (merges (b, BLKMQ_OP_READ, 21));
  ck_assert (merges (b, BLKMQ_OP_READ, 19));
  assert_read (b, 60);
  b->now_ns += 1;
  assert_read (b, 19);
  bench_free (b);
}
END_TEST

START_TEST (test_nothing_merges_across_classes_or_directions)
{
  struct bench *b = bench_alloc (&defaults);

  add_prio (b, BLKMQ_OP_WRITE, 10, BLKMQ_PRIO_BE);
  ck_assert_ptr_null (merge_prio (b, BLKMQ_OP_WRITE, 11, BLKMQ_PRIO_RT));
  ck_assert_ptr_null (merge_prio (b, BLKMQ_OP_WRITE, 9, BLKMQ_PRIO_IDLE));
  ck_assert (!merges (b, BLKMQ_OP_READ, 11));
  ck_assert (!merges (b, BLKMQ_OP_DISCARD, 9));
  ck_assert (merges (b, BLKMQ_OP_WRITE, 11));
  bench_free (b);
}
END_TEST

START_TEST (test_nothing_joins_what_was_dispatched_removed_or_put_at_head)
{
  struct bench *b = bench_alloc (&defaults);
  struct request *r = add_read (b, 10);

  ck_assert_ptr_eq (dispatch (b), r);
  ck_assert (!merges (b, BLKMQ_OP_READ, 11));
  sched_insert (b->sched, r, true, b->now_ns);
  ck_assert (!merges (b, BLKMQ_OP_READ, 11));
  ck_assert (!merges (b, BLKMQ_OP_READ, 9));
  add_read (b, 20);
  ck_assert (sched_remove (b->sched, &b->requests[1]));
  ck_assert (!merges (b, BLKMQ_OP_READ, 21));
  bench_free (b);
}
END_TEST

START_TEST (test_aborted_io_enters_no_request)
{
  struct bench *b = bench_alloc (&defaults);
  struct blkmq_io io;

  add_read (b, 10);
  fill_io (b, &io, BLKMQ_OP_READ, 11, 1, BLKMQ_PRIO_NONE);
  io_mark_aborted (&io);
  ck_assert (!sched_merge_io (b->sched, &b->limits, &io));
  ck_assert (merges (b, BLKMQ_OP_READ, 11));
  bench_free (b);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Against a model                                                           */

#define NR_STEPS (SANITIZED ? 40000 : 400000)
#define NR_BLOCKS 200
#define NOT_FOUND NR_REQUESTS

/* Request N as the model sees it. */
struct entry {
  enum { IDLE, SORTED, AT_HEAD, OUT } state;
  enum blkmq_op op;
  uint64_t block, nr_blocks, inserted_ns;
  enum prio_class class;
  uint64_t arrival;   /* in which order they came in */
  uint64_t placement; /* in which order they came to where they are */
};

struct model {
  struct sched_options options;
  struct entry entries[NR_REQUESTS];
  uint64_t nr_arrivals, nr_placements;
  uint64_t position[NR_CLASSES][2];
  unsigned direction, nr_in_batch, nr_starved;
};

static unsigned
model_direction (const struct entry *e)
{
  return e->op != BLKMQ_OP_READ;
}

static bool
is_one_of (const struct entry *e, enum prio_class class, unsigned direction)
{
  return e->state == SORTED
         && e->class == class && model_direction (e) == direction;
}

static unsigned
model_oldest (struct model *m, enum prio_class class, unsigned direction)
{
  unsigned found = NOT_FOUND;

  for (unsigned i = 0; i < NR_REQUESTS; i++) {
    if (is_one_of (&m->entries[i], class, direction)
        && (found == NOT_FOUND
            || m->entries[i].arrival < m->entries[found].arrival))
      found = i;
  }
  return found;
}

static unsigned
model_next (struct model *m, enum prio_class class, unsigned direction)
{
  unsigned found = NOT_FOUND;

  for (unsigned i = 0; i < NR_REQUESTS; i++) {
    struct entry *e = &m->entries[i], *f;

    if (!is_one_of (e, class, direction)
        || e->block < m->position[class][direction])
      continue;
    f = &m->entries[found % NR_REQUESTS];
    if (found == NOT_FOUND || e->block < f->block
        || (e->block == f->block && e->placement < f->placement))
      found = i;
  }
  return found;
}

static bool
model_counts (struct model *m, unsigned i, uint64_t latest_ns)
{
  return i != NOT_FOUND && m->entries[i].inserted_ns <= latest_ns;
}

static unsigned
model_out (struct model *m, unsigned i)
{
  struct entry *e = &m->entries[i];

  if (e->state == SORTED) {
    m->position[e->class][model_direction (e)] = e->block;
    m->nr_in_batch++;
  }
  e->state = OUT;
  return i;
}

static unsigned
model_from_class (struct model *m, enum prio_class class, uint64_t now_ns,
                  uint64_t latest_ns)
{
  unsigned found = NOT_FOUND, next, oldest;
  bool reads, writes;

  /* The youngest comes first at the head. */
  for (unsigned i = 0; i < NR_REQUESTS; i++) {
    if (m->entries[i].state == AT_HEAD && m->entries[i].class == class
        && (found == NOT_FOUND
            || m->entries[i].arrival > m->entries[found].arrival))
      found = i;
  }
  if (model_counts (m, found, latest_ns))
    return model_out (m, found);
  next = model_next (m, class, m->direction);
  if (m->nr_in_batch < m->options.fifo_batch
      && model_counts (m, next, latest_ns))
    return model_out (m, next);

  reads = model_counts (m, model_oldest (m, class, 0), latest_ns);
  writes = model_counts (m, model_oldest (m, class, 1), latest_ns);
  if (!reads && !writes)
    return NOT_FOUND;
  m->direction
      = !reads || (writes && m->nr_starved >= m->options.writes_starved);
  m->nr_in_batch = 0;
  if (m->direction == 1)
    m->nr_starved = 0;
  else if (writes)
    m->nr_starved++;
  next = model_next (m, class, m->direction);
  oldest = model_oldest (m, class, m->direction);
  if (now_ns - m->entries[oldest].inserted_ns
          >= (m->direction == 0 ? m->options.read_expire_ns
                                : m->options.write_expire_ns)
      || !model_counts (m, next, latest_ns))
    next = oldest;
  return model_out (m, next);
}

static unsigned
model_dispatch (struct model *m, uint64_t now_ns)
{
  bool busy[NR_CLASSES] = { false };
  unsigned found = NOT_FOUND;

  for (unsigned i = 0; i < NR_REQUESTS; i++) {
    if (m->entries[i].state != IDLE)
      busy[m->entries[i].class] = true;
  }
  if (busy[CLASS_RT] + busy[CLASS_BE] + busy[CLASS_IDLE] > 1) {
    uint64_t latest_ns = now_ns - m->options.prio_aging_expire_ns;

    found = model_from_class (m, CLASS_BE, now_ns, latest_ns);
    if (found == NOT_FOUND)
      found = model_from_class (m, CLASS_IDLE, now_ns, latest_ns);
  }
  for (enum prio_class class = CLASS_RT; class < NR_CLASSES; class ++) {
    if (found != NOT_FOUND)
      break;
    found = model_from_class (m, class, now_ns, UINT64_MAX);
    if (busy[class])
      break;
  }
  return found;
}

static void
random_insert (struct bench *b, struct model *m, struct rng *rng, unsigned n)
{
  static const enum blkmq_op ops[]
      = { BLKMQ_OP_READ,    BLKMQ_OP_READ,         BLKMQ_OP_WRITE,
          BLKMQ_OP_DISCARD, BLKMQ_OP_WRITE_ZEROES, BLKMQ_OP_WRITE };
  static const enum prio_class class_of_prio[BLKMQ_NR_PRIOS]
      = { CLASS_BE, CLASS_RT, CLASS_BE, CLASS_IDLE };
  struct entry *e = &m->entries[n];
  bool at_head = rng_percent (rng, 5);

  if (e->state == IDLE) {
    enum blkmq_prio prio = (enum blkmq_prio)rng_below (rng, BLKMQ_NR_PRIOS);

    e->op = ops[rng_below (rng, NR (ops))];
    e->block = rng_below (rng, NR_BLOCKS);
    e->nr_blocks = 1 + rng_below (rng, 4);
    e->class = class_of_prio[prio];
    fill (b, n, e->op, e->block, (unsigned)e->nr_blocks, prio);
  } else
    require (e->state == OUT); /* a requeue */
  e->state = at_head ? AT_HEAD : SORTED;
  e->inserted_ns = b->now_ns;
  e->arrival = m->nr_arrivals++;
  e->placement = m->nr_placements++;
  sched_insert (b->sched, &b->requests[n], at_head, b->now_ns);
}

/* May an io join E at its back (or its front)? */
static bool
model_may_merge (struct bench *b, const struct entry *e,
                 const struct blkmq_io *io, bool back)
{
  uint64_t block = io->offset_bytes / BLOCK_BYTES;
  uint64_t nr_blocks = io->bytes / BLOCK_BYTES;

  return e->state == SORTED && e->op == io->op && e->op != BLKMQ_OP_WRITE_ZEROES
         && e->class == sched_class_of (io)
         && (e->nr_blocks + nr_blocks) * BLOCK_BYTES
                <= b->limits.max_transfer_bytes
         && (back ? e->block + e->nr_blocks == block
                  : block + nr_blocks == e->block);
}

static void
random_merge (struct bench *b, struct model *m, struct rng *rng)
{
  struct blkmq_io *io
      = &b->ios[NR_REQUESTS + b->nr_ios++ % (NR (b->ios) - NR_REQUESTS)];
  bool may_back = false, may_front = false, merged;
  unsigned changed = NOT_FOUND;

  fill_io (b, io, (enum blkmq_op)rng_below (rng, BLKMQ_NR_OPS),
           rng_below (rng, NR_BLOCKS), (unsigned)(1 + rng_below (rng, 4)),
           (enum blkmq_prio)rng_below (rng, BLKMQ_NR_PRIOS));
  for (unsigned i = 0; i < NR_REQUESTS; i++) {
    may_back |= model_may_merge (b, &m->entries[i], io, true);
    may_front |= model_may_merge (b, &m->entries[i], io, false);
  }
  merged = sched_merge_io (b->sched, &b->limits, io);
  require (merged == (may_back || may_front));
  if (!merged)
    return;
  for (unsigned i = 0; i < NR_REQUESTS; i++) {
    struct entry *e = &m->entries[i];

    if (e->state == IDLE
        || e->nr_blocks * BLOCK_BYTES == b->requests[i].rq.bytes)
      continue;
    require (changed == NOT_FOUND);
    changed = i;
    require (model_may_merge (b, e, io, may_back));
    e->nr_blocks += io->bytes / BLOCK_BYTES;
    if (!may_back) {
      e->block = io->offset_bytes / BLOCK_BYTES;
      e->placement = m->nr_placements++;
    }
    require (e->block * BLOCK_BYTES == b->requests[i].rq.offset_bytes);
    require (e->nr_blocks * BLOCK_BYTES == b->requests[i].rq.bytes);
  }
  require (changed != NOT_FOUND);
}

static unsigned
model_nr_queued (const struct model *m)
{
  unsigned nr = 0;

  for (unsigned i = 0; i < NR_REQUESTS; i++)
    nr += m->entries[i].state == SORTED || m->entries[i].state == AT_HEAD;
  return nr;
}

START_TEST (test_mq_deadline_agrees_with_a_model_that_searches)
{
  static struct model m;
  struct sched_options options = {
    .read_expire_ns = 50,
    .write_expire_ns = 500,
    .prio_aging_expire_ns = 1000,
    .fifo_batch = 4,
    .writes_starved = 2,
    .front_merges = true,
  };
  struct bench *b = bench_alloc (&options);
  unsigned nr_dispatched = 0, nr_held_back = 0;
  struct rng rng;

  rng_init (&rng, 0);
  m.options = options;
  m.nr_in_batch = UINT_MAX; /* none has begun */
  b->limits.max_transfer_bytes = b->limits.max_discard_bytes = 8 * BLOCK_BYTES;
  for (unsigned i = 0; i < NR_STEPS; i++) {
    unsigned n = (unsigned)rng_below (&rng, NR_REQUESTS), wanted;
    struct entry *e = &m.entries[n];
    struct request *r;

    b->now_ns += rng_below (&rng, 4);
    switch (rng_below (&rng, 16)) {
    case 0: /* an abort */
      require (sched_remove (b->sched, &b->requests[n])
               == (e->state == SORTED || e->state == AT_HEAD));
      if (e->state != OUT)
        e->state = IDLE;
      break;
    case 1: /* a live change */
      m.options.fifo_batch = (unsigned)(1 + rng_below (&rng, 8));
      m.options.writes_starved = (unsigned)rng_below (&rng, 4);
      m.options.read_expire_ns = rng_below (&rng, 100);
      sched_set_options (b->sched, &m.options);
      break;
    case 2:
    case 3:
    case 4:
      random_merge (b, &m, &rng);
      break;
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
      if (e->state == IDLE || (e->state == OUT && rng_percent (&rng, 10)))
        random_insert (b, &m, &rng, n);
      break;
    case 10:
    case 11:
    case 12:
      if (e->state == OUT) {
        bool last = true;

        e->state = IDLE;
        for (unsigned j = 0; j < NR_REQUESTS; j++)
          last &= m.entries[j].state == IDLE || m.entries[j].class != e->class;
        require (sched_finish (b->sched, &b->requests[n]) == last);
      }
      break;
    default:
      wanted = model_dispatch (&m, b->now_ns);
      r = dispatch (b);
      require (r == (wanted == NOT_FOUND ? NULL : &b->requests[wanted]));
      nr_dispatched += r != NULL;
      nr_held_back += r == NULL && model_nr_queued (&m) > 0;
      break;
    }
    require (sched_nr_queued (b->sched) == model_nr_queued (&m));
  }
  /* It did run through what it is about. */
  ck_assert_uint_gt (nr_dispatched, NR_STEPS / 50);
  ck_assert_uint_gt (nr_held_back, NR_STEPS / 1000);
  ck_assert_uint_gt (b->hctx.merges, NR_STEPS / 1000);
  bench_free (b);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("sched");
  TCase *tcase;

  tcase = harness_case (suite, "order");
  tcase_add_test (tcase, test_requests_leave_in_order_of_offset);
  tcase_add_test (tcase, test_requests_of_one_offset_leave_as_they_came);
  tcase_add_test (tcase,
                  test_order_goes_on_above_the_last_and_then_with_the_oldest);
  tcase_add_test (tcase, test_batch_ends_after_fifo_batch_requests);
  tcase_add_test (tcase, test_batch_ends_when_its_direction_runs_out);
  tcase_add_test (tcase, test_discards_and_zeroes_are_sorted_with_the_writes);

  tcase = harness_case (suite, "expiry");
  tcase_add_test (tcase, test_expired_read_is_first_when_a_batch_ends);
  tcase_add_test (tcase, test_expired_read_does_not_break_a_batch);
  tcase_add_test (tcase, test_writes_expire_after_write_expire);
  tcase_add_test (tcase, test_changed_expiry_is_in_force_for_what_is_queued);

  tcase = harness_case (suite, "starvation");
  tcase_add_test (tcase,
                  test_reads_pass_writes_for_writes_starved_batches_only);
  tcase_add_test (tcase,
                  test_batches_of_reads_do_not_count_while_no_write_waits);

  tcase = harness_case (suite, "priorities");
  tcase_add_test (tcase, test_lower_class_waits_until_the_higher_is_finished);
  tcase_add_test (tcase, test_no_priority_is_best_effort);
  tcase_add_test (tcase, test_aged_request_passes_a_higher_class);
  tcase_add_test (tcase,
                  test_aged_write_is_not_held_back_by_young_reads_of_its_class);
  tcase_add_test (tcase,
                  test_looking_for_aged_requests_in_vain_changes_nothing);

  tcase = harness_case (suite, "out of turn");
  tcase_add_test (tcase, test_flush_passes_everything_and_holds_nothing_back);
  tcase_add_test (tcase, test_request_at_head_is_the_first_of_its_class);
  tcase_add_test (tcase, test_removed_request_is_gone_from_order_age_and_count);
  tcase_add_test (tcase, test_drain_takes_all_whatever_the_rules);
  tcase_add_test (tcase, test_table_has_the_names_and_none_schedules_nothing);

  tcase = harness_case (suite, "merges");
  tcase_add_test (tcase,
                  test_back_merge_is_found_by_the_end_and_again_by_the_new_end);
  tcase_add_test (tcase, test_front_merge_moves_the_request_in_the_order);
  tcase_add_test (tcase, test_front_merges_can_be_switched_off);
  tcase_add_test (tcase, test_back_merge_is_preferred);
  tcase_add_test (tcase, test_merged_request_keeps_the_age_of_its_first_io);
  tcase_add_test (tcase, test_nothing_merges_across_classes_or_directions);
  tcase_add_test (
      tcase, test_nothing_joins_what_was_dispatched_removed_or_put_at_head);
  tcase_add_test (tcase, test_aborted_io_enters_no_request);

  tcase = harness_case (suite, "model");
  tcase_add_test (tcase, test_mq_deadline_agrees_with_a_model_that_searches);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
