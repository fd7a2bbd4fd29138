/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fault.c: things go wrong, on purpose: as fault strings say (null_blk's
 * timeout, requeue and init_hctx) and as rules do, on the bus or on the media.
 * Any thread; rules come and go while requests are under way.
 *
 * While there is nothing to do wrong the price is one load.  Else what is to be
 * done is decided under a lock that those who decide share; it is done without.
 * Only who is to hang is put on its list under it, so that who deletes a rule
 * finds all that hang because of it.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>

#include "text.h"
#include "fault.h"

/* ---- down ---- */

void
fault_arm_locked (struct fault *fault)
{
  unsigned armed = fault->armed & FAULT_HAD_DELAYS;

  if (fault_terms_are_on (&fault->strings[FAULT_TIMEOUT].terms)
      || fault_terms_are_on (&fault->strings[FAULT_REQUEUE].terms))
    armed |= FAULT_HAS_STRINGS;
  if (fault->rules.nr > 0)
    armed |= FAULT_HAS_RULES;
  for (unsigned i = 0; i < fault->rules.nr; i++) {
    if (fault->rules.order[i]->rule.delay_ns > 0)
      armed |= FAULT_HAD_DELAYS;
  }
  atomic_store_explicit (&fault->armed, armed, memory_order_relaxed);
}

enum action { PASS, BUSY, AGAIN, HANG, FAIL };

struct verdict {
  enum action action;
  enum blkmq_status status; /* of FAIL */
  uint64_t delay_ns;        /* of PASS and FAIL */
};

static struct verdict
hang (struct fault *fault, struct blkmq_request *rq, blkmq_token token,
      uint64_t cause)
{
  if (fault_held_add (&fault->held, rq, token, cause))
    return (struct verdict){ .action = HANG };
  return (struct verdict){ .action = FAIL, .status = BLKMQ_STS_OFFLINE };
}

/* What was sent back has not met the others yet, and will. */
static struct verdict
judge_locked (struct fault *fault, struct blkmq_request *rq, blkmq_token token)
{
  const struct fault_entry *entry;
  struct verdict verdict = { .action = PASS };
  uint64_t hit;

  if (fault_when_fires (&fault->strings[FAULT_REQUEUE], &hit)) {
    verdict.action = hit % 2 == 1 ? BUSY : AGAIN;
    return verdict;
  }
  if (fault_when_fires (&fault->strings[FAULT_TIMEOUT], &hit))
    return hang (fault, rq, token, 0);
  entry = fault_rules_find (&fault->rules, rq);
  if (entry == NULL)
    return verdict;
  if (entry->rule.hangs)
    return hang (fault, rq, token, entry->id);
  if (entry->rule.has_status) {
    verdict.action = FAIL;
    verdict.status = entry->rule.status;
  }
  verdict.delay_ns = entry->rule.delay_ns;
  return verdict;
}

static enum blkmq_queue_result
queue_armed (struct fault *fault, unsigned armed, struct blkmq_hctx *hctx,
             struct blkmq_request *rq, blkmq_token token)
{
  struct fault_pdu *pdu = rq->pdu;
  struct verdict verdict;

  pdu->keep_ns = 0;
  if (armed == FAULT_HAD_DELAYS
      || blkmq_token_is_next (pdu->passes_after, token))
    return blkmq_pass (hctx, rq, token);

  pthread_rwlock_rdlock (&fault->rules_lock);
  verdict = judge_locked (fault, rq, token);
  pthread_rwlock_unlock (&fault->rules_lock);
  switch (verdict.action) {
  case PASS:
    pdu->keep_ns = verdict.delay_ns;
    return blkmq_pass (hctx, rq, token);
  case BUSY:
    return BLKMQ_BUSY_HOST;
  case AGAIN:
    blkmq_requeue (rq, token);
    break;
  case HANG:
    break;
  case FAIL:
    pdu->keep_ns = verdict.delay_ns;
    blkmq_complete (rq, token, verdict.status);
    break;
  }
  return BLKMQ_QUEUED;
}

enum blkmq_queue_result
fault_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                blkmq_token token)
{
  struct fault *fault = rq->driver_data;
  unsigned armed = atomic_load_explicit (&fault->armed, memory_order_relaxed);

  if (__builtin_expect (armed == 0, 1))
    return blkmq_pass (hctx, rq, token);
  return queue_armed (fault, armed, hctx, rq, token);
}

/* ---- up, and other ends ---- */

enum blkmq_status
fault_complete (struct blkmq_request *rq, enum blkmq_status status)
{
  const struct fault *fault = rq->driver_data;
  struct fault_pdu *pdu = rq->pdu;

  if (__builtin_expect (
          atomic_load_explicit (&fault->armed, memory_order_relaxed)
              & FAULT_HAD_DELAYS,
          0)
      && pdu->keep_ns > 0)
    blkmq_keep (rq, pdu->keep_ns);
  return status;
}

enum blkmq_timeout_result
fault_timeout (struct blkmq_request *rq, blkmq_token token)
{
  struct fault *fault = rq->driver_data;

  return fault_held_remove (&fault->held, rq, token) ? BLKMQ_TIMEOUT_DONE
                                                     : BLKMQ_TIMEOUT_RESET;
}

bool
fault_abort (struct blkmq_request *rq, blkmq_token token)
{
  struct fault *fault = rq->driver_data;

  return fault_held_remove (&fault->held, rq, token);
}

void
fault_stop (void *data)
{
  struct fault *fault = data;

  fault_held_stop (&fault->held);
}

void
fault_power (void *data, bool on)
{
  struct fault *fault = data;

  fault_held_set_power (&fault->held, on);
}

int
fault_init_hctx (struct blkmq_hctx *hctx, void *data, unsigned index)
{
  struct fault *fault = data;
  uint64_t hit;
  bool fires;

  pthread_rwlock_rdlock (&fault->rules_lock);
  fires = fault_when_fires (&fault->strings[FAULT_INIT_HCTX], &hit);
  pthread_rwlock_unlock (&fault->rules_lock);
  return fires ? -ENOMEM : 0;
}

/* ---- rules ---- */

/* A rule for what is not there would do nothing. */
static int
check_sectors (const struct fault *fault, const struct fault_rule *rule,
               struct blkmq_error *error)
{
  char shown[FAULT_RULE_BYTES];
  struct text text;

  if (rule->last_sector == FAULT_ALL_SECTORS
      || rule->last_sector < fault->nr_sectors)
    return 0;
  fault_rule_print (rule, shown, sizeof shown);
  text = text_begin_error (error);
  text_add (&text, "fault=%s: the last sector of the disk is %" PRIu64, shown,
            fault->nr_sectors - 1);
  return -EINVAL;
}

int
fault_add (struct fault *fault, const struct fault_rule *rule, uint64_t id,
           struct blkmq_error *error)
{
  int r = check_sectors (fault, rule, error);
  struct text text;

  if (r < 0)
    return r;
  pthread_rwlock_wrlock (&fault->rules_lock);
  r = fault_rules_add (&fault->rules, rule, id, fault->seed);
  fault_arm_locked (fault);
  pthread_rwlock_unlock (&fault->rules_lock);
  if (r < 0) {
    text = text_begin_error (error);
    text_add (&text,
              "fault=: there are %d rules at=%s already, and no more "
              "can be",
              FAULT_MAX_RULES, rule->place == FAULT_BUS ? "bus" : "media");
  }
  return r;
}

int
fault_add_fault (void *data, const char *text, uint64_t *id,
                 struct blkmq_error *error)
{
  struct fault *fault = data;
  struct fault_rule rule;
  int r = fault_rule_parse (text, &rule, error);

  if (r < 0)
    return r;
  return rule.place == fault->place ? fault_add (fault, &rule, *id, error)
                                    : -EAGAIN;
}

int
fault_delete_fault (void *data, uint64_t id)
{
  struct fault *fault = data;
  bool there_was;

  pthread_rwlock_wrlock (&fault->rules_lock);
  there_was = fault_rules_delete (&fault->rules, id);
  fault_arm_locked (fault);
  pthread_rwlock_unlock (&fault->rules_lock);
  if (!there_was)
    return -ENOENT;
  fault_held_release (&fault->held, id);
  return 0;
}

/* FN is called without the lock: it may do I/O. */
int
fault_for_each_fault (void *data,
                      int (*fn) (const struct blkmq_fault *shown, void *opaque),
                      void *opaque)
{
  struct fault *fault = data;
  struct blkmq_fault shown = { 0 };
  char text[FAULT_RULE_BYTES];
  int r = 0;

  while (r == 0) {
    const struct fault_entry *entry;

    pthread_rwlock_rdlock (&fault->rules_lock);
    entry = fault_rules_next (&fault->rules, shown.id);
    if (entry != NULL) {
      shown.id = entry->id;
      shown.hits = entry->when.nr_hits;
      fault_rule_print (&entry->rule, text, sizeof text);
    }
    pthread_rwlock_unlock (&fault->rules_lock);
    if (entry == NULL)
      break;
    shown.rule = text;
    shown.nr_held = fault_held_nr (&fault->held, shown.id);
    r = fn (&shown, opaque);
  }
  return r;
}
