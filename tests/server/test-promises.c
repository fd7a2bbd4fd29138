/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-promises.c: what a client may rely on: extents, what errors mean, and
 * what outlives a power cut.
 */

#include <config.h>

#include <string.h>

#include "blkmq-control.h"
#include "asking.h"

static bool
is_zero (const uint8_t *bytes, uint32_t nr)
{
  for (uint32_t i = 0; i < nr; i++)
    if (bytes[i] != 0)
      return false;
  return true;
}

#define HOLE (NBD_STATE_HOLE | NBD_STATE_ZERO)

static const unsigned feature_sets[] = { 0, CLIENT_STRUCTURED, CLIENT_CONTEXT };

/* ------------------------------------------------------------------------ */
/* Block status                                                              */

static void
expect_extent (unsigned n, uint32_t bytes, unsigned type)
{
  ck_assert_uint_lt (n, answer.nr_extents);
  ck_assert_uint_eq (answer.extents[n].bytes, bytes);
  ck_assert_uint_eq (answer.extents[n].type, type);
}

/* What the cache has and what is below it are neighbours of one kind. */
START_TEST (test_status_knows_what_only_the_cache_has)
{
  begin ("size=1M cache_size=128k", CLIENT_CONTEXT);
  write_ones (2 * PAGE, PAGE);
  client_do (&client, NBD_CMD_FLUSH, 0, 0, 0, 0);
  write_ones (3 * PAGE, PAGE);
  write_ones (5 * PAGE, 512);
  ask_status (0, 0, 8 * PAGE);
  ck_assert_uint_eq (answer.nr_extents, 5);
  expect_extent (0, 2 * PAGE, HOLE);
  expect_extent (1, 2 * PAGE, 0);
  expect_extent (2, PAGE, HOLE);
  expect_extent (3, 512, 0);
  expect_extent (4, 3 * PAGE - 512, HOLE);
  ask_status (NBD_CMD_FLAG_REQ_ONE, 2 * PAGE + 1, 5 * PAGE);
  ck_assert_uint_eq (answer.nr_extents, 1);
  expect_extent (0, 2 * PAGE - 1, 0);
  /* A read knows it as well. */
  ask_read (0, 2 * PAGE, 64 * KB);
  ck_assert_uint_eq (answer.nr_pieces, 4);
  ck_assert_uint_eq (answer.pieces[0].bytes, 2 * PAGE);
  ck_assert (!answer.pieces[0].is_hole);
  ck_assert_uint_eq (answer.pieces[2].bytes, 512);
  end ();
}
END_TEST

START_TEST (test_status_is_clipped_to_what_was_asked)
{
  begin ("size=1M", CLIENT_CONTEXT);
  write_ones (16 * PAGE, 16 * PAGE);
  ask_status (0, 5, 1);
  ck_assert_uint_eq (answer.nr_extents, 1);
  expect_extent (0, 1, HOLE);
  ask_status (0, 16 * PAGE - 1, 2);
  ck_assert_uint_eq (answer.nr_extents, 2);
  expect_extent (0, 1, HOLE);
  expect_extent (1, 1, 0);
  ask_status (NBD_CMD_FLAG_REQ_ONE, 16 * PAGE - 1, 2);
  ck_assert_uint_eq (answer.nr_extents, 1);
  expect_extent (0, 1, HOLE);
  ask_status (0, 20 * PAGE, 512);
  ck_assert_uint_eq (answer.nr_extents, 1);
  expect_extent (0, 512, 0);
  ask_status (0, MB - 1, 1);
  ck_assert_uint_eq (answer.nr_extents, 1);
  expect_extent (0, 1, HOLE);
  end ();
}
END_TEST

/* As many as there are at most, and the client asks again from there. */
START_TEST (test_status_of_many_extents_in_parts)
{
  enum { NR_DATA = 2100, NR_AT_ONCE = 2000 };
  uint32_t size_bytes = 2 * NR_DATA * PAGE, told = 0;
  unsigned nr = 0, nr_parts = 0;

  begin ("size=32M", CLIENT_CONTEXT);
  for (unsigned i = 0; i < NR_DATA; i++) {
    client_write (&client, 0, i, i * (uint64_t)(2 * PAGE), ones, 512);
    client_expect (&client, i, 0);
  }
  while (told < size_bytes) {
    ask_status (0, told, size_bytes - told);
    nr_parts++;
    require (answer.nr_extents > 0 && answer.nr_extents <= NR_AT_ONCE);
    for (unsigned i = 0; i < answer.nr_extents; i++, nr++) {
      expect_extent (i, PAGE, nr % 2 == 0 ? 0 : HOLE);
      told += answer.extents[i].bytes;
    }
  }
  ck_assert_uint_eq (told, size_bytes);
  ck_assert_uint_eq (nr, 2 * NR_DATA);
  ck_assert_uint_eq (nr_parts, (2 * NR_DATA + NR_AT_ONCE - 1) / NR_AT_ONCE);
  end ();
}
END_TEST

START_TEST (test_no_hole_leaves_none)
{
  begin ("size=1M", CLIENT_CONTEXT);
  write_ones (0, 64 * KB);
  client_do (&client, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE, 0, 128 * KB,
             0);
  ask_status (0, 0, 192 * KB);
  ck_assert_uint_eq (answer.nr_extents, 2);
  expect_extent (0, 128 * KB, 0);
  ask_read (0, 0, 128 * KB);
  ck_assert_uint_eq (answer.nr_holes, 0);
  require (is_zero (answer.data, answer.bytes));
  ask_read (0, 0, 512);
  ck_assert_uint_eq (answer.nr_holes, 0);
  client_do (&client, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO, 0, 128 * KB,
             0);
  ask_status (0, 0, 192 * KB);
  ck_assert_uint_eq (answer.nr_extents, 1);
  expect_extent (0, 192 * KB, HOLE);
  end ();
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Errors                                                                    */

static const struct failure {
  const char *status;
  uint32_t error;
  const char *text;
} failures[] = {
  { "notsupp", NBD_EINVAL, "the driver does not do this" },
  { "timeout", NBD_EIO, "io_timeout has passed" },
  { "nospc", NBD_ENOSPC, "no space left on the disk" },
  { "resource", NBD_ENOMEM, "out of memory" },
  { "ioerr", NBD_EIO, "input/output error of the disk" },
  { "medium", NBD_EIO, "the medium is bad at this place" },
  { "again", NBD_EIO, "no tag was free" },
  { "offline", NBD_ESHUTDOWN, "the disk was removed, or has no power" },
  { "inval", NBD_EINVAL, "out of bounds" },
  { "readonly", NBD_EPERM, "the disk is read-only" },
  { "aborted", NBD_EIO, "given up by the client or by a shutdown" },
};

static void
expect_failure (const struct failure *failure, unsigned type)
{
  uint64_t sector = 8 * (uint64_t)(failure - failures);
  uint64_t cookie = type == NBD_CMD_READ ? READ_COOKIE (512, 3) : 3;

  client_ask (&client, type, 0, cookie, sector * 512, 512);
  if (type == NBD_CMD_WRITE)
    client_send (&client, ones, 512);
  client_answer (&client, &answer);
  ck_assert_uint_eq (answer.cookie, cookie);
  ck_assert_uint_eq (answer.error, failure->error);
  ck_assert_uint_eq (answer.nr_chunks, 1);
  ck_assert_str_eq (answer.text, client.structured ? failure->text : "");
}

START_TEST (test_failures_have_errors_and_texts)
{
  static const unsigned types[]
      = { NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_TRIM, NBD_CMD_WRITE_ZEROES };
  char keys[2048] = "size=1M fault=";

  for (unsigned i = 0; i < NR (failures); i++)
    snprintf (keys + strlen (keys), sizeof keys - strlen (keys),
              "%ssectors=%u-%u,status=%s", i == 0 ? "" : ";", 8 * i, 8 * i + 7,
              failures[i].status);
  begin (keys, feature_sets[_i]);
  for (unsigned i = 0; i < NR (failures); i++)
    for (unsigned j = 0; j < NR (types); j++)
      expect_failure (&failures[i], types[j]);
  /* A fast zero that cannot be is no mistake of the client's. */
  client_do (&client, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO, 0, 512,
             NBD_ENOTSUP);
  /* A part of a read that fails is none. */
  client_do (&client, NBD_CMD_READ, 0, 100 * KB, 200 * KB, 0);
  client_do (&client, NBD_CMD_READ, 0, 5 * 8 * 512 + 4095, 64 * KB, NBD_EIO);
  end ();
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Durability                                                                */

static void
set_power (bool on)
{
  require (blkmq_disk_set_power (rig_disk (&rig), on, NULL) == 0);
}

static void
cut_power (void)
{
  set_power (false);
  client_do (&client, NBD_CMD_READ, 0, 0, 512, NBD_ESHUTDOWN);
  client_do (&client, NBD_CMD_FLUSH, 0, 0, 0, NBD_ESHUTDOWN);
  client_do_write (&client, 0, ones, 512, NBD_ESHUTDOWN);
  set_power (true);
}

static const char *const volatile_disks[]
    = { "size=1M cache_size=512k", "size=1M cache_size=512k fua=0" };

START_TEST (test_fua_outlives_a_power_cut)
{
  static const uint8_t zeros[PAGE];

  begin (volatile_disks[_i], CLIENT_STRUCTURED);
  write_ones (4 * PAGE, PAGE);
  client_do (&client, NBD_CMD_FLUSH, 0, 0, 0, 0);
  client_write (&client, NBD_CMD_FLAG_FUA, 1, PAGE, ones, PAGE);
  client_expect (&client, 1, 0);
  client_do (&client, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FUA, 4 * PAGE, PAGE,
             0);
  write_ones (8 * PAGE, PAGE);
  client_check (&client, 8 * PAGE, ones, PAGE);
  cut_power ();
  client_check (&client, PAGE, ones, PAGE);
  client_check (&client, 4 * PAGE, zeros, PAGE);
  /* Else the cache would be none, and this no test. */
  client_check (&client, 8 * PAGE, zeros, PAGE);
  end ();
}
END_TEST

/* The promise of multi-conn; they are on two threads. */
START_TEST (test_flush_covers_what_others_were_answered)
{
  static const uint8_t zeros[PAGE];
  struct client other;

  begin (volatile_disks[_i], 0);
  client_open (&other, &rig, CLIENT_STRUCTURED);
  require ((client.transmission_flags & NBD_FLAG_CAN_MULTI_CONN) != 0);
  for (unsigned i = 0; i < 16; i++)
    write_ones (i * (uint64_t)PAGE, PAGE);
  client_do (&other, NBD_CMD_FLUSH, 0, 0, 0, 0);
  client_do_write (&other, 20 * PAGE, ones, PAGE, 0);
  cut_power ();
  for (unsigned i = 0; i < 16; i++)
    client_check (&other, i * (uint64_t)PAGE, ones, PAGE);
  client_check (&client, 20 * PAGE, zeros, PAGE);
  client_close (&other);
  end ();
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("promises");
  TCase *tcase = harness_case (suite, "promises");

  tcase_add_test (tcase, test_status_knows_what_only_the_cache_has);
  tcase_add_test (tcase, test_status_is_clipped_to_what_was_asked);
  tcase_add_test (tcase, test_status_of_many_extents_in_parts);
  tcase_add_test (tcase, test_no_hole_leaves_none);
  tcase_add_loop_test (tcase, test_failures_have_errors_and_texts, 0,
                       NR (feature_sets));
  tcase_add_loop_test (tcase, test_fua_outlives_a_power_cut, 0,
                       NR (volatile_disks));
  tcase_add_loop_test (tcase, test_flush_covers_what_others_were_answered, 0,
                       NR (volatile_disks));
  return harness_main (suite);
}
