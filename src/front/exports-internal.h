/* SPDX-License-Identifier: BSD-3-Clause
 *
 * front/exports-internal.h: what the files of exports.h share.
 */

#ifndef BLKMQ_FRONT_EXPORTS_INTERNAL_H
#define BLKMQ_FRONT_EXPORTS_INTERNAL_H

#include "engine/config.h"
#include "front/exports.h"

/* What was given before the first export=, or after one. */
struct section {
  struct blkmq_config *config;
  char *description; /* NULL: not given */
};

struct entry {
  struct export export;
  struct section own;
  char *name;
  char prefix[96];
};

struct exports {
  struct section defaults;
  char *server_values[NR_FRONT_KEYS]; /* NULL: not given */
  struct entry **entries;
  unsigned nr_entries;
  bool is_unnamed; /* no export= was given: one entry stands for it */
  bool is_checked;
  bool drew_seed;
  uint64_t seed; /* of the first that has none of its own */
};

/* exports.c: another one, of which nothing is set; at most EXPORTS_MAX.  NULL:
 * no memory. */
struct entry *exports_add (struct exports *exports, const char *name,
                           const char *prefix);

bool exports_share_tags (const struct exports *exports);

/* exports.c: the one of that name, or NULL. */
struct entry *exports_entry (const struct exports *exports, const char *name);

/* exports-check.c: set NAME, or all that OVER has, whatever it was before. */
int config_override (struct blkmq_config *config, const char *name,
                     const char *value, struct blkmq_error *error);
int config_override_all (struct blkmq_config *config,
                         const struct blkmq_config *over,
                         struct blkmq_error *error);

/* exports.c: the message of INNER, for ENTRY, into ERROR.  Returns R. */
int entry_error (const struct entry *entry, const struct blkmq_error *inner,
                 int r, struct blkmq_error *error);

#endif /* BLKMQ_FRONT_EXPORTS_INTERNAL_H */
