/* SPDX-License-Identifier: BSD-3-Clause
 *
 * table.c: all layers, from top to bottom.  The order is part of what they
 * mean: blkmq-layers(7).
 */

#include <config.h>

#include "engine/stack.h"
#include "layers.h"

const struct blkmq_driver *const blkmq_layers[] = {
  &blkmq_layer_throttle,    /* bus: what was asked for */
  &blkmq_layer_fault_bus,   /* bus */
  &blkmq_layer_delay_bus,   /* bus */
  &blkmq_layer_cache,       /* between the two; ends its disk's stack */
  &blkmq_layer_fault_media, /* media: what reaches the driver */
  &blkmq_layer_delay_media, /* media */
  &blkmq_layer_badblocks,   /* the medium itself */
  NULL,
};
