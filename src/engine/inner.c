/* SPDX-License-Identifier: BSD-3-Clause
 *
 * inner.c: see inner.h.  The threads are those of the layer's ops.
 */

#include <config.h>

#include <assert.h>

#include "engine/disk.h"
#include "engine/freeze.h"
#include "engine/inner.h"
#include "engine/request.h"

/* open is told of a configuration, not of a disk. */
static _Thread_local const struct inner_opening *opening;

const struct inner_opening *
inner_set_opening (const struct inner_opening *new)
{
  const struct inner_opening *old = opening;

  opening = new;
  return old;
}

int
inner_alloc (struct blkmq_disk **inner, struct blkmq_error *error)
{
  const struct inner_opening *outer = opening;
  struct disk_options options;
  int r;

  assert (outer != NULL && outer->disk->inner == NULL);
  options = *outer->options;
  options.outer = outer->disk;
  r = disk_alloc (outer->config, &options, NULL, inner, error);
  if (r == 0)
    outer->disk->inner = *inner;
  if (r == 0)
    stack_set_inner (outer->disk->stack, (*inner)->stack);
  return r;
}

void
inner_remove (struct blkmq_disk *inner)
{
  pthread_mutex_lock (&inner->control_lock);
  assert (inner->started && !inner->removed);
  inner->removed = true;
  freeze_set_removed_locked (inner);
  pthread_mutex_unlock (&inner->control_lock);
  freeze_remove (inner);
}

void
inner_time_out (struct blkmq_request *rq, blkmq_token token)
{
  struct blkmq_hctx *h = rq->hctx;

  request_claim_issue (request_of (rq), token, BLKMQ_CAUSE_TIMEOUT,
                       BLKMQ_STS_TIMEOUT);
  /* A freeze may have waited for this one. */
  if (atomic_load (&h->flags) & (HCTX_FROZEN | HCTX_REMOVED))
    hctx_notify_drain (h);
}
