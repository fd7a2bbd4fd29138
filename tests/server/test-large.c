/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-large.c: requests that need more memory than a thread may have: one
 * after the other in the order in which they came, and none of those who ask
 * for little waits for them.
 */

#include <config.h>

#include <string.h>

#include "witness.h"

#define MB (UINT32_C (1) << 20)
#define LARGE_BYTES (2 * MB) /* more than there is */

static struct rig rig;

static void
begin (unsigned nr_threads, const char *keys)
{
  rig_init (&rig);
  rig.options.nr_threads = nr_threads;
  rig.options.limits.max_buffer_bytes = nr_threads * (uint64_t)MB;
  rig_start (&rig, keys);
}

/* ------------------------------------------------------------------------ */
/* In order                                                                  */

#define NR_WAITING 5u

/* Each has a place and a rule: the first holds the memory until its rule goes,
 * the others wait. */
struct queue {
  struct client clients[NR_WAITING];
  uint64_t rules[NR_WAITING];
};

static void
queue_begin (struct queue *queue)
{
  char rule[64];

  begin (1, "size=16M live=1");
  for (unsigned i = 0; i < NR_WAITING; i++) {
    uint64_t sector = i * (uint64_t)LARGE_BYTES / 512;

    snprintf (rule, sizeof rule, "op=read,sectors=%u-%u,hang", (unsigned)sector,
              (unsigned)(sector + LARGE_BYTES / 512 - 1));
    queue->rules[i] = rig_add_fault (&rig, rule);
  }
  for (unsigned i = 0; i < NR_WAITING; i++) {
    client_open (&queue->clients[i], &rig, 0);
    client_ask (&queue->clients[i], NBD_CMD_READ, 0,
                READ_COOKIE (LARGE_BYTES, i), i * (uint64_t)LARGE_BYTES,
                LARGE_BYTES);
    client_await_received (&queue->clients[i]);
  }
  await (rig_nr_held (&rig, queue->rules[0]) > 0);
}

static void
queue_expect_held (struct queue *queue, unsigned n)
{
  await (rig_nr_held (&rig, queue->rules[n]) > 0);
  for (unsigned i = 0; i < NR_WAITING; i++)
    if (i != n)
      ck_assert_uint_eq (rig_nr_held (&rig, queue->rules[i]), 0);
}

static void
queue_answer (struct queue *queue, unsigned n)
{
  rig_delete_fault (&rig, queue->rules[n]);
  client_expect (&queue->clients[n], READ_COOKIE (LARGE_BYTES, n), 0);
  client_close (&queue->clients[n]);
}

START_TEST (test_large_requests_are_served_in_order)
{
  struct queue queue;

  queue_begin (&queue);
  for (unsigned i = 0; i < NR_WAITING; i++) {
    queue_expect_held (&queue, i);
    queue_answer (&queue, i);
  }
  rig_end (&rig);
}
END_TEST

/* Whoever leaves keeps nobody waiting, first, last or in between. */
START_TEST (test_those_who_leave_are_not_waited_for)
{
  struct queue queue;

  queue_begin (&queue);
  for (unsigned i = 0; i < NR_WAITING; i += 2)
    client_close (&queue.clients[i]);
  queue_expect_held (&queue, 1);
  queue_answer (&queue, 1);
  queue_expect_held (&queue, 3);
  queue_answer (&queue, 3);
  rig_await_idle (&rig, 0);
  rig_end (&rig);
}
END_TEST

START_TEST (test_small_requests_do_not_wait_for_large_ones)
{
  enum { NR_SMALL = 64, SMALL_BYTES = 8192 };
  static uint8_t data[SMALL_BYTES], zeros[SMALL_BYTES];
  struct answer answer;
  struct client client;
  struct queue queue;

  queue_begin (&queue);
  client_open (&client, &rig, _i ? CLIENT_STRUCTURED : 0);
  memset (data, 0x3c, sizeof data);
  client_do_write (&client, 15 * MB, data, sizeof data, 0);
  client_check (&client, 15 * MB, data, sizeof data);
  client_check (&client, 15 * MB - sizeof zeros, zeros, sizeof zeros);
  for (unsigned i = 0; i < NR_SMALL; i++)
    client_ask (&client, NBD_CMD_READ, 0, READ_COOKIE (SMALL_BYTES, i), 15 * MB,
                SMALL_BYTES);
  for (unsigned i = 0; i < NR_SMALL; i++) {
    client_answer (&client, &answer);
    ck_assert_uint_eq (answer.error, 0);
    ck_assert_uint_eq (answer.bytes, SMALL_BYTES);
  }
  queue_expect_held (&queue, 0);
  for (unsigned i = 0; i < NR_WAITING; i++)
    queue_answer (&queue, i);
  client_close (&client);
  rig_end (&rig);
}
END_TEST

/* They are told at the end of the server as any other. */
START_TEST (test_server_drains_while_they_wait)
{
  struct queue queue;

  queue_begin (&queue);
  rig_drain (&rig);
  for (unsigned i = 0; i < NR_WAITING; i++) {
    rig_delete_fault (&rig, queue.rules[i]);
    client_expect (&queue.clients[i], READ_COOKIE (LARGE_BYTES, i), 0);
    require (client_is_closed (&queue.clients[i]));
    client_close (&queue.clients[i]);
  }
  rig_end (&rig);
}
END_TEST

START_TEST (test_server_cut_offs_while_they_wait)
{
  struct queue queue;

  queue_begin (&queue);
  rig_drain (&rig);
  server_cut_off (rig.server);
  for (unsigned i = 0; i < NR_WAITING; i++) {
    require (client_is_closed (&queue.clients[i]));
    client_close (&queue.clients[i]);
  }
  rig_end (&rig);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Data                                                                      */

#define NR_BIG 3u
#define NR_WITNESSES 3u
#define FIRST_BYTES MB /* the witnesses' */

static const uint32_t longest_bytes = SANITIZED ? 4 * MB : 32 * MB;

/* Writes one half of its place while it reads the other, which it has written
 * before. */
struct big {
  pthread_t thread;
  struct client client;
  unsigned index;
};

static uint64_t
word_at (const struct big *big, unsigned round, uint32_t i)
{
  return ((uint64_t)(big->index + 1) << 40 | (round + 1) << 28 | i)
         * UINT64_C (0x9e3779b97f4a7c15);
}

static void
big_round (struct big *big, unsigned round, uint64_t *words)
{
  struct client *client = &big->client;
  uint64_t base = FIRST_BYTES + big->index * (uint64_t)2 * longest_bytes;
  uint64_t here = base + (round % 2) * (uint64_t)longest_bytes;
  uint64_t there = base + ((round + 1) % 2) * (uint64_t)longest_bytes;
  unsigned nr_answers = round > 0 ? 2 : 1;
  struct answer answer;

  for (uint32_t i = 0; i < longest_bytes / sizeof *words; i++)
    words[i] = word_at (big, round, i);
  client_write (client, 0, 1, here, words, longest_bytes);
  if (round > 0)
    client_ask (client, NBD_CMD_READ, 0, READ_COOKIE (longest_bytes, 2), there,
                longest_bytes);
  while (nr_answers-- > 0) {
    client_answer (client, &answer);
    require (answer.error == 0);
    for (uint32_t i = 0; i < answer.bytes / sizeof *words; i++) {
      uint64_t word;

      memcpy (&word, answer.data + i * sizeof word, sizeof word);
      require (word == word_at (big, round - 1, i));
    }
  }
}

static void *
be_big (void *opaque)
{
  struct big *big = opaque;
  uint64_t *words = malloc (longest_bytes);

  require (words != NULL);
  for (unsigned round = 0; round < 4; round++)
    big_round (big, round, words);
  client_close (&big->client);
  free (words);
  return NULL;
}

START_TEST (test_large_and_small_ones_at_once)
{
  static struct witness witnesses[NR_WITNESSES];
  struct big bigs[NR_BIG];

  begin (1 + (unsigned)_i, "size=193M");
  for (unsigned i = 0; i < NR_WITNESSES; i++)
    witness_start (&witnesses[i], &rig, i == 0 ? CLIENT_STRUCTURED : 0, i,
                   NULL);
  for (unsigned i = 0; i < NR_BIG; i++) {
    bigs[i].index = i;
    client_open (&bigs[i].client, &rig, i == 1 ? CLIENT_STRUCTURED : 0);
    bigs[i].thread = thread_start (be_big, &bigs[i]);
  }
  for (unsigned i = 0; i < NR_BIG; i++)
    thread_join (bigs[i].thread);
  for (unsigned i = 0; i < NR_WITNESSES; i++) {
    witness_await (&witnesses[i], 1);
    witness_end (&witnesses[i]);
  }
  rig_end (&rig);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("large");
  TCase *tcase = harness_case (suite, "large");

  tcase_add_test (tcase, test_large_requests_are_served_in_order);
  tcase_add_test (tcase, test_those_who_leave_are_not_waited_for);
  tcase_add_loop_test (tcase, test_small_requests_do_not_wait_for_large_ones, 0,
                       2);
  tcase_add_test (tcase, test_server_drains_while_they_wait);
  tcase_add_test (tcase, test_server_cut_offs_while_they_wait);
  tcase_add_loop_test (tcase, test_large_and_small_ones_at_once, 0, 2);
  return harness_main (suite);
}
