/* SPDX-License-Identifier: BSD-3-Clause
 *
 * store.h: a sparse array of bytes in memory, for drivers that keep data.
 *
 * Any number of threads may call everything but store_alloc and store_free at
 * once.  What it promises them:
 *
 *  - What was never written, or was discarded, reads as zeros and costs no
 *    memory.  Memory is taken and given back in pages of 4 KiB.
 *  - Transfers are copied chunk by chunk (64 KiB), each under its chunk's
 *    lock: readers share, writers are alone.  No read sees part of a write
 *    within one chunk, so no sector ever tears, however the caller's segments
 *    cut it; between two chunks another caller may come in.  No lock is held
 *    by all across a transfer.
 *  - Reads, and writes to pages that are present, call no allocator.
 *
 * Ranges must lie inside the store; anything else is a programmer's error.
 */

#ifndef BLKMQ_DRIVERS_STORE_H
#define BLKMQ_DRIVERS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define STORE_PAGE_BYTES 4096u

struct store;

/* An empty store of SIZE_BYTES, 1 to 2^63-1, that never holds more than
 * LIMIT_BYTES (rounded down to whole pages; 0: no limit) of pages.  SEED
 * decides only where chunks lie in the hash tables.  NULL with errno ENOMEM.
 */
struct store *store_alloc (uint64_t size_bytes, uint64_t limit_bytes,
                           uint64_t seed);
void store_free (struct store *store);

/* Have huge pages made of 2 MiB all of which is present and from which nothing
 * was discarded for SETTLE_MS (0: never, but for tests), by a thread of the
 * store's own.  Right after store_alloc.  Where the kernel cannot, pages stay
 * small.  0 or -ENOMEM.
 */
int store_use_huge_pages (struct store *store, unsigned settle_ms);

void store_read (struct store *store, void *buf, size_t bytes,
                 uint64_t offset_bytes);

/* 0, -ENOSPC: the limit would be passed, or -ENOMEM.
 *
 * After -ENOSPC the store is as it was, unless pages of the range were
 * discarded while the call ran.  After -ENOMEM the chunks that came first may
 * hold the new data.  Pages that are present need nothing and are always
 * written.  Two writes that fill the same hole at the same time count it
 * twice until both are through, so next to the limit one may be refused for
 * the sake of the other.
 */
int store_write (struct store *store, const void *buf, size_t bytes,
                 uint64_t offset_bytes);

/* The same from and to a list of segments, of which SKIP_BYTES are left out
 * first; the list must be at least that and BYTES long.
 */
void store_readv (struct store *store, const struct iovec *segment,
                  size_t skip_bytes, uint64_t bytes, uint64_t offset_bytes);
int store_writev (struct store *store, const struct iovec *segment,
                  size_t skip_bytes, uint64_t bytes, uint64_t offset_bytes);

/* What is at OFFSET_BYTES, which may be beyond the end, is looked for soon. */
void store_prefetch (const struct store *store, uint64_t offset_bytes);

/* Make the range read as zeros.  Pages that it covers are given back before
 * the call returns (the end of the store counts as the end of its page);
 * parts of a page are zeroed in place.  A range of any length takes time in
 * proportion to what the store holds, or to the range, whichever is less.
 */
void store_discard (struct store *store, uint64_t bytes, uint64_t offset_bytes);

/* The same; with NOUNMAP all pages of the range are present afterwards, so
 * that no later write to it can meet the limit.  0, -ENOSPC or -ENOMEM as for
 * a write; -ENOMEM also when the machine cannot have that much memory.
 * Without NOUNMAP it cannot fail.
 */
int store_write_zeroes (struct store *store, uint64_t bytes,
                        uint64_t offset_bytes, bool nounmap);

/* What the range holds, in order and without gaps: FN gets each extent,
 * clipped to the range and merged with its neighbours of the same type, which
 * is 0 for present pages and BLKMQ_EXTENT_HOLE | BLKMQ_EXTENT_ZERO for the
 * others.  A non-zero return of FN stops and is returned.  No lock is held
 * around FN.  Pages that change meanwhile are reported as they were before or
 * after.
 */
int store_extents (struct store *store, uint64_t offset_bytes, uint64_t bytes,
                   int (*fn) (uint64_t offset_bytes, uint64_t bytes,
                              unsigned type, void *opaque),
                   void *opaque);

/* Present pages, in bytes.  While calls that write are under way it includes
 * what they have reserved.
 */
uint64_t store_allocated_bytes (struct store *store);

#endif /* BLKMQ_DRIVERS_STORE_H */
