/* SPDX-License-Identifier: BSD-3-Clause
 *
 * knob-effects.c: how one sees that a knob has its value.  Single-threaded, on
 * the fake clock, unless it says otherwise.
 */

#include <config.h>

#include <errno.h>
#include <stdalign.h>
#include <string.h>

#include "blkmq-control.h"
#include "knobs.h"

#define S (1000 * MS)
#define MIB (UINT64_C (1) << 20)

/* A page: what is cut at a virtual boundary depends on addresses. */
static alignas (4096) char data[MIB];

/* ---- ios of any length ---- */

static void
init (struct test_io *t, struct bed *bed, enum blkmq_op op, uint64_t sector,
      uint64_t bytes)
{
  require (bytes <= sizeof data);
  test_io_init (t, bed, op, sector);
  t->segment = (struct iovec){ data, bytes };
  t->io.bytes = bytes;
}

/* What one ends with, at once. */
static enum blkmq_status
outcome (struct bed *bed, enum blkmq_op op, uint64_t sector, uint64_t bytes)
{
  struct test_io t;

  init (&t, bed, op, sector, bytes);
  blkmq_submit (bed->submitter, &t.io);
  ck_assert_uint_eq (t.nr_ends, 1);
  return (enum blkmq_status)t.status;
}

#define check_outcome(bed, op, sector, bytes, wanted)                          \
  ck_assert_str_eq (blkmq_status_name (outcome (bed, op, sector, bytes)),      \
                    blkmq_status_name (wanted))

/* Complete what the driver has from issue FIRST on, and what comes then. */
static void
complete_from (struct bed *bed, unsigned first)
{
  for (unsigned n = first; n < bed->script.nr_issues; n++) {
    ck_assert_int_eq (issue_complete (&bed->script, n, BLKMQ_STS_OK), 0);
    bed_turn (bed);
  }
}

/* ---- geometry ---- */

void
size_is (struct bed *bed, uint64_t bytes)
{
  uint64_t end = bytes / BLOCK_BYTES;

  bed->script.on_queue = script_completes_inside;
  ck_assert_uint_eq (blkmq_disk_limits (bed->disk)->size_bytes, bytes);
  check_outcome (bed, BLKMQ_OP_WRITE, end - 1, BLOCK_BYTES, BLKMQ_STS_OK);
  check_outcome (bed, BLKMQ_OP_WRITE, end, BLOCK_BYTES, BLKMQ_STS_INVAL);
  check_outcome (bed, BLKMQ_OP_WRITE, end - 1, 2 * BLOCK_BYTES,
                 BLKMQ_STS_INVAL);
}

void
block_is (struct bed *bed, uint64_t bytes)
{
  uint64_t sectors = bytes / BLOCK_BYTES;

  bed->script.on_queue = script_completes_inside;
  ck_assert_uint_eq (blkmq_disk_limits (bed->disk)->logical_block_bytes, bytes);
  check_outcome (bed, BLKMQ_OP_WRITE, sectors, bytes, BLKMQ_STS_OK);
  check_outcome (bed, BLKMQ_OP_WRITE, 0, bytes / 2, BLKMQ_STS_INVAL);
  check_outcome (bed, BLKMQ_OP_WRITE, 0, bytes + bytes / 2, BLKMQ_STS_INVAL);
  if (sectors > 1)
    check_outcome (bed, BLKMQ_OP_WRITE, 1, bytes, BLKMQ_STS_INVAL);
}

/* 0: no limit. */
void
requests_have_at_most (struct bed *bed, uint64_t sectors)
{
  unsigned first = bed->script.nr_issues;
  uint64_t bytes = sectors != 0 ? sectors * BLOCK_BYTES : 64 * BLOCK_BYTES;

  bed->script.on_queue = script_completes_inside;
  check_outcome (bed, BLKMQ_OP_READ, 3, 64 * BLOCK_BYTES, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues - first, 64 * BLOCK_BYTES / bytes);
  for (unsigned n = first; n < bed->script.nr_issues; n++)
    ck_assert_uint_eq (script_issue (&bed->script, n)->bytes, bytes);
}

void
requests_have_gaps (struct bed *bed, uint64_t wanted)
{
  struct iovec segments[]
      = { { data, BLOCK_BYTES }, { data + 8192, BLOCK_BYTES } };
  unsigned first = bed->script.nr_issues;
  struct test_io t;

  bed->script.on_queue = script_completes_inside;
  ck_assert_uint_eq (blkmq_disk_limits (bed->disk)->virt_boundary_mask,
                     wanted ? 0 : 4095);
  init (&t, bed, BLKMQ_OP_WRITE, 0, 2 * BLOCK_BYTES);
  t.io.segments = segments;
  t.io.nr_segments = NR (segments);
  blkmq_submit (bed->submitter, &t.io);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues - first, wanted ? 1 : 2);

  /* Those that meet at a page do in either case. */
  segments[0].iov_base = data + 4096 - BLOCK_BYTES;
  init (&t, bed, BLKMQ_OP_WRITE, 0, 2 * BLOCK_BYTES);
  t.io.segments = segments;
  t.io.nr_segments = NR (segments);
  first = bed->script.nr_issues;
  blkmq_submit (bed->submitter, &t.io);
  assert_ended (&t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues - first, 1);
}

void
is_rotational (struct bed *bed, uint64_t wanted)
{
  ck_assert_uint_eq (blkmq_disk_limits (bed->disk)->rotational, wanted);
}

/* ---- queues and tags ---- */

void
submitters_have_hctxs (struct bed *bed, uint64_t nr)
{
  struct blkmq_submitter *submitters[8];
  unsigned first = bed->script.nr_issues;
  struct test_io t[NR (submitters)];

  require (nr <= NR (submitters));
  bed->script.on_queue = NULL;
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), nr);
  for (unsigned i = 0; i < nr; i++) {
    submitters[i] = blkmq_submitter_alloc (bed->disk, i);
    ck_assert_ptr_nonnull (submitters[i]);
    init (&t[i], bed, BLKMQ_OP_READ, i, BLOCK_BYTES);
    blkmq_submit (submitters[i], &t[i].io);
    ck_assert_uint_eq (
        blkmq_token_hctx (script_issue (&bed->script, first + i)->token), i);
  }
  ck_assert_ptr_null (blkmq_submitter_alloc (bed->disk, (unsigned)nr));
  complete_from (bed, first);
  for (unsigned i = 0; i < nr; i++) {
    assert_ended (&t[i], BLKMQ_STS_OK);
    blkmq_submitter_free (submitters[i]);
  }
}

void
polled_ios_have_hctxs (struct bed *bed, uint64_t nr)
{
  struct blkmq_submitter *submitters[4];
  unsigned first = bed->script.nr_issues;
  struct test_io t[NR (submitters)];

  require (nr <= NR (submitters));
  bed->script.on_queue = NULL;
  bed->script.on_poll = script_reaps;
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), 1 + nr);
  for (unsigned i = 0; i < nr; i++) {
    submitters[i] = blkmq_submitter_alloc (bed->disk, 1 + i);
    ck_assert_ptr_nonnull (submitters[i]);
    init (&t[i], bed, BLKMQ_OP_READ, i, BLOCK_BYTES);
    t[i].io.flags = BLKMQ_IO_POLLED;
    blkmq_submit (submitters[i], &t[i].io);
    ck_assert_uint_eq (
        blkmq_token_hctx (script_issue (&bed->script, first + i)->token),
        1 + i);
  }
  for (unsigned i = 0; i < nr; i++) {
    bed_turn (bed);
    assert_not_ended (&t[i]);
    ck_assert_int_eq (blkmq_poll (submitters[i]), 1);
    assert_ended (&t[i], BLKMQ_STS_OK);
    blkmq_submitter_free (submitters[i]);
  }
  if (nr > 0)
    return;

  init (&t[0], bed, BLKMQ_OP_READ, 0, BLOCK_BYTES);
  t[0].io.flags = BLKMQ_IO_POLLED;
  blkmq_submit (bed->submitter, &t[0].io);
  ck_assert_int_eq (blkmq_poll (bed->submitter), 0);
  assert_not_ended (&t[0]);
  complete_from (bed, first);
  assert_ended (&t[0], BLKMQ_STS_OK);
}

void
hctx_has_in_flight (struct bed *bed, uint64_t nr)
{
  unsigned first = bed->script.nr_issues;
  static struct test_io t[128];

  require (nr + 1 <= NR (t));
  bed->script.on_queue = NULL;
  for (unsigned i = 0; i <= nr; i++)
    test_io_submit (&t[i], bed, 2 * i);
  ck_assert_uint_eq (bed->script.nr_issues - first, nr);
  ck_assert_uint_eq (bed_stats (bed).waiting, 1);
  ck_assert_int_eq (issue_complete (&bed->script, first, BLKMQ_STS_OK), 0);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues - first, nr + 1);
  complete_from (bed, first + 1);
  for (unsigned i = 0; i <= nr; i++)
    assert_ended (&t[i], BLKMQ_STS_OK);
}

void
two_hctxs_have_in_flight (struct bed *bed, uint64_t nr)
{
  struct blkmq_submitter *other = blkmq_submitter_alloc (bed->disk, 1);
  unsigned first = bed->script.nr_issues;
  struct test_io t[20];

  require (nr <= NR (t));
  bed->script.on_queue = NULL;
  for (unsigned i = 0; i < NR (t); i++) {
    init (&t[i], bed, BLKMQ_OP_READ, 2 * i, BLOCK_BYTES);
    blkmq_submit (i % 2 ? other : bed->submitter, &t[i].io);
  }
  ck_assert_uint_eq (bed->script.nr_issues - first, nr);
  for (unsigned i = 0; i < nr; i++)
    ck_assert_uint_lt (script_issue (&bed->script, first + i)->tag,
                       blkmq_disk_queue_depth (bed->disk));
  complete_from (bed, first);
  for (unsigned i = 0; i < NR (t); i++)
    assert_ended (&t[i], BLKMQ_STS_OK);
  blkmq_submitter_free (other);
}

/* Of those that wait while one is in flight. */
void
waiting_are_sorted (struct bed *bed, uint64_t wanted)
{
  static const uint64_t blocks[] = { 5, 50, 10, 70 };
  static const uint64_t sorted[] = { 5, 10, 50, 70 };
  unsigned first = bed->script.nr_issues;
  struct test_io t[NR (blocks)];

  bed->script.on_queue = NULL;
  for (unsigned i = 0; i < NR (t); i++)
    test_io_submit (&t[i], bed, blocks[i]);
  ck_assert_uint_eq (bed->script.nr_issues - first, 1);
  complete_from (bed, first);
  ck_assert_uint_eq (bed->script.nr_issues - first, NR (t));
  for (unsigned i = 0; i < NR (t); i++) {
    ck_assert_uint_eq (script_issue (&bed->script, first + i)->offset_bytes,
                       (wanted ? sorted : blocks)[i] * BLOCK_BYTES);
    assert_ended (&t[i], BLKMQ_STS_OK);
  }
}

/* ---- where and when a request ends ---- */

void
ends_where_the_driver_is (struct bed *bed, uint64_t unused)
{
  bed->script.on_queue = script_completes_inside;
  check_outcome (bed, BLKMQ_OP_READ, 0, BLOCK_BYTES, BLKMQ_STS_OK);
}

void
ends_at_a_turn (struct bed *bed, uint64_t unused)
{
  struct test_io t;

  bed->script.on_queue = script_completes_inside;
  test_io_submit (&t, bed, 0);
  assert_not_ended (&t);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_OK);
}

void
ends_after (struct bed *bed, uint64_t ns)
{
  struct test_io t;

  bed->script.on_queue = script_completes_inside;
  test_io_submit (&t, bed, 0);
  bed_pass (bed, ns - 1);
  assert_not_ended (&t);
  bed_pass (bed, 1);
  assert_ended (&t, BLKMQ_STS_OK);
}

static struct gate driver_gate;
static pthread_t submitter_thread;
static bool submitter_is_inside;

static enum blkmq_queue_result
blocks_and_completes (struct script *script, const struct issue *issue)
{
  require ((pthread_equal (pthread_self (), submitter_thread) != 0)
           == submitter_is_inside);
  gate_pass (&driver_gate);
  return script_completes_inside (script, issue);
}

/* With threads. */
void
driver_blocks_the_submitter (struct bed *bed, uint64_t wanted)
{
  static const struct gate closed = GATE_INITIALIZER;
  struct test_io t;

  driver_gate = closed;
  submitter_thread = pthread_self ();
  submitter_is_inside = wanted;
  bed->script.on_queue = blocks_and_completes;
  if (wanted)
    gate_open (&driver_gate);
  test_io_submit (&t, bed, 0);
  if (wanted)
    ck_assert_uint_eq (t.nr_ends, 1);
  else {
    gate_await_arrival (&driver_gate, 1);
    assert_not_ended (&t);
    gate_open (&driver_gate);
    await (t.nr_ends > 0);
  }
  assert_ended (&t, BLKMQ_STS_OK);
}

/* ---- data, with driver=memory or null ---- */

#define PLACE_BYTES UINT64_C (65536)
#define DATA_BYTES 4096

static void
fill (struct bed *bed, char c)
{
  memset (data, c, DATA_BYTES);
  ck_assert_int_eq (
      blkmq_write (bed->submitter, data, DATA_BYTES, PLACE_BYTES, 0), 0);
}

static void
check_is_filled (struct bed *bed, char c)
{
  memset (data, ~c, DATA_BYTES);
  ck_assert_int_eq (blkmq_read (bed->submitter, data, DATA_BYTES, PLACE_BYTES),
                    0);
  for (unsigned i = 0; i < DATA_BYTES; i++)
    ck_assert_int_eq (data[i], c);
}

void
data_is_kept (struct bed *bed, uint64_t wanted)
{
  fill (bed, 'x');
  check_is_filled (bed, wanted ? 'x' : 0);
  fill (bed, 0);
}

static int
note_type (uint64_t offset_bytes, uint64_t bytes, unsigned type, void *opaque)
{
  unsigned *noted = opaque;

  *noted = type;
  return 0;
}

void
discards (struct bed *bed, uint64_t wanted)
{
  unsigned type = ~0u;

  fill (bed, 'x');
  ck_assert_int_eq (blkmq_discard (bed->submitter, DATA_BYTES, PLACE_BYTES),
                    wanted ? 0 : -EOPNOTSUPP);
  ck_assert_int_eq (blkmq_disk_limits (bed->disk)->max_discard_bytes != 0,
                    wanted);
  check_is_filled (bed, wanted ? 0 : 'x');
  ck_assert_int_eq (
      blkmq_disk_extents (bed->disk, PLACE_BYTES, DATA_BYTES, note_type, &type),
      0);
  ck_assert_uint_eq (type, wanted ? BLKMQ_EXTENT_HOLE | BLKMQ_EXTENT_ZERO : 0);
}

/* ---- a cache, and power ---- */

#define PAGE_BYTES UINT64_C (4096)
#define PAGE_SECTORS (PAGE_BYTES / BLOCK_BYTES)

/* What has reached the driver. */
static char media[2 * MIB];

static enum blkmq_queue_result
moves_data (struct script *script, const struct issue *issue)
{
  struct blkmq_segments it = blkmq_segments_begin (issue->rq);
  char *place = media + issue->offset_bytes;
  struct iovec seg;

  while (blkmq_segments_next (&it, &seg)) {
    if (issue->op == BLKMQ_OP_READ)
      memcpy (seg.iov_base, place, seg.iov_len);
    else
      memcpy (place, seg.iov_base, seg.iov_len);
    place += seg.iov_len;
  }
  return script_completes_inside (script, issue);
}

static void
do_page (struct bed *bed, enum blkmq_op op, uint64_t page, uint32_t flags)
{
  bool is_flush = op == BLKMQ_OP_FLUSH;
  struct test_io t;

  init (&t, bed, op, is_flush ? 0 : page * PAGE_SECTORS,
        is_flush ? 0 : PAGE_BYTES);
  t.io.flags = flags;
  blkmq_submit (bed->submitter, &t.io);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_OK);
}

static void
write_page (struct bed *bed, uint64_t page, char c, uint32_t flags)
{
  memset (data, c, PAGE_BYTES);
  do_page (bed, BLKMQ_OP_WRITE, page, flags);
}

static char
letter_of (struct bed *bed, uint64_t page)
{
  do_page (bed, BLKMQ_OP_READ, page, 0);
  return data[PAGE_BYTES - 1];
}

static void
set_power (struct bed *bed, bool on)
{
  ck_assert_int_eq (blkmq_disk_set_power (bed->disk, on, NULL), 0);
}

/* 0: there is none. */
void
cache_has_pages (struct bed *bed, uint64_t nr)
{
  unsigned first;

  bed->script.on_queue = moves_data;
  ck_assert_int_eq (blkmq_disk_limits (bed->disk)->volatile_cache, nr > 0);
  do_page (bed, BLKMQ_OP_FLUSH, 0, 0);
  set_power (bed, false);
  set_power (bed, true); /* it is empty */
  first = bed->script.nr_issues;
  memset (media, 0, sizeof media);

  for (uint64_t page = 0; page < nr; page++)
    write_page (bed, page, 'a', 0);
  ck_assert_uint_eq (bed->script.nr_issues, first);
  write_page (bed, nr, 'a', 0);
  ck_assert_uint_gt (bed->script.nr_issues, first);
  do_page (bed, BLKMQ_OP_FLUSH, 0, 0);
  for (uint64_t page = 0; page <= nr; page++)
    ck_assert_int_eq (media[page * PAGE_BYTES], 'a');

  write_page (bed, 0, 'b', 0);
  write_page (bed, 1, 'c', BLKMQ_IO_FUA);
  ck_assert_int_eq (letter_of (bed, 0), 'b');
  set_power (bed, false);
  set_power (bed, true);
  ck_assert_int_eq (letter_of (bed, 0), nr > 0 ? 'a' : 'b');
  ck_assert_int_eq (letter_of (bed, 1), 'c');
}

/* Else there is a flush after the write. */
void
fua_passes_the_cache (struct bed *bed, uint64_t wanted)
{
  uint64_t nr_flushes = bed_stats (bed).flushes;

  bed->script.on_queue = moves_data;
  ck_assert_int_eq (blkmq_disk_limits (bed->disk)->fua, wanted);
  write_page (bed, 0, 'b', BLKMQ_IO_FUA);
  ck_assert_uint_eq (bed_stats (bed).flushes - nr_flushes, !wanted);
  set_power (bed, false);
  set_power (bed, true);
  ck_assert_int_eq (letter_of (bed, 0), 'b');
}

void
has_power (struct bed *bed, uint64_t wanted)
{
  unsigned first = bed->script.nr_issues;

  bed->script.on_queue = script_completes_inside;
  ck_assert_int_eq (blkmq_disk_has_power (bed->disk), wanted);
  check_outcome (bed, BLKMQ_OP_READ, 0, BLOCK_BYTES,
                 wanted ? BLKMQ_STS_OK : BLKMQ_STS_OFFLINE);
  check_outcome (bed, BLKMQ_OP_WRITE, 0, BLOCK_BYTES,
                 wanted ? BLKMQ_STS_OK : BLKMQ_STS_OFFLINE);
  ck_assert_uint_eq (bed->script.nr_issues - first, wanted ? 2 : 0);
}

/* ---- throttle ---- */

/* A request has to wait until the one before it is paid for. */
void
data_takes (struct bed *bed, uint64_t ns_a_mib)
{
  const uint64_t ns = ns_a_mib / 16;
  struct test_io t;

  bed->script.on_queue = script_completes_inside;
  check_outcome (bed, BLKMQ_OP_WRITE, 0, MIB / 16, BLKMQ_STS_OK);
  init (&t, bed, BLKMQ_OP_READ, 0, MIB / 16);
  blkmq_submit (bed->submitter, &t.io);
  if (ns > 0) {
    bed_pass (bed, ns - 1);
    assert_not_ended (&t);
    bed_pass (bed, 3); /* times are rounded up */
  }
  assert_ended (&t, BLKMQ_STS_OK);
  bed_pass (bed, 100 * S); /* nothing is owed any more */
}

/* ---- the medium ---- */

void
is_bad (struct bed *bed, uint64_t sectors)
{
  uint64_t first = sectors >> 32, last = (uint32_t)sectors;

  bed->script.on_queue = script_completes_inside;
  for (uint64_t sector = 0; sector < 64; sector++)
    check_outcome (
        bed, sector % 2 ? BLKMQ_OP_READ : BLKMQ_OP_WRITE, sector, BLOCK_BYTES,
        sector >= first && sector <= last ? BLKMQ_STS_MEDIUM : BLKMQ_STS_OK);
}

static void
make_bad (struct bed *bed, const char *value)
{
  const struct blkmq_setting setting = { "badblocks", value };

  ck_assert_int_eq (blkmq_disk_set (bed->disk, &setting, 1, NULL), 0);
}

/* Of two times. */
void
bad_is_hit (struct bed *bed, uint64_t times)
{
  bed->script.on_queue = script_completes_inside;
  make_bad (bed, "+8-15");
  check_outcome (bed, BLKMQ_OP_READ, 9, BLOCK_BYTES, BLKMQ_STS_MEDIUM);
  check_outcome (bed, BLKMQ_OP_READ, 8, BLOCK_BYTES,
                 times > 1 ? BLKMQ_STS_MEDIUM : BLKMQ_STS_OK);
}

/* SECTORS of the four there are. */
void
good_before_bad_is_done (struct bed *bed, uint64_t sectors)
{
  unsigned first = bed->script.nr_issues;

  bed->script.on_queue = script_completes_inside;
  check_outcome (bed, BLKMQ_OP_WRITE, 4, 8 * BLOCK_BYTES, BLKMQ_STS_MEDIUM);
  ck_assert_uint_eq (bed->script.nr_issues - first, sectors > 0);
  if (sectors > 0)
    ck_assert_uint_eq (script_issue (&bed->script, first)->bytes,
                       sectors * BLOCK_BYTES);
}

/* ---- fault strings ---- */

/* A multiple of each N, so that counting begins anew each time. */
#define NR_IOS 12

/* 0: none. */
void
each_nth_times_out (struct bed *bed, uint64_t n)
{
  struct test_io t[NR_IOS];

  bed->script.on_queue = script_completes_inside;
  for (unsigned i = 1; i <= NR_IOS; i++) {
    test_io_submit (&t[i - 1], bed, i);
    ck_assert_uint_eq (t[i - 1].nr_ends, n == 0 || i % n != 0);
  }
  bed_pass (bed, 110 * MS); /* io_timeout=100 */
  for (unsigned i = 1; i <= NR_IOS; i++)
    assert_ended (&t[i - 1],
                  n == 0 || i % n != 0 ? BLKMQ_STS_OK : BLKMQ_STS_TIMEOUT);
}

/* What comes back is counted again: of so many ios one in N - 1 is sent back,
 * but for the first time, when counting begins with one that is not. */
void
each_nth_is_sent_back (struct bed *bed, uint64_t n)
{
  struct blkmq_stats before = bed_stats (bed), after;
  uint64_t nr_busy, nr_requeues;

  bed->script.on_queue = script_completes_inside;
  for (unsigned i = 0; i < NR_IOS; i++) {
    struct test_io t;

    test_io_submit (&t, bed, i);
    bed_pass (bed, 3 * MS);
    assert_ended (&t, BLKMQ_STS_OK);
  }
  after = bed_stats (bed);
  nr_busy = after.busy - before.busy;
  nr_requeues = after.requeues - before.requeues;
  if (n == 0) {
    ck_assert_uint_eq (nr_busy + nr_requeues, 0);
    return;
  }
  ck_assert_uint_ge (nr_busy + nr_requeues, NR_IOS / (n - 1) - 1);
  ck_assert_uint_le (nr_busy + nr_requeues, NR_IOS / (n - 1));
  ck_assert_uint_le (nr_busy, nr_requeues + 1); /* in turn */
  ck_assert_uint_le (nr_requeues, nr_busy + 1);
}

/* Those of a live change; and of a disk that is to come up. */
void
new_hctxs_fail (struct bed *bed, uint64_t wanted)
{
  bed->script.on_queue = script_completes_inside;
  if (wanted) {
    struct bed *another = bed_alloc ();

    ck_assert_int_eq (
        bed_alloc_disk (another, "submit_queues=2 init_hctx=2,100,0,-1", true),
        -ENOMEM);
    ck_assert_str_eq (another->error.message,
                      "setting up hctx 1 of 2: fault: Cannot allocate memory");
    bed_drop (another);

    ck_assert_int_eq (update_queues (bed->disk, 2, 0, &bed->error), -ENOMEM);
    ck_assert_str_eq (bed->error.message,
                      "submit_queues=2 poll_queues=0: setting up hctx 1: "
                      "fault: Cannot allocate memory");
    ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), 1);
  } else {
    ck_assert_int_eq (update_queues (bed->disk, 2, 0, NULL), 0);
    ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), 2);
    ck_assert_int_eq (update_queues (bed->disk, 1, 0, NULL), 0);
  }
  check_outcome (bed, BLKMQ_OP_READ, 0, BLOCK_BYTES, BLKMQ_STS_OK);
}
