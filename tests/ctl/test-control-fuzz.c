/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-control-fuzz.c: several clients at once say at random what is right,
 * nearly right, or noise, in pieces of any size, and leave when they like,
 * while I/O goes on.  Whoever stays gets exactly one answer to each line, with
 * its id, up to the first line that is not JSON, and then the end.
 *
 * What a session sends follows from the seed; how sessions meet does not.
 */

#include <config.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

#define NR_CLIENTS 4
#define NR_SESSIONS (SANITIZED ? 100 : 250)
#define MAX_LINES 16
#define MAX_LINE_BYTES 65536

static struct server *server;
static _Atomic bool load_is_over;

/* ------------------------------------------------------------------------ */
/* What is said                                                              */

/* No key here can, however its value is changed, make an io take long or a
 * disk large. */
static const char *const phrases[] = {
  "{\"command\":\"exports\"}",
  "{\"command\":\"show\"}",
  "{\"command\":\"show\",\"export\":\"second\",\"id\":\"\\u00e9\"}",
  "{\"command\":\"get\",\"keys\":[\"size\",\"scheduler\",\"nr_requests\"]}",
  "{\"id\":12,\"command\":\"set\",\"settings\":"
  "[{\"key\":\"scheduler\",\"value\":\"mq-deadline\"},"
  "{\"key\":\"nr_requests\",\"value\":\"8\"}]}",
  "{\"id\":[1,{}],\"command\":\"set\",\"settings\":"
  "[{\"key\":\"scheduler\",\"value\":\"none\"}]}",
  "{\"command\":\"set\",\"settings\":"
  "[{\"key\":\"submit_queues\",\"value\":\"2\"},"
  "{\"key\":\"iostats\",\"value\":\"1\"}]}",
  "{\"command\":\"set\",\"export\":\"second\",\"settings\":"
  "[{\"key\":\"nomerges\",\"value\":\"1\"}]}",
  "{\"command\":\"stats\",\"buckets\":true,\"id\":-1.5e3}",
  "{\"command\":\"stats\",\"export\":\"second\"}",
  "{\"command\":\"reset-stats\",\"id\":null}",
  "{\"command\":\"freeze\"}",
  "{\"command\":\"unfreeze\"}",
  "{\"command\":\"unfreeze\",\"id\":{\"a\":[true,false,null]}}",
  "{\"command\":\"inflight\",\"max\":3}",
  "{\"command\":\"nonsense\"}",
  "[]",
  "{}",
  "",
};

struct text {
  char *bytes;
  size_t nr, room;
};

static void
add (struct text *text, const char *bytes, size_t nr)
{
  if (text->nr + nr > text->room) {
    text->room = 2 * (text->nr + nr);
    text->bytes = realloc (text->bytes, text->room);
    require (text->bytes != NULL);
  }
  if (nr > 0)
    memcpy (text->bytes + text->nr, bytes, nr);
  text->nr += nr;
}

/* Change a few bytes, or parts, of what begins at START. */
static void
mutate (struct rng *rng, struct text *text, size_t start)
{
  static const char signs[] = "{}[]\",:\\\n0-.e\x00\x80\xff tfn";
  size_t nr = text->nr - start, at, length;
  char copy[64];

  if (nr == 0)
    return;
  at = start + rng_below (rng, nr);
  length = rng_below (rng, text->nr - at < 64 ? text->nr - at + 1 : 64);
  switch (rng_below (rng, 5)) {
  case 0:
    text->bytes[at] = (char)rng_next (rng);
    break;
  case 1:
    text->bytes[at] = signs[rng_below (rng, sizeof signs - 1)];
    break;
  case 2: /* leave out */
    memmove (text->bytes + at, text->bytes + at + length,
             text->nr - at - length);
    text->nr -= length;
    break;
  case 3: /* twice */
    memcpy (copy, text->bytes + at, length);
    add (text, copy, length);
    break;
  default: /* cut off */
    text->nr = at;
  }
}

static void
add_line (struct rng *rng, struct text *text)
{
  size_t start = text->nr, nr_blanks = 0;
  const char *phrase = phrases[rng_below (rng, NR (phrases))];

  add (text, phrase, strlen (phrase));
  if (rng_percent (rng, 25)) {
    do
      mutate (rng, text, start);
    while (rng_percent (rng, 50));
  }
  /* About as long as may be. */
  if (rng_percent (rng, 3))
    nr_blanks = MAX_LINE_BYTES - 40 + rng_below (rng, 40);
  for (size_t i = 0; i < nr_blanks; i++)
    add (text, " ", 1);
  if (rng_percent (rng, 98))
    add (text, "\n", 1);
}

/* ------------------------------------------------------------------------ */
/* What must be answered                                                     */

static void
check_answer (char *line, json_t *id, const char *error)
{
  json_t *answer = json_loads (line, JSON_REJECT_DUPLICATES, NULL);
  json_t *ok = json_object_get (answer, "ok");

  require (json_is_object (answer) && json_is_boolean (ok));
  require (json_equal (json_object_get (answer, "id"), id));
  if (json_is_true (ok))
    require (json_is_object (json_object_get (answer, "result")));
  else {
    json_t *e = json_object_get (answer, "error");
    const char *name = json_string_value (json_object_get (e, "errno"));

    require (name != NULL && json_is_string (json_object_get (e, "message")));
    require (error == NULL || strcmp (name, error) == 0);
  }
  require (error == NULL || json_is_false (ok));
  require (json_object_size (answer) == 3);
  json_decref (answer);
}

static char *
next_line (struct text *in, size_t *at)
{
  char *line = in->bytes + *at;
  char *end = *at < in->nr ? memchr (line, '\n', in->nr - *at) : NULL;

  if (end == NULL)
    return NULL;
  *end = '\0';
  *at += (size_t)(end - line) + 1;
  return line;
}

/* SAID, then no more, has been answered by HEARD, to its end. */
static void
check_session (const struct text *said, struct text *heard)
{
  json_t *null = json_null (), *request, *id;
  size_t at = 0, heard_at = 0;
  char *line = next_line (heard, &heard_at);

  require (line != NULL && strstr (line, "\"protocol\":1") != NULL);
  while (at < said->nr) {
    const char *start = said->bytes + at;
    const char *end = memchr (start, '\n', said->nr - at);
    size_t nr = end != NULL ? (size_t)(end - start) : said->nr - at;

    at += nr + 1;
    line = next_line (heard, &heard_at);
    require (line != NULL);
    if (nr >= MAX_LINE_BYTES || end == NULL) {
      check_answer (line, null, nr >= MAX_LINE_BYTES ? "EMSGSIZE" : "EBADMSG");
      break;
    }
    request = json_loadb (start, nr, JSON_REJECT_DUPLICATES, NULL);
    if (request == NULL) {
      check_answer (line, null, "EBADMSG");
      break;
    }
    id = json_object_get (request, "id");
    check_answer (line, id != NULL ? id : null,
                  json_is_object (request) ? NULL : "EINVAL");
    json_decref (request);
  }
  require (heard_at == heard->nr);
}

/* ------------------------------------------------------------------------ */
/* Sessions                                                                  */

/* Say it in pieces and hear what comes, until the end, or until it is enough:
 * then false. */
static bool
converse (struct rng *rng, int fd, const struct text *said, struct text *heard,
          size_t enough)
{
  size_t nr_said = 0;
  char buf[16384];
  ssize_t nr;

  if (said->nr == 0)
    shutdown (fd, SHUT_WR);
  for (;;) {
    struct pollfd p = { fd, POLLIN, 0 };

    if (nr_said == enough)
      return false;
    if (nr_said < said->nr)
      p.events |= POLLOUT;
    require (poll (&p, 1, -1) == 1);
    if (p.revents & POLLOUT) {
      size_t most = enough < said->nr ? enough : said->nr;
      size_t piece = rng_percent (rng, 50) ? 1 + rng_below (rng, 50) : 20000;

      if (piece > most - nr_said)
        piece = most - nr_said;
      nr = send (fd, said->bytes + nr_said, piece, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (nr < 0 && errno != EAGAIN) {
        require (errno == EPIPE || errno == ECONNRESET);
        nr_said = said->nr; /* it has had enough; hear why */
        if (enough <= said->nr)
          return false;
      } else if (nr > 0) {
        nr_said += (size_t)nr;
        if (nr_said == said->nr)
          shutdown (fd, SHUT_WR);
      }
    }
    if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
      nr = recv (fd, buf, sizeof buf, MSG_DONTWAIT);
      if (nr == 0 || (nr < 0 && errno == ECONNRESET))
        return true;
      require (nr > 0 || errno == EAGAIN);
      if (nr > 0)
        add (heard, buf, (size_t)nr);
    }
  }
}

static void
run_session (struct rng *rng)
{
  struct text said = { NULL, 0, 0 }, heard = { NULL, 0, 0 };
  struct peer *peer = peer_connect (server);
  size_t nr_lines = rng_below (rng, MAX_LINES + 1), enough = SIZE_MAX;

  for (size_t i = 0; i < nr_lines; i++)
    add_line (rng, &said);
  if (rng_percent (rng, 25))
    enough = rng_below (rng, said.nr + 1);
  if (converse (rng, peer->fd, &said, &heard, enough))
    check_session (&said, &heard);
  peer_close (peer);
  free (said.bytes);
  free (heard.bytes);
}

static void *
run_client (void *opaque)
{
  struct rng rng;

  rng_init (&rng, (uint64_t)(uintptr_t)opaque);
  for (unsigned i = 0; i < NR_SESSIONS; i++)
    run_session (&rng);
  return NULL;
}

/* One io after the other. */
static void *
run_load (void *opaque)
{
  struct bed *bed = opaque;
  struct test_io t;
  uint64_t nr;

  for (nr = 0; !load_is_over; nr++) {
    test_io_init (&t, bed, nr % 2 == 0 ? BLKMQ_OP_READ : BLKMQ_OP_WRITE,
                  nr % 64);
    blkmq_submit (bed->submitter, &t.io);
    await (t.nr_ends == 1);
    require (t.status == BLKMQ_STS_OK);
  }
  return NULL;
}

static void
unfreeze_all (void)
{
  struct peer *peer = peer_open (server);
  bool was_frozen;

  do {
    json_t *answer;

    ck_assert (peer_say (peer, "{\"command\":\"unfreeze\"}"));
    answer = peer_answer (peer);
    was_frozen = json_is_true (json_at (answer, "ok"));
    json_decref (answer);
  } while (was_frozen);
  peer_close (peer);
}

START_TEST (test_each_line_has_its_answer_whatever_comes)
{
  pthread_t clients[NR_CLIENTS], load[MAX_BEDS];
  uint64_t stream = 0;

  server = server_alloc (MAX_BEDS);
  for (unsigned i = 0; i < MAX_BEDS; i++)
    server->beds[i]->script.driver = "memory";
  server_open (server, "iostats=1", 0);
  for (unsigned i = 0; i < MAX_BEDS; i++)
    load[i] = thread_start (run_load, server->beds[i]);
  for (unsigned i = 0; i < NR_CLIENTS; i++)
    clients[i] = thread_start (run_client, (void *)(uintptr_t)stream++);
  for (unsigned i = 0; i < NR_CLIENTS; i++)
    thread_join (clients[i]);
  load_is_over = true;
  /* A freeze of one who has left may come late, and is undone at the end. */
  unfreeze_all ();
  control_stop (server->control);
  for (unsigned i = 0; i < MAX_BEDS; i++)
    thread_join (load[i]);
  server_stop (server);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("control-fuzz");
  TCase *tc = harness_case (suite, "fuzz");

  tcase_add_test (tc, test_each_line_has_its_answer_whatever_comes);
  return harness_main (suite);
}
