/* SPDX-License-Identifier: BSD-3-Clause
 *
 * front/help.h: what --help says about keys.
 */

#ifndef BLKMQ_FRONT_HELP_H
#define BLKMQ_FRONT_HELP_H

#include <stdio.h>

#include "blkmq.h"

/* A line a key. */
void help_print_keys (FILE *out);

/* "size", "time", ... */
const char *help_type_name (enum blkmq_key_type type);

#endif /* BLKMQ_FRONT_HELP_H */
