/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dump.c: requests and disks as text, for people who look for a bug.  Any
 * thread that may use the disk; takes references, and no lock.
 */

#include <config.h>

#include <inttypes.h>

#include "engine/disk.h"
#include "engine/elevator.h"
#include "engine/enter.h"
#include "engine/hctx.h"
#include "engine/record.h"
#include "engine/request.h"

void
blkmq_request_dump (struct blkmq_request *rq, FILE *file)
{
  struct request *r = request_of (rq);
  uint64_t word = atomic_load_explicit (&r->word, memory_order_acquire);

  fprintf (file, "hctx %u, tag %u: %s, %" PRIu64 " bytes at %" PRIu64 ", ",
           rq->hctx->index, r->tag, blkmq_op_name (rq->op),
           __atomic_load_n (&rq->bytes, __ATOMIC_RELAXED), rq->offset_bytes);
  record_print_word (word, file);
  if (word & WORD_ENDED)
    fprintf (file, ", ended by %s",
             blkmq_cause_name ((enum blkmq_cause)atomic_load_explicit (
                 &r->cause, memory_order_relaxed)));
  fputc ('\n', file);
  record_dump (r, file);
}

static int
dump_one (struct request *r, void *opaque)
{
  blkmq_request_dump (&r->rq, opaque);
  return 0;
}

/* What it waits for comes last. */
static void
dump_hctx_state (struct blkmq_hctx *h, FILE *file)
{
  unsigned flags = atomic_load (&h->flags);
  struct thread_slot *slot = thread_self ();
  enum hold hold = hctx_hold (slot, h);
  struct request_pool *pool = hctx_pool (h), *tags = hctx_tag_pool (h);

  fprintf (file, "hctx %u: %u of %u tags taken", h->index, pool_nr_taken (tags),
           tags->depth);
  if (pool->sched != NULL)
    fprintf (file, ", %u of %u requests, %u in the scheduler",
             pool_nr_taken (pool), pool->depth, sched_nr_queued (pool->sched));
  hctx_let_go (slot, h, hold);
  fprintf (file, ", %u pins%s%s%s%s%s", atomic_load (&h->pins),
           atomic_load (&h->done) != NULL ? ", completions for the loop" : "",
           loop_is_kicked (h->loop) ? ", loop kicked" : "",
           timer_is_armed (&h->scan_timer) ? ", scan armed" : "",
           timer_is_armed (&h->rerun_timer) ? ", rerun armed" : "",
           atomic_load (&h->watch) & WATCHED ? ", watching give-backs" : "");
  fprintf (file, ", %u requests queued, %u ios wait for a tag%s%s%s%s%s%s\n",
           atomic_load (&h->nr_queued), atomic_load (&h->nr_waiting),
           flags & HCTX_QUIESCED ? ", quiesced" : "",
           flags & HCTX_FROZEN ? ", frozen" : "",
           flags & HCTX_REMOVED ? ", removed" : "",
           flags & HCTX_OFF ? ", without power" : "",
           flags & HCTX_DROPPED ? ", dropped" : "",
           atomic_load (&h->stalled) ? ", stalled" : "");
}

static void
dump_hctx (struct blkmq_hctx *h, FILE *file)
{
  dump_hctx_state (h, file);
  hctx_for_each (h, dump_one, file);
}

void
disk_dump_hctxs (struct blkmq_disk *disk, FILE *file)
{
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++)
    dump_hctx_state (disk_hctx (disk, i), file);
}

void
blkmq_disk_dump (struct blkmq_disk *disk, FILE *file)
{
  struct thread_slot *slot = engine_enter_from_below ();

  fprintf (file, "driver=%s seed=%" PRIu64 "\n", blkmq_disk_driver_name (disk),
           disk->seed);
  for (unsigned i = 0; i < disk_nr_hctxs (disk); i++)
    dump_hctx (disk_hctx (disk, i), file);
  engine_leave_from_below (slot);
  if (disk->inner != NULL) {
    fprintf (file, "below the cache: ");
    blkmq_disk_dump (disk->inner, file);
  }
}
