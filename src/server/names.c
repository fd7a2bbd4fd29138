/* SPDX-License-Identifier: BSD-3-Clause
 *
 * names.c: users and groups, by name or by number.  No state: any thread.
 */

#include <config.h>

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/names.h"

#define FIRST_ENTRY_BYTES 1024u
#define MAX_ENTRY_BYTES (1024u << 10) /* groups have members */

/* 0; -EINVAL: not a number; -ERANGE. */
static int
parse_id (const char *text, uint32_t *id)
{
  uint64_t number = 0;

  if (text[0] == '\0' || text[strspn (text, "0123456789")] != '\0')
    return -EINVAL;
  for (; *text != '\0'; text++) {
    number = 10 * number + (uint64_t)(*text - '0');
    if (number > NAMES_MAX_ID)
      return -ERANGE;
  }
  *id = (uint32_t)number;
  return 0;
}

/* What the database says when it has not got what was asked for depends on
 * where it looked. */
static int
to_errno (int error, bool found)
{
  switch (error) {
  case 0:
    return found ? 0 : -ENOENT;
  case ENOENT:
  case ESRCH:
  case EBADF:
  case EPERM:
    return -ENOENT;
  case ERANGE: /* an entry of megabytes */
    return -EMSGSIZE;
  default:
    return -error;
  }
}

/* Ask for an entry by NAME, or by ID if that is NULL, with more and more room
 * for it. */
static int
look_up (bool is_group, const char *name, uint32_t id, struct named_user *user)
{
  char *room = NULL;
  int error = ERANGE;
  bool found = false;

  for (size_t bytes = FIRST_ENTRY_BYTES;
       error == ERANGE && bytes <= MAX_ENTRY_BYTES; bytes *= 4) {
    struct passwd passwd, *is_user = NULL;
    struct group group, *is_a_group = NULL;

    free (room);
    room = malloc (bytes);
    if (room == NULL)
      return -ENOMEM;
    if (is_group) {
      error = getgrnam_r (name, &group, room, bytes, &is_a_group);
      found = is_a_group != NULL;
      if (found)
        user->gid = group.gr_gid;
      continue;
    }
    error = name != NULL ? getpwnam_r (name, &passwd, room, bytes, &is_user)
                         : getpwuid_r (id, &passwd, room, bytes, &is_user);
    found = is_user != NULL;
    if (found) {
      user->uid = passwd.pw_uid;
      user->gid = passwd.pw_gid;
      snprintf (user->name, sizeof user->name, "%s", passwd.pw_name);
    }
  }
  free (room);
  return to_errno (error, found);
}

int
names_find_user (const char *text, struct named_user *user)
{
  uint32_t id;
  int r = parse_id (text, &id);

  *user = (struct named_user){ .uid = 0 };
  if (r == -ERANGE)
    return r;
  if (r < 0)
    return text[0] != '\0' ? look_up (false, text, 0, user) : -ENOENT;
  /* A number needs no name, and no database. */
  if (look_up (false, NULL, id, user) < 0)
    user->name[0] = '\0';
  user->uid = id;
  return 0;
}

int
names_find_group (const char *text, gid_t *gid)
{
  struct named_user found = { .gid = 0 };
  uint32_t id;
  int r = parse_id (text, &id);

  if (r == -ERANGE)
    return r;
  if (r < 0) {
    r = text[0] != '\0' ? look_up (true, text, 0, &found) : -ENOENT;
    id = found.gid;
  }
  *gid = id;
  return r;
}

const char *
names_error (int error, bool is_group)
{
  switch (error) {
  case -ENOENT:
    return is_group ? "no such group" : "no such user";
  case -ERANGE:
    return "the number is too large";
  default:
    return strerror (-error);
  }
}
