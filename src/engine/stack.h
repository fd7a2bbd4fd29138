/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack.h: layers over a driver.
 *
 * The engine knows one driver.  Where a disk has layers that one is the stack:
 * its ops call those of the levels, downwards in queue_rq and upwards in
 * complete, and it keeps in front of their pdus what it must know of each
 * request.  Where a disk has none, the driver is the engine's own
 * correspondent, and this file has no part in it.
 */

#ifndef BLKMQ_ENGINE_STACK_H
#define BLKMQ_ENGINE_STACK_H

#include "blkmq-control.h"
#include "blkmq-driver.h"

struct stack;

/* The layers that CONFIG wants, over its driver; nothing is opened yet.  If the
 * cache is among them, these are those down to it, which is the bottom, and
 * those below it are the ones of the inner disk (inner.h).  -ENOMEM and ERROR.
 */
int stack_plan (const struct blkmq_config *config, bool is_inner,
                struct stack **stack, struct blkmq_error *error);
void stack_free (struct stack *stack);

/* What the engine is to call, and with which data (after stack_open; NULL
 * before).  They live as long as the stack. */
const struct blkmq_driver *stack_ops (const struct stack *stack);
void *stack_data (struct stack *stack);

/* Of the configuration. */
const struct blkmq_driver *stack_driver (const struct stack *stack);

/* Of the layers, from the top; NULL: there are no more. */
const char *stack_layer_name (const struct stack *stack, unsigned index);

/* The last init_hctx has failed with R, which is returned: whose fault it was
 * if a layer's, and what. */
struct text;
int stack_hctx_error (const struct stack *stack, int r, struct text *text);

/* Have both the same levels? */
bool stack_is_alike (const struct stack *a, const struct stack *b);

/* Open all, from the driver up, each one stacking its limits on those below;
 * and close what was opened. */
int stack_open (struct stack *stack, const struct blkmq_config *config,
                uint64_t seed, struct blkmq_limits *limits,
                struct blkmq_error *error);
void stack_close (struct stack *stack);

/* The bottom of STACK stands on INNER: what follows goes on there. */
void stack_set_inner (struct stack *stack, struct stack *inner);

/* Of each level from the top, whether it takes part or not: its ops, and *DATA.
 * NULL: there are no more. */
const struct blkmq_driver *stack_level (const struct stack *stack,
                                        unsigned index, void **data);

/* The disk is frozen, and what SETTINGS have changed since OLD is in CONFIG:
 * let the levels know whose keys these are, and those take part that are
 * wanted. If one of them fails: as before, with that one's error. */
int stack_change (struct stack *stack, const struct blkmq_config *old,
                  const struct blkmq_config *config,
                  const struct blkmq_setting *settings, size_t nr_settings,
                  struct blkmq_error *error);

/* The layers there can be, from top to bottom, NULL at the end.  It is the
 * layers' own file that defines it. */
extern const struct blkmq_driver *const blkmq_layers[];

#endif /* BLKMQ_ENGINE_STACK_H */
