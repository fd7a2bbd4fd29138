/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nbd-transmit.c: the requests of one connection.  It parses all that one recv
 * brings and sends all that is queued with one sendmsg, so that of client and
 * server the server is the slower one.  Every reply must fit a request in
 * flight.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "nbd-client.h"

#define MAX_IOV 1024 /* of one sendmsg: the kernel's UIO_MAXIOV */

void
pipeline_init (struct pipeline *p, struct load *load,
               const struct connection *c, unsigned number)
{
  const struct workload *w = load->workload;
  uint64_t nr_blocks = c->device_bytes / w->block_bytes;
  unsigned i;

  memset (p, 0, sizeof *p);
  p->load = load;
  p->connection = c;
  /* The first connection's places do not depend on how many there are. */
  p->random = w->seed + ((uint64_t)number << 32);
  p->next_offset = nr_blocks * number / load->nr_pipelines * w->block_bytes;
  p->slot = xcalloc (w->depth, sizeof *p->slot);
  p->free = xcalloc (w->depth, sizeof *p->free);
  p->header = xcalloc (w->depth, NBD_REQUEST_BYTES);
  p->iov = xcalloc (2 * (size_t)w->depth, sizeof *p->iov);
  for (i = 0; i < w->depth; i++)
    p->free[p->nr_free++] = i;
}

void
pipeline_exit (struct pipeline *p)
{
  free (p->slot);
  free (p->free);
  free (p->header);
  free (p->iov);
}

bool
pipeline_is_empty (const struct pipeline *p)
{
  return p->nr_free == p->load->workload->depth;
}

/* ------------------------------------------------------------------------ */
/* Requests                                                                  */

/* Header follows header in memory when nothing lies between, and one piece
 * does for both: a batch of reads is a single one.
 */
static void
queue_bytes (struct pipeline *p, unsigned char *data, size_t bytes)
{
  struct iovec *last;

  if (p->nr_iov > p->first_iov) {
    last = &p->iov[p->nr_iov - 1];
    if ((unsigned char *)last->iov_base + last->iov_len == data) {
      last->iov_len += bytes;
      return;
    }
  }
  assert (p->nr_iov < 2 * (size_t)p->load->workload->depth);
  p->iov[p->nr_iov++] = (struct iovec){ data, bytes };
}

static void
choose_place (struct pipeline *p, struct slot *slot)
{
  const struct workload *w = p->load->workload;
  uint64_t device_bytes = p->connection->device_bytes;
  uint64_t left;

  slot->bytes = w->block_bytes;
  if (!w->sequential) {
    slot->offset = next_random (&p->random) % (device_bytes / w->block_bytes)
                   * w->block_bytes;
    return;
  }
  left = device_bytes - p->next_offset;
  if (left == 0 || (left < w->block_bytes && !w->to_the_end)) {
    p->next_offset = 0;
    left = device_bytes;
  }
  if (left < slot->bytes)
    slot->bytes = (uint32_t)left;
  slot->offset = p->next_offset;
  p->next_offset += slot->bytes;
}

static uint16_t
choose_command (struct pipeline *p)
{
  switch (p->load->workload->op) {
  case OP_READ:
    return NBD_CMD_READ;
  case OP_WRITE:
    return NBD_CMD_WRITE;
  case OP_RANDRW:
    return next_random (&p->random) >> 63 ? NBD_CMD_WRITE : NBD_CMD_READ;
  }
  abort ();
}

void
pipeline_queue_request (struct pipeline *p, uint64_t now_ns)
{
  unsigned nr = p->free[--p->nr_free];
  struct slot *slot = &p->slot[nr];
  unsigned char *header
      = p->header + p->nr_issued % p->load->workload->depth * NBD_REQUEST_BYTES;

  choose_place (p, slot);
  slot->command = choose_command (p);
  slot->cookie = ++p->nr_issued << 16 | nr; /* each one once, and never 0 */
  slot->sent_ns = now_ns;

  put32 (header, NBD_REQUEST_MAGIC);
  put16 (header + 4, 0);
  put16 (header + 6, slot->command);
  put64 (header + 8, slot->cookie);
  put64 (header + 16, slot->offset);
  put32 (header + 24, slot->bytes);
  queue_bytes (p, header, NBD_REQUEST_BYTES);
  if (slot->command == NBD_CMD_WRITE)
    queue_bytes (p, p->load->pattern + slot->offset % PATTERN_BYTES,
                 slot->bytes);
}

bool
pipeline_send (struct pipeline *p)
{
  struct msghdr msg = { 0 };
  struct iovec *iov;
  size_t sent;
  ssize_t n;

  while (p->first_iov < p->nr_iov) {
    msg.msg_iov = p->iov + p->first_iov;
    msg.msg_iovlen = p->nr_iov - p->first_iov;
    if (msg.msg_iovlen > MAX_IOV)
      msg.msg_iovlen = MAX_IOV;
    n = sendmsg (p->connection->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n == -1 && errno == EINTR)
      continue;
    if (n == -1 && errno == EAGAIN)
      break;
    if (n == -1)
      die ("send: %s", strerror (errno));
    sent = (size_t)n;
    while (sent > 0 && sent >= p->iov[p->first_iov].iov_len)
      sent -= p->iov[p->first_iov++].iov_len;
    if (sent > 0) {
      iov = &p->iov[p->first_iov];
      iov->iov_base = (unsigned char *)iov->iov_base + sent;
      iov->iov_len -= sent;
    }
  }

  /* Make room for the next batch. */
  p->nr_iov -= p->first_iov;
  if (p->nr_iov > 0 && p->first_iov > 0)
    memmove (p->iov, p->iov + p->first_iov, p->nr_iov * sizeof *p->iov);
  p->first_iov = 0;
  return p->nr_iov == 0;
}

/* ------------------------------------------------------------------------ */
/* Replies                                                                   */

static void
complete (struct pipeline *p, struct slot *slot, uint64_t now_ns)
{
  struct load *load = p->load;

  latency_record (&load->latency, now_ns - slot->sent_ns);
  load->nr_done++;
  load->bytes_done += slot->bytes;
  slot->cookie = 0;
  p->free[p->nr_free++] = (unsigned)(slot - p->slot);
}

static void
parse_reply (struct pipeline *p, const unsigned char *reply, uint64_t now_ns)
{
  uint64_t cookie = get64 (reply + 8);
  struct slot *slot = &p->slot[(cookie & 0xffff) % p->load->workload->depth];

  if (get32 (reply) != NBD_SIMPLE_REPLY_MAGIC)
    die ("wrong reply: magic 0x%08" PRIx32, get32 (reply));
  if (cookie == 0 || slot->cookie != cookie)
    die ("wrong reply: no request with cookie 0x%" PRIx64 " is in flight",
         cookie);
  if (get32 (reply + 4) != 0)
    die ("%s of %" PRIu32 " bytes at %" PRIu64 " failed: NBD error %" PRIu32,
         slot->command == NBD_CMD_READ ? "read" : "write", slot->bytes,
         slot->offset, get32 (reply + 4));
  if (slot->command == NBD_CMD_READ) {
    p->payload_of = slot;
    p->payload_left = slot->bytes;
  } else
    complete (p, slot, now_ns);
}

static size_t
parse_payload (struct pipeline *p, const unsigned char *data, size_t bytes,
               uint64_t now_ns)
{
  struct slot *slot = p->payload_of;
  uint64_t at = slot->offset + (slot->bytes - p->payload_left);
  size_t n = bytes < p->payload_left ? bytes : p->payload_left;

  /* The pattern is a block longer than PATTERN_BYTES: n bytes are there. */
  if (p->load->workload->verify
      && memcmp (data, p->load->pattern + at % PATTERN_BYTES, n) != 0)
    die ("wrong data: read of %" PRIu32 " bytes at %" PRIu64
         ", within %zu bytes from %" PRIu64,
         slot->bytes, slot->offset, n, at);
  p->payload_left -= (uint32_t)n;
  if (p->payload_left == 0)
    complete (p, slot, now_ns);
  return n;
}

uint64_t
pipeline_receive (struct pipeline *p, bool wait)
{
  unsigned char *received = p->load->received;
  size_t nr = p->nr_partial, at = 0;
  uint64_t now_ns;
  ssize_t n;

  n = recv (p->connection->fd, received + nr, RECEIVE_BYTES - nr,
            wait ? 0 : MSG_DONTWAIT);
  if (n == -1 && errno == EAGAIN && wait)
    die ("no reply for %d s", HANG_MS / 1000);
  if (n == -1 && (errno == EAGAIN || errno == EINTR))
    return 0;
  if (n == -1)
    die ("recv: %s", strerror (errno));
  if (n == 0)
    die ("the server closed the connection with %u requests in flight",
         p->load->workload->depth - p->nr_free);

  now_ns = clock_ns (CLOCK_MONOTONIC);
  memcpy (received, p->partial, nr);
  nr += (size_t)n;
  while (at < nr) {
    if (p->payload_left > 0)
      at += parse_payload (p, received + at, nr - at, now_ns);
    else if (nr - at >= NBD_SIMPLE_REPLY_BYTES) {
      parse_reply (p, received + at, now_ns);
      at += NBD_SIMPLE_REPLY_BYTES;
    } else
      break;
  }
  p->nr_partial = nr - at;
  memcpy (p->partial, received + at, nr - at);
  return now_ns;
}
