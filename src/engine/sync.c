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
#include "engine/poll.h"
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

bool
completion_wait_for (struct completion *c, uint64_t timeout_ns)
{
  struct timespec deadline;

  if (completion_is_done (c))
    return true;
  clock_gettime (CLOCK_MONOTONIC, &deadline);
  deadline.tv_sec += (time_t)(timeout_ns / 1000000000);
  deadline.tv_nsec += (long)(timeout_ns % 1000000000);
  if (deadline.tv_nsec >= 1000000000) {
    deadline.tv_sec++;
    deadline.tv_nsec -= 1000000000;
  }
  return wait_until (c, &deadline);
}

/* ---- synchronous submission ---- */

struct sync_io {
  struct completion done;
  enum blkmq_status status;
};

static void
sync_end_io (struct blkmq_io *io, enum blkmq_status status)
{
  struct sync_io *sync = io->priv.sync;

  sync->status = status;
  completion_signal (&sync->done);
}

/* give_back stays NULL: the answer then comes with the data. */
static int
sync_submit (struct blkmq_submitter *submitter, struct blkmq_io *io,
             struct sync_io *sync)
{
  if (thread_must_not_block (thread_self ()))
    return -EDEADLK;
  completion_init (&sync->done);
  io->end_io = sync_end_io;
  io->give_back = NULL;
  io->priv.sync = sync;
  blkmq_submit (submitter, io);
  return 0;
}

int
blkmq_submit_sync (struct blkmq_submitter *submitter, struct blkmq_io *io)
{
  bool is_polled = io->flags & BLKMQ_IO_POLLED;
  struct sync_io sync;
  int r = sync_submit (submitter, io, &sync);

  if (r < 0)
    return r;
  if (!completion_is_done (&sync.done)) {
    if (is_polled)
      poll_wait (submitter, &sync.done);
    else
      completion_wait (&sync.done);
  }
  return -blkmq_status_to_errno (sync.status);
}

static bool
sleep_for (struct blkmq_submitter *submitter, struct completion *c,
           uint64_t timeout_ns)
{
  return completion_wait_for (c, timeout_ns);
}

int
blkmq_submit_sync_while (struct blkmq_submitter *submitter, struct blkmq_io *io,
                         uint64_t interval_ns,
                         bool (*keep_waiting) (void *opaque), void *opaque)
{
  bool (*wait_for) (struct blkmq_submitter * submitter, struct completion * c,
                    uint64_t timeout_ns)
      = io->flags & BLKMQ_IO_POLLED ? poll_wait_for : sleep_for;
  struct sync_io sync;
  bool keep = true;
  int r = sync_submit (submitter, io, &sync);

  if (r < 0)
    return r;
  while (!wait_for (submitter, &sync.done, interval_ns)) {
    if (keep)
      keep = keep_waiting (opaque);
    /* Again each time: a part that was between two queues is found later. */
    if (!keep)
      blkmq_abort_io (submitter, io);
  }
  return -blkmq_status_to_errno (sync.status);
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
