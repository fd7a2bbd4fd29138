/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sync.c: completions, and the synchronous forms of submission.
 */

#include <config.h>

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "blkmq.h"
#include "engine/disk.h"
#include "engine/enter.h"
#include "engine/io.h"
#include "engine/poll.h"
#include "engine/record.h"
#include "engine/spin.h"
#include "engine/sync.h"
#include "engine/thread.h"

enum { PENDING, SLEEPING, DONE };

void
completion_init (struct completion *c)
{
  atomic_init (&c->state, PENDING);
}

void
completion_signal (struct completion *c)
{
  /* After the exchange C may be gone: the waiter has seen DONE and returned.
   * The wake-up then goes to an address where nobody sleeps, or one who does
   * looks again, as all who sleep on futexes must. */
  if (atomic_exchange_explicit (&c->state, DONE, memory_order_acq_rel)
      == SLEEPING)
    syscall (SYS_futex, &c->state, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

bool
completion_is_done (const struct completion *c)
{
  return atomic_load_explicit (&c->state, memory_order_acquire) == DONE;
}

static bool
wait_until (struct completion *c, const struct timespec *deadline)
{
  uint32_t state = PENDING;

  atomic_compare_exchange_strong (&c->state, &state, SLEEPING);
  while (!completion_is_done (c)) {
    if (syscall (SYS_futex, &c->state, FUTEX_WAIT_BITSET_PRIVATE, SLEEPING,
                 deadline, NULL, FUTEX_BITSET_MATCH_ANY)
            < 0
        && errno == ETIMEDOUT)
      return completion_is_done (c);
  }
  return true;
}

void
completion_wait (struct completion *c)
{
  wait_until (c, NULL);
}

static uint64_t
now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* True: it has happened.  False: it is UNTIL_NS. */
static bool
sleep_until (struct completion *c, uint64_t until_ns)
{
  struct timespec until
      = { (time_t)(until_ns / 1000000000), (long)(until_ns % 1000000000) };

  return completion_is_done (c) || wait_until (c, &until);
}

bool
completion_wait_for (struct completion *c, uint64_t timeout_ns)
{
  return completion_is_done (c) || sleep_until (c, now_ns () + timeout_ns);
}

/* ---- synchronous submission ---- */

struct sync_io {
  struct completion done;
  enum blkmq_status status;
  struct sync_sleep sleep;
};

static void
sync_end_io (struct blkmq_io *io, enum blkmq_status status)
{
  struct sync_io *sync = io->priv.sync;

  sync->status = status;
  completion_signal (&sync->done);
}

/* Beyond this the loop is as cheap. */
#define MAX_SLEEPERS 48

static void
forget_timer (struct sync_sleep *sleep)
{
  atomic_fetch_sub (&sleep->hctx->nr_sleepers, 1);
  sleep->request = NULL;
}

bool
sync_takes_timer (struct thread_slot *slot, struct request *r,
                  uint64_t deadline_ns, uint64_t token)
{
  struct sync_sleep *sleep = slot->sleep;

  /* With others in the request, or in parts, the io may end without it. */
  if (sleep == NULL || r->io != sleep->io || r->nr_merged > 0
      || io_is_split (r->io) || r->rq.hctx->clock->fake)
    return false;
  /* Of many the loop can wake several at a time. */
  if (atomic_fetch_add (&r->rq.hctx->nr_sleepers, 1) >= MAX_SLEEPERS) {
    atomic_fetch_sub (&r->rq.hctx->nr_sleepers, 1);
    return false;
  }
  *sleep = (struct sync_sleep){ sleep->io, r, r->rq.hctx, token, deadline_ns };
  return true;
}

/* It is time for the request to go on, perhaps to the next sleep. */
static void
wake_request (struct thread_slot *slot, struct sync_io *sync)
{
  struct sync_sleep sleep = sync->sleep;
  enum hold hold;

  forget_timer (&sync->sleep);
  slot->depth++;
  hold = hctx_hold (slot, sleep.hctx);
  /* Not answered: so the request is there still, as long as we hold its hctx
   * if it is answered now. */
  if (!completion_is_done (&sync->done)
      && request_try_get (sleep.request, sleep.token)) {
    record_move (sleep.request, RECORD_TIMER_FIRE, 0, sleep.request->word,
                 sleep.request->word);
    request_finish (sleep.request);
  }
  hctx_let_go (slot, sleep.hctx, hold);
  engine_leave (slot);
}

static bool
sleep_and_wake_request (struct thread_slot *slot, struct sync_io *sync)
{
  struct sync_sleep *sleep = &sync->sleep;
  uint64_t spin_ns = loop_spin_ns (sleep->hctx->loop);

  if (sleep_until (&sync->done, spin_alarm_ns (sleep->deadline_ns, spin_ns)))
    return true;
  while (clock_now_ns (sleep->hctx->clock) < sleep->deadline_ns) {
    if (completion_is_done (&sync->done))
      return true;
    spin_relax ();
  }
  wake_request (slot, sync);
  return completion_is_done (&sync->done);
}

/* True: answered.  False: it is UNTIL_NS; UINT64_MAX: wait for ever. */
static bool
sync_wait (struct thread_slot *slot, struct sync_io *sync, uint64_t until_ns)
{
  while (sync->sleep.request != NULL && sync->sleep.deadline_ns <= until_ns) {
    if (sleep_and_wake_request (slot, sync))
      return true;
  }
  if (until_ns != UINT64_MAX)
    return sleep_until (&sync->done, until_ns);
  completion_wait (&sync->done);
  return true;
}

/* give_back stays NULL: the answer then comes with the data. */
static void
sync_submit (struct thread_slot *slot, struct blkmq_submitter *submitter,
             struct blkmq_io *io, struct sync_io *sync)
{
  completion_init (&sync->done);
  io->end_io = sync_end_io;
  io->give_back = NULL;
  io->priv.sync = sync;
  sync->sleep.io = io;
  sync->sleep.request = NULL;
  slot->sleep = io->flags & BLKMQ_IO_POLLED ? NULL : &sync->sleep;
  blkmq_submit (submitter, io);
}

/* Over: the io may be gone. */
static int
sync_end (struct thread_slot *slot, struct sync_io *sync)
{
  slot->sleep = NULL;
  if (sync->sleep.request != NULL) /* ended ahead of its time */
    forget_timer (&sync->sleep);
  return -blkmq_status_to_errno (sync->status);
}

int
blkmq_submit_sync (struct blkmq_submitter *submitter, struct blkmq_io *io)
{
  struct thread_slot *slot = thread_self ();
  bool is_polled = io->flags & BLKMQ_IO_POLLED;
  struct sync_io sync;

  if (thread_must_not_block (slot))
    return -EDEADLK;
  sync_submit (slot, submitter, io, &sync);
  if (!completion_is_done (&sync.done)) {
    if (is_polled)
      poll_wait (submitter, &sync.done);
    else
      sync_wait (slot, &sync, UINT64_MAX);
  }
  return sync_end (slot, &sync);
}

int
blkmq_submit_sync_while (struct blkmq_submitter *submitter, struct blkmq_io *io,
                         uint64_t interval_ns,
                         bool (*keep_waiting) (void *opaque), void *opaque)
{
  struct thread_slot *slot = thread_self ();
  bool is_polled = io->flags & BLKMQ_IO_POLLED, keep = true;
  struct sync_io sync;

  if (thread_must_not_block (slot))
    return -EDEADLK;
  sync_submit (slot, submitter, io, &sync);
  while (!completion_is_done (&sync.done)) {
    if (is_polled ? poll_wait_for (submitter, &sync.done, interval_ns)
                  : sync_wait (slot, &sync, now_ns () + interval_ns))
      break;
    if (keep)
      keep = keep_waiting (opaque);
    /* Again each time: a part that was between two queues is found later. */
    if (!keep)
      blkmq_abort_io (submitter, io);
  }
  return sync_end (slot, &sync);
}

static int
sync_simple (struct blkmq_submitter *submitter, enum blkmq_op op,
             const void *buf, uint64_t bytes, uint64_t offset_bytes,
             uint32_t flags)
{
  /* The engine writes to the data of reads only. */
  struct iovec segment = { (void *)(uintptr_t)buf, (size_t)bytes };
  struct blkmq_io io = {
    .op = op,
    .flags = flags,
    .offset_bytes = offset_bytes,
    .bytes = bytes,
    .segments = &segment,
    .nr_segments = 1,
  };

  return blkmq_submit_sync (submitter, &io);
}

int
blkmq_read (struct blkmq_submitter *submitter, void *buf, size_t bytes,
            uint64_t offset_bytes)
{
  return sync_simple (submitter, BLKMQ_OP_READ, buf, bytes, offset_bytes, 0);
}

int
blkmq_write (struct blkmq_submitter *submitter, const void *buf, size_t bytes,
             uint64_t offset_bytes, uint32_t flags)
{
  return sync_simple (submitter, BLKMQ_OP_WRITE, buf, bytes, offset_bytes,
                      flags);
}

int
blkmq_flush (struct blkmq_submitter *submitter)
{
  return sync_simple (submitter, BLKMQ_OP_FLUSH, NULL, 0, 0, 0);
}

int
blkmq_discard (struct blkmq_submitter *submitter, uint64_t bytes,
               uint64_t offset_bytes)
{
  return sync_simple (submitter, BLKMQ_OP_DISCARD, NULL, bytes, offset_bytes,
                      0);
}

int
blkmq_write_zeroes (struct blkmq_submitter *submitter, uint64_t bytes,
                    uint64_t offset_bytes, uint32_t flags)
{
  return sync_simple (submitter, BLKMQ_OP_WRITE_ZEROES, NULL, bytes,
                      offset_bytes, flags);
}
