/* SPDX-License-Identifier: BSD-3-Clause
 *
 * access.c: lists of those who may connect: from what options say to an answer.
 * Whoever fills a list has it for himself; then any thread may ask.
 */

#include <config.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "server/access.h"
#include "server/names.h"
#include "text.h"

/* Says what is wrong with VALUE, and, if there is that to say, what is right.
 */
static int
refuse (const char *option, const char *value, int error, const char *wrong,
        const char *right, struct blkmq_error *to)
{
  struct text text = text_begin_error (to);

  text_add (&text, "%s=", option);
  text_add_value (&text, value);
  text_add (&text, ": %s", wrong);
  if (right != NULL)
    text_add (&text, "; %s", right);
  return -error;
}

/* Room for one more behind NR elements of BYTES each.  It is not counted. */
static void *
grow (void *array, unsigned nr, size_t bytes)
{
  return reallocarray (array, (size_t)nr + 1, bytes);
}

/* ------------------------------------------------------------------------ */
/* Lists in a text                                                           */

/* What stands between commas, one after the other. */
static int
add_each (struct access *access, const char *option, const char *text,
          int (*add) (struct access *access, const char *option,
                      const char *item, struct blkmq_error *error),
          struct blkmq_error *error)
{
  char *copy = strdup (text), *rest = copy, *item;
  int r = 0;

  if (copy == NULL)
    return refuse (option, text, ENOMEM, strerror (ENOMEM), NULL, error);
  while (r == 0 && (item = strsep (&rest, ",")) != NULL)
    r = add (access, option, item, error);
  free (copy);
  return r;
}

static int
add_user (struct access *access, const char *option, const char *item,
          struct blkmq_error *error)
{
  struct named_user user;
  uid_t *uids;
  int r = names_find_user (item, &user);

  if (r < 0)
    return refuse (option, item, EINVAL, names_error (r, false),
                   "must be users, by name or by number from 0 to 4294967294, "
                   "with commas between them",
                   error);
  uids = grow (access->uids, access->nr_uids, sizeof uids[0]);
  if (uids == NULL)
    return refuse (option, item, ENOMEM, strerror (ENOMEM), NULL, error);
  access->uids = uids;
  uids[access->nr_uids++] = user.uid;
  return 0;
}

static int
add_group (struct access *access, const char *option, const char *item,
           struct blkmq_error *error)
{
  gid_t *gids, gid;
  int r = names_find_group (item, &gid);

  if (r < 0)
    return refuse (option, item, EINVAL, names_error (r, true),
                   "must be groups, by name or by number from 0 to 4294967294, "
                   "with commas between them",
                   error);
  gids = grow (access->gids, access->nr_gids, sizeof gids[0]);
  if (gids == NULL)
    return refuse (option, item, ENOMEM, strerror (ENOMEM), NULL, error);
  access->gids = gids;
  gids[access->nr_gids++] = gid;
  return 0;
}

int
access_add_users (struct access *access, const char *option, const char *text,
                  struct blkmq_error *error)
{
  return add_each (access, option, text, add_user, error);
}

int
access_add_groups (struct access *access, const char *option, const char *text,
                   struct blkmq_error *error)
{
  return add_each (access, option, text, add_group, error);
}

/* ------------------------------------------------------------------------ */
/* Addresses                                                                 */

static unsigned
nr_address_bits (const struct access_net *net)
{
  return net->family == AF_INET ? 32 : 128;
}

/* An IPv4 address in IPv6's clothes is IPv4. */
static void
set_ipv6 (struct access_net *net, const struct in6_addr *address)
{
  net->family = AF_INET6;
  memcpy (net->address, address, sizeof net->address);
  if (IN6_IS_ADDR_V4MAPPED (address)) {
    net->family = AF_INET;
    memmove (net->address, net->address + 12, 4);
  }
}

/* Up to three digits, without a sign or blanks.  False: that it is not. */
static bool
parse_prefix (const char *text, unsigned *nr_bits)
{
  size_t digits = strspn (text, "0123456789");

  if (digits == 0 || digits > 3 || text[digits] != '\0')
    return false;
  *nr_bits = (unsigned)atoi (text);
  return true;
}

/* Is there a 1 behind the first NR_BITS? */
static bool
has_more_bits (const struct access_net *net)
{
  for (unsigned i = net->nr_bits; i < nr_address_bits (net); i++)
    if ((net->address[i / 8] >> (7 - i % 8) & 1) != 0)
      return true;
  return false;
}

/* NULL, or what is wrong.  Changes ITEM. */
static const char *
parse_net (char *item, struct access_net *net)
{
  char *slash = strchr (item, '/');
  unsigned nr_bits, nr_all_bits;
  struct in6_addr ipv6;

  if (slash != NULL)
    *slash = '\0';
  *net = (struct access_net){ .family = AF_INET };
  if (inet_pton (AF_INET, item, net->address) == 1)
    nr_all_bits = 32;
  else if (inet_pton (AF_INET6, item, &ipv6) == 1) {
    nr_all_bits = 128;
    set_ipv6 (net, &ipv6);
  } else
    return "not an address";
  nr_bits = nr_all_bits;
  if (slash != NULL
      && (!parse_prefix (slash + 1, &nr_bits) || nr_bits > nr_all_bits))
    return nr_all_bits == 32 ? "the prefix must be a number from 0 to 32"
                             : "the prefix must be a number from 0 to 128";
  if (nr_all_bits > nr_address_bits (net)) {
    /* The last of the bits that make it a mapped one is the 96th. */
    if (nr_bits < 96)
      return "the address has bits after the prefix";
    nr_bits -= 96;
  }
  net->nr_bits = (uint8_t)nr_bits;
  return has_more_bits (net) ? "the address has bits after the prefix" : NULL;
}

static int
add_net (struct access *access, const char *option, const char *item,
         struct blkmq_error *error)
{
  char *copy = strdup (item);
  struct access_net net, *nets = NULL;
  const char *wrong;

  if (copy != NULL) {
    wrong = parse_net (copy, &net);
    free (copy);
    if (wrong != NULL)
      return refuse (option, item, EINVAL, wrong,
                     "must be ADDRESS or ADDRESS/PREFIX, of IPv4 or IPv6 and "
                     "in numbers, with commas between them",
                     error);
    nets = grow (access->nets, access->nr_nets, sizeof nets[0]);
  }
  if (nets == NULL)
    return refuse (option, item, ENOMEM, strerror (ENOMEM), NULL, error);
  access->nets = nets;
  nets[access->nr_nets++] = net;
  return 0;
}

int
access_add_nets (struct access *access, const char *option, const char *text,
                 struct blkmq_error *error)
{
  return add_each (access, option, text, add_net, error);
}

static bool
is_in (const struct access_net *net, const struct access_net *address)
{
  unsigned nr_bytes = net->nr_bits / 8, nr_more = net->nr_bits % 8;

  if (net->family != address->family
      || memcmp (net->address, address->address, nr_bytes) != 0)
    return false;
  return nr_more == 0
         || (net->address[nr_bytes] ^ address->address[nr_bytes])
                    >> (8 - nr_more)
                == 0;
}

bool
access_allows_address (const struct access *access,
                       const struct sockaddr *address)
{
  struct access_net whole = { .family = AF_UNSPEC };
  struct sockaddr_in6 ipv6;
  struct sockaddr_in ipv4;

  if (address->sa_family == AF_INET) {
    memcpy (&ipv4, address, sizeof ipv4);
    whole.family = AF_INET;
    memcpy (whole.address, &ipv4.sin_addr, sizeof ipv4.sin_addr);
  } else if (address->sa_family == AF_INET6) {
    memcpy (&ipv6, address, sizeof ipv6);
    set_ipv6 (&whole, &ipv6.sin6_addr);
  }
  for (unsigned i = 0; i < access->nr_nets; i++)
    if (is_in (&access->nets[i], &whole))
      return true;
  return access->nr_nets == 0;
}

/* ------------------------------------------------------------------------ */
/* Users                                                                     */

bool
access_allows_user (const struct access *access, uid_t uid, const gid_t *gids,
                    size_t nr_gids)
{
  for (unsigned i = 0; i < access->nr_uids; i++)
    if (access->uids[i] == uid)
      return true;
  for (unsigned i = 0; i < access->nr_gids; i++)
    for (size_t j = 0; j < nr_gids; j++)
      if (access->gids[i] == gids[j])
        return true;
  return access->nr_uids == 0 && access->nr_gids == 0;
}

/* ------------------------------------------------------------------------ */
/* Identities                                                                */

int
access_add_identity (struct access *access, const char *option,
                     const char *text, struct blkmq_error *error)
{
  char **identities;
  char *copy;

  if (text[0] == '\0')
    return refuse (option, text, EINVAL, "is empty",
                   "must be an identity, in which a * stands for anything",
                   error);
  copy = strdup (text);
  identities
      = grow (access->identities, access->nr_identities, sizeof identities[0]);
  if (identities != NULL)
    access->identities = identities;
  if (copy == NULL || identities == NULL) {
    free (copy);
    return refuse (option, text, ENOMEM, strerror (ENOMEM), NULL, error);
  }
  identities[access->nr_identities++] = copy;
  return 0;
}

/* Time is at most the product of the lengths, whatever TEXT a client has: only
 * the last "*" can be wrong about how much it stands for. */
static bool
matches (const char *pattern, const char *text)
{
  const char *star = NULL, *text_of_star = NULL;

  while (*text != '\0') {
    if (*pattern == '*') {
      star = pattern++;
      text_of_star = text;
    } else if (*pattern == *text) {
      pattern++;
      text++;
    } else if (star != NULL) {
      pattern = star + 1;
      text = ++text_of_star;
    } else
      return false;
  }
  return pattern[strspn (pattern, "*")] == '\0';
}

bool
access_allows_identity (const struct access *access, const char *identity)
{
  for (unsigned i = 0; i < access->nr_identities; i++)
    if (matches (access->identities[i], identity))
      return true;
  return access->nr_identities == 0;
}

/* ------------------------------------------------------------------------ */

void
access_clear (struct access *access)
{
  for (unsigned i = 0; i < access->nr_identities; i++)
    free (access->identities[i]);
  free (access->identities);
  free (access->uids);
  free (access->gids);
  free (access->nets);
  *access = (struct access){ .nr_uids = 0 };
}
