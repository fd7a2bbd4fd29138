/* SPDX-License-Identifier: BSD-3-Clause
 *
 * thread.c: the registry of thread slots.  A slot lives in its thread's own
 * storage, is entered in the list at the thread's first call and leaves it
 * when the thread ends.
 */

#include <config.h>

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "engine/barrier.h"
#include "engine/thread.h"
#include "engine/yield.h"

__thread struct thread_slot thread_slot_storage
    __attribute__ ((tls_model ("initial-exec"), visibility ("hidden")));

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct thread_slot *registry; /* registry_lock */
static unsigned next_id;             /* registry_lock */
static pthread_key_t exit_key;

static void
thread_unregister (void *opaque)
{
  struct thread_slot *slot = opaque;

  pthread_mutex_lock (&registry_lock);
  if (slot->prev != NULL)
    slot->prev->next = slot->next;
  else
    registry = slot->next;
  if (slot->next != NULL)
    slot->next->prev = slot->prev;
  pthread_mutex_unlock (&registry_lock);
  slot->registered = false;
}

/* The key must be gone before this object's code can be unmapped (a plugin
 * that is dlclosed), or the next thread to end would jump into nothing. */
static void __attribute__ ((constructor)) create_key (void)
{
  if (pthread_key_create (&exit_key, thread_unregister) != 0)
    abort ();
  /* Where this fails barrier_everywhere finds another way. */
  syscall (SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
}

static void __attribute__ ((destructor)) delete_key (void)
{
  pthread_key_delete (exit_key);
}

void
thread_register (struct thread_slot *slot)
{
  if (pthread_setspecific (exit_key, slot) != 0)
    abort (); /* no memory for a pointer: nothing can go on */

  slot->ios_tail = &slot->ios;
  pthread_mutex_lock (&registry_lock);
  slot->id = next_id++;
  slot->prev = NULL;
  slot->next = registry;
  if (registry != NULL)
    registry->prev = slot;
  registry = slot;
  pthread_mutex_unlock (&registry_lock);
  slot->registered = true;
}

void
thread_leave_loop (struct thread_slot *slot, unsigned id)
{
  pthread_mutex_lock (&registry_lock);
  for (struct thread_slot *s = registry; s != NULL; s = s->next) {
    if (s == slot && s->id == id)
      atomic_fetch_sub (&s->on_loop, 1);
  }
  pthread_mutex_unlock (&registry_lock);
}

bool
thread_any_queueing (struct request *rq)
{
  bool found = false;

  pthread_mutex_lock (&registry_lock);
  for (struct thread_slot *s = registry; s != NULL && !found; s = s->next)
    found = atomic_load_explicit (&s->queueing, memory_order_acquire) == rq;
  pthread_mutex_unlock (&registry_lock);
  return found;
}

static bool
is_dispatching (const struct thread_slot *s, const struct blkmq_hctx *hctx)
{
  return atomic_load_explicit (&s->dispatching, memory_order_acquire) == hctx;
}

/* A thread hands its hold on an hctx from holding to a note and from there to
 * dispatching; and while dispatching it may make a new note.  Looking in that
 * order, and at dispatching first as well, cannot miss it. */
static bool
is_touching (const struct thread_slot *s, const struct blkmq_hctx *hctx)
{
  if (is_dispatching (s, hctx)
      || atomic_load_explicit (&s->holding, memory_order_acquire) == hctx)
    return true;
  for (unsigned i = 0; i < THREAD_NR_RUNS; i++) {
    if (atomic_load_explicit (&s->runs[i], memory_order_acquire) == hctx)
      return true;
  }
  return is_dispatching (s, hctx);
}

bool
thread_note_run (struct thread_slot *slot, struct blkmq_hctx *hctx)
{
  for (unsigned i = 0; i < THREAD_NR_RUNS; i++) {
    struct blkmq_hctx *noted
        = atomic_load_explicit (&slot->runs[i], memory_order_relaxed);

    if (noted == hctx)
      return true;
    if (noted == NULL) {
      atomic_store_explicit (&slot->runs[i], hctx, memory_order_release);
      slot->nr_runs++;
      return true;
    }
  }
  return false;
}

/* The thread with the lowest id from FROM on, or NULL. */
static struct thread_slot *
next_locked (unsigned from)
{
  struct thread_slot *found = NULL;

  for (struct thread_slot *s = registry; s != NULL; s = s->next) {
    if (s->id >= from && (found == NULL || s->id < found->id))
      found = s;
  }
  return found;
}

/* A full barrier in every thread of the process.  A mark is a plain store, and
 * what its thread reads next, a pool's address for one, may be read before the
 * mark is seen by others; this is the barrier that such threads do without.
 * Pairs with hctx_hold and with the dispatching mark. */
static void
barrier_everywhere (void)
{
  struct timespec pause = { 0, 10000000 };

  if (syscall (SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0
      || syscall (SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0)
    return;
  /* Not to be had here (a filter of system calls).  Stores leave a core within
   * a microsecond. */
  barrier_full ();
  nanosleep (&pause, NULL);
}

/* One thread after the other: asking for a moment at which none of them does
 * would be asking for much on a busy disk. */
static void
wait_for_each (bool (*does) (const struct thread_slot *,
                             const struct blkmq_hctx *),
               struct blkmq_hctx *hctx)
{
  const struct thread_slot *self = thread_self ();
  struct timespec pause = { 0, 20000 };
  unsigned next = 0, end;

  barrier_everywhere ();
  pthread_mutex_lock (&registry_lock);
  end = next_id; /* who comes later comes after what the caller did */
  for (;;) {
    struct thread_slot *s = next_locked (next);

    if (s == NULL || s->id >= end)
      break;
    barrier_full ();
    if (s == self || !does (s, hctx)) {
      next = s->id + 1;
      continue;
    }
    pthread_mutex_unlock (&registry_lock);
    if (!yield_instead_of_sleep ("wait for threads")) {
      nanosleep (&pause, NULL);
      if (pause.tv_nsec < 1000000)
        pause.tv_nsec *= 2;
    }
    pthread_mutex_lock (&registry_lock);
  }
  pthread_mutex_unlock (&registry_lock);
}

void
thread_wait_dispatching (struct blkmq_hctx *hctx)
{
  wait_for_each (is_dispatching, hctx);
}

void
thread_wait_gone (struct blkmq_hctx *hctx)
{
  wait_for_each (is_touching, hctx);
}
