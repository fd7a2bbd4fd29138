/* SPDX-License-Identifier: BSD-3-Clause
 *
 * front/nbd-answer.h: what an NBD client is told of a request that has failed,
 * and what the log says of it.  Any thread.
 */

#ifndef BLKMQ_FRONT_NBD_ANSWER_H
#define BLKMQ_FRONT_NBD_ANSWER_H

#include "blkmq.h"

#define NBD_ANSWER_WHY_BYTES 64

struct nbd_answer {
  enum blkmq_status status;
  int told;        /* positive errno, one that NBD has; 0 for BLKMQ_STS_OK */
  const char *why; /* a few words, static */
};

/* Static, and never NULL. */
const struct nbd_answer *nbd_answer (enum blkmq_status status);

/* Of what the calls that wait return: ERR is blkmq_status_to_errno's, positive
 * or 0.  Any other errno is an EIO. */
const struct nbd_answer *nbd_answer_to_errno (int err);

/* Why ANSWER was given to a request for BYTES at OFFSET_BYTES: the answer's own
 * words, or, where that is what is wrong with it, in BUF that it does not keep
 * to the disk's blocks. */
const char *nbd_answer_why (const struct nbd_answer *answer,
                            const struct blkmq_limits *limits,
                            uint64_t offset_bytes, uint64_t bytes,
                            char buf[NBD_ANSWER_WHY_BYTES]);

#endif /* BLKMQ_FRONT_NBD_ANSWER_H */
