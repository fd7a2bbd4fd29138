/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack-internal.h: what the files of stack.h share.
 */

#ifndef BLKMQ_ENGINE_STACK_INTERNAL_H
#define BLKMQ_ENGINE_STACK_INTERNAL_H

#include <stddef.h>

#include "engine/stack.h"

#define MAX_LEVELS 16

struct level {
  const struct blkmq_driver *ops;
  void *data;
  size_t pdu_offset;
  /* Which are the next that take part, below and above.  Changed only while the
   * disk is frozen. */
  uint8_t below;
  int8_t above; /* -1: none */
};

struct stack {
  struct blkmq_driver ops; /* if there are layers; plan_of wants it first */
  const struct blkmq_driver *driver; /* at the bottom, or below it */
  struct stack *inner;               /* the inner disk's */
  unsigned nr_levels;
  unsigned nr_open;                /* from the bottom */
  unsigned first;                  /* that takes part */
  const char *failed_layer;        /* in the last init_hctx, if one has */
  struct level levels[MAX_LEVELS]; /* from top to bottom */
};

/* ---- stack.c ---- */

/* Fill in its ops, and where the pdus of its levels are.  All levels are known.
 */
void stack_make_ops (struct stack *stack);

/* ---- stack-control.c ---- */

/* Which levels take part with CONFIG: the driver, and the layers that are
 * wanted. */
void stack_choose_levels (struct stack *stack,
                          const struct blkmq_config *config);

/* The ops of that name. */
void stack_power (void *stack, bool on);
void stack_power_lost (void *stack);

#endif /* BLKMQ_ENGINE_STACK_INTERNAL_H */
