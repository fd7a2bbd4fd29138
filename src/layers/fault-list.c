/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fault-list.c: the rules of one place, in their order.  Whoever adds and
 * deletes has it alone (the lock is fault.c's); those who only find share it.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "fault.h"

static struct fault_entry *
free_slot (struct fault_rules *rules)
{
  for (unsigned i = 0; i < FAULT_MAX_RULES; i++) {
    if (rules->slots[i].id == 0)
      return &rules->slots[i];
  }
  return NULL;
}

int
fault_rules_add (struct fault_rules *rules, const struct fault_rule *rule,
                 uint64_t id, uint64_t seed)
{
  struct fault_entry *entry = free_slot (rules);

  if (entry == NULL)
    return -ENOSPC;
  entry->id = id;
  entry->rule = *rule;
  fault_when_init (&entry->when, &rule->terms, seed, id);
  rules->order[rules->nr++] = entry;
  return 0;
}

bool
fault_rules_delete (struct fault_rules *rules, uint64_t id)
{
  for (unsigned i = 0; i < rules->nr; i++) {
    if (rules->order[i]->id != id)
      continue;
    rules->order[i]->id = 0;
    rules->nr--;
    memmove (&rules->order[i], &rules->order[i + 1],
             (rules->nr - i) * sizeof rules->order[0]);
    return true;
  }
  return false;
}

/* A flush has no sectors: only a rule for all of them is for it. */
static bool
matches (const struct fault_rule *rule, const struct blkmq_request *rq)
{
  if (!(rule->ops & (1u << rq->op)))
    return false;
  if (rule->last_sector == FAULT_ALL_SECTORS)
    return true;
  return rq->bytes > 0 && rq->offset_bytes / 512 <= rule->last_sector
         && (rq->offset_bytes + rq->bytes - 1) / 512 >= rule->first_sector;
}

const struct fault_entry *
fault_rules_find (struct fault_rules *rules, const struct blkmq_request *rq)
{
  uint64_t hit;

  for (unsigned i = 0; i < rules->nr; i++) {
    struct fault_entry *entry = rules->order[i];

    if (matches (&entry->rule, rq) && fault_when_fires (&entry->when, &hit))
      return entry;
  }
  return NULL;
}

const struct fault_entry *
fault_rules_next (const struct fault_rules *rules, uint64_t id)
{
  for (unsigned i = 0; i < rules->nr; i++) {
    if (rules->order[i]->id > id)
      return rules->order[i];
  }
  return NULL;
}
