/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nbd-answer.c: what ends an io, in the words of NBD.  A table, which any
 * thread reads.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "front/nbd-answer.h"

/* Of errnos NBD has EPERM (for what cannot be written), EIO, ENOMEM, EINVAL,
 * ENOSPC, EOVERFLOW, ENOTSUP and ESHUTDOWN; anything else would reach the
 * client as EINVAL, which is the client's fault and not the disk's. */
#define ANSWER(name, told, why)                                                \
  [BLKMQ_STS_##name] = { BLKMQ_STS_##name, told, why }

static const struct nbd_answer answers[] = {
  ANSWER (OK, 0, "done"),
  ANSWER (NOTSUPP, EOPNOTSUPP, "the driver does not do this"),
  ANSWER (TIMEOUT, EIO, "io_timeout has passed"),
  ANSWER (NOSPC, ENOSPC, "no space left on the disk"),
  ANSWER (RESOURCE, ENOMEM, "out of memory"),
  ANSWER (IOERR, EIO, "input/output error of the disk"),
  ANSWER (MEDIUM, EIO, "the medium is bad at this place"),
  ANSWER (AGAIN, EIO, "no tag was free"),
  ANSWER (OFFLINE, ESHUTDOWN, "the disk was removed, or has no power"),
  ANSWER (INVAL, EINVAL, "out of bounds"),
  ANSWER (READONLY, EPERM, "the disk is read-only"),
  ANSWER (ABORTED, EIO, "given up by the client or by a shutdown"),
};

_Static_assert(sizeof answers / sizeof answers[0] == BLKMQ_NR_STATUSES,
               "every status has its answer");

static const struct nbd_answer unknown = { BLKMQ_STS_IOERR, EIO, "failed" };

const struct nbd_answer *
nbd_answer (enum blkmq_status status)
{
  return status < BLKMQ_NR_STATUSES ? &answers[status] : &unknown;
}

const struct nbd_answer *
nbd_answer_to_errno (int err)
{
  for (unsigned i = 0; i < BLKMQ_NR_STATUSES; i++)
    if (blkmq_status_to_errno (answers[i].status) == err)
      return &answers[i];
  return &unknown;
}

const char *
nbd_answer_why (const struct nbd_answer *answer,
                const struct blkmq_limits *limits, uint64_t offset_bytes,
                uint64_t bytes, char buf[NBD_ANSWER_WHY_BYTES])
{
  uint32_t block_bytes = limits->logical_block_bytes;

  if (answer->status != BLKMQ_STS_INVAL
      || (offset_bytes | bytes) % block_bytes == 0)
    return answer->why;
  snprintf (buf, NBD_ANSWER_WHY_BYTES, "not a multiple of blocksize=%" PRIu32,
            block_bytes);
  return buf;
}
