/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers.h: the layers of this directory, one file each.
 *
 * Some can stand in two places: on the bus, above the cache, where what they do
 * is done to what the submitter has asked for; and on the media, below it,
 * where it is done to what reaches the driver.
 */

#ifndef BLKMQ_LAYERS_H
#define BLKMQ_LAYERS_H

#include "blkmq-driver.h"

extern const struct blkmq_driver blkmq_layer_fault_bus;
extern const struct blkmq_driver blkmq_layer_fault_media;
extern const struct blkmq_driver blkmq_layer_cache;
extern const struct blkmq_driver blkmq_layer_delay_bus;
extern const struct blkmq_driver blkmq_layer_delay_media;
extern const struct blkmq_driver blkmq_layer_badblocks;
extern const struct blkmq_driver blkmq_layer_throttle;

#endif /* BLKMQ_LAYERS_H */
