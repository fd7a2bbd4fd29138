/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options-access.c: options that say who may connect.  The main thread, before
 * others run.
 */

#include <config.h>

#include "server/log.h"
#include "server/options-internal.h"

int
options_access_take (struct options *options, unsigned option,
                     const char *value, struct blkmq_error *error)
{
  const char *name = option_rows[option].key.name;

  switch (option) {
  case OPT_ALLOW_UID:
    return access_add_users (&options->access, name, value, error);
  case OPT_ALLOW_GID:
    return access_add_groups (&options->access, name, value, error);
  case OPT_ALLOW_FROM:
    return access_add_nets (&options->access, name, value, error);
  default:
    return 0;
  }
}

/* What is of one kind of sockets is an oversight if there is none: somebody
 * believes that he has kept others out. */
static enum options_result
check_kind (const struct option_values *values, unsigned option, bool has_kind,
            const char *missing)
{
  if (!values->given[option] || has_kind)
    return OPTIONS_SERVE;
  log_error ("%s=%s: there is no %s that it is for",
             option_rows[option].key.name, values->strings[option], missing);
  return OPTIONS_WRONG;
}

enum options_result
options_access_check (struct options *options,
                      const struct option_values *values)
{
  /* Without an address --run has a Unix socket of its own. */
  bool has_unix = options->nr_addresses == 0, has_tcp = false;

  for (unsigned i = 0; i < options->nr_addresses; i++)
    *(options->addresses[i].is_tcp ? &has_tcp : &has_unix) = true;
  if (check_kind (values, OPT_ALLOW_UID, has_unix, "--unix") != OPTIONS_SERVE
      || check_kind (values, OPT_ALLOW_GID, has_unix, "--unix") != OPTIONS_SERVE
      || check_kind (values, OPT_ALLOW_FROM, has_tcp, "--tcp") != OPTIONS_SERVE)
    return OPTIONS_WRONG;
  return OPTIONS_SERVE;
}
