/* SPDX-License-Identifier: BSD-3-Clause
 *
 * engine/registry.h: the drivers that driver= can name: those built in, and
 * those that the embedder registered (blkmq_driver_register).
 */

#ifndef BLKMQ_ENGINE_REGISTRY_H
#define BLKMQ_ENGINE_REGISTRY_H

#include "blkmq-driver.h"

/* The table of the drivers that are built in, NULL at its end.  It is the
 * drivers' own file that defines it, so that the engine includes none of
 * theirs. */
extern const struct blkmq_driver *const blkmq_builtin_drivers[];

/* The driver of that name, or NULL.  Any thread, also while another one
 * registers a driver: takes no lock. */
const struct blkmq_driver *registry_find (const char *name);

#endif /* BLKMQ_ENGINE_REGISTRY_H */
