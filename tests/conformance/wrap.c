/* SPDX-License-Identifier: BSD-3-Clause
 *
 * wrap.c: see wrap.h.  Threads: as the driver's.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wrap.h"

#define MAX_WRAPPERS 16

struct wrap wrap;

static struct {
  struct blkmq_driver driver;
  char name[40];
} wrappers[MAX_WRAPPERS];
static unsigned nr_wrappers;

static void
check_limits (const struct blkmq_request *rq)
{
  const struct blkmq_limits *limits = wrap.limits;
  struct blkmq_segments it = blkmq_segments_begin (rq);
  struct iovec seg;
  uint64_t bytes = 0;
  unsigned nr = 0;

  if (limits == NULL || rq->op == BLKMQ_OP_FLUSH)
    return;
  while (blkmq_segments_next (&it, &seg)) {
    bytes += seg.iov_len;
    nr++;
  }
  if (rq->offset_bytes + rq->bytes > limits->size_bytes
      || rq->offset_bytes % limits->logical_block_bytes != 0)
    atomic_store (&wrap.over_limits, true);
  if ((rq->op == BLKMQ_OP_READ || rq->op == BLKMQ_OP_WRITE)
      && (bytes != rq->bytes || rq->bytes > limits->max_transfer_bytes
          || nr > limits->max_segments))
    atomic_store (&wrap.over_limits, true);
  if (rq->op == BLKMQ_OP_DISCARD && rq->bytes > limits->max_discard_bytes)
    atomic_store (&wrap.over_limits, true);
}

static enum blkmq_queue_result
wrap_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
               blkmq_token token)
{
  uint64_t n = atomic_fetch_add (&wrap.nr_queued, 1) + 1;

  check_limits (rq);
  if (wrap.busy_every != 0 && n % wrap.busy_every == 0) {
    atomic_fetch_add (&wrap.nr_refused, 1);
    return wrap.busy_how;
  }
  return wrap.inner->queue_rq (hctx, rq, token);
}

static void
wrap_commit_rqs (struct blkmq_hctx *hctx)
{
  atomic_fetch_add (&wrap.nr_commits, 1);
  if (wrap.inner->commit_rqs != NULL)
    wrap.inner->commit_rqs (hctx);
}

const char *
wrap_driver (const struct blkmq_driver *inner)
{
  struct blkmq_driver *driver;
  struct blkmq_error error;
  char *name;

  wrap.inner = inner;
  for (unsigned i = 0; i < nr_wrappers; i++) {
    if (strcmp (wrappers[i].name + strlen ("wrap-"), inner->name) == 0)
      return wrappers[i].name;
  }
  if (nr_wrappers == MAX_WRAPPERS)
    abort ();
  driver = &wrappers[nr_wrappers].driver;
  name = wrappers[nr_wrappers++].name;
  snprintf (name, sizeof wrappers[0].name, "wrap-%s", inner->name);
  *driver = *inner;
  driver->name = name;
  driver->queue_rq = wrap_queue_rq;
  driver->commit_rqs = wrap_commit_rqs;
  if (blkmq_driver_register (driver, &error) < 0) {
    fprintf (stderr, "%s: %s\n", name, error.message);
    abort ();
  }
  return name;
}

void
wrap_reset (void)
{
  wrap.busy_every = 0;
  wrap.busy_how = BLKMQ_BUSY_HOST;
  wrap.limits = NULL;
  atomic_store (&wrap.nr_queued, 0);
  atomic_store (&wrap.nr_refused, 0);
  atomic_store (&wrap.nr_commits, 0);
  atomic_store (&wrap.over_limits, false);
}
