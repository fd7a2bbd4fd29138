/* SPDX-License-Identifier: BSD-3-Clause
 *
 * client.c: the clients' side of the wire.  Whatever the server says that it
 * may not say ends the test.
 */

#include <config.h>

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rig.h"
#include "server/negotiate.h"

#define CONTEXT_NAME "base:allocation"

/* ------------------------------------------------------------------------ */
/* Bytes                                                                     */

bool
send_all (int fd, const void *bytes, size_t nr)
{
  const uint8_t *p = bytes;

  while (nr > 0) {
    ssize_t n = send (fd, p, nr, MSG_NOSIGNAL);

    if (n < 0) {
      require (errno == EPIPE || errno == ECONNRESET || errno == EINTR);
      if (errno != EINTR)
        return false;
      continue;
    }
    p += n;
    nr -= (size_t)n;
  }
  return true;
}

static bool
receive_all (int fd, void *bytes, size_t nr)
{
  uint8_t *p = bytes;

  while (nr > 0) {
    ssize_t n = recv (fd, p, nr, 0);

    if (n < 0 && errno == EINTR)
      continue;
    require (n >= 0 || errno == ECONNRESET);
    if (n <= 0)
      return false;
    p += n;
    nr -= (size_t)n;
  }
  return true;
}

void
client_send (struct client *client, const void *bytes, size_t nr)
{
  require (send_all (client->fd, bytes, nr));
}

bool
client_receive (struct client *client, void *bytes, size_t nr)
{
  return receive_all (client->fd, bytes, nr);
}

void
client_await_received (const struct client *client)
{
  int nr;

  await (ioctl (client->fd, SIOCOUTQ, &nr) == 0 && nr == 0);
}

bool
client_is_closed (struct client *client)
{
  uint8_t byte;

  return !receive_all (client->fd, &byte, 1);
}

/* ------------------------------------------------------------------------ */
/* The handshake                                                             */

static size_t
put_option (uint8_t *p, uint32_t option, const void *data, uint32_t bytes)
{
  nbd_put64 (p, NBD_OPTS_MAGIC);
  nbd_put32 (p + 8, option);
  nbd_put32 (p + 12, bytes);
  memcpy (p + 16, data, bytes);
  return 16 + bytes;
}

size_t
put_handshake_to (uint8_t *p, unsigned features, const char *name)
{
  uint32_t name_bytes = (uint32_t)strlen (name);
  uint8_t data[4 + 64 + 4 + 4 + sizeof CONTEXT_NAME - 1];
  uint8_t *end = data + 4 + name_bytes;
  size_t nr = 4;

  require (name_bytes <= 64);
  nbd_put32 (p, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
  if (features & (CLIENT_STRUCTURED | CLIENT_CONTEXT))
    nr += put_option (p + nr, NBD_OPT_STRUCTURED_REPLY, "", 0);
  nbd_put32 (data, name_bytes);
  memcpy (data + 4, name, name_bytes);
  if (features & CLIENT_CONTEXT) {
    nbd_put32 (end, 1);
    nbd_put32 (end + 4, sizeof CONTEXT_NAME - 1);
    memcpy (end + 8, CONTEXT_NAME, sizeof CONTEXT_NAME - 1);
    nr += put_option (p + nr, NBD_OPT_SET_META_CONTEXT, data,
                      4 + name_bytes + 8 + sizeof CONTEXT_NAME - 1);
  }
  nbd_put16 (end, 0); /* no information but what comes anyway */
  return nr + put_option (p + nr, NBD_OPT_GO, data, 4 + name_bytes + 2);
}

size_t
put_handshake (uint8_t *p, unsigned features)
{
  return put_handshake_to (p, features, "");
}

/* Replies to options, up to the ack of GO. */
static void
await_go (struct client *client)
{
  uint8_t head[20], data[4096];

  for (;;) {
    uint32_t option, type, bytes;

    require (client_receive (client, head, sizeof head));
    require (nbd_get64 (head) == NBD_REP_MAGIC);
    option = nbd_get32 (head + 8);
    type = nbd_get32 (head + 12);
    bytes = nbd_get32 (head + 16);
    require (bytes <= sizeof data && client_receive (client, data, bytes));
    require (type < NBD_REP_ERR (0));
    if (option == NBD_OPT_GO && type == NBD_REP_INFO
        && nbd_get16 (data) == NBD_INFO_EXPORT) {
      client->size_bytes = nbd_get64 (data + 2);
      client->transmission_flags = nbd_get16 (data + 10);
    }
    if (option == NBD_OPT_GO && type == NBD_REP_ACK)
      return;
  }
}

static void
begin (struct client *client, int fd, unsigned features, const char *name)
{
  uint8_t greeting[18], handshake[256];

  memset (client, 0, sizeof *client);
  client->fd = fd;
  client->structured = features & (CLIENT_STRUCTURED | CLIENT_CONTEXT);
  client_send (client, handshake, put_handshake_to (handshake, features, name));
  require (client_receive (client, greeting, sizeof greeting));
  require (nbd_get64 (greeting) == NBD_MAGIC);
  require (nbd_get64 (greeting + 8) == NBD_OPTS_MAGIC);
  await_go (client);
  require (client->size_bytes > 0);
}

void
client_begin (struct client *client, int fd, unsigned features)
{
  begin (client, fd, features, "");
}

void
client_open_export (struct client *client, struct rig *rig, unsigned features,
                    const char *name)
{
  begin (client, rig_connect (rig), features, name);
}

void
client_open (struct client *client, struct rig *rig, unsigned features)
{
  client_begin (
      client, features & CLIENT_TCP ? rig_connect_tcp (rig) : rig_connect (rig),
      features);
}

void
client_close (struct client *client)
{
  close (client->fd);
  free (client->data);
}

/* ------------------------------------------------------------------------ */
/* Requests                                                                  */

void
put_request (uint8_t *p, unsigned type, unsigned flags, uint64_t cookie,
             uint64_t offset_bytes, uint32_t bytes)
{
  nbd_put32 (p, NBD_REQUEST_MAGIC);
  nbd_put16 (p + 4, (uint16_t)flags);
  nbd_put16 (p + 6, (uint16_t)type);
  nbd_put64 (p + 8, cookie);
  nbd_put64 (p + 16, offset_bytes);
  nbd_put32 (p + 24, bytes);
}

void
client_ask (struct client *client, unsigned type, unsigned flags,
            uint64_t cookie, uint64_t offset_bytes, uint32_t bytes)
{
  uint8_t request[NBD_REQUEST_BYTES];

  put_request (request, type, flags, cookie, offset_bytes, bytes);
  client_send (client, request, sizeof request);
}

void
client_write (struct client *client, unsigned flags, uint64_t cookie,
              uint64_t offset_bytes, const void *data, uint32_t bytes)
{
  client_ask (client, NBD_CMD_WRITE, flags, cookie, offset_bytes, bytes);
  client_send (client, data, bytes);
}

/* ------------------------------------------------------------------------ */
/* Answers                                                                   */

static uint8_t *
room_for (struct client *client, uint32_t bytes)
{
  if (client->data == NULL || client->data_room < bytes) {
    free (client->data);
    client->data_room = bytes + 1;
    client->data = malloc (client->data_room);
    require (client->data != NULL);
  }
  /* What the server does not tell must not look right by chance. */
  memset (client->data, 0xdb, bytes);
  return client->data;
}

static bool
take_simple (struct client *client, struct answer *answer)
{
  uint8_t rest[NBD_SIMPLE_REPLY_BYTES - 4];

  if (!client_receive (client, rest, sizeof rest))
    return false;
  answer->error = nbd_get32 (rest);
  answer->cookie = nbd_get64 (rest + 4);
  answer->nr_chunks = 1;
  answer->bytes = answer->error == 0 ? (uint32_t)(answer->cookie >> 32) : 0;
  /* Where structured replies were chosen a read has no other. */
  require (!client->structured || answer->bytes == 0);
  answer->data = room_for (client, answer->bytes);
  return client_receive (client, client->data, answer->bytes);
}

static bool
take_error (struct client *client, struct answer *answer, uint32_t bytes)
{
  uint8_t head[6];
  uint16_t nr;

  require (bytes >= sizeof head);
  if (!client_receive (client, head, sizeof head))
    return false;
  answer->error = nbd_get32 (head);
  require (answer->error != 0);
  nr = nbd_get16 (head + 4);
  require (nr == bytes - sizeof head && nr < sizeof answer->text);
  if (!client_receive (client, answer->text, nr))
    return false;
  answer->text[nr] = '\0';
  return true;
}

/* BASE: where the first piece of a read begins; the pieces are in order. */
static bool
take_piece (struct client *client, struct answer *answer, unsigned type,
            uint32_t bytes, uint64_t *base)
{
  uint32_t room = (uint32_t)(answer->cookie >> 32), nr;
  uint8_t head[12];
  uint32_t head_bytes = type == NBD_REPLY_TYPE_OFFSET_HOLE ? 12 : 8;

  require (bytes >= head_bytes);
  if (!client_receive (client, head, head_bytes))
    return false;
  if (answer->nr_chunks == 1) {
    *base = nbd_get64 (head);
    answer->data = room_for (client, room);
  }
  require (nbd_get64 (head) == *base + answer->bytes);
  if (type == NBD_REPLY_TYPE_OFFSET_HOLE) {
    require (bytes == head_bytes);
    nr = nbd_get32 (head + 8);
    require (nr > 0 && nr <= room - answer->bytes);
    memset (client->data + answer->bytes, 0, nr);
    answer->nr_holes++;
  } else {
    nr = bytes - head_bytes;
    require (nr > 0 && nr <= room - answer->bytes);
    if (!client_receive (client, client->data + answer->bytes, nr))
      return false;
    answer->nr_data_chunks++;
  }
  answer->bytes += nr;
  require (answer->nr_pieces < MAX_ANSWER_PIECES);
  answer->pieces[answer->nr_pieces].offset_bytes = nbd_get64 (head);
  answer->pieces[answer->nr_pieces].bytes = nr;
  answer->pieces[answer->nr_pieces++].is_hole
      = type == NBD_REPLY_TYPE_OFFSET_HOLE;
  return true;
}

static bool
take_extents (struct client *client, struct answer *answer, uint32_t bytes)
{
  uint8_t entry[8];

  require (bytes >= 12 && (bytes - 4) % 8 == 0);
  require ((bytes - 4) / 8 <= MAX_ANSWER_EXTENTS);
  if (!client_receive (client, entry, 4))
    return false;
  require (nbd_get32 (entry) == CONTEXT_ALLOCATION);
  answer->nr_extents = (bytes - 4) / 8;
  for (unsigned i = 0; i < answer->nr_extents; i++) {
    if (!client_receive (client, entry, sizeof entry))
      return false;
    answer->extents[i].bytes = nbd_get32 (entry);
    answer->extents[i].type = nbd_get32 (entry + 4);
    require (answer->extents[i].bytes > 0);
  }
  return true;
}

/* The server never mixes the chunks of two answers. */
static bool
take_chunks (struct client *client, struct answer *answer)
{
  uint8_t rest[NBD_CHUNK_BYTES - 4], magic[4];
  uint64_t base = 0;

  for (;;) {
    unsigned flags, type;
    uint32_t bytes;

    if (!client_receive (client, rest, sizeof rest))
      return false;
    flags = nbd_get16 (rest);
    type = nbd_get16 (rest + 2);
    bytes = nbd_get32 (rest + 12);
    require ((flags & ~NBD_REPLY_FLAG_DONE) == 0);
    require (answer->nr_chunks == 0 || answer->cookie == nbd_get64 (rest + 4));
    answer->cookie = nbd_get64 (rest + 4);
    answer->nr_chunks++;
    switch (type) {
    case NBD_REPLY_TYPE_NONE:
      require (bytes == 0 && (flags & NBD_REPLY_FLAG_DONE));
      break;
    case NBD_REPLY_TYPE_OFFSET_DATA:
    case NBD_REPLY_TYPE_OFFSET_HOLE:
      if (!take_piece (client, answer, type, bytes, &base))
        return false;
      break;
    case NBD_REPLY_TYPE_BLOCK_STATUS:
      if (!take_extents (client, answer, bytes))
        return false;
      break;
    default:
      require (type == NBD_REPLY_TYPE_ERROR);
      if (!take_error (client, answer, bytes))
        return false;
    }
    if (flags & NBD_REPLY_FLAG_DONE)
      break;
    if (!client_receive (client, magic, sizeof magic))
      return false;
    require (nbd_get32 (magic) == NBD_STRUCTURED_REPLY_MAGIC);
  }
  require (answer->error != 0 || answer->bytes == answer->cookie >> 32);
  return true;
}

bool
client_try_answer (struct client *client, struct answer *answer)
{
  uint8_t magic[4];

  answer->error = answer->bytes = 0;
  answer->nr_chunks = answer->nr_data_chunks = answer->nr_holes = 0;
  answer->nr_extents = answer->nr_pieces = 0;
  answer->text[0] = '\0';
  if (!client_receive (client, magic, sizeof magic))
    return false;
  if (nbd_get32 (magic) == NBD_SIMPLE_REPLY_MAGIC)
    return take_simple (client, answer);
  require (nbd_get32 (magic) == NBD_STRUCTURED_REPLY_MAGIC);
  require (client->structured);
  return take_chunks (client, answer);
}

void
client_answer (struct client *client, struct answer *answer)
{
  require (client_try_answer (client, answer));
}

void
client_expect (struct client *client, uint64_t cookie, uint32_t error)
{
  struct answer answer;

  client_answer (client, &answer);
  ck_assert_uint_eq (answer.cookie, cookie);
  ck_assert_uint_eq (answer.error, error);
}

void
client_do (struct client *client, unsigned type, unsigned flags,
           uint64_t offset_bytes, uint32_t bytes, uint32_t error)
{
  uint64_t cookie = type == NBD_CMD_READ ? READ_COOKIE (bytes, 77) : 77;

  client_ask (client, type, flags, cookie, offset_bytes, bytes);
  client_expect (client, cookie, error);
}

void
client_do_write (struct client *client, uint64_t offset_bytes, const void *data,
                 uint32_t bytes, uint32_t error)
{
  client_write (client, 0, 78, offset_bytes, data, bytes);
  client_expect (client, 78, error);
}

void
client_check (struct client *client, uint64_t offset_bytes, const void *data,
              uint32_t bytes)
{
  client_do (client, NBD_CMD_READ, 0, offset_bytes, bytes, 0);
  require (memcmp (client->data, data, bytes) == 0);
}
