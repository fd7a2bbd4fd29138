/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stale.h: what becomes of those who come with a dead token.
 */

#ifndef BLKMQ_ENGINE_STALE_H
#define BLKMQ_ENGINE_STALE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct request;

/* Of the driver of a tag set. */
struct mistakes {
  bool are_borne;            /* for tests: not fatal; set before the first io */
  _Atomic bool are_reported; /* the first one was */
};

/* A driver has come to R with a TOKEN that is dead, or is another request's,
 * for WHAT ("completion"), and was refused: count it, and if it is a mistake
 * of the driver's, report the first of a tag set.  In a debug build a mistake
 * is the end of the program, unless mistakes are borne.  To whom R belongs by
 * now is not asked. */
void stale_token (struct request *r, uint64_t token, const char *what)
    __attribute__ ((cold, noinline));

#endif /* BLKMQ_ENGINE_STALE_H */
