/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-cache.c: the volatile write cache, one thread and one behaviour at a
 * time: what is answered from it, what reaches the media, in which order, and
 * what is left of it when something fails.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "blkmq-control.h"
#include "cache-bed.h"

static struct media media;

/* ---- ios ---- */

#define MAX_BLOCKS 64u

/* One of several blocks. */
struct big_io {
  struct test_io t;
  char data[MAX_BLOCKS * BLOCK_BYTES];
};

static void
big_init (struct big_io *b, struct bed *bed, enum blkmq_op op, unsigned block,
          unsigned nr)
{
  test_io_init (&b->t, bed, op, block);
  b->t.io.bytes = nr * BLOCK_BYTES;
  b->t.segment.iov_base = b->data;
  b->t.segment.iov_len = b->t.io.bytes;
}

static void
big_submit (struct big_io *b, struct bed *bed, enum blkmq_op op, unsigned block,
            unsigned nr)
{
  big_init (b, bed, op, block, nr);
  blkmq_submit (bed->submitter, &b->t.io);
  bed_turn (bed);
}

/* Submit a write of blocks full of FILL; not necessarily answered. */
static void
start_write (struct big_io *b, struct bed *bed, unsigned block, unsigned nr,
             char fill, uint32_t flags)
{
  memset (b->data, fill, sizeof b->data);
  big_init (b, bed, BLKMQ_OP_WRITE, block, nr);
  b->t.io.flags = flags;
  blkmq_submit (bed->submitter, &b->t.io);
  bed_turn (bed);
}

static void
do_write (struct bed *bed, unsigned block, unsigned nr, char fill)
{
  struct big_io b;

  start_write (&b, bed, block, nr, fill, 0);
  assert_ended (&b.t, BLKMQ_STS_OK);
}

static void
do_flush (struct bed *bed, enum blkmq_status wanted)
{
  struct test_io t;

  test_io_init (&t, bed, BLKMQ_OP_FLUSH, 0);
  blkmq_submit (bed->submitter, &t.io);
  bed_turn (bed);
  assert_ended (&t, wanted);
}

/* What the disk has from BLOCK on, a letter each ('.' for zeros). */
#define check_blocks(bed, block, expected)                                     \
  do {                                                                         \
    char text_[MAX_BLOCKS + 1];                                                \
    read_blocks (bed, block, (unsigned)strlen (expected), text_);              \
    ck_assert_str_eq (text_, expected);                                        \
  } while (0)
#define check_media(block, expected)                                           \
  do {                                                                         \
    char text_[MAX_BLOCKS + 1];                                                \
    letters (media.blocks[block], (unsigned)strlen (expected), text_);         \
    ck_assert_str_eq (text_, expected);                                        \
  } while (0)

static void
letters (const char *data, unsigned nr, char *text)
{
  for (unsigned i = 0; i < nr; i++) {
    char c = data[i * BLOCK_BYTES];

    for (unsigned n = 1; n < BLOCK_BYTES; n++)
      ck_assert_int_eq (data[i * BLOCK_BYTES + n], c);
    text[i] = c != 0 ? c : '.';
  }
  text[nr] = '\0';
}

static void
read_blocks (struct bed *bed, unsigned block, unsigned nr, char *text)
{
  struct big_io b;

  memset (b.data, 'X', sizeof b.data);
  big_submit (&b, bed, BLKMQ_OP_READ, block, nr);
  assert_ended (&b.t, BLKMQ_STS_OK);
  letters (b.data, nr, text);
}

static unsigned
nr_of_op (struct bed *bed, enum blkmq_op op)
{
  unsigned nr = 0;

  for (unsigned i = 0; i < bed->script.nr_issues; i++)
    nr += script_issue (&bed->script, i)->op == op;
  return nr;
}

/* ------------------------------------------------------------------------ */
/* Reads and writes                                                          */

START_TEST (test_write_is_answered_before_the_media_has_it)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1");

  ck_assert (blkmq_disk_limits (bed->disk)->volatile_cache);
  ck_assert (blkmq_disk_limits (bed->disk)->fua);
  ck_assert_str_eq (blkmq_disk_driver_name (bed->disk), "scripted");
  do_write (bed, 3, 2, 'a');
  ck_assert_uint_eq (bed->script.nr_issues, 0);
  check_blocks (bed, 3, "aa");
  ck_assert_uint_eq (bed->script.nr_issues, 0);
  check_media (3, "..");
  bed_stop (bed);
}
END_TEST

START_TEST (test_read_takes_from_the_cache_what_it_has_and_the_rest_from_below)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1");

  memset (media.blocks, 'm', sizeof media.blocks);
  do_write (bed, 2, 3, 'a');
  do_write (bed, 3, 1, 'b');
  do_write (bed, 14, 4, 'c'); /* over the end of a page */
  check_blocks (bed, 0, "mmabammmmmmmmmccccmm");
  ck_assert_uint_eq (nr_of_op (bed, BLKMQ_OP_READ), 3);
  check_blocks (bed, 100, "mmmmmmmmmmmmmmmmmmmm");
  ck_assert_uint_eq (nr_of_op (bed, BLKMQ_OP_READ), 4);
  ck_assert_uint_eq (nr_of_op (bed, BLKMQ_OP_WRITE), 0);
  bed_stop (bed);
}
END_TEST

/* The read has found nothing in the cache and is below when the block is
 * written, flushed and gone from the cache: either value will do, but the next
 * read must have the new one. */
START_TEST (test_read_below_does_not_hide_a_later_write)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1");
  struct big_io r;

  media.keeps = true;
  big_submit (&r, bed, BLKMQ_OP_READ, 0, 4);
  media.keeps = false;
  do_write (bed, 1, 1, 'a');
  do_flush (bed, BLKMQ_STS_OK);
  media_complete (bed, 0);
  assert_ended (&r.t, BLKMQ_STS_OK);
  check_blocks (bed, 0, ".a..");
  bed_stop (bed);
}
END_TEST

START_TEST (test_tail_of_the_disk_is_cached)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1 size=5000");
  struct big_io b;

  memset (b.data, 't', sizeof b.data);
  big_init (&b, bed, BLKMQ_OP_WRITE, 8, 1);
  b.t.io.bytes = b.t.segment.iov_len = 5000 - 4096;
  blkmq_submit (bed->submitter, &b.t.io);
  assert_ended (&b.t, BLKMQ_STS_OK);
  do_flush (bed, BLKMQ_STS_OK);
  ck_assert_uint_eq (script_issue (&bed->script, 0)->offset_bytes, 4096);
  ck_assert_uint_eq (script_issue (&bed->script, 0)->bytes, 5000 - 4096);
  ck_assert_mem_eq (media.blocks[8], b.data, 5000 - 4096);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Flush                                                                     */

START_TEST (test_flush_writes_out_and_is_then_passed_on)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1");

  do_write (bed, 0, 16, 'a');
  do_write (bed, 41, 2, 'b');
  do_write (bed, 45, 1, 'c');
  do_flush (bed, BLKMQ_STS_OK);
  check_media (0, "aaaaaaaaaaaaaaaa");
  check_media (40, ".bb..c..");
  ck_assert_uint_eq (nr_of_op (bed, BLKMQ_OP_WRITE), 4);
  ck_assert_int_eq (script_issue (&bed->script, bed->script.nr_issues - 1)->op,
                    BLKMQ_OP_FLUSH);

  /* There is nothing left to write out, and that is not kept. */
  do_flush (bed, BLKMQ_STS_OK);
  ck_assert_uint_eq (nr_of_op (bed, BLKMQ_OP_WRITE), 4);
  ck_assert_uint_eq (nr_of_op (bed, BLKMQ_OP_FLUSH), 2);
  memset (media.blocks, 'm', sizeof media.blocks);
  check_blocks (bed, 0, "mm");
  bed_stop (bed);
}
END_TEST

START_TEST (test_flush_does_not_wait_for_what_comes_later)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1");
  struct test_io flush;

  do_write (bed, 0, 1, 'a');
  media.keeps = true;
  test_io_init (&flush, bed, BLKMQ_OP_FLUSH, 0);
  blkmq_submit (bed->submitter, &flush.io);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  do_write (bed, 100, 1, 'b');
  do_write (bed, 0, 1, 'c'); /* also the same, which is on its way */
  check_blocks (bed, 0, "c");
  media_complete (bed, 0);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  ck_assert_int_eq (script_issue (&bed->script, 1)->op, BLKMQ_OP_FLUSH);
  assert_not_ended (&flush);
  media_complete (bed, 1);
  assert_ended (&flush, BLKMQ_STS_OK);
  check_media (0, "a");

  media.keeps = false;
  check_blocks (bed, 0, "c");
  do_flush (bed, BLKMQ_STS_OK);
  check_media (0, "c");
  check_media (100, "b");
  bed_stop (bed);
}
END_TEST

START_TEST (test_flush_reports_what_could_not_be_written_and_the_data_stays)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1");
  struct test_io flush;

  do_write (bed, 0, 1, 'a');
  do_write (bed, 80, 1, 'b');
  media.keeps = true;
  test_io_init (&flush, bed, BLKMQ_OP_FLUSH, 0);
  blkmq_submit (bed->submitter, &flush.io);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  issue_complete (&bed->script, 0, BLKMQ_STS_MEDIUM);
  bed_turn (bed);
  assert_not_ended (&flush);
  media_complete (bed, 1);
  assert_ended (&flush, BLKMQ_STS_MEDIUM);
  ck_assert_uint_eq (nr_of_op (bed, BLKMQ_OP_FLUSH), 0);

  media.keeps = false;
  check_blocks (bed, 0, "a");
  check_media (0, ".");
  do_flush (bed, BLKMQ_STS_OK);
  check_media (0, "a");
  check_media (80, "b");
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Room                                                                      */

START_TEST (test_full_cache_writes_out_the_oldest_and_writes_wait)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=8k");
  struct big_io third;

  do_write (bed, 0, 1, 'a');
  do_write (bed, 64, 1, 'b');
  do_write (bed, 0, 1, 'A'); /* as old as it was */
  media.keeps = true;
  start_write (&third, bed, 128, 1, 'c', 0);
  assert_not_ended (&third.t);
  ck_assert_uint_eq (script_issue (&bed->script, 0)->offset_bytes, 0);
  do_write (bed, 65, 1, 'B'); /* needs no room */
  media_complete (bed, 0);
  assert_ended (&third.t, BLKMQ_STS_OK);
  check_media (0, "A");
  media.keeps = false;
  for (unsigned n = 1; n < bed->script.nr_issues; n++)
    media_complete (bed, n);
  check_blocks (bed, 64, "bB");
  check_blocks (bed, 128, "c");
  bed_stop (bed);
}
END_TEST

START_TEST (test_write_may_be_larger_than_the_cache)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=8k");

  do_write (bed, 4, MAX_BLOCKS, 'a');
  do_flush (bed, BLKMQ_STS_OK);
  for (unsigned i = 0; i < MAX_BLOCKS; i++)
    check_media (4 + i, "a");
  check_media (4 + MAX_BLOCKS, ".");
  bed_stop (bed);
}
END_TEST

/* Nothing fails, and nobody tries without a pause. */
START_TEST (test_write_waits_out_a_media_that_fails)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=4k");
  struct big_io second;

  do_write (bed, 0, 1, 'a');
  media.keeps = true;
  start_write (&second, bed, 64, 1, 'b', 0);
  for (unsigned n = 0; n < 5; n++) {
    ck_assert_uint_eq (bed->script.nr_issues, n + 1);
    issue_complete (&bed->script, n, BLKMQ_STS_MEDIUM);
    bed_turn (bed);
    assert_not_ended (&second.t);
    ck_assert_uint_eq (bed->script.nr_issues, n + 1);
    bed_pass (bed, 3 * MS);
  }
  media_complete (bed, 5);
  assert_ended (&second.t, BLKMQ_STS_OK);
  check_media (0, "a");
  media.keeps = false;
  check_blocks (bed, 64, "b");
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Through                                                                   */

START_TEST (test_fua_goes_through_and_replaces_what_is_cached)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1");
  struct big_io fua;

  do_write (bed, 0, 4, 'a');
  start_write (&fua, bed, 1, 2, 'F', BLKMQ_IO_FUA);
  assert_ended (&fua.t, BLKMQ_STS_OK);
  ck_assert_uint_eq (nr_of_op (bed, BLKMQ_OP_WRITE), 1);
  check_media (0, ".FF.");
  check_blocks (bed, 0, "aFFa");
  do_flush (bed, BLKMQ_STS_OK);
  check_media (0, "aFFa");
  bed_stop (bed);
}
END_TEST

START_TEST (test_without_fua_a_flush_makes_it_durable)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1 fua=0");
  struct big_io fua;

  ck_assert (!blkmq_disk_limits (bed->disk)->fua);
  start_write (&fua, bed, 1, 2, 'F', BLKMQ_IO_FUA);
  assert_ended (&fua.t, BLKMQ_STS_OK);
  ck_assert_uint_eq (nr_of_op (bed, BLKMQ_OP_FLUSH), 1);
  check_media (0, ".FF.");
  bed_stop (bed);
}
END_TEST

START_TEST (test_what_fails_to_go_through_leaves_the_cache_as_it_was)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1");
  struct big_io fua, zero;

  do_write (bed, 0, 4, 'a');
  media.keeps = true;
  start_write (&fua, bed, 1, 2, 'F', BLKMQ_IO_FUA);
  check_blocks (bed, 0, "aaaa");
  issue_complete (&bed->script, 0, BLKMQ_STS_MEDIUM);
  assert_ended (&fua.t, BLKMQ_STS_MEDIUM);
  bed_turn (bed);
  big_submit (&zero, bed, BLKMQ_OP_WRITE_ZEROES, 0, 3);
  issue_complete (&bed->script, 1, BLKMQ_STS_IOERR);
  assert_ended (&zero.t, BLKMQ_STS_IOERR);
  bed_turn (bed);
  media.keeps = false;
  check_blocks (bed, 0, "aaaa");
  do_flush (bed, BLKMQ_STS_OK);
  check_media (0, "aaaa");
  bed_stop (bed);
}
END_TEST

START_TEST (test_discard_and_zeroes_drop_what_is_cached)
{
  static const enum blkmq_op ops[]
      = { BLKMQ_OP_DISCARD, BLKMQ_OP_WRITE_ZEROES };

  for (unsigned i = 0; i < NR (ops); i++) {
    struct bed *bed = cache_bed_start (&media, "cache_size=1");
    struct big_io b;

    memset (media.blocks, 'm', sizeof media.blocks);
    do_write (bed, 0, 20, 'a');
    big_submit (&b, bed, ops[i], 2, 16);
    assert_ended (&b.t, BLKMQ_STS_OK);
    check_blocks (bed, 0, "aa................aa");
    do_flush (bed, BLKMQ_STS_OK);
    check_media (0, "aa................aa");
    /* Of all of it: other than by looking for each page. */
    do_write (bed, 0, 20, 'b');
    big_submit (&b, bed, ops[i], 0, MEDIA_BLOCKS);
    assert_ended (&b.t, BLKMQ_STS_OK);
    check_blocks (bed, 0, "....................");
    bed_stop (bed);
  }
}
END_TEST

START_TEST (test_what_is_written_while_a_discard_is_below_stays)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1");
  struct big_io discard;

  do_write (bed, 0, 4, 'a');
  media.keeps = true;
  big_submit (&discard, bed, BLKMQ_OP_DISCARD, 0, 4);
  do_write (bed, 1, 1, 'b');
  media_complete (bed, 0);
  assert_ended (&discard.t, BLKMQ_STS_OK);
  media.keeps = false;
  check_blocks (bed, 0, ".b..");
  do_flush (bed, BLKMQ_STS_OK);
  check_media (0, ".b..");
  bed_stop (bed);
}
END_TEST

START_TEST (test_through_waits_for_write_outs_of_its_range_and_they_for_it)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1");
  struct test_io flush;
  struct big_io fua;

  do_write (bed, 0, 1, 'a');
  media.keeps = true;
  test_io_init (&flush, bed, BLKMQ_OP_FLUSH, 0);
  blkmq_submit (bed->submitter, &flush.io);
  bed_turn (bed);
  start_write (&fua, bed, 0, 1, 'F', BLKMQ_IO_FUA);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  media_complete (bed, 0);
  /* The flush goes on, and the write begins. */
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  do_write (bed, 3, 1, 'b');
  media.keeps = false;
  for (unsigned n = 1; n < 3; n++) {
    if (script_issue (&bed->script, n)->op == BLKMQ_OP_FLUSH)
      media_complete (bed, n);
  }
  assert_ended (&flush, BLKMQ_STS_OK);
  test_io_init (&flush, bed, BLKMQ_OP_FLUSH, 0);
  blkmq_submit (bed->submitter, &flush.io);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  for (unsigned n = 1; n < 3; n++) {
    if (script_issue (&bed->script, n)->op == BLKMQ_OP_WRITE)
      media_complete (bed, n);
  }
  assert_ended (&fua.t, BLKMQ_STS_OK);
  assert_ended (&flush, BLKMQ_STS_OK);
  check_media (0, "F..b");
  bed_stop (bed);
}
END_TEST

START_TEST (test_two_that_go_through_take_turns_where_they_overlap)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1");
  struct big_io first, second, elsewhere;

  media.keeps = true;
  big_submit (&first, bed, BLKMQ_OP_DISCARD, 0, 16);
  start_write (&second, bed, 8, 16, 'F', BLKMQ_IO_FUA);
  big_submit (&elsewhere, bed, BLKMQ_OP_DISCARD, 64, 16);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  media_complete (bed, 0);
  assert_ended (&first.t, BLKMQ_STS_OK);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  media_complete (bed, 2);
  assert_ended (&second.t, BLKMQ_STS_OK);
  media_complete (bed, 1);
  assert_ended (&elsewhere.t, BLKMQ_STS_OK);
  media.keeps = false;
  check_blocks (bed, 6, "..FFFFFFFFFFFFFFFF..");
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Timeouts, aborts, removal                                                 */

START_TEST (test_timeout_lets_go_what_waits_in_the_cache)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=4k io_timeout=1000");
  struct big_io room, range;

  do_write (bed, 0, 1, 'a');
  media.keeps = true;
  start_write (&room, bed, 64, 1, 'b', 0);
  start_write (&range, bed, 0, 1, 'F', BLKMQ_IO_FUA);
  ck_assert_uint_eq (bed->script.nr_issues, 1);
  bed_pass (bed, 1100 * MS);
  assert_ended (&room.t, BLKMQ_STS_TIMEOUT);
  assert_ended (&range.t, BLKMQ_STS_TIMEOUT);
  media_complete (bed, 0);
  media.keeps = false;
  check_blocks (bed, 0, "a");
  check_blocks (bed, 64, ".");
  bed_stop (bed);
}
END_TEST

static enum blkmq_timeout_result
says_held (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_HELD;
}

/* Who can be answered early is, and the others when the data is back. */
START_TEST (test_timeout_below_is_told_though_the_data_is_still_there)
{
  struct bed *bed = cache_bed_alloc (&media);
  struct test_io early, late;

  bed->script.on_timeout = says_held;
  bed_open (bed, "cache_size=4k io_timeout=1000");
  media.keeps = true;
  test_io_submit_early (&early, bed, 3);
  test_io_submit (&late, bed, 9);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 2);
  bed_pass (bed, 1100 * MS);
  assert_ended_early (&early, BLKMQ_STS_TIMEOUT);
  assert_not_ended (&late);
  ck_assert_int_eq (blkmq_freeze (bed->disk, NULL, 0), 2);
  blkmq_unfreeze (bed->disk);
  media_complete (bed, 0);
  media_complete (bed, 1);
  assert_ended (&early, BLKMQ_STS_TIMEOUT);
  assert_ended (&late, BLKMQ_STS_TIMEOUT);
  bed_check_idle (bed);
  bed_stop (bed);
}
END_TEST

static enum blkmq_timeout_result
says_done (struct script *script, struct blkmq_request *rq, blkmq_token token)
{
  return BLKMQ_TIMEOUT_DONE;
}

START_TEST (test_write_out_that_times_out_is_tried_again)
{
  struct bed *bed = cache_bed_alloc (&media);
  struct test_io flush;

  bed->script.on_timeout = says_done;
  bed_open (bed, "cache_size=4k io_timeout=1000");
  do_write (bed, 0, 1, 'a');
  media.keeps = true;
  test_io_init (&flush, bed, BLKMQ_OP_FLUSH, 0);
  blkmq_submit (bed->submitter, &flush.io);
  bed_turn (bed);
  bed_pass (bed, 1100 * MS);
  assert_ended (&flush, BLKMQ_STS_TIMEOUT);
  media.keeps = false;
  check_blocks (bed, 0, "a");
  do_flush (bed, BLKMQ_STS_OK);
  check_media (0, "a");
  bed_stop (bed);
}
END_TEST

/* What waits for a tag below comes back at once; what the driver has, when the
 * driver lets go. */
START_TEST (test_abort_reaches_what_is_below)
{
  struct bed *bed = cache_bed_alloc (&media);
  struct test_io t[2];

  bed->script.on_timeout = says_done;
  bed_open (bed, "cache_size=4k io_timeout=1000");
  media.keeps = true;
  for (unsigned i = 0; i < 2; i++) {
    test_io_submit_early (&t[i], bed, i * 8);
    bed_turn (bed);
    ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t[i].io), 1);
    assert_ended_early (&t[i], BLKMQ_STS_ABORTED);
  }
  issue_complete (&bed->script, 0, BLKMQ_STS_OK);
  assert_ended (&t[0], BLKMQ_STS_ABORTED);
  bed_pass (bed, 1100 * MS);
  assert_ended (&t[1], BLKMQ_STS_ABORTED);
  bed_check_idle (bed);
  bed_stop (bed);
}
END_TEST

/* A rule for the media is added to the inner disk, and asked there. */
START_TEST (test_abort_reaches_what_hangs_below)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=1 live=1");
  struct test_io t;
  uint64_t id;

  ck_assert_int_eq (
      blkmq_disk_add_fault (bed->disk, "at=media,op=read,hang", &id, NULL), 0);
  test_io_submit (&t, bed, 0);
  bed_turn (bed);
  assert_not_ended (&t);
  ck_assert_uint_eq (blkmq_abort_io (bed->submitter, &t.io), 1);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_ABORTED);
  test_io_submit (&t, bed, 0);
  bed_turn (bed);
  assert_not_ended (&t);
  ck_assert_int_eq (blkmq_disk_delete_fault (bed->disk, id, NULL), 0);
  bed_turn (bed);
  assert_ended (&t, BLKMQ_STS_OK);
  bed_stop (bed);
}
END_TEST

START_TEST (test_removal_ends_all_wherever_it_is)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=4k");
  struct big_io room, range, below, discard;
  struct test_io flush;

  do_write (bed, 0, 1, 'a');
  media.keeps = true;
  big_submit (&below, bed, BLKMQ_OP_READ, 512, 1);
  big_submit (&discard, bed, BLKMQ_OP_DISCARD, 1024, 8);
  start_write (&room, bed, 64, 1, 'b', 0);
  start_write (&range, bed, 0, 1, 'F', BLKMQ_IO_FUA);
  test_io_init (&flush, bed, BLKMQ_OP_FLUSH, 0);
  blkmq_submit (bed->submitter, &flush.io);
  bed_turn (bed);
  ck_assert_uint_eq (bed->script.nr_issues, 3);
  blkmq_disk_remove (bed->disk);
  assert_ended (&below.t, BLKMQ_STS_OFFLINE);
  assert_ended (&discard.t, BLKMQ_STS_OFFLINE);
  assert_ended (&room.t, BLKMQ_STS_OFFLINE);
  assert_ended (&range.t, BLKMQ_STS_OFFLINE);
  assert_ended (&flush, BLKMQ_STS_OFFLINE);
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Configuration                                                             */

static void
check_refused (const char *keys, const char *words)
{
  struct bed *bed = cache_bed_alloc (&media);

  bed->script.driver = "scripted-poll";
  ck_assert_int_eq (bed_alloc_disk (bed, keys, true), -EINVAL);
  ck_assert_msg (strstr (bed->error.message, words) != NULL, "%s",
                 bed->error.message);
  bed_drop (bed);
}

START_TEST (test_what_cannot_be_is_refused)
{
  check_refused ("cache_size=512b", "cache_size=512b: must be 0 (none) or at "
                                    "least 4096 bytes");
  check_refused ("cache_size=8k blocksize=16k",
                 "cache_size=8k: must be 0 (none) or at least 16384 bytes, "
                 "with blocksize=16k");
  check_refused ("cache_size=1 poll_queues=1",
                 "poll_queues=1: contradicts cache_size=1");
}
END_TEST

/* By whatever way. */
START_TEST (test_queues_above_a_cache_do_not_become_polled)
{
  struct bed *bed = cache_bed_alloc (&media);
  const struct blkmq_setting setting = { "poll_queues", "1" };
  struct blkmq_queues queues;

  bed->script.driver = "scripted-poll";
  bed_open (bed, "cache_size=1 live=1");
  ck_assert_int_eq (blkmq_disk_set (bed->disk, &setting, 1, &bed->error),
                    -EINVAL);
  ck_assert_str_eq (bed->error.message,
                    "poll_queues=1: contradicts cache_size=1; must be 0 with a "
                    "cache");
  blkmq_disk_queues (bed->disk, &queues);
  queues.poll_queues = 1;
  ck_assert_int_eq (blkmq_update_queues (bed->disk, &queues, &bed->error),
                    -EINVAL);
  ck_assert_ptr_nonnull (strstr (bed->error.message, "does not poll"));
  ck_assert_uint_eq (blkmq_disk_nr_hw_queues (bed->disk), 1);
  bed_stop (bed);
}
END_TEST

START_TEST (test_without_a_cache_nothing_is_volatile)
{
  struct bed *bed = cache_bed_start (&media, "cache_size=0");

  ck_assert_ptr_null (bed->disk->inner);
  ck_assert (!blkmq_disk_limits (bed->disk)->volatile_cache);
  ck_assert (!blkmq_disk_limits (bed->disk)->fua);
  bed_stop (bed);
}
END_TEST

static int
note_extent (uint64_t offset_bytes, uint64_t bytes, unsigned type, void *opaque)
{
  char *text = opaque;

  snprintf (text + strlen (text), 20, "%c%u ", type == 0 ? 'd' : 'h',
            (unsigned)(bytes / BLOCK_BYTES));
  return 0;
}

START_TEST (test_extents_show_what_is_cached_as_data)
{
  struct bed *bed = bed_alloc ();
  char text[200] = "";
  struct big_io b;

  bed->script.driver = "memory";
  bed_open (bed, "cache_size=1");
  for (unsigned i = 0; i < 3; i++) {
    start_write (&b, bed, 16 + i * 32, 8, 'a', 0);
    assert_ended (&b.t, BLKMQ_STS_OK);
  }
  ck_assert_int_eq (
      blkmq_disk_extents (bed->disk, 0, 128 * BLOCK_BYTES, note_extent, text),
      0);
  ck_assert_str_eq (text, "h16 d8 h24 d8 h24 d8 h40 ");
  do_flush (bed, BLKMQ_STS_OK);
  text[0] = '\0';
  ck_assert_int_eq (
      blkmq_disk_extents (bed->disk, 0, 128 * BLOCK_BYTES, note_extent, text),
      0);
  ck_assert_str_eq (text, "h16 d8 h24 d8 h24 d8 h40 ");
  bed_stop (bed);
}
END_TEST

static int
add_extent (uint64_t offset_bytes, uint64_t bytes, unsigned type, void *opaque)
{
  char *text = opaque;

  snprintf (text + strlen (text), 60, "%u+%u%c ", (unsigned)offset_bytes,
            (unsigned)bytes, type == 0 ? 'd' : 'h');
  return 0;
}

START_TEST (test_extents_are_clipped_to_any_byte)
{
  static const struct {
    uint64_t offset_bytes, bytes;
    const char *text;
  } ranges[] = {
    { 8191, 2, "8191+1h 8192+1d " },
    { 8193, 511, "8193+511d " },
    { 8193, 1, "8193+1d " },
    { 8193, 4096, "8193+4095d 12288+1h " },
    { 12287, 513, "12287+1d 12288+512h " },
    { 12289, 300, "12289+300h " },
    { 1, 8191, "1+8191h " },
    { 1, 8190, "1+8190h " },
  };
  struct bed *bed = bed_alloc ();
  struct big_io b;

  bed->script.driver = "memory";
  bed_open (bed, "cache_size=1");
  start_write (&b, bed, 16, 8, 'a', 0);
  assert_ended (&b.t, BLKMQ_STS_OK);
  for (unsigned i = 0; i < NR (ranges); i++) {
    char text[200] = "";

    ck_assert_int_eq (blkmq_disk_extents (bed->disk, ranges[i].offset_bytes,
                                          ranges[i].bytes, add_extent, text),
                      0);
    ck_assert_str_eq (text, ranges[i].text);
  }
  bed_stop (bed);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Settings                                                                  */

static void
set_live (struct bed *bed, const char *key, const char *value)
{
  struct blkmq_setting setting = { key, value };
  struct blkmq_error error;

  if (blkmq_disk_set (bed->disk, &setting, 1, &error) < 0)
    ck_abort_msg ("%s", error.message);
}

START_TEST (test_settings_reach_what_is_below)
{
  struct bed *bed = cache_bed_alloc (&media);
  struct test_io flush, t;
  char text[20];

  bed->script.on_timeout = says_done;
  bed_open (bed, "cache_size=1 live=1");
  do_write (bed, 0, 1, 'a');
  set_live (bed, "media_delay_write", "1s");
  blkmq_disk_get_key (bed->disk, "media_delay_write", text, sizeof text, NULL);
  ck_assert_str_eq (text, "1s");
  do_write (bed, 8, 1, 'b'); /* takes no time */
  test_io_init (&flush, bed, BLKMQ_OP_FLUSH, 0);
  blkmq_submit (bed->submitter, &flush.io);
  bed_turn (bed);
  bed_pass (bed, 999 * MS);
  assert_not_ended (&flush);
  bed_pass (bed, 1 * MS);
  assert_ended (&flush, BLKMQ_STS_OK);

  set_live (bed, "io_timeout", "1s");
  media.keeps = true;
  test_io_submit (&t, bed, 16);
  bed_turn (bed);
  bed_pass (bed, 1100 * MS);
  assert_ended (&t, BLKMQ_STS_TIMEOUT);
  bed_stop (bed);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("cache");
  TCase *tcase;

  tcase = harness_case (suite, "reads and writes");
  tcase_add_test (tcase, test_write_is_answered_before_the_media_has_it);
  tcase_add_test (
      tcase,
      test_read_takes_from_the_cache_what_it_has_and_the_rest_from_below);
  tcase_add_test (tcase, test_read_below_does_not_hide_a_later_write);
  tcase_add_test (tcase, test_tail_of_the_disk_is_cached);

  tcase = harness_case (suite, "flush");
  tcase_add_test (tcase, test_flush_writes_out_and_is_then_passed_on);
  tcase_add_test (tcase, test_flush_does_not_wait_for_what_comes_later);
  tcase_add_test (
      tcase, test_flush_reports_what_could_not_be_written_and_the_data_stays);

  tcase = harness_case (suite, "room");
  tcase_add_test (tcase, test_full_cache_writes_out_the_oldest_and_writes_wait);
  tcase_add_test (tcase, test_write_may_be_larger_than_the_cache);
  tcase_add_test (tcase, test_write_waits_out_a_media_that_fails);

  tcase = harness_case (suite, "through");
  tcase_add_test (tcase, test_fua_goes_through_and_replaces_what_is_cached);
  tcase_add_test (tcase, test_without_fua_a_flush_makes_it_durable);
  tcase_add_test (tcase,
                  test_what_fails_to_go_through_leaves_the_cache_as_it_was);
  tcase_add_test (tcase, test_discard_and_zeroes_drop_what_is_cached);
  tcase_add_test (tcase, test_what_is_written_while_a_discard_is_below_stays);
  tcase_add_test (
      tcase, test_through_waits_for_write_outs_of_its_range_and_they_for_it);
  tcase_add_test (tcase,
                  test_two_that_go_through_take_turns_where_they_overlap);

  tcase = harness_case (suite, "timeouts, aborts, removal");
  tcase_add_test (tcase, test_timeout_lets_go_what_waits_in_the_cache);
  tcase_add_test (tcase,
                  test_timeout_below_is_told_though_the_data_is_still_there);
  tcase_add_test (tcase, test_write_out_that_times_out_is_tried_again);
  tcase_add_test (tcase, test_abort_reaches_what_is_below);
  tcase_add_test (tcase, test_abort_reaches_what_hangs_below);
  tcase_add_test (tcase, test_removal_ends_all_wherever_it_is);

  tcase = harness_case (suite, "configuration");
  tcase_add_test (tcase, test_what_cannot_be_is_refused);
  tcase_add_test (tcase, test_queues_above_a_cache_do_not_become_polled);
  tcase_add_test (tcase, test_without_a_cache_nothing_is_volatile);
  tcase_add_test (tcase, test_extents_show_what_is_cached_as_data);
  tcase_add_test (tcase, test_extents_are_clipped_to_any_byte);
  tcase_add_test (tcase, test_settings_reach_what_is_below);

  return harness_main (suite);
}
