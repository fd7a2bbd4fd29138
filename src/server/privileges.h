/* SPDX-License-Identifier: BSD-3-Clause
 *
 * privileges.h: blkmqd becomes another user, for good.  The main thread, before
 * it starts others.
 */

#ifndef BLKMQ_SERVER_PRIVILEGES_H
#define BLKMQ_SERVER_PRIVILEGES_H

#include <stdbool.h>

#include "blkmq.h"
#include "server/names.h"

/* All zero: stays who it is. */
struct privileges {
  bool has_user, has_group;
  struct named_user user;
  gid_t group; /* instead of the user's own */
};

/* Take VALUE of OPTION for the user, or the group.  -EINVAL with ERROR. */
int privileges_set_user (struct privileges *privileges, const char *option,
                         const char *value, struct blkmq_error *error);
int privileges_set_group (struct privileges *privileges, const char *option,
                          const char *value, struct blkmq_error *error);

/* When both were taken.  -EINVAL with ERROR: the user has no group. */
int privileges_check (struct privileges *privileges, struct blkmq_error *error);

/* This process is that user from now on, in his groups; it has no capabilities,
 * cannot have any again, by no program that it starts, and leaves no core.  All
 * that was looked at afterwards.  Negative errno with ERROR: it may be half
 * done, and must not go on. */
int privileges_drop (const struct privileges *privileges,
                     struct blkmq_error *error);

#endif /* BLKMQ_SERVER_PRIVILEGES_H */
