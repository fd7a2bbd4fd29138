// SPDX-License-Identifier: BSD-3-Clause
//
// zeros.cc: a driver in C++11, which reads zeros and completes at once.

#include <blkmq-driver.h>
#include <cstring>

namespace {

int
zeros_open (const blkmq_config *, uint64_t, blkmq_limits *, void **data,
            blkmq_error *)
{
  *data = nullptr;
  return 0;
}

blkmq_queue_result
zeros_queue_rq (blkmq_hctx *, blkmq_request *rq, blkmq_token token)
{
  blkmq_segments it = blkmq_segments_begin (rq);
  iovec segment;

  if (rq->op == BLKMQ_OP_READ)
    while (blkmq_segments_next (&it, &segment))
      std::memset (segment.iov_base, 0, segment.iov_len);
  blkmq_complete (rq, token, BLKMQ_STS_OK);
  return BLKMQ_QUEUED;
}

// C++11 has no designated initialisers.
blkmq_driver
make_driver ()
{
  blkmq_driver driver = blkmq_driver ();

  driver.name = "zeros";
  driver.help = "reads zeros";
  driver.open = zeros_open;
  driver.queue_rq = zeros_queue_rq;
  return driver;
}

const blkmq_driver driver = make_driver ();

} // namespace

BLKMQ_DRIVER_EXPORT (driver);
