/* SPDX-License-Identifier: BSD-3-Clause
 *
 * privileges.c: blkmqd becomes another user, for good.  The main thread, before
 * it starts others: capabilities and no_new_privs are a thread's own, and are
 * handed on to those that it starts.
 */

#include <config.h>

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/privileges.h"
#include "text.h"

#define MAX_CAPABILITIES 64 /* that the kernel's words have room for */

static int
refuse (const char *option, const char *value, const char *what,
        struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "%s=", option);
  text_add_value (&text, value);
  text_add (&text, ": %s", what);
  return -EINVAL;
}

static int
no_such (const char *option, const char *value, int r, bool is_group,
         struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "%s=", option);
  text_add_value (&text, value);
  text_add (&text, ": %s; must be a name, or a number from 0 to 4294967294",
            names_error (r, is_group));
  return -EINVAL;
}

int
privileges_set_user (struct privileges *privileges, const char *option,
                     const char *value, struct blkmq_error *error)
{
  int r = names_find_user (value, &privileges->user);

  if (r < 0)
    return no_such (option, value, r, false, error);
  if (privileges->user.uid == 0)
    return refuse (option, value,
                   "must be another user than root, who would keep what is "
                   "root's",
                   error);
  privileges->has_user = true;
  return 0;
}

int
privileges_set_group (struct privileges *privileges, const char *option,
                      const char *value, struct blkmq_error *error)
{
  int r = names_find_group (value, &privileges->group);

  if (r < 0)
    return no_such (option, value, r, true, error);
  privileges->has_group = true;
  return 0;
}

int
privileges_check (struct privileges *privileges, struct blkmq_error *error)
{
  struct text text;

  if (!privileges->has_user || privileges->has_group)
    return 0;
  if (privileges->user.name[0] == '\0') {
    text = text_begin_error (error);
    text_add (&text,
              "--user=%lu: the system knows no such user, and so not his "
              "group: say --group=GROUP",
              (unsigned long)privileges->user.uid);
    return -EINVAL;
  }
  privileges->group = privileges->user.gid;
  return 0;
}

/* ------------------------------------------------------------------------ */

static int
fail (const struct privileges *privileges, const char *what, int r,
      struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "--user=");
  if (privileges->user.name[0] != '\0')
    text_add_value (&text, privileges->user.name);
  else
    text_add (&text, "%lu", (unsigned long)privileges->user.uid);
  text_add (&text, ": %s", what);
  if (r != 0)
    text_add (&text, ": %s", strerror (-r));
  if (r == -EPERM)
    text_add (&text, "; only root can become another user");
  return r != 0 ? r : -EPERM;
}

static int
set_capabilities_to_none (void)
{
  struct __user_cap_header_struct header
      = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3]
      = { { .effective = 0 } };

  return syscall (SYS_capset, &header, none) < 0 ? -errno : 0;
}

static bool
has_capabilities (void)
{
  struct __user_cap_header_struct header
      = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct has[_LINUX_CAPABILITY_U32S_3]
      = { { .effective = 0 } };

  if (syscall (SYS_capget, &header, has) < 0)
    return true;
  for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
    if ((has[i].effective | has[i].permitted | has[i].inheritable) != 0)
      return true;
  return false;
}

/* NULL, or what is not as it was to be. */
static const char *
find_rest (const struct privileges *privileges)
{
  uid_t uid = privileges->user.uid, uids[3];
  gid_t gid = privileges->group, gids[3];

  if (getresuid (&uids[0], &uids[1], &uids[2]) < 0
      || getresgid (&gids[0], &gids[1], &gids[2]) < 0)
    return "cannot find out who it has become";
  for (unsigned i = 0; i < 3; i++)
    if (uids[i] != uid || gids[i] != gid)
      return "has become somebody else";
  /* No way back. */
  if (setresuid ((uid_t)-1, 0, (uid_t)-1) == 0
      || (gid != 0 && setresgid ((gid_t)-1, 0, (gid_t)-1) == 0))
    return "can become root again";
  if (has_capabilities ())
    return "has capabilities still";
  if (prctl (PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
    return "could get new rights from a program";
  return NULL;
}

int
privileges_drop (const struct privileges *privileges, struct blkmq_error *error)
{
  const struct named_user *user = &privileges->user;
  gid_t gid = privileges->group;
  const char *rest;
  int r;

  if (!privileges->has_user)
    return 0;
  /* What follows takes away the right to do what comes before it.  The
   * bounding set is for programs that are started; who may not change it
   * cannot change the user either, or needs no_new_privs only. */
  for (unsigned long i = 0; i < MAX_CAPABILITIES; i++)
    prctl (PR_CAPBSET_DROP, i, 0, 0, 0);
  prctl (PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  r = user->name[0] != '\0' ? initgroups (user->name, gid)
                            : setgroups (0, NULL);
  if (r < 0)
    return fail (privileges, "setting its groups", -errno, error);
  if (setresgid (gid, gid, gid) < 0)
    return fail (privileges, "setting its group", -errno, error);
  if (setresuid (user->uid, user->uid, user->uid) < 0)
    return fail (privileges, "becoming that user", -errno, error);
  r = set_capabilities_to_none ();
  if (r < 0)
    return fail (privileges, "giving up capabilities", r, error);
  if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
      || prctl (PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
    return fail (privileges, "giving up rights to come", -errno, error);
  rest = find_rest (privileges);
  return rest != NULL ? fail (privileges, rest, 0, error) : 0;
}
