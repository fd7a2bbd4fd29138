/* SPDX-License-Identifier: BSD-3-Clause
 *
 * handshake.c: a connection until its client has chosen an export: bytes
 * between the socket and negotiate.c.
 *
 * The connection's worker.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/internal.h"
#include "server/transport.h"

#define NEGOTIATION_BYTES 4096u /* received at once */

/* The client's first requests have come with its last option, maybe. */
static bool
keep_rest (struct connection *connection, const uint8_t *rest, size_t nr)
{
  if (nr == 0)
    return true;
  connection->in = buffer_alloc (&connection->worker->buffers, (uint32_t)nr,
                                 BUFFER_FOR_INPUT);
  if (connection->in == NULL)
    return false;
  memcpy (connection->in->data, rest, nr);
  connection->in_end = (uint32_t)nr;
  return true;
}

/* The hctxs of this thread, one after the other; or another's, if it has none.
 */
static unsigned
next_hctx (struct worker *worker, struct blkmq_disk *disk)
{
  unsigned nr_workers = worker->server->nr_workers, nr_own;
  struct blkmq_queues queues;

  blkmq_disk_queues (disk, &queues);
  if (worker->index >= queues.submit_queues)
    return worker->index % queues.submit_queues;
  nr_own = (queues.submit_queues - 1 - worker->index) / nr_workers + 1;
  return worker->index + worker->next_hctx++ % nr_own * nr_workers;
}

static void
begin_transmission (struct connection *connection)
{
  struct negotiation *negotiation = connection->negotiation;
  struct worker *worker = connection->worker;
  const struct exports *exports = worker->server->exports;
  struct blkmq_disk *disk = negotiation->export->disk;
  unsigned poll_hctx;

  connection->export = negotiation->export;
  connection->limits = blkmq_disk_limits (disk);
  connection->structured_replies = negotiation->structured_replies;
  connection->context_allocation = negotiation->context_allocation;
  for (unsigned i = 0; i < exports_nr (exports); i++)
    if (exports_at (exports, i) == connection->export)
      connection->share = &worker->shares[i];
  connection->submitter
      = blkmq_submitter_alloc (disk, next_hctx (worker, disk));
  if (connection->submitter == NULL && errno == EINVAL) /* changed just now */
    connection->submitter = blkmq_submitter_alloc (disk, BLKMQ_HCTX_ANY);
  if (connection->submitter == NULL) {
    connection_close (connection, LOG_LEVEL_WARNING,
                      "refused: no memory to serve it");
    return;
  }
  poll_hctx
      = blkmq_submitter_hctx_of (connection->submitter, BLKMQ_HCTX_TYPE_POLL);
  if (blkmq_disk_hctx_type (disk, poll_hctx) == BLKMQ_HCTX_TYPE_POLL)
    connection->io_flags = BLKMQ_IO_POLLED;
  log_debug ("%s: export \"%s\", hctx %u of thread %u%s", connection->name,
             connection->export->name,
             blkmq_submitter_hctx (connection->submitter), worker->index,
             connection->structured_replies ? ", structured replies" : "");
  handshake_end (connection);
  connection->phase = PHASE_TRANSMISSION;
}

static void
send_negotiation (struct connection *connection)
{
  struct negotiation *negotiation = connection->negotiation;
  ssize_t nr;

  while (negotiation->out_bytes > 0) {
    struct iovec iov
        = { .iov_base = negotiation->out, .iov_len = negotiation->out_bytes };

    nr = transport_send (connection, &iov, 1);
    if (nr >= 0) {
      negotiation->out_bytes -= (size_t)nr;
      memmove (negotiation->out, negotiation->out + nr, negotiation->out_bytes);
      connection->moved_s = ev_now (connection->worker->loop);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK)
      return;
    else if (errno != EINTR) {
      transport_fail (connection);
      return;
    }
  }
  transport_flush (connection);
}

/* What is said without TLS after the client has asked for it may be somebody
 * else's words. */
static bool
refuse_rest (struct connection *connection, size_t nr)
{
  if (nr == 0)
    return false;
  connection_close (connection, LOG_LEVEL_WARNING,
                    "cut off: sent %zu bytes without TLS behind "
                    "NBD_OPT_STARTTLS",
                    nr);
  return true;
}

void
handshake_receive (struct connection *connection)
{
  struct negotiation *negotiation = connection->negotiation;
  uint8_t bytes[NEGOTIATION_BYTES];
  size_t taken;
  ssize_t nr;

  if (negotiation->state == NEGOTIATION_START_TLS) {
    if (transport_shake_hands (connection))
      negotiation_has_tls (negotiation);
    return;
  }
  nr = transport_recv (connection, bytes, sizeof bytes);
  if (!input_has_come (connection, nr)) {
    if (connection->is_eof)
      connection_close (connection, LOG_LEVEL_DEBUG,
                        "is gone before it has chosen an export");
    return;
  }
  taken = negotiation_feed (negotiation, bytes, (size_t)nr);
  if (negotiation->state == NEGOTIATION_START_TLS
      && refuse_rest (connection, (size_t)nr - taken))
    return;
  if (negotiation->state == NEGOTIATION_DONE
      && !keep_rest (connection, bytes + taken, (size_t)nr - taken))
    connection_close (connection, LOG_LEVEL_WARNING,
                      "refused: no memory to serve it");
}

/* Send what there is to say; and then, if all was said, go on. */
void
handshake_run (struct connection *connection)
{
  struct negotiation *negotiation = connection->negotiation;

  send_negotiation (connection);
  if (connection->phase == PHASE_CLOSED)
    return;
  if (negotiation->state == NEGOTIATION_CLOSE) {
    transport_say_bye (connection);
    if (negotiation->why[0] == '\0')
      connection_close (connection, LOG_LEVEL_DEBUG, "disconnects");
    else
      connection_close (connection, LOG_LEVEL_WARNING, "%s", negotiation->why);
  } else if (negotiation->state == NEGOTIATION_DONE
             && negotiation->out_bytes == 0)
    begin_transmission (connection);
  else if (negotiation->state == NEGOTIATION_START_TLS
           && negotiation->out_bytes == 0 && connection->tls == NULL)
    transport_start_tls (connection);
}

void
handshake_end (struct connection *connection)
{
  if (connection->negotiation != NULL)
    negotiation_end (connection->negotiation);
  free (connection->negotiation);
  connection->negotiation = NULL;
}
