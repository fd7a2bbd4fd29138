/* SPDX-License-Identifier: BSD-3-Clause
 *
 * delay.c: each operation takes its time.  Requests go down at once and are
 * kept on their way up, on a timer of the engine's; so the depth of the queue
 * is in the driver's hands and the latency in these.  Any thread; what
 * changes, changes while the disk is frozen.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "layers.h"

#define ONE_DAY_NS (UINT64_C (86400) * 1000 * 1000 * 1000)

#define DELAY_KEY(name_, what)                                                 \
  {                                                                            \
    .name = name_, .type = BLKMQ_KEY_TIME, .unit = "ns", .default_value = "0", \
    .min = 0, .max = ONE_DAY_NS, .help = what, .live = true                    \
  }

/* In the order of enum blkmq_op. */
static const struct blkmq_key bus_keys[BLKMQ_NR_OPS] = {
  [BLKMQ_OP_READ] = DELAY_KEY ("delay_read", "latency added to each read"),
  [BLKMQ_OP_WRITE] = DELAY_KEY ("delay_write", "latency added to each write"),
  [BLKMQ_OP_FLUSH] = DELAY_KEY ("delay_flush", "latency added to each flush"),
  [BLKMQ_OP_DISCARD]
  = DELAY_KEY ("delay_discard", "latency added to each discard"),
  [BLKMQ_OP_WRITE_ZEROES]
  = DELAY_KEY ("delay_zero", "latency added to each write of zeroes"),
};

static const struct blkmq_key media_keys[BLKMQ_NR_OPS] = {
  [BLKMQ_OP_READ]
  = DELAY_KEY ("media_delay_read", "the same, below the cache: of reads"),
  [BLKMQ_OP_WRITE]
  = DELAY_KEY ("media_delay_write", "the same, below the cache: of writes"),
  [BLKMQ_OP_FLUSH]
  = DELAY_KEY ("media_delay_flush", "the same, below the cache: of flushes"),
  [BLKMQ_OP_DISCARD]
  = DELAY_KEY ("media_delay_discard", "the same, below the cache: of discards"),
  [BLKMQ_OP_WRITE_ZEROES] = DELAY_KEY (
      "media_delay_zero", "the same, below the cache: of writes of zeroes"),
};

struct delay {
  uint64_t ns[BLKMQ_NR_OPS];
};

static bool
is_wanted (const struct blkmq_config *config, const struct blkmq_key *keys)
{
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++) {
    if (blkmq_config_number (config, keys[op].name) != 0)
      return true;
  }
  return false;
}

static void
read_keys (struct delay *delay, const struct blkmq_config *config,
           const struct blkmq_key *keys)
{
  for (unsigned op = 0; op < BLKMQ_NR_OPS; op++)
    delay->ns[op] = blkmq_config_number (config, keys[op].name);
}

static int
open_with (const struct blkmq_config *config, const struct blkmq_key *keys,
           void **data)
{
  struct delay *delay = malloc (sizeof *delay);

  if (delay == NULL)
    return -ENOMEM;
  read_keys (delay, config, keys);
  *data = delay;
  return 0;
}

static bool
bus_is_wanted (const struct blkmq_config *config)
{
  return is_wanted (config, bus_keys);
}

static bool
media_is_wanted (const struct blkmq_config *config)
{
  return is_wanted (config, media_keys);
}

static int
bus_open (const struct blkmq_config *config, uint64_t seed,
          struct blkmq_limits *limits, void **data, struct blkmq_error *error)
{
  return open_with (config, bus_keys, data);
}

static int
media_open (const struct blkmq_config *config, uint64_t seed,
            struct blkmq_limits *limits, void **data, struct blkmq_error *error)
{
  return open_with (config, media_keys, data);
}

static int
bus_change (void *data, const struct blkmq_config *config,
            struct blkmq_error *error)
{
  read_keys (data, config, bus_keys);
  return 0;
}

static int
media_change (void *data, const struct blkmq_config *config,
              struct blkmq_error *error)
{
  read_keys (data, config, media_keys);
  return 0;
}

static enum blkmq_status
delay_complete (struct blkmq_request *rq, enum blkmq_status status)
{
  const struct delay *delay = rq->driver_data;

  if (delay->ns[rq->op] != 0)
    blkmq_keep (rq, delay->ns[rq->op]);
  return status;
}

const struct blkmq_driver blkmq_layer_delay_bus = {
  .name = "delay",
  .help = "each operation takes its time",
  .keys = bus_keys,
  .nr_keys = BLKMQ_NR_OPS,
  .is_wanted = bus_is_wanted,
  .open = bus_open,
  .change = bus_change,
  .close = free,
  .queue_rq = blkmq_pass,
  .complete = delay_complete,
};

const struct blkmq_driver blkmq_layer_delay_media = {
  .name = "media-delay",
  .help = "each operation of the media takes its time",
  .keys = media_keys,
  .nr_keys = BLKMQ_NR_OPS,
  .is_wanted = media_is_wanted,
  .open = media_open,
  .change = media_change,
  .close = free,
  .queue_rq = blkmq_pass,
  .complete = delay_complete,
};
