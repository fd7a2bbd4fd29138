/* SPDX-License-Identifier: BSD-3-Clause
 *
 * share.c: fair shares of a pool, and turns in waking those who wait for it.
 */

#include <config.h>

#include <limits.h>

#include "engine/disk.h"
#include "engine/share.h"
#include "engine/tagset.h"
#include "engine/yield.h"

/* Call FN for each hctx that draws on H's pool, until it says no. */
static void
for_each_user_locked (struct blkmq_hctx *h,
                      bool (*fn) (struct blkmq_hctx *user, void *opaque),
                      void *opaque)
{
  struct blkmq_tag_set *set = h->set;

  for (struct blkmq_disk *d = set->disks; d != NULL; d = d->set_next) {
    unsigned first = set->shared_bitmap ? 0 : h->index;
    unsigned nr = set->shared_bitmap ? disk_nr_hctxs (d) : h->index + 1;

    for (unsigned i = first; i < nr && i < disk_nr_hctxs (d); i++) {
      if (!fn (disk_hctx (d, i), opaque))
        return;
    }
  }
}

/* ---- shares ---- */

static uint64_t
now_ns (struct blkmq_hctx *h)
{
  return clock_coarse_ns (h->clock);
}

/* Who is active, of which pool, and how many there are go together: an update
 * may be changing the pool. */
static void
activate (struct blkmq_hctx *h)
{
  if (__builtin_expect (atomic_load_explicit (&h->active, memory_order_relaxed),
                        1))
    return;
  pthread_mutex_lock (&h->set->users_lock);
  /* A removed one has left its share, and is to get no tag. */
  if (!atomic_load (&h->active) && !(atomic_load (&h->flags) & HCTX_REMOVED)) {
    atomic_store_explicit (&h->last_taken_ns, now_ns (h), memory_order_relaxed);
    atomic_store (&h->active, true);
    atomic_fetch_add (&hctx_tag_pool (h)->nr_active, 1);
  }
  pthread_mutex_unlock (&h->set->users_lock);
}

void
share_leave_locked (struct blkmq_hctx *h)
{
  if (!atomic_load (&h->active))
    return;
  atomic_store (&h->active, false);
  atomic_fetch_sub (&hctx_tag_pool (h)->nr_active, 1);
}

static bool
retire_if_idle (struct blkmq_hctx *user, void *opaque)
{
  /* In this order: a time taken before NOW is not after it. */
  uint64_t last_ns = atomic_load (&user->last_taken_ns);

  if (atomic_load (&user->nr_taken) == 0 && atomic_load (&user->nr_waiting) == 0
      && now_ns (user) - last_ns > SHARE_IDLE_NS)
    share_leave_locked (user);
  return true;
}

static bool
is_within_share (struct blkmq_hctx *h)
{
  struct request_pool *pool = hctx_tag_pool (h);
  unsigned nr_active = atomic_load (&pool->nr_active);

  if (nr_active <= 1)
    return true;
  return atomic_load (&h->nr_taken)
         < (pool->depth - pool->nr_reserved + nr_active - 1) / nr_active;
}

/* Whoever is refused has tags in flight, and the put of one asks again.  But
 * they may be long in coming back, or never (a timeout has left them below),
 * while the others go idle and do not put any either. */
static void
look_again_later (struct blkmq_hctx *h)
{
  if (!timer_is_armed (&h->share_timer))
    timer_arm (&h->heap, &h->share_timer,
               clock_now_ns (h->clock) + SHARE_IDLE_NS + SHARE_IDLE_NS / 8, 0);
}

bool
share_may_take (struct blkmq_hctx *h)
{
  activate (h);
  yield_point ("share");
  if (is_within_share (h))
    return true;
  /* Some may have gone away since. */
  pthread_mutex_lock (&h->set->users_lock);
  for_each_user_locked (h, retire_if_idle, NULL);
  pthread_mutex_unlock (&h->set->users_lock);
  if (is_within_share (h))
    return true;
  look_again_later (h);
  return is_within_share (h);
}

void
share_took (struct blkmq_hctx *h, struct request *r)
{
  atomic_fetch_add (&h->nr_taken, 1);
  atomic_store (&r->in_share, true);
  atomic_store_explicit (&h->last_taken_ns, now_ns (h), memory_order_relaxed);
}

void
share_put (struct blkmq_hctx *h, struct request *r)
{
  if (atomic_exchange (&r->in_share, false))
    atomic_fetch_sub (&h->nr_taken, 1);
}

/* ---- turns ---- */

bool
share_is_free (struct blkmq_hctx *h, uint32_t io_flags)
{
  return (io_flags & (BLKMQ_IO_RESERVED | BLKMQ_IO_NOWAIT))
         || atomic_load_explicit (&h->set->nr_waiting, memory_order_relaxed)
                == 0;
}

void
share_add_waiting (struct blkmq_hctx *h, int nr)
{
  atomic_fetch_add (&h->set->nr_waiting, (unsigned)nr);
}

struct turn {
  const struct blkmq_hctx *self;
  unsigned position; /* of the one that is looked at */
  unsigned from, to; /* those that are asked now */
  bool any;          /* one was asked already: the turn has moved */
  unsigned next;     /* where the next turn begins */
};

/* Could it take a tag if there is one?  If not, what makes it so will ask it:
 * the end of a quiesce, or the put of a tag of its own.  A frozen one is asked:
 * what is in its scheduler has to be dispatched, or the freeze never ends. */
static bool
could_take (struct blkmq_hctx *h)
{
  if (atomic_load (&h->nr_waiting) == 0
      || (atomic_load (&h->flags)
          & (HCTX_QUIESCED | HCTX_REMOVED | HCTX_DROPPED)))
    return false;
  return hctx_tag_pool (h)->nr_reserved > 0 || is_within_share (h);
}

static bool
ask_in_turn (struct blkmq_hctx *user, void *opaque)
{
  struct turn *turn = opaque;
  unsigned position = turn->position++;

  if (position < turn->from || position >= turn->to || user == turn->self
      || !could_take (user))
    return true;
  if (!turn->any) {
    turn->any = true;
    turn->next = position + 1;
  }
  hctx_ask_run (user);
  return true;
}

/* Idle ones go now and then, and not only when somebody is refused: those that
 * are passed over here for their share do not ask. */
static void
retire_idle_locked (struct blkmq_hctx *h)
{
  struct blkmq_tag_set *set = h->set;
  uint64_t now = now_ns (h);

  if (now - set->last_retire_ns < SHARE_IDLE_NS / 8)
    return;
  set->last_retire_ns = now;
  for_each_user_locked (h, retire_if_idle, NULL);
}

void
share_wake (struct blkmq_hctx *h)
{
  struct blkmq_tag_set *set = h->set;
  struct turn turn = { .self = h };

  yield_point ("wake");
  if (atomic_load_explicit (&set->nr_waiting, memory_order_relaxed) == 0)
    return;
  /* All that could take it are asked, since any of them may turn out not to;
   * who puts comes last, or he would take each tag that he puts.  While they
   * are in the list they are not freed; what they are asked to do keeps them
   * from then on. */
  pthread_mutex_lock (&set->users_lock);
  retire_idle_locked (h);
  turn.next = set->turn;
  turn.from = set->turn;
  turn.to = UINT_MAX;
  for_each_user_locked (h, ask_in_turn, &turn);
  turn.position = 0;
  turn.from = 0;
  turn.to = set->turn;
  for_each_user_locked (h, ask_in_turn, &turn);
  set->turn = turn.next;
  pthread_mutex_unlock (&set->users_lock);
  if (atomic_load_explicit (&h->nr_waiting, memory_order_relaxed) > 0)
    hctx_ask_run (h);
}
