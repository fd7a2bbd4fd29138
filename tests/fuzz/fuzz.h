/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz.h: what a fuzzer's target is.  libFuzzer or replay.c calls it.
 */

#ifndef BLKMQ_TESTS_FUZZ_H
#define BLKMQ_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define NR(array) (sizeof (array) / sizeof ((array)[0]))

/* Also where assert is compiled out. */
#define require(condition)                                                     \
  ((condition) ? (void)0                                                       \
               : (fprintf (stderr, "%s:%d: not true: %s\n", __FILE__,          \
                           __LINE__, #condition),                              \
                  abort ()))

/* The names are libFuzzer's. */
int LLVMFuzzerInitialize (int *argc, char ***argv);
int LLVMFuzzerTestOneInput (const uint8_t *input, size_t bytes);

#endif /* BLKMQ_TESTS_FUZZ_H */
