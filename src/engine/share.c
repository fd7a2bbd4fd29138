/* SPDX-License-Identifier: BSD-3-Clause
 *
 * share.c: fair shares of a pool, and turns in waking those who wait for it.
 */

#include <config.h>

#include "engine/disk.h"
#include "engine/share.h"
#include "engine/tagset.h"

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

static void
activate (struct blkmq_hctx *h)
{
  if (!atomic_load_explicit (&h->active, memory_order_relaxed)
      && !atomic_exchange (&h->active, true))
    atomic_fetch_add (&hctx_pool (h)->nr_active, 1);
}

static bool
retire_if_idle (struct blkmq_hctx *user, void *opaque)
{
  if (atomic_load (&user->active) && atomic_load (&user->nr_taken) == 0
      && atomic_load (&user->nr_waiting) == 0
      && now_ns (user) - atomic_load (&user->last_taken_ns) > SHARE_IDLE_NS
      && atomic_exchange (&user->active, false))
    atomic_fetch_sub (&hctx_pool (user)->nr_active, 1);
  return true;
}

static bool
is_within_share (struct blkmq_hctx *h)
{
  struct request_pool *pool = hctx_pool (h);
  unsigned nr_active = atomic_load (&pool->nr_active);

  if (nr_active <= 1)
    return true;
  return atomic_load (&h->nr_taken)
         < (pool->depth - pool->nr_reserved + nr_active - 1) / nr_active;
}

bool
share_may_take (struct blkmq_hctx *h)
{
  activate (h);
  if (is_within_share (h))
    return true;
  /* Some may have gone away since. */
  pthread_mutex_lock (&h->set->users_lock);
  for_each_user_locked (h, retire_if_idle, NULL);
  pthread_mutex_unlock (&h->set->users_lock);
  return is_within_share (h);
}

void
share_took (struct blkmq_hctx *h)
{
  atomic_fetch_add (&h->nr_taken, 1);
  atomic_store_explicit (&h->last_taken_ns, now_ns (h), memory_order_relaxed);
}

void
share_put (struct blkmq_hctx *h)
{
  atomic_fetch_sub (&h->nr_taken, 1);
}

/* ---- turns ---- */

void
share_add_waiting (struct blkmq_hctx *h, int nr)
{
  atomic_fetch_add (&h->set->nr_waiting, (unsigned)nr);
}

struct turn {
  const struct blkmq_hctx *self;
  unsigned position;        /* of the one that is looked at */
  unsigned after;           /* whose turn it was last */
  struct blkmq_hctx *first; /* that waits; and the first after that one */
  struct blkmq_hctx *next;
  unsigned first_position;
};

static bool
find_next (struct blkmq_hctx *user, void *opaque)
{
  struct turn *turn = opaque;
  unsigned position = turn->position++;

  if (user == turn->self
      || atomic_load_explicit (&user->nr_waiting, memory_order_relaxed) == 0)
    return true;
  if (turn->first == NULL) {
    turn->first = user;
    turn->first_position = position;
  }
  if (position <= turn->after)
    return true;
  turn->next = user;
  turn->after = position;
  return false;
}

void
share_wake (struct blkmq_hctx *h)
{
  struct blkmq_tag_set *set = h->set;
  unsigned own = atomic_load_explicit (&h->nr_waiting, memory_order_relaxed);
  struct turn turn = { .self = h };

  /* The newcomers' own look (hctx_run) sees the tag. */
  if (own > 0)
    hctx_ask_run (h);
  if (atomic_load_explicit (&set->nr_waiting, memory_order_relaxed) <= own)
    return;
  /* While they are in the list they are not freed; what they are asked to do
   * keeps them from then on. */
  pthread_mutex_lock (&set->users_lock);
  turn.after = set->turn;
  for_each_user_locked (h, find_next, &turn);
  if (turn.next == NULL && turn.first != NULL) {
    turn.next = turn.first;
    turn.after = turn.first_position;
  }
  if (turn.next != NULL) {
    set->turn = turn.after;
    hctx_ask_run (turn.next);
  }
  pthread_mutex_unlock (&set->users_lock);
}
