/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-negotiate.c: the handshake: what each option is answered, what is
 * refused, and what ends it.
 */

#include <config.h>

#include <string.h>

#include "negotiate-client.h"

/* ---- greeting and flags ---- */

START_TEST (test_greeting_comes_first)
{
  static const uint8_t greeting[GREETING_BYTES] = "NBDMAGICIHAVEOPT\0\3";

  begin ();
  assert_runs ();
  ck_assert_uint_eq (negotiation.out_bytes, GREETING_BYTES);
  ck_assert_mem_eq (negotiation.out, greeting, GREETING_BYTES);
  ck_assert_uint_eq (negotiation_feed (&negotiation, NULL, 0), 0);
  assert_runs ();
}
END_TEST

START_TEST (test_unknown_client_flags_close)
{
  for (unsigned bit = 0; bit < 32; bit++) {
    uint32_t flags = BOTH_FLAGS | UINT32_C (1) << bit;

    begin_flags (flags);
    send_all ();
    if (flags == BOTH_FLAGS)
      assert_runs ();
    else
      assert_closed ("none but 0x3");
  }
}
END_TEST

START_TEST (test_what_is_no_option_closes)
{
  begin_fixed ();
  say_64 (NBD_OPTS_MAGIC + 1);
  say_64 (0);
  send_all ();
  assert_closed ("0x49484156454f5055");

  begin ();
  say_bytes ("GET / HTTP/1.1\r\n\r\n", 18);
  send_all ();
  assert_closed ("0x47455420");
}
END_TEST

START_TEST (test_without_fixed_newstyle_only_a_name_is_taken)
{
  static const uint32_t flags[] = { 0, NBD_FLAG_NO_ZEROES };

  for (size_t i = 0; i < NR (flags); i++) {
    begin_flags (flags[i]);
    say_head (NBD_OPT_LIST, 0);
    send_all ();
    assert_closed ("NBD_OPT_LIST from a client without fixed newstyle");

    begin_flags (flags[i]);
    say_head (4711, 0);
    send_all ();
    assert_closed ("option 4711");

    begin_flags (flags[i]);
    say_export_name ("a");
    send_all ();
    hear (flags[i] == 0 ? 134 : 10);
    assert_done ("a");
  }
}
END_TEST

/* ---- EXPORT_NAME ---- */

START_TEST (test_export_name_is_answered_with_size_and_flags)
{
  static const uint8_t zeroes[124];
  const uint8_t *p;

  for (unsigned with_zeroes = 0; with_zeroes < 2; with_zeroes++) {
    begin_flags (with_zeroes ? NBD_FLAG_FIXED_NEWSTYLE : BOTH_FLAGS);
    say_export_name ("b");
    send_all ();
    p = hear (10);
    ck_assert_uint_eq (nbd_get64 (p), 65536);
    ck_assert_uint_eq (nbd_get16 (p + 8),
                       READ_ONLY_FLAGS | NBD_FLAG_ROTATIONAL);
    if (with_zeroes)
      ck_assert_mem_eq (hear (sizeof zeroes), zeroes, sizeof zeroes);
    assert_done ("b");
    ck_assert (!negotiation.structured_replies);
    ck_assert (!negotiation.context_allocation);
  }
}
END_TEST

START_TEST (test_export_name_that_is_none_closes)
{
  static const char with_nul[] = "a\0b";
  char long_name[NBD_MAX_STRING_BYTES + 2];

  begin_fixed ();
  say_export_name ("c");
  send_all ();
  assert_closed ("export=c: unknown export; there are export=a, export=b");

  begin_fixed ();
  say_option (NBD_OPT_EXPORT_NAME, with_nul, 3);
  send_all ();
  assert_closed ("NUL");

  memset (long_name, 'x', sizeof long_name);
  begin_fixed ();
  say_option (NBD_OPT_EXPORT_NAME, long_name, NBD_MAX_STRING_BYTES);
  send_all ();
  assert_closed ("unknown export");
  begin_fixed ();
  say_head (NBD_OPT_EXPORT_NAME, NBD_MAX_STRING_BYTES + 1);
  send_all ();
  assert_closed ("NBD_OPT_EXPORT_NAME: 4097 bytes; at most 4096 are allowed");
}
END_TEST

START_TEST (test_one_export_without_a_name_has_all_names)
{
  serve ("size=1M");
  begin_fixed ();
  say_export_name ("whatever");
  send_all ();
  hear (10);
  assert_done ("");

  begin_fixed ();
  say_info (NBD_OPT_GO, "whatever", 1, (const uint16_t[]){ NBD_INFO_NAME });
  send_all ();
  hear_export (NBD_OPT_GO, 1 << 20, FLAGS);
  hear_text (NBD_OPT_GO, NBD_INFO_NAME, "");
  hear_block_size (NBD_OPT_GO, 512, 4096);
  hear_ack (NBD_OPT_GO);
  assert_done ("");
}
END_TEST

/* ---- ABORT, LIST ---- */

START_TEST (test_abort_is_acknowledged_and_needs_no_reason)
{
  for (unsigned bytes = 0; bytes < 2; bytes++) {
    begin_fixed ();
    say_option (NBD_OPT_ABORT, "x", bytes);
    send_all ();
    hear_ack (NBD_OPT_ABORT);
    assert_closed ("");
    ck_assert_str_eq (negotiation.why, "");
  }
}
END_TEST

static void
hear_listed (const char *name, const char *description)
{
  size_t name_bytes = strlen (name), bytes = strlen (description);
  uint8_t data[256];

  ck_assert_uint_le (4 + name_bytes + bytes, sizeof data);
  nbd_put32 (data, (uint32_t)name_bytes);
  memcpy (data + 4, name, name_bytes);
  memcpy (data + 4 + name_bytes, description, bytes);
  hear_data (NBD_OPT_LIST, NBD_REP_SERVER, data, 4 + name_bytes + bytes);
}

START_TEST (test_list_has_each_export_and_its_description)
{
  begin_fixed ();
  say_head (NBD_OPT_LIST, 0);
  send_all ();
  hear_listed ("a", "first");
  hear_listed ("b", "second");
  hear_ack (NBD_OPT_LIST);
  hear_nothing ();
  assert_runs ();

  serve ("size=1M seed=7");
  begin_fixed ();
  say_head (NBD_OPT_LIST, 0);
  send_all ();
  hear_listed ("", "blkmq memory disk, 1 MiB, 1 hctx x 64, irqmode none, "
                   "seed 7");
  hear_ack (NBD_OPT_LIST);
  hear_nothing ();
}
END_TEST

START_TEST (test_longest_list_fits)
{
  char name[4097], description[4097];
  uint32_t bytes;

  exports_free (exports);
  exports = exports_alloc ();
  ck_assert_ptr_nonnull (exports);
  give ("driver", "null");
  give ("size", "1M");
  memset (name, 'n', 4096);
  memset (description, 'd', 4096);
  name[4096] = description[4096] = '\0';
  for (unsigned i = 0; i < 16; i++) {
    name[0] = (char)('A' + i);
    give ("export", name);
    give ("description", description);
  }
  ck_assert_int_eq (exports_check (exports, &error), 0);
  ck_assert_int_eq (exports_set_up (exports, &error), 0);

  begin_fixed ();
  say_head (NBD_OPT_LIST, 0);
  send_all ();
  for (unsigned i = 0; i < 16; i++) {
    const uint8_t *p = hear_reply (NBD_OPT_LIST, NBD_REP_SERVER, &bytes);

    ck_assert_uint_eq (bytes, 4 + 2 * 4096);
    ck_assert_uint_eq (nbd_get32 (p), 4096);
    ck_assert_uint_eq (p[4], 'A' + i);
    ck_assert_uint_eq (p[4 + 4096], 'd');
  }
  hear_ack (NBD_OPT_LIST);
  assert_runs ();

  /* Who does not read that is not told more. */
  say_head (NBD_OPT_LIST, 0);
  send_all ();
  assert_closed ("bytes of answers are still to be sent; at most 65536");
}
END_TEST

/* ---- INFO and GO ---- */

START_TEST (test_info_tells_what_is_asked_for_and_goes_on)
{
  static const uint16_t all[]
      = { NBD_INFO_BLOCK_SIZE, NBD_INFO_DESCRIPTION, 4711,
          NBD_INFO_NAME,       NBD_INFO_EXPORT,      NBD_INFO_NAME };

  for (unsigned go = 0; go < 2; go++) {
    uint32_t option = go ? NBD_OPT_GO : NBD_OPT_INFO;

    begin_fixed ();
    say_info (option, "a", NR (all), all);
    send_all ();
    hear_export (option, 1 << 20, FLAGS);
    hear_text (option, NBD_INFO_NAME, "a");
    hear_text (option, NBD_INFO_DESCRIPTION, "first");
    hear_block_size (option, 512, 4096);
    hear_ack (option);
    if (go)
      assert_done ("a");
    else
      assert_runs ();
  }
}
END_TEST

START_TEST (test_size_and_blocks_are_told_unasked)
{
  begin_fixed ();
  say_info (NBD_OPT_INFO, "b", 0, NULL);
  say_go ("a");
  send_all ();
  hear_export (NBD_OPT_INFO, 65536, READ_ONLY_FLAGS | NBD_FLAG_ROTATIONAL);
  hear_block_size (NBD_OPT_INFO, 4096, 4096);
  hear_ack (NBD_OPT_INFO);
  hear_export (NBD_OPT_GO, 1 << 20, FLAGS);
  hear_block_size (NBD_OPT_GO, 512, 4096);
  hear_ack (NBD_OPT_GO);
  assert_done ("a");
}
END_TEST

static void
assert_block_size (const char *keys, uint32_t minimum, uint32_t preferred)
{
  uint32_t bytes;

  serve (keys);
  begin_fixed ();
  say_go ("");
  send_all ();
  hear_reply (NBD_OPT_GO, NBD_REP_INFO, &bytes);
  hear_block_size (NBD_OPT_GO, minimum, preferred);
  hear_ack (NBD_OPT_GO);
  assert_done ("");
}

START_TEST (test_block_sizes_are_those_of_the_disk)
{
  assert_block_size ("size=1M blocksize=512", 512, 4096);
  assert_block_size ("size=1M blocksize=4096", 4096, 4096);
  assert_block_size ("size=1M blocksize=64K", 65536, 65536);
  /* It ends inside a block. */
  assert_block_size ("size=1000 blocksize=512", 1, 4096);
}
END_TEST

START_TEST (test_flags_are_those_of_the_disk)
{
  serve ("size=1M");
  ck_assert_uint_eq (transmission_flags (export_named (""), false), FLAGS);
  ck_assert_uint_eq (transmission_flags (export_named (""), true),
                     FLAGS | NBD_FLAG_SEND_DF);
  serve ("size=1M rotational=1");
  ck_assert_uint_eq (transmission_flags (export_named (""), false),
                     FLAGS | NBD_FLAG_ROTATIONAL);
  serve ("size=1M readonly=1");
  ck_assert_uint_eq (transmission_flags (export_named (""), true),
                     READ_ONLY_FLAGS | NBD_FLAG_SEND_DF);
  serve ("size=1M discard=0");
  ck_assert_uint_eq (transmission_flags (export_named (""), false),
                     FLAGS & ~NBD_FLAG_SEND_TRIM);
}
END_TEST

START_TEST (test_unknown_export_is_refused_with_those_there_are)
{
  static const uint32_t options[] = { NBD_OPT_INFO, NBD_OPT_GO };

  for (size_t i = 0; i < NR (options); i++) {
    begin_fixed ();
    say_info (options[i], "c", 0, NULL);
    send_all ();
    hear_error (options[i], NBD_REP_ERR_UNKNOWN,
                "export=c: unknown export; there are export=a, export=b");
    say_info (options[i], "", 0, NULL);
    send_all ();
    hear_error (options[i], NBD_REP_ERR_UNKNOWN, "no default export");
    assert_runs ();
    say_info (NBD_OPT_GO, "a", 0, NULL);
    send_all ();
    ck_assert_int_eq (negotiation.state, NEGOTIATION_DONE);
  }
}
END_TEST

START_TEST (test_what_clients_are_told_is_utf8)
{
  /* 63 bytes are repeated: the last has half a character.  And one that is
   * none at all. */
  char name[80];

  memset (name, 'x', sizeof name);
  memcpy (name + 62, "\xc3\xbc", 2);
  name[70] = '\0';
  begin_fixed ();
  say_go (name);
  send_all ();
  hear_error (NBD_OPT_GO, NBD_REP_ERR_UNKNOWN, "xx?...: unknown");
  say_go ("\xff\n");
  send_all ();
  hear_error (NBD_OPT_GO, NBD_REP_ERR_UNKNOWN, "export=??: unknown");
}
END_TEST

/* ---- structured replies and contexts ---- */

START_TEST (test_structured_replies_are_chosen)
{
  begin_fixed ();
  say_head (NBD_OPT_STRUCTURED_REPLY, 0);
  say_head (NBD_OPT_STRUCTURED_REPLY, 0);
  say_go ("a");
  send_all ();
  hear_ack (NBD_OPT_STRUCTURED_REPLY);
  hear_ack (NBD_OPT_STRUCTURED_REPLY);
  hear_export (NBD_OPT_GO, 1 << 20, FLAGS | NBD_FLAG_SEND_DF);
  hear_block_size (NBD_OPT_GO, 512, 4096);
  hear_ack (NBD_OPT_GO);
  assert_done ("a");
  ck_assert (negotiation.structured_replies);
  ck_assert (!negotiation.context_allocation);
}
END_TEST

START_TEST (test_contexts_are_listed)
{
  static const struct {
    const char *queries;
    bool found;
  } cases[] = {
    { NULL, true },
    { "base:", true },
    { "base:allocation", true },
    { "base: base:allocation base:allocation", true },
    { "qemu: base:", true },
    { "base:alloc", false },
    { "base:allocations", false },
    { "base", false },
    { "qemu:dirty-bitmap:x", false },
    { "", false },
  };

  for (size_t i = 0; i < NR (cases); i++) {
    begin_fixed ();
    say_context (NBD_OPT_LIST_META_CONTEXT, "a", cases[i].queries);
    send_all ();
    if (cases[i].found)
      hear_context (NBD_OPT_LIST_META_CONTEXT, 0);
    hear_ack (NBD_OPT_LIST_META_CONTEXT);
    hear_nothing ();
    assert_runs ();
  }
}
END_TEST

START_TEST (test_only_a_whole_name_chooses_a_context)
{
  static const struct {
    const char *queries;
    bool found;
  } cases[] = {
    { NULL, false },
    { "base:allocation", true },
    { "base:allocation base:allocation", true },
    { "qemu:dirty-bitmap:x base:allocation base:x", true },
    { "base:", false },
    { "base:allocatioN", false },
    { "", false },
  };

  for (size_t i = 0; i < NR (cases); i++) {
    begin_structured ();
    say_context (NBD_OPT_SET_META_CONTEXT, "a", cases[i].queries);
    send_all ();
    if (cases[i].found)
      hear_context (NBD_OPT_SET_META_CONTEXT, CONTEXT_ALLOCATION);
    hear_ack (NBD_OPT_SET_META_CONTEXT);
    hear_nothing ();
    say_export_name ("a");
    send_all ();
    hear (10);
    assert_done ("a");
    ck_assert (negotiation.context_allocation == cases[i].found);
  }
}
END_TEST

static bool
has_context_after (const char *last_name, const char *last_queries)
{
  uint32_t bytes;

  begin_structured ();
  say_context (NBD_OPT_SET_META_CONTEXT, "a", "base:allocation");
  send_all ();
  hear_context (NBD_OPT_SET_META_CONTEXT, CONTEXT_ALLOCATION);
  hear_ack (NBD_OPT_SET_META_CONTEXT);
  if (last_name != NULL) {
    say_context (NBD_OPT_SET_META_CONTEXT, last_name, last_queries);
    send_all ();
    while (read_at < negotiation.out_bytes)
      hear_reply (NBD_OPT_SET_META_CONTEXT,
                  nbd_get32 (negotiation.out + read_at + 12), &bytes);
  }
  say_context (NBD_OPT_LIST_META_CONTEXT, "b", "base:");
  say_go ("a");
  send_all ();
  ck_assert_int_eq (negotiation.state, NEGOTIATION_DONE);
  return negotiation.context_allocation;
}

START_TEST (test_last_choice_counts_and_only_for_its_export)
{
  ck_assert (has_context_after (NULL, NULL));
  ck_assert (has_context_after ("a", "base:allocation"));
  ck_assert (!has_context_after ("a", NULL));
  ck_assert (!has_context_after ("a", "base:"));
  ck_assert (!has_context_after ("b", "base:allocation"));
  ck_assert (!has_context_after ("c", "base:allocation"));
}
END_TEST

START_TEST (test_contexts_need_an_export_and_structured_replies)
{
  begin_fixed ();
  say_context (NBD_OPT_SET_META_CONTEXT, "a", "base:allocation");
  send_all ();
  hear_error (NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_INVALID,
              "NBD_OPT_STRUCTURED_REPLY must come before");
  say_context (NBD_OPT_LIST_META_CONTEXT, "c", NULL);
  send_all ();
  hear_error (NBD_OPT_LIST_META_CONTEXT, NBD_REP_ERR_UNKNOWN, "export=c");
  say_head (NBD_OPT_STRUCTURED_REPLY, 0);
  send_all ();
  hear_ack (NBD_OPT_STRUCTURED_REPLY);
  say_context (NBD_OPT_SET_META_CONTEXT, "c", "base:allocation");
  send_all ();
  hear_error (NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_UNKNOWN, "export=c");
  assert_runs ();
}
END_TEST

/* ---- what is not known or malformed ---- */

START_TEST (test_unknown_options_are_not_supported)
{
  static const uint32_t options[] = { 0, 4, 11, 4711, UINT32_MAX };

  begin_fixed ();
  for (size_t i = 0; i < NR (options); i++) {
    say_head (options[i], 0);
    send_all ();
    hear_error (options[i], NBD_REP_ERR_UNSUP, "");
    say_option (options[i], "data", 4);
    send_all ();
    hear_error (options[i], NBD_REP_ERR_UNSUP, "");
    assert_runs ();
  }
}
END_TEST

START_TEST (test_malformed_options_are_refused_and_the_next_is_read)
{
  begin_structured ();
  for (size_t i = 0; i < nr_malformed; i++) {
    say_option (malformed[i].option, malformed[i].data, malformed[i].bytes);
    send_all ();
    hear_error (malformed[i].option, malformed[i].type, malformed[i].says);
    assert_runs ();
  }
  say_go ("a");
  send_all ();
  ck_assert_int_eq (negotiation.state, NEGOTIATION_DONE);
}
END_TEST

START_TEST (test_wrong_queries_choose_no_context)
{
  static const char data[]
      = "\0\0\0\1a\0\0\0\2\0\0\0\17base:allocation\0\0\0\1";

  begin_structured ();
  say_option (NBD_OPT_SET_META_CONTEXT, data, sizeof data - 1);
  send_all ();
  hear_error (NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_INVALID, "string");
  say_go ("a");
  send_all ();
  ck_assert_int_eq (negotiation.state, NEGOTIATION_DONE);
  ck_assert (!negotiation.context_allocation);
}
END_TEST

START_TEST (test_strings_have_a_longest)
{
  static char name[NBD_MAX_STRING_BYTES + 2];

  begin_structured ();
  memset (name, 'x', NBD_MAX_STRING_BYTES + 1);
  say_info (NBD_OPT_INFO, name, 0, NULL);
  send_all ();
  hear_error (NBD_OPT_INFO, NBD_REP_ERR_TOO_BIG, "4097 bytes; at most 4096");
  say_context (NBD_OPT_SET_META_CONTEXT, "a", name);
  send_all ();
  hear_error (NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_TOO_BIG, "at most 4096");
  name[NBD_MAX_STRING_BYTES] = '\0';
  say_info (NBD_OPT_INFO, name, 0, NULL);
  send_all ();
  hear_error (NBD_OPT_INFO, NBD_REP_ERR_UNKNOWN, "unknown export");
  assert_runs ();
}
END_TEST

START_TEST (test_long_options_are_skipped_and_refused)
{
  static const struct {
    uint32_t option, type;
    uint32_t bytes;
  } cases[] = {
    { NBD_OPT_GO, NBD_REP_ERR_INVALID, 65536 },
    { NBD_OPT_GO, NBD_REP_ERR_TOO_BIG, 65537 },
    { NBD_OPT_INFO, NBD_REP_ERR_TOO_BIG, 1 << 20 },
    { NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_TOO_BIG, 1 << 20 },
    { NBD_OPT_LIST, NBD_REP_ERR_INVALID, 1 << 20 },
    { 4711, NBD_REP_ERR_UNSUP, 1 << 20 },
  };

  for (size_t i = 0; i < NR (cases); i++) {
    begin_fixed ();
    say_head (cases[i].option, cases[i].bytes);
    send_all ();
    hear_nothing ();
    say_bytes (filler, cases[i].bytes - 1);
    send_all ();
    hear_nothing ();
    assert_runs ();
    say_bytes (filler, 1);
    send_all ();
    hear_error (cases[i].option, cases[i].type, "");
    say_go ("a");
    send_all ();
    ck_assert_int_eq (negotiation.state, NEGOTIATION_DONE);

    begin_fixed ();
    say_head (cases[i].option, (1 << 20) + 1);
    send_all ();
    assert_closed ("1048577 bytes; at most 1048576");
  }
}
END_TEST

START_TEST (test_options_have_a_largest_number)
{
  unsigned max = 64 + 16 * 2;

  begin_fixed ();
  for (unsigned i = 0; i < max; i++) {
    say_head (4711, 0);
    send_all ();
    assert_runs ();
    read_at = negotiation.out_bytes = 0; /* it was sent */
  }
  say_go ("a");
  send_all ();
  assert_closed ("NBD_OPT_GO: one option too many; at most 96 are allowed");
}
END_TEST

/* ------------------------------------------------------------------------ */

int
main (void)
{
  Suite *suite = suite_create ("negotiate");
  TCase *tcase = harness_case (suite, "negotiate");

  tcase_add_checked_fixture (tcase, client_setup, client_teardown);
  tcase_add_test (tcase, test_greeting_comes_first);
  tcase_add_test (tcase, test_unknown_client_flags_close);
  tcase_add_test (tcase, test_what_is_no_option_closes);
  tcase_add_test (tcase, test_without_fixed_newstyle_only_a_name_is_taken);
  tcase_add_test (tcase, test_export_name_is_answered_with_size_and_flags);
  tcase_add_test (tcase, test_export_name_that_is_none_closes);
  tcase_add_test (tcase, test_one_export_without_a_name_has_all_names);
  tcase_add_test (tcase, test_abort_is_acknowledged_and_needs_no_reason);
  tcase_add_test (tcase, test_list_has_each_export_and_its_description);
  tcase_add_test (tcase, test_longest_list_fits);
  tcase_add_test (tcase, test_info_tells_what_is_asked_for_and_goes_on);
  tcase_add_test (tcase, test_size_and_blocks_are_told_unasked);
  tcase_add_test (tcase, test_block_sizes_are_those_of_the_disk);
  tcase_add_test (tcase, test_flags_are_those_of_the_disk);
  tcase_add_test (tcase, test_unknown_export_is_refused_with_those_there_are);
  tcase_add_test (tcase, test_what_clients_are_told_is_utf8);
  tcase_add_test (tcase, test_structured_replies_are_chosen);
  tcase_add_test (tcase, test_contexts_are_listed);
  tcase_add_test (tcase, test_only_a_whole_name_chooses_a_context);
  tcase_add_test (tcase, test_last_choice_counts_and_only_for_its_export);
  tcase_add_test (tcase, test_contexts_need_an_export_and_structured_replies);
  tcase_add_test (tcase, test_unknown_options_are_not_supported);
  tcase_add_test (tcase,
                  test_malformed_options_are_refused_and_the_next_is_read);
  tcase_add_test (tcase, test_wrong_queries_choose_no_context);
  tcase_add_test (tcase, test_strings_have_a_longest);
  tcase_add_test (tcase, test_long_options_are_skipped_and_refused);
  tcase_add_test (tcase, test_options_have_a_largest_number);
  return harness_main (suite);
}
