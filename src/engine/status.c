/* SPDX-License-Identifier: BSD-3-Clause
 *
 * status.c: names and errnos, in one table each.
 */

#include <config.h>

#include <errno.h>

#include "blkmq.h"

static const struct {
  const char *name;
  int err;
} statuses[BLKMQ_NR_STATUSES] = {
  [BLKMQ_STS_OK] = { "ok", 0 },
  [BLKMQ_STS_NOTSUPP] = { "notsupp", EOPNOTSUPP },
  [BLKMQ_STS_TIMEOUT] = { "timeout", ETIMEDOUT },
  [BLKMQ_STS_NOSPC] = { "nospc", ENOSPC },
  [BLKMQ_STS_RESOURCE] = { "resource", ENOMEM },
  [BLKMQ_STS_IOERR] = { "ioerr", EIO },
  [BLKMQ_STS_MEDIUM] = { "medium", ENODATA },
  [BLKMQ_STS_AGAIN] = { "again", EAGAIN },
  [BLKMQ_STS_OFFLINE] = { "offline", ENODEV },
  [BLKMQ_STS_INVAL] = { "inval", EINVAL },
  [BLKMQ_STS_READONLY] = { "readonly", EROFS },
  [BLKMQ_STS_ABORTED] = { "aborted", ECANCELED },
};

int
blkmq_status_to_errno (enum blkmq_status status)
{
  return (unsigned)status < BLKMQ_NR_STATUSES ? statuses[status].err : EIO;
}

const char *
blkmq_status_name (enum blkmq_status status)
{
  return (unsigned)status < BLKMQ_NR_STATUSES ? statuses[status].name
                                              : "unknown";
}

const char *
blkmq_op_name (enum blkmq_op op)
{
  static const char *const names[BLKMQ_NR_OPS] = {
    [BLKMQ_OP_READ] = "read",
    [BLKMQ_OP_WRITE] = "write",
    [BLKMQ_OP_FLUSH] = "flush",
    [BLKMQ_OP_DISCARD] = "discard",
    [BLKMQ_OP_WRITE_ZEROES] = "write_zeroes",
  };

  return (unsigned)op < BLKMQ_NR_OPS ? names[op] : "unknown";
}

const char *
blkmq_cause_name (enum blkmq_cause cause)
{
  static const char *const names[BLKMQ_NR_CAUSES] = {
    [BLKMQ_CAUSE_COMPLETE] = "complete", [BLKMQ_CAUSE_TIMEOUT] = "timeout",
    [BLKMQ_CAUSE_ABORT] = "abort",       [BLKMQ_CAUSE_REMOVE] = "remove",
    [BLKMQ_CAUSE_POWER] = "power",
  };

  return (unsigned)cause < BLKMQ_NR_CAUSES ? names[cause] : "unknown";
}

const char *
blkmq_version (void)
{
  return PACKAGE_VERSION;
}
