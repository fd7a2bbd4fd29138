/* SPDX-License-Identifier: BSD-3-Clause
 *
 * ranges.c: sets of sectors as sorted ranges, and their text.  Plain data: one
 * thread at a time for each set.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "ranges.h"

/* Put NR_NEW ranges in the place of those from AT to before END. */
static int
replace (struct ranges *ranges, unsigned at, unsigned end,
         const struct range *new, unsigned nr_new)
{
  unsigned nr = ranges->nr - (end - at) + nr_new;

  if (nr > RANGES_MAX)
    return -ENOSPC;
  memmove (&ranges->range[at + nr_new], &ranges->range[end],
           (ranges->nr - end) * sizeof *new);
  for (unsigned i = 0; i < nr_new; i++)
    ranges->range[at + i] = new[i];
  ranges->nr = nr;
  return 0;
}

unsigned
ranges_find (const struct range *range, unsigned nr, uint64_t sector)
{
  unsigned low = 0, high = nr;

  while (low < high) {
    unsigned middle = (low + high) / 2;

    if (range[middle].last < sector)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

int
ranges_add (struct ranges *ranges, uint64_t first, uint64_t last)
{
  struct range joined = { first, last };
  unsigned at, end;

  /* One that ends just before is joined, too. */
  at = ranges_find (ranges->range, ranges->nr, first > 0 ? first - 1 : 0);
  for (end = at; end < ranges->nr && ranges->range[end].first <= last + 1;
       end++) {
    const struct range *r = &ranges->range[end];

    if (r->first < joined.first)
      joined.first = r->first;
    if (r->last > joined.last)
      joined.last = r->last;
  }
  return replace (ranges, at, end, &joined, 1);
}

int
ranges_remove (struct ranges *ranges, uint64_t first, uint64_t last)
{
  struct range left[2];
  unsigned at = ranges_find (ranges->range, ranges->nr, first);
  unsigned end, nr_left = 0;

  for (end = at; end < ranges->nr && ranges->range[end].first <= last; end++) {
    const struct range *r = &ranges->range[end];

    if (r->first < first)
      left[nr_left++] = (struct range){ r->first, first - 1 };
    if (r->last > last)
      left[nr_left++] = (struct range){ last + 1, r->last };
  }
  return replace (ranges, at, end, left, nr_left);
}

/* ---- text ---- */

/* Digits only: no blanks and no signs, which strtoull would take. */
static const char *
parse_sector (const char **p, uint64_t *sector)
{
  const char *wrong = NULL;

  if (**p < '0' || **p > '9')
    return "not a sector";
  for (*sector = 0; **p >= '0' && **p <= '9'; (*p)++) {
    if (__builtin_mul_overflow (*sector, 10, sector)
        || __builtin_add_overflow (*sector, (unsigned)(**p - '0'), sector))
      wrong = "beyond the disk's end";
  }
  return wrong;
}

static const char *
parse_item (const char **p, uint64_t last_sector, struct range *range)
{
  const char *wrong;

  if (**p != '+' && **p != '-')
    return "begins with neither + nor -";
  (*p)++;
  wrong = parse_sector (p, &range->first);
  if (wrong != NULL)
    return wrong;
  if (**p != '-')
    return "not two sectors with a - between them";
  (*p)++;
  wrong = parse_sector (p, &range->last);
  if (wrong != NULL)
    return wrong;
  if (**p != '\0' && **p != ',')
    return "followed by something else than a comma";
  if (range->first > range->last)
    return "ends before it starts";
  if (range->last > last_sector)
    return "beyond the disk's end";
  return NULL;
}

int
ranges_apply (struct ranges *ranges, const char *text, uint64_t last_sector,
              const char **wrong, const char **item)
{
  const char *p = text;
  struct range range;
  int r;

  if (*text == '\0')
    return 0;
  for (;;) {
    *item = p;
    *wrong = parse_item (&p, last_sector, &range);
    if (*wrong != NULL)
      return -EINVAL;
    r = **item == '+' ? ranges_add (ranges, range.first, range.last)
                      : ranges_remove (ranges, range.first, range.last);
    if (r < 0) {
      *wrong = "makes too many ranges";
      return r;
    }
    if (*p == '\0')
      return 0;
    p++;
  }
}

int
ranges_print (const struct ranges *ranges, char *buf, size_t buf_bytes)
{
  size_t used = 0;

  if (buf_bytes > 0)
    buf[0] = '\0';
  for (unsigned i = 0; i < ranges->nr; i++) {
    bool fits = used < buf_bytes;
    int len = snprintf (fits ? buf + used : NULL, fits ? buf_bytes - used : 0,
                        "%s+%" PRIu64 "-%" PRIu64, i > 0 ? "," : "",
                        ranges->range[i].first, ranges->range[i].last);

    if (len < 0)
      return len;
    used += (size_t)len;
  }
  return (int)used;
}
