/* SPDX-License-Identifier: BSD-3-Clause
 *
 * memory.c: the driver "memory", the default.  A disk in memory that takes up
 * only what was written to it; store.c does the work, this file translates.
 *
 * queue_rq, poll and extents run on any thread, several at once: the store
 * allows that.  Everything completes inside queue_rq, or when it is polled.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "drivers.h"
#include "poll-list.h"
#include "store.h"

/* What was discarded from within it is not made a huge page at once: it costs
 * as much as writing 2 MiB.
 */
#define SETTLE_MS 1000

static const struct blkmq_key memory_keys[] = {
  {
      .name = "memory_limit",
      .type = BLKMQ_KEY_SIZE,
      .unit = "bytes",
      .default_value = "0",
      .min = 0,
      .max = INT64_MAX,
      .help = "most memory for data, 0 for no limit",
  },
  {
      .name = "hugepages",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "0",
      .help = "make huge pages of what is full, in the background",
  },
};

static int
memory_open (const struct blkmq_config *config, uint64_t seed,
             struct blkmq_limits *limits, void **driver_data,
             struct blkmq_error *error)
{
  uint64_t limit_bytes = blkmq_config_number (config, "memory_limit");
  struct store *store;

  /* Memory is counted in pages: with less than one nothing can be written. */
  if (limit_bytes > 0 && limit_bytes < STORE_PAGE_BYTES) {
    if (error != NULL)
      snprintf (error->message, sizeof error->message,
                "memory_limit=%" PRIu64 ": must be 0 (no limit) or at least"
                " %u bytes",
                limit_bytes, STORE_PAGE_BYTES);
    return -EINVAL;
  }

  store = store_alloc (limits->size_bytes, limit_bytes, seed);
  if (store == NULL) {
    int err = errno;

    if (error != NULL)
      snprintf (error->message, sizeof error->message,
                "driver=memory: no memory for the store of a disk of %" PRIu64
                " bytes",
                limits->size_bytes);
    return -err;
  }

  if (blkmq_config_number (config, "hugepages")
      && store_use_huge_pages (store, SETTLE_MS) < 0) {
    store_free (store);
    if (error != NULL)
      snprintf (error->message, sizeof error->message,
                "driver=memory hugepages=1: no memory");
    return -ENOMEM;
  }

  /* One call takes a range of any length. */
  limits->max_discard_bytes = UINT64_C (1) << 62;
  limits->max_write_zeroes_bytes = UINT64_C (1) << 62;
  /* What was written is as safe as it will ever be. */
  limits->volatile_cache = false;
  *driver_data = store;
  return 0;
}

static void
memory_close (void *driver_data)
{
  store_free (driver_data);
}

static enum blkmq_status
status_of (int r)
{
  switch (r) {
  case 0:
    return BLKMQ_STS_OK;
  case -ENOSPC:
    return BLKMQ_STS_NOSPC;
  case -ENOMEM:
    return BLKMQ_STS_RESOURCE;
  default:
    return BLKMQ_STS_IOERR;
  }
}

static enum blkmq_status
memory_do (struct blkmq_request *rq)
{
  struct store *store = rq->driver_data;
  int r = 0;

  switch (rq->op) {
  case BLKMQ_OP_READ:
    store_readv (store, rq->segment, rq->skip_bytes, rq->bytes,
                 rq->offset_bytes);
    break;
  case BLKMQ_OP_WRITE:
    /* All segments at once.  A sector may lie in two of them and must not
     * tear, and the limit is met by the whole request or not at all.
     */
    r = store_writev (store, rq->segment, rq->skip_bytes, rq->bytes,
                      rq->offset_bytes);
    break;
  case BLKMQ_OP_FLUSH:
    break;
  case BLKMQ_OP_DISCARD:
    store_discard (store, rq->bytes, rq->offset_bytes);
    break;
  case BLKMQ_OP_WRITE_ZEROES:
    r = store_write_zeroes (store, rq->bytes, rq->offset_bytes,
                            (rq->flags & BLKMQ_IO_NOUNMAP) != 0);
    break;
  case BLKMQ_NR_OPS:
  default:
    return BLKMQ_STS_NOTSUPP;
  }
  return status_of (r);
}

static enum blkmq_queue_result
memory_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                 blkmq_token token)
{
  if (rq->flags & BLKMQ_IO_POLLED)
    poll_list_add (hctx, rq, token);
  else
    blkmq_complete (rq, token, memory_do (rq));
  return BLKMQ_QUEUED;
}

static void
memory_prefetch (void *driver_data, uint64_t offset_bytes)
{
  store_prefetch (driver_data, offset_bytes);
}

static unsigned
memory_poll (struct blkmq_hctx *hctx)
{
  return poll_list_complete (hctx, memory_do);
}

static int
memory_extents (void *driver_data, uint64_t offset_bytes, uint64_t bytes,
                int (*fn) (uint64_t offset_bytes, uint64_t bytes, unsigned type,
                           void *opaque),
                void *opaque)
{
  return store_extents (driver_data, offset_bytes, bytes, fn, opaque);
}

const struct blkmq_driver memory_driver = {
  .name = "memory",
  .help = "keeps data in memory, as much as was written",
  .pdu_bytes = sizeof (struct poll_entry),
  .keys = memory_keys,
  .nr_keys = sizeof memory_keys / sizeof memory_keys[0],
  .open = memory_open,
  .close = memory_close,
  .queue_rq = memory_queue_rq,
  .prefetch = memory_prefetch,
  .poll = memory_poll,
  .timeout = poll_list_timeout,
  .init_hctx = poll_list_init_hctx,
  .exit_hctx = poll_list_exit_hctx,
  .extents = memory_extents,
};
