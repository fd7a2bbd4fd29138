/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fault.h: what the files of the fault layer share: when something goes wrong
 * (fault-when.c), the kernel's way to say so (fault-string.c), rules from text
 * (fault-rule.c) and back (fault-print.c), the rules of one place
 * (fault-list.c), and what hangs (fault-held.c).  The ops are in fault.c, and
 * how they are set up in fault-setup.c.
 */

#ifndef BLKMQ_LAYERS_FAULT_H
#define BLKMQ_LAYERS_FAULT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "blkmq-control.h"
#include "blkmq-driver.h"

/* ---- when ---- */

#define FAULT_NO_LIMIT UINT64_MAX
#define FAULT_COUNT_MAX INT32_MAX /* of what a user counts: the kernel's */

/* In millionths of a percent. */
#define FAULT_ONE_PERCENT 1000000u
#define FAULT_ALWAYS (100 * FAULT_ONE_PERCENT)

struct fault_terms {
  uint64_t every, after, times; /* FAULT_NO_LIMIT: as often as it may be */
  uint32_t probability;
};

/* The counts are exact whoever counts at the same time, and what is drawn for
 * the n-th call depends on stream and n alone: of so many calls so many fire,
 * in every run with the same seed. */
struct fault_when {
  struct fault_terms terms; /* fixed while anybody asks */
  uint64_t stream;
  _Atomic uint64_t nr_seen, nr_hits;
};

/* ID tells apart those that share a SEED. */
void fault_when_init (struct fault_when *when, const struct fault_terms *terms,
                      uint64_t seed, uint64_t id);

/* Count one call.  True if this is one that fires; then *HIT is how many have,
 * from 1. */
bool fault_when_fires (struct fault_when *when, uint64_t *hit);

/* Can it ever? */
static inline bool
fault_terms_are_on (const struct fault_terms *terms)
{
  return terms->probability > 0 && terms->times > 0;
}

/* ---- fault strings ---- */

/* TEXT, the value of KEY: "<interval>,<probability>,<space>,<times>"; NULL and
 * "" are off.  -EINVAL and ERROR. */
int fault_string_parse (const char *key, const char *text,
                        struct fault_terms *terms, struct blkmq_error *error);

/* ---- rules ---- */

enum fault_place { FAULT_BUS, FAULT_MEDIA };

#define FAULT_ALL_OPS ((1u << BLKMQ_NR_OPS) - 1)
#define FAULT_ALL_SECTORS UINT64_MAX

struct fault_rule {
  enum fault_place place;
  unsigned ops;                       /* a bit for each enum blkmq_op */
  uint64_t first_sector, last_sector; /* FAULT_ALL_SECTORS: all there are */
  struct fault_terms terms;
  bool hangs, has_status;
  enum blkmq_status status;
  uint64_t delay_ns;
};

/* Long enough for every rule as fault_rule_print has it. */
#define FAULT_RULE_BYTES 512

/* TEXT may be none: -EINVAL, and ERROR says why. */
int fault_rule_parse (const char *text, struct fault_rule *rule,
                      struct blkmq_error *error);

/* What at= takes, and op=. */
extern const char *const fault_place_words[2];
extern const char *const fault_op_words[BLKMQ_NR_OPS];

/* As it could be given again. */
void fault_rule_print (const struct fault_rule *rule, char *buf, size_t bytes);

/* Each of TEXT, rules with a ; between them.  FN gets how many were before; a
 * negative result stops and is returned. */
int fault_rules_parse (const char *text,
                       int (*fn) (const struct fault_rule *rule, unsigned index,
                                  void *opaque, struct blkmq_error *error),
                       void *opaque, struct blkmq_error *error);

/* ---- requests that hang ---- */

/* In the pdu.  Everything but keep_ns and passes_after is under the lock of the
 * list while the request is on one. */
struct fault_pdu {
  TAILQ_ENTRY (fault_pdu) link;
  struct blkmq_request *rq;
  blkmq_token token;
  uint64_t cause; /* the rule's id; 0: the string */
  bool is_held;
  blkmq_token passes_after; /* the issue after this one goes on */
  uint64_t keep_ns;         /* on its way up */
};

TAILQ_HEAD (fault_list, fault_pdu);

struct fault_held {
  pthread_mutex_t lock;
  pthread_cond_t released;
  struct fault_list list; /* lock */
  unsigned nr_releasing;  /* lock: threads */
  bool has_power;         /* lock */
};

void fault_held_init (struct fault_held *held);
void fault_held_exit (struct fault_held *held);

/* Hang RQ.  False: nothing hangs without power.  From here it may be gone. */
bool fault_held_add (struct fault_held *held, struct blkmq_request *rq,
                     blkmq_token token, uint64_t cause);

/* Let go of RQ, to which the caller has a reference, if TOKEN is what hangs:
 * from here nobody else has the token. */
bool fault_held_remove (struct fault_held *held, struct blkmq_request *rq,
                        blkmq_token token);

/* What hangs because of CAUSE goes on downwards. */
void fault_held_release (struct fault_held *held, uint64_t cause);

void fault_held_set_power (struct fault_held *held, bool on);

/* Forget all: the engine takes them back. */
void fault_held_stop (struct fault_held *held);

unsigned fault_held_nr (struct fault_held *held, uint64_t cause);

/* ---- the rules of one place ---- */

#define FAULT_MAX_RULES 64

struct fault_entry {
  uint64_t id; /* 0: free */
  struct fault_rule rule;
  struct fault_when when;
};

struct fault_rules {
  struct fault_entry slots[FAULT_MAX_RULES];
  struct fault_entry *order[FAULT_MAX_RULES]; /* nr of them, as tried */
  unsigned nr;
};

/* -ENOSPC: there is no room. */
int fault_rules_add (struct fault_rules *rules, const struct fault_rule *rule,
                     uint64_t id, uint64_t seed);
/* False: there is none. */
bool fault_rules_delete (struct fault_rules *rules, uint64_t id);

/* The first that fires for RQ, or NULL. */
const struct fault_entry *fault_rules_find (struct fault_rules *rules,
                                            const struct blkmq_request *rq);

/* The first whose id is above ID, in the order of being added, or NULL. */
const struct fault_entry *fault_rules_next (const struct fault_rules *rules,
                                            uint64_t id);

/* ---- one place ---- */

/* Fault strings are of the bus alone, where null_blk has them. */
enum fault_string {
  FAULT_TIMEOUT,
  FAULT_REQUEUE,
  FAULT_INIT_HCTX,
  FAULT_NR_STRINGS
};

/* Why the way down is not the short one. */
#define FAULT_HAS_STRINGS (1u << 0)
#define FAULT_HAS_RULES (1u << 1)
#define FAULT_HAD_DELAYS (1u << 2) /* and so there may be pdus that say so */

struct fault {
  _Atomic unsigned armed; /* rules_lock to write */
  enum fault_place place;
  uint64_t seed;
  uint64_t nr_sectors;

  pthread_rwlock_t rules_lock; /* shared by who decides: counts are atomic */
  struct fault_when strings[FAULT_NR_STRINGS];
  struct fault_rules rules;

  struct fault_held held;
};

/* fault.c: after a change of what is to be done. */
void fault_arm_locked (struct fault *fault);

/* fault.c: -EINVAL, -ENOSPC and ERROR. */
int fault_add (struct fault *fault, const struct fault_rule *rule, uint64_t id,
               struct blkmq_error *error);

/* fault.c: the ops. */
enum blkmq_queue_result fault_queue_rq (struct blkmq_hctx *hctx,
                                        struct blkmq_request *rq,
                                        blkmq_token token);
enum blkmq_status fault_complete (struct blkmq_request *rq,
                                  enum blkmq_status status);
enum blkmq_timeout_result fault_timeout (struct blkmq_request *rq,
                                         blkmq_token token);
bool fault_abort (struct blkmq_request *rq, blkmq_token token);
void fault_stop (void *data);
void fault_power (void *data, bool on);
int fault_init_hctx (struct blkmq_hctx *hctx, void *data, unsigned index);
int fault_add_fault (void *data, const char *rule, uint64_t *id,
                     struct blkmq_error *error);
int fault_delete_fault (void *data, uint64_t id);
int fault_for_each_fault (void *data,
                          int (*fn) (const struct blkmq_fault *shown,
                                     void *opaque),
                          void *opaque);

#endif /* BLKMQ_LAYERS_FAULT_H */
