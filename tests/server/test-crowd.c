/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-crowd.c: many connections at once, more than there may be, and what each
 * of those on one thread gets of its tags.
 */

#include <config.h>

#include <string.h>
#include <sys/resource.h>

#include "rig.h"

static struct rig rig;

static void
setup (void)
{
  rig_init (&rig);
}

/* ------------------------------------------------------------------------ */
/* A thousand                                                                */

#define BLOCK 4096u

/* Each connection has two descriptors here. */
static unsigned
nr_possible (unsigned nr)
{
  struct rlimit limit;

  require (getrlimit (RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  require (setrlimit (RLIMIT_NOFILE, &limit) == 0);
  if (limit.rlim_cur < 2 * nr + 100) {
    nr = (unsigned)(limit.rlim_cur - 100) / 2;
    printf ("%u connections: no more than %u descriptors may be open\n", nr,
            (unsigned)limit.rlim_cur);
  }
  return nr;
}

static void
ask_for_place (struct client *client, unsigned place)
{
  uint64_t offset_bytes = place * (uint64_t)BLOCK;
  uint8_t data[BLOCK];

  memset (data, (int)(1 + place % 255), sizeof data);
  client_write (client, 0, 1, offset_bytes, data, sizeof data);
  client_ask (client, NBD_CMD_FLUSH, 0, 2, 0, 0);
}

static void
check_place (struct client *client, unsigned place)
{
  uint8_t data[BLOCK];

  memset (data, (int)(1 + place % 255), sizeof data);
  client_check (client, place * (uint64_t)BLOCK, data, sizeof data);
}

static void
expect_both (struct client *client)
{
  struct answer answer;
  uint64_t seen = 0;

  for (unsigned i = 0; i < 2; i++) {
    client_answer (client, &answer);
    ck_assert_uint_eq (answer.error, 0);
    seen += answer.cookie;
  }
  ck_assert_uint_eq (seen, 3);
}

static const char *const disks[]
    = { "size=16M", "size=16M irqmode=timer completion_nsec=100us",
        "size=16M hw_queue_depth=2 irqmode=softirq" };

START_TEST (test_a_thousand_are_served)
{
  static struct client clients[1000];
  unsigned nr = nr_possible (NR (clients));

  rig_start (&rig, disks[_i]);
  for (unsigned i = 0; i < nr; i++)
    client_open (&clients[i], &rig, i % 2 ? CLIENT_STRUCTURED : 0);
  ck_assert_uint_eq (server_nr_connections (rig.server), nr);
  for (unsigned i = 0; i < nr; i++)
    ask_for_place (&clients[i], i);
  for (unsigned i = 0; i < nr; i++)
    expect_both (&clients[i]);
  /* Each sees what its neighbour has written. */
  for (unsigned i = 0; i < nr; i++)
    check_place (&clients[i], (i + 1) % nr);
  /* Half of them go; the others are not disturbed. */
  for (unsigned i = 0; i < nr; i += 2)
    client_close (&clients[i]);
  for (unsigned i = 1; i < nr; i += 2)
    check_place (&clients[i], i);
  rig_await_idle (&rig, nr / 2);
  for (unsigned i = 1; i < nr; i += 2)
    client_close (&clients[i]);
  rig_end (&rig);
}
END_TEST

START_TEST (test_no_more_than_there_may_be)
{
  struct client clients[8], other = { .fd = -1 };

  rig.options.limits.max_connections = NR (clients);
  rig_start (&rig, "size=16M");
  for (unsigned i = 0; i < NR (clients); i++)
    client_open (&clients[i], &rig, 0);
  for (unsigned i = 0; i < 3; i++) {
    other.fd = rig_connect (&rig);
    require (client_is_closed (&other));
    client_close (&other);
  }
  ck_assert_uint_eq (nr_logged ("refused: there are 8 connections already"), 3);
  ck_assert_uint_eq (nr_logged ("client 9: refused"), 1);
  client_close (&clients[3]);
  await (server_nr_connections (rig.server) == NR (clients) - 1);
  client_open (&clients[3], &rig, 0);
  for (unsigned i = 0; i < NR (clients); i++) {
    ask_for_place (&clients[i], i);
    expect_both (&clients[i]);
    client_close (&clients[i]);
  }
  rig_end (&rig);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Shares                                                                    */

#define DEPTH 16u
#define NR_READS 48u

/* All requests of a client hang, each in its own megabyte; what a rule holds is
 * what the client has of the tags. */
struct party {
  struct client client;
  uint64_t rule;
};

static void
party_begin (struct party *party, unsigned index)
{
  uint64_t first = index * UINT64_C (2048);
  char text[64];

  snprintf (text, sizeof text, "sectors=%u-%u,hang", (unsigned)first,
            (unsigned)first + 2047);
  party->rule = rig_add_fault (&rig, text);
  client_open (&party->client, &rig, 0);
  /* Not side by side: they are not to be merged. */
  for (unsigned i = 0; i < NR_READS; i++)
    client_ask (&party->client, NBD_CMD_READ, 0, READ_COOKIE (512, i),
                first * 512 + (NR_READS - i) * 8192, 512);
}

static void
party_take (struct party *party, unsigned nr)
{
  struct answer answer;

  while (nr-- > 0) {
    client_answer (&party->client, &answer);
    ck_assert_uint_eq (answer.error, 0);
  }
}

/* Who is alone has all tags, and more when he has competitors, as long as none
 * of his requests ends. */
START_TEST (test_each_has_its_share_of_the_tags)
{
  struct party a, b, c;
  uint64_t first_rules[DEPTH];
  char text[64];

  rig.options.nr_threads = 1;
  rig_start (&rig, "size=16M live=1 nomerges=1 hw_queue_depth=16");
  /* Before the rule for all: one for each of the first requests of A. */
  for (unsigned i = 0; i < DEPTH; i++) {
    unsigned sector = (NR_READS - i) * 16;

    snprintf (text, sizeof text, "sectors=%u-%u,hang", sector, sector);
    first_rules[i] = rig_add_fault (&rig, text);
  }
  party_begin (&a, 0);
  await (rig_nr_in_engine (&rig) == DEPTH);
  /* B gets in line for its half, and no more. */
  party_begin (&b, 1);
  await (rig_nr_in_engine (&rig) == DEPTH + DEPTH / 2);
  ck_assert_uint_eq (rig_nr_held (&rig, b.rule), 0);
  /* And has it when so much has come back of A's. */
  for (unsigned i = 0; i < DEPTH / 2; i++) {
    rig_delete_fault (&rig, first_rules[i]);
    party_take (&a, 1);
  }
  await (rig_nr_held (&rig, b.rule) == DEPTH / 2);
  await (rig_nr_in_engine (&rig) == DEPTH);
  ck_assert_uint_eq (rig_nr_held (&rig, a.rule), 0);
  /* From then on A has one for one. */
  for (unsigned i = DEPTH / 2; i < DEPTH; i++) {
    rig_delete_fault (&rig, first_rules[i]);
    party_take (&a, 1);
    await (rig_nr_held (&rig, a.rule) == i + 1 - DEPTH / 2);
    ck_assert_uint_eq (rig_nr_held (&rig, b.rule), DEPTH / 2);
    await (rig_nr_in_engine (&rig) == DEPTH);
  }
  /* A third of them, rounded up. */
  party_begin (&c, 2);
  await (rig_nr_in_engine (&rig) == DEPTH + (DEPTH + 2) / 3);
  rig_delete_fault (&rig, a.rule);
  party_take (&a, NR_READS - DEPTH);
  await (rig_nr_held (&rig, c.rule) >= (DEPTH + 2) / 3);
  rig_delete_fault (&rig, b.rule);
  rig_delete_fault (&rig, c.rule);
  party_take (&b, NR_READS);
  party_take (&c, NR_READS);
  client_close (&a.client);
  client_close (&b.client);
  client_close (&c.client);
  rig_end (&rig);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("crowd");
  TCase *tcase = harness_case (suite, "crowd");

  tcase_add_checked_fixture (tcase, setup, NULL);
  tcase_add_loop_test (tcase, test_a_thousand_are_served, 0, NR (disks));
  tcase_add_test (tcase, test_no_more_than_there_may_be);
  tcase_add_test (tcase, test_each_has_its_share_of_the_tags);
  return harness_main (suite);
}
