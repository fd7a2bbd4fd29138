/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-tls.c: the native server under TLS, with clients that no library would
 * be: what they send comes in pieces, before its time, in part, or is no TLS.
 */

#include <config.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls-client.h"

#define TLS_1_2 "NORMAL:-VERS-ALL:+VERS-TLS1.2:+ECDHE-PSK"
#define TLS_1_3 "NORMAL:-VERS-ALL:+VERS-TLS1.3:+ECDHE-PSK"
#define TLS_1_2_CBC TLS_1_2 ":-CIPHER-ALL:+AES-128-CBC"

static const char *const priorities[] = { TLS_1_2, TLS_1_3, TLS_1_2_CBC };

static struct rig rig;

static void
setup (void)
{
  rig_init (&rig);
  rig_use_tls (&rig, NEGOTIATION_TLS_REQUIRED);
}

static void
ask (struct tls_client *client, unsigned type, uint64_t cookie,
     uint64_t offset_bytes, uint32_t bytes)
{
  uint8_t request[NBD_REQUEST_BYTES];

  put_request (request, type, 0, cookie, offset_bytes, bytes);
  tls_client_send (client, request, sizeof request);
}

/* To a read, or of 0 bytes. */
static void
hear (struct tls_client *client, uint64_t cookie, void *data, uint32_t bytes)
{
  uint8_t head[NBD_SIMPLE_REPLY_BYTES];

  ck_assert_int_eq (tls_client_receive (client, head, sizeof head), 0);
  ck_assert_uint_eq (nbd_get32 (head), NBD_SIMPLE_REPLY_MAGIC);
  ck_assert_uint_eq (nbd_get32 (head + 4), 0);
  ck_assert_uint_eq (nbd_get64 (head + 8), cookie);
  ck_assert_int_eq (tls_client_receive (client, data, bytes), 0);
}

static void
hear_the_end (struct tls_client *client)
{
  uint8_t byte;

  ck_assert_int_eq (tls_client_receive (client, &byte, 1),
                    GNUTLS_E_SESSION_EOF);
}

static void
hear_no_more (struct tls_client *client)
{
  uint8_t byte;

  ck_assert_int_lt (tls_client_receive (client, &byte, 1), 0);
}

static bool
is_closed (int fd)
{
  struct client client = { .fd = fd };

  return client_is_closed (&client);
}

static void
must_be_served (void)
{
  struct tls_client client;
  uint8_t data[4096];

  tls_client_open (&client, &rig, NULL);
  ask (&client, NBD_CMD_READ, 1, 0, sizeof data);
  hear (&client, 1, data, sizeof data);
  ask (&client, NBD_CMD_DISC, 2, 0, 0);
  hear_the_end (&client);
  tls_client_vanish (&client);
}

/* ------------------------------------------------------------------------ */
/* What is written is read                                                   */

#define DISK_BYTES (UINT32_C (8) << 20)

static void
fill (uint8_t *data, uint32_t bytes, struct rng *rng)
{
  for (uint32_t i = 0; i < bytes; i++)
    data[i] = (uint8_t)rng_below (rng, 256);
}

/* Records of the client's begin and end anywhere in requests and data. */
static void
send_in_pieces (struct tls_client *client, const uint8_t *bytes, size_t nr,
                struct rng *rng)
{
  while (nr > 0) {
    size_t n = 1 + rng_below (rng, rng_percent (rng, 50) ? 20000 : 60);

    n = n < nr ? n : nr;
    tls_client_send (client, bytes, n);
    bytes += n;
    nr -= n;
  }
}

START_TEST (test_data_come_whole_in_records_of_any_size)
{
  uint8_t *written = malloc (DISK_BYTES), *read = malloc (DISK_BYTES);
  uint8_t *message = malloc (DISK_BYTES + NBD_REQUEST_BYTES);
  struct tls_client client;
  uint32_t bytes;
  struct rng rng;

  require (written != NULL && read != NULL && message != NULL);
  rng_init (&rng, (uint64_t)_i);
  rig_start (&rig, "size=8M");
  tls_client_open (&client, &rig, priorities[_i]);
  fill (written, DISK_BYTES, &rng);
  for (uint32_t at = 0; at < DISK_BYTES; at += bytes) {
    bytes = 512 * (1 + rng_below (&rng, rng_percent (&rng, 90) ? 32 : 4096));
    if (bytes > DISK_BYTES - at)
      bytes = DISK_BYTES - at;
    put_request (message, NBD_CMD_WRITE, 0, at, at, bytes);
    memcpy (message + NBD_REQUEST_BYTES, written + at, bytes);
    send_in_pieces (&client, message, NBD_REQUEST_BYTES + (size_t)bytes, &rng);
    hear (&client, at, NULL, 0);
  }
  ask (&client, NBD_CMD_READ, 1, 0, DISK_BYTES);
  hear (&client, 1, read, DISK_BYTES);
  ck_assert (memcmp (written, read, DISK_BYTES) == 0);

  /* Many at once, all of which fit into few records. */
  memset (read, 0, DISK_BYTES);
  for (unsigned i = 0; i < 64; i++)
    put_request (message + (size_t)NBD_REQUEST_BYTES * i, NBD_CMD_READ, 0, i,
                 UINT64_C (4096) * i, 4096);
  tls_client_send (&client, message, 64 * (size_t)NBD_REQUEST_BYTES);
  for (unsigned i = 0; i < 64; i++)
    hear (&client, i, read + 4096 * (size_t)i, 4096);
  ck_assert (memcmp (written, read, 64 * 4096) == 0);
  ask (&client, NBD_CMD_DISC, 2, 0, 0);
  hear_the_end (&client);
  tls_client_vanish (&client);
  free (written);
  free (read);
  free (message);
  rig_end (&rig);
}
END_TEST

/* More is decrypted than there is room or are tags for; the socket is empty by
 * then. */
START_TEST (test_what_has_come_and_must_wait_is_not_forgotten)
{
  uint8_t requests[NBD_REQUEST_BYTES * 512], *data = malloc (65536);
  struct tls_client client;
  uint64_t fault;

  require (data != NULL);
  rig.options.nr_threads = 1;
  rig.options.limits.max_buffer_bytes = 1 << 20;
  rig.options.limits.max_request_bytes = 1 << 19;
  rig_start (&rig, "size=1M hw_queue_depth=4 live=1");
  tls_client_open (&client, &rig, NULL);
  fault = rig_add_fault (&rig, "op=read,hang");
  for (unsigned i = 0; i < 512; i++)
    put_request (requests + (size_t)NBD_REQUEST_BYTES * i, NBD_CMD_READ, 0, i,
                 0, 65536);
  tls_client_send (&client, requests, sizeof requests);
  await (rig_nr_held (&rig, fault) == 4);
  rig_delete_fault (&rig, fault);
  for (unsigned i = 0; i < 512; i++) {
    uint8_t head[NBD_SIMPLE_REPLY_BYTES];

    ck_assert_int_eq (tls_client_receive (&client, head, sizeof head), 0);
    ck_assert_int_eq (tls_client_receive (&client, data, 65536), 0);
  }
  tls_client_vanish (&client);
  free (data);
  rig_await_idle (&rig, 0);
  rig_end (&rig);
}
END_TEST

/* The socket is full in the middle of a record, again and again. */
START_TEST (test_slow_reader_gets_all)
{
  uint8_t *data = malloc (1 << 20), *written = malloc (1 << 20);
  struct tls_client client;
  struct rng rng;

  require (data != NULL && written != NULL);
  rng_init (&rng, 0);
  rig_start (&rig, "size=1M");
  tls_client_open (&client, &rig, priorities[_i]);
  fill (written, 1 << 20, &rng);
  ask (&client, NBD_CMD_WRITE, 1, 0, 1 << 20);
  tls_client_send (&client, written, 1 << 20);
  hear (&client, 1, NULL, 0);
  for (unsigned i = 0; i < 16; i++)
    ask (&client, NBD_CMD_READ, i, 0, 1 << 20);
  await (rig_nr_in_engine (&rig) == 0);
  for (unsigned i = 0; i < 16; i++) {
    uint8_t head[NBD_SIMPLE_REPLY_BYTES];

    for (size_t at = 0; at < sizeof head; at++)
      ck_assert_int_eq (tls_client_receive (&client, head + at, 1), 0);
    for (size_t at = 0, nr; at < 1 << 20; at += nr) {
      nr = 1 + rng_below (&rng, 30000);
      nr = nr < (1 << 20) - at ? nr : (1 << 20) - at;
      ck_assert_int_eq (tls_client_receive (&client, data + at, nr), 0);
    }
    ck_assert (memcmp (data, written, 1 << 20) == 0);
  }
  tls_client_vanish (&client);
  free (data);
  free (written);
  rig_end (&rig);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* The end                                                                   */

/* Its handshake is over for the server, too: with TLS 1.3 a client is the first
 * to know. */
static void
ask_an_option (struct tls_client *client)
{
  uint8_t option[16], answer[20];

  nbd_put64 (option, NBD_OPTS_MAGIC);
  nbd_put32 (option + 8, NBD_OPT_STRUCTURED_REPLY);
  nbd_put32 (option + 12, 0);
  tls_client_send (client, option, sizeof option);
  ck_assert_int_eq (tls_client_receive (client, answer, sizeof answer), 0);
  ck_assert_uint_eq (nbd_get32 (answer + 12), NBD_REP_ACK);
}

START_TEST (test_drain_says_bye)
{
  struct tls_client client, other;
  uint8_t data[4096];
  uint64_t fault;
  int fd;

  rig_start (&rig, "size=1M live=1");
  tls_client_open (&client, &rig, priorities[_i]);
  fd = rig_connect (&rig);
  tls_client_begin (&other, fd);
  tls_client_init (&other, fd, priorities[_i], NULL, NULL);
  ck_assert_int_eq (tls_client_shake_hands (&other), 0);
  ask_an_option (&other);
  fault = rig_add_fault (&rig, "op=read,hang");
  ask (&client, NBD_CMD_READ, 1, 0, sizeof data);
  await (rig_nr_held (&rig, fault) == 1);
  rig_drain (&rig);
  rig_delete_fault (&rig, fault);
  hear (&client, 1, data, sizeof data);
  hear_the_end (&client);
  hear_the_end (&other);
  tls_client_vanish (&client);
  tls_client_vanish (&other);
  await (rig.nr_drained > 0);
  rig_stop (&rig);
}
END_TEST

/* With and without a close_notify, and without closing the socket: what is in
 * flight is aborted. */
START_TEST (test_who_ends_without_disc_is_abandoned)
{
  struct tls_client client;
  uint64_t fault;

  rig_start (&rig, "size=1M live=1");
  tls_client_open (&client, &rig, NULL);
  fault = rig_add_fault (&rig, "op=write,hang");
  ask (&client, NBD_CMD_WRITE, 1, 0, 4096);
  tls_client_send (&client, (const uint8_t[4096]){ 1 }, 4096);
  await (rig_nr_held (&rig, fault) == 1);
  if (_i)
    ck_assert_int_eq (gnutls_bye (client.session, GNUTLS_SHUT_WR), 0);
  else
    require (shutdown (client.fd, SHUT_WR) == 0);
  await (rig_nr_held (&rig, fault) == 0);
  await (server_nr_connections (rig.server) == 0
         || rig_nr_in_engine (&rig) == 0);
  tls_client_vanish (&client);
  rig_delete_fault (&rig, fault);
  rig_await_idle (&rig, 0);
  must_be_served ();
  rig_end (&rig);
}
END_TEST

/* At any byte of the handshake, of a request and of its data. */
START_TEST (test_client_vanishes_at_any_byte)
{
  uint8_t request[NBD_REQUEST_BYTES + 512] = { 0 };
  size_t nr_handshake, nr_record;
  struct tls_client client;
  int fd;

  rig_start (&rig, "size=1M");
  /* How long they are. */
  fd = rig_connect (&rig);
  tls_client_begin (&client, fd);
  tls_client_init (&client, fd, priorities[_i], NULL, NULL);
  client.keeps = true;
  shutdown (fd, SHUT_RD);
  (void)gnutls_handshake (client.session);
  nr_handshake = client.nr_kept;
  ck_assert_uint_gt (nr_handshake, 100);
  for (size_t i = 0; i <= nr_handshake; i += SANITIZED ? 17 : 1) {
    int other = rig_connect (&rig);
    struct tls_client begun;

    tls_client_begin (&begun, other);
    require (send_all (other, client.kept, i));
    close (other);
  }
  tls_client_vanish (&client);

  nr_record = sizeof request;
  for (size_t i = 0; i < nr_record; i += SANITIZED ? 37 : 7) {
    tls_client_open (&client, &rig, priorities[_i]);
    put_request (request, NBD_CMD_WRITE, 0, 1, 0, 512);
    client.keeps = true;
    tls_client_send (&client, request, sizeof request);
    nr_record = client.nr_kept;
    tls_client_send_kept (&client, i);
    tls_client_vanish (&client);
  }
  rig_await_idle (&rig, 0);
  must_be_served ();
  rig_end (&rig);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Pieces and stalls                                                         */

START_TEST (test_all_may_come_one_byte_at_a_time)
{
  uint8_t request[NBD_REQUEST_BYTES + 512] = { 0 };
  struct tls_client client;
  uint8_t data[512];
  int fd;

  rig_start (&rig, "size=1M");
  fd = rig_connect (&rig);
  tls_client_begin (&client, fd);
  tls_client_init (&client, fd, priorities[_i], NULL, NULL);
  client.one_by_one = true;
  ck_assert_int_eq (tls_client_shake_hands (&client), 0);
  nbd_put64 (request, NBD_OPTS_MAGIC);
  nbd_put32 (request + 8, NBD_OPT_EXPORT_NAME);
  tls_client_send (&client, request, 16);
  ck_assert_int_eq (tls_client_receive (&client, data, 10), 0);
  put_request (request, NBD_CMD_WRITE, 0, 1, 0, 512);
  memset (request + NBD_REQUEST_BYTES, 5, 512);
  tls_client_send (&client, request, sizeof request);
  hear (&client, 1, NULL, 0);
  ask (&client, NBD_CMD_READ, 2, 0, 512);
  hear (&client, 2, data, 512);
  ck_assert_mem_eq (data, request + NBD_REQUEST_BYTES, 512);
  tls_client_vanish (&client);
  rig_end (&rig);
}
END_TEST

START_TEST (test_handshake_that_stalls_is_cut_off)
{
  struct tls_client client;
  int fd;

  rig.options.limits.handshake_timeout_ms = 200;
  rig_start (&rig, "size=1M");
  fd = rig_connect (&rig);
  tls_client_begin (&client, fd);
  if (_i)
    require (send_all (fd, "\26\3\1\2\0", 5));
  ck_assert (is_closed (fd));
  await (server_nr_connections (rig.server) == 0);
  ck_assert_uint_eq (nr_logged ("cut off: has chosen no export in 200 ms"), 1);
  close (fd);
  rig_end (&rig);
}
END_TEST

START_TEST (test_half_a_record_is_half_a_request)
{
  struct tls_client client;

  rig.options.limits.stall_timeout_ms = 200;
  rig_start (&rig, "size=1M");
  tls_client_open (&client, &rig, priorities[_i]);
  client.keeps = true;
  ask (&client, NBD_CMD_READ, 1, 0, 512);
  tls_client_send_kept (&client, 20);
  hear_no_more (&client);
  await (server_nr_connections (rig.server) == 0);
  ck_assert_uint_eq (
      nr_logged ("cut off: for 200 ms it has sent nothing more of a request"),
      1);
  tls_client_vanish (&client);
  rig_end (&rig);
}
END_TEST

/* ------------------------------------------------------------------------ */
/* Attacks                                                                   */

/* Somebody on the way lets the server hear options ahead of the client's first
 * word under TLS. */
START_TEST (test_words_behind_starttls_close)
{
  uint8_t bytes[4 + 16 + 16];
  int fd;

  rig.options.tls = _i ? NEGOTIATION_TLS_ON : NEGOTIATION_TLS_REQUIRED;
  rig_start (&rig, "size=1M");
  fd = rig_connect (&rig);
  nbd_put32 (bytes, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
  nbd_put64 (bytes + 4, NBD_OPTS_MAGIC);
  nbd_put32 (bytes + 12, NBD_OPT_STARTTLS);
  nbd_put32 (bytes + 16, 0);
  nbd_put64 (bytes + 20, NBD_OPTS_MAGIC);
  nbd_put32 (bytes + 28, NBD_OPT_STRUCTURED_REPLY);
  nbd_put32 (bytes + 32, 0);
  require (send_all (fd, bytes, sizeof bytes));
  await (server_nr_connections (rig.server) == 0);
  ck_assert_uint_eq (
      nr_logged ("sent 16 bytes without TLS behind NBD_OPT_STARTTLS"), 1);
  close (fd);
  rig_end (&rig);
}
END_TEST

static const struct {
  const char *bytes;
  size_t nr;
} garbage[] = {
#define GARBAGE(bytes)                                                         \
  {                                                                            \
    bytes, sizeof bytes - 1                                                    \
  }
  GARBAGE ("IHAVEOPT\0\0\0\7\0\0\0\6\0\0\0\0\0\0"),
  GARBAGE ("\0\0\0\0\0"),
  GARBAGE ("\26\3\1\0\0"),
  GARBAGE ("\26\3\1\377\377\1\0\0\0"),
  GARBAGE ("\26\3\1\0\5\1\0\0\1\0"),
  GARBAGE ("\27\3\3\0\4abcd"),
  GARBAGE ("\25\3\3\0\2\2\50"),
  GARBAGE ("\24\3\3\0\1\1\24\3\3\0\1\1\24\3\3\0\1\1"),
  GARBAGE ("\200\56\1\0\2\0\25\0\0\0\20"),
};

START_TEST (test_no_client_hello_closes)
{
  struct tls_client client;
  int fd;

  rig_start (&rig, "size=1M");
  fd = rig_connect (&rig);
  tls_client_begin (&client, fd);
  require (send_all (fd, garbage[_i].bytes, garbage[_i].nr));
  require (shutdown (fd, SHUT_WR) == 0);
  await (server_nr_connections (rig.server) == 0);
  close (fd);
  must_be_served ();
  rig_end (&rig);
}
END_TEST

START_TEST (test_broken_record_closes)
{
  struct tls_client client;

  rig_start (&rig, "size=1M");
  tls_client_open (&client, &rig, priorities[_i]);
  client.keeps = true;
  ask (&client, NBD_CMD_READ, 1, 0, 512);
  client.kept[client.nr_kept / 2] ^= 1;
  tls_client_send_kept (&client, client.nr_kept);
  hear_no_more (&client);
  await (server_nr_connections (rig.server) == 0);
  ck_assert_uint_eq (nr_logged ("cut off: TLS: "), 1);
  tls_client_vanish (&client);
  must_be_served ();
  rig_end (&rig);
}
END_TEST

/* A record that was sent twice, by somebody else. */
START_TEST (test_replayed_record_closes)
{
  struct tls_client client;
  uint8_t data[512];
  size_t nr;

  rig_start (&rig, "size=1M");
  tls_client_open (&client, &rig, priorities[_i]);
  client.keeps = true;
  ask (&client, NBD_CMD_READ, 1, 0, 512);
  nr = client.nr_kept;
  require (send_all (client.fd, client.kept, nr));
  hear (&client, 1, data, sizeof data);
  tls_client_send_kept (&client, nr);
  hear_no_more (&client);
  await (server_nr_connections (rig.server) == 0);
  ck_assert_uint_eq (nr_logged ("cut off: TLS: "), 1);
  tls_client_vanish (&client);
  rig_end (&rig);
}
END_TEST

START_TEST (test_renegotiation_is_refused)
{
  struct tls_client client;

  rig_start (&rig, "size=1M");
  tls_client_open (&client, &rig, TLS_1_2);
  ck_assert_int_lt (gnutls_handshake (client.session), 0);
  await (server_nr_connections (rig.server) == 0);
  ck_assert_uint_eq (nr_logged ("the client wants to renegotiate"), 1);
  tls_client_vanish (&client);
  must_be_served ();
  rig_end (&rig);
}
END_TEST

START_TEST (test_keys_are_updated)
{
  struct tls_client client;
  uint8_t data[512];

  rig_start (&rig, "size=1M");
  tls_client_open (&client, &rig, TLS_1_3);
  for (unsigned i = 0; i < 3; i++) {
    ck_assert_int_eq (
        gnutls_session_key_update (client.session, i == 1 ? 0 : GNUTLS_KU_PEER),
        0);
    ask (&client, NBD_CMD_READ, i, 0, sizeof data);
    hear (&client, i, data, sizeof data);
  }
  tls_client_vanish (&client);
  rig_end (&rig);
}
END_TEST

START_TEST (test_flood_of_key_updates_ends)
{
  struct tls_client client;

  rig_start (&rig, "size=1M");
  tls_client_open (&client, &rig, TLS_1_3);
  for (unsigned i = 0; i < 100 && server_nr_connections (rig.server) > 0; i++)
    (void)gnutls_session_key_update (client.session, 0);
  await (server_nr_connections (rig.server) == 0);
  tls_client_vanish (&client);
  must_be_served ();
  rig_end (&rig);
}
END_TEST

static const char *const old_versions[] = {
  "NORMAL:-VERS-ALL:+VERS-TLS1.1:+ECDHE-PSK:+DHE-PSK",
  "NORMAL:-VERS-ALL:+VERS-TLS1.0:+ECDHE-PSK:+DHE-PSK",
  /* The key alone, which whoever has it later can read all with. */
  "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+PSK",
};

START_TEST (test_old_versions_are_refused)
{
  struct tls_client client;
  int fd;

  rig_start (&rig, "size=1M");
  fd = rig_connect (&rig);
  tls_client_begin (&client, fd);
  tls_client_init (&client, fd, old_versions[_i], NULL, NULL);
  ck_assert_int_lt (tls_client_shake_hands (&client), 0);
  await (server_nr_connections (rig.server) == 0);
  ck_assert_uint_eq (nr_logged ("refused: TLS handshake: "), 1);
  tls_client_vanish (&client);
  rig_end (&rig);
}
END_TEST

static const struct {
  const char *name, *key;
} strangers[] = {
  { NULL, "00112233445566778899aabbccddeefe" },
  { "mallory", NULL },
  { "alic", NULL },
  { "alice ", NULL },
  { "0123456789012345678901234567890123456789012345678901234567890123456789012"
    "3456789012345678901234567890123456789012345678901234567890123456789",
    NULL },
};

START_TEST (test_strangers_are_refused)
{
  rig_start (&rig, "size=1M");
  for (unsigned i = 0; i < NR (priorities); i++) {
    struct tls_client client;
    int fd = rig_connect (&rig);

    tls_client_begin (&client, fd);
    tls_client_init (&client, fd, priorities[i], strangers[_i].name,
                     strangers[_i].key);
    ck_assert_int_lt (tls_client_shake_hands (&client), 0);
    tls_client_vanish (&client);
    await (server_nr_connections (rig.server) == 0);
    ck_assert_uint_le (1, nr_logged ("refused: TLS handshake: "));
  }
  must_be_served ();
  rig_end (&rig);
}
END_TEST

/* Sessions of the old key go on. */
START_TEST (test_credentials_are_changed_live)
{
  struct tls_client client, late;
  uint8_t data[512];
  char path[] = "/tmp/blkmq-keys.XXXXXX";
  int fd = mkstemp (path);

  require (fd >= 0);
  require (dprintf (fd, "bob:ffffffffffffffffffffffffffffffff\n") > 0);
  close (fd);
  rig_start (&rig, "size=1M");
  tls_client_open (&client, &rig, NULL);
  rig_load_tls (&rig, &(struct tls_files){ .psk = path });
  unlink (path);
  ask (&client, NBD_CMD_READ, 1, 0, sizeof data);
  hear (&client, 1, data, sizeof data);

  fd = rig_connect (&rig);
  tls_client_begin (&late, fd);
  tls_client_init (&late, fd, NULL, NULL, NULL);
  ck_assert_int_lt (tls_client_shake_hands (&late), 0);
  tls_client_vanish (&late);
  fd = rig_connect (&rig);
  tls_client_begin (&late, fd);
  tls_client_init (&late, fd, NULL, "bob", "ffffffffffffffffffffffffffffffff");
  ck_assert_int_eq (tls_client_shake_hands (&late), 0);
  tls_client_vanish (&late);
  tls_client_vanish (&client);
  rig_end (&rig);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("tls");
  TCase *tcase = harness_case (suite, "tls");

  tcase_add_checked_fixture (tcase, setup, NULL);
  tcase_add_loop_test (tcase, test_data_come_whole_in_records_of_any_size, 0,
                       NR (priorities));
  tcase_add_test (tcase, test_what_has_come_and_must_wait_is_not_forgotten);
  tcase_add_loop_test (tcase, test_slow_reader_gets_all, 0, NR (priorities));
  tcase_add_loop_test (tcase, test_drain_says_bye, 0, NR (priorities));
  tcase_add_loop_test (tcase, test_who_ends_without_disc_is_abandoned, 0, 2);
  tcase_add_loop_test (tcase, test_client_vanishes_at_any_byte, 0,
                       NR (priorities));
  tcase_add_loop_test (tcase, test_all_may_come_one_byte_at_a_time, 0,
                       NR (priorities));
  tcase_add_loop_test (tcase, test_handshake_that_stalls_is_cut_off, 0, 2);
  tcase_add_loop_test (tcase, test_half_a_record_is_half_a_request, 0,
                       NR (priorities));
  tcase_add_loop_test (tcase, test_words_behind_starttls_close, 0, 2);
  tcase_add_loop_test (tcase, test_no_client_hello_closes, 0, NR (garbage));
  tcase_add_loop_test (tcase, test_broken_record_closes, 0, NR (priorities));
  tcase_add_loop_test (tcase, test_replayed_record_closes, 0, NR (priorities));
  tcase_add_test (tcase, test_renegotiation_is_refused);
  tcase_add_test (tcase, test_keys_are_updated);
  tcase_add_test (tcase, test_flood_of_key_updates_ends);
  tcase_add_loop_test (tcase, test_old_versions_are_refused, 0,
                       NR (old_versions));
  tcase_add_loop_test (tcase, test_strangers_are_refused, 0, NR (strangers));
  tcase_add_test (tcase, test_credentials_are_changed_live);
  return harness_main (suite);
}
