/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-control-faults.c: fault rules and power over the control socket, and
 * that they end what a blocked command waits for.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "peer.h"

/* A disk that remembers, with all layers there and off. */
static struct server *
start_memory (const char *keys)
{
  struct server *server = server_alloc (1);
  char all[256];

  server->beds[0]->script.driver = "memory";
  snprintf (all, sizeof all, "live=1 %s", keys);
  server_open (server, all, 0);
  return server;
}

static void
do_io (struct server *server, struct test_io *t, enum blkmq_op op,
       enum blkmq_status wanted)
{
  struct bed *bed = server->beds[0];

  test_io_init (t, bed, op, 0);
  blkmq_submit (bed->submitter, &t->io);
  await (t->nr_ends == 1);
  assert_ended (t, wanted);
}

START_TEST (test_faults_come_and_go)
{
  struct server *server = start_memory ("");
  struct peer *peer = peer_open (server);
  struct test_io t;
  json_t *got;
  json_int_t first, second;
  char text[128];

  got = peer_ask (peer, "{\"command\":\"fault-list\"}");
  ck_assert_uint_eq (json_array_size (json_at (got, "faults")), 0);
  json_decref (got);

  got = peer_ask (peer, "{\"command\":\"fault-add\","
                        "\"rule\":\"op=read,status=medium\"}");
  first = number_at (got, "fault");
  json_decref (got);
  got = peer_ask (peer, "{\"command\":\"fault-add\","
                        "\"rule\":\"op=flush,errno=ENOSPC\"}");
  second = number_at (got, "fault");
  json_decref (got);
  ck_assert_int_ne (first, second);

  do_io (server, &t, BLKMQ_OP_READ, BLKMQ_STS_MEDIUM);
  do_io (server, &t, BLKMQ_OP_READ, BLKMQ_STS_MEDIUM);
  do_io (server, &t, BLKMQ_OP_WRITE, BLKMQ_STS_OK);
  got = peer_ask (peer, "{\"command\":\"fault-list\"}");
  ck_assert_uint_eq (json_array_size (json_at (got, "faults")), 2);
  ck_assert_int_eq (number_at (got, "faults.0.fault"), first);
  ck_assert_int_eq (number_at (got, "faults.0.hits"), 2);
  ck_assert_int_eq (number_at (got, "faults.0.held"), 0);
  ck_assert_int_eq (number_at (got, "faults.1.fault"), second);
  ck_assert_int_eq (number_at (got, "faults.1.hits"), 0);
  ck_assert_ptr_nonnull (strstr (text_at (got, "faults.0.rule"), "medium"));
  json_decref (got);

  snprintf (text, sizeof text,
            "{\"command\":\"fault-delete\",\"fault\":%" JSON_INTEGER_FORMAT "}",
            first);
  json_decref (peer_ask (peer, text));
  do_io (server, &t, BLKMQ_OP_READ, BLKMQ_STS_OK);
  peer_is_refused (peer, text, "ENOENT", "");
  peer_close (peer);
  server_stop (server);
}
END_TEST

START_TEST (test_wrong_faults_are_refused)
{
  static const struct {
    const char *request, *part;
  } table[] = {
    { "{\"command\":\"fault-add\"}", "\"rule\": fault-add needs it" },
    { "{\"command\":\"fault-add\",\"rule\":7}", "\"rule\": must be a string" },
    { "{\"command\":\"fault-add\",\"rule\":\"op=nonsense\"}", "nonsense" },
    { "{\"command\":\"fault-delete\",\"fault\":\"1\"}", "\"fault\"" },
    { "{\"command\":\"fault-delete\",\"fault\":0}",
      "from 1 to 9223372036854775807" },
    { "{\"command\":\"fault-list\",\"max\":1}", "\"max\"" },
    { "{\"command\":\"power\"}", "\"on\": power needs it" },
    { "{\"command\":\"power\",\"on\":1}", "\"on\": must be true or false" },
  };
  struct server *server = start_memory ("");
  struct peer *peer = peer_open (server);

  for (size_t i = 0; i < NR (table); i++)
    peer_is_refused (peer, table[i].request, "EINVAL", table[i].part);
  peer_close (peer);
  server_stop (server);
}
END_TEST

START_TEST (test_disk_without_the_layer_has_no_faults)
{
  struct server *server = server_start ("live=0");
  struct peer *peer = peer_open (server);

  peer_is_refused (peer,
                   "{\"command\":\"fault-add\",\"rule\":\"status=ioerr\"}",
                   "EOPNOTSUPP", "");
  peer_close (peer);
  server_stop (server);
}
END_TEST

/* A freeze waits for what hangs, and another client ends that. */
START_TEST (test_deleted_fault_ends_what_a_freeze_waits_for)
{
  struct server *server = start_memory ("");
  struct peer *waits = peer_open (server), *other = peer_open (server);
  struct bed *bed = server->beds[0];
  struct test_io t;
  json_t *got;
  json_int_t held;

  json_decref (peer_ask (other, "{\"command\":\"fault-add\","
                                "\"rule\":\"op=read,hang\"}"));
  test_io_submit (&t, bed, 0);
  do {
    got = peer_ask (other, "{\"command\":\"fault-list\"}");
    held = number_at (got, "faults.0.held");
    json_decref (got);
  } while (held != 1);
  ck_assert (peer_say (waits, "{\"command\":\"freeze\"}"));
  peer_do (other, "show");
  assert_not_ended (&t);
  json_decref (peer_ask (other, "{\"command\":\"fault-delete\",\"fault\":1}"));
  got = peer_answer (waits);
  ck_assert (json_is_true (json_at (got, "ok")));
  json_decref (got);
  assert_ended (&t, BLKMQ_STS_OK);
  peer_close (waits);
  peer_close (other);
  server_stop (server);
}
END_TEST

static void
set_power (struct peer *peer, bool on)
{
  json_t *shown;

  json_decref (peer_ask (peer, on ? "{\"command\":\"power\",\"on\":true}"
                                  : "{\"command\":\"power\",\"on\":false}"));
  shown = peer_ask (peer, "{\"command\":\"show\"}");
  ck_assert (json_is_true (json_at (shown, "power")) == on);
  json_decref (shown);
}

START_TEST (test_power_is_cut_and_comes_back)
{
  struct server *server = start_memory ("");
  struct peer *peer = peer_open (server);
  struct test_io t;

  do_io (server, &t, BLKMQ_OP_WRITE, BLKMQ_STS_OK);
  set_power (peer, false);
  do_io (server, &t, BLKMQ_OP_READ, BLKMQ_STS_OFFLINE);
  set_power (peer, false);
  set_power (peer, true);
  do_io (server, &t, BLKMQ_OP_READ, BLKMQ_STS_OK);
  peer_close (peer);
  server_stop (server);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("control-faults");
  TCase *tc = harness_case (suite, "faults");

  tcase_add_test (tc, test_faults_come_and_go);
  tcase_add_test (tc, test_wrong_faults_are_refused);
  tcase_add_test (tc, test_disk_without_the_layer_has_no_faults);
  tcase_add_test (tc, test_deleted_fault_ends_what_a_freeze_waits_for);

  tc = harness_case (suite, "power");
  tcase_add_test (tc, test_power_is_cut_and_comes_back);
  return harness_main (suite);
}
