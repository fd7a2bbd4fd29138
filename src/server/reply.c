/* SPDX-License-Identifier: BSD-3-Clause
 *
 * reply.c: answers, made where they will be sent from.  Room for each is
 * reserved before its request is submitted, one behind the other; so the
 * answers to a batch that is done in order are one stretch of memory, data
 * included.
 *
 * The connection's worker.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "front/nbd-answer.h"
#include "server/internal.h"
#include "server/log.h"
#include "server/nbd.h"

/* A larger buffer than this is for one answer alone. */
#define MAX_SHARED_BYTES (UINT32_C (256) << 10)

/* error and length of the text */
#define ERROR_BYTES 6u

_Static_assert(NBD_EPERM == EPERM && NBD_EIO == EIO && NBD_ENOMEM == ENOMEM
                   && NBD_EINVAL == EINVAL && NBD_ENOSPC == ENOSPC
                   && NBD_ENOTSUP == EOPNOTSUPP && NBD_ESHUTDOWN == ESHUTDOWN,
               "NBD's errors are this system's");

/* ------------------------------------------------------------------------ */
/* Room                                                                       */

static bool
new_reply_buffer (struct connection *connection, uint32_t bytes)
{
  struct buffer_pool *pool = &connection->worker->buffers;
  struct buffer *buffer = NULL;

  /* Who asks for much at once gets more each time. */
  if (connection->reply != NULL
      && connection->reply_size_bytes < MAX_SHARED_BYTES)
    connection->reply_size_bytes *= 2;
  /* What is not needed any more is not held while more is asked for. */
  if (connection->reply != NULL && connection->reply->nr_refs == 1) {
    buffer_put (connection->reply);
    connection->reply = NULL;
  }
  if (bytes < connection->reply_size_bytes)
    buffer
        = buffer_alloc (pool, connection->reply_size_bytes, BUFFER_FOR_REPLY);
  if (buffer == NULL)
    buffer = buffer_alloc (pool, bytes, BUFFER_FOR_REPLY);
  if (buffer == NULL)
    return false;
  if (connection->reply != NULL)
    buffer_put (connection->reply);
  connection->reply = buffer;
  connection->reply_end = 0;
  return true;
}

uint8_t *
reply_reserve (struct connection *connection, uint32_t bytes,
               struct buffer **buffer)
{
  uint8_t *base;

  if (connection->reply != NULL && connection->reply->nr_refs == 1)
    connection->reply_end = 0; /* all that was in it has been sent */
  if (connection->reply == NULL
      || bytes > connection->reply->room - connection->reply_end) {
    if (!new_reply_buffer (connection, bytes))
      return NULL;
  }
  base = connection->reply->data + connection->reply_end;
  connection->reply_end += bytes;
  *buffer = buffer_get (connection->reply);
  return base;
}

/* ------------------------------------------------------------------------ */
/* Heads                                                                     */

uint32_t
reply_head_bytes (const struct connection *connection, uint16_t type)
{
  if (connection->structured_replies && type == NBD_CMD_READ)
    return NBD_CHUNK_BYTES + sizeof (uint64_t);
  return NBD_SIMPLE_REPLY_BYTES;
}

static void
put_simple (uint8_t *p, uint64_t cookie, uint32_t error)
{
  nbd_put32 (p, NBD_SIMPLE_REPLY_MAGIC);
  nbd_put32 (p + 4, error);
  nbd_put64 (p + 8, cookie);
}

void
reply_put_chunk (uint8_t *p, uint64_t cookie, unsigned flags, unsigned type,
                 uint32_t bytes)
{
  nbd_put32 (p, NBD_STRUCTURED_REPLY_MAGIC);
  nbd_put16 (p + 4, (uint16_t)flags);
  nbd_put16 (p + 6, (uint16_t)type);
  nbd_put64 (p + 8, cookie);
  nbd_put32 (p + 16, bytes);
}

static void
put_error (uint8_t *p, uint64_t cookie, uint32_t error, const char *text,
           uint32_t text_bytes)
{
  reply_put_chunk (p, cookie, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_ERROR,
                   ERROR_BYTES + text_bytes);
  nbd_put32 (p + NBD_CHUNK_BYTES, error);
  nbd_put16 (p + NBD_CHUNK_BYTES + 4, (uint16_t)text_bytes);
  memcpy (p + NBD_CHUNK_BYTES + ERROR_BYTES, text, text_bytes);
}

/* ------------------------------------------------------------------------ */
/* Answers                                                                   */

/* With a text, if the client can read it and there is room.  ERROR 0: a
 * success without data. */
void
reply_error (struct connection *connection, uint64_t cookie, uint32_t error,
             const char *text)
{
  bool has_text = connection->structured_replies && error != 0;
  uint32_t text_bytes = has_text ? (uint32_t)strlen (text) : 0;
  uint32_t bytes = has_text ? NBD_CHUNK_BYTES + ERROR_BYTES + text_bytes
                            : NBD_SIMPLE_REPLY_BYTES;
  struct buffer *buffer;
  uint8_t *base = reply_reserve (connection, bytes, &buffer);

  if (base == NULL) {
    connection_close (connection, LOG_LEVEL_WARNING,
                      "cut off: no memory for an answer");
    return;
  }
  if (has_text)
    put_error (base, cookie, error, text, text_bytes);
  else
    put_simple (base, cookie, error);
  output_add (connection, base, bytes, buffer);
  buffer_put (buffer);
}

static void __attribute__ ((cold)) reply_failure (struct command *command)
{
  struct connection *connection = command->connection;
  const struct nbd_answer *answer = nbd_answer (command->status);
  uint32_t error = (uint32_t)answer->told;
  char buf[NBD_ANSWER_WHY_BYTES];
  const char *why = nbd_answer_why (answer, connection->limits,
                                    command->offset_bytes, command->bytes, buf);

  if (connection->must_refuse && command->status == BLKMQ_STS_ABORTED) {
    error = NBD_ESHUTDOWN;
    why = SERVER_ENDS;
  }
  /* This one is for fast zeroes alone. */
  if (error == NBD_ENOTSUP && !(command->flags & NBD_CMD_FLAG_FAST_ZERO))
    error = NBD_EINVAL;
  log_debug ("%s: %s%s of %" PRIu32 " bytes at offset %" PRIu64 ": %s",
             connection->name, connection->export->prefix,
             blkmq_op_name (command->io.op), command->bytes,
             command->offset_bytes, why);
  reply_error (connection, command->cookie, error, why);
}

static void
reply_data (struct command *command)
{
  struct connection *connection = command->connection;
  uint32_t head_bytes = reply_head_bytes (connection, NBD_CMD_READ);
  uint64_t lead_bytes = command->offset_bytes - command->io.offset_bytes;
  uint8_t *base = command->reply + lead_bytes;

  if (connection->structured_replies) {
    if (!(command->flags & NBD_CMD_FLAG_DF) && reply_sparse_read (command))
      return;
    reply_put_chunk (base, command->cookie, NBD_REPLY_FLAG_DONE,
                     NBD_REPLY_TYPE_OFFSET_DATA,
                     (uint32_t)sizeof (uint64_t) + command->bytes);
    nbd_put64 (base + NBD_CHUNK_BYTES, command->offset_bytes);
  } else
    put_simple (base, command->cookie, 0);
  output_add (connection, base, head_bytes + command->bytes,
              command->reply_buffer);
}

void
reply_to_command (struct command *command)
{
  if (__builtin_expect (command->status != BLKMQ_STS_OK, 0)) {
    reply_failure (command);
    return;
  }
  if (command->type == NBD_CMD_READ) {
    reply_data (command);
    return;
  }
  put_simple (command->reply, command->cookie, 0);
  output_add (command->connection, command->reply, NBD_SIMPLE_REPLY_BYTES,
              command->reply_buffer);
}
