/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack.c: layers over a driver.  Any thread that dispatches or ends requests;
 * what is called when is in blkmq-driver.h.
 *
 * A request is on one level at a time, the one that has it.  On its way down
 * each layer passes it on (blkmq_pass) or keeps it; on its way up it goes
 * through complete of each level, from the one that has completed it.  What was
 * refused or requeued by a level goes on there when it is dispatched again:
 * what is above has had its turn.  That it is the same life of the request can
 * be seen by the token: its generation is the next.
 */

#include <config.h>

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "engine/disk.h"
#include "engine/pool.h"
#include "engine/request.h"
#include "engine/stack-internal.h"

/* What stands in front of the levels' pdus. */
struct stack_pdu {
  blkmq_token token;     /* of the last issue */
  _Atomic uint8_t level; /* that has it, or had it last */
  bool is_climbing;      /* it was completed, */
  int8_t up;             /* and this level is to be asked next */
};

static char *
base_of (struct blkmq_request *rq)
{
  return request_pdu (request_of (rq));
}

static struct stack_pdu *
pdu_of (struct blkmq_request *rq)
{
  return (struct stack_pdu *)base_of (rq);
}

static struct stack *
stack_of (struct blkmq_request *rq)
{
  return rq->hctx->driver_data;
}

static const struct level *
bottom_of (const struct stack *stack)
{
  return &stack->levels[stack->nr_levels - 1];
}

/* RQ is a level's from now on: the pdu and the data are its own.  What stands
 * there already is not written again: the driver may be reading it, asked for
 * the issue before. */
static void
give (const struct stack *stack, struct blkmq_request *rq, unsigned index)
{
  const struct level *level = &stack->levels[index];
  void *pdu = base_of (rq) + level->pdu_offset;

  if (rq->pdu != pdu)
    rq->pdu = pdu;
  if (rq->driver_data != level->data)
    rq->driver_data = level->data;
}

/* What the level INDEX is to look at, from the side, while RQ may be another's.
 * The driver never has to share it: once a request is there it is dispatched
 * nowhere else in this life.  A layer gets a copy in *VIEW.  The caller has a
 * reference. */
static struct blkmq_request *
show (const struct stack *stack, struct blkmq_request *rq, unsigned index,
      struct request_view *view)
{
  const struct level *level = &stack->levels[index];

  if (index == stack->nr_levels - 1)
    return rq;
  view->request = request_of (rq);
  view->rq = (struct blkmq_request){
    .op = rq->op,
    .flags = rq->flags,
    .offset_bytes = rq->offset_bytes,
    .bytes = __atomic_load_n (&rq->bytes, __ATOMIC_RELAXED),
    .hctx = rq->hctx,
    .driver_data = level->data,
    .pdu = base_of (rq) + level->pdu_offset,
    .segment = rq->segment,
    .skip_bytes = rq->skip_bytes,
  };
  return &view->rq;
}

/* The level that has RQ, or had it last: all that is its own stands there. */
static unsigned
level_of (struct blkmq_request *rq)
{
  return atomic_load_explicit (&pdu_of (rq)->level, memory_order_acquire);
}

/* ---- down ---- */

static enum blkmq_queue_result
queue_on (const struct stack *stack, struct blkmq_hctx *hctx,
          struct blkmq_request *rq, blkmq_token token, unsigned index)
{
  give (stack, rq, index);
  atomic_store_explicit (&pdu_of (rq)->level, (uint8_t)index,
                         memory_order_release);
  return stack->levels[index].ops->queue_rq (hctx, rq, token);
}

static void
stack_prefetch (void *opaque, uint64_t offset_bytes)
{
  const struct level *bottom = bottom_of (opaque);

  bottom->ops->prefetch (bottom->data, offset_bytes);
}

static enum blkmq_queue_result
stack_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                blkmq_token token)
{
  const struct stack *stack = hctx->driver_data;
  struct stack_pdu *pdu = pdu_of (rq);
  unsigned index = stack->first;

  if (blkmq_token_is_next (pdu->token, token))
    index = level_of (rq);
  pdu->token = token;
  pdu->is_climbing = false;
  return queue_on (stack, hctx, rq, token, index);
}

enum blkmq_queue_result
blkmq_pass (struct blkmq_hctx *hctx, struct blkmq_request *rq,
            blkmq_token token)
{
  const struct stack *stack = hctx->driver_data;
  unsigned index = level_of (rq);

  assert (index + 1 < stack->nr_levels);
  return queue_on (stack, hctx, rq, token, stack->levels[index].below);
}

static void
stack_commit_rqs (struct blkmq_hctx *hctx)
{
  const struct stack *stack = hctx->driver_data;

  for (unsigned i = stack->first; i < stack->nr_levels;
       i = stack->levels[i].below) {
    if (stack->levels[i].ops->commit_rqs != NULL)
      stack->levels[i].ops->commit_rqs (hctx);
  }
}

/* Layers have no part in what follows: they see requests, wherever they come
 * from. */

static unsigned
stack_poll (struct blkmq_hctx *hctx)
{
  const struct stack *stack = hctx->driver_data;

  return bottom_of (stack)->ops->poll (hctx);
}

static void
stack_map_queues (void *opaque, unsigned nr_hw_queues,
                  struct blkmq_queue_map *map)
{
  const struct level *bottom = bottom_of (opaque);

  if (bottom->ops->map_queues != NULL)
    bottom->ops->map_queues (bottom->data, nr_hw_queues, map);
}

/* ---- up ---- */

static enum blkmq_status
stack_complete (struct blkmq_request *rq, enum blkmq_status status)
{
  const struct stack *stack = stack_of (rq);
  struct stack_pdu *pdu = pdu_of (rq);

  if (!pdu->is_climbing) {
    pdu->is_climbing = true;
    pdu->up = (int8_t)level_of (rq);
  }
  while (pdu->up >= 0 && !request_is_kept (request_of (rq))) {
    unsigned index = (unsigned)pdu->up;
    const struct level *level = &stack->levels[index];
    struct request_view view;

    pdu->up = level->above;
    if (level->ops->complete == NULL)
      continue;
    status = level->ops->complete (show (stack, rq, index, &view), status);
  }
  return status;
}

static enum blkmq_timeout_result
stack_timeout (struct blkmq_request *rq, blkmq_token token)
{
  const struct stack *stack = stack_of (rq);
  unsigned index = level_of (rq);
  const struct blkmq_driver *ops = stack->levels[index].ops;
  struct request_view view;

  if (ops->timeout == NULL)
    return BLKMQ_TIMEOUT_RESET;
  return ops->timeout (show (stack, rq, index, &view), token);
}

static bool
stack_abort (struct blkmq_request *rq, blkmq_token token)
{
  const struct stack *stack = stack_of (rq);
  unsigned index = level_of (rq);
  const struct blkmq_driver *ops = stack->levels[index].ops;
  struct request_view view;

  return ops->abort != NULL
         && ops->abort (show (stack, rq, index, &view), token);
}

/* ---- set-up and take-down ---- */

/* From top to bottom, so that nothing comes down any more to who has stopped.
 */
static void
stack_stop (void *opaque)
{
  const struct stack *stack = opaque;

  for (unsigned i = 0; i < stack->nr_levels; i++) {
    if (stack->levels[i].ops->stop != NULL)
      stack->levels[i].ops->stop (stack->levels[i].data);
  }
}

static void
exit_hctx_below (const struct stack *stack, struct blkmq_hctx *hctx,
                 unsigned index, unsigned above)
{
  for (unsigned i = above + 1; i < stack->nr_levels; i++) {
    const struct level *level = &stack->levels[i];

    if (level->ops->exit_hctx != NULL)
      level->ops->exit_hctx (hctx, level->data, index);
  }
}

static int
stack_init_hctx (struct blkmq_hctx *hctx, void *opaque, unsigned index)
{
  struct stack *stack = opaque;

  stack->failed_layer = NULL;
  for (unsigned i = stack->nr_levels; i-- > 0;) {
    const struct level *level = &stack->levels[i];
    int r = 0;

    if (level->ops->init_hctx != NULL)
      r = level->ops->init_hctx (hctx, level->data, index);
    if (r < 0) {
      if (i < stack->nr_levels - 1)
        stack->failed_layer = level->ops->name;
      exit_hctx_below (stack, hctx, index, i);
      return r;
    }
  }
  return 0;
}

static void
stack_exit_hctx (struct blkmq_hctx *hctx, void *opaque, unsigned index)
{
  const struct stack *stack = opaque;
  const struct level *top = &stack->levels[0];

  if (top->ops->exit_hctx != NULL)
    top->ops->exit_hctx (hctx, top->data, index);
  exit_hctx_below (stack, hctx, index, 0);
}

/* For requests that belong to no hctx yet.  Where several disks share them it
 * is the tag set's, which is not open: the levels have no data. */
static const struct stack *
plan_of (struct blkmq_request *rq)
{
  return (const struct stack *)request_of (rq)->pool->options.driver;
}

static void
exit_request_below (const struct stack *stack, struct blkmq_request *rq,
                    unsigned index, unsigned tag, unsigned above)
{
  for (unsigned i = above + 1; i < stack->nr_levels; i++) {
    const struct blkmq_driver *ops = stack->levels[i].ops;

    give (stack, rq, i);
    if (ops->exit_request != NULL)
      ops->exit_request (stack->levels[i].data, rq, index, tag);
  }
}

static int
stack_init_request (void *opaque, struct blkmq_request *rq, unsigned index,
                    unsigned tag)
{
  const struct stack *stack = plan_of (rq);

  for (unsigned i = stack->nr_levels; i-- > 0;) {
    const struct blkmq_driver *ops = stack->levels[i].ops;
    int r = 0;

    give (stack, rq, i);
    if (ops->init_request != NULL)
      r = ops->init_request (stack->levels[i].data, rq, index, tag);
    if (r < 0) {
      exit_request_below (stack, rq, index, tag, i);
      return r;
    }
  }
  return 0;
}

static void
stack_exit_request (void *opaque, struct blkmq_request *rq, unsigned index,
                    unsigned tag)
{
  const struct stack *stack = plan_of (rq);
  const struct blkmq_driver *top = stack->levels[0].ops;

  give (stack, rq, 0);
  if (top->exit_request != NULL)
    top->exit_request (stack->levels[0].data, rq, index, tag);
  exit_request_below (stack, rq, index, tag, 0);
}

static int
stack_extents (void *opaque, uint64_t offset_bytes, uint64_t bytes,
               int (*fn) (uint64_t offset_bytes, uint64_t bytes, unsigned type,
                          void *opaque),
               void *fn_opaque)
{
  const struct stack *stack = opaque;

  for (unsigned i = 0; i < stack->nr_levels; i++) {
    const struct level *level = &stack->levels[i];

    if (level->ops->extents != NULL)
      return level->ops->extents (level->data, offset_bytes, bytes, fn,
                                  fn_opaque);
  }
  return fn (offset_bytes, bytes, 0, fn_opaque);
}

/* ---- the stack itself ---- */

void
stack_make_ops (struct stack *stack)
{
  const struct blkmq_driver *driver = bottom_of (stack)->ops;
  size_t offset = CACHE_LINE_BYTES;

  static_assert (sizeof (struct stack_pdu) <= CACHE_LINE_BYTES,
                 "the first level's pdu stands behind it");
  for (unsigned i = 0; i < stack->nr_levels; i++) {
    stack->levels[i].pdu_offset = offset;
    offset += (stack->levels[i].ops->pdu_bytes + CACHE_LINE_BYTES - 1)
              & ~(size_t)(CACHE_LINE_BYTES - 1);
  }
  stack->ops = (struct blkmq_driver){
    .name = driver->name,
    .help = driver->help,
    .pdu_bytes = offset,
    .nr_reserved_tags = driver->nr_reserved_tags,
    .queue_rq = stack_queue_rq,
    .prefetch = driver->prefetch != NULL ? stack_prefetch : NULL,
    .commit_rqs = stack_commit_rqs,
    .poll = driver->poll != NULL ? stack_poll : NULL,
    .map_queues = stack_map_queues,
    .complete = stack_complete,
    .timeout = stack_timeout,
    .abort = stack_abort,
    .stop = stack_stop,
    .init_hctx = stack_init_hctx,
    .exit_hctx = stack_exit_hctx,
    .init_request = stack_init_request,
    .exit_request = stack_exit_request,
    .extents = stack_extents,
    .power = stack_power,
    .power_lost = stack_power_lost,
  };
}
