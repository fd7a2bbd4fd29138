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
#include <stdint.h>

struct blkmq_hctx;
struct request;

/* How long who does nothing keeps its share. */
#define SHARE_IDLE_NS UINT64_C (1000000000)

/* May H take one more, not a reserved one?  When not it is asked again: when it
 * puts one of those that it has, and from time to time, for the others may have
 * gone idle. */
bool share_may_take (struct blkmq_hctx *h);

/* H has taken the tag of R, which is not a reserved one, and has put it.  What
 * is still held in a pool that was replaced is not counted any longer, and
 * share_put may be called for it before its time: the second does nothing. */
void share_took (struct blkmq_hctx *h, struct request *r);
void share_put (struct blkmq_hctx *h, struct request *r);

/* H has no share of its pool any more, until it takes a tag.  users_lock. */
void share_leave_locked (struct blkmq_hctx *h);

/* H has put a tag: have those run who wait for one and could take it, in turn,
 * and H itself after them. */
void share_wake (struct blkmq_hctx *h);

/* May a newcomer of H, where nobody waits, take a tag at once?  Not where
 * others wait, who may have been asked just now: it gets in line, and its own
 * run comes after theirs. */
bool share_is_free (struct blkmq_hctx *h, uint32_t io_flags);

/* H begins and ends to wait for a tag. */
void share_add_waiting (struct blkmq_hctx *h, int nr);

#endif /* BLKMQ_ENGINE_SHARE_H */
