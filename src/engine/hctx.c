/* SPDX-License-Identifier: BSD-3-Clause
 *
 * hctx.c: set-up of a hardware context, and what its loop does: end the
 * requests on the done list, fire timers, run the queue.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/barrier.h"
#include "engine/disk.h"
#include "engine/dispatch.h"
#include "engine/enter.h"
#include "engine/hctx.h"
#include "engine/poison.h"
#include "engine/timeout.h"

static const struct loop_ops loop_ops = { hctx_kicked, hctx_timer_due };

static void
set_deadline (void *opaque, uint64_t deadline_ns)
{
  struct blkmq_hctx *h = opaque;

  loop_set_deadline (h->loop, deadline_ns);
}

static int
alloc_requests (struct blkmq_hctx *h, unsigned queue_depth)
{
  size_t header = sizeof (struct request);

  static_assert (sizeof (struct request) % CACHE_LINE_BYTES == 0,
                 "the pdu behind it is aligned");
  h->pdu_bytes = (h->driver->pdu_bytes + CACHE_LINE_BYTES - 1)
                 & ~(size_t)(CACHE_LINE_BYTES - 1);
  h->request_bytes = header + h->pdu_bytes;
  h->requests
      = aligned_alloc (CACHE_LINE_BYTES, queue_depth * h->request_bytes);
  if (h->requests == NULL)
    return -ENOMEM;
  memset (h->requests, 0, queue_depth * h->request_bytes);
  for (unsigned tag = 0; tag < queue_depth; tag++) {
    struct request *r = hctx_tag_request (h, tag);

    request_init (r, h, tag, (char *)r + header);
  }
  return 0;
}

static void
exit_requests (struct blkmq_hctx *h, unsigned nr)
{
  while (nr-- > 0) {
    struct request *r = hctx_tag_request (h, nr);

    unpoison (r->rq.pdu, h->pdu_bytes);
    if (h->driver->exit_request != NULL)
      h->driver->exit_request (h->disk->driver_data, &r->rq, h->index, nr);
  }
}

static int
init_requests (struct blkmq_hctx *h, unsigned queue_depth)
{
  for (unsigned tag = 0; tag < queue_depth; tag++) {
    struct request *r = hctx_tag_request (h, tag);
    int err;

    if (h->driver->init_request != NULL) {
      err = h->driver->init_request (h->disk->driver_data, &r->rq, h->index,
                                     tag);
      if (err < 0) {
        exit_requests (h, tag);
        return err;
      }
    }
    poison (r->rq.pdu, h->pdu_bytes);
  }
  return 0;
}

int
hctx_init (struct blkmq_hctx *h, unsigned queue_depth, enum loop_kind loop_kind)
{
  int r;

  h->queue_tail = &h->queue;
  h->wait_tail = &h->wait;
  timer_init (&h->scan_timer, TIMER_SCAN);
  timer_init (&h->rerun_timer, TIMER_RERUN);

  r = -pthread_mutex_init (&h->lock, NULL);
  if (r < 0)
    return r;
  r = tag_map_init (&h->tags, queue_depth);
  if (r < 0)
    goto destroy_lock;
  r = timer_heap_init (&h->heap, queue_depth + 2);
  if (r < 0)
    goto exit_tags;
  h->loop = loop_alloc (loop_kind, NULL, h->index, &loop_ops, h);
  if (h->loop == NULL) {
    r = -ENOMEM;
    goto exit_heap;
  }
  h->heap.set_deadline = set_deadline;
  h->heap.opaque = h;
  r = alloc_requests (h, queue_depth);
  if (r < 0)
    goto free_loop;
  if (h->driver->init_hctx != NULL) {
    r = h->driver->init_hctx (h, h->disk->driver_data, h->index);
    if (r < 0)
      goto free_requests;
  }
  r = init_requests (h, queue_depth);
  if (r < 0)
    goto exit_hctx;
  return 0;

exit_hctx:
  if (h->driver->exit_hctx != NULL)
    h->driver->exit_hctx (h, h->disk->driver_data, h->index);
free_requests:
  free (h->requests);
free_loop:
  loop_free (h->loop);
exit_heap:
  timer_heap_exit (&h->heap);
exit_tags:
  tag_map_exit (&h->tags);
destroy_lock:
  pthread_mutex_destroy (&h->lock);
  return r;
}

void
hctx_exit (struct blkmq_hctx *h, unsigned queue_depth)
{
  exit_requests (h, queue_depth);
  if (h->driver->exit_hctx != NULL)
    h->driver->exit_hctx (h, h->disk->driver_data, h->index);
  free (h->requests);
  loop_free (h->loop);
  timer_heap_exit (&h->heap);
  tag_map_exit (&h->tags);
  pthread_mutex_destroy (&h->lock);
}

int
hctx_lend_loop (struct blkmq_hctx *h, struct ev_loop *ev)
{
  struct loop *loop = loop_alloc (LOOP_LENT, ev, h->index, &loop_ops, h);

  if (loop == NULL)
    return -ENOMEM;
  loop_free (h->loop);
  h->loop = loop;
  return 0;
}

/* ---- the loop's work ---- */

void
hctx_push_done (struct blkmq_hctx *h, struct request *r)
{
  struct request *head = atomic_load_explicit (&h->done, memory_order_relaxed);

  do {
    r->next = head;
  } while (!atomic_compare_exchange_weak_explicit (
      &h->done, &head, r, memory_order_release, memory_order_relaxed));
  if (head == NULL)
    loop_kick (h->loop);
}

static void
end_done (struct blkmq_hctx *h)
{
  struct request *r, *next, *in_order = NULL;

  /* Last come is first on the list: turn it round. */
  r = atomic_exchange_explicit (&h->done, NULL, memory_order_acquire);
  for (; r != NULL; r = next) {
    next = r->next;
    r->next = in_order;
    in_order = r;
  }
  for (r = in_order; r != NULL; r = next) {
    next = r->next;
    request_finish (r);
  }
}

void
hctx_kicked (void *opaque)
{
  struct blkmq_hctx *h = opaque;
  struct thread_slot *slot = engine_enter ();

  end_done (h);
  hctx_run (slot, h);
  engine_leave (slot);
}

static void
fire (struct thread_slot *slot, struct blkmq_hctx *h, struct timer *timer,
      uint64_t token)
{
  struct request *r;

  switch (timer->kind) {
  case TIMER_REQUEST:
    /* The timer itself is popped; what it was armed for may be long over. */
    r = hctx_tag_request (h, name_tag (token));
    if (request_try_get (r, token))
      request_finish (r);
    else
      count (&h->stale_tokens);
    break;
  case TIMER_SCAN:
    timeout_scan (h);
    break;
  case TIMER_RERUN:
    hctx_unstall (h);
    hctx_run (slot, h);
    break;
  }
}

void
hctx_timer_due (void *opaque)
{
  struct blkmq_hctx *h = opaque;
  struct thread_slot *slot = engine_enter ();
  uint64_t now_ns = clock_now_ns (h->clock), token;
  struct timer *timer;

  while ((timer = timer_pop_due (&h->heap, now_ns, &token)) != NULL)
    fire (slot, h, timer, token);
  engine_leave (slot);
}

void
hctx_ask_run (struct blkmq_hctx *h)
{
  struct thread_slot *slot = thread_self ();

  if (slot->depth > 0 && thread_note_run (slot, h))
    return;
  loop_kick (h->loop);
}

void
hctx_gave_back (struct blkmq_hctx *h)
{
  barrier_after_rmw (); /* the give-back first: pairs with dispatch.c:busy */
  if (__builtin_expect (atomic_load_explicit (&h->watch, memory_order_relaxed)
                            & WATCHED,
                        0)) {
    hctx_unstall (h);
    hctx_ask_run (h);
  }
}

void
hctx_unstall (struct blkmq_hctx *h)
{
  atomic_fetch_add (&h->watch, WATCH_EPOCH);
  atomic_store (&h->stalled, false);
}

struct blkmq_hctx *
hctx_hold (struct thread_slot *slot, struct blkmq_hctx *h)
{
  struct blkmq_hctx *outer
      = atomic_load_explicit (&slot->releasing, memory_order_relaxed);

  atomic_store_explicit (&slot->releasing, h, memory_order_relaxed);
  return outer;
}

void
hctx_let_go (struct thread_slot *slot, struct blkmq_hctx *outer)
{
  atomic_store_explicit (&slot->releasing, outer, memory_order_release);
}

/* A reference to whatever life or issue of R is the present one. */
static bool
get_present (struct blkmq_hctx *h, struct request *r)
{
  uint64_t word;

  do {
    word = atomic_load_explicit (&r->word, memory_order_acquire);
    if (word_is_free (word) || word_refs_are_full (word))
      return false;
    /* A failed get means that the generation has moved: look again. */
  } while (!request_try_get (r, name_make (word, h->index, r->tag)));
  return true;
}

int
hctx_for_each (struct blkmq_hctx *h,
               int (*fn) (struct request *r, void *opaque), void *opaque)
{
  struct thread_slot *slot = thread_self ();
  struct blkmq_hctx *outer = hctx_hold (slot, h);
  int ret = 0;

  for_each_taken_tag (tag, &h->tags)
  {
    struct request *r = hctx_tag_request (h, (unsigned)tag);

    if (!get_present (h, r))
      continue;
    ret = fn (r, opaque);
    request_put (r);
    if (ret != 0)
      break;
  }
  hctx_let_go (slot, outer);
  return ret;
}

void
hctx_notify_drain (struct blkmq_hctx *h)
{
  struct blkmq_disk *disk = h->disk;

  pthread_mutex_lock (&disk->drain_lock);
  disk->drain_events++;
  pthread_cond_broadcast (&disk->drained);
  pthread_mutex_unlock (&disk->drain_lock);
}
