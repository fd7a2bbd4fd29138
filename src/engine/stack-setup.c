/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack-setup.c: which layers there are over a driver; all of them opened, and
 * closed.  The thread that makes and frees the disk.
 */

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/config.h"
#include "engine/disk.h"
#include "engine/stack-internal.h"
#include "layers/layers.h"

int
stack_plan (const struct blkmq_config *config, bool is_inner,
            struct stack **result, struct blkmq_error *error)
{
  struct stack *stack = calloc (1, sizeof *stack);
  bool is_live = blkmq_config_number (config, "live"), is_there = !is_inner;
  bool ends_in_cache = false;

  if (stack == NULL)
    return error_set (error, -ENOMEM, "no memory for a disk");
  for (unsigned i = 0; blkmq_layers[i] != NULL && !ends_in_cache; i++) {
    const struct blkmq_driver *ops = blkmq_layers[i];

    if (ops == &blkmq_layer_cache && is_inner)
      is_there = true;
    else if (is_there
             && (ops->is_wanted (config) || (is_live && ops->change != NULL))) {
      assert (stack->nr_levels < MAX_LEVELS - 1);
      stack->levels[stack->nr_levels++].ops = ops;
      ends_in_cache = ops == &blkmq_layer_cache;
    }
  }
  stack->driver = config_driver (config);
  if (!ends_in_cache)
    stack->levels[stack->nr_levels++].ops = stack->driver;
  if (stack->nr_levels > 1)
    stack_make_ops (stack);
  stack_choose_levels (stack, config);
  *result = stack;
  return 0;
}

void
stack_free (struct stack *stack)
{
  free (stack);
}

const struct blkmq_driver *
stack_driver (const struct stack *stack)
{
  return stack->driver;
}

const struct blkmq_driver *
stack_ops (const struct stack *stack)
{
  return stack->nr_levels > 1 ? &stack->ops : stack->levels[0].ops;
}

void *
stack_data (struct stack *stack)
{
  if (stack->nr_open == 0)
    return NULL;
  return stack->nr_levels > 1 ? stack : stack->levels[0].data;
}

bool
stack_is_alike (const struct stack *a, const struct stack *b)
{
  for (unsigned i = 0; i < a->nr_levels && i < b->nr_levels; i++) {
    if (a->levels[i].ops != b->levels[i].ops)
      return false;
  }
  return a->nr_levels == b->nr_levels;
}

/* A level that makes limits wider, or leaves none, is a bug in it, but one that
 * an embedder can make: say so instead of asserting. */
static int
check_limits (const struct blkmq_limits *before,
              const struct blkmq_limits *after, const char *name,
              struct blkmq_error *error)
{
  uint32_t block = after->logical_block_bytes;
  uint32_t mask = after->virt_boundary_mask;

  if (after->size_bytes == 0 || after->size_bytes > INT64_MAX
      || after->max_segments == 0 || after->max_segments > before->max_segments
      || after->max_transfer_bytes > before->max_transfer_bytes
      || block < before->logical_block_bytes || (block & (block - 1)) != 0
      || after->max_transfer_bytes < block || (mask & (mask + 1)) != 0
      || mask < before->virt_boundary_mask
      || (after->max_discard_bytes != 0 && after->max_discard_bytes < block)
      || (after->max_write_zeroes_bytes != 0
          && after->max_write_zeroes_bytes < block))
    return error_set (error, -EINVAL,
                      "driver=%s: its open set limits that make no sense",
                      name);
  return 0;
}

static int
open_level (struct level *level, const struct blkmq_config *config,
            uint64_t seed, struct blkmq_limits *limits,
            struct blkmq_error *error)
{
  int r;

  if (error != NULL)
    error->message[0] = '\0';
  r = level->ops->open (config, seed, limits, &level->data, error);
  if (r < 0 && error != NULL && error->message[0] == '\0')
    error_set (error, r, "driver=%s: %s", level->ops->name, strerror (-r));
  return r;
}

int
stack_open (struct stack *stack, const struct blkmq_config *config,
            uint64_t seed, struct blkmq_limits *limits,
            struct blkmq_error *error)
{
  for (unsigned i = stack->nr_levels; i-- > 0;) {
    struct blkmq_limits before = *limits;
    int r = open_level (&stack->levels[i], config, seed, limits, error);

    if (r < 0)
      return r;
    stack->nr_open++;
    r = check_limits (&before, limits, stack->levels[i].ops->name, error);
    if (r < 0)
      return r;
  }
  return 0;
}

void
stack_close (struct stack *stack)
{
  for (unsigned i = stack->nr_levels - stack->nr_open; i < stack->nr_levels;
       i++) {
    if (stack->levels[i].ops->close != NULL)
      stack->levels[i].ops->close (stack->levels[i].data);
  }
  stack->nr_open = 0;
}
