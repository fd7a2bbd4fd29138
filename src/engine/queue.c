/* SPDX-License-Identifier: BSD-3-Clause
 *
 * queue.c: what could not be dispatched at once: the queue (requests with a
 * tag) and the wait list (ios without one), both under the hctx's lock.  Any
 * thread.
 */

#include <config.h>

#include <assert.h>

#include "engine/disk.h"
#include "engine/elevator.h"
#include "engine/io.h"
#include "engine/queue.h"

/* ---- requests ---- */

/* Whoever ends a QUEUED request looks for it here afterwards (queue_remove):
 * one of the two sees the other. */
static bool
is_ended (struct request *r)
{
  return atomic_load (&r->word) & WORD_ENDED;
}

static void
append_request (struct request ***tail, struct request *r)
{
  r->next = NULL;
  **tail = r;
  *tail = &r->next;
}

bool
queue_insert (struct blkmq_hctx *h, struct request *r, bool at_head)
{
  bool ended;

  pthread_mutex_lock (&h->lock);
  ended = is_ended (r);
  if (!ended) {
    if (at_head && h->queue != NULL) {
      r->next = h->queue;
      h->queue = r;
    } else
      append_request (&h->queue_tail, r);
    atomic_fetch_add (&h->nr_queued, 1);
  }
  pthread_mutex_unlock (&h->lock);
  if (ended) {
    request_drop_queued (r);
    return false;
  }
  /* Read after the insertion: who makes the queue move looks at it then. */
  return !(atomic_load (&h->flags) & HCTX_QUIESCED)
         && !atomic_load (&h->stalled);
}

void
queue_set_aside (struct blkmq_hctx *h, struct request *r)
{
  bool ended;

  pthread_mutex_lock (&h->lock);
  ended = is_ended (r);
  if (!ended)
    append_request (&h->aside_tail, r);
  pthread_mutex_unlock (&h->lock);
  if (ended)
    request_drop_queued (r);
}

bool
queue_take_aside (struct blkmq_hctx *h)
{
  unsigned nr = 0;

  pthread_mutex_lock (&h->lock);
  for (struct request *r = h->aside; r != NULL; r = r->next)
    nr++;
  if (nr > 0) {
    *h->queue_tail = h->aside;
    h->queue_tail = h->aside_tail;
    h->aside = NULL;
    h->aside_tail = &h->aside;
    atomic_fetch_add (&h->nr_queued, nr);
  }
  pthread_mutex_unlock (&h->lock);
  return nr > 0;
}

struct request *
queue_take_all (struct blkmq_hctx *h)
{
  struct sched *sched;
  struct request *first, *r;

  pthread_mutex_lock (&h->lock);
  sched = hctx_sched (h);
  while (sched != NULL && (r = sched_drain (sched)) != NULL)
    append_request (&h->queue_tail, r);
  *h->queue_tail = h->aside;
  first = h->queue;
  h->queue = NULL;
  h->queue_tail = &h->queue;
  h->aside = NULL;
  h->aside_tail = &h->aside;
  atomic_store (&h->nr_queued, 0);
  elevator_removed_locked (h);
  pthread_mutex_unlock (&h->lock);
  return first;
}

/* Is R on the list from *LINK to **TAIL?  Then it is no more. */
static bool
unlink_from (struct request **link, struct request ***tail, struct request *r)
{
  for (; *link != NULL; link = &(*link)->next) {
    if (*link == r) {
      *link = r->next;
      if (*tail == &r->next)
        *tail = link;
      return true;
    }
  }
  return false;
}

void
queue_unlink_locked (struct blkmq_hctx *h, struct request *r)
{
  bool found = unlink_from (&h->queue, &h->queue_tail, r);

  assert (found);
  (void)found;
  atomic_fetch_sub (&h->nr_queued, 1);
}

void
queue_remove (struct blkmq_hctx *h, struct request *r)
{
  bool found, was_elsewhere = false;

  pthread_mutex_lock (&h->lock);
  found = unlink_from (&h->queue, &h->queue_tail, r);
  if (found)
    atomic_fetch_sub (&h->nr_queued, 1);
  else
    was_elsewhere = unlink_from (&h->aside, &h->aside_tail, r)
                    || elevator_remove_locked (h, r);
  elevator_removed_locked (h);
  pthread_mutex_unlock (&h->lock);
  if (found) {
    /* It may have been the one that the driver had refused, and what stood
     * behind it may be more welcome. */
    hctx_unstall (h);
    hctx_ask_run (h);
  }
  if (found || was_elsewhere)
    request_drop_queued (r);
}

/* ---- ios ---- */

static void
add_waiting_locked (struct blkmq_hctx *h, struct wait_list *list, int nr)
{
  atomic_fetch_add (&list->nr, (unsigned)nr);
  atomic_fetch_add (&h->nr_waiting, (unsigned)nr);
  share_add_waiting (h, nr);
}

void
wait_unlink_locked (struct blkmq_hctx *h, struct blkmq_io *io)
{
  struct wait_list *list = wait_list_of (h, io);

  *io->priv.link = io->priv.next;
  if (io->priv.next != NULL)
    io->priv.next->priv.link = io->priv.link;
  else
    list->tail = io->priv.link;
  io->priv.link = NULL;
  add_waiting_locked (h, list, -1);
  io_has_tags (io);
}

/* False: H is not in use any more, or not for IO, which was not put anywhere.
 */
static bool
append (struct blkmq_hctx *h, struct blkmq_io *io)
{
  struct wait_list *list = wait_list_of (h, io);
  enum blkmq_status status = BLKMQ_STS_OK;
  unsigned flags;

  pthread_mutex_lock (&h->lock);
  /* Removal, power and updates set their flags, and an abort its mark, before
   * they look for the io under the lock. */
  flags = atomic_load (&h->flags);
  if (flags & HCTX_IS_OFFLINE)
    status = BLKMQ_STS_OFFLINE;
  else if (io_is_aborted (io))
    status = BLKMQ_STS_ABORTED;
  else if (!hctx_is_for (flags, io)) {
    pthread_mutex_unlock (&h->lock);
    return false;
  } else {
    io->priv.next = NULL;
    io->priv.link = list->tail;
    *list->tail = io;
    list->tail = &io->priv.next;
    add_waiting_locked (h, list, 1);
  }
  pthread_mutex_unlock (&h->lock);
  if (status != BLKMQ_STS_OK) {
    io_reject (h, io, status);
    return true;
  }
  /* Look again: a tag put before we were seen is nobody else's to find. */
  hctx_ask_run (h);
  return true;
}

void
wait_append (struct blkmq_hctx *h, struct blkmq_io *io)
{
  while (!append (h, io))
    h = submitter_hctx (io->priv.submitter, io);
}

/* Take all of LIST. */
static struct blkmq_io *
take_all_locked (struct blkmq_hctx *h, struct wait_list *list)
{
  struct blkmq_io *first = list->first;

  list->first = NULL;
  list->tail = &list->first;
  add_waiting_locked (h, list, -(int)atomic_load (&list->nr));
  for (struct blkmq_io *io = first; io != NULL; io = io->priv.next)
    io->priv.link = NULL;
  return first;
}

void
wait_move (struct blkmq_hctx *h)
{
  struct blkmq_io *io, *next;

  for (unsigned i = 0; i < NR_WAIT_LISTS; i++) {
    pthread_mutex_lock (&h->lock);
    io = take_all_locked (h, &h->wait[i]);
    pthread_mutex_unlock (&h->lock);
    for (; io != NULL; io = next) {
      next = io->priv.next;
      wait_append (h, io);
    }
  }
}

/* Append to the chain at TAIL those of LIST that MATCH says yes to. */
static struct blkmq_io **
take_matching_locked (struct blkmq_hctx *h, struct wait_list *list,
                      bool (*match) (struct blkmq_io *io, void *opaque),
                      void *opaque, struct blkmq_io **tail)
{
  struct blkmq_io *next;

  for (struct blkmq_io *io = list->first; io != NULL; io = next) {
    next = io->priv.next;
    if (match != NULL && !match (io, opaque))
      continue;
    wait_unlink_locked (h, io);
    io->priv.next = NULL;
    *tail = io;
    tail = &io->priv.next;
  }
  return tail;
}

unsigned
wait_abort (struct blkmq_hctx *h,
            bool (*match) (struct blkmq_io *io, void *opaque), void *opaque,
            enum blkmq_status status)
{
  struct blkmq_io *io, *next, *taken = NULL, **tail = &taken;
  unsigned nr = 0;

  pthread_mutex_lock (&h->lock);
  for (unsigned i = 0; i < NR_WAIT_LISTS; i++)
    tail = take_matching_locked (h, &h->wait[i], match, opaque, tail);
  pthread_mutex_unlock (&h->lock);
  for (io = taken; io != NULL; io = next, nr++) {
    next = io->priv.next;
    io_reject (h, io, status);
  }
  return nr;
}
