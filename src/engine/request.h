/* SPDX-License-Identifier: BSD-3-Clause
 *
 * request.h: one preallocated request, and the moves of its life.
 * The rules and the picture are at the head of request.c.
 */

#ifndef BLKMQ_ENGINE_REQUEST_H
#define BLKMQ_ENGINE_REQUEST_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blkmq-driver.h"
#include "engine/line.h"
#include "engine/record.h"
#include "engine/sched.h"
#include "engine/timer.h"
#include "engine/word.h"

struct request_pool;

struct request {
  /* First cache line: what the driver reads. */
  alignas (CACHE_LINE_BYTES) struct blkmq_request rq;

  /* Second: the engine's, hot. */
  _Atomic uint64_t word;
  struct blkmq_io *io;
  struct blkmq_submitter *submitter;
  struct request *next;         /* on the queue or the done list */
  _Atomic uint64_t deadline_ns; /* io_timeout; 0: not taken by the driver */
  _Atomic uint64_t start_ns;    /* iostat.c; 0: not in flight, or iostats=0 */
  struct request_pool *pool;    /* fixed */
  uint16_t tag;                 /* as names say it; fixed */
  bool early;                   /* the io has a give_back: answer before it */
  bool accepted;            /* the driver has taken it once: deadline stays */
  _Atomic bool ends_inline; /* its hctx's */
  _Atomic bool in_share;    /* counted by its hctx: share.c */
  uint8_t driver_status;    /* what blkmq_complete was given */
  uint8_t status;           /* the winner's */
  _Atomic uint8_t cause;    /* the winner's */
  uint8_t nr_merged;        /* ios beside the first: merge.h */
  bool merge_closed;        /* nothing may join: it is being aborted */
  int16_t driver_tag;       /* with a scheduler: elevator.h */
  _Atomic uint16_t outside; /* references from blkmq_request_get */
  struct timer timer;

  uint64_t keep_ns;            /* asked for by complete: blkmq_keep */
  struct request_merge *merge; /* NULL: it merges nothing */
  struct sched_node sched;
  struct request_pool *driver_pool; /* that driver_tag is of */
  _Atomic bool is_lent;             /* its tag is another's driver tag */

  /* Counters of the tag, written by whoever answers its request, which is one
   * thread at a time: no lock, no sharing between tags, read at any time. */
  _Atomic uint64_t ios[BLKMQ_NR_OPS];
  _Atomic uint64_t bytes[BLKMQ_NR_OPS];

  /* Of the last issue that was taken back in the driver's place; 0: none. */
  _Atomic uint64_t taken_generation;

#ifdef BLKMQ_DEBUG
  struct record record;
#endif
};

static_assert (sizeof (struct blkmq_request) == CACHE_LINE_BYTES,
               "the driver's part is one cache line");
#ifndef BLKMQ_DEBUG
static_assert (sizeof (struct request) <= 512, "at most 512 bytes a request");
#endif

/* Has a layer asked to keep R for a while on its way up? */
static inline bool
request_is_kept (const struct request *r)
{
  return r->keep_ns != 0;
}

/* What ops that look at a request from the side are shown of it where there are
 * layers (stack.c): a copy, with the pdu and the data of the level that is
 * asked.  What stands in the request itself is that of the level that has it,
 * and may change meanwhile. */
struct request_view {
  alignas (CACHE_LINE_BYTES) struct request *request;
  struct blkmq_request rq;
};

static_assert (offsetof (struct request, rq) == 0, "aligned as a cache line");
static_assert (offsetof (struct request_view, rq) % CACHE_LINE_BYTES != 0,
               "and told by that from a view");

/* By the address alone: what is there may be in its next life. */
static inline struct request *
request_of (struct blkmq_request *rq)
{
  if (__builtin_expect ((uintptr_t)rq % CACHE_LINE_BYTES != 0, 0))
    return ((struct request_view *)(void *)((char *)rq
                                            - offsetof (struct request_view,
                                                        rq)))
        ->request;
  return (struct request *)rq;
}

/* The pdu, all of it: rq.pdu may point into it, for a level of a stack. */
static inline void *
request_pdu (struct request *r)
{
  return r + 1;
}

/* Set up the memory of the request at INDEX of POOL. */
void request_init (struct request *r, struct request_pool *pool, unsigned index,
                   void *pdu);

/* The hctx that R belongs to in its present life.  Stable for those who have a
 * reference or the request itself; others may see the past. */
static inline struct blkmq_hctx *
request_hctx (const struct request *r)
{
  return __atomic_load_n (&r->rq.hctx, __ATOMIC_RELAXED);
}

/* FREE -> QUEUED.  The caller has taken the tag and filled in the request. */
void request_start (struct request *r);

/* FREE -> IN_FLIGHT, in one step: direct dispatch.  The new token. */
blkmq_token request_start_issue (struct request *r);

/* QUEUED -> IN_FLIGHT.  False: the request was ended meanwhile; the queue's
 * hold is dropped and R may be gone. */
bool request_issue (struct request *r, blkmq_token *token);

/* May TOKEN act?  Then R is its holder's, and its hctx is fixed. */
bool request_token_is_of (const struct request *r, blkmq_token token);
bool request_token_is_alive (struct request *r, blkmq_token token);

/* IN_FLIGHT -> QUEUED, from the holder of TOKEN. */
enum request_returned {
  REQUEST_QUEUED,  /* the caller now queues it */
  REQUEST_DROPPED, /* it was ended meanwhile and may be gone */
  REQUEST_STALE,   /* a dead token: nothing was touched */
};
enum request_returned request_return (struct request *r, blkmq_token token);

/* The engine's queue lets go of a QUEUED request that it has unlinked. */
void request_drop_queued (struct request *r);

/* Give-back with a status.  True if the token was alive. */
bool request_complete (struct request *r, blkmq_token token,
                       enum blkmq_status status);

/* Give-back on the driver's behalf, after it was stopped or said DONE: HELD
 * goes and, unless the end was claimed before, this is it.  Needs a
 * reference. */
bool request_take_back (struct request *r, blkmq_token token,
                        enum blkmq_cause cause, enum blkmq_status status);

/* Decide the end.  Needs a reference (or HELD).  True for the winner, whose
 * status then reaches the caller, now or at give-back. */
bool request_claim (struct request *r, enum blkmq_cause cause,
                    enum blkmq_status status);

/* The same, but only of the issue that NAME names. */
bool request_claim_issue (struct request *r, uint64_t name,
                          enum blkmq_cause cause, enum blkmq_status status);

/* A request that was given back and waited for its end (timer, softirq):
 * claim it for the completion.  Drops the caller's reference. */
void request_finish (struct request *r);

/* A counted reference if NAME names the current issue.  Not counted as a
 * stale look-up: that is the caller's to do where it is one. */
bool request_try_get (struct request *r, uint64_t name);
void request_put (struct request *r);

#endif /* BLKMQ_ENGINE_REQUEST_H */
