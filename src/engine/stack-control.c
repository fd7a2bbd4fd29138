/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack-control.c: the levels of a stack as control sees them: which take part,
 * their settings, names and power.  One thread at a time (disk->level_lock).
 */

#include <config.h>

#include <string.h>

#include "engine/config.h"
#include "engine/disk.h"
#include "engine/stack-internal.h"

void
stack_choose_levels (struct stack *stack, const struct blkmq_config *config)
{
  unsigned below = stack->nr_levels;
  int above = -1;

  for (unsigned i = 0; i < stack->nr_levels; i++) {
    struct level *level = &stack->levels[i];

    level->above = (int8_t)above;
    if (i == stack->nr_levels - 1 || level->ops->is_wanted (config))
      above = (int)i;
  }
  for (unsigned i = stack->nr_levels; i-- > 0;) {
    struct level *level = &stack->levels[i];

    level->below = (uint8_t)below;
    if (i == stack->nr_levels - 1 || level->ops->is_wanted (config))
      below = i;
  }
  stack->first = below;
}

/* ---- settings ---- */

void
stack_set_inner (struct stack *stack, struct stack *inner)
{
  stack->inner = inner;
}

const struct blkmq_driver *
stack_level (const struct stack *stack, unsigned index, void **data)
{
  if (index >= stack->nr_levels)
    return stack->inner != NULL
               ? stack_level (stack->inner, index - stack->nr_levels, data)
               : NULL;
  *data = stack->levels[index].data;
  return stack->levels[index].ops;
}

static bool
has_one_of (const struct blkmq_driver *ops,
            const struct blkmq_setting *settings, size_t nr_settings)
{
  for (size_t i = 0; i < nr_settings; i++) {
    if (key_find (ops->keys, ops->nr_keys, settings[i].key) != NULL)
      return true;
  }
  return false;
}

int
stack_change (struct stack *stack, const struct blkmq_config *old,
              const struct blkmq_config *config,
              const struct blkmq_setting *settings, size_t nr_settings,
              struct blkmq_error *error)
{
  bool changed[MAX_LEVELS] = { false };
  unsigned i;
  int r = 0;

  for (i = 0; i < stack->nr_levels; i++) {
    struct level *level = &stack->levels[i];

    if (!has_one_of (level->ops, settings, nr_settings))
      continue;
    if (error != NULL)
      error->message[0] = '\0';
    r = level->ops->change (level->data, config, error);
    if (r < 0) {
      if (error != NULL && error->message[0] == '\0')
        error_set (error, r, "%s: %s", level->ops->name, strerror (-r));
      break;
    }
    changed[i] = true;
  }
  if (r == 0 && stack->inner != NULL)
    r = stack_change (stack->inner, old, config, settings, nr_settings, error);
  while (r < 0 && i-- > 0) {
    if (changed[i])
      stack->levels[i].ops->change (stack->levels[i].data, old, NULL);
  }
  if (r < 0)
    return r;
  stack_choose_levels (stack, config);
  return 0;
}

/* ---- names ---- */

const char *
stack_layer_name (const struct stack *stack, unsigned index)
{
  return index < stack->nr_levels && stack->levels[index].ops != stack->driver
             ? stack->levels[index].ops->name
             : NULL;
}

int
stack_hctx_error (const struct stack *stack, int r, struct text *text)
{
  if (stack->failed_layer != NULL)
    text_add (text, "%s: ", stack->failed_layer);
  text_add (text, "%s", strerror (-r));
  return r;
}

/* ---- power ---- */

/* Below before above: who lets go above may be asked again at once. */
void
stack_power (void *opaque, bool on)
{
  const struct stack *stack = opaque;

  for (unsigned i = stack->nr_levels; i-- > 0;) {
    if (stack->levels[i].ops->power != NULL)
      stack->levels[i].ops->power (stack->levels[i].data, on);
  }
}

void
stack_power_lost (void *opaque)
{
  const struct stack *stack = opaque;

  for (unsigned i = stack->nr_levels; i-- > 0;) {
    if (stack->levels[i].ops->power_lost != NULL)
      stack->levels[i].ops->power_lost (stack->levels[i].data);
  }
}
