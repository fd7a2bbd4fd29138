/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options-access.c: options that say who may connect, to what, and who
 * blkmqd is then.  The main
 * thread, before others run.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/log.h"
#include "server/names.h"
#include "server/options-internal.h"
#include "text.h"

static int
refuse (const char *name, const char *value, const char *wrong,
        const char *right, struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "%s=", name);
  text_add_value (&text, value);
  text_add (&text, ": %s%s", wrong, right);
  return -EINVAL;
}

static int
take_mode (struct unix_rights *rights, const char *name, const char *value,
           struct blkmq_error *error)
{
  size_t digits = strspn (value, "01234567");

  rights->mode = (mode_t)strtoul (value, NULL, 8);
  /* More digits may be too many for the number. */
  if (digits == 0 || digits > 4 || value[digits] != '\0' || rights->mode > 0777)
    return refuse (name, value, "must be an octal number from 0 to 0777", "",
                   error);
  rights->has_mode = true;
  return 0;
}

static int
take_owner (struct unix_rights *rights, const char *name, const char *value,
            struct blkmq_error *error)
{
  static const char form[]
      = "; must be USER, USER:GROUP or :GROUP, by names or by numbers from 0 "
        "to 4294967294";
  const char *colon = strchrnul (value, ':');
  char *owner = strndup (value, (size_t)(colon - value));
  struct named_user user;
  int r = 0;

  if (owner == NULL)
    return refuse (name, value, strerror (ENOMEM), "", error);
  rights->has_owner = colon > value || *colon == '\0';
  rights->has_group = *colon == ':';
  if (rights->has_owner) {
    r = names_find_user (owner, &user);
    rights->owner = user.uid;
  }
  free (owner);
  if (r < 0)
    return refuse (name, value, names_error (r, false), form, error);
  if (rights->has_group)
    r = names_find_group (colon + 1, &rights->group);
  return r < 0 ? refuse (name, value, names_error (r, true), form, error) : 0;
}

int
options_access_take (struct options *options, unsigned option,
                     const char *value, struct blkmq_error *error)
{
  const char *name = option_rows[option].key.name;

  switch (option) {
  case OPT_UNIX_MODE:
    return take_mode (&options->unix_rights, name, value, error);
  case OPT_UNIX_OWNER:
    return take_owner (&options->unix_rights, name, value, error);
  case OPT_ALLOW_UID:
    return access_add_users (&options->access, name, value, error);
  case OPT_ALLOW_GID:
    return access_add_groups (&options->access, name, value, error);
  case OPT_ALLOW_FROM:
    return access_add_nets (&options->access, name, value, error);
  case OPT_ALLOW_IDENTITY:
    return access_add_identity (&options->access, name, value, error);
  case OPT_USER:
    return privileges_set_user (&options->privileges, name, value, error);
  case OPT_GROUP:
    return privileges_set_group (&options->privileges, name, value, error);
  default:
    return 0;
  }
}

/* What is of one kind of sockets is an oversight if there is none: somebody
 * believes that he has kept others out. */
static bool
is_for_none (const struct option_values *values, unsigned option, bool has_kind,
             const char *missing)
{
  if (!values->given[option] || has_kind)
    return false;
  log_error ("%s=%s: there is no %s that it is for",
             option_rows[option].key.name, values->strings[option], missing);
  return true;
}

/* Likewise if some need not say who they are. */
static enum options_result
check_identity (const struct options *options,
                const struct option_values *values)
{
  if (!values->given[OPT_ALLOW_IDENTITY] || options_tls_asks_identity (options))
    return OPTIONS_SERVE;
  log_error ("--allow-identity=%s: clients need not say who they are: say "
             "--tls=require, with --tls-psk or with --tls-verify-peer",
             values->strings[OPT_ALLOW_IDENTITY]);
  return OPTIONS_WRONG;
}

static enum options_result
check_user (struct options *options, const struct option_values *values)
{
  struct blkmq_error error;

  if (values->given[OPT_GROUP] && !values->given[OPT_USER]) {
    log_error ("--group=%s: goes with --user=USER only",
               values->strings[OPT_GROUP]);
    return OPTIONS_WRONG;
  }
  if (privileges_check (&options->privileges, &error) < 0) {
    log_error ("%s", error.message);
    return OPTIONS_WRONG;
  }
  return OPTIONS_SERVE;
}

enum options_result
options_access_check (struct options *options,
                      const struct option_values *values)
{
  bool has_unix = false, has_tcp = false, has_own;
  /* Of either kind: nobody has looked at these yet, or they are not there. */
  bool has_passed = options->nr_passed > 0 || options->is_check;

  for (unsigned i = 0; i < options->nr_addresses; i++)
    *(options->addresses[i].is_tcp ? &has_tcp : &has_unix) = true;
  /* Without an address --run has a Unix socket of its own, and nobody is to
   * meddle with that. */
  has_own = options->nr_addresses == 0;
  if (is_for_none (values, OPT_UNIX_MODE, has_unix, "--unix")
      || is_for_none (values, OPT_UNIX_OWNER, has_unix, "--unix")
      || is_for_none (values, OPT_ALLOW_UID, has_unix || has_own || has_passed,
                      "--unix")
      || is_for_none (values, OPT_ALLOW_GID, has_unix || has_own || has_passed,
                      "--unix")
      || is_for_none (values, OPT_ALLOW_FROM, has_tcp || has_passed, "--tcp"))
    return OPTIONS_WRONG;
  if (check_identity (options, values) != OPTIONS_SERVE)
    return OPTIONS_WRONG;
  return check_user (options, values);
}
