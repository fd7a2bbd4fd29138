/* SPDX-License-Identifier: BSD-3-Clause
 *
 * timer.c: a binary heap of timers under one lock.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "engine/timer.h"

int
timer_heap_init (struct timer_heap *heap, unsigned max)
{
  heap->timers = calloc (max, sizeof heap->timers[0]);
  if (heap->timers == NULL)
    return -ENOMEM;
  pthread_mutex_init (&heap->lock, NULL);
  heap->nr = 0;
  heap->max = max;
  heap->set_deadline = NULL;
  heap->opaque = NULL;
  return 0;
}

void
timer_heap_exit (struct timer_heap *heap)
{
  pthread_mutex_destroy (&heap->lock);
  free (heap->timers);
}

int
timer_heap_reserve (struct timer_heap *heap, unsigned max)
{
  struct timer **timers;
  int r = 0;

  pthread_mutex_lock (&heap->lock);
  if (max > heap->max) {
    timers = reallocarray (heap->timers, max, sizeof heap->timers[0]);
    if (timers == NULL)
      r = -ENOMEM;
    else {
      heap->timers = timers;
      heap->max = max;
    }
  }
  pthread_mutex_unlock (&heap->lock);
  return r;
}

void
timer_init (struct timer *timer, enum timer_kind kind)
{
  timer->deadline_ns = 0;
  timer->token = 0;
  timer->kind = kind;
  atomic_init (&timer->slot, 0);
}

static void
place_locked (struct timer_heap *heap, unsigned at, struct timer *timer)
{
  heap->timers[at] = timer;
  atomic_store_explicit (&timer->slot, at + 1, memory_order_relaxed);
}

static void
sift_up_locked (struct timer_heap *heap, unsigned at, struct timer *timer)
{
  while (at > 0) {
    unsigned parent = (at - 1) / 2;

    if (heap->timers[parent]->deadline_ns <= timer->deadline_ns)
      break;
    place_locked (heap, at, heap->timers[parent]);
    at = parent;
  }
  place_locked (heap, at, timer);
}

static void
sift_down_locked (struct timer_heap *heap, unsigned at, struct timer *timer)
{
  for (;;) {
    unsigned child = 2 * at + 1;

    if (child >= heap->nr)
      break;
    if (child + 1 < heap->nr
        && heap->timers[child + 1]->deadline_ns
               < heap->timers[child]->deadline_ns)
      child++;
    if (timer->deadline_ns <= heap->timers[child]->deadline_ns)
      break;
    place_locked (heap, at, heap->timers[child]);
    at = child;
  }
  place_locked (heap, at, timer);
}

static void
remove_locked (struct timer_heap *heap, struct timer *timer)
{
  unsigned at = atomic_load_explicit (&timer->slot, memory_order_relaxed) - 1;
  struct timer *last = heap->timers[--heap->nr];

  assert (heap->timers[at] == timer);
  /* Release: pairs with timer_cancel. */
  atomic_store_explicit (&timer->slot, 0, memory_order_release);
  if (last == timer)
    return;
  if (at > 0 && last->deadline_ns < heap->timers[(at - 1) / 2]->deadline_ns)
    sift_up_locked (heap, at, last);
  else
    sift_down_locked (heap, at, last);
}

static uint64_t
earliest_locked (const struct timer_heap *heap)
{
  return heap->nr > 0 ? heap->timers[0]->deadline_ns : UINT64_MAX;
}

static void
arm_locked (struct timer_heap *heap, struct timer *timer, uint64_t deadline_ns,
            uint64_t token)
{
  uint64_t before = earliest_locked (heap), after;

  if (atomic_load_explicit (&timer->slot, memory_order_relaxed) != 0)
    remove_locked (heap, timer);
  timer->deadline_ns = deadline_ns;
  timer->token = token;
  assert (heap->nr < heap->max);
  sift_up_locked (heap, heap->nr++, timer);
  after = earliest_locked (heap);
  if (after != before && heap->set_deadline != NULL)
    heap->set_deadline (heap->opaque, after);
}

void
timer_arm (struct timer_heap *heap, struct timer *timer, uint64_t deadline_ns,
           uint64_t token)
{
  pthread_mutex_lock (&heap->lock);
  arm_locked (heap, timer, deadline_ns, token);
  pthread_mutex_unlock (&heap->lock);
}

void
timer_arm_earlier (struct timer_heap *heap, struct timer *timer,
                   uint64_t deadline_ns, uint64_t token)
{
  pthread_mutex_lock (&heap->lock);
  if (atomic_load_explicit (&timer->slot, memory_order_relaxed) == 0
      || deadline_ns < timer->deadline_ns)
    arm_locked (heap, timer, deadline_ns, token);
  pthread_mutex_unlock (&heap->lock);
}

void
timer_cancel (struct timer_heap *heap, struct timer *timer)
{
  /* Acquire: where hctxs share a request, it may go from here to another heap,
   * and another lock. */
  if (atomic_load_explicit (&timer->slot, memory_order_acquire) == 0)
    return;
  pthread_mutex_lock (&heap->lock);
  /* The timerfd is left as it is: an early wake-up finds nothing due and
   * sets the next deadline. */
  if (atomic_load_explicit (&timer->slot, memory_order_relaxed) != 0)
    remove_locked (heap, timer);
  pthread_mutex_unlock (&heap->lock);
}

struct timer *
timer_pop_due (struct timer_heap *heap, uint64_t now_ns, uint64_t *token)
{
  struct timer *timer = NULL;

  pthread_mutex_lock (&heap->lock);
  if (heap->nr > 0 && heap->timers[0]->deadline_ns <= now_ns) {
    timer = heap->timers[0];
    *token = timer->token;
    remove_locked (heap, timer);
  } else if (heap->set_deadline != NULL)
    heap->set_deadline (heap->opaque, earliest_locked (heap));
  pthread_mutex_unlock (&heap->lock);
  return timer;
}
