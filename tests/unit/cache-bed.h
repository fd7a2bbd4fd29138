/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cache-bed.h: a cached disk over a scripted driver that keeps data: what
 * reaches the media, and when, is the test's to say.
 */

#ifndef BLKMQ_TESTS_CACHE_BED_H
#define BLKMQ_TESTS_CACHE_BED_H

#include <string.h>

#include "harness.h"

#define MEDIA_BLOCKS 2048u /* the bed's size */
#define PAGE_BLOCKS 8u

struct media {
  char blocks[MEDIA_BLOCKS][BLOCK_BYTES];
  bool keeps; /* requests stay with the driver until the test lets go */
};

/* Move the data of a request that the driver holds. */
static inline void
media_do (struct media *media, struct blkmq_request *rq)
{
  struct blkmq_segments it = blkmq_segments_begin (rq);
  char *data = media->blocks[0] + rq->offset_bytes;
  struct iovec seg;

  if (rq->op == BLKMQ_OP_DISCARD || rq->op == BLKMQ_OP_WRITE_ZEROES)
    memset (data, 0, rq->bytes);
  while (blkmq_segments_next (&it, &seg)) {
    if (rq->op == BLKMQ_OP_READ)
      memcpy (seg.iov_base, data, seg.iov_len);
    else
      memcpy (data, seg.iov_base, seg.iov_len);
    data += seg.iov_len;
  }
}

static inline enum blkmq_queue_result
media_queue (struct script *script, const struct issue *issue)
{
  struct media *media = script->opaque;

  if (media->keeps)
    return BLKMQ_QUEUED;
  media_do (media, issue->rq);
  return script_completes_inside (script, issue);
}

/* The Nth issue, which was kept, succeeds. */
static inline void
media_complete (struct bed *bed, unsigned n)
{
  media_do (bed->script.opaque, script_issue (&bed->script, n)->rq);
  require (issue_complete (&bed->script, n, BLKMQ_STS_OK) == 0);
  bed_turn (bed);
}

static inline struct bed *
cache_bed_alloc (struct media *media)
{
  struct bed *bed = bed_alloc ();

  memset (media, 0, sizeof *media);
  bed->script.on_queue = media_queue;
  bed->script.opaque = media;
  return bed;
}

static inline struct bed *
cache_bed_start (struct media *media, const char *keys)
{
  struct bed *bed = cache_bed_alloc (media);

  bed_open (bed, keys);
  return bed;
}

#endif /* BLKMQ_TESTS_CACHE_BED_H */
