/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-hostile.c: clients that do what the protocol does not foresee, or
 * foresees and nobody does: each is answered or sent away, as it deserves, and
 * the one beside it is served on.
 */

#include <config.h>

#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "witness.h"

#define DISK_BYTES (UINT64_C (16) << 20)
#define LONGEST_BYTES (UINT32_C (64) << 10)

static struct rig rig;
static struct witness witness;
static struct client client;
static uint8_t data[2 * LONGEST_BYTES];

/* No request longer than 64 KiB; a witness that must not notice. */
static void
begin (const char *keys, unsigned features)
{
  rig_init (&rig);
  rig.options.limits.max_request_bytes = LONGEST_BYTES;
  rig_start (&rig, keys);
  witness_start (&witness, &rig, 0, 40, NULL);
  client_open (&client, &rig, features);
  memset (data, 0x5a, sizeof data);
}

static void
end (void)
{
  witness_await (&witness, 2);
  witness_end (&witness);
  rig_end (&rig);
}

/* The client is served like any other. */
static void
expect_service (void)
{
  uint8_t block[512];

  memset (block, 0x11, sizeof block);
  client_do_write (&client, 1024, block, sizeof block, 0);
  client_check (&client, 1024, block, sizeof block);
}

/* ------------------------------------------------------------------------ */
/* Requests that are refused                                                 */

static const struct refused {
  const char *what;
  unsigned type, flags;
  uint64_t offset_bytes;
  uint32_t bytes, error;
  const char *text; /* in structured replies; a part of it */
} refused[] = {
  { "an empty read", NBD_CMD_READ, 0, 0, 0, NBD_EINVAL, "length 0" },
  { "an empty write", NBD_CMD_WRITE, 0, 0, 0, NBD_EINVAL, "length 0" },
  { "an empty trim", NBD_CMD_TRIM, 0, 0, 0, NBD_EINVAL, "length 0" },
  { "a long read", NBD_CMD_READ, 0, 0, LONGEST_BYTES + 1, NBD_EINVAL,
    "at most 65536" },
  { "the longest read of all", NBD_CMD_READ, 0, 0, UINT32_MAX, NBD_EINVAL,
    "at most 65536" },
  { "a long write", NBD_CMD_WRITE, 0, 0, LONGEST_BYTES + 512, NBD_EINVAL,
    "at most 65536" },
  { "a read at the end", NBD_CMD_READ, 0, DISK_BYTES, 1, NBD_EINVAL,
    "beyond the end" },
  { "a read over the end", NBD_CMD_READ, 0, DISK_BYTES - 512, 513, NBD_EINVAL,
    "beyond the end" },
  { "a read that wraps", NBD_CMD_READ, 0, UINT64_MAX - 511, 512, NBD_EINVAL,
    "beyond the end" },
  { "a write over the end", NBD_CMD_WRITE, 0, DISK_BYTES - 512, 1024,
    NBD_ENOSPC, "beyond the end" },
  { "a write that wraps", NBD_CMD_WRITE, 0, UINT64_MAX - 511, 1024, NBD_ENOSPC,
    "beyond the end" },
  { "zeroes over the end", NBD_CMD_WRITE_ZEROES, 0, 0, UINT32_MAX, NBD_ENOSPC,
    "beyond the end" },
  { "a trim over the end", NBD_CMD_TRIM, 0, DISK_BYTES - 512, 1024, NBD_EINVAL,
    "beyond the end" },
  { "a status over the end", NBD_CMD_BLOCK_STATUS, 0, 0, UINT32_MAX, NBD_EINVAL,
    "beyond the end" },
  { "a cache over the end", NBD_CMD_CACHE, 0, DISK_BYTES, 512, NBD_EINVAL,
    "beyond the end" },
  { "a write at half a block", NBD_CMD_WRITE, 0, 256, 512, NBD_EINVAL,
    "not a multiple" },
  { "a write of half a block", NBD_CMD_WRITE, 0, 512, 256, NBD_EINVAL,
    "not a multiple" },
  { "a write of one byte", NBD_CMD_WRITE, 0, 0, 1, NBD_EINVAL,
    "not a multiple" },
  { "a trim of half a block", NBD_CMD_TRIM, 0, 0, 256, NBD_EINVAL,
    "not a multiple" },
  { "zeroes at half a block", NBD_CMD_WRITE_ZEROES, 0, 1, 512, NBD_EINVAL,
    "not a multiple" },
  { "command 8", 8, 0, 0, 512, NBD_EINVAL, "command 8 was not offered" },
  { "command 65535", 65535, 0, 0, 512, NBD_EINVAL, "not offered" },
  { "a read with NO_HOLE", NBD_CMD_READ, NBD_CMD_FLAG_NO_HOLE, 0, 512,
    NBD_EINVAL, "flag 0x2 is none" },
  { "a read with all flags", NBD_CMD_READ, 0xffff, 0, 512, NBD_EINVAL,
    "is none of this command" },
  { "a write with DF", NBD_CMD_WRITE, NBD_CMD_FLAG_DF, 0, 512, NBD_EINVAL,
    "flag 0x4 is none" },
  { "a write with a flag that nobody knows", NBD_CMD_WRITE, 1 << 15, 0, 1024,
    NBD_EINVAL, "flag 0x8000 is none" },
  { "a trim with FAST_ZERO", NBD_CMD_TRIM, NBD_CMD_FLAG_FAST_ZERO, 0, 512,
    NBD_EINVAL, "flag 0x10 is none" },
  { "a flush of something", NBD_CMD_FLUSH, 0, 0, 512, NBD_EINVAL,
    "neither offset nor length" },
  { "a flush of somewhere", NBD_CMD_FLUSH, 0, 512, 0, NBD_EINVAL,
    "neither offset nor length" },
};

static const unsigned feature_sets[]
    = { 0, CLIENT_STRUCTURED, CLIENT_CONTEXT, CLIENT_CONTEXT | CLIENT_TCP };

static void
ask_for_refused (const struct refused *request, uint64_t cookie)
{
  client_ask (&client, request->type, request->flags, cookie,
              request->offset_bytes, request->bytes);
  if (request->type == NBD_CMD_WRITE)
    client_send (&client, data, request->bytes);
}

static void
check_refused (const struct refused *request, const struct answer *answer)
{
  ck_assert_msg (
      answer->error == request->error
          && (!client.structured || request->type == NBD_CMD_BLOCK_STATUS
              || strstr (answer->text, request->text) != NULL),
      "%s: error %" PRIu32 ", %s", request->what, answer->error, answer->text);
}

START_TEST (test_what_may_not_be_is_refused_and_the_next_is_served)
{
  bool is_answered[2 * NR (refused)] = { false };
  struct answer answer;

  begin ("size=16M", feature_sets[_i]);
  for (unsigned i = 0; i < NR (refused); i++) {
    ask_for_refused (&refused[i], i);
    client_answer (&client, &answer);
    ck_assert_uint_eq (answer.cookie, i);
    check_refused (&refused[i], &answer);
    expect_service ();
  }
  /* All at once, between requests that are well. */
  for (unsigned i = 0; i < NR (refused); i++) {
    ask_for_refused (&refused[i], 2 * i);
    client_ask (&client, NBD_CMD_FLUSH, 0, 2 * i + 1, 0, 0);
  }
  for (unsigned i = 0; i < 2 * NR (refused); i++) {
    client_answer (&client, &answer);
    require (answer.cookie < 2 * NR (refused));
    require (!is_answered[answer.cookie]);
    is_answered[answer.cookie] = true;
    if (answer.cookie % 2 == 0)
      check_refused (&refused[answer.cookie / 2], &answer);
    else
      ck_assert_uint_eq (answer.error, 0);
  }
  client_check (&client, 1024, memset (data, 0x11, 512), 512);
  client_check (&client, 0, memset (data, 0, 512), 512);
  client_close (&client);
  end ();
}
END_TEST

START_TEST (test_commands_that_were_not_offered_are_refused)
{
  rig_init (&rig);
  rig_start (&rig, "size=16M discard=0 readonly=1");
  client_open (&client, &rig, 0);
  client_do (&client, NBD_CMD_TRIM, 0, 0, 512, NBD_EINVAL);
  client_do (&client, NBD_CMD_BLOCK_STATUS, 0, 0, 512, NBD_EINVAL);
  client_do (&client, NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 512, NBD_EINVAL);
  client_do_write (&client, 0, data, 512, NBD_EPERM);
  client_do_write (&client, 0, data, sizeof data, NBD_EPERM);
  client_do (&client, NBD_CMD_READ, 0, 0, 512, 0);
  client_close (&client);
  rig_end (&rig);
}
END_TEST

/* A payload that nobody waits for, in pieces, and the connection goes on. */
START_TEST (test_payload_of_a_refused_write_is_thrown_away)
{
  static const uint32_t sizes[] = { 1, LONGEST_BYTES + 512, 8u << 20 };

  begin ("size=16M", CLIENT_STRUCTURED);
  for (unsigned i = 0; i < NR (sizes); i++) {
    client_ask (&client, NBD_CMD_WRITE, 0, i, 0, sizes[i]);
    /* The answer does not wait for it. */
    client_expect (&client, i, NBD_EINVAL);
    for (uint32_t at = 0; at < sizes[i]; at += sizeof data)
      client_send (&client, data,
                   sizes[i] - at < sizeof data ? sizes[i] - at : sizeof data);
    expect_service ();
  }
  client_close (&client);
  end ();
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Connections that end                                                      */

START_TEST (test_garbage_is_cut_off)
{
  struct rng rng;

  begin ("size=16M", CLIENT_STRUCTURED);
  rng_init (&rng, 1);
  client_do_write (&client, 0, data, 512, 0);
  client_ask (&client, NBD_CMD_READ, 0, READ_COOKIE (512, 1), 0, 512);
  for (unsigned i = 0; i < sizeof data; i++)
    data[i] = (uint8_t)rng_next (&rng);
  data[0] = 0;
  send_all (client.fd, data, sizeof data);
  /* What was asked for before may be answered, or not; then it ends. */
  while (!client_is_closed (&client))
    ;
  client_close (&client);
  await (nr_logged (" where a request should begin") == 1);
  ck_assert_uint_eq (nr_logged ("client 2: sent 0x00"), 0);
  end ();
}
END_TEST

START_TEST (test_wrong_magic_is_cut_off_and_told)
{
  uint8_t request[NBD_REQUEST_BYTES];

  begin ("size=16M", 0);
  put_request (request, NBD_CMD_READ, 0, 1, 0, 512);
  nbd_put32 (request, 0x12345678);
  client_send (&client, request, sizeof request);
  require (client_is_closed (&client));
  client_close (&client);
  ck_assert_uint_eq (
      nr_logged ("client 2: sent 0x12345678 where a request should begin"), 1);
  end ();
}
END_TEST

/* What came with it is not done; what came before is answered. */
START_TEST (test_nothing_is_done_after_disc)
{
  uint8_t bytes[3 * NBD_REQUEST_BYTES + 512];
  struct client other;

  begin ("size=16M irqmode=timer completion_nsec=1ms", 0);
  put_request (bytes, NBD_CMD_READ, 0, READ_COOKIE (512, 1), 0, 512);
  put_request (bytes + NBD_REQUEST_BYTES, NBD_CMD_DISC, 0, 2, 0, 0);
  put_request (bytes + 2 * NBD_REQUEST_BYTES, NBD_CMD_WRITE, 0, 3, 0, 512);
  memset (bytes + 3 * NBD_REQUEST_BYTES, 0xee, 512);
  client_send (&client, bytes, sizeof bytes);
  client_expect (&client, READ_COOKIE (512, 1), 0);
  require (client_is_closed (&client));
  client_close (&client);
  client_open (&other, &rig, 0);
  client_check (&other, 0, memset (data, 0, 512), 512);
  client_close (&other);
  end ();
}
END_TEST

/* It has said its last word, without farewell, and waits for the answers: it
 * has those of all that was begun, and what was not done by then was aborted.
 */
START_TEST (test_half_open_client_is_answered)
{
  struct answer answer;
  uint64_t seen = 0;
  unsigned nr = 0;

  begin ("size=16M irqmode=timer completion_nsec=2ms hw_queue_depth=4",
         feature_sets[_i]);
  for (unsigned i = 0; i < 64; i++)
    client_ask (&client, NBD_CMD_READ, 0, READ_COOKIE (4096, i), i * 4096,
                4096);
  /* Half of another request is no request. */
  client_send (&client, data, NBD_REQUEST_BYTES / 2);
  require (shutdown (client.fd, SHUT_WR) == 0);
  for (; client_try_answer (&client, &answer); nr++) {
    require (answer.error == 0 || answer.error == NBD_EIO);
    require ((answer.cookie & 0xffff) < 64);
    require ((seen & UINT64_C (1) << (answer.cookie & 63)) == 0);
    seen |= UINT64_C (1) << (answer.cookie & 63);
  }
  ck_assert_uint_ge (nr, 4); /* that had tags */
  require (client_is_closed (&client));
  client_close (&client);
  end ();
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Odd pieces, odd order                                                     */

static void
send_byte_by_byte (const uint8_t *bytes, size_t nr)
{
  for (size_t i = 0; i < nr; i++)
    client_send (&client, bytes + i, 1);
}

START_TEST (test_one_byte_at_a_time_is_as_good)
{
  uint8_t bytes[NBD_REQUEST_BYTES + 1024], handshake[256];
  size_t nr;
  int fd;

  begin ("size=16M", CLIENT_STRUCTURED);
  client_close (&client);
  fd = rig_connect (&rig);
  nr = put_handshake (handshake, CLIENT_CONTEXT);
  for (size_t i = 0; i < nr; i++)
    require (send_all (fd, handshake + i, 1));
  close (fd);
  client_open (&client, &rig, CLIENT_CONTEXT | CLIENT_TCP);
  for (unsigned i = 0; i < 4; i++) {
    put_request (bytes, NBD_CMD_WRITE, 0, i, 8192, 1024);
    memset (bytes + NBD_REQUEST_BYTES, (int)i, 1024);
    send_byte_by_byte (bytes, sizeof bytes);
    client_expect (&client, i, 0);
    put_request (bytes, NBD_CMD_READ, 0, READ_COOKIE (1024, i), 8192, 1024);
    send_byte_by_byte (bytes, NBD_REQUEST_BYTES);
    client_expect (&client, READ_COOKIE (1024, i), 0);
    require (memcmp (client.data, bytes + NBD_REQUEST_BYTES, 1024) == 0);
    /* And one of which the payload is not wanted. */
    put_request (bytes, NBD_CMD_WRITE, 0, i, 1, 1024);
    send_byte_by_byte (bytes, sizeof bytes);
    client_expect (&client, i, NBD_EINVAL);
  }
  client_close (&client);
  end ();
}
END_TEST

/* Everything at once, in pieces that have nothing to do with requests; each
 * answer comes once.  The same cookie twice is the client's affair. */
START_TEST (test_any_mix_in_any_pieces)
{
  enum { NR_REQUESTS = 400 };
  uint8_t *bytes = malloc (NR_REQUESTS * (NBD_REQUEST_BYTES + 4096));
  struct answer answer;
  size_t nr = 0, sent = 0;
  unsigned nr_answers = 0;
  struct rng rng;

  begin ("size=16M irqmode=timer completion_nsec=20us", feature_sets[_i]);
  rng_init (&rng, 2);
  for (unsigned i = 0; i < NR_REQUESTS; i++) {
    uint32_t length = (uint32_t)(1 + rng_below (&rng, 8)) * 512;
    unsigned type = (unsigned)rng_below (&rng, 5);
    bool is_refused = rng_percent (&rng, 20);

    if (type == NBD_CMD_DISC)
      type = NBD_CMD_WRITE;
    put_request (bytes + nr, type, is_refused ? 1 << 9 : 0,
                 type == NBD_CMD_READ ? READ_COOKIE (length, 5) : 5,
                 type == NBD_CMD_FLUSH ? 0 : rng_below (&rng, 1000) * 512,
                 type == NBD_CMD_FLUSH ? 0 : length);
    nr += NBD_REQUEST_BYTES;
    if (type == NBD_CMD_WRITE) {
      memset (bytes + nr, (int)i, length);
      nr += length;
    }
  }
  while (sent < nr) {
    size_t n = 1 + rng_below (&rng, 300);

    n = n < nr - sent ? n : nr - sent;
    client_send (&client, bytes + sent, n);
    sent += n;
  }
  for (; nr_answers < NR_REQUESTS; nr_answers++)
    client_answer (&client, &answer);
  require (shutdown (client.fd, SHUT_WR) == 0);
  require (client_is_closed (&client));
  client_close (&client);
  free (bytes);
  end ();
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("hostile");
  TCase *tcase = harness_case (suite, "hostile");

  tcase_add_loop_test (tcase,
                       test_what_may_not_be_is_refused_and_the_next_is_served,
                       0, NR (feature_sets));
  tcase_add_test (tcase, test_commands_that_were_not_offered_are_refused);
  tcase_add_test (tcase, test_payload_of_a_refused_write_is_thrown_away);
  tcase_add_test (tcase, test_garbage_is_cut_off);
  tcase_add_test (tcase, test_wrong_magic_is_cut_off_and_told);
  tcase_add_test (tcase, test_nothing_is_done_after_disc);
  tcase_add_loop_test (tcase, test_half_open_client_is_answered, 0,
                       NR (feature_sets));
  tcase_add_test (tcase, test_one_byte_at_a_time_is_as_good);
  tcase_add_loop_test (tcase, test_any_mix_in_any_pieces, 0, NR (feature_sets));
  return harness_main (suite);
}
