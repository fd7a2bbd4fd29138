/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-server-live.c: disks that are changed, lose their power, hang and end
 * while clients on two threads have requests in flight: each is answered once,
 * or its connection is closed.
 */

#include <config.h>

#include <string.h>

#include "blkmq-control.h"
#include "witness.h"

static struct rig rig;

static void
setup (void)
{
  rig_init (&rig);
}

static bool
set_key (struct blkmq_disk *disk, const char *key, const char *value)
{
  struct blkmq_setting setting = { key, value };
  struct blkmq_error error;

  return blkmq_disk_set (disk, &setting, 1, &error) == 0;
}

static void
set_power (struct blkmq_disk *disk, bool on)
{
  require (blkmq_disk_set_power (disk, on, NULL) == 0);
}

/* ------------------------------------------------------------------------ */
/* Changes, and data that must be right                                      */

static const char *const disks[] = {
  "size=4M live=1",
  "size=4M live=1 irqmode=timer completion_nsec=50us",
  "size=4M live=1 irqmode=softirq hw_queue_depth=4",
  "size=4M live=1 poll_queues=1",
  "size=4M live=1 blocking=1",
  "size=4M live=1 shared_tags=1 hw_queue_depth=8 irqmode=timer "
  "completion_nsec=20us export= export=other",
  "size=4M live=1 scheduler=mq-deadline irqmode=timer completion_nsec=50us",
};

static const struct blkmq_setting changes[] = {
  { "submit_queues", "1" },       { "submit_queues", "3" },
  { "submit_queues", "2" },       { "hw_queue_depth", "3" },
  { "hw_queue_depth", "64" },     { "irqmode", "none" },
  { "irqmode", "softirq" },       { "irqmode", "timer" },
  { "completion_nsec", "20us" },  { "scheduler", "none" },
  { "scheduler", "mq-deadline" }, { "poll_queues", "1" },
  { "poll_queues", "0" },         { "nomerges", "0" },
};

#define NR_WITNESSES 4u

START_TEST (test_data_is_right_whatever_is_changed)
{
  static const uint32_t borne_errors[4] = { NBD_EIO, NBD_ESHUTDOWN };
  static struct witness witnesses[NR_WITNESSES];
  unsigned nr_changed = 0;
  struct rng rng;

  rig_start (&rig, disks[_i]);
  rng_init (&rng, (uint64_t)_i);
  for (unsigned i = 0; i < NR_WITNESSES; i++)
    witness_start (&witnesses[i], &rig, i % 2 ? CLIENT_STRUCTURED : 0, i,
                   borne_errors);
  for (unsigned i = 0; i < (SANITIZED ? 20 : 60); i++) {
    const struct blkmq_setting *c = &changes[rng_below (&rng, NR (changes))];

    /* Some contradict what the disk is. */
    nr_changed += set_key (rig_disk (&rig), c->key, c->value);
    if (rng_percent (&rng, 20)) {
      set_power (rig_disk (&rig), false);
      set_power (rig_disk (&rig), true);
    }
    if (rng_percent (&rng, 30))
      witness_await (&witnesses[i % NR_WITNESSES], 1);
  }
  ck_assert_uint_gt (nr_changed, 0);
  for (unsigned i = 0; i < NR_WITNESSES; i++) {
    witness_await (&witnesses[i], 1);
    witness_end (&witnesses[i]);
  }
  rig_end (&rig);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Requests that hang                                                        */

#define NR_CLIENTS 4u
#define NR_REQUESTS 24u
#define REQUEST_BYTES 4096u
#define READ_OR_WRITE(i) ((i) % 2 == 0 ? NBD_CMD_READ : NBD_CMD_WRITE)

static uint64_t
cookie_of (unsigned i)
{
  return i % 2 == 0 ? READ_COOKIE (REQUEST_BYTES, i) : i;
}

static void
ask_all (struct client *client)
{
  static const uint8_t data[REQUEST_BYTES];

  for (unsigned i = 0; i < NR_REQUESTS; i++) {
    client_ask (client, READ_OR_WRITE (i), 0, cookie_of (i),
                i * (uint64_t)REQUEST_BYTES, REQUEST_BYTES);
    if (i % 2 == 1)
      client_send (client, data, sizeof data);
  }
}

/* How many were answered, each once and with ERROR, or, if it is 0, as they
 * would. */
static unsigned
take_all (struct client *client, uint32_t error)
{
  bool is_answered[NR_REQUESTS] = { false };
  struct answer answer;
  unsigned nr = 0;

  for (; nr < NR_REQUESTS && client_try_answer (client, &answer); nr++) {
    unsigned i = (unsigned)(answer.cookie & UINT32_MAX);

    require (i < NR_REQUESTS && answer.cookie == cookie_of (i));
    require (!is_answered[i]);
    is_answered[i] = true;
    ck_assert_uint_eq (answer.error, error);
  }
  return nr;
}

static struct client clients[NR_CLIENTS];

static void
open_and_ask (void)
{
  for (unsigned i = 0; i < NR_CLIENTS; i++) {
    client_open (&clients[i], &rig, i % 2 ? CLIENT_STRUCTURED : 0);
    ask_all (&clients[i]);
  }
}

static void
expect_answers (uint32_t error)
{
  for (unsigned i = 0; i < NR_CLIENTS; i++)
    ck_assert_uint_eq (take_all (&clients[i], error), NR_REQUESTS);
}

static void
close_all (void)
{
  for (unsigned i = 0; i < NR_CLIENTS; i++)
    client_close (&clients[i]);
}

static const char *const late_disks[] = {
  "size=1M io_timeout=20 fault=op=read|write,hang",
  "size=1M io_timeout=20 fault=op=read|write,hang hw_queue_depth=2",
  "size=1M io_timeout=20 fault=at=media,op=read|write,hang",
  "size=1M io_timeout=20 timeout=1,100,0,-1",
  "size=1M io_timeout=20 irqmode=timer completion_nsec=200ms",
  "size=1M io_timeout=20 irqmode=timer completion_nsec=3600s submit_queues=1",
  "size=1M io_timeout=20 blocking=1 fault=op=read|write,hang",
};

/* What is below them may still have the data when they are answered, and when
 * their client has gone. */
START_TEST (test_late_requests_are_answered_by_io_timeout)
{
  rig_start (&rig, late_disks[_i]);
  open_and_ask ();
  expect_answers (NBD_EIO);
  /* Once more, and nobody waits for that. */
  for (unsigned i = 0; i < NR_CLIENTS; i++)
    ask_all (&clients[i]);
  close_all ();
  rig_await_idle (&rig, 0);
  rig_end (&rig);
}
END_TEST

#define HANGING "size=1M live=1 hw_queue_depth=4 fault=op=read|write,hang"

static void
await_hanging (void)
{
  /* As many as there are tags, on two threads. */
  await (rig_nr_in_engine (&rig) >= 8);
}

START_TEST (test_power_cut_ends_what_hangs)
{
  rig_start (&rig, HANGING);
  open_and_ask ();
  await_hanging ();
  set_power (rig_disk (&rig), false);
  expect_answers (NBD_ESHUTDOWN);
  require (set_key (rig_disk (&rig), "hw_queue_depth", "8"));
  rig_delete_fault (&rig, 1);
  set_power (rig_disk (&rig), true);
  for (unsigned i = 0; i < NR_CLIENTS; i++)
    ask_all (&clients[i]);
  expect_answers (0);
  close_all ();
  rig_end (&rig);
}
END_TEST

/* All that was read before is answered, when it can be. */
START_TEST (test_drain_waits_for_what_hangs)
{
  unsigned nr = 0;

  rig_start (&rig, HANGING);
  open_and_ask ();
  await_hanging ();
  rig_drain (&rig);
  rig_delete_fault (&rig, 1);
  for (unsigned i = 0; i < NR_CLIENTS; i++)
    nr += take_all (&clients[i], 0);
  ck_assert_uint_ge (nr, 8);
  for (unsigned i = 0; i < NR_CLIENTS; i++)
    require (client_is_closed (&clients[i]));
  close_all ();
  rig_end (&rig);
}
END_TEST

/* Not only what has a tag: all that was read is answered, once. */
START_TEST (test_abort_answers_what_hangs)
{
  unsigned nr = 0;

  rig_start (&rig, _i ? "size=1M irqmode=timer completion_nsec=3600s "
                        "hw_queue_depth=4"
                      : HANGING);
  open_and_ask ();
  await_hanging ();
  rig_drain (&rig);
  server_abort (rig.server);
  for (unsigned i = 0; i < NR_CLIENTS; i++)
    nr += take_all (&clients[i], NBD_ESHUTDOWN);
  ck_assert_uint_ge (nr, 8);
  for (unsigned i = 0; i < NR_CLIENTS; i++)
    require (client_is_closed (&clients[i]));
  close_all ();
  rig_end (&rig);
}
END_TEST

START_TEST (test_cut_off_closes_what_hangs)
{
  rig_start (&rig, HANGING);
  open_and_ask ();
  await_hanging ();
  if (_i)
    rig_drain (&rig);
  server_cut_off (rig.server);
  for (unsigned i = 0; i < NR_CLIENTS; i++)
    ck_assert_uint_eq (take_all (&clients[i], 0), 0);
  close_all ();
  rig_end (&rig);
}
END_TEST

/* The threads end, and the disk is removed. */
START_TEST (test_removal_closes_what_hangs)
{
  rig_start (&rig, _i ? "size=1M irqmode=timer completion_nsec=3600s "
                        "hw_queue_depth=4"
                      : HANGING);
  open_and_ask ();
  await_hanging ();
  server_stop (rig.server);
  exports_remove (rig.exports);
  server_free (rig.server);
  exports_free (rig.exports);
  for (unsigned i = 0; i < NR_CLIENTS; i++)
    ck_assert_uint_eq (take_all (&clients[i], 0), 0);
  close_all ();
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Everything at once                                                        */

/* Asks until it is closed, or told to end; bears what comes. */
struct asker {
  pthread_t thread;
  struct client client;
  struct rng rng;
  _Atomic unsigned nr_rounds;
};

static _Atomic bool must_end;

static bool
ask_some (struct asker *asker, unsigned nr)
{
  static const unsigned types[] = { NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_TRIM,
                                    NBD_CMD_WRITE_ZEROES, NBD_CMD_FLUSH };
  uint8_t bytes[NBD_REQUEST_BYTES + REQUEST_BYTES] = { 0 };

  for (unsigned i = 0; i < nr; i++) {
    unsigned type = types[rng_below (&asker->rng, NR (types))];
    bool is_flush = type == NBD_CMD_FLUSH;

    put_request (bytes, type, 0,
                 type == NBD_CMD_READ ? READ_COOKIE (REQUEST_BYTES, i) : i,
                 is_flush ? 0 : rng_below (&asker->rng, 256) * REQUEST_BYTES,
                 is_flush ? 0 : REQUEST_BYTES);
    if (!send_all (asker->client.fd, bytes,
                   type == NBD_CMD_WRITE ? sizeof bytes : NBD_REQUEST_BYTES))
      return false;
  }
  return true;
}

static bool
take_some (struct asker *asker, unsigned nr)
{
  bool is_answered[NR_REQUESTS] = { false };
  struct answer answer;

  while (nr-- > 0) {
    unsigned i;

    if (!client_try_answer (&asker->client, &answer))
      return false;
    i = (unsigned)(answer.cookie & UINT32_MAX);
    require (i < NR_REQUESTS && !is_answered[i]);
    is_answered[i] = true;
    require (answer.error == 0 || answer.error == NBD_EIO
             || answer.error == NBD_ESHUTDOWN);
  }
  return true;
}

static void *
asker_main (void *opaque)
{
  struct asker *asker = opaque;

  while (!must_end) {
    unsigned nr = 1 + (unsigned)rng_below (&asker->rng, NR_REQUESTS);

    if (!ask_some (asker, nr) || !take_some (asker, nr))
      break;
    asker->nr_rounds++;
  }
  return NULL;
}

static const char *const storm_disks[] = {
  "size=1M live=1 io_timeout=30",
  "size=1M live=1 io_timeout=30 irqmode=timer completion_nsec=100us",
  "size=1M live=1 io_timeout=30 hw_queue_depth=4 cache_size=64k",
  "size=1M live=1 io_timeout=30 irqmode=softirq",
};

#define NR_ASKERS 6u

static void
storm (struct rng *rng)
{
  static const char *const rules[]
      = { "op=read,every=3,hang", "op=write,probability=20,hang",
          "op=any,every=5,status=ioerr", "op=read,delay=1ms" };
  struct blkmq_disk *disk = rig_disk (&rig);
  uint64_t id = rig_add_fault (&rig, rules[rng_below (rng, NR (rules))]);

  switch (rng_below (rng, 3)) {
  case 0:
    set_power (disk, false);
    set_power (disk, true);
    break;
  case 1:
    (void)set_key (disk, "hw_queue_depth", rng_percent (rng, 50) ? "3" : "32");
    break;
  default:
    await_pause ();
  }
  rig_delete_fault (&rig, id);
}

/* At the end the server drains, or is cut off. */
START_TEST (test_each_is_answered_once_or_closed)
{
  static struct asker askers[NR_ASKERS];
  bool is_cut_off = _i % 2;
  struct rng rng;

  rig_start (&rig, storm_disks[_i / 2]);
  rng_init (&rng, (uint64_t)_i);
  for (unsigned i = 0; i < NR_ASKERS; i++) {
    rng_init (&askers[i].rng, 100 + i);
    client_open (&askers[i].client, &rig,
                 i % 3 == 0   ? CLIENT_STRUCTURED
                 : i % 3 == 1 ? CLIENT_TCP
                              : 0);
    askers[i].thread = thread_start (asker_main, &askers[i]);
  }
  for (unsigned i = 0; i < (SANITIZED ? 15 : 50); i++)
    storm (&rng);
  for (unsigned i = 0; i < NR_ASKERS; i++)
    await (askers[i].nr_rounds > 0);
  rig_drain (&rig);
  if (is_cut_off)
    server_cut_off (rig.server);
  for (unsigned i = 0; i < NR_ASKERS; i++) {
    thread_join (askers[i].thread);
    client_close (&askers[i].client);
  }
  rig_end (&rig);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Several exports                                                           */

/* What is done to one is nothing to the other. */
START_TEST (test_exports_are_on_their_own)
{
  static uint8_t zeros[REQUEST_BYTES], ones[REQUEST_BYTES];
  struct client a, b, again;

  rig_start (&rig, _i ? "size=1M shared_tags=1 hw_queue_depth=2 export=a "
                        "export=b blocksize=4096"
                      : "size=1M export=a export=b size=2M blocksize=4096");
  memset (ones, 1, sizeof ones);
  client_open_export (&a, &rig, CLIENT_CONTEXT, "a");
  client_open_export (&b, &rig, 0, "b");
  client_open_export (&again, &rig, CLIENT_STRUCTURED, "a");
  ck_assert_uint_eq (a.size_bytes, UINT64_C (1) << 20);
  ck_assert_uint_eq (b.size_bytes, UINT64_C (1) << (_i ? 20 : 21));
  client_do_write (&a, 0, ones, sizeof ones, 0);
  client_do_write (&b, 0, ones, 512, NBD_EINVAL);
  client_check (&b, 0, zeros, sizeof zeros);
  client_check (&again, 0, ones, sizeof ones);
  set_power (exports_at (rig.exports, 1)->disk, false);
  client_do (&b, NBD_CMD_READ, 0, 0, 4096, NBD_ESHUTDOWN);
  client_check (&again, 0, ones, sizeof ones);
  client_do (&a, NBD_CMD_FLUSH, 0, 0, 0, 0);
  client_close (&a);
  client_close (&b);
  client_close (&again);
  rig_end (&rig);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("server-live");
  TCase *tcase = harness_case (suite, "server-live");

  tcase_add_checked_fixture (tcase, setup, NULL);
  tcase_add_loop_test (tcase, test_data_is_right_whatever_is_changed, 0,
                       NR (disks));
  tcase_add_loop_test (tcase, test_late_requests_are_answered_by_io_timeout, 0,
                       NR (late_disks));
  tcase_add_test (tcase, test_power_cut_ends_what_hangs);
  tcase_add_test (tcase, test_drain_waits_for_what_hangs);
  tcase_add_loop_test (tcase, test_abort_answers_what_hangs, 0, 2);
  tcase_add_loop_test (tcase, test_cut_off_closes_what_hangs, 0, 2);
  tcase_add_loop_test (tcase, test_removal_closes_what_hangs, 0, 2);
  tcase_add_loop_test (tcase, test_each_is_answered_once_or_closed, 0,
                       2 * NR (storm_disks));
  tcase_add_loop_test (tcase, test_exports_are_on_their_own, 0, 2);
  return harness_main (suite);
}
