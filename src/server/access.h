/* SPDX-License-Identifier: BSD-3-Clause
 *
 * access.h: lists of those who may connect.  Nothing but lists: who somebody is
 * is found out elsewhere (admission.c, and TLS).
 *
 * One thread fills a list; then any thread may ask, until it is emptied.
 */

#ifndef BLKMQ_SERVER_ACCESS_H
#define BLKMQ_SERVER_ACCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "blkmq.h"

/* All addresses whose first bits are these. */
struct access_net {
  sa_family_t family;
  uint8_t address[16]; /* of IPv4 the first 4 */
  uint8_t nr_bits;
};

/* All zero: everybody may. */
struct access {
  uid_t *uids;
  gid_t *gids;
  struct access_net *nets;
  char **identities;
  unsigned nr_uids, nr_gids, nr_nets, nr_identities;
};

/* Add what TEXT has, names and numbers with commas between them; an identity is
 * one pattern, since it may have commas of its own.  -EINVAL or -ENOMEM with
 * ERROR, which calls it the value of OPTION. */
int access_add_users (struct access *access, const char *option,
                      const char *text, struct blkmq_error *error);
int access_add_groups (struct access *access, const char *option,
                       const char *text, struct blkmq_error *error);
int access_add_nets (struct access *access, const char *option,
                     const char *text, struct blkmq_error *error);
int access_add_identity (struct access *access, const char *option,
                         const char *text, struct blkmq_error *error);

/* Free what it has; it is empty then. */
void access_clear (struct access *access);

/* Who has that user, or one of these groups.  If neither users nor groups are
 * listed, everybody may; if both are, then who is in one of the lists. */
bool access_allows_user (const struct access *access, uid_t uid,
                         const gid_t *gids, size_t nr_gids);

/* An IPv4 address that is mapped into IPv6 counts as what it is.  Of another
 * family: only if nothing is listed. */
bool access_allows_address (const struct access *access,
                            const struct sockaddr *address);

/* Who is IDENTITY?  A "*" in a pattern stands for any bytes, also none; all
 * else stands for itself. */
bool access_allows_identity (const struct access *access, const char *identity);

#endif /* BLKMQ_SERVER_ACCESS_H */
