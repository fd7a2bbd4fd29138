/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ring-driver.c: the driver that bench/engine measures with.  It is a shared
 * library of its own, so that queue_rq and complete cross a library boundary
 * as they do for a driver in the field, and it keeps requests outstanding in
 * a ring: a benchmark with one request at a time would use one hot tag and
 * flatter the engine.  One thread an hctx.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "blkmq-driver.h"
#include "ring-driver.h"

#define RING_SIZE 256 /* a power of two above any outstanding= */

struct entry {
  struct blkmq_request *rq;
  blkmq_token token;
};

struct ring {
  unsigned head, tail; /* free running */
  unsigned outstanding;
  struct entry entries[RING_SIZE];
};

static const struct blkmq_key ring_keys[] = {
  { .name = "outstanding",
    .type = BLKMQ_KEY_INT,
    .default_value = "64",
    .min = 0,
    .max = RING_SIZE - 1,
    .help = "requests that the driver keeps before it completes the oldest" },
};

struct ring_disk {
  unsigned outstanding;
};

static int
ring_open (const struct blkmq_config *config, uint64_t seed,
           struct blkmq_limits *limits, void **driver_data,
           struct blkmq_error *error)
{
  struct ring_disk *disk = malloc (sizeof *disk);

  if (disk == NULL)
    return -ENOMEM;
  disk->outstanding = (unsigned)blkmq_config_number (config, "outstanding");
  *driver_data = disk;
  return 0;
}

static void
ring_close (void *driver_data)
{
  free (driver_data);
}

static int
ring_init_hctx (struct blkmq_hctx *hctx, void *driver_data, unsigned index)
{
  const struct ring_disk *disk = driver_data;
  struct ring *ring = aligned_alloc (64, (sizeof *ring + 63) / 64 * 64);

  if (ring == NULL)
    return -ENOMEM;
  ring->head = ring->tail = 0;
  ring->outstanding = disk->outstanding;
  blkmq_hctx_set_data (hctx, ring);
  return 0;
}

static void
ring_exit_hctx (struct blkmq_hctx *hctx, void *driver_data, unsigned index)
{
  free (blkmq_hctx_data (hctx));
}

static void
complete_oldest (struct ring *ring)
{
  struct entry *oldest = &ring->entries[ring->tail++ % RING_SIZE];

  blkmq_complete (oldest->rq, oldest->token, BLKMQ_STS_OK);
}

static enum blkmq_queue_result
ring_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
               blkmq_token token)
{
  struct ring *ring = blkmq_hctx_data (hctx);
  struct entry *entry = &ring->entries[ring->head++ % RING_SIZE];

  entry->rq = rq;
  entry->token = token;
  if (ring->head - ring->tail > ring->outstanding)
    complete_oldest (ring);
  return BLKMQ_QUEUED;
}

/* Nothing of ours runs on its own: whoever removes has stopped submitting. */
static void
ring_stop (void *driver_data)
{
}

/* What the op itself costs is what is asked: it does nothing. */
static enum blkmq_status
ring_complete (struct blkmq_request *rq, enum blkmq_status status)
{
  return status;
}

const struct blkmq_driver ring_driver = {
  .name = "ring",
  .help = "keeps requests in a ring (benchmark)",
  .keys = ring_keys,
  .nr_keys = sizeof ring_keys / sizeof ring_keys[0],
  .open = ring_open,
  .close = ring_close,
  .queue_rq = ring_queue_rq,
  .stop = ring_stop,
  .init_hctx = ring_init_hctx,
  .exit_hctx = ring_exit_hctx,
};

const struct blkmq_driver ring_complete_driver = {
  .name = "ring-complete",
  .help = "the same with a complete op (benchmark)",
  .keys = ring_keys,
  .nr_keys = sizeof ring_keys / sizeof ring_keys[0],
  .open = ring_open,
  .close = ring_close,
  .queue_rq = ring_queue_rq,
  .complete = ring_complete,
  .stop = ring_stop,
  .init_hctx = ring_init_hctx,
  .exit_hctx = ring_exit_hctx,
};
