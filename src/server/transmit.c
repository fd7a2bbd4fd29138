/* SPDX-License-Identifier: BSD-3-Clause
 *
 * transmit.c: what clients ask for.  All requests that have come are taken
 * together, as far as there is room for them, and submitted as one batch.
 *
 * The connection's worker; but the engine calls command_end_io and
 * command_give_back on any thread.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "server/internal.h"
#include "server/log.h"
#include "server/nbd.h"

/* So much is read for a client, and then sent, before more is read: it is still
 * in the cache then, and no socket takes more at once. */
#define MAX_BATCH_BYTES (UINT32_C (256) << 10)

enum taken {
  TAKEN,
  TAKEN_NOTHING, /* there is none, or it must wait */
  TAKEN_LAST,    /* NBD_CMD_DISC */
  TAKEN_GARBAGE,
};

/* ------------------------------------------------------------------------ */
/* The end of a command                                                      */

static void
release (struct command *command)
{
  struct connection *connection = command->connection;

  if (command->data != NULL)
    buffer_put (command->data);
  buffer_put (command->reply_buffer);
  worker_command_free (connection->worker, command);
  connection_put_command (connection);
}

static void
command_ended (struct command *command)
{
  if (command->connection->phase != PHASE_CLOSED)
    reply_to_command (command);
  /* Not before: an answer for which there is no memory closes the connection,
   * and the abort may give this one back in there. */
  command->is_ended = true;
  if (command->is_given_back)
    release (command);
}

static void
command_given_back (struct command *command)
{
  command->is_given_back = true;
  if (command->is_ended)
    release (command);
}

void
command_was_mailed (struct command *command, uint32_t mail)
{
  /* The latter may free it. */
  if (mail & MAIL_ENDED)
    command_ended (command);
  if (mail & MAIL_GIVEN_BACK)
    command_given_back (command);
}

static void
send_mail (struct command *command, uint32_t what)
{
  if (!(atomic_fetch_or (&command->mail, what | MAIL_SENT) & MAIL_SENT))
    worker_send (command);
}

static struct command *
command_of (struct blkmq_io *io)
{
  return (struct command *)((char *)io - offsetof (struct command, io));
}

/* Any thread. */
static void
command_end_io (struct blkmq_io *io, enum blkmq_status status)
{
  struct command *command = command_of (io);

  command->status = (uint8_t)status;
  if (__builtin_expect (worker_self == command->connection->worker, 1))
    command_ended (command);
  else
    send_mail (command, MAIL_ENDED);
}

/* Any thread. */
static void
command_give_back (struct blkmq_io *io)
{
  struct command *command = command_of (io);

  if (__builtin_expect (worker_self == command->connection->worker, 1))
    command_given_back (command);
  else
    send_mail (command, MAIL_GIVEN_BACK);
}

/* ------------------------------------------------------------------------ */
/* Taking                                                                    */

static void
consume (struct connection *connection, uint32_t bytes)
{
  connection->in_start += bytes;
  connection->in_wanted_bytes = NBD_REQUEST_BYTES;
}

/* What has come of data that nobody wants. */
static bool
discard (struct connection *connection)
{
  uint32_t here = connection->in_end - connection->in_start;
  uint32_t bytes = connection->discard_bytes < here
                       ? (uint32_t)connection->discard_bytes
                       : here;

  connection->in_start += bytes;
  connection->discard_bytes -= bytes;
  return connection->discard_bytes == 0;
}

static enum taken
take_refused (struct connection *connection, const struct request *request,
              uint32_t error, const char *text)
{
  log_debug ("%s: %scommand %u of %" PRIu32 " bytes at offset %" PRIu64
             " refused: %s",
             connection->name, connection->export->prefix, request->type,
             request->bytes, request->offset_bytes, text);
  consume (connection, NBD_REQUEST_BYTES);
  if (request->type == NBD_CMD_WRITE)
    connection->discard_bytes = request->bytes;
  reply_error (connection, request->cookie, error, text);
  return TAKEN;
}

static enum blkmq_op
op_of (uint16_t type)
{
  switch (type) {
  case NBD_CMD_READ:
    return BLKMQ_OP_READ;
  case NBD_CMD_WRITE:
    return BLKMQ_OP_WRITE;
  case NBD_CMD_FLUSH:
    return BLKMQ_OP_FLUSH;
  case NBD_CMD_TRIM:
    return BLKMQ_OP_DISCARD;
  default:
    assert (type == NBD_CMD_WRITE_ZEROES);
    return BLKMQ_OP_WRITE_ZEROES;
  }
}

/* The blocks in which a read lies.  (A write would have to read first, and
 * could tear: those are refused.) */
static void
widen (const struct blkmq_limits *limits, const struct request *request,
       uint64_t *offset_bytes, uint32_t *bytes)
{
  uint64_t mask = limits->logical_block_bytes - 1;
  uint64_t end = request->offset_bytes + request->bytes;

  *offset_bytes = request->offset_bytes & ~mask;
  end = (end + mask) & ~mask;
  if (end > limits->size_bytes)
    end = limits->size_bytes;
  *bytes = (uint32_t)(end - *offset_bytes);
}

static void
fill_io (struct command *command, const struct connection *connection,
         const struct request *request)
{
  struct blkmq_io *io = &command->io;

  io->op = op_of (request->type);
  io->flags = connection->io_flags;
  if (request->type != NBD_CMD_READ && (request->flags & NBD_CMD_FLAG_FUA)
      && request->type != NBD_CMD_FLUSH)
    io->flags |= BLKMQ_IO_FUA;
  if (request->flags & NBD_CMD_FLAG_NO_HOLE)
    io->flags |= BLKMQ_IO_NOUNMAP;
  io->offset_bytes = request->offset_bytes;
  io->bytes = request->bytes;
  io->segments = &command->segment;
  io->nr_segments = request_has_data (request) ? 1 : 0;
  io->prio = BLKMQ_PRIO_NONE;
  io->end_io = command_end_io;
  io->give_back = command_give_back;
}

/* Takes the request, whose data has come, and adds it to BATCH. */
static enum taken
take_command (struct connection *connection, const struct request *request,
              struct blkmq_batch *batch, uint32_t *batch_bytes)
{
  uint32_t reply_bytes = reply_head_bytes (connection, request->type);
  uint32_t consumed_bytes = NBD_REQUEST_BYTES;
  uint64_t offset_bytes = request->offset_bytes;
  uint32_t read_bytes = 0;
  struct command *command;

  if (request->type == NBD_CMD_READ)
    widen (connection->limits, request, &offset_bytes, &read_bytes);
  command = worker_command_alloc (connection->worker);
  if (command == NULL)
    return take_refused (connection, request, NBD_ENOMEM, "no memory");
  command->reply = reply_reserve (connection, reply_bytes + read_bytes,
                                  &command->reply_buffer);
  if (command->reply == NULL) {
    int error = errno;

    worker_command_free (connection->worker, command);
    if (error != EAGAIN)
      return take_refused (connection, request, NBD_ENOMEM, "no memory");
    worker_wait_for_buffers (connection);
    return TAKEN_NOTHING;
  }

  command->connection = connection;
  command->data = NULL;
  command->cookie = request->cookie;
  command->offset_bytes = request->offset_bytes;
  command->bytes = request->bytes;
  command->type = request->type;
  command->flags = request->flags;
  command->is_ended = command->is_given_back = false;
  atomic_store_explicit (&command->mail, 0, memory_order_relaxed);
  fill_io (command, connection, request);
  if (request->type == NBD_CMD_READ) {
    command->io.offset_bytes = offset_bytes;
    command->io.bytes = read_bytes;
    command->segment.iov_base = command->reply + reply_bytes;
    command->segment.iov_len = read_bytes;
  } else if (request->type == NBD_CMD_WRITE) {
    command->data = buffer_get (connection->in);
    command->segment.iov_base
        = connection->in->data + connection->in_start + NBD_REQUEST_BYTES;
    command->segment.iov_len = request->bytes;
    consumed_bytes += request->bytes;
  }
  consume (connection, consumed_bytes);
  *batch_bytes += read_bytes;

  connection_get_command (connection);
  blkmq_batch_add (batch, &command->io);
  return TAKEN;
}

static enum taken
take (struct connection *connection, struct blkmq_batch *batch,
      uint32_t *batch_bytes)
{
  uint32_t here = connection->in_end - connection->in_start;
  const uint8_t *at = connection->in->data + connection->in_start;
  char text[NR_TEXT_BYTES];
  struct request request;
  uint32_t error;

  if (here < connection->in_wanted_bytes)
    return TAKEN_NOTHING;
  if (nbd_get32 (at) != NBD_REQUEST_MAGIC)
    return TAKEN_GARBAGE;
  request.flags = nbd_get16 (at + 4);
  request.type = nbd_get16 (at + 6);
  request.cookie = nbd_get64 (at + 8);
  request.offset_bytes = nbd_get64 (at + 16);
  request.bytes = nbd_get32 (at + 24);
  if (request.type == NBD_CMD_DISC)
    return TAKEN_LAST;

  error = request_check (connection, &request, text);
  if (error != 0)
    return take_refused (connection, &request, error, text);
  if (request.type == NBD_CMD_WRITE
      && here - NBD_REQUEST_BYTES < request.bytes) {
    connection->in_wanted_bytes = NBD_REQUEST_BYTES + request.bytes;
    return TAKEN_NOTHING;
  }
  if (request.type == NBD_CMD_BLOCK_STATUS) {
    consume (connection, NBD_REQUEST_BYTES);
    reply_block_status (connection, request.cookie, request.offset_bytes,
                        request.bytes, request.flags & NBD_CMD_FLAG_REQ_ONE);
    return TAKEN;
  }
  if (request.type == NBD_CMD_CACHE) {
    /* A hint to fetch what will be read soon: there is nothing to fetch it
     * into. */
    consume (connection, NBD_REQUEST_BYTES);
    reply_error (connection, request.cookie, 0, NULL);
    return TAKEN;
  }
  return take_command (connection, &request, batch, batch_bytes);
}

/* All connections of this thread that are busy with the disk have the same
 * share of its hctx's tags. */
static bool
has_quota (const struct connection *connection)
{
  unsigned nr_busy
      = connection->share->nr_busy + (connection->nr_commands == 0);

  return connection->nr_commands == 0 || connection->must_refuse
         || (uint64_t)connection->nr_commands * nr_busy
                < connection->share->depth;
}

bool
transmit_has_request (const struct connection *connection)
{
  return connection->discard_bytes == 0
         && connection->in_end - connection->in_start
                >= connection->in_wanted_bytes;
}

bool
transmit (struct connection *connection)
{
  enum taken taken = TAKEN_NOTHING;
  uint32_t batch_bytes = 0;
  struct blkmq_batch batch;
  bool any = false;

  if (connection->in == NULL || connection->is_waiting)
    return false;
  blkmq_batch_begin (&batch, connection->submitter);
  while (discard (connection) && batch_bytes < MAX_BATCH_BYTES
         && connection->out_bytes < MAX_BATCH_BYTES && has_quota (connection)) {
    taken = take (connection, &batch, &batch_bytes);
    if (taken != TAKEN)
      break;
    any = true;
    if (connection->phase == PHASE_CLOSED)
      break; /* no memory for an answer: the input is gone */
  }
  blkmq_batch_commit (&batch);

  if (connection->phase == PHASE_CLOSED)
    return any; /* likewise, of a command */
  if (taken == TAKEN_LAST) {
    log_debug ("%s: disconnects", connection->name);
    connection->phase = PHASE_FAREWELL;
  } else if (taken == TAKEN_GARBAGE)
    connection_close (connection, LOG_LEVEL_WARNING,
                      "sent 0x%" PRIx32 " where a request should begin",
                      nbd_get32 (connection->in->data + connection->in_start));
  return any;
}
