/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-merge.c: several ios in one request: which may, in what order their
 * data stands, and that each is answered and given back on its own.
 */

#include <config.h>

#include <string.h>

#include "engine/io.h"
#include "engine/merge.h"
#include "harness.h"

#define DISK_BLOCKS 2048 /* the bed's 1 MiB */

/* ------------------------------------------------------------------------ */
/* May they?  A request without a disk                                       */

struct pair {
  struct blkmq_hctx hctx;
  struct blkmq_submitter submitter, other;
  struct blkmq_limits limits;
  struct request r;
  struct request_merge merge;
  struct blkmq_io first, io;
  struct iovec segments[2][MERGE_MAX + 1];
};

static void
end_io (struct blkmq_io *io, enum blkmq_status status)
{
}

static void
give_back (struct blkmq_io *io)
{
}

static void
fill_io (struct pair *p, struct blkmq_io *io, struct iovec *segments,
         enum blkmq_op op, uint64_t block)
{
  static char data[BLOCK_BYTES];

  segments[0] = (struct iovec){ data, BLOCK_BYTES };
  io->op = op;
  io->offset_bytes = block * BLOCK_BYTES;
  io->bytes = BLOCK_BYTES;
  io->segments = segments;
  io->nr_segments = 1;
  io->end_io = end_io;
  io->priv.submitter = &p->submitter;
}

/* The request has the block 10. */
static void
take (struct pair *p)
{
  struct request *r = &p->r;

  r->rq.op = p->first.op;
  r->rq.flags = p->first.flags & IO_REQUEST_FLAGS;
  r->rq.offset_bytes = p->first.offset_bytes;
  r->rq.bytes = p->first.bytes;
  r->rq.segment = p->first.segments;
  r->rq.hctx = &p->hctx;
  r->io = &p->first;
  r->submitter = &p->submitter;
  r->early = p->first.give_back != NULL;
  r->merge = &p->merge;
}

/* Two writes, of the blocks 10 and 11, that may be merged. */
static struct pair *
pair_alloc_op (enum blkmq_op op)
{
  struct pair *p = aligned_alloc (CACHE_LINE_BYTES, sizeof *p);

  ck_assert_ptr_nonnull (p);
  memset (p, 0, sizeof *p);
  p->limits.logical_block_bytes = BLOCK_BYTES;
  p->limits.size_bytes = DISK_BLOCKS * BLOCK_BYTES;
  p->limits.max_transfer_bytes = 1u << 20;
  p->limits.max_segments = 128;
  p->limits.max_discard_bytes = p->limits.max_write_zeroes_bytes = 1u << 20;
  fill_io (p, &p->first, p->segments[0], op, 10);
  fill_io (p, &p->io, p->segments[1], op, 11);
  take (p);
  return p;
}

static struct pair *
pair_alloc (void)
{
  return pair_alloc_op (BLKMQ_OP_WRITE);
}

static enum merge_kind
kind (const struct pair *p)
{
  return merge_kind_of (&p->limits, &p->r, &p->io);
}

/* Change something, and they may not. */
#define assert_differ(change)                                                  \
  do {                                                                         \
    struct pair *p = pair_alloc ();                                            \
    ck_assert_int_eq (kind (p), MERGE_BACK);                                   \
    change;                                                                    \
    ck_assert_int_eq (kind (p), MERGE_NONE);                                   \
    free (p);                                                                  \
  } while (0)

/* Two writes of a page each, where PLACES says in memory. */
static void
place_pages (struct pair *p, char *first, char *second)
{
  p->limits.virt_boundary_mask = 4095;
  p->segments[0][0] = (struct iovec){ first, 4096 };
  p->segments[1][0] = (struct iovec){ second, 4096 };
  p->first.bytes = p->r.rq.bytes = p->io.bytes = 4096;
  p->io.offset_bytes = p->first.offset_bytes + 4096;
}

START_TEST (test_merging_leaves_no_gap_at_the_virtual_boundary)
{
  static _Alignas(4096) char pages[4 * 4096];
  struct pair *p = pair_alloc ();

  place_pages (p, pages, &pages[8192]);
  ck_assert_int_eq (kind (p), MERGE_BACK);
  /* Also when it has merged already; empty segments are not there. */
  merge_io (&p->r, &p->io, MERGE_BACK);
  p->io.offset_bytes += 4096;
  p->segments[1][0].iov_len = 0;
  p->segments[1][1] = (struct iovec){ pages, 4096 };
  p->io.nr_segments = 2;
  ck_assert_int_eq (kind (p), MERGE_BACK);
  p->segments[1][1].iov_base = &pages[512];
  ck_assert_int_eq (kind (p), MERGE_NONE);
  free (p);

  p = pair_alloc ();
  place_pages (p, pages, &pages[8192 + 512]);
  ck_assert_int_eq (kind (p), MERGE_NONE);
  /* In front, the end of the io is what counts. */
  p->io.offset_bytes = p->first.offset_bytes - 4096;
  ck_assert_int_eq (kind (p), MERGE_NONE);
  place_pages (p, pages, &pages[4096]);
  p->io.offset_bytes = p->first.offset_bytes - 4096;
  ck_assert_int_eq (kind (p), MERGE_FRONT);
  p->segments[0][0].iov_base = &pages[512];
  ck_assert_int_eq (kind (p), MERGE_NONE);
  free (p);

  p = pair_alloc_op (BLKMQ_OP_DISCARD);
  p->limits.virt_boundary_mask = 4095;
  ck_assert_int_eq (kind (p), MERGE_BACK);
  free (p);
}
END_TEST

START_TEST (test_only_neighbours_merge)
{
  struct pair *p = pair_alloc ();

  for (unsigned block = 0; block < 20; block++) {
    p->io.offset_bytes = block * BLOCK_BYTES;
    ck_assert_int_eq (kind (p), block == 11  ? MERGE_BACK
                                : block == 9 ? MERGE_FRONT
                                             : MERGE_NONE);
  }
  free (p);
}
END_TEST

START_TEST (test_only_ios_of_one_kind_merge)
{
  assert_differ (p->io.op = BLKMQ_OP_READ);
  assert_differ (p->io.op = BLKMQ_OP_DISCARD);
  assert_differ (p->io.flags = BLKMQ_IO_NOUNMAP);
  assert_differ (p->io.prio = BLKMQ_PRIO_RT);
  assert_differ (p->io.priv.submitter = &p->other);
  assert_differ (p->io.give_back = give_back);
  assert_differ ((p->first.give_back = give_back, take (p)));
}
END_TEST

START_TEST (test_what_a_request_does_not_have_makes_no_difference)
{
  struct pair *p = pair_alloc ();

  p->io.flags = BLKMQ_IO_NOWAIT;
  p->io.prio = BLKMQ_PRIO_BE; /* as none */
  ck_assert_int_eq (kind (p), MERGE_BACK);
  free (p);
}
END_TEST

START_TEST (test_fua_flush_and_write_zeroes_are_alone)
{
  static const struct {
    enum blkmq_op op;
    uint32_t flags;
    bool may;
  } cases[] = {
    { BLKMQ_OP_READ, 0, true },
    { BLKMQ_OP_WRITE, 0, true },
    { BLKMQ_OP_DISCARD, 0, true },
    { BLKMQ_OP_WRITE, BLKMQ_IO_FUA, false },
    { BLKMQ_OP_WRITE_ZEROES, 0, false },
    { BLKMQ_OP_FLUSH, 0, false },
  };

  for (unsigned i = 0; i < NR (cases); i++) {
    struct pair *p = pair_alloc_op (cases[i].op);

    p->first.flags = p->io.flags = cases[i].flags;
    take (p);
    ck_assert_int_eq (merge_is_possible (&p->io), cases[i].may);
    ck_assert_int_eq (kind (p), cases[i].may ? MERGE_BACK : MERGE_NONE);
    free (p);
  }
}
END_TEST

START_TEST (test_split_ios_are_alone)
{
  assert_differ (p->io.priv.state = IO_SPLIT);
  assert_differ (p->first.priv.state = IO_SPLIT);
}
END_TEST

START_TEST (test_ios_with_reserved_tags_are_alone)
{
  assert_differ (p->io.flags = BLKMQ_IO_RESERVED);
  assert_differ (p->first.flags = BLKMQ_IO_RESERVED);
}
END_TEST

START_TEST (test_nothing_joins_an_ended_or_closed_request)
{
  assert_differ (p->r.word = WORD_QUEUED | WORD_HELD | WORD_ENDED);
  assert_differ (p->r.merge_closed = true);
  assert_differ (p->r.merge = NULL);
}
END_TEST

START_TEST (test_merged_bytes_stay_within_the_limit)
{
  static const enum blkmq_op ops[]
      = { BLKMQ_OP_READ, BLKMQ_OP_WRITE, BLKMQ_OP_DISCARD };

  for (unsigned i = 0; i < NR (ops); i++) {
    struct pair *p = pair_alloc_op (ops[i]);

    p->limits.max_transfer_bytes = 2 * BLOCK_BYTES;
    p->limits.max_discard_bytes = 2 * BLOCK_BYTES;
    ck_assert_int_eq (kind (p), MERGE_BACK);
    if (ops[i] == BLKMQ_OP_DISCARD)
      p->limits.max_discard_bytes -= 1;
    else
      p->limits.max_transfer_bytes -= 1;
    ck_assert_int_eq (kind (p), MERGE_NONE);
    free (p);
  }
}
END_TEST

START_TEST (test_merged_segments_stay_within_the_limit)
{
  struct pair *p = pair_alloc ();
  static char data[BLOCK_BYTES];

  /* Three segments, of which one is empty: two. */
  p->segments[1][0] = (struct iovec){ data, 100 };
  p->segments[1][1] = (struct iovec){ data, 0 };
  p->segments[1][2] = (struct iovec){ data, BLOCK_BYTES - 100 };
  p->io.nr_segments = 3;
  p->limits.max_segments = 3;
  ck_assert_int_eq (kind (p), MERGE_BACK);
  p->limits.max_segments = 2;
  ck_assert_int_eq (kind (p), MERGE_NONE);

  /* The array has its own limit. */
  p->limits.max_segments = 1000;
  for (unsigned i = 0; i < MERGE_MAX; i++)
    p->segments[1][i] = (struct iovec){ data, i == 0 ? BLOCK_BYTES - 127 : 1 };
  p->io.nr_segments = MERGE_MAX - 1;
  p->io.bytes = BLOCK_BYTES - 1; /* never mind */
  ck_assert_int_eq (kind (p), MERGE_BACK);
  p->io.nr_segments = MERGE_MAX;
  ck_assert_int_eq (kind (p), MERGE_NONE);
  free (p);
}
END_TEST

START_TEST (test_request_has_room_for_so_many_ios)
{
  struct pair *p = pair_alloc_op (BLKMQ_OP_DISCARD);
  static struct blkmq_io ios[MERGE_MAX];
  unsigned n;

  for (n = 0; n < MERGE_MAX; n++) {
    fill_io (p, &ios[n], p->segments[1], BLKMQ_OP_DISCARD, 11 + n);
    p->io = ios[n];
    if (kind (p) != MERGE_BACK)
      break;
    merge_io (&p->r, &ios[n], MERGE_BACK);
  }
  ck_assert_uint_eq (n, MERGE_MAX - 1);
  ck_assert_uint_eq (p->r.rq.bytes, MERGE_MAX * BLOCK_BYTES);
  ck_assert_ptr_eq (p->merge.ios[MERGE_MAX - 1], &ios[MERGE_MAX - 2]);
  free (p);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Order and data, by a shadow                                               */

/* Ios of some blocks in pieces of any length join at either end; the driver's
 * view must be their data in order of offset. */
START_TEST (test_data_of_merged_ios_stands_in_order_of_offset)
{
  enum { NR_ROUNDS = SANITIZED ? 300 : 3000, MAX_IOS = 40, MAX_BLOCKS = 4 };
  static char data[MAX_IOS + 1][MAX_BLOCKS * BLOCK_BYTES];
  static char shadow[2 * MAX_IOS * MAX_BLOCKS * BLOCK_BYTES];
  static struct iovec segments[MAX_IOS + 1][4];
  static struct blkmq_io ios[MAX_IOS + 1];
  unsigned nr_merged = 0;
  struct rng rng;

  rng_init (&rng, 0);
  for (unsigned round = 0; round < NR_ROUNDS; round++) {
    struct pair *p = pair_alloc ();
    uint64_t low = MAX_IOS * MAX_BLOCKS, high = low, at = 0;
    struct blkmq_segments it;
    struct iovec seg;

    p->limits.max_transfer_bytes
        = (uint32_t)(1 + rng_below (&rng, 100)) * BLOCK_BYTES;
    p->limits.max_segments = (unsigned)(1 + rng_below (&rng, 120));
    for (unsigned i = 0; i <= MAX_IOS; i++) {
      struct blkmq_io *io = i == 0 ? &p->first : &ios[i];
      uint64_t nr_blocks = 1 + rng_below (&rng, MAX_BLOCKS), left;
      bool front = i > 0 && rng_percent (&rng, 50);
      char *from = data[i];

      left = nr_blocks * BLOCK_BYTES;
      for (uint64_t j = 0; j < left; j++)
        from[j] = (char)rng_next (&rng);
      memset (io, 0, sizeof *io);
      fill_io (p, io, segments[i], BLKMQ_OP_WRITE,
               front ? low - nr_blocks : high);
      io->bytes = left;
      io->nr_segments = (unsigned)(1 + rng_below (&rng, 4));
      for (unsigned j = 0; j < io->nr_segments; j++) {
        uint64_t len = j + 1 == io->nr_segments ? left
                       : rng_percent (&rng, 20) ? 0
                                                : rng_below (&rng, left + 1);

        segments[i][j] = (struct iovec){ from, len };
        from += len;
        left -= len;
      }
      if (i == 0)
        take (p);
      else {
        enum merge_kind k = merge_kind_of (&p->limits, &p->r, io);

        if (k == MERGE_NONE)
          break;
        require (k == (front ? MERGE_FRONT : MERGE_BACK));
        merge_io (&p->r, io, k);
        nr_merged++;
      }
      memcpy (&shadow[io->offset_bytes], data[i], io->bytes);
      if (front)
        low -= nr_blocks;
      else
        high += nr_blocks;
      if (i == 0)
        low = p->first.offset_bytes / BLOCK_BYTES;
    }

    require (p->r.rq.offset_bytes == low * BLOCK_BYTES);
    require (p->r.rq.bytes == (high - low) * BLOCK_BYTES);
    require (p->r.nr_merged == 0
             || p->merge.nr_segments <= p->limits.max_segments);
    require (p->r.nr_merged == 0
             || p->r.rq.bytes <= p->limits.max_transfer_bytes);
    it = blkmq_segments_begin (&p->r.rq);
    while (blkmq_segments_next (&it, &seg)) {
      require (
          memcmp (seg.iov_base, &shadow[low * BLOCK_BYTES + at], seg.iov_len)
          == 0);
      at += seg.iov_len;
    }
    require (at == p->r.rq.bytes);
    for (unsigned i = 1; i <= p->r.nr_merged; i++) {
      struct blkmq_io *io = p->merge.ios[i - 1];

      require (io->offset_bytes + io->bytes == p->merge.ios[i]->offset_bytes);
    }
    free (p);
  }
  ck_assert_uint_gt (nr_merged, NR_ROUNDS);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* On a disk: the ios of a batch                                             */

struct merge_bed {
  struct bed *bed;
  struct request_merge *merges[2];
};

/* Let its requests have several ios. */
static void
merge_bed_attach (struct merge_bed *m)
{
  for (unsigned i = 0; i < blkmq_disk_nr_hw_queues (m->bed->disk); i++) {
    struct blkmq_hctx *h = bed_hctx (m->bed, i);
    unsigned depth = hctx_pool (h)->depth;

    m->merges[i] = merge_alloc (depth);
    ck_assert_ptr_nonnull (m->merges[i]);
    for (unsigned n = 0; n < depth; n++)
      hctx_tag_request (h, n)->merge = &m->merges[i][n];
  }
}

static struct merge_bed
merge_bed_open (struct bed *bed, const char *keys)
{
  struct merge_bed m = { .bed = bed };

  bed_open (bed, keys);
  merge_bed_attach (&m);
  return m;
}

static void
merge_bed_stop (struct merge_bed *m)
{
  bed_stop (m->bed);
  for (unsigned i = 0; i < NR (m->merges); i++)
    free (m->merges[i]);
}

static void
commit (struct bed *bed, struct test_io *t, unsigned nr)
{
  struct blkmq_batch batch;

  blkmq_batch_begin (&batch, bed->submitter);
  for (unsigned i = 0; i < nr; i++)
    blkmq_batch_add (&batch, &t[i].io);
  blkmq_batch_commit (&batch);
}

/* A batch of writes at these blocks. */
static void
commit_writes (struct bed *bed, struct test_io *t, const unsigned *blocks,
               unsigned nr, bool early)
{
  for (unsigned i = 0; i < nr; i++) {
    if (early)
      test_io_init_early (&t[i], bed, BLKMQ_OP_WRITE, blocks[i]);
    else
      test_io_init (&t[i], bed, BLKMQ_OP_WRITE, blocks[i]);
  }
  commit (bed, t, nr);
}

static const unsigned row[] = { 5, 6, 7, 8 };

#define assert_issue(bed, n, block, nr_blocks)                                 \
  do {                                                                         \
    const struct issue *issue = script_issue (&(bed)->script, n);              \
    ck_assert_uint_eq (issue->offset_bytes, (block)*BLOCK_BYTES);              \
    ck_assert_uint_eq (issue->bytes, (nr_blocks)*BLOCK_BYTES);                 \
  } while (0)

START_TEST (test_neighbours_in_a_batch_are_one_request)
{
  struct merge_bed m = merge_bed_open (bed_alloc (), "");
  struct bed *bed = m.bed;
  struct test_io t[NR (row)];

  commit_writes (bed, t, row, NR (row), false);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  assert_issue (bed, 0, 5, 4);
  ck_assert_uint_eq (bed_stats (bed).merges, 3);
  issue_complete (&bed->script, 0, BLKMQ_STS_MEDIUM);
  for (unsigned i = 0; i < NR (t); i++)
    assert_ended (&t[i], BLKMQ_STS_MEDIUM);
  ck_assert_uint_eq (bed_stats (bed).ios[BLKMQ_OP_WRITE], 1);
  merge_bed_stop (&m);
}
END_TEST

START_TEST (test_batch_breaks_where_ios_are_no_neighbours)
{
  static const unsigned blocks[] = { 5, 6, 8, 9, 7, 30, 29, 28 };
  struct merge_bed m = merge_bed_open (bed_alloc (), "");
  struct bed *bed = m.bed;
  struct test_io t[NR (blocks)];

  commit_writes (bed, t, blocks, NR (blocks), false);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  assert_issue (bed, 0, 5, 2);
  assert_issue (bed, 1, 7, 3);
  assert_issue (bed, 2, 28, 3);
  for (unsigned i = 0; i < 3; i++)
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
  for (unsigned i = 0; i < NR (t); i++)
    assert_ended (&t[i], BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (bed).bytes[BLKMQ_OP_WRITE],
                     NR (blocks) * BLOCK_BYTES);
  merge_bed_stop (&m);
}
END_TEST

START_TEST (test_bad_io_in_a_batch_is_rejected_alone)
{
  struct merge_bed m = merge_bed_open (bed_alloc (), "");
  struct bed *bed = m.bed;
  struct test_io t[3];

  for (unsigned i = 0; i < NR (t); i++)
    test_io_init (&t[i], bed, BLKMQ_OP_WRITE, 5 + i);
  t[1].segment.iov_len--;
  commit (bed, t, NR (t));
  assert_ended (&t[1], BLKMQ_STS_INVAL);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (bed_stats (bed).rejected[BLKMQ_STS_INVAL], 1);
  for (unsigned i = 0; i < 2; i++)
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
  assert_ended (&t[0], BLKMQ_STS_OK);
  assert_ended (&t[2], BLKMQ_STS_OK);
  merge_bed_stop (&m);
}
END_TEST

START_TEST (test_unknown_priority_is_rejected)
{
  struct bed *bed = bed_start ("");
  struct test_io t;

  test_io_init (&t, bed, BLKMQ_OP_READ, 0);
  t.io.prio = BLKMQ_NR_PRIOS;
  blkmq_submit (bed->submitter, &t.io);
  assert_ended (&t, BLKMQ_STS_INVAL);
  bed_stop (bed);
}
END_TEST

/* Sizes vary up to more than one request holds: split ios stand between. */
START_TEST (test_batches_write_what_was_asked_for)
{
  enum { NR_BATCHES = SANITIZED ? 300 : 2000, MAX_BATCH = 12, MAX_BLOCKS = 6 };
  static char shadow[256 * BLOCK_BYTES], back[sizeof shadow];
  static char data[MAX_BATCH][MAX_BLOCKS * BLOCK_BYTES];
  static struct test_io t[MAX_BATCH];
  struct bed *bed = bed_alloc ();
  struct merge_bed m;
  struct rng rng;

  rng_init (&rng, 0);
  bed->script.driver = "memory";
  m = merge_bed_open (bed, "max_sectors=4 hw_queue_depth=3");
  for (unsigned n = 0; n < NR_BATCHES; n++) {
    unsigned nr = (unsigned)(1 + rng_below (&rng, MAX_BATCH));
    uint64_t block = rng_below (&rng, 200);

    for (unsigned i = 0; i < nr; i++) {
      uint64_t nr_blocks = 1 + rng_below (&rng, MAX_BLOCKS);

      test_io_init (&t[i], bed, BLKMQ_OP_WRITE, 0);
      if (rng_percent (&rng, 20))
        block = rng_below (&rng, 200);
      if (block + nr_blocks > 256)
        block = 0;
      t[i].io.offset_bytes = block * BLOCK_BYTES;
      t[i].io.bytes = nr_blocks * BLOCK_BYTES;
      t[i].segment = (struct iovec){ data[i], t[i].io.bytes };
      for (uint64_t j = 0; j < t[i].io.bytes; j++)
        data[i][j] = (char)rng_next (&rng);
      memcpy (&shadow[t[i].io.offset_bytes], data[i], t[i].io.bytes);
      block += nr_blocks;
    }
    commit (bed, t, nr);
    for (unsigned i = 0; i < nr; i++) {
      require (t[i].nr_ends == 1);
      require (t[i].status == BLKMQ_STS_OK);
    }
  }
  ck_assert_uint_gt (bed_stats (bed).merges, NR_BATCHES / 10);
  /* Read in one batch, which merges as well. */
  for (unsigned at = 0; at < sizeof back / BLOCK_BYTES; at += MAX_BATCH) {
    unsigned nr = 0;

    for (; nr < MAX_BATCH && at + nr < sizeof back / BLOCK_BYTES; nr++)
      test_io_init (&t[nr], bed, BLKMQ_OP_READ, at + nr);
    commit (bed, t, nr);
    for (unsigned i = 0; i < nr; i++) {
      assert_ended (&t[i], BLKMQ_STS_OK);
      memcpy (&back[(at + i) * BLOCK_BYTES], t[i].data, BLOCK_BYTES);
    }
  }
  ck_assert_int_eq (memcmp (shadow, back, sizeof back), 0);
  merge_bed_stop (&m);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Each io's answer                                                          */

static unsigned nr_freed;

static void
free_in_end_io (struct blkmq_io *io, enum blkmq_status status)
{
  ck_assert_uint_eq (status, BLKMQ_STS_OK);
  nr_freed++;
  memset (io, 0xa5, sizeof *io);
  free (io);
}

START_TEST (test_each_io_may_be_freed_in_its_end_io)
{
  struct merge_bed m = merge_bed_open (bed_alloc (), "");
  static char data[BLOCK_BYTES];
  static const struct iovec segment = { data, sizeof data };
  struct blkmq_batch batch;

  nr_freed = 0;
  blkmq_batch_begin (&batch, m.bed->submitter);
  for (unsigned i = 0; i < 20; i++) {
    struct blkmq_io *io = calloc (1, sizeof *io);

    ck_assert_ptr_nonnull (io);
    io->op = BLKMQ_OP_READ;
    io->offset_bytes = i * BLOCK_BYTES;
    io->bytes = BLOCK_BYTES;
    io->segments = &segment;
    io->nr_segments = 1;
    io->end_io = free_in_end_io;
    blkmq_batch_add (&batch, io);
  }
  blkmq_batch_commit (&batch);
  ck_assert_uint_eq (m.bed->script.nr_issues, 1);
  ck_assert_uint_eq (nr_freed, 0);
  issue_complete (&m.bed->script, 0, BLKMQ_STS_OK);
  ck_assert_uint_eq (nr_freed, 20);
  merge_bed_stop (&m);
}
END_TEST

START_TEST (test_each_io_is_given_back_after_its_answer)
{
  struct merge_bed m = merge_bed_open (bed_alloc (), "");
  struct test_io t[NR (row)];

  commit_writes (m.bed, t, row, NR (row), true);
  ck_assert_uint_eq (m.bed->script.nr_issues, 1);
  issue_complete (&m.bed->script, 0, BLKMQ_STS_OK);
  for (unsigned i = 0; i < NR (t); i++) {
    assert_ended (&t[i], BLKMQ_STS_OK);
    ck_assert_uint_gt (t[i].give_back_event, t[i].end_event);
  }
  merge_bed_stop (&m);
}
END_TEST

static enum blkmq_timeout_result
still_held (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_HELD;
}

START_TEST (test_timeout_answers_each_and_keeps_the_data_of_all)
{
  struct bed *bed = bed_alloc ();
  struct test_io t[NR (row)];
  struct merge_bed m;

  bed->script.on_timeout = still_held;
  m = merge_bed_open (bed, "io_timeout=100");
  commit_writes (bed, t, row, NR (row), true);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_pass (bed, 200 * MS);
  for (unsigned i = 0; i < NR (t); i++)
    assert_ended_early (&t[i], BLKMQ_STS_TIMEOUT);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  for (unsigned i = 0; i < NR (t); i++)
    assert_ended (&t[i], BLKMQ_STS_TIMEOUT);
  merge_bed_stop (&m);
}
END_TEST

START_TEST (test_requeued_request_keeps_its_ios)
{
  struct merge_bed m = merge_bed_open (bed_alloc (), "");
  struct test_io t[NR (row)];

  commit_writes (m.bed, t, row, NR (row), false);
  issue_requeue (&m.bed->script, 0);
  bed_turn (m.bed);
  ck_assert_uint_eq (m.bed->script.nr_issues, 2);
  assert_issue (m.bed, 1, 5, 4);
  issue_complete (&m.bed->script, 1, BLKMQ_STS_OK);
  for (unsigned i = 0; i < NR (t); i++)
    assert_ended (&t[i], BLKMQ_STS_OK);
  merge_bed_stop (&m);
}
END_TEST

START_TEST (test_removal_answers_each)
{
  for (unsigned early = 0; early < 2; early++) {
    for (unsigned queued = 0; queued < 2; queued++) {
      struct merge_bed m = merge_bed_open (bed_alloc (), "");
      struct test_io t[NR (row)];

      if (queued)
        ck_assert_int_eq (blkmq_quiesce (m.bed->disk), 0);
      commit_writes (m.bed, t, row, NR (row), early);
      blkmq_disk_remove (m.bed->disk);
      for (unsigned i = 0; i < NR (t); i++)
        assert_ended (&t[i], BLKMQ_STS_OFFLINE);
      if (queued)
        blkmq_unquiesce (m.bed->disk);
      merge_bed_stop (&m);
    }
  }
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Abort                                                                     */

/* In the driver or on the queue; answers with the data or before it. */
static void
check_abort_of_each (bool early, bool queued)
{
  struct merge_bed m = merge_bed_open (bed_alloc (), "");
  struct bed *bed = m.bed;
  struct test_io t[NR (row)];

  if (queued)
    ck_assert_int_eq (blkmq_quiesce (bed->disk), 0);
  commit_writes (bed, t, row, NR (row), early);
  for (unsigned i = 0; i < NR (t); i++) {
    unsigned n = (i + 2) % NR (t), nr;

    for (unsigned j = 0; j < NR (t); j++)
      assert_not_ended (&t[j]);
    nr = blkmq_abort_io (bed->submitter, &t[n].io);
    ck_assert_uint_eq (nr, i + 1 == NR (t));
    /* Once more is no more. */
    if (i + 1 < NR (t))
      ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t[n].io), 0);
  }
  for (unsigned i = 0; i < NR (t); i++) {
    if (queued)
      assert_ended (&t[i], BLKMQ_STS_ABORTED);
    else if (early)
      assert_ended_early (&t[i], BLKMQ_STS_ABORTED);
    else
      assert_not_ended (&t[i]);
  }
  if (queued)
    blkmq_unquiesce (bed->disk);
  else
    issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, !queued);
  for (unsigned i = 0; i < NR (t); i++)
    assert_ended (&t[i], BLKMQ_STS_ABORTED);
  merge_bed_stop (&m);
}

START_TEST (test_merged_request_is_aborted_with_the_last_of_its_ios)
{
  check_abort_of_each (false, false);
  check_abort_of_each (false, true);
  check_abort_of_each (true, false);
  check_abort_of_each (true, true);
}
END_TEST

START_TEST (test_one_aborted_io_gets_the_status_of_all)
{
  struct merge_bed m = merge_bed_open (bed_alloc (), "");
  struct test_io t[NR (row)];

  commit_writes (m.bed, t, row, NR (row), false);
  ck_assert_uint_eq (blkmq_abort_io (m.bed->submitter, &t[1].io), 0);
  issue_complete (&m.bed->script, 0, BLKMQ_STS_OK);
  for (unsigned i = 0; i < NR (t); i++)
    assert_ended (&t[i], BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (m.bed).lost_claims[BLKMQ_CAUSE_ABORT], 0);
  merge_bed_stop (&m);
}
END_TEST

START_TEST (test_marks_of_an_abort_end_with_the_request)
{
  struct merge_bed m = merge_bed_open (bed_alloc (), "hw_queue_depth=1");
  struct test_io t[NR (row)];

  commit_writes (m.bed, t, row, NR (row), false);
  ck_assert_uint_eq (blkmq_abort_io (m.bed->submitter, &t[1].io), 0);
  issue_complete (&m.bed->script, 0, BLKMQ_STS_OK);
  commit_writes (m.bed, t, row, NR (row), false);
  for (unsigned i = 0; i < NR (t); i++) {
    if (i != 1)
      ck_assert_uint_eq (blkmq_abort_io (m.bed->submitter, &t[i].io), 0);
  }
  issue_complete (&m.bed->script, 1, BLKMQ_STS_OK);
  for (unsigned i = 0; i < NR (t); i++)
    assert_ended (&t[i], BLKMQ_STS_OK);
  merge_bed_stop (&m);
}
END_TEST

START_TEST (test_abort_of_a_submitter_ends_merged_requests)
{
  struct merge_bed m = merge_bed_open (bed_alloc (), "");
  struct test_io t[NR (row)];

  commit_writes (m.bed, t, row, NR (row), true);
  ck_assert_uint_eq (blkmq_abort_submitter (m.bed->submitter), 1);
  for (unsigned i = 0; i < NR (t); i++)
    assert_ended_early (&t[i], BLKMQ_STS_ABORTED);
  issue_complete (&m.bed->script, 0, BLKMQ_STS_OK);
  for (unsigned i = 0; i < NR (t); i++)
    assert_ended (&t[i], BLKMQ_STS_ABORTED);
  merge_bed_stop (&m);
}
END_TEST

/* An io that is alone is claimed at once, and what follows must not join it
 * between the look and the claim. */
START_TEST (test_nothing_joins_a_request_that_is_being_aborted)
{
  struct pair *p = pair_alloc ();

  ck_assert_int_eq (pthread_mutex_init (&p->hctx.lock, NULL), 0);
  ck_assert (!merge_abort_io (&p->r, &p->io));
  ck_assert_int_eq (kind (p), MERGE_BACK);
  ck_assert (merge_abort_io (&p->r, &p->first));
  ck_assert_int_eq (kind (p), MERGE_NONE);
  pthread_mutex_destroy (&p->hctx.lock);
  free (p);

  p = pair_alloc ();
  ck_assert_int_eq (pthread_mutex_init (&p->hctx.lock, NULL), 0);
  merge_io (&p->r, &p->io, MERGE_BACK);
  ck_assert (!merge_abort_io (&p->r, &p->io));
  fill_io (p, &p->io, p->segments[1], BLKMQ_OP_WRITE, 12);
  ck_assert_int_eq (kind (p), MERGE_NONE);
  pthread_mutex_destroy (&p->hctx.lock);
  free (p);
}
END_TEST

/* The answer of a queued request waits until the queue has let go: ios may be
 * joining it.  The abort itself takes it off, so that it need not wait long. */
START_TEST (test_queued_request_is_answered_once_it_is_off_the_queue)
{
  struct merge_bed m = merge_bed_open (bed_alloc (), "");
  struct blkmq_hctx *h = bed_hctx (m.bed, 0);
  struct request *r;
  struct test_io t;

  ck_assert_int_eq (blkmq_quiesce (m.bed->disk), 0);
  test_io_submit_early (&t, m.bed, 0);
  r = h->queue;
  ck_assert_ptr_nonnull (r);
  ck_assert (request_claim (r, BLKMQ_CAUSE_ABORT, BLKMQ_STS_ABORTED));
  assert_not_ended (&t);
  blkmq_unquiesce (m.bed->disk);
  bed_turn (m.bed);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (m.bed->script.nr_issues, 0);
  merge_bed_stop (&m);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Threads                                                                   */

/* A loop's thread completes while this one aborts some, all or none. */
START_TEST (test_aborts_and_completions_race_for_merged_requests)
{
  enum { NR_ROUNDS = SANITIZED ? 500 : 3000, NR_IOS = 8 };
  static struct test_io t[NR_IOS];
  unsigned nr_aborted = 0, nr_ok = 0;
  struct bed *bed = bed_alloc ();
  struct merge_bed m = { .bed = bed };
  struct rng rng;

  rng_init (&rng, 0);
  bed->script.driver = "memory";
  bed_open_threads (bed, "irqmode=timer completion_nsec=10us");
  merge_bed_attach (&m);
  for (unsigned round = 0; round < NR_ROUNDS; round++) {
    unsigned percent = 50 * (unsigned)rng_below (&rng, 3);
    unsigned blocks[NR_IOS];

    for (unsigned i = 0; i < NR_IOS; i++)
      blocks[i] = i + (i >= NR_IOS / 2); /* two requests */
    commit_writes (bed, t, blocks, NR_IOS, rng_percent (&rng, 50));
    for (unsigned i = 0; i < NR_IOS; i++) {
      if (rng_percent (&rng, percent))
        blkmq_abort_io (bed->submitter, &t[i].io);
    }
    for (unsigned i = 0; i < NR_IOS; i++) {
      struct test_io *first = &t[i - i % (NR_IOS / 2)];

      await (t[i].nr_ends == 1
             && t[i].nr_give_backs == (t[i].io.give_back != NULL));
      require (t[i].status == BLKMQ_STS_OK || t[i].status == BLKMQ_STS_ABORTED);
      require (t[i].status == first->status);
      nr_aborted += t[i].status != BLKMQ_STS_OK;
      nr_ok += t[i].status == BLKMQ_STS_OK;
    }
  }
  ck_assert_uint_gt (nr_ok, 0);
  ck_assert_uint_eq (nr_ok + nr_aborted, NR_ROUNDS * NR_IOS);
  ck_assert_uint_eq (bed_stats (bed).merges, NR_ROUNDS * (NR_IOS - 2));
  merge_bed_stop (&m);
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("merge");
  TCase *tcase;

  tcase = harness_case (suite, "may they");
  tcase_add_test (tcase, test_only_neighbours_merge);
  tcase_add_test (tcase, test_merging_leaves_no_gap_at_the_virtual_boundary);
  tcase_add_test (tcase, test_only_ios_of_one_kind_merge);
  tcase_add_test (tcase, test_what_a_request_does_not_have_makes_no_difference);
  tcase_add_test (tcase, test_fua_flush_and_write_zeroes_are_alone);
  tcase_add_test (tcase, test_split_ios_are_alone);
  tcase_add_test (tcase, test_ios_with_reserved_tags_are_alone);
  tcase_add_test (tcase, test_nothing_joins_an_ended_or_closed_request);
  tcase_add_test (tcase, test_merged_bytes_stay_within_the_limit);
  tcase_add_test (tcase, test_merged_segments_stay_within_the_limit);
  tcase_add_test (tcase, test_request_has_room_for_so_many_ios);

  tcase = harness_case (suite, "data");
  tcase_add_test (tcase, test_data_of_merged_ios_stands_in_order_of_offset);

  tcase = harness_case (suite, "batch");
  tcase_add_test (tcase, test_neighbours_in_a_batch_are_one_request);
  tcase_add_test (tcase, test_batch_breaks_where_ios_are_no_neighbours);
  tcase_add_test (tcase, test_bad_io_in_a_batch_is_rejected_alone);
  tcase_add_test (tcase, test_unknown_priority_is_rejected);
  tcase_add_test (tcase, test_batches_write_what_was_asked_for);

  tcase = harness_case (suite, "answers");
  tcase_add_test (tcase, test_each_io_may_be_freed_in_its_end_io);
  tcase_add_test (tcase, test_each_io_is_given_back_after_its_answer);
  tcase_add_test (tcase, test_timeout_answers_each_and_keeps_the_data_of_all);
  tcase_add_test (tcase, test_requeued_request_keeps_its_ios);
  tcase_add_test (tcase, test_removal_answers_each);

  tcase = harness_case (suite, "abort");
  tcase_add_test (tcase,
                  test_merged_request_is_aborted_with_the_last_of_its_ios);
  tcase_add_test (tcase, test_one_aborted_io_gets_the_status_of_all);
  tcase_add_test (tcase, test_marks_of_an_abort_end_with_the_request);
  tcase_add_test (tcase, test_abort_of_a_submitter_ends_merged_requests);
  tcase_add_test (tcase, test_nothing_joins_a_request_that_is_being_aborted);
  tcase_add_test (tcase,
                  test_queued_request_is_answered_once_it_is_off_the_queue);

  tcase = harness_case (suite, "threads");
  tcase_add_test (tcase, test_aborts_and_completions_race_for_merged_requests);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
