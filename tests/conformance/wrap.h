/* SPDX-License-Identifier: BSD-3-Clause
 *
 * wrap.h: a driver around the driver under test, so that each can be put into
 * situations that it would not get into by itself.
 */

#ifndef BLKMQ_TESTS_WRAP_H
#define BLKMQ_TESTS_WRAP_H

#include <stdatomic.h>
#include <stdbool.h>

#include "blkmq-driver.h"

/* What the wrapper does and sees.  One disk at a time. */
struct wrap {
  const struct blkmq_driver *inner;
  unsigned busy_every; /* refuse each n-th request, 0: none */
  enum blkmq_queue_result busy_how;
  const struct blkmq_limits *limits; /* checked on each request */

  _Atomic uint64_t nr_queued, nr_refused, nr_commits;
  _Atomic bool over_limits;
};

extern struct wrap wrap;

/* Make the wrapper of DRIVER, registered under the name "wrap-NAME", and point
 * `wrap' at it.  Once a driver. */
const char *wrap_driver (const struct blkmq_driver *driver);
void wrap_reset (void);

#endif /* BLKMQ_TESTS_WRAP_H */
