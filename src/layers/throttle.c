/* SPDX-License-Identifier: BSD-3-Clause
 *
 * throttle.c: the disk's bandwidth and its operations per second.  Any thread;
 * the rates change only while nothing is on its way down (change).
 *
 * Each budget is one number, the time until which all that was let in has used
 * it up (the theoretical arrival time of ITU-T I.371's generic cell rate
 * algorithm).  A request moves it on by its own cost, once, when it comes, and
 * thereby knows its time: when what came before it is paid for.  If that is not
 * yet it is refused until then, and passes when it is back.  So the order is
 * that of arrival, over all hctxs, and nobody is passed over: each hctx has one
 * request that waits here, and the next one takes its turn behind those of the
 * others.
 *
 * What an idle disk may take at once is BURST_NS of its budget or one request,
 * whichever is more.  By how much a timer was late is made up for, and so a
 * busy machine does not make the disk slower than it is to be.
 */

#include <config.h>

#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "layers.h"

#define BURST_NS UINT64_C (1000000)

/* The most that is made up for: what is later than that is a pause. */
#define MAX_LATE_NS UINT64_C (20000000)

/* Times are in 1/16 ns, so that short costs are not rounded away; in 64 bits
 * that is 36 years. */
#define TICK_SHIFT 4
#define TICKS_PER_S ((double)(UINT64_C (1000000000) << TICK_SHIFT))
#define BURST_TICKS (BURST_NS << TICK_SHIFT)
#define MAX_LATE_TICKS (MAX_LATE_NS << TICK_SHIFT)

/* The most that can be owed, some years: the sum must not wrap. */
#define MAX_DEBT_TICKS (UINT64_C (1) << 61)

static const struct blkmq_key throttle_keys[] = {
  {
      .name = "mbps",
      .type = BLKMQ_KEY_SIZE,
      .unit = "MiB",
      .default_value = "0",
      .min = 0,
      .max = UINT64_C (40) << 30, /* null_blk's */
      .help = "most data read and written in a second, 0 for no limit",
      .live = true,
  },
  {
      .name = "iops",
      .type = BLKMQ_KEY_INT,
      .default_value = "0",
      .min = 0,
      .max = 100000000,
      .help = "most requests in a second, 0 for no limit",
      .live = true,
  },
};

struct budget {
  alignas (64) _Atomic uint64_t used_until; /* ticks */
  double ticks_per_unit;                    /* 0: there is no limit */
};

struct throttle {
  struct budget bytes, requests;
  struct blkmq_hctx *clock; /* any hctx: they have one clock */
  _Atomic uint64_t late;    /* ticks: the last one that waited passed so late */
};

struct throttle_pdu {
  blkmq_token refused; /* the issue that was, or 0 */
  uint64_t start;      /* ticks: when it may pass */
};

static uint64_t
now_ticks (const struct blkmq_hctx *hctx)
{
  return blkmq_hctx_now_ns (hctx) << TICK_SHIFT;
}

/* ---- budgets ---- */

static uint64_t
to_ticks (double ticks)
{
  return ticks < (double)MAX_DEBT_TICKS ? (uint64_t)(ticks + 0.5)
                                        : MAX_DEBT_TICKS;
}

/* Charge UNITS.  Returns when whoever they are for may pass. */
static uint64_t
charge (struct budget *budget, uint64_t units, uint64_t now, uint64_t late)
{
  uint64_t cost = to_ticks ((double)units * budget->ticks_per_unit);
  uint64_t until, next, slack;

  if (cost == 0)
    return now;
  until = atomic_load_explicit (&budget->used_until, memory_order_relaxed);
  do {
    next = (until + late > now ? until : now) + cost;
    if (next > now + MAX_DEBT_TICKS)
      next = now + MAX_DEBT_TICKS;
  } while (!atomic_compare_exchange_weak_explicit (&budget->used_until, &until,
                                                   next, memory_order_relaxed,
                                                   memory_order_relaxed));
  slack = cost < BURST_TICKS ? BURST_TICKS - cost : 0;
  return until > slack ? until - slack : 0;
}

/* What is owed stays owed, in bytes or requests, unless there was no limit or
 * is none any more.  Nobody else is here. */
static void
set_rate (struct budget *budget, uint64_t units_per_s, uint64_t now)
{
  double per_unit = units_per_s != 0 ? TICKS_PER_S / (double)units_per_s : 0;
  uint64_t until = atomic_load (&budget->used_until);
  double debt = 0;

  if (until > now && budget->ticks_per_unit > 0)
    debt = (double)(until - now) * per_unit / budget->ticks_per_unit;
  atomic_store (&budget->used_until, now + to_ticks (debt));
  budget->ticks_per_unit = per_unit;
}

static void
set_rates (struct throttle *throttle, const struct blkmq_config *config,
           uint64_t now)
{
  set_rate (&throttle->bytes, blkmq_config_number (config, "mbps"), now);
  set_rate (&throttle->requests, blkmq_config_number (config, "iops"), now);
}

/* ---- requests ---- */

/* One that has waited until START passes. */
static void
note_late (struct throttle *throttle, uint64_t start, uint64_t now)
{
  uint64_t late = now > start ? now - start : 0;

  atomic_store_explicit (&throttle->late,
                         late < MAX_LATE_TICKS ? late : MAX_LATE_TICKS,
                         memory_order_relaxed);
}

/* RQ comes down for the first time: when may it pass? */
static uint64_t
take_turn (struct throttle *throttle, const struct blkmq_request *rq,
           uint64_t now)
{
  bool has_data = rq->op == BLKMQ_OP_READ || rq->op == BLKMQ_OP_WRITE;
  uint64_t late = atomic_load_explicit (&throttle->late, memory_order_relaxed);
  uint64_t by_bytes
      = charge (&throttle->bytes, has_data ? rq->bytes : 0, now, late);
  uint64_t by_requests = charge (&throttle->requests, 1, now, late);

  return by_bytes > by_requests ? by_bytes : by_requests;
}

static enum blkmq_queue_result
throttle_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                   blkmq_token token)
{
  struct throttle_pdu *pdu = rq->pdu;
  uint64_t now = now_ticks (hctx);

  if (pdu->refused == 0 || !blkmq_token_is_next (pdu->refused, token)) {
    pdu->start = take_turn (rq->driver_data, rq, now);
    pdu->refused = 0;
  }
  /* A freeze is not to last as long as all that waits here: it passes, and
   * those that come afterwards wait for it. */
  if (pdu->start > now && !blkmq_hctx_is_frozen (hctx)) {
    pdu->refused = token;
    return blkmq_busy_for (((pdu->start - now - 1) >> TICK_SHIFT) + 1);
  }
  if (pdu->refused != 0)
    note_late (rq->driver_data, pdu->start, now);
  pdu->refused = 0;
  return blkmq_pass (hctx, rq, token);
}

/* ---- set-up ---- */

static bool
throttle_is_wanted (const struct blkmq_config *config)
{
  return blkmq_config_number (config, "mbps") != 0
         || blkmq_config_number (config, "iops") != 0;
}

static int
throttle_open (const struct blkmq_config *config, uint64_t seed,
               struct blkmq_limits *limits, void **data,
               struct blkmq_error *error)
{
  struct throttle *throttle
      = aligned_alloc (alignof (struct throttle), sizeof *throttle);

  if (throttle == NULL)
    return -ENOMEM;
  *throttle = (struct throttle){ 0 };
  set_rates (throttle, config, 0);
  *data = throttle;
  return 0;
}

static int
throttle_init_hctx (struct blkmq_hctx *hctx, void *data, unsigned index)
{
  struct throttle *throttle = data;

  if (index == 0) /* there is always one, and it lives as long as the disk */
    throttle->clock = hctx;
  return 0;
}

static int
throttle_change (void *data, const struct blkmq_config *config,
                 struct blkmq_error *error)
{
  struct throttle *throttle = data;

  set_rates (throttle, config, now_ticks (throttle->clock));
  return 0;
}

const struct blkmq_driver blkmq_layer_throttle = {
  .name = "throttle",
  .help = "limits bandwidth and requests in a second",
  .pdu_bytes = sizeof (struct throttle_pdu),
  .keys = throttle_keys,
  .nr_keys = sizeof throttle_keys / sizeof throttle_keys[0],
  .is_wanted = throttle_is_wanted,
  .open = throttle_open,
  .close = free,
  .init_hctx = throttle_init_hctx,
  .queue_rq = throttle_queue_rq,
  .change = throttle_change,
};
