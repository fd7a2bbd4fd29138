/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-split.c: what an io must be like, and how one that is too large for a
 * request becomes several.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "harness.h"

#define DISK_BYTES (1u << 20)

/* ------------------------------------------------------------------------ */
/* A driver that stores, and checks what it is given                         */

/* What is on the disk.  The driver's is the truth to the ios, the shadow is
 * the test's own. */
static char stored[DISK_BYTES], shadow[DISK_BYTES];

static void
transfer (const struct issue *issue)
{
  struct blkmq_segments it = blkmq_segments_begin (issue->rq);
  char *at = &stored[issue->offset_bytes];
  struct iovec seg;

  switch (issue->op) {
  case BLKMQ_OP_READ:
    for (; blkmq_segments_next (&it, &seg); at += seg.iov_len)
      memcpy (seg.iov_base, at, seg.iov_len);
    break;
  case BLKMQ_OP_WRITE:
    for (; blkmq_segments_next (&it, &seg); at += seg.iov_len)
      memcpy (at, seg.iov_base, seg.iov_len);
    break;
  case BLKMQ_OP_DISCARD:
  case BLKMQ_OP_WRITE_ZEROES:
    memset (at, 0, issue->bytes);
    break;
  default:
    break;
  }
}

static unsigned
count_segments (const struct blkmq_request *rq)
{
  struct blkmq_segments it = blkmq_segments_begin (rq);
  struct iovec seg;
  uint64_t bytes = 0;
  unsigned nr = 0;

  for (; blkmq_segments_next (&it, &seg); nr++) {
    require (seg.iov_len > 0);
    bytes += seg.iov_len;
  }
  if (rq->op == BLKMQ_OP_READ || rq->op == BLKMQ_OP_WRITE)
    require (bytes == rq->bytes);
  return nr;
}

/* Where one segment ends and the next begins. */
static void
check_boundaries (const struct blkmq_limits *limits,
                  const struct blkmq_request *rq)
{
  struct blkmq_segments it = blkmq_segments_begin (rq);
  uintptr_t mask = limits->virt_boundary_mask;
  struct iovec last = { NULL, 0 }, seg;

  for (; blkmq_segments_next (&it, &seg); last = seg) {
    require (last.iov_base == NULL
             || (((uintptr_t)last.iov_base + last.iov_len) & mask) == 0);
    require (last.iov_base == NULL || ((uintptr_t)seg.iov_base & mask) == 0);
  }
}

static void
check_limits (const struct blkmq_limits *limits, const struct issue *issue)
{
  uint64_t block = limits->logical_block_bytes, most;

  switch (issue->op) {
  case BLKMQ_OP_READ:
  case BLKMQ_OP_WRITE:
    most = limits->max_transfer_bytes;
    break;
  case BLKMQ_OP_DISCARD:
    most = limits->max_discard_bytes;
    break;
  case BLKMQ_OP_WRITE_ZEROES:
    most = limits->max_write_zeroes_bytes;
    break;
  default:
    require (issue->bytes == 0 && issue->offset_bytes == 0);
    return;
  }
  require (issue->bytes > 0 && issue->bytes <= most);
  require (issue->offset_bytes % block == 0);
  require (issue->bytes % block == 0
           || issue->offset_bytes + issue->bytes == limits->size_bytes);
  require (issue->offset_bytes + issue->bytes <= limits->size_bytes);
  require (count_segments (issue->rq) <= limits->max_segments);
  check_boundaries (limits, issue->rq);
}

/* script->opaque: the bed. */
static enum blkmq_queue_result
checks_and_keeps (struct script *script, const struct issue *issue)
{
  struct bed *bed = script->opaque;

  check_limits (blkmq_disk_limits (bed->disk), issue);
  transfer (issue);
  return BLKMQ_QUEUED;
}

static enum blkmq_queue_result
checks_and_completes (struct script *script, const struct issue *issue)
{
  checks_and_keeps (script, issue);
  return script_completes_inside (script, issue);
}

static struct bed *
start_storing (enum blkmq_queue_result (*on_queue) (struct script *script,
                                                    const struct issue *issue),
               uint32_t max_transfer_bytes, uint32_t max_segments,
               uint64_t max_discard_bytes, const char *keys)
{
  struct bed *bed = bed_alloc ();

  bed->script.on_queue = on_queue;
  bed->script.opaque = bed;
  bed->script.max_transfer_bytes = max_transfer_bytes;
  bed->script.max_segments = max_segments;
  bed->script.max_discard_bytes = max_discard_bytes;
  bed_open (bed, keys);
  return bed;
}

/* An io of BLOCKS blocks in one segment, at BLOCK. */
static void
submit_blocks (struct test_io *t, struct bed *bed, enum blkmq_op op,
               uint64_t block, unsigned nr_blocks)
{
  static char data[64 * BLOCK_BYTES];

  require (nr_blocks <= 64);
  test_io_init_early (t, bed, op, block);
  t->segment = (struct iovec){ data, nr_blocks * BLOCK_BYTES };
  t->io.bytes = nr_blocks * BLOCK_BYTES;
  blkmq_submit (bed->submitter, &t->io);
}

static void
check_issue (struct bed *bed, unsigned n, uint64_t block, uint64_t nr_blocks)
{
  const struct issue *issue = script_issue (&bed->script, n);

  ck_assert_uint_eq (issue->offset_bytes, block * BLOCK_BYTES);
  ck_assert_uint_eq (issue->bytes, nr_blocks * BLOCK_BYTES);
}

/* ------------------------------------------------------------------------ */
/* Checks                                                                    */

static void
check_refused (struct bed *bed, struct test_io *t, enum blkmq_status status)
{
  uint64_t before = bed_stats (bed).rejected[status];

  blkmq_submit (bed->submitter, &t->io);
  assert_ended (t, status);
  ck_assert_uint_eq (bed_stats (bed).rejected[status], before + 1);
  ck_assert_uint_eq (bed->script.nr_issues, 0);
}

static void
check_range_refused (struct bed *bed, enum blkmq_op op, uint64_t offset_bytes,
                     uint64_t bytes)
{
  static char data[4 * BLOCK_BYTES];
  struct test_io t;

  test_io_init_early (&t, bed, op, 0);
  t.segment = (struct iovec){ data, bytes };
  t.io.offset_bytes = offset_bytes;
  t.io.bytes = bytes;
  check_refused (bed, &t, BLKMQ_STS_INVAL);
}

START_TEST (test_io_out_of_bounds_or_unaligned_is_refused)
{
  struct bed *bed = bed_start ("");
  static const enum blkmq_op ops[]
      = { BLKMQ_OP_READ, BLKMQ_OP_WRITE, BLKMQ_OP_DISCARD,
          BLKMQ_OP_WRITE_ZEROES };

  for (size_t i = 0; i < NR (ops); i++) {
    check_range_refused (bed, ops[i], 0, 0);
    check_range_refused (bed, ops[i], DISK_BYTES, BLOCK_BYTES);
    check_range_refused (bed, ops[i], DISK_BYTES - BLOCK_BYTES,
                         2 * BLOCK_BYTES);
    check_range_refused (bed, ops[i], UINT64_MAX - BLOCK_BYTES + 1,
                         BLOCK_BYTES);
    check_range_refused (bed, ops[i], BLOCK_BYTES,
                         UINT64_MAX - BLOCK_BYTES + 1);
    check_range_refused (bed, ops[i], 1, BLOCK_BYTES);
    check_range_refused (bed, ops[i], 0, BLOCK_BYTES - 1);
    check_range_refused (bed, ops[i], 0, 1);
  }
  check_range_refused (bed, BLKMQ_OP_FLUSH, 0, BLOCK_BYTES);
  check_range_refused (bed, BLKMQ_OP_FLUSH, BLOCK_BYTES, 0);
  check_range_refused (bed, BLKMQ_NR_OPS, 0, BLOCK_BYTES);
  check_range_refused (bed, (enum blkmq_op) - 1, 0, BLOCK_BYTES);
  bed_stop (bed);
}
END_TEST

/* The segments must be as long as the io, no more and no less. */
START_TEST (test_io_with_wrong_segments_is_refused)
{
  struct bed *bed = bed_start ("");
  static char data[4 * BLOCK_BYTES];
  struct iovec segments[3]
      = { { data, BLOCK_BYTES / 2 }, { data, 0 }, { data, BLOCK_BYTES / 2 } };
  struct test_io t;

  for (unsigned wrong = 0; wrong < 3; wrong++) {
    test_io_init_early (&t, bed, BLKMQ_OP_WRITE, 0);
    t.io.segments = segments;
    t.io.nr_segments = wrong == 0 ? 2 : 3;
    segments[2].iov_len = BLOCK_BYTES / 2 - (wrong == 1) + (wrong == 2);
    check_refused (bed, &t, BLKMQ_STS_INVAL);
  }
  test_io_init_early (&t, bed, BLKMQ_OP_READ, 0);
  t.io.nr_segments = 0;
  check_refused (bed, &t, BLKMQ_STS_INVAL);

  /* And now right. */
  segments[2].iov_len = BLOCK_BYTES / 2;
  test_io_init_early (&t, bed, BLKMQ_OP_WRITE, 0);
  t.io.segments = segments;
  t.io.nr_segments = 3;
  blkmq_submit (bed->submitter, &t.io);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  ck_assert_uint_eq (count_segments (script_issue (&bed->script, 0)->rq), 2);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_read_only_disk_refuses_what_writes)
{
  struct bed *bed = bed_start ("readonly=1");
  struct test_io t;

  test_io_init_early (&t, bed, BLKMQ_OP_WRITE, 0);
  check_refused (bed, &t, BLKMQ_STS_READONLY);
  test_io_init_early (&t, bed, BLKMQ_OP_DISCARD, 0);
  check_refused (bed, &t, BLKMQ_STS_READONLY);
  test_io_init_early (&t, bed, BLKMQ_OP_WRITE_ZEROES, 0);
  check_refused (bed, &t, BLKMQ_STS_READONLY);
  test_io_init_early (&t, bed, BLKMQ_OP_READ, 0);
  blkmq_submit (bed->submitter, &t.io);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_operation_that_the_driver_lacks_is_refused)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.max_discard_bytes = 0;
  bed->script.max_write_zeroes_bytes = 0;
  bed_open (bed, "");
  test_io_init_early (&t, bed, BLKMQ_OP_DISCARD, 0);
  check_refused (bed, &t, BLKMQ_STS_NOTSUPP);
  test_io_init_early (&t, bed, BLKMQ_OP_WRITE_ZEROES, 0);
  check_refused (bed, &t, BLKMQ_STS_NOTSUPP);
  bed_stop (bed);
}
END_TEST

/* A size that is no multiple of the block: the tail is within reach. */
START_TEST (test_tail_of_the_disk_can_be_read)
{
  struct bed *bed = start_storing (checks_and_completes, 0, 0, 1 << 20,
                                   "size=1000 max_sectors=1");
  static char data[1000];
  struct test_io t;

  test_io_init_early (&t, bed, BLKMQ_OP_READ, 0);
  t.segment = (struct iovec){ data, 1000 };
  t.io.bytes = 1000;
  blkmq_submit (bed->submitter, &t.io);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (script_issue (&bed->script, 0)->bytes, 512);
  ck_assert_uint_eq (script_issue (&bed->script, 1)->bytes, 488);

  /* The same length elsewhere is unaligned. */
  test_io_init_early (&t, bed, BLKMQ_OP_READ, 0);
  t.segment = (struct iovec){ data, 488 };
  t.io.bytes = 488;
  blkmq_submit (bed->submitter, &t.io);
  assert_ended (&t, BLKMQ_STS_INVAL);
  bed_stop (bed);
}
END_TEST

START_TEST (test_flags_reach_the_driver)
{
  struct bed *bed = bed_alloc ();
  static char data[2 * BLOCK_BYTES];
  struct test_io t;

  bed->script.on_queue = checks_and_completes;
  bed->script.opaque = bed;
  bed->script.volatile_cache = bed->script.fua = true;
  bed_open (bed, "max_sectors=1");
  test_io_init (&t, bed, BLKMQ_OP_WRITE, 0);
  t.segment = (struct iovec){ data, sizeof data };
  t.io.bytes = sizeof data;
  t.io.flags = BLKMQ_IO_FUA | BLKMQ_IO_NOUNMAP | BLKMQ_IO_NOWAIT;
  blkmq_submit (bed->submitter, &t.io);
  assert_ended (&t, BLKMQ_STS_OK);
  for (unsigned i = 0; i < 2; i++)
    ck_assert_uint_eq (script_issue (&bed->script, i)->flags,
                       BLKMQ_IO_FUA | BLKMQ_IO_NOUNMAP);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Splitting                                                                 */

START_TEST (test_max_sectors_splits)
{
  struct bed *bed
      = start_storing (checks_and_keeps, 0, 0, 1 << 20, "max_sectors=8");
  struct test_io t;

  submit_blocks (&t, bed, BLKMQ_OP_WRITE, 3, 20);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  check_issue (bed, 0, 3, 8);
  check_issue (bed, 1, 11, 8);
  check_issue (bed, 2, 19, 4);
  /* Answered when the last part is, in whatever order. */
  issue_complete (&bed->script, 2, BLKMQ_STS_OK);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_not_ended (&t);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed_stats (bed).ios[BLKMQ_OP_WRITE], 3);
  ck_assert_uint_eq (bed_stats (bed).bytes[BLKMQ_OP_WRITE], 20 * BLOCK_BYTES);
  bed_stop (bed);
}
END_TEST

START_TEST (test_io_that_fits_is_not_split)
{
  struct bed *bed
      = start_storing (checks_and_keeps, 0, 0, 1 << 20, "max_sectors=8");
  struct test_io t;

  submit_blocks (&t, bed, BLKMQ_OP_WRITE, 3, 8);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  check_issue (bed, 0, 3, 8);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_max_segments_splits_at_whole_blocks)
{
  struct bed *bed = start_storing (checks_and_keeps, 0, 3, 1 << 20, "");
  static char data[4 * BLOCK_BYTES];
  /* Three segments are 700 bytes: one block; from its middle, three more ... */
  static const size_t lengths[] = { 100, 0, 200, 400, 124, 900, 324 };
  struct iovec segments[NR (lengths)];
  struct test_io t;
  size_t at = 0;

  for (size_t i = 0; i < NR (lengths); i++) {
    segments[i] = (struct iovec){ &data[at], lengths[i] };
    at += lengths[i];
  }
  ck_assert_uint_eq (at, sizeof data);
  test_io_init (&t, bed, BLKMQ_OP_WRITE, 1);
  t.io.segments = segments;
  t.io.nr_segments = NR (segments);
  t.io.bytes = sizeof data;
  for (size_t i = 0; i < sizeof data; i++)
    data[i] = (char)(i * 7);
  blkmq_submit (bed->submitter, &t.io);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  check_issue (bed, 0, 1, 1);
  check_issue (bed, 1, 2, 2);
  check_issue (bed, 2, 4, 1);
  for (unsigned i = 0; i < 3; i++)
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_mem_eq (&stored[BLOCK_BYTES], data, sizeof data);
  bed_stop (bed);
}
END_TEST

/* Three segments of which no three hold a block cannot be cut anywhere. */
/* SEGMENTS as offsets into a page-aligned buffer, and lengths, up to one of 0.
 */
struct shape {
  struct {
    unsigned at, bytes;
  } segments[6];
  unsigned parts[6]; /* bytes of each request; none: it is refused */
};

START_TEST (test_virt_boundary_splits_at_gaps)
{
  static const struct shape shapes[] = {
    /* The first may begin, and the last end, where it likes. */
    { { { 512, 3584 }, { 4096, 4096 }, { 8192, 1024 } }, { 8704 } },
    /* The same memory in one segment has no boundary within. */
    { { { 512, 8704 } }, { 8704 } },
    /* One begins off it; one ends off it. */
    { { { 0, 4096 }, { 8704, 1024 } }, { 4096, 1024 } },
    { { { 0, 1024 }, { 4096, 1024 } }, { 1024, 1024 } },
    /* Empty ones are not there. */
    { { { 0, 4096 }, { 77, 0 }, { 4096, 4096 }, { 1, 0 } }, { 8192 } },
    /* Each of its own; and the rest goes on in one. */
    { { { 0, 512 }, { 1024, 512 }, { 2048, 2048 }, { 4096, 512 } },
      { 512, 512, 2560 } },
    /* A gap in the middle of a block: the last whole one before it; and then
     * there is none any more. */
    { { { 0, 768 }, { 4096, 256 } }, { 0 } },
  };
  static _Alignas(4096) char buffer[5 * 4096];

  for (size_t i = 0; i < NR (shapes); i++) {
    struct bed *bed = start_storing (checks_and_completes, 0, 0, 1 << 20,
                                     "virt_boundary=1");
    struct iovec segments[6];
    struct test_io t;
    unsigned nr;

    ck_assert_uint_eq (blkmq_disk_limits (bed->disk)->virt_boundary_mask, 4095);
    test_io_init (&t, bed, BLKMQ_OP_WRITE, 0);
    t.io.bytes = 0;
    t.io.nr_segments = 0;
    for (nr = 0; nr < 6; nr++) {
      segments[nr].iov_base = &buffer[shapes[i].segments[nr].at];
      segments[nr].iov_len = shapes[i].segments[nr].bytes;
      t.io.bytes += segments[nr].iov_len;
    }
    t.io.segments = segments;
    t.io.nr_segments = 6;
    blkmq_submit (bed->submitter, &t.io);
    for (nr = 0; nr < 6 && shapes[i].parts[nr] != 0; nr++)
      ck_assert_uint_eq (script_issue (&bed->script, nr)->bytes,
                         shapes[i].parts[nr]);
    ck_assert_uint_eq (bed->script.nr_issues, nr);
    assert_ended (&t, nr > 0 ? BLKMQ_STS_OK : BLKMQ_STS_INVAL);
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_discard_can_be_withdrawn)
{
  struct bed *bed
      = start_storing (checks_and_completes, 0, 0, 1 << 20, "discard=0");
  struct test_io t;

  ck_assert_uint_eq (blkmq_disk_limits (bed->disk)->max_discard_bytes, 0);
  submit_blocks (&t, bed, BLKMQ_OP_DISCARD, 0, 8);
  assert_ended (&t, BLKMQ_STS_NOTSUPP);
  submit_blocks (&t, bed, BLKMQ_OP_WRITE, 0, 8);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);

  bed = start_storing (checks_and_completes, 0, 0, 1 << 20, "");
  ck_assert_uint_eq (blkmq_disk_limits (bed->disk)->max_discard_bytes, 1 << 20);
  submit_blocks (&t, bed, BLKMQ_OP_DISCARD, 0, 8);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_io_that_cannot_be_cut_is_refused_as_a_whole)
{
  struct bed *bed = bed_alloc ();
  static char data[2 * BLOCK_BYTES];
  struct iovec segments[8];
  struct test_io t;

  bed->script.max_segments = 3;
  bed_open (bed, "");
  for (unsigned i = 0; i < 8; i++)
    segments[i] = (struct iovec){ &data[i * 128], 128 };
  test_io_init_early (&t, bed, BLKMQ_OP_WRITE, 0);
  t.io.segments = segments;
  t.io.nr_segments = 8;
  t.io.bytes = sizeof data;
  check_refused (bed, &t, BLKMQ_STS_INVAL);
  bed_stop (bed);
}
END_TEST

START_TEST (test_discard_and_zeroes_have_limits_of_their_own)
{
  struct bed *bed = bed_alloc ();
  struct test_io t;

  bed->script.on_queue = checks_and_completes;
  bed->script.opaque = bed;
  bed->script.max_discard_bytes = 3 * BLOCK_BYTES + 17; /* not whole blocks */
  bed->script.max_write_zeroes_bytes = 5 * BLOCK_BYTES;
  bed_open (bed, "max_sectors=1");
  submit_blocks (&t, bed, BLKMQ_OP_DISCARD, 0, 7);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  check_issue (bed, 0, 0, 3);
  check_issue (bed, 2, 6, 1);
  submit_blocks (&t, bed, BLKMQ_OP_WRITE_ZEROES, 10, 6);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 5);
  check_issue (bed, 3, 10, 5);
  bed_stop (bed);
}
END_TEST

START_TEST (test_first_error_of_any_part_is_the_ios)
{
  struct bed *bed
      = start_storing (checks_and_keeps, 0, 0, 1 << 20, "max_sectors=1");
  struct test_io t;

  submit_blocks (&t, bed, BLKMQ_OP_WRITE, 0, 4);
  issue_complete (&bed->script, 3, BLKMQ_STS_OK);
  issue_complete (&bed->script, 2, BLKMQ_STS_MEDIUM);
  issue_complete (&bed->script, 0, BLKMQ_STS_IOERR);
  assert_not_ended (&t);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  assert_ended (&t, BLKMQ_STS_MEDIUM);
  ck_assert_uint_eq (bed_stats (bed).errors[BLKMQ_STS_MEDIUM], 1);
  ck_assert_uint_eq (bed_stats (bed).errors[BLKMQ_STS_IOERR], 1);
  ck_assert_uint_eq (bed_stats (bed).bytes[BLKMQ_OP_WRITE], 2 * BLOCK_BYTES);
  bed_stop (bed);
}
END_TEST

START_TEST (test_split_io_goes_on_with_fewer_tags_than_parts)
{
  struct bed *bed = start_storing (checks_and_keeps, 0, 0, 1 << 20,
                                   "max_sectors=1 hw_queue_depth=2");
  struct test_io t, other;

  submit_blocks (&t, bed, BLKMQ_OP_WRITE, 0, 5);
  submit_blocks (&other, bed, BLKMQ_OP_WRITE, 40, 1);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_uint_eq (bed_stats (bed).waiting, 2);
  for (unsigned i = 0; i < 6; i++) {
    /* The parts come first: t was first. */
    check_issue (bed, i, i == 5 ? 40 : i, 1);
    issue_complete (&bed->script, i, BLKMQ_STS_OK);
    bed_turn (bed);
  }
  assert_ended (&t, BLKMQ_STS_OK);
  assert_ended (&other, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

/* Completing inside queue_rq, while the io is still being cut. */
START_TEST (test_parts_may_complete_before_the_next_is_made)
{
  struct bed *bed = start_storing (checks_and_completes, 0, 0, 1 << 20,
                                   "max_sectors=1 hw_queue_depth=1");
  struct test_io t;

  submit_blocks (&t, bed, BLKMQ_OP_WRITE, 0, 50);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 50);
  bed_stop (bed);
}
END_TEST

START_TEST (test_abort_ends_a_half_started_io)
{
  struct bed *bed = start_storing (checks_and_keeps, 0, 0, 1 << 20,
                                   "max_sectors=1 hw_queue_depth=2");
  struct test_io t;

  submit_blocks (&t, bed, BLKMQ_OP_WRITE, 0, 5);
  /* The waiting rest is one, and two parts are under way. */
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 3);
  assert_ended_early (&t, BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 0);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended_early (&t, BLKMQ_STS_ABORTED);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  bed_stop (bed);
}
END_TEST

/* The second part finds the io aborted, be it that there is a tag for it or
 * not. */
static enum blkmq_queue_result
aborts_the_io (struct script *script, const struct issue *issue)
{
  struct test_io *t = script->opaque;

  require (blkmq_abort_io (t->bed->submitter, &t->io) == 1);
  return BLKMQ_QUEUED;
}

START_TEST (test_no_part_starts_after_an_abort)
{
  static const char *const keys[]
      = { "max_sectors=1 hw_queue_depth=8", "max_sectors=1 hw_queue_depth=1" };

  for (size_t i = 0; i < NR (keys); i++) {
    struct bed *bed = bed_alloc ();
    struct test_io t;

    bed->script.on_queue = aborts_the_io;
    bed->script.opaque = &t;
    bed_open (bed, keys[i]);
    submit_blocks (&t, bed, BLKMQ_OP_WRITE, 0, 5);
    bed_turn (bed);
    ck_assert_uint_eq (bed->script.nr_issues, 1);
    assert_ended_early (&t, BLKMQ_STS_ABORTED);
    issue_complete (&bed->script, 0, BLKMQ_STS_OK);
    bed_turn (bed);
    assert_ended (&t, BLKMQ_STS_ABORTED);
    ck_assert_uint_eq (bed->script.nr_issues, 1);
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_nowait_io_keeps_the_parts_that_have_tags)
{
  struct bed *bed = start_storing (checks_and_keeps, 0, 0, 1 << 20,
                                   "max_sectors=1 hw_queue_depth=2");
  static char data[3 * BLOCK_BYTES];
  struct test_io t;

  test_io_init_early (&t, bed, BLKMQ_OP_WRITE, 0);
  t.segment = (struct iovec){ data, sizeof data };
  t.io.bytes = sizeof data;
  t.io.flags = BLKMQ_IO_NOWAIT;
  blkmq_submit (bed->submitter, &t.io);
  /* Not before the two are back: the driver has the data. */
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  assert_not_ended (&t);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  issue_complete (&bed->script, 1, BLKMQ_STS_OK);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_AGAIN);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  bed_stop (bed);
}
END_TEST

START_TEST (test_removal_ends_a_half_started_io_once)
{
  struct bed *bed = start_storing (checks_and_keeps, 0, 0, 1 << 20,
                                   "max_sectors=1 hw_queue_depth=2");
  struct test_io early, late;

  submit_blocks (&early, bed, BLKMQ_OP_WRITE, 0, 3);
  submit_blocks (&late, bed, BLKMQ_OP_WRITE, 0, 3);
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  blkmq_disk_remove (bed->disk);
  assert_ended (&early, BLKMQ_STS_OFFLINE);
  assert_ended (&late, BLKMQ_STS_OFFLINE);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Random ios against a shadow                                               */

#define PAGE_BYTES 4096
#define NR_RANDOM_IOS 2000
#define MAX_IO_BLOCKS 40
#define MAX_IO_SEGMENTS 24

struct random_io {
  struct test_io t;
  struct iovec segments[MAX_IO_SEGMENTS];
  _Alignas(PAGE_BYTES) char data[MAX_IO_BLOCKS * BLOCK_BYTES];
};

/* Segments are cut at multiples of this. */
static size_t cut_bytes = 1;

/* Cut DATA at random places; some pieces are empty. */
static void
cut (struct random_io *r, struct rng *rng, size_t bytes)
{
  unsigned nr = 1 + (unsigned)rng_below (rng, MAX_IO_SEGMENTS);
  size_t at = 0;

  for (unsigned i = 0; i < nr; i++) {
    size_t left = bytes - at, len = left;

    if (i < nr - 1)
      len = rng_percent (rng, 10) ? 0
                                  : rng_below (rng, 2 * left / (nr - i) + 1);
    if (i < nr - 1)
      len -= len % cut_bytes;
    if (len > left)
      len = left;
    r->segments[i] = (struct iovec){ &r->data[at], len };
    at += len;
  }
  r->t.io.segments = r->segments;
  r->t.io.nr_segments = nr;
}

/* The model's word on whether an io can be served: cut greedily. */
static bool
can_be_cut (const struct random_io *r, const struct blkmq_limits *limits)
{
  size_t done = 0, block = limits->logical_block_bytes;
  bool has_data = r->t.io.op == BLKMQ_OP_READ || r->t.io.op == BLKMQ_OP_WRITE;

  if (!has_data
      || (r->t.io.nr_segments <= limits->max_segments
          && limits->virt_boundary_mask == 0))
    return true;
  while (done < r->t.io.bytes) {
    size_t at = 0, end = done, mask = limits->virt_boundary_mask;
    unsigned nr = 0;

    for (unsigned i = 0; i < r->t.io.nr_segments; i++) {
      size_t next = at + r->segments[i].iov_len;

      if (next > done && next > at && nr < limits->max_segments
          && (nr == 0 || (at & mask) == 0)) {
        nr++;
        end = next;
      } else if (nr > 0 && next > at)
        break;
      at = next;
    }
    if (end > done + limits->max_transfer_bytes)
      end = done + limits->max_transfer_bytes;
    if (end < r->t.io.bytes)
      end -= (end - done) % block;
    if (end == done)
      return false;
    done = end;
  }
  return true;
}

static void
prepare (struct random_io *r, struct bed *bed, struct rng *rng)
{
  static const enum blkmq_op ops[]
      = { BLKMQ_OP_READ,  BLKMQ_OP_WRITE,   BLKMQ_OP_READ,
          BLKMQ_OP_WRITE, BLKMQ_OP_DISCARD, BLKMQ_OP_WRITE_ZEROES };
  unsigned nr_blocks = 1 + (unsigned)rng_below (rng, MAX_IO_BLOCKS);
  uint64_t block = rng_below (rng, DISK_BYTES / BLOCK_BYTES - nr_blocks + 1);

  test_io_init_early (&r->t, bed, ops[rng_below (rng, NR (ops))], block);
  r->t.io.bytes = nr_blocks * BLOCK_BYTES;
  cut (r, rng, r->t.io.bytes);
  for (size_t i = 0; i < r->t.io.bytes; i += 8) {
    uint64_t value = rng_next (rng);

    memcpy (&r->data[i], &value, 8);
  }
}

/* Do to the shadow what the io did to the disk, and compare. */
static void
check_effect (const struct random_io *r)
{
  char *at = &shadow[r->t.io.offset_bytes];

  switch (r->t.io.op) {
  case BLKMQ_OP_READ:
    ck_assert_mem_eq (r->data, at, r->t.io.bytes);
    break;
  case BLKMQ_OP_WRITE:
    memcpy (at, r->data, r->t.io.bytes);
    break;
  default:
    memset (at, 0, r->t.io.bytes);
    break;
  }
}

static void
run_random (const char *keys, uint32_t max_transfer_bytes,
            uint32_t max_segments, uint64_t max_discard_bytes, uint64_t stream)
{
  struct bed *bed = start_storing (checks_and_keeps, max_transfer_bytes,
                                   max_segments, max_discard_bytes, keys);
  static struct random_io r;
  unsigned nr_done = 0, nr_refused = 0;
  struct rng rng;

  rng_init (&rng, stream);
  memset (stored, 0, sizeof stored);
  memset (shadow, 0, sizeof shadow);
  for (unsigned i = 0; i < NR_RANDOM_IOS; i++) {
    prepare (&r, bed, &rng);
    blkmq_submit (bed->submitter, &r.t.io);
    if (!can_be_cut (&r, blkmq_disk_limits (bed->disk))) {
      assert_ended (&r.t, BLKMQ_STS_INVAL);
      nr_refused++;
      continue;
    }
    /* Complete the parts that are there, last first, until there are no
     * more. */
    while (r.t.nr_ends == 0) {
      unsigned nr = bed->script.nr_issues;

      require (nr > 0);
      for (unsigned n = nr; n-- > 0;)
        require (issue_complete (&bed->script, n, BLKMQ_STS_OK) == 0);
      /* Nothing is issued from inside a completion. */
      require (bed->script.nr_issues == nr);
      nr_done += nr;
      bed->script.nr_issues = 0;
      bed_turn (bed);
    }
    assert_ended (&r.t, BLKMQ_STS_OK);
    check_effect (&r);
  }
  ck_assert_mem_eq (stored, shadow, sizeof stored);
  ck_assert_uint_ge (nr_done, NR_RANDOM_IOS - nr_refused);
  ck_assert_uint_lt (nr_refused, NR_RANDOM_IOS / 2);
  bed_stop (bed);
}

START_TEST (test_random_ios_leave_what_the_shadow_holds)
{
  run_random ("hw_queue_depth=64", 0, 0, 1 << 20, 1);
  run_random ("hw_queue_depth=64 max_sectors=7", 0, 0, 5 * BLOCK_BYTES, 2);
  run_random ("hw_queue_depth=3", 9 * BLOCK_BYTES + 100, 5, 2 * BLOCK_BYTES + 1,
              3);
  run_random ("hw_queue_depth=1 max_sectors=1", 0, 9, BLOCK_BYTES, 4);
}
END_TEST

START_TEST (test_random_ios_are_split_at_the_virtual_boundary)
{
  cut_bytes = BLOCK_BYTES;
  run_random ("virt_boundary=1", 0, 0, 1 << 20, 5);
  run_random ("virt_boundary=1 max_sectors=7 hw_queue_depth=3", 0, 3, 1 << 20,
              6);
  /* One out of 16 boundaries of a cut is that of a block. */
  cut_bytes = 2048;
  run_random ("virt_boundary=1 blocksize=512", 0, 0, 1 << 20, 7);
  cut_bytes = 1;
}
END_TEST

/* ------------------------------------------------------------------------ */

static Suite *
make_suite (void)
{
  Suite *suite = suite_create ("split");
  TCase *tcase;

  tcase = harness_case (suite, "checks");
  tcase_add_test (tcase, test_io_out_of_bounds_or_unaligned_is_refused);
  tcase_add_test (tcase, test_io_with_wrong_segments_is_refused);
  tcase_add_test (tcase, test_read_only_disk_refuses_what_writes);
  tcase_add_test (tcase, test_operation_that_the_driver_lacks_is_refused);
  tcase_add_test (tcase, test_tail_of_the_disk_can_be_read);
  tcase_add_test (tcase, test_flags_reach_the_driver);

  tcase = harness_case (suite, "splitting");
  tcase_add_test (tcase, test_max_sectors_splits);
  tcase_add_test (tcase, test_io_that_fits_is_not_split);
  tcase_add_test (tcase, test_max_segments_splits_at_whole_blocks);
  tcase_add_test (tcase, test_virt_boundary_splits_at_gaps);
  tcase_add_test (tcase, test_discard_can_be_withdrawn);
  tcase_add_test (tcase, test_io_that_cannot_be_cut_is_refused_as_a_whole);
  tcase_add_test (tcase, test_discard_and_zeroes_have_limits_of_their_own);
  tcase_add_test (tcase, test_first_error_of_any_part_is_the_ios);
  tcase_add_test (tcase, test_split_io_goes_on_with_fewer_tags_than_parts);
  tcase_add_test (tcase, test_parts_may_complete_before_the_next_is_made);
  tcase_add_test (tcase, test_abort_ends_a_half_started_io);
  tcase_add_test (tcase, test_no_part_starts_after_an_abort);
  tcase_add_test (tcase, test_nowait_io_keeps_the_parts_that_have_tags);
  tcase_add_test (tcase, test_removal_ends_a_half_started_io_once);

  tcase = harness_case (suite, "random");
  tcase_add_test (tcase, test_random_ios_leave_what_the_shadow_holds);
  tcase_add_test (tcase, test_random_ios_are_split_at_the_virtual_boundary);
  return suite;
}

int
main (void)
{
  return harness_main (make_suite ());
}
