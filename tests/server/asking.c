/* SPDX-License-Identifier: BSD-3-Clause
 *
 * asking.c: one server, one client, and what it asks.  The test's thread.
 */

#include <config.h>

#include <string.h>

#include "asking.h"

struct rig rig;
struct client client;
struct answer answer;
uint8_t ones[MB];

void
begin (const char *keys, unsigned features)
{
  rig_init (&rig);
  rig_start (&rig, keys);
  client_open (&client, &rig, features);
  memset (ones, 1, sizeof ones);
}

void
end (void)
{
  client_close (&client);
  rig_end (&rig);
}

void
write_ones (uint64_t offset_bytes, uint32_t bytes)
{
  client_do_write (&client, offset_bytes, ones, bytes, 0);
}

void
ask_read (unsigned flags, uint64_t offset_bytes, uint32_t bytes)
{
  client_ask (&client, NBD_CMD_READ, flags, READ_COOKIE (bytes, 1),
              offset_bytes, bytes);
  client_answer (&client, &answer);
  ck_assert_uint_eq (answer.cookie, READ_COOKIE (bytes, 1));
}

void
ask_status (unsigned flags, uint64_t offset_bytes, uint32_t bytes)
{
  client_ask (&client, NBD_CMD_BLOCK_STATUS, flags, 2, offset_bytes, bytes);
  client_answer (&client, &answer);
  ck_assert_uint_eq (answer.cookie, 2);
  ck_assert_uint_eq (answer.error, 0);
  ck_assert_uint_eq (answer.nr_chunks, 1);
}
