/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-vanish.c: clients that go away without a word, whatever they have under
 * way: nothing of them stays, and those beside them do not notice.
 */

#include <config.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "witness.h"

#define NR_READS 128u

static struct rig rig;

static void
setup (void)
{
  rig_init (&rig);
}

/* ------------------------------------------------------------------------ */

static const char *const disks[] = {
  "size=16M",
  "size=16M irqmode=softirq hw_queue_depth=128",
  "size=16M irqmode=timer completion_nsec=50us",
  "size=16M submit_queues=1 hw_queue_depth=4 irqmode=timer",
};

static const unsigned nr_vanishing = SANITIZED ? 100 : 2500; /* a disk */

static size_t
put_reads (uint8_t *p, unsigned nr, uint32_t bytes)
{
  for (unsigned i = 0; i < nr; i++)
    put_request (p + i * (size_t)NBD_REQUEST_BYTES, NBD_CMD_READ, 0,
                 READ_COOKIE (bytes, i), (uint64_t)i * bytes, bytes);
  return nr * (size_t)NBD_REQUEST_BYTES;
}

/* With 128 reads of which none was answered, or some, or the last in part. */
static void
come_and_vanish (struct rng *rng)
{
  static const unsigned features[]
      = { 0, CLIENT_STRUCTURED, CLIENT_CONTEXT, CLIENT_TCP,
          CLIENT_TCP | CLIENT_STRUCTURED };
  uint32_t bytes = 512u << rng_below (rng, 8);
  uint8_t requests[NR_READS * NBD_REQUEST_BYTES], some[4096];
  struct client client;

  client_open (&client, &rig, features[rng_below (rng, NR (features))]);
  client_send (&client, requests, put_reads (requests, NR_READS, bytes));
  if (rng_percent (rng, 50))
    require (client_receive (&client, some, rng_below (rng, sizeof some)));
  client_close (&client);
}

START_TEST (test_10000_clients_vanish_with_128_reads_each)
{
  struct witness witness;
  struct rng rng;

  rig_start (&rig, disks[_i]);
  rng_init (&rng, (uint64_t)_i);
  witness_start (&witness, &rig, CLIENT_STRUCTURED, 60, NULL);
  for (unsigned i = 0; i < nr_vanishing; i++) {
    come_and_vanish (&rng);
    /* No more at once than there are descriptors for. */
    await (server_nr_connections (rig.server) < 200);
  }
  await (server_nr_connections (rig.server) == 1);
  witness_await (&witness, 2);
  witness_end (&witness);
  rig_await_idle (&rig, 0);
  rig_end (&rig);
}
END_TEST

/* Not all of its requests have a tag; the rest is still in the server's hands,
 * or in the socket. */
START_TEST (test_client_vanishes_whose_requests_hang)
{
  uint8_t requests[NR_READS * NBD_REQUEST_BYTES];
  struct client clients[3];

  rig.options.nr_threads = 1;
  rig.options.limits.stall_timeout_ms = 0;
  rig_start (&rig, "size=16M hw_queue_depth=2 irqmode=timer "
                   "completion_nsec=3600s");
  for (unsigned i = 0; i < NR (clients); i++) {
    client_open (&clients[i], &rig, i == 2 ? CLIENT_TCP : 0);
    client_send (&clients[i], requests, put_reads (requests, NR_READS, 4096));
  }
  await (rig_nr_in_engine (&rig) >= NR (clients));
  for (unsigned i = 0; i < NR (clients); i++)
    client_close (&clients[i]);
  rig_await_idle (&rig, 0);
  rig_end (&rig);
}
END_TEST

/* The kernel's client ends a connection whose write does not end, and sends the
 * write again on another one: what comes after that must not be undone. */
START_TEST (test_write_of_a_client_that_is_gone_is_not_done_later)
{
  static uint8_t old[4096], new[4096];
  struct client gone, client;
  uint64_t rule;

  memset (old, 1, sizeof old);
  memset (new, 2, sizeof new);
  rig.options.limits.stall_timeout_ms = 0;
  rig_start (&rig, "size=16M live=1");
  rule = rig_add_fault (&rig, "op=write,once,hang");
  client_open (&gone, &rig, _i == 0 ? 0 : CLIENT_TCP);
  client_open (&client, &rig, 0);
  client_write (&gone, 0, 1, 8192, old, sizeof old);
  await (rig_nr_held (&rig, rule) == 1);
  require (shutdown (gone.fd, SHUT_RDWR) == 0);
  rig_await_idle (&rig, 1);
  client_do_write (&client, 8192, new, sizeof new, 0);
  rig_delete_fault (&rig, rule);
  client_check (&client, 8192, new, sizeof new);
  client_close (&gone);
  client_close (&client);
  rig_end (&rig);
}
END_TEST

/* Its last word was said before. */
START_TEST (test_client_vanishes_that_only_listened)
{
  uint8_t requests[NR_READS * NBD_REQUEST_BYTES];
  struct client client;

  rig.options.limits.stall_timeout_ms = 0;
  rig_start (&rig, "size=16M hw_queue_depth=2 irqmode=timer "
                   "completion_nsec=3600s");
  client_open (&client, &rig, 0);
  client_send (&client, requests, put_reads (requests, NR_READS, 4096));
  await (rig_nr_in_engine (&rig) >= 1);
  require (shutdown (client.fd, SHUT_WR) == 0);
  client_close (&client);
  rig_await_idle (&rig, 0);
  rig_end (&rig);
}
END_TEST

START_TEST (test_client_vanishes_while_the_server_drains)
{
  struct client client, idle;

  rig.options.nr_threads = 1;
  rig_start (&rig, "size=16M irqmode=timer completion_nsec=3600s");
  client_open (&client, &rig, 0);
  client_open (&idle, &rig, 0);
  client_ask (&client, NBD_CMD_READ, 0, READ_COOKIE (4096, 1), 0, 4096);
  await (rig_nr_in_engine (&rig) == 1);
  rig_drain (&rig);
  /* It comes after the other one. */
  require (client_is_closed (&idle));
  client_close (&idle);
  client_close (&client);
  rig_end (&rig);
}
END_TEST

/* At each byte of its way to transmission, and of a write. */
START_TEST (test_client_vanishes_at_any_byte)
{
  uint8_t bytes[1024] = { 0 };
  size_t nr;

  rig_start (&rig, "size=16M");
  nr = put_handshake (bytes, CLIENT_CONTEXT);
  put_request (bytes + nr, NBD_CMD_WRITE, 0, 1, 0, 512);
  nr += NBD_REQUEST_BYTES + 512;
  require (nr <= sizeof bytes);
  for (size_t i = 0; i < nr; i++) {
    int fd = _i ? rig_connect_tcp (&rig) : rig_connect (&rig);

    require (send_all (fd, bytes, i));
    close (fd);
  }
  rig_await_idle (&rig, 0);
  rig_end (&rig);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("vanish");
  TCase *tcase = harness_case (suite, "vanish");

  tcase_add_checked_fixture (tcase, setup, NULL);
  tcase_add_loop_test (tcase, test_10000_clients_vanish_with_128_reads_each, 0,
                       NR (disks));
  tcase_add_test (tcase, test_client_vanishes_whose_requests_hang);
  tcase_add_loop_test (
      tcase, test_write_of_a_client_that_is_gone_is_not_done_later, 0, 2);
  tcase_add_test (tcase, test_client_vanishes_that_only_listened);
  tcase_add_test (tcase, test_client_vanishes_while_the_server_drains);
  tcase_add_loop_test (tcase, test_client_vanishes_at_any_byte, 0, 2);
  return harness_main (suite);
}
