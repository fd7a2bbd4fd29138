/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-negotiate-pieces.c: the handshake in pieces of any size, cut off
 * anywhere, changed at random, and without memory.
 */

#include <config.h>

#include <string.h>

#include "negotiate-client.h"

/* ---- pieces ---- */

/* Options of all kinds, good and bad; the last begins transmission. */
static void
say_everything (void)
{
  static const uint16_t infos[] = { NBD_INFO_NAME, NBD_INFO_DESCRIPTION };

  begin_fixed ();
  say_head (NBD_OPT_STARTTLS, 0);
  say_head (NBD_OPT_STRUCTURED_REPLY, 0);
  say_head (NBD_OPT_LIST, 0);
  for (size_t i = 0; i < nr_malformed; i++)
    say_option (malformed[i].option, malformed[i].data, malformed[i].bytes);
  say_option (4711, filler, 600);
  say_option (NBD_OPT_GO, filler, 70000);
  say_context (NBD_OPT_LIST_META_CONTEXT, "b", "base: qemu:");
  say_info (NBD_OPT_INFO, "b", NR (infos), infos);
  say_context (NBD_OPT_SET_META_CONTEXT, "a", "x:y base:allocation");
  say_go ("c");
  say_go ("a");
}

static uint8_t expected[1 << 16];
static size_t expected_bytes;

/* What everything is answered if it comes at once. */
static void
expect_everything (void)
{
  say_everything ();
  ck_assert_uint_eq (negotiation_feed (&negotiation, message.bytes, message.nr),
                     message.nr);
  ck_assert_int_eq (negotiation.state, NEGOTIATION_DONE);
  ck_assert_uint_le (negotiation.out_bytes, sizeof expected);
  memcpy (expected, negotiation.out, negotiation.out_bytes);
  expected_bytes = negotiation.out_bytes;
}

static void
assert_everything (void)
{
  ck_assert_uint_eq (negotiation.out_bytes, expected_bytes);
  ck_assert_mem_eq (negotiation.out, expected, expected_bytes);
  ck_assert_ptr_eq (negotiation.export, export_named ("a"));
  ck_assert (negotiation.structured_replies);
  ck_assert (negotiation.context_allocation);
}

START_TEST (test_pieces_of_any_size_have_the_same_answers)
{
  static const size_t sizes[] = { 1, 2, 3, 7, 16, 17, 100, 4096 };

  expect_everything ();
  for (size_t i = 0; i < NR (sizes); i++) {
    size_t at = 0;

    say_everything ();
    while (at < message.nr) {
      size_t nr = message.nr - at < sizes[i] ? message.nr - at : sizes[i];

      assert_runs ();
      require (negotiation_feed (&negotiation, message.bytes + at, nr) == nr);
      at += nr;
    }
    ck_assert_int_eq (negotiation.state, NEGOTIATION_DONE);
    assert_everything ();
  }
}
END_TEST

START_TEST (test_random_pieces_have_the_same_answers)
{
  struct rng rng;

  rng_init (&rng, 0);
  expect_everything ();
  for (unsigned round = 0; round < 100; round++) {
    size_t at = 0;

    say_everything ();
    while (at < message.nr) {
      size_t nr = 1 + rng_below (&rng, rng_percent (&rng, 10) ? 5000 : 40);

      if (nr > message.nr - at)
        nr = message.nr - at;
      require (negotiation_feed (&negotiation, message.bytes + at, nr) == nr);
      at += nr;
    }
    assert_everything ();
  }
}
END_TEST

START_TEST (test_what_follows_go_belongs_to_transmission)
{
  for (unsigned go = 0; go < 2; go++) {
    size_t nr;

    begin_fixed ();
    if (go)
      say_go ("a");
    else
      say_export_name ("a");
    nr = message.nr;
    say_32 (NBD_REQUEST_MAGIC);
    ck_assert_uint_eq (
        negotiation_feed (&negotiation, message.bytes, message.nr), nr);
    ck_assert_int_eq (negotiation.state, NEGOTIATION_DONE);
    ck_assert_uint_eq (
        negotiation_feed (&negotiation, message.bytes + nr, message.nr - nr),
        0);
  }
}
END_TEST

/* ---- cut off anywhere ---- */

static void
say_last_option (unsigned which)
{
  static const uint16_t infos[] = { NBD_INFO_NAME, NBD_INFO_DESCRIPTION };

  switch (which) {
  case 0:
    say_export_name ("a");
    break;
  case 1:
    say_option (NBD_OPT_ABORT, "bye", 3);
    break;
  case 2:
    say_head (NBD_OPT_LIST, 0);
    break;
  case 3:
    say_option (NBD_OPT_STARTTLS, "xyz", 3);
    break;
  case 4:
    say_info (NBD_OPT_INFO, "b", NR (infos), infos);
    break;
  case 5:
    say_info (NBD_OPT_GO, "a", NR (infos), infos);
    break;
  case 6:
    say_head (NBD_OPT_STRUCTURED_REPLY, 0);
    break;
  case 7:
    say_context (NBD_OPT_LIST_META_CONTEXT, "a", "base: x:y");
    break;
  case 8:
    say_context (NBD_OPT_SET_META_CONTEXT, "a", "x:y base:allocation");
    break;
  case 9:
    say_option (4711, filler, 100);
    break;
  default:
    say_option (NBD_OPT_GO, filler, 65537);
    break;
  }
}

#define NR_LAST_OPTIONS 11

/* Nothing is answered before its last byte, and what there is of it is freed,
 * which valgrind and the sanitizers see. */
START_TEST (test_each_option_cut_off_anywhere_is_waited_for)
{
  for (unsigned which = 0; which < NR_LAST_OPTIONS; which++) {
    size_t before, nr, out_bytes;

    begin_structured ();
    say_head (NBD_OPT_LIST, 0);
    send_all ();
    out_bytes = negotiation.out_bytes;
    say_last_option (which);
    nr = message.nr;

    for (size_t cut = 0; cut < nr; cut += cut < 4200 ? 1 : 997) {
      begin_fixed ();
      say_head (NBD_OPT_STRUCTURED_REPLY, 0);
      say_head (NBD_OPT_LIST, 0);
      before = message.nr;
      say_last_option (which);
      require (message.nr == before + nr);
      require (negotiation_feed (&negotiation, message.bytes, before + cut)
               == before + cut);
      require (negotiation.state == NEGOTIATION_RUNS);
      require (negotiation.out_bytes == out_bytes);
    }
    ck_assert_uint_eq (
        negotiation_feed (&negotiation, message.bytes + message.nr - 1, 1), 1);
    if (nr < 4200)
      ck_assert_uint_gt (negotiation.out_bytes, out_bytes);
  }
}
END_TEST

START_TEST (test_flags_cut_off_are_waited_for)
{
  for (size_t cut = 0; cut < 4; cut++) {
    begin_flags (UINT32_MAX);
    ck_assert_uint_eq (negotiation_feed (&negotiation, message.bytes, cut),
                       cut);
    assert_runs ();
    hear_nothing ();
  }
}
END_TEST

/* ---- garbage ---- */

/* Whatever comes, what is answered is replies, and there is a reason for the
 * end. */
START_TEST (test_garbage_is_survived)
{
  struct rng rng;

  rng_init (&rng, 1);
  for (unsigned round = 0; round < 3000; round++) {
    unsigned nr_changes = 1 + (unsigned)rng_below (&rng, 8);
    size_t taken;

    begin_fixed ();
    say_head (NBD_OPT_STRUCTURED_REPLY, 0);
    for (unsigned i = 0; i < 3; i++)
      say_last_option ((unsigned)rng_below (&rng, NR_LAST_OPTIONS - 1));
    for (unsigned i = 0; i < nr_changes; i++)
      message.bytes[rng_below (&rng, message.nr)] = (uint8_t)rng_next (&rng);
    taken = negotiation_feed (&negotiation, message.bytes, message.nr);
    require (taken <= message.nr);
    require (negotiation.state != NEGOTIATION_RUNS || taken == message.nr);
    require (negotiation.state != NEGOTIATION_DONE
             || negotiation.export != NULL);
    require (negotiation.why[0] == '\0'
             || negotiation.state == NEGOTIATION_CLOSE);
    while (negotiation.state == NEGOTIATION_RUNS
           && read_at < negotiation.out_bytes) {
      uint32_t bytes, type = nbd_get32 (negotiation.out + read_at + 12);

      hear_reply (nbd_get32 (negotiation.out + read_at + 8), type, &bytes);
    }
  }
}
END_TEST

/* ---- no memory ---- */

START_TEST (test_lack_of_memory_closes_without_half_an_answer)
{
  unsigned n = 0;
  bool failed = true;

  expect_everything ();
  while (failed) {
    size_t at = 0;

    n++;
    fail_memory_at = n;
    say_everything ();
    while (at < message.nr && negotiation.state == NEGOTIATION_RUNS)
      at += negotiation_feed (&negotiation, message.bytes + at, 1);
    failed = fail_memory_at == 0;
    fail_memory_at = 0;
    if (failed) {
      const uint8_t *p = expected;

      ck_assert_int_eq (negotiation.state, NEGOTIATION_CLOSE);
      ck_assert_ptr_nonnull (strstr (negotiation.why, "no memory"));
      ck_assert_uint_lt (negotiation.out_bytes, expected_bytes);
      if (negotiation.out_bytes > 0)
        ck_assert_mem_eq (negotiation.out, p, negotiation.out_bytes);
      /* Where it stops an answer ends. */
      for (p += GREETING_BYTES; p < expected + negotiation.out_bytes;)
        p += 20 + nbd_get32 (p + 16);
      if (negotiation.out_bytes > 0)
        ck_assert_ptr_eq (p, expected + negotiation.out_bytes);
    }
  }
  assert_everything ();
  ck_assert_uint_gt (n, 10);
}
END_TEST

START_TEST (test_room_is_for_what_came_and_not_for_what_was_promised)
{
  begin_fixed ();
  say_head (NBD_OPT_GO, 65536);
  max_realloc_bytes = 0;
  send_all ();
  ck_assert_uint_eq (max_realloc_bytes, 0);
  for (unsigned i = 1; i < 65536; i++) {
    say_bytes ("", 1);
    send_all ();
    ck_assert_uint_le (max_realloc_bytes, i < 512 ? 512 : 2 * i);
  }
  assert_runs ();
  ck_assert_ptr_nonnull (negotiation.priv.data);
  say_bytes ("", 1);
  send_all ();
  ck_assert_ptr_null (negotiation.priv.data);
}
END_TEST

START_TEST (test_nothing_is_kept_of_what_comes_at_once)
{
  begin_fixed ();
  say_go ("c");
  send_all ();
  max_realloc_bytes = 0;
  say_context (NBD_OPT_LIST_META_CONTEXT, "a", "base:");
  send_all ();
  ck_assert_uint_eq (max_realloc_bytes, 0);
}
END_TEST

/* ------------------------------------------------------------------------ */

int
main (void)
{
  Suite *suite = suite_create ("negotiate-pieces");
  TCase *tcase = harness_case (suite, "negotiate-pieces");

  tcase_add_checked_fixture (tcase, client_setup, client_teardown);
  tcase_add_test (tcase, test_pieces_of_any_size_have_the_same_answers);
  tcase_add_test (tcase, test_random_pieces_have_the_same_answers);
  tcase_add_test (tcase, test_what_follows_go_belongs_to_transmission);
  tcase_add_test (tcase, test_each_option_cut_off_anywhere_is_waited_for);
  tcase_add_test (tcase, test_flags_cut_off_are_waited_for);
  tcase_add_test (tcase, test_garbage_is_survived);
  tcase_add_test (tcase, test_lack_of_memory_closes_without_half_an_answer);
  tcase_add_test (tcase,
                  test_room_is_for_what_came_and_not_for_what_was_promised);
  tcase_add_test (tcase, test_nothing_is_kept_of_what_comes_at_once);
  return harness_main (suite);
}
