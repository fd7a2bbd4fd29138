/* SPDX-License-Identifier: BSD-3-Clause
 *
 * poll-list.c: see poll-list.h.
 *
 * The list is a stack whose whole is exchanged for nothing, which has no ABA.
 */

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "poll-list.h"

struct poll_list {
  _Atomic (struct poll_entry *) last; /* and by next to the first */
};

int
poll_list_init_hctx (struct blkmq_hctx *hctx, void *driver_data, unsigned index)
{
  struct poll_list *list = calloc (1, sizeof *list);

  (void)driver_data, (void)index;
  if (list == NULL)
    return -ENOMEM;
  blkmq_hctx_set_data (hctx, list);
  return 0;
}

void
poll_list_exit_hctx (struct blkmq_hctx *hctx, void *driver_data, unsigned index)
{
  (void)driver_data, (void)index;
  free (blkmq_hctx_data (hctx));
}

/* Put LAST ... FIRST, linked by next, on top. */
static void
push (struct poll_list *list, struct poll_entry *last, struct poll_entry *first)
{
  struct poll_entry *head
      = atomic_load_explicit (&list->last, memory_order_relaxed);

  do {
    first->next = head;
  } while (!atomic_compare_exchange_weak_explicit (
      &list->last, &head, last, memory_order_release, memory_order_relaxed));
}

static struct poll_entry *
take_all (struct poll_list *list)
{
  /* Many look, few find something: no write for those who do not. */
  if (atomic_load_explicit (&list->last, memory_order_relaxed) == NULL)
    return NULL;
  return atomic_exchange_explicit (&list->last, NULL, memory_order_acquire);
}

void
poll_list_add (struct blkmq_hctx *hctx, struct blkmq_request *rq,
               blkmq_token token)
{
  struct poll_entry *entry = rq->pdu;

  entry->rq = rq;
  entry->token = token;
  push (blkmq_hctx_data (hctx), entry, entry);
}

unsigned
poll_list_complete (struct blkmq_hctx *hctx,
                    enum blkmq_status (*do_rq) (struct blkmq_request *rq))
{
  struct poll_entry *entry = take_all (blkmq_hctx_data (hctx));
  struct poll_entry *first = NULL, *next;
  unsigned nr = 0;

  for (; entry != NULL; entry = next) {
    next = entry->next;
    entry->next = first;
    first = entry;
  }
  for (; first != NULL; first = next, nr++) {
    struct blkmq_request *rq = first->rq;

    /* With the completion the entry is gone. */
    next = first->next;
    blkmq_complete (rq, first->token, do_rq (rq));
  }
  return nr;
}

/* Either nobody has polled for so long: then it is let go.  Or somebody has it
 * in hand and completes it right now. */
enum blkmq_timeout_result
poll_list_timeout (struct blkmq_request *rq, blkmq_token token)
{
  struct poll_list *list = blkmq_hctx_data (rq->hctx);
  struct poll_entry *all = take_all (list), **link = &all, *first = NULL;
  enum blkmq_timeout_result result = BLKMQ_TIMEOUT_RESET;

  while (*link != NULL) {
    if ((*link)->token == token) {
      *link = (*link)->next;
      result = BLKMQ_TIMEOUT_DONE;
    } else {
      first = *link;
      link = &first->next;
    }
  }
  if (all != NULL)
    push (list, all, first);
  return result;
}
