/* SPDX-License-Identifier: BSD-3-Clause
 *
 * front/keys.h: the keys that a front end takes itself, whichever it is: which
 * disks there are, and what is of the server and not of a disk.  --help, the
 * checks of the manual and the messages about unknown keys derive from the
 * table, as they do from those of the engine.
 */

#ifndef BLKMQ_FRONT_KEYS_H
#define BLKMQ_FRONT_KEYS_H

#include "blkmq.h"

enum front_key {
  FRONT_EXPORT = 0,
  FRONT_DESCRIPTION,
  FRONT_SHARED_TAGS,
  FRONT_CONTROL,
  NR_FRONT_KEYS
};

extern const struct blkmq_key front_keys[NR_FRONT_KEYS];

/* The index of NAME, or NR_FRONT_KEYS. */
enum front_key front_key_find (const char *name);

/* Of the server, not of an export: stands before the first export=. */
bool front_key_is_server_wide (enum front_key key);

/* 0, or -EINVAL and ERROR: VALUE is none for KEY. */
int front_key_check (enum front_key key, const char *value,
                     struct blkmq_error *error);

/* blkmq_for_each_key and blkmq_key_allowed, with the front end's: they come
 * last, with driver NULL. */
int front_for_each_key (int (*fn) (const struct blkmq_driver *driver,
                                   const struct blkmq_key *key, void *opaque),
                        void *opaque);
void front_key_allowed (const struct blkmq_key *key, char *buf,
                        size_t buf_bytes);

/* How many bytes the character at TEXT has; 0: it is a control character or the
 * end, or no UTF-8. */
size_t front_character_bytes (const char *text);

#endif /* BLKMQ_FRONT_KEYS_H */
