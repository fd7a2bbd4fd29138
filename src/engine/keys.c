/* SPDX-License-Identifier: BSD-3-Clause
 *
 * keys.c: the keys that every disk has, whatever its driver.  Constant data:
 * any thread.
 *
 * Names are null_blk's where it has the knob.  Bounds are the engine's own
 * limits: the packing of a token (10 bits of hctx, 14 of tag), 32 bits for a
 * request's length, 63 for an offset.
 */

#include <config.h>

#include "engine/config.h"
#include "engine/hctx.h"
#include "engine/sched.h"

#define ONE_DAY_MS UINT64_C (86400000)
#define ONE_DAY_NS (ONE_DAY_MS * 1000 * 1000)

/* A word's index is what blkmq_config_number returns, and null_blk's number. */
static const char *const irqmode_words[] = {
  [IRQMODE_NONE] = "none",
  [IRQMODE_SOFTIRQ] = "softirq",
  [IRQMODE_TIMER] = "timer",
  NULL,
};

const struct blkmq_key engine_keys[] = {
  {
      .name = "size",
      .type = BLKMQ_KEY_SIZE,
      .unit = "bytes",
      .min = 1,
      .max = INT64_MAX,
      .help = "capacity of the disk",
      .required = true,
  },
  {
      /* A string and not an enumeration: its words are the registry's, and
       * paths (module.c). */
      .name = "driver",
      .type = BLKMQ_KEY_STRING,
      .default_value = "memory",
      .help = "what the requests reach; or a driver's /path.so",
  },
  {
      .name = "blocksize",
      .type = BLKMQ_KEY_SIZE,
      .unit = "bytes",
      .default_value = "512",
      .min = 512,
      .max = 65536,
      .power_of_two = true,
      .help = "logical block size",
  },
  {
      .name = "max_sectors",
      .type = BLKMQ_KEY_INT,
      .unit = "512-byte sectors",
      .default_value = "0",
      .min = 0,
      .max = UINT32_MAX / 512,
      .help = "largest request, 0 for no limit; larger ios are split",
  },
  {
      .name = "submit_queues",
      .type = BLKMQ_KEY_INT,
      .default_value = "1",
      .min = 1,
      .max = 1024,
      .help = "number of hardware queues",
      .live = true,
  },
  {
      .name = "poll_queues",
      .type = BLKMQ_KEY_INT,
      .default_value = "0",
      .min = 0,
      .max = 1023,
      .help = "number of polled hardware queues, beside submit_queues",
      .live = true,
  },
  {
      .name = "hw_queue_depth",
      .type = BLKMQ_KEY_INT,
      .default_value = "64",
      .min = 1,
      .max = 10240,
      .help = "requests in flight per hardware queue",
      .live = true,
  },
  {
      .name = "shared_tag_bitmap",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "0",
      .help = "hw_queue_depth is for all hardware queues together",
  },
  {
      .name = "scheduler",
      .type = BLKMQ_KEY_ENUM,
      .default_value = "none",
      .words = sched_names,
      .help = "in which order requests that wait go to the driver",
      .live = true,
  },
  {
      .name = "nr_requests",
      .type = BLKMQ_KEY_INT,
      .default_value = "0",
      .min = 0,
      .max = 16383,
      .help = "requests per hardware queue with a scheduler, 0 for twice "
              "hw_queue_depth",
      .live = true,
  },
  {
      .name = "nomerges",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "0",
      .help = "let no two ios share a request",
      .live = true,
  },
  {
      .name = "read_expire",
      .type = BLKMQ_KEY_TIME,
      .unit = "ms",
      .default_value = "500",
      .min = 0,
      .max = ONE_DAY_MS,
      .help = "mq-deadline: age at which a read is served out of turn",
      .live = true,
  },
  {
      .name = "write_expire",
      .type = BLKMQ_KEY_TIME,
      .unit = "ms",
      .default_value = "5000",
      .min = 0,
      .max = ONE_DAY_MS,
      .help = "mq-deadline: age at which a write is served out of turn",
      .live = true,
  },
  {
      .name = "prio_aging_expire",
      .type = BLKMQ_KEY_TIME,
      .unit = "ms",
      .default_value = "10000",
      .min = 0,
      .max = ONE_DAY_MS,
      .help = "mq-deadline: age at which a low priority no longer counts",
      .live = true,
  },
  {
      .name = "fifo_batch",
      .type = BLKMQ_KEY_INT,
      .default_value = "16",
      .min = 1,
      .max = 65536,
      .help = "mq-deadline: requests served in order of offset in one go",
      .live = true,
  },
  {
      .name = "writes_starved",
      .type = BLKMQ_KEY_INT,
      .default_value = "2",
      .min = 0,
      .max = 65536,
      .help = "mq-deadline: batches of reads that may pass waiting writes",
      .live = true,
  },
  {
      .name = "front_merges",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "1",
      .help = "mq-deadline: let ios join a request at its front, too",
      .live = true,
  },
  {
      .name = "irqmode",
      .type = BLKMQ_KEY_ENUM,
      .default_value = "none",
      .words = irqmode_words,
      .help = "where a request completes",
      .live = true,
  },
  {
      .name = "completion_nsec",
      .type = BLKMQ_KEY_TIME,
      .unit = "ns",
      .default_value = "10000",
      .min = 0,
      .max = ONE_DAY_NS,
      .help = "latency of each request with irqmode=timer",
      .live = true,
  },
  {
      .name = "spin_ns",
      .type = BLKMQ_KEY_TIME,
      .unit = "ns",
      .default_value = "0",
      .min = 0,
      .max = 1000000,
      .help = "with irqmode=timer: stay awake this long before it is time",
      .live = true,
  },
  {
      .name = "io_timeout",
      .type = BLKMQ_KEY_TIME,
      .unit = "ms",
      .default_value = "0",
      .min = 0,
      .max = ONE_DAY_MS,
      .help = "time after which a request fails, 0 for never",
      .live = true,
  },
  {
      .name = "iostats",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "0",
      .help = "measure how long requests take",
      .live = true,
  },
  {
      .name = "virt_boundary",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "0",
      .help = "segments of a request meet at multiples of 4096 only",
  },
  {
      .name = "discard",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "1",
      .help = "offer to discard, if the driver does",
  },
  {
      .name = "blocking",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "0",
      .help = "the driver may block: only hardware queues' threads enter it",
  },
  {
      .name = "rotational",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "0",
      .help = "report a rotating disk",
  },
  {
      .name = "readonly",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "0",
      .help = "refuse everything that writes",
  },
  {
      .name = "power",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "1",
      .help = "0: the disk is without power",
      .live = true,
  },
  {
      .name = "live",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "0",
      .help = "have room for every layer, to be switched on while it runs",
  },
  {
      .name = "seed",
      .type = BLKMQ_KEY_INT,
      .min = 0,
      .max = UINT64_MAX,
      .help = "makes every random choice repeatable (drawn if not given)",
  },
};

const size_t nr_engine_keys = sizeof engine_keys / sizeof engine_keys[0];
