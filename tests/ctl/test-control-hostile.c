/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-control-hostile.c: clients of the control server that are malformed,
 * huge, slow, gone, or too many.  Each test ends with a client that is none of
 * that, and is served.
 */

#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

#define MAX_LINE_BYTES 65536
#define MAX_CLIENTS 32

/* Somebody else is served. */
static void
assert_serves (struct server *server)
{
  struct peer *peer = peer_open (server);

  peer_do (peer, "exports");
  peer_close (peer);
}

static void
stop (struct server *server)
{
  assert_serves (server);
  server_stop (server);
}

/* ------------------------------------------------------------------------ */
/* Malformed                                                                 */

START_TEST (test_what_is_not_json_ends_the_connection)
{
  static const struct {
    const char *line;
    size_t nr; /* 0: a string */
  } lines[] = {
    { "", 0 },
    { "hello", 0 },
    { "{", 0 },
    { "{\"command\":\"exports\"} x", 0 },
    { "{\"command\":\"exports\"}{\"command\":\"exports\"}", 0 },
    { "{\"command\":\"exports\",}", 0 },
    { "{'command':'exports'}", 0 },
    { "\"command\"", 0 }, /* not even a value by itself */
    { "{\"command\":\"exports\",\"command\":\"exports\"}", 0 },
    { "{\"id\":1e999,\"command\":\"exports\"}", 0 },
    { "{\"id\":99999999999999999999,\"command\":\"exports\"}", 0 },
    { "{\"id\":\"\xff\",\"command\":\"exports\"}", 0 },
    { "{\"id\":\"\xc0\xaf\",\"command\":\"exports\"}", 0 },
    { "{\"id\":\"\xed\xa0\x80\",\"command\":\"exports\"}", 0 },
    { "{\"id\":\"\\ud800\",\"command\":\"exports\"}", 0 },
    { "{\"id\":\"\\u0000\",\"command\":\"exports\"}", 0 },
    { "{\"command\":\"exports\0\"}", 23 },
    { "\0\0\0\0", 4 },
    { "\x7f"
      "ELF\x02\x01\x01\0\xff\xfe",
      10 },
    { "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11 },
    { "GET / HTTP/1.1\r", 0 },
  };
  struct server *server = server_start ("");

  for (size_t i = 0; i < NR (lines); i++) {
    struct peer *peer = peer_open (server);
    size_t nr = lines[i].nr != 0 ? lines[i].nr : strlen (lines[i].line);

    ck_assert (peer_send (peer, lines[i].line, nr));
    ck_assert (peer_send (peer, "\n", 1));
    peer_gets_error (peer, "EBADMSG", "not JSON");
    assert_closed (peer);
    peer_close (peer);
  }
  stop (server);
}
END_TEST

START_TEST (test_deep_nesting_is_refused)
{
  static char line[MAX_LINE_BYTES];
  struct server *server = server_start ("");
  const char *const brackets[] = { "[", "{\"\":" };

  for (size_t i = 0; i < NR (brackets); i++) {
    struct peer *peer = peer_open (server);

    line[0] = '\0';
    for (size_t n = 0; n + 8 < sizeof line; n += strlen (brackets[i]))
      memcpy (line + n, brackets[i], strlen (brackets[i]) + 1);
    peer_is_refused (peer, line, "EBADMSG", "depth");
    assert_closed (peer);
    peer_close (peer);
  }
  stop (server);
}
END_TEST

/* As deep as a request may be, its answer can be. */
START_TEST (test_deepest_id_comes_back)
{
  enum { DEPTH = 2000 };
  static char line[3 * DEPTH];
  struct server *server = server_start ("");
  struct peer *peer = peer_open (server);
  json_t *answer, *id;
  size_t nr = 0;
  unsigned depth = 0;

  nr += (size_t)sprintf (line, "{\"command\":\"exports\",\"id\":");
  for (unsigned i = 0; i < DEPTH; i++)
    line[nr++] = '[';
  for (unsigned i = 0; i < DEPTH; i++)
    line[nr++] = ']';
  strcpy (line + nr, "}");
  ck_assert (peer_say (peer, line));
  answer = peer_answer (peer);
  for (id = json_at (answer, "id"); json_is_array (id);
       id = json_array_get (id, 0))
    depth++;
  ck_assert_uint_eq (depth, DEPTH);
  json_decref (answer);
  peer_close (peer);
  stop (server);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Huge                                                                      */

/* A request of NR bytes with its newline, blanks for the most part. */
static char *
line_of (size_t nr)
{
  static const char request[] = "{\"command\":\"exports\"}";
  char *line = malloc (nr);

  require (line != NULL && nr >= sizeof request);
  memset (line, ' ', nr);
  memcpy (line, request, sizeof request - 1);
  line[nr - 1] = '\n';
  return line;
}

START_TEST (test_longest_line_is_taken)
{
  struct server *server = server_start ("");
  struct peer *peer = peer_open (server);
  char *line = line_of (MAX_LINE_BYTES);
  json_t *answer;

  /* Wherever in the server's buffer it begins. */
  for (unsigned i = 0; i < 3; i++) {
    peer_do (peer, "exports");
    ck_assert (peer_send (peer, line, MAX_LINE_BYTES));
    answer = peer_answer (peer);
    ck_assert (json_is_true (json_at (answer, "ok")));
    json_decref (answer);
  }
  free (line);
  peer_close (peer);
  stop (server);
}
END_TEST

START_TEST (test_longer_line_ends_the_connection)
{
  struct server *server = server_start ("");
  struct peer *peer = peer_open (server);
  char *line = line_of (MAX_LINE_BYTES + 1);

  peer_do (peer, "exports");
  peer_send (peer, line, MAX_LINE_BYTES + 1);
  peer_gets_error (peer, "EMSGSIZE", "longer than 65536 bytes");
  assert_closed (peer);
  free (line);
  peer_close (peer);
  stop (server);
}
END_TEST

START_TEST (test_endless_line_ends_the_connection)
{
  struct server *server = server_start ("");
  struct peer *peer = peer_open (server);
  char x[4096];

  memset (x, 'x', sizeof x);
  while (peer_send (peer, x, sizeof x))
    continue;
  peer_gets_error (peer, "EMSGSIZE", "longer than 65536 bytes");
  assert_closed (peer);
  peer_close (peer);
  stop (server);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Slow                                                                      */

START_TEST (test_request_may_come_byte_by_byte)
{
  static const char text[] = "{\"command\":\"exports\",\"id\":7}\n";
  struct server *server = server_start ("");
  struct peer *slow = peer_open (server), *other = peer_open (server);
  json_t *answer;

  for (size_t i = 0; i < sizeof text - 1; i++) {
    ck_assert (peer_send (slow, text + i, 1));
    peer_do (other, "exports");
  }
  answer = peer_answer (slow);
  ck_assert_int_eq (number_at (answer, "id"), 7);
  json_decref (answer);
  peer_close (slow);
  peer_close (other);
  stop (server);
}
END_TEST

START_TEST (test_line_without_end_is_not_waited_for)
{
  static const char *const texts[] = { "", "{", "{\"command\":\"exports\"}" };
  struct server *server = server_alloc (1);

  server_open (server, "", 20);
  for (size_t i = 0; i < NR (texts); i++) {
    struct peer *peer = peer_connect (server);
    json_t *greeting;

    /* It may have been closed already, if this thread had to wait. */
    (void)peer_send (peer, texts[i], strlen (texts[i]));
    greeting = peer_answer (peer);
    json_decref (greeting);
    assert_closed (peer);
    peer_close (peer);
  }
  stop (server);
}
END_TEST

/* A client that has asked in time for a server that soon gives up, however
 * long this thread had to wait in between. */
static struct peer *
open_and_ask (struct server *server)
{
  struct peer *peer;
  char *line = NULL;

  for (;;) {
    peer = peer_open (server);
    if (peer_say (peer, "{\"command\":\"exports\"}"))
      line = peer_line (peer);
    if (line != NULL)
      break;
    peer_close (peer);
  }
  free (line);
  return peer;
}

/* As long as its lines are whole a client may be silent. */
START_TEST (test_silent_client_stays)
{
  struct server *server = server_alloc (1);
  struct peer *silent, *stalls;

  server_open (server, "", 20);
  silent = open_and_ask (server);
  for (unsigned i = 0; i < 3; i++) {
    stalls = peer_open (server);
    assert_closed (stalls);
    peer_close (stalls);
  }
  peer_do (silent, "exports");
  peer_close (silent);
  stop (server);
}
END_TEST

/* Requests until the server takes no more of them. */
static void
flood (struct peer *peer, const char *text)
{
  ssize_t sent;

  do
    sent = send (peer->fd, text, strlen (text), MSG_NOSIGNAL | MSG_DONTWAIT);
  while (sent == (ssize_t)strlen (text));
  require (sent >= 0 || errno == EAGAIN || errno == EPIPE
           || errno == ECONNRESET);
}

START_TEST (test_answers_that_nobody_reads_end_the_connection)
{
  struct server *server = server_alloc (1);
  struct peer *deaf, *other;
  char c;
  ssize_t nr;

  server_open (server, "", 50);
  deaf = peer_open (server);
  other = open_and_ask (server);
  flood (deaf, "{\"command\":\"show\"}\n");
  peer_do (other, "show");

  /* Without reading any answer: it ends by itself. */
  do {
    peer_do (other, "exports");
    nr = send (deaf->fd, " ", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (nr == 1 || errno == EAGAIN);
  ck_assert (errno == EPIPE || errno == ECONNRESET);
  while (recv (deaf->fd, &c, 1, 0) == 1)
    continue;
  peer_close (deaf);
  peer_close (other);
  stop (server);
}
END_TEST

/* A client that asks for more than it reads costs an answer, not all answers;
 * and in the end it has them all, in order. */
START_TEST (test_many_requests_at_once_are_answered_in_order)
{
  enum { NR_REQUESTS = 1000 };
  struct server *server = server_start ("");
  struct peer *peer = peer_open (server), *other = peer_open (server);
  unsigned nr_sent = 0, nr_answered = 0;
  json_t *answer;
  char text[64];

  while (nr_answered < NR_REQUESTS) {
    snprintf (text, sizeof text, "{\"command\":\"show\",\"id\":%u}\n", nr_sent);
    if (nr_sent < NR_REQUESTS
        && send (peer->fd, text, strlen (text), MSG_NOSIGNAL | MSG_DONTWAIT)
               == (ssize_t)strlen (text)) {
      nr_sent++;
      continue;
    }
    peer_do (other, "exports");
    answer = peer_answer (peer);
    ck_assert_int_eq (number_at (answer, "id"), nr_answered);
    nr_answered++;
    json_decref (answer);
  }
  peer_close (peer);
  peer_close (other);
  stop (server);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Gone                                                                      */

START_TEST (test_who_sends_no_more_gets_all_answers)
{
  static const char text[] = "{\"command\":\"exports\",\"id\":1}\n"
                             "{\"command\":\"exports\",\"id\":2}\n"
                             "{\"command\":\"freeze\",\"id\":3}\n"
                             "{\"command\":\"unfreeze\",\"id\":4}\n";
  struct server *server = server_start ("");
  struct peer *peer = peer_open (server);
  json_t *answer;

  ck_assert (peer_send (peer, text, sizeof text - 1));
  shutdown (peer->fd, SHUT_WR);
  for (int i = 1; i <= 4; i++) {
    answer = peer_answer (peer);
    ck_assert_int_eq (number_at (answer, "id"), i);
    ck_assert (json_is_true (json_at (answer, "ok")));
    json_decref (answer);
  }
  assert_closed (peer);
  peer_close (peer);
  stop (server);
}
END_TEST

START_TEST (test_last_line_needs_its_end)
{
  static const char text[] = "{\"command\":\"freeze\"}";
  struct server *server = server_start ("");
  struct peer *peer = peer_open (server);
  json_t *shown;

  ck_assert (peer_send (peer, text, sizeof text - 1));
  shutdown (peer->fd, SHUT_WR);
  peer_gets_error (peer, "EBADMSG", "no end");
  assert_closed (peer);
  peer_close (peer);

  peer = peer_open (server);
  shown = peer_ask (peer, "{\"command\":\"show\"}");
  ck_assert_int_eq (number_at (shown, "freezes"), 0);
  json_decref (shown);
  peer_close (peer);
  stop (server);
}
END_TEST

START_TEST (test_client_may_go_at_any_byte)
{
  static const char text[]
      = "{\"command\":\"show\"}\n{\"command\":\"stats\",\"buckets\":true}\n";
  struct server *server = server_start ("iostats=1");

  for (size_t nr = 0; nr < sizeof text; nr++) {
    struct peer *peer = peer_connect (server);

    ck_assert (peer_send (peer, text, nr));
    peer_close (peer);
  }
  stop (server);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Too many                                                                  */

START_TEST (test_one_too_many_is_told_so)
{
  struct server *server = server_start ("");
  struct peer *peers[MAX_CLIENTS], *late;

  for (unsigned i = 0; i < MAX_CLIENTS; i++)
    peers[i] = peer_open (server);
  late = peer_connect (server);
  peer_gets_error (late, "EBUSY", "as many clients");
  assert_closed (late);
  peer_close (late);
  for (unsigned i = 0; i < MAX_CLIENTS; i++)
    peer_do (peers[i], "exports");

  /* The place of one that goes is free, at once. */
  peer_close (peers[5]);
  peers[5] = peer_open (server);
  for (unsigned i = 0; i < MAX_CLIENTS; i++)
    peer_close (peers[i]);
  stop (server);
}
END_TEST

START_TEST (test_longest_silent_client_makes_room)
{
  struct server *server = server_alloc (1);
  struct peer *peers[MAX_CLIENTS], *late;
  char *line = NULL;

  server->silent_ms = 20;
  server_open (server, "", 0);
  for (unsigned i = 0; i < MAX_CLIENTS; i++) {
    peers[i] = peer_open (server);
    peer_do (peers[i], "exports");
  }
  /* The first one has been silent for longest, but none for long; try until
   * it is. */
  do {
    free (line);
    late = peer_connect (server);
    line = peer_line (late);
    require (line != NULL);
    if (strstr (line, "EBUSY") != NULL)
      peer_close (late);
  } while (strstr (line, "EBUSY") != NULL);
  free (line);
  peer_do (late, "exports");
  assert_closed (peers[0]);
  for (unsigned i = 1; i < MAX_CLIENTS; i++)
    peer_do (peers[i], "exports");
  for (unsigned i = 0; i < MAX_CLIENTS; i++)
    peer_close (peers[i]);
  peer_close (late);
  stop (server);
}
END_TEST

START_TEST (test_thousands_of_connections)
{
  struct server *server = server_start ("");
  struct peer *steady = peer_open (server);

  for (unsigned i = 0; i < (SANITIZED ? 2000 : 5000); i++) {
    struct peer *peer = peer_connect (server);

    if (i % 3 == 0)
      peer_say (peer, "{\"command\":\"exports\"}");
    peer_close (peer);
    if (i % 100 == 0)
      peer_do (steady, "exports");
  }
  peer_close (steady);
  stop (server);
}
END_TEST

/* Without file descriptors nobody new is served, and those who are stay. */
START_TEST (test_no_file_descriptor_for_a_connection)
{
  struct server *server = server_start ("");
  struct peer *steady = peer_open (server), *late;
  struct rlimit limit, old;
  int fd;

  fd = dup (0);
  require (fd >= 0 && getrlimit (RLIMIT_NOFILE, &old) == 0);
  close (fd);
  limit = old;
  limit.rlim_cur = (rlim_t)fd + 1; /* for our end */
  require (setrlimit (RLIMIT_NOFILE, &limit) == 0);
  late = peer_connect (server);
  for (unsigned i = 0; i < 100; i++)
    peer_do (steady, "exports");
  require (setrlimit (RLIMIT_NOFILE, &old) == 0);

  json_decref (peer_answer (late)); /* the greeting */
  peer_do (late, "exports");
  peer_close (late);
  peer_close (steady);
  stop (server);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* No memory                                                                 */

static _Atomic int mallocs_left;

static void *
failing_malloc (size_t nr)
{
  if (atomic_fetch_sub (&mallocs_left, 1) == 1)
    return NULL;
  return malloc (nr);
}

/* Each allocation for JSON fails once: the answer says so, or there is none
 * and the connection ends; and the next request is as any other. */
START_TEST (test_lack_of_memory_fails_one_request)
{
  static const char *const requests[]
      = { "{\"command\":\"exports\",\"id\":[1,{\"a\":2}]}",
          "{\"command\":\"stats\",\"buckets\":true}",
          "{\"command\":\"inflight\"}",
          "{\"command\":\"nonsense\"}",
          "{\"command\":\"show\"}",
          "{\"command\":\"set\",\"settings\":"
          "[{\"key\":\"io_timeout\",\"value\":\"7s\"}]}" };
  struct server *server = server_start ("iostats=1");
  struct peer *peer;
  char *line;

  json_set_alloc_funcs (failing_malloc, free);
  for (size_t i = 0; i < NR (requests); i++) {
    unsigned nr_failures = 0;

    for (int n = 1;; n++) {
      peer = peer_open (server);
      atomic_store (&mallocs_left, n);
      ck_assert (peer_say (peer, requests[i]));
      line = peer_line (peer);
      if (line == NULL || strstr (line, "ENOMEM") != NULL)
        nr_failures++;
      free (line);
      peer_close (peer);
      if (atomic_exchange (&mallocs_left, 0) > 0)
        break; /* it needed no more */
    }
    ck_assert_uint_ge (nr_failures, 5);
  }
  json_set_alloc_funcs (malloc, free);
  stop (server);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("control-hostile");
  TCase *tc = harness_case (suite, "malformed");

  tcase_add_test (tc, test_what_is_not_json_ends_the_connection);
  tcase_add_test (tc, test_deep_nesting_is_refused);
  tcase_add_test (tc, test_deepest_id_comes_back);

  tc = harness_case (suite, "huge");
  tcase_add_test (tc, test_longest_line_is_taken);
  tcase_add_test (tc, test_longer_line_ends_the_connection);
  tcase_add_test (tc, test_endless_line_ends_the_connection);

  tc = harness_case (suite, "slow");
  tcase_add_test (tc, test_request_may_come_byte_by_byte);
  tcase_add_test (tc, test_line_without_end_is_not_waited_for);
  tcase_add_test (tc, test_silent_client_stays);
  tcase_add_test (tc, test_answers_that_nobody_reads_end_the_connection);
  tcase_add_test (tc, test_many_requests_at_once_are_answered_in_order);

  tc = harness_case (suite, "gone");
  tcase_add_test (tc, test_who_sends_no_more_gets_all_answers);
  tcase_add_test (tc, test_last_line_needs_its_end);
  tcase_add_test (tc, test_client_may_go_at_any_byte);

  tc = harness_case (suite, "many");
  tcase_add_test (tc, test_one_too_many_is_told_so);
  tcase_add_test (tc, test_longest_silent_client_makes_room);
  tcase_add_test (tc, test_thousands_of_connections);
  tcase_add_test (tc, test_no_file_descriptor_for_a_connection);

  tc = harness_case (suite, "memory");
  tcase_add_test (tc, test_lack_of_memory_fails_one_request);
  return harness_main (suite);
}
