/* SPDX-License-Identifier: BSD-3-Clause
 *
 * engine/registry.h: the drivers that driver= can name: those built in, and
 * those that the embedder registered (blkmq_driver_register).
 */

#ifndef BLKMQ_ENGINE_REGISTRY_H
#define BLKMQ_ENGINE_REGISTRY_H

#include <stddef.h>

struct blkmq_driver;

/* The table of the drivers that are built in, NULL at its end.  It is the
 * drivers' own file that defines it, so that the engine includes none of
 * theirs. */
extern const struct blkmq_driver *const blkmq_builtin_drivers[];

/* The driver of that name, or NULL.  Any thread, also while another one
 * registers a driver: takes no lock. */
const struct blkmq_driver *registry_find (const char *name);

/* The driver at INDEX, NULL past the last: the built-in ones first, then the
 * others as they came.  An index never changes its meaning.  Any thread. */
const struct blkmq_driver *registry_at (size_t index);

#endif /* BLKMQ_ENGINE_REGISTRY_H */
