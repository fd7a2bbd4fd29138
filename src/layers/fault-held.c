/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fault-held.c: requests that hang.  Whoever dispatches adds, the hctx's thread
 * (timeout, abort) takes off, and so does control: any thread.
 *
 * What is on the list is ours, with a living token, until the one who takes it
 * off under the lock gives it back, or lets the engine do so.  So nobody comes
 * too late, and nothing on the list is ever touched after its end.
 */

#include <config.h>

#include "fault.h"

void
fault_held_init (struct fault_held *held)
{
  pthread_mutex_init (&held->lock, NULL);
  pthread_cond_init (&held->released, NULL);
  TAILQ_INIT (&held->list);
  held->nr_releasing = 0;
  held->has_power = true;
}

void
fault_held_exit (struct fault_held *held)
{
  pthread_cond_destroy (&held->released);
  pthread_mutex_destroy (&held->lock);
}

bool
fault_held_add (struct fault_held *held, struct blkmq_request *rq,
                blkmq_token token, uint64_t cause)
{
  struct fault_pdu *pdu = rq->pdu;
  bool has_power;

  pthread_mutex_lock (&held->lock);
  has_power = held->has_power;
  if (has_power) {
    pdu->rq = rq;
    pdu->token = token;
    pdu->cause = cause;
    pdu->is_held = true;
    TAILQ_INSERT_TAIL (&held->list, pdu, link);
  }
  pthread_mutex_unlock (&held->lock);
  return has_power;
}

static void
take_off_locked (struct fault_held *held, struct fault_pdu *pdu)
{
  TAILQ_REMOVE (&held->list, pdu, link);
  pdu->is_held = false;
}

bool
fault_held_remove (struct fault_held *held, struct blkmq_request *rq,
                   blkmq_token token)
{
  struct fault_pdu *pdu = rq->pdu;
  bool is_held;

  pthread_mutex_lock (&held->lock);
  is_held = pdu->is_held && pdu->token == token;
  if (is_held)
    take_off_locked (held, pdu);
  pthread_mutex_unlock (&held->lock);
  return is_held;
}

/* Give back all that CAUSE, or with ALL anything, holds: done with by ENDING,
 * which may call the callers' end_io, so without the lock.  Stop waits for us.
 */
static void
release (struct fault_held *held, bool all, uint64_t cause,
         void (*ending) (struct fault_pdu *pdu))
{
  struct fault_list released = TAILQ_HEAD_INITIALIZER (released);
  struct fault_pdu *pdu, *next;

  pthread_mutex_lock (&held->lock);
  held->nr_releasing++;
  for (pdu = TAILQ_FIRST (&held->list); pdu != NULL; pdu = next) {
    next = TAILQ_NEXT (pdu, link);
    if (all || pdu->cause == cause) {
      take_off_locked (held, pdu);
      TAILQ_INSERT_TAIL (&released, pdu, link);
    }
  }
  pthread_mutex_unlock (&held->lock);

  while ((pdu = TAILQ_FIRST (&released)) != NULL) {
    TAILQ_REMOVE (&released, pdu, link);
    ending (pdu);
  }

  pthread_mutex_lock (&held->lock);
  if (--held->nr_releasing == 0)
    pthread_cond_broadcast (&held->released);
  pthread_mutex_unlock (&held->lock);
}

/* Only queue_rq can pass a request on. */
static void
go_on (struct fault_pdu *pdu)
{
  pdu->passes_after = pdu->token;
  blkmq_requeue (pdu->rq, pdu->token);
}

static void
give_up (struct fault_pdu *pdu)
{
  blkmq_complete (pdu->rq, pdu->token, BLKMQ_STS_OFFLINE);
}

void
fault_held_release (struct fault_held *held, uint64_t cause)
{
  release (held, false, cause, go_on);
}

void
fault_held_set_power (struct fault_held *held, bool on)
{
  pthread_mutex_lock (&held->lock);
  held->has_power = on;
  pthread_mutex_unlock (&held->lock);
  if (!on)
    release (held, true, 0, give_up);
}

void
fault_held_stop (struct fault_held *held)
{
  struct fault_pdu *pdu;

  pthread_mutex_lock (&held->lock);
  while ((pdu = TAILQ_FIRST (&held->list)) != NULL)
    take_off_locked (held, pdu);
  while (held->nr_releasing > 0)
    pthread_cond_wait (&held->released, &held->lock);
  pthread_mutex_unlock (&held->lock);
}

unsigned
fault_held_nr (struct fault_held *held, uint64_t cause)
{
  struct fault_pdu *pdu;
  unsigned nr = 0;

  pthread_mutex_lock (&held->lock);
  TAILQ_FOREACH (pdu, &held->list, link)
  nr += pdu->cause == cause;
  pthread_mutex_unlock (&held->lock);
  return nr;
}
