/* SPDX-License-Identifier: BSD-3-Clause
 *
 * witness.h: a client that goes on, on a thread of its own, whatever happens
 * beside it: it writes, trims and zeroes in a part of the disk that is its own,
 * and every byte that it reads is held against a copy.
 */

#ifndef BLKMQ_TESTS_WITNESS_H
#define BLKMQ_TESTS_WITNESS_H

#include "rig.h"

#define WITNESS_BYTES (UINT32_C (256) << 10) /* its part */
#define WITNESS_REQUESTS 8u                  /* at once */

struct witness {
  struct client client;
  struct rng rng;
  uint64_t offset_bytes;
  uint8_t *copy, *data;
  pthread_t thread;
  _Atomic bool must_end;
  _Atomic unsigned nr_turns;
  /* Errors that it bears: what was to be written is then unknown. */
  uint32_t borne_errors[4];
  bool *is_known; /* by block */
  _Atomic unsigned nr_errors;
};

/* Its part is the INDEXth of the disk. */
void witness_start (struct witness *witness, struct rig *rig, unsigned features,
                    unsigned index, const uint32_t borne_errors[4]);

/* It has done NR more turns. */
void witness_await (struct witness *witness, unsigned nr);

void witness_end (struct witness *witness);

#endif /* BLKMQ_TESTS_WITNESS_H */
