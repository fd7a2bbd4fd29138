/* SPDX-License-Identifier: BSD-3-Clause
 *
 * share.h: who of several hctxs may have the next tag of a pool that they draw
 * on together: the disks of a tag set, or all hctxs of a disk
 * (shared_tag_bitmap).  Any thread.
 *
 * Everyone who has used the pool lately has an equal share of it, rounded up;
 * who is alone may have all.  "Lately" spans the pauses of a submitter that
 * waits for each answer, or it would find its share gone after every pause.
 */

#ifndef BLKMQ_ENGINE_SHARE_H
#define BLKMQ_ENGINE_SHARE_H

#include <stdbool.h>

struct blkmq_hctx;

/* How long who does nothing keeps its share. */
#define SHARE_IDLE_NS UINT64_C (1000000000)

/* May H take one more?  When not, it has one in flight, whose put asks again:
 * nothing else needs to wake it. */
bool share_may_take (struct blkmq_hctx *h);
void share_took (struct blkmq_hctx *h);
void share_put (struct blkmq_hctx *h);

/* A tag was put: have those run who wait for one, H itself and the next. */
void share_wake (struct blkmq_hctx *h);

/* H begins and ends to wait for a tag. */
void share_add_waiting (struct blkmq_hctx *h, int nr);

#endif /* BLKMQ_ENGINE_SHARE_H */
