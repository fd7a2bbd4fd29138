/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-truncated.c: options that end at each byte, because the client goes, or
 * because it says so.
 */

#include <config.h>

#include <string.h>
#include <sys/socket.h>

#include "rig.h"

#define NAME "disk"
#define CONTEXT "base:allocation"
#define GREETING_BYTES 18u
#define REPLY_BYTES 20u

static struct rig rig;

static const struct option {
  uint32_t number;
  uint32_t bytes;
  const char *data;
} options[] = {
  { NBD_OPT_EXPORT_NAME, 4, NAME },
  { NBD_OPT_ABORT, 0, "" },
  { NBD_OPT_LIST, 0, "" },
  { NBD_OPT_STARTTLS, 0, "" },
  { NBD_OPT_INFO, 14, "\0\0\0\4" NAME "\0\2\0\1\0\3" },
  { NBD_OPT_GO, 12, "\0\0\0\4" NAME "\0\1\0\3" },
  { NBD_OPT_STRUCTURED_REPLY, 0, "" },
  { NBD_OPT_LIST_META_CONTEXT, 31,
    "\0\0\0\4" NAME "\0\0\0\1\0\0\0\17" CONTEXT },
  { NBD_OPT_SET_META_CONTEXT, 31, "\0\0\0\4" NAME "\0\0\0\1\0\0\0\17" CONTEXT },
  { 99, 5, "which" },
};

static size_t
put_option (uint8_t *p, uint32_t number, const void *data, uint32_t bytes)
{
  nbd_put64 (p, NBD_OPTS_MAGIC);
  nbd_put32 (p + 8, number);
  nbd_put32 (p + 12, bytes);
  memcpy (p + 16, data, bytes);
  return 16 + bytes;
}

/* Client flags, and what must have been said before. */
static size_t
put_begin (uint8_t *p, const struct option *option)
{
  nbd_put32 (p, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
  if (option->number == NBD_OPT_LIST_META_CONTEXT
      || option->number == NBD_OPT_SET_META_CONTEXT)
    return 4 + put_option (p + 4, NBD_OPT_STRUCTURED_REPLY, "", 0);
  return 4;
}

static void
begin_client (struct client *client)
{
  memset (client, 0, sizeof *client);
  client->fd = rig_connect (&rig);
}

static void
expect_greeting (struct client *client)
{
  uint8_t greeting[GREETING_BYTES];

  require (client_receive (client, greeting, sizeof greeting));
  require (nbd_get64 (greeting) == NBD_MAGIC);
}

/* The type of the next reply, which is to NUMBER.  False: closed, and not in
 * the middle of one. */
static bool
take_reply (struct client *client, uint32_t number, uint32_t *type)
{
  uint8_t head[REPLY_BYTES], data[4096];

  if (!client_receive (client, head, 1))
    return false;
  require (client_receive (client, head + 1, sizeof head - 1));
  require (nbd_get64 (head) == NBD_REP_MAGIC);
  ck_assert_uint_eq (nbd_get32 (head + 8), number);
  *type = nbd_get32 (head + 12);
  require (nbd_get32 (head + 16) <= sizeof data);
  require (client_receive (client, data, nbd_get32 (head + 16)));
  return true;
}

/* The option may be the one before it. */
static void
expect_no_reply (struct client *client, size_t nr_before)
{
  uint32_t type;

  if (nr_before > 4) {
    require (take_reply (client, NBD_OPT_STRUCTURED_REPLY, &type));
    ck_assert_uint_eq (type, NBD_REP_ACK);
  }
  require (client_is_closed (client));
}

/* Nothing is answered, and the connection is closed. */
START_TEST (test_client_ends_at_each_byte)
{
  const struct option *option = &options[_i];
  size_t nr_before, nr;
  uint8_t bytes[128];

  rig_init (&rig);
  rig_start (&rig, "size=1M export=" NAME);
  nr_before = put_begin (bytes, option);
  nr = nr_before
       + put_option (bytes + nr_before, option->number, option->data,
                     option->bytes);
  for (size_t i = nr_before; i < nr; i++) {
    struct client client;

    begin_client (&client);
    client_send (&client, bytes, i);
    require (shutdown (client.fd, SHUT_WR) == 0);
    expect_greeting (&client);
    expect_no_reply (&client, nr_before);
    client_close (&client);
  }
  rig_await_idle (&rig, 0);
  rig_end (&rig);
}
END_TEST

/* The option says that it is shorter.  It is refused, and the next one is
 * understood. */
START_TEST (test_option_ends_at_each_byte)
{
  const struct option *option = &options[_i];

  rig_init (&rig);
  rig_start (&rig, "size=1M export=" NAME);
  for (uint32_t i = 0; i < option->bytes; i++) {
    struct client client;
    uint8_t bytes[128];
    uint32_t type;
    size_t nr;

    if (option->number == NBD_OPT_EXPORT_NAME)
      break; /* a name of any length is one */
    begin_client (&client);
    nr = put_begin (bytes, option);
    nr += put_option (bytes + nr, option->number, option->data, i);
    nr += put_option (bytes + nr, NBD_OPT_ABORT, "", 0);
    client_send (&client, bytes, nr);
    expect_greeting (&client);
    if (option->number >= NBD_OPT_LIST_META_CONTEXT && option->number < 99)
      require (take_reply (&client, NBD_OPT_STRUCTURED_REPLY, &type));
    require (take_reply (&client, option->number, &type));
    ck_assert_uint_eq (type, option->number == 99 ? NBD_REP_ERR_UNSUP
                                                  : NBD_REP_ERR_INVALID);
    require (take_reply (&client, NBD_OPT_ABORT, &type));
    ck_assert_uint_eq (type, NBD_REP_ACK);
    require (client_is_closed (&client));
    client_close (&client);
  }
  rig_await_idle (&rig, 0);
  rig_end (&rig);
}
END_TEST

/* A name that is no export's, in this case a shorter one. */
START_TEST (test_name_ends_at_each_byte)
{
  rig_init (&rig);
  rig_start (&rig, "size=1M export=" NAME);
  for (uint32_t i = 0; i <= sizeof NAME - 1; i++) {
    struct client client;
    uint8_t bytes[64];
    size_t nr = put_begin (bytes, &options[0]);

    begin_client (&client);
    nr += put_option (bytes + nr, NBD_OPT_EXPORT_NAME, NAME, i);
    client_send (&client, bytes, nr);
    expect_greeting (&client);
    if (i == sizeof NAME - 1) {
      uint8_t answer[10];

      require (client_receive (&client, answer, sizeof answer));
      ck_assert_uint_eq (nbd_get64 (answer), 1 << 20);
    } else
      require (client_is_closed (&client));
    client_close (&client);
  }
  rig_await_idle (&rig, 0);
  rig_end (&rig);
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("truncated");
  TCase *tcase = harness_case (suite, "truncated");

  tcase_add_loop_test (tcase, test_client_ends_at_each_byte, 0, NR (options));
  tcase_add_loop_test (tcase, test_option_ends_at_each_byte, 0, NR (options));
  tcase_add_test (tcase, test_name_ends_at_each_byte);
  return harness_main (suite);
}
