/* SPDX-License-Identifier: BSD-3-Clause
 *
 * poll-list.h: for drivers that do the work of a polled request when somebody
 * polls: what queue_rq has put aside for an hctx.
 *
 * A list is the hctx's data, an entry the request's pdu.  Any thread adds, any
 * takes all; neither locks.  Nothing is taken out of the middle: a timeout
 * takes all and puts back the others.
 */

#ifndef BLKMQ_DRIVERS_POLL_LIST_H
#define BLKMQ_DRIVERS_POLL_LIST_H

#include "blkmq-driver.h"

struct poll_entry {
  struct poll_entry *next;
  struct blkmq_request *rq;
  blkmq_token token;
};

/* init_hctx and exit_hctx. */
int poll_list_init_hctx (struct blkmq_hctx *hctx, void *driver_data,
                         unsigned index);
void poll_list_exit_hctx (struct blkmq_hctx *hctx, void *driver_data,
                          unsigned index);

/* Put RQ, which is the driver's, aside until the next poll. */
void poll_list_add (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                    blkmq_token token);

/* Take what is there, first come first, and complete each with what DO_RQ says.
 * Their number: what the poll op returns. */
unsigned
poll_list_complete (struct blkmq_hctx *hctx,
                    enum blkmq_status (*do_rq) (struct blkmq_request *rq));

/* The timeout op. */
enum blkmq_timeout_result poll_list_timeout (struct blkmq_request *rq,
                                             blkmq_token token);

#endif /* BLKMQ_DRIVERS_POLL_LIST_H */
