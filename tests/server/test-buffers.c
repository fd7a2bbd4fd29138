/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-buffers.c: clients that want more memory, together, than a thread may
 * have: they wait, and all are answered.
 */

#include <config.h>

#include <string.h>
#include <sys/socket.h>

#include "witness.h"

#define THREAD_BYTES (UINT64_C (1) << 20)

static struct rig rig;

static void
begin (unsigned nr_threads, const char *keys)
{
  rig_init (&rig);
  rig.options.nr_threads = nr_threads;
  rig.options.limits.max_buffer_bytes = nr_threads * THREAD_BYTES;
  rig_start (&rig, keys);
}

/* ------------------------------------------------------------------------ */

#define LONG_BYTES (UINT32_C (32) << 20)
#define SHORT_BYTES (UINT32_C (64) << 10)

/* The head of the second comes while the first is in the engine, in the same
 * buffer, which is all that the thread may have. */
START_TEST (test_write_follows_one_that_is_longer_than_the_memory)
{
  uint32_t long_bytes = NBD_REQUEST_BYTES + LONG_BYTES;
  uint8_t *bytes = calloc (1, long_bytes + NBD_REQUEST_BYTES + SHORT_BYTES);
  struct answer answer;
  struct client client;
  unsigned answered = 0;

  require (bytes != NULL);
  begin (1, "size=64M irqmode=timer completion_nsec=20ms");
  client_open (&client, &rig, 0);
  put_request (bytes, NBD_CMD_WRITE, 0, 1, 0, LONG_BYTES);
  put_request (bytes + long_bytes, NBD_CMD_WRITE, 0, 2, LONG_BYTES,
               SHORT_BYTES);
  client_send (&client, bytes, long_bytes + NBD_REQUEST_BYTES + SHORT_BYTES);
  for (unsigned i = 0; i < 2; i++) {
    client_answer (&client, &answer);
    require (answer.error == 0);
    answered |= 1u << answer.cookie;
  }
  require (answered == (1u << 1 | 1u << 2));
  client_close (&client);
  rig_end (&rig);
  free (bytes);
}
END_TEST

/* ------------------------------------------------------------------------ */

/* As many as fill the memory with one write each, and one more. */
#define NR_HOLDERS 5u
#define HALF_BYTES (UINT32_C (100) << 10)
#define READ_BYTES (UINT32_C (80) << 10) /* a socket takes it, unread */
#define LAST_BYTES (UINT32_C (20) << 10)

static void
expect_answers (struct client *client)
{
  bool was_read = false;
  struct answer answer;

  for (unsigned i = 0; i < 3; i++) {
    client_answer (client, &answer);
    require (answer.error == 0);
    was_read |= answer.bytes == READ_BYTES;
  }
  require (was_read);
}

START_TEST (test_those_who_hold_input_have_room_for_answers)
{
  struct client clients[NR_HOLDERS];
  uint8_t *bytes = calloc (1, 4 * HALF_BYTES);
  uint32_t nr = NBD_REQUEST_BYTES + 2 * HALF_BYTES;

  require (bytes != NULL);
  begin (1, "size=16M");
  put_request (bytes, NBD_CMD_WRITE, 0, 1, 0, 2 * HALF_BYTES);
  put_request (bytes + nr, NBD_CMD_READ, 0, READ_COOKIE (READ_BYTES, 2), 0,
               READ_BYTES);
  nr += NBD_REQUEST_BYTES;
  put_request (bytes + nr, NBD_CMD_WRITE, 0, 3, 0, LAST_BYTES);
  nr += NBD_REQUEST_BYTES + LAST_BYTES;

  for (unsigned i = 0; i < NR_HOLDERS; i++) {
    client_open (&clients[i], &rig, 0);
    client_send (&clients[i], bytes, HALF_BYTES);
    client_await_received (&clients[i]);
  }
  for (unsigned i = 0; i < NR_HOLDERS; i++)
    client_send (&clients[i], bytes + HALF_BYTES, nr - HALF_BYTES);
  for (unsigned i = 0; i < NR_HOLDERS; i++)
    expect_answers (&clients[i]);
  for (unsigned i = 0; i < NR_HOLDERS; i++)
    client_close (&clients[i]);
  rig_end (&rig);
  free (bytes);
}
END_TEST

/* All of them hold the beginning of a request that is longer. */
START_TEST (test_those_who_hold_input_have_room_for_more)
{
  struct client clients[16];
  uint32_t bytes = UINT32_C (1) << 20;
  uint8_t *request = calloc (1, NBD_REQUEST_BYTES + bytes);
  uint32_t half_bytes = UINT32_C (8) << 10;

  require (request != NULL);
  begin (1, "size=16M");
  put_request (request, NBD_CMD_WRITE, 0, 1, 0, bytes);
  for (unsigned i = 0; i < NR (clients); i++) {
    client_open (&clients[i], &rig, 0);
    client_send (&clients[i], request, half_bytes);
    client_await_received (&clients[i]);
  }
  for (unsigned i = 0; i < NR (clients); i++) {
    client_send (&clients[i], request + half_bytes,
                 NBD_REQUEST_BYTES + bytes - half_bytes);
    client_expect (&clients[i], 1, 0);
  }
  for (unsigned i = 0; i < NR (clients); i++)
    client_close (&clients[i]);
  rig_end (&rig);
  free (request);
}
END_TEST

/* ------------------------------------------------------------------------ */

static const char *const disks[] = {
  "size=16M",
  "size=16M irqmode=timer completion_nsec=100us",
  "size=16M irqmode=softirq hw_queue_depth=4",
  "size=16M poll_queues=1",
};

#define NR_WITNESSES 8u
#define NR_GREEDY 6u

static const unsigned nr_greedy_lives = SANITIZED ? 60 : 600;

/* Asks for much, listens to nothing, and leaves a request unfinished. */
static void
ask_for_much (struct client *client, struct rng *rng)
{
  uint32_t bytes = (uint32_t)(1 + rng_below (rng, 1024)) << 10;
  uint8_t request[NBD_REQUEST_BYTES], data[8192] = { 0 };
  size_t nr = rng_below (rng, sizeof data);

  for (unsigned i = (unsigned)rng_below (rng, 8); i > 0; i--)
    client_ask (client, NBD_CMD_READ, 0, READ_COOKIE (bytes, i),
                rng_below (rng, 12) << 20, bytes);
  /* Beyond the parts of the witnesses. */
  put_request (request, NBD_CMD_WRITE, 0, 9, UINT64_C (12) << 20, bytes);
  /* It may block: the server takes no more than there is room for. */
  (void)send (client->fd, request, sizeof request, MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)send (client->fd, data, nr < bytes ? nr : bytes,
              MSG_DONTWAIT | MSG_NOSIGNAL);
}

START_TEST (test_the_greedy_come_and_go)
{
  static struct witness witnesses[NR_WITNESSES];
  struct client greedy[NR_GREEDY];
  struct rng rng;

  begin (2, disks[_i]);
  rng_init (&rng, (uint64_t)_i);
  for (unsigned i = 0; i < NR_WITNESSES; i++)
    witness_start (&witnesses[i], &rig,
                   i % 2   ? CLIENT_STRUCTURED
                   : i % 3 ? CLIENT_TCP
                           : 0,
                   i, NULL);
  for (unsigned i = 0; i < nr_greedy_lives; i++) {
    struct client *client = &greedy[i % NR_GREEDY];

    if (i >= NR_GREEDY)
      client_close (client);
    client_open (client, &rig, i % 5 ? 0 : CLIENT_STRUCTURED);
    ask_for_much (client, &rng);
  }
  for (unsigned i = 0; i < NR_GREEDY; i++)
    client_close (&greedy[i]);
  for (unsigned i = 0; i < NR_WITNESSES; i++)
    witness_await (&witnesses[i], 1);
  for (unsigned i = 0; i < NR_WITNESSES; i++)
    witness_end (&witnesses[i]);
  rig_end (&rig);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("buffers");
  TCase *tcase = harness_case (suite, "buffers");

  tcase_add_test (tcase, test_write_follows_one_that_is_longer_than_the_memory);
  tcase_add_test (tcase, test_those_who_hold_input_have_room_for_answers);
  tcase_add_test (tcase, test_those_who_hold_input_have_room_for_more);
  tcase_add_loop_test (tcase, test_the_greedy_come_and_go, 0, NR (disks));
  return harness_main (suite);
}
