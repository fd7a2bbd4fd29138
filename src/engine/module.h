/* SPDX-License-Identifier: BSD-3-Clause
 *
 * engine/module.h: drivers in shared objects: driver=/path/to/it.so.
 */

#ifndef BLKMQ_ENGINE_MODULE_H
#define BLKMQ_ENGINE_MODULE_H

#include "blkmq-driver.h"

/* The driver in the shared object PATH, which has a slash in it; loaded and
 * registered unless it was before.  Both last until the process ends.  Any
 * thread.  May block.  -EINVAL: not to be had, with ERROR; -ENOMEM. */
int module_load (const char *path, const struct blkmq_driver **driver,
                 struct blkmq_error *error);

#endif /* BLKMQ_ENGINE_MODULE_H */
