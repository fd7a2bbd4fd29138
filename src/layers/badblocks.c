/* SPDX-License-Identifier: BSD-3-Clause
 *
 * badblocks.c: places where the medium is bad.  What touches one fails, with
 * everything before it done or with nothing done.  Any thread.
 *
 * The ranges stand in a table that a change replaces as a whole, frozen, so
 * that looking one up takes no lock.  Only badblocks_once= changes anything
 * while requests are under way: whoever sets the bit of a range first has hit
 * it, and from then on it is not there.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "layers.h"
#include "ranges.h"

#define SECTOR_BYTES 512u

static const struct blkmq_key keys[] = {
  {
      .name = "badblocks",
      .type = BLKMQ_KEY_STRING,
      .help = "sectors of 512 bytes: +START-END become bad, -START-END good",
      .live = true,
  },
  {
      .name = "badblocks_once",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "0",
      .help = "a bad range that was hit is good again",
      .live = true,
  },
  {
      .name = "badblocks_partial_io",
      .type = BLKMQ_KEY_BOOL,
      .default_value = "0",
      .help = "do what comes before a bad sector, then fail",
      .live = true,
  },
};

/* One for each setting of the keys; read by all. */
struct table {
  bool is_once, is_partial;
  unsigned nr;
  _Atomic unsigned nr_left;                /* not spent yet */
  _Atomic uint64_t spent[RANGES_MAX / 64]; /* by once: a bit for each range */
  struct range range[];
};

struct badblocks {
  _Atomic (struct table *) table; /* NULL: nothing is bad */
  uint64_t last_sector;
  uint64_t block_bytes;
};

struct pdu {
  uint64_t whole_bytes; /* of a request that was cut short, or 0 */
};

/* ---- the table ---- */

static bool
is_spent (const struct table *table, unsigned i)
{
  return atomic_load_explicit (&table->spent[i / 64], memory_order_relaxed)
             >> i % 64
         & 1;
}

/* True for one alone. */
static bool
spend (struct table *table, unsigned i)
{
  uint64_t bit = UINT64_C (1) << i % 64;

  if (atomic_fetch_or_explicit (&table->spent[i / 64], bit,
                                memory_order_relaxed)
      & bit)
    return false;
  atomic_fetch_sub_explicit (&table->nr_left, 1, memory_order_relaxed);
  return true;
}

/* The first bad sector from FIRST to LAST, in *BAD, and with once the end of
 * the whole range that it is in, as null_blk has it. */
static bool
hit (struct table *table, uint64_t first, uint64_t last, uint64_t *bad)
{
  for (unsigned i = ranges_find (table->range, table->nr, first);
       i < table->nr && table->range[i].first <= last; i++) {
    if (is_spent (table, i) || (table->is_once && !spend (table, i)))
      continue;
    *bad = table->range[i].first > first ? table->range[i].first : first;
    return true;
  }
  return false;
}

/* NULL in *RESULT where there are none. */
static int
make_table (const struct ranges *ranges, const struct blkmq_config *config,
            struct table **result)
{
  struct table *table = NULL;

  if (ranges->nr > 0) {
    table = calloc (1, sizeof *table + ranges->nr * sizeof table->range[0]);
    if (table == NULL)
      return -ENOMEM;
    table->is_once = blkmq_config_number (config, "badblocks_once");
    table->is_partial = blkmq_config_number (config, "badblocks_partial_io");
    table->nr = ranges->nr;
    atomic_init (&table->nr_left, ranges->nr);
    memcpy (table->range, ranges->range, ranges->nr * sizeof table->range[0]);
  }
  *result = table;
  return 0;
}

static void
read_table (const struct table *table, struct ranges *ranges)
{
  ranges->nr = 0;
  for (unsigned i = 0; table != NULL && i < table->nr; i++) {
    if (!is_spent (table, i))
      ranges->range[ranges->nr++] = table->range[i];
  }
}

/* ---- settings ---- */

static int
no_memory (struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "badblocks: out of memory");
  return -ENOMEM;
}

static int
apply (struct ranges *ranges, const char *value, uint64_t last_sector,
       struct blkmq_error *error)
{
  const char *wrong, *item;
  struct text text;
  int r = ranges_apply (ranges, value, last_sector, &wrong, &item);

  if (r == 0)
    return 0;
  text = text_begin_error (error);
  text_add (&text, "badblocks=");
  text_add_value (&text, value);
  text_add (&text, ": ");
  if (item != value && *item != '\0') {
    text_add_value (&text, item);
    text_add (&text, " ");
  }
  text_add (&text,
            "%s; must be +START-END (bad) or -START-END (good), one or more "
            "with commas between them, in sectors of 512 bytes from 0 to "
            "%" PRIu64 ", and make at most %u ranges",
            wrong, last_sector, RANGES_MAX);
  return r;
}

/* As if nothing were bad yet: whether the ranges are too many depends on what
 * there is. */
static int
badblocks_check (const struct blkmq_config *config, struct blkmq_error *error)
{
  const char *value = blkmq_config_string (config, "badblocks");
  uint64_t size_bytes = blkmq_config_number (config, "size");
  struct ranges *ranges;
  int r;

  if (value == NULL || *value == '\0')
    return 0;
  ranges = calloc (1, sizeof *ranges);
  if (ranges == NULL)
    return no_memory (error);
  r = apply (ranges, value, (size_bytes - 1) / SECTOR_BYTES, error);
  free (ranges);
  return r == -ENOSPC ? 0 : r;
}

/* What CONFIG says becomes what is. */
static int
take (struct badblocks *badblocks, const struct blkmq_config *config,
      struct blkmq_error *error)
{
  const char *value = blkmq_config_string (config, "badblocks");
  struct ranges *ranges = calloc (1, sizeof *ranges);
  struct table *table = NULL;
  int r = 0;

  if (ranges == NULL)
    return no_memory (error);
  if (value != NULL)
    r = apply (ranges, value, badblocks->last_sector, error);
  if (r == 0) {
    r = make_table (ranges, config, &table);
    if (r < 0)
      no_memory (error);
  }
  free (ranges);
  if (r < 0)
    return r;
  /* Nobody is inside the old one: frozen. */
  free (atomic_exchange_explicit (&badblocks->table, table,
                                  memory_order_acq_rel));
  return 0;
}

static int
badblocks_change (void *data, const struct blkmq_config *config,
                  struct blkmq_error *error)
{
  return take (data, config, error);
}

/* Of VALUE on top of what there is now; NULL: of that alone. */
static int
print_with (const struct badblocks *badblocks, const char *value, char *buf,
            size_t buf_bytes, struct blkmq_error *error)
{
  struct ranges *ranges = malloc (sizeof *ranges);
  int r = 0;

  if (ranges == NULL)
    return no_memory (error);
  read_table (atomic_load_explicit (&badblocks->table, memory_order_acquire),
              ranges);
  if (value != NULL)
    r = apply (ranges, value, badblocks->last_sector, error);
  if (r == 0)
    r = ranges_print (ranges, buf, buf_bytes);
  free (ranges);
  return r;
}

static int
badblocks_show (void *data, const char *key, char *buf, size_t buf_bytes)
{
  if (strcmp (key, "badblocks") != 0)
    return -ENOENT;
  return print_with (data, NULL, buf, buf_bytes, NULL);
}

static int
badblocks_resolve (void *data, const char *key, const char *value, char *buf,
                   size_t buf_bytes, struct blkmq_error *error)
{
  if (strcmp (key, "badblocks") != 0)
    return -ENOENT;
  return print_with (data, value, buf, buf_bytes, error);
}

static bool
badblocks_is_wanted (const struct blkmq_config *config)
{
  const char *value = blkmq_config_string (config, "badblocks");

  return value != NULL && *value != '\0';
}

static int
badblocks_open (const struct blkmq_config *config, uint64_t seed,
                struct blkmq_limits *limits, void **data,
                struct blkmq_error *error)
{
  struct badblocks *badblocks = calloc (1, sizeof *badblocks);
  int r;

  if (badblocks == NULL)
    return no_memory (error);
  badblocks->last_sector = (limits->size_bytes - 1) / SECTOR_BYTES;
  badblocks->block_bytes = limits->logical_block_bytes;
  r = take (badblocks, config, error);
  if (r < 0) {
    free (badblocks);
    return r;
  }
  *data = badblocks;
  return 0;
}

static void
badblocks_close (void *data)
{
  struct badblocks *badblocks = data;

  free (atomic_load_explicit (&badblocks->table, memory_order_relaxed));
  free (badblocks);
}

/* ---- requests ---- */

static enum blkmq_queue_result
pass_or_fail (struct blkmq_hctx *hctx, struct blkmq_request *rq,
              blkmq_token token, struct table *table)
{
  const struct badblocks *badblocks = rq->driver_data;
  struct pdu *pdu = rq->pdu;
  uint64_t end = rq->offset_bytes + rq->bytes, bad, good_bytes = 0;

  if (!hit (table, rq->offset_bytes / SECTOR_BYTES, (end - 1) / SECTOR_BYTES,
            &bad))
    return blkmq_pass (hctx, rq, token);
  /* A block with a bad sector is all bad. */
  bad = bad * SECTOR_BYTES & ~(badblocks->block_bytes - 1);
  if (table->is_partial && bad > rq->offset_bytes)
    good_bytes = bad - rq->offset_bytes;
  if (good_bytes == 0) {
    blkmq_complete (rq, token, BLKMQ_STS_MEDIUM);
    return BLKMQ_QUEUED;
  }
  pdu->whole_bytes = rq->bytes;
  blkmq_set_bytes (rq, good_bytes);
  return blkmq_pass (hctx, rq, token);
}

/* Whatever has a place is looked at, as in null_blk: trims and zeroes too. */
static enum blkmq_queue_result
badblocks_queue_rq (struct blkmq_hctx *hctx, struct blkmq_request *rq,
                    blkmq_token token)
{
  struct badblocks *badblocks = rq->driver_data;
  struct pdu *pdu = rq->pdu;
  struct table *table
      = atomic_load_explicit (&badblocks->table, memory_order_acquire);

  pdu->whole_bytes = 0;
  if (__builtin_expect (table == NULL, 1) || rq->bytes == 0
      || atomic_load_explicit (&table->nr_left, memory_order_relaxed) == 0)
    return blkmq_pass (hctx, rq, token);
  return pass_or_fail (hctx, rq, token, table);
}

static enum blkmq_status
badblocks_complete (struct blkmq_request *rq, enum blkmq_status status)
{
  const struct pdu *pdu = rq->pdu;

  if (__builtin_expect (pdu->whole_bytes == 0, 1))
    return status;
  blkmq_set_bytes (rq, pdu->whole_bytes);
  return status == BLKMQ_STS_OK ? BLKMQ_STS_MEDIUM : status;
}

const struct blkmq_driver blkmq_layer_badblocks = {
  .name = "badblocks",
  .help = "places where the medium is bad",
  .pdu_bytes = sizeof (struct pdu),
  .keys = keys,
  .nr_keys = sizeof keys / sizeof keys[0],
  .is_wanted = badblocks_is_wanted,
  .check = badblocks_check,
  .open = badblocks_open,
  .close = badblocks_close,
  .queue_rq = badblocks_queue_rq,
  .complete = badblocks_complete,
  .change = badblocks_change,
  .show = badblocks_show,
  .resolve = badblocks_resolve,
};
