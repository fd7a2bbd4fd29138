/* SPDX-License-Identifier: BSD-3-Clause
 *
 * engine/config.h: what config.c, config-parse.c and keys.c share, and what
 * the rest of the engine asks of a configuration beyond blkmq.h.
 *
 * Include the file that configure makes as <config.h>, this one as
 * "engine/config.h".
 */

#ifndef BLKMQ_ENGINE_CONFIG_H
#define BLKMQ_ENGINE_CONFIG_H

#include "blkmq.h"
#include "text.h"

/* keys.c: the engine's own keys. */
extern const struct blkmq_key engine_keys[];
extern const size_t nr_engine_keys;

struct config_entry {
  char *name;
  char *value;
};

struct blkmq_config {
  struct config_entry *entries; /* each name at most once */
  size_t nr_entries;
  const struct blkmq_driver *driver; /* that driver= named; NULL: not yet */
  /* Keys of whoever fills this in, which he takes himself: messages about
   * unknown keys know them as well. */
  const struct blkmq_key *outer_keys;
  size_t nr_outer_keys;
};

/* config.c: what was set as NAME, or NULL. */
const struct config_entry *config_entry (const struct blkmq_config *config,
                                         const char *name);

/* config.c: a copy, to be freed; NULL for lack of memory. */
struct blkmq_config *config_clone (const struct blkmq_config *config);
/* config.c: as if NAME, which is not driver, had not been set. */
void config_forget (struct blkmq_config *config, const char *name);

/* config-check.c: blkmq_config_check but for the contradictions between keys of
 * which one means nothing without the other: on a running disk one may have
 * been changed long after the other was given. */
int config_check_values (struct blkmq_config *config,
                         struct blkmq_error *error);
int config_check_unused (const struct blkmq_config *config, const char *name,
                         struct blkmq_error *error);

/* config.c: the driver in force, never NULL. */
const struct blkmq_driver *config_driver (const struct blkmq_config *config);

/* config.c: the key NAME of a table, or NULL. */
const struct blkmq_key *key_find (const struct blkmq_key *keys, size_t nr_keys,
                                  const char *name);

/* config.c: the engine's key NAME, or NULL; the driver that has it, or NULL. */
const struct blkmq_key *key_find_engine (const char *name);
const struct blkmq_driver *key_find_owner (const char *name);
const struct blkmq_key *key_find_driver (const struct blkmq_driver *driver,
                                         const char *name);

/* config-unknown.c: NAME is neither the engine's nor DRIVER's (NULL: nor any
 * driver's), nor one of CONFIG's outer keys; VALUE names no driver.  -EINVAL,
 * with a message in ERROR. */
int no_such_key (const struct blkmq_config *config, const char *name,
                 const char *value, const struct blkmq_driver *driver,
                 struct blkmq_error *error);
int no_such_driver (const char *value, struct blkmq_error *error);

/* config-parse.c: parse VALUE as KEY's.  0, with the number in KEY's unit (0
 * for a string) in *NUMBER; or -EINVAL and ERROR. */
int key_parse (const struct blkmq_key *key, const char *value, uint64_t *number,
               struct blkmq_error *error);

/* config-parse.c: is the declaration itself in order?  -EINVAL and ERROR. */
int key_check (const struct blkmq_key *key, struct blkmq_error *error);

/* config-parse.c: can a key have that name? */
bool key_name_is_plain (const char *name);

#endif /* BLKMQ_ENGINE_CONFIG_H */
