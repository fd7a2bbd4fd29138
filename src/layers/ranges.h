/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ranges.h: a set of sectors as sorted ranges, and its text.
 *
 * The text is a list of changes, one after the other, with commas: +START-END
 * adds these sectors and -START-END takes them away, both ends included.  What
 * ranges_print writes is such a list, which makes the same set of an empty one.
 */

#ifndef BLKMQ_LAYERS_RANGES_H
#define BLKMQ_LAYERS_RANGES_H

#include <stddef.h>
#include <stdint.h>

#define RANGES_MAX 4096u

/* Sectors FIRST to LAST. */
struct range {
  uint64_t first, last;
};

/* In order, and with at least one other sector between two of them. */
struct ranges {
  unsigned nr;
  struct range range[RANGES_MAX];
};

/* Add, or take away, FIRST to LAST, FIRST <= LAST < UINT64_MAX.  -ENOSPC: that
 * would make too many of them, and nothing was changed. */
int ranges_add (struct ranges *ranges, uint64_t first, uint64_t last);
int ranges_remove (struct ranges *ranges, uint64_t first, uint64_t last);

/* The index of the first one that ends at or behind SECTOR, or NR.  RANGE are
 * in order. */
unsigned ranges_find (const struct range *range, unsigned nr, uint64_t sector);

/* Do what TEXT says.  -EINVAL (it is no such list, or goes beyond LAST_SECTOR)
 * or -ENOSPC: *WRONG says what is wrong, and *ITEM is where in TEXT; what came
 * before that has been done. */
int ranges_apply (struct ranges *ranges, const char *text, uint64_t last_sector,
                  const char **wrong, const char **item);

/* As snprintf. */
int ranges_print (const struct ranges *ranges, char *buf, size_t buf_bytes);

#endif /* BLKMQ_LAYERS_RANGES_H */
