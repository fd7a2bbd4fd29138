/* SPDX-License-Identifier: BSD-3-Clause
 *
 * names.h: users and groups, by name or by number.  They ask the system's
 * database, which may ask another machine.  Any thread.
 */

#ifndef BLKMQ_SERVER_NAMES_H
#define BLKMQ_SERVER_NAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define NAMES_MAX_BYTES 256

/* The largest number that a user or a group may have; the next one means none.
 */
#define NAMES_MAX_ID (UINT32_MAX - 1)

struct named_user {
  uid_t uid;
  /* What the database has of him; "": it does not know the number. */
  char name[NAMES_MAX_BYTES];
  gid_t gid; /* his primary group, if there is a name */
};

/* A TEXT of digits alone is a number, whoever has it.  0; -ENOENT: there is no
 * such name; -ERANGE: no such number; or another negative errno: it could not
 * be looked up. */
int names_find_user (const char *text, struct named_user *user);
int names_find_group (const char *text, gid_t *gid);

/* What went wrong there, for a message. */
const char *names_error (int error, bool is_group);

#endif /* BLKMQ_SERVER_NAMES_H */
