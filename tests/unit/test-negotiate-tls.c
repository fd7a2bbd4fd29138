/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-negotiate-tls.c: the handshake of a server that has TLS, or demands it.
 */

#include <config.h>

#include <string.h>

#include "negotiate-client.h"

/* All options but the two that need no TLS. */
static void
say_each_option (uint32_t option)
{
  switch (option) {
  case NBD_OPT_INFO:
  case NBD_OPT_GO:
    say_info (option, "a", 0, NULL);
    break;
  case NBD_OPT_LIST_META_CONTEXT:
  case NBD_OPT_SET_META_CONTEXT:
    say_context (option, "a", "base:allocation");
    break;
  default:
    say_head (option, 0);
    break;
  }
}

static void
start_tls (void)
{
  say_head (NBD_OPT_STARTTLS, 0);
  send_all ();
  hear_ack (NBD_OPT_STARTTLS);
  hear_nothing ();
  ck_assert_int_eq (negotiation.state, NEGOTIATION_START_TLS);
  read_at = negotiation.out_bytes = 0; /* it was sent */
  negotiation_has_tls (&negotiation);
  assert_runs ();
}

START_TEST (test_off_says_so_and_goes_on)
{
  begin_fixed ();
  say_head (NBD_OPT_STARTTLS, 0);
  send_all ();
  hear_error (NBD_OPT_STARTTLS, NBD_REP_ERR_POLICY, "switched off");
  say_option (NBD_OPT_STARTTLS, "data", 4);
  send_all ();
  hear_error (NBD_OPT_STARTTLS, NBD_REP_ERR_POLICY, "switched off");
  assert_runs ();
  say_go ("a");
  send_all ();
  ck_assert_int_eq (negotiation.state, NEGOTIATION_DONE);
}
END_TEST

START_TEST (test_on_leaves_it_to_the_client)
{
  tls = NEGOTIATION_TLS_ON;
  begin_fixed ();
  say_go ("a");
  send_all ();
  ck_assert_int_eq (negotiation.state, NEGOTIATION_DONE);

  begin_fixed ();
  start_tls ();
  say_go ("a");
  send_all ();
  ck_assert_int_eq (negotiation.state, NEGOTIATION_DONE);
}
END_TEST

START_TEST (test_required_answers_nothing_before_it)
{
  static const uint32_t options[] = { NBD_OPT_LIST,
                                      NBD_OPT_INFO,
                                      NBD_OPT_GO,
                                      NBD_OPT_STRUCTURED_REPLY,
                                      NBD_OPT_LIST_META_CONTEXT,
                                      NBD_OPT_SET_META_CONTEXT,
                                      0,
                                      4711 };

  tls = NEGOTIATION_TLS_REQUIRED;
  begin_fixed ();
  for (size_t i = 0; i < NR (options); i++) {
    say_each_option (options[i]);
    send_all ();
    hear_error (options[i], NBD_REP_ERR_TLS_REQD, "TLS is required");
    /* Whatever is wrong with it, and however long it is. */
    say_option (options[i], filler, 70000);
    send_all ();
    hear_error (options[i], NBD_REP_ERR_TLS_REQD, "TLS is required");
    assert_runs ();
  }
  ck_assert (!negotiation.structured_replies);
  ck_assert_ptr_null (negotiation.priv.data);

  read_at = negotiation.out_bytes = 0;
  start_tls ();
  say_head (NBD_OPT_STRUCTURED_REPLY, 0);
  send_all ();
  hear_ack (NBD_OPT_STRUCTURED_REPLY);
}
END_TEST

START_TEST (test_required_closes_on_an_export_name)
{
  static const uint32_t flags[]
      = { 0, NBD_FLAG_NO_ZEROES, NBD_FLAG_FIXED_NEWSTYLE, BOTH_FLAGS };

  tls = NEGOTIATION_TLS_REQUIRED;
  for (size_t i = 0; i < NR (flags); i++) {
    begin_flags (flags[i]);
    say_export_name ("a");
    send_all ();
    assert_closed ("NBD_OPT_EXPORT_NAME without TLS");
    ck_assert_ptr_null (negotiation.export);
  }

  begin_fixed ();
  start_tls ();
  say_export_name ("a");
  send_all ();
  hear (10);
  assert_done ("a");
}
END_TEST

START_TEST (test_required_lets_go)
{
  tls = NEGOTIATION_TLS_REQUIRED;
  begin_fixed ();
  say_head (NBD_OPT_ABORT, 0);
  send_all ();
  hear_ack (NBD_OPT_ABORT);
  assert_closed ("");
}
END_TEST

START_TEST (test_only_fixed_newstyle_has_it)
{
  tls = NEGOTIATION_TLS_ON;
  begin_flags (NBD_FLAG_NO_ZEROES);
  say_head (NBD_OPT_STARTTLS, 0);
  send_all ();
  assert_closed ("NBD_OPT_STARTTLS from a client without fixed newstyle");
}
END_TEST

START_TEST (test_starttls_has_no_data)
{
  tls = NEGOTIATION_TLS_REQUIRED;
  begin_fixed ();
  say_option (NBD_OPT_STARTTLS, "data", 4);
  send_all ();
  hear_error (NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID, "4 bytes");
  assert_runs ();
  read_at = negotiation.out_bytes = 0;
  start_tls ();
}
END_TEST

START_TEST (test_a_second_starttls_is_refused)
{
  tls = NEGOTIATION_TLS_REQUIRED;
  begin_fixed ();
  start_tls ();
  for (unsigned i = 0; i < 2; i++) {
    say_option (NBD_OPT_STARTTLS, "data", i == 0 ? 0 : 4);
    send_all ();
    hear_error (NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID, "has TLS already");
    assert_runs ();
  }
}
END_TEST

/* Whoever is on the way may have said all that. */
START_TEST (test_what_was_chosen_before_is_forgotten)
{
  tls = NEGOTIATION_TLS_ON;
  begin_structured ();
  say_context (NBD_OPT_SET_META_CONTEXT, "a", "base:allocation");
  send_all ();
  hear_context (NBD_OPT_SET_META_CONTEXT, CONTEXT_ALLOCATION);
  hear_ack (NBD_OPT_SET_META_CONTEXT);
  start_tls ();

  say_context (NBD_OPT_SET_META_CONTEXT, "a", "base:allocation");
  send_all ();
  hear_error (NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_INVALID,
              "NBD_OPT_STRUCTURED_REPLY must come before");
  say_export_name ("a");
  send_all ();
  ck_assert_int_eq (negotiation.state, NEGOTIATION_DONE);
  ck_assert (!negotiation.structured_replies);
  ck_assert (!negotiation.context_allocation);
}
END_TEST

/* In one piece with it, or in two: it is not taken. */
START_TEST (test_what_follows_starttls_is_not_taken)
{
  for (unsigned required = 0; required < 2; required++) {
    size_t nr;

    tls = required ? NEGOTIATION_TLS_REQUIRED : NEGOTIATION_TLS_ON;
    begin_fixed ();
    say_head (NBD_OPT_STARTTLS, 0);
    nr = message.nr;
    say_head (NBD_OPT_STRUCTURED_REPLY, 0);
    say_go ("a");
    ck_assert_uint_eq (
        negotiation_feed (&negotiation, message.bytes, message.nr), nr);
    ck_assert_int_eq (negotiation.state, NEGOTIATION_START_TLS);
    hear_ack (NBD_OPT_STARTTLS);
    hear_nothing ();
    ck_assert_uint_eq (
        negotiation_feed (&negotiation, message.bytes + nr, message.nr - nr),
        0);
    hear_nothing ();
    ck_assert_int_eq (negotiation.state, NEGOTIATION_START_TLS);
  }
}
END_TEST

START_TEST (test_options_are_counted_on)
{
  unsigned nr = 0;

  tls = NEGOTIATION_TLS_REQUIRED;
  begin_fixed ();
  for (; nr < 95; nr++)
    say_head (NBD_OPT_LIST, 0);
  send_all ();
  assert_runs ();
  read_at = negotiation.out_bytes;
  start_tls ();
  say_head (NBD_OPT_LIST, 0);
  send_all ();
  assert_closed ("NBD_OPT_LIST: one option too many");
}
END_TEST

/* ------------------------------------------------------------------------ */

int
main (void)
{
  Suite *suite = suite_create ("negotiate-tls");
  TCase *tcase = harness_case (suite, "negotiate-tls");

  tcase_add_checked_fixture (tcase, client_setup, client_teardown);
  tcase_add_test (tcase, test_off_says_so_and_goes_on);
  tcase_add_test (tcase, test_on_leaves_it_to_the_client);
  tcase_add_test (tcase, test_required_answers_nothing_before_it);
  tcase_add_test (tcase, test_required_closes_on_an_export_name);
  tcase_add_test (tcase, test_required_lets_go);
  tcase_add_test (tcase, test_only_fixed_newstyle_has_it);
  tcase_add_test (tcase, test_starttls_has_no_data);
  tcase_add_test (tcase, test_a_second_starttls_is_refused);
  tcase_add_test (tcase, test_what_was_chosen_before_is_forgotten);
  tcase_add_test (tcase, test_what_follows_starttls_is_not_taken);
  tcase_add_test (tcase, test_options_are_counted_on);
  return harness_main (suite);
}
