/* SPDX-License-Identifier: BSD-3-Clause
 *
 * front/help.h: what --help says about keys.
 */

#ifndef BLKMQ_FRONT_HELP_H
#define BLKMQ_FRONT_HELP_H

#include <stdio.h>

#include "blkmq.h"

/* What a server has in the place of a key's default: front/exports.h. */
struct help_default {
  const char *key;
  const char *value; /* in words */
};

/* A line a key.  OWN: a default of the server's, or NULL. */
void help_print_keys (FILE *out, const struct help_default *own);

/* "size", "time", ... */
const char *help_type_name (enum blkmq_key_type type);

#endif /* BLKMQ_FRONT_HELP_H */
