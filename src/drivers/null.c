/* SPDX-License-Identifier: BSD-3-Clause
 *
 * null.c: the driver "null".  Reads give zeros, writes are dropped, so what is
 * left to measure is the way to it and back.  It has no state at all.
 *
 * queue_rq, poll and extents run on any thread, several at once.
 */

#include <string.h>

#include "drivers.h"
#include "poll-list.h"

static int
null_open (const struct blkmq_config *config, uint64_t seed,
           struct blkmq_limits *limits, void **driver_data,
           struct blkmq_error *error)
{
  (void)config, (void)seed, (void)error;
  limits->max_discard_bytes = UINT64_C (1) << 62;
  limits->max_write_zeroes_bytes = UINT64_C (1) << 62;
  limits->volatile_cache = false;
  *driver_data = NULL;
  return 0;
}

static enum blkmq_status
null_do (struct blkmq_request *rq)
{
  if (rq->op == BLKMQ_OP_READ) {
    struct blkmq_segments it = blkmq_segments_begin (rq);
    struct iovec seg;

    while (blkmq_segments_next (&it, &seg))
      memset (seg.iov_base, 0, seg.iov_len);
  }
  return BLKMQ_STS_OK;
}

static enum blkmq_queue_result
null_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
               blkmq_token token)
{
  if (rq->flags & BLKMQ_IO_POLLED)
    poll_list_add (hctx, rq, token);
  else
    blkmq_complete (rq, token, null_do (rq));
  return BLKMQ_QUEUED;
}

static unsigned
null_poll (struct blkmq_hctx *hctx)
{
  return poll_list_complete (hctx, null_do);
}

static int
null_extents (void *driver_data, uint64_t offset_bytes, uint64_t bytes,
              int (*fn) (uint64_t offset_bytes, uint64_t bytes, unsigned type,
                         void *opaque),
              void *opaque)
{
  (void)driver_data;
  return fn (offset_bytes, bytes, BLKMQ_EXTENT_HOLE | BLKMQ_EXTENT_ZERO,
             opaque);
}

const struct blkmq_driver null_driver = {
  .name = "null",
  .help = "reads zeros, drops writes",
  .pdu_bytes = sizeof (struct poll_entry),
  .open = null_open,
  .queue_rq = null_queue_rq,
  .poll = null_poll,
  .timeout = poll_list_timeout,
  .init_hctx = poll_list_init_hctx,
  .exit_hctx = poll_list_exit_hctx,
  .extents = null_extents,
};
