/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-multi-conn-flush.c: what can_multi_conn promises.  Three connections
 * write without a pause; a fourth flushes, and then reads what the others had
 * been answered for when its flush was sent.  All of that must be there, on
 * whatever hctx each of the four is.  In the end a fifth connection trims and
 * zeroes, and each of the others sees it.
 * Owns the list of writes; one thread, one poll loop.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nbd-test.h"

#define NR_WRITERS 3
#define FLUSHER NR_WRITERS /* its place among the handles */
#define NR_CONNECTIONS (NR_WRITERS + 1)

#define BLOCK_BYTES 4096
#define NR_BLOCKS 1500 /* together; block i is written by i % NR_WRITERS */
#define NR_WRITES_IN_FLIGHT 8
#define NR_CHECKED_A_FLUSH 16

static const struct config {
  const char *name;
  const char *keys[4];
} configs[] = {
  { "one hctx", { "irqmode=none" } },
  { "4 hctxs", { "submit_queues=4" } },
  { "4 hctxs, irqmode=softirq", { "submit_queues=4", "irqmode=softirq" } },
  { "4 hctxs, irqmode=timer",
    { "submit_queues=4", "irqmode=timer", "completion_nsec=200us" } },
  { "one tag", { "hw_queue_depth=1" } },
};

/* The life of a block, in this order. */
enum state {
  UNWRITTEN,
  WRITING,
  ANSWERED, /* before a flush was sent */
  COVERED,  /* answered before the flush that is under way */
  READING,
  CHECKED
};

static struct block {
  enum state state;
  bool done; /* set in the callback, acted on in the loop */
  int error;
  unsigned char data[BLOCK_BYTES];
} blocks[NR_BLOCKS];

static struct flush {
  bool under_way;
  bool done;
  int error;
} flush;

static unsigned nr_flushes, nr_checked;

/* Both run with the handle's lock held: take down the result, nothing else. */
static int
block_done (void *opaque, int *error)
{
  struct block *block = opaque;

  block->error = *error;
  block->done = true;
  return 1;
}

static int
flush_done (void *opaque, int *error)
{
  (void)opaque;
  flush.error = *error;
  flush.done = true;
  return 1;
}

static void
fill (uint64_t seed, unsigned index, unsigned char *data)
{
  uint64_t random = seed + index;

  for (size_t i = 0; i < BLOCK_BYTES; i += sizeof (uint64_t)) {
    uint64_t value = random_next (&random);

    memcpy (data + i, &value, sizeof value);
  }
}

static void
check_data (uint64_t seed, unsigned index, const unsigned char *data)
{
  unsigned char expected[BLOCK_BYTES];

  fill (seed, index, expected);
  if (memcmp (data, expected, BLOCK_BYTES) != 0)
    die ("block %u is not what connection %u was answered for", index,
         index % NR_WRITERS);
}

static void
send_write (struct nbd_handle *nbd, unsigned index, uint64_t seed)
{
  struct block *block = &blocks[index];
  nbd_completion_callback done = { .callback = block_done, .user_data = block };

  fill (seed, index, block->data);
  block->state = WRITING;
  if (nbd_aio_pwrite (nbd, block->data, BLOCK_BYTES,
                      (uint64_t)index * BLOCK_BYTES, done,
                      index % 7 == 0 ? LIBNBD_CMD_FLAG_FUA : 0)
      == -1)
    die_nbd ("writing block %u", index);
}

static void
send_read (struct nbd_handle *nbd, unsigned index)
{
  struct block *block = &blocks[index];
  nbd_completion_callback done = { .callback = block_done, .user_data = block };

  memset (block->data, 0xdb, BLOCK_BYTES);
  block->state = READING;
  if (nbd_aio_pread (nbd, block->data, BLOCK_BYTES,
                     (uint64_t)index * BLOCK_BYTES, done, 0)
      == -1)
    die_nbd ("reading block %u", index);
}

/* Take the answers of writes and keep each writer busy. */
static void
serve_writers (struct nbd_handle *const handles[], uint64_t seed)
{
  unsigned nr_in_flight[NR_WRITERS] = { 0 };

  for (unsigned i = 0; i < NR_BLOCKS; i++) {
    struct block *block = &blocks[i];
    unsigned writer = i % NR_WRITERS;

    if (block->state == WRITING && block->done) {
      if (block->error != 0)
        die ("writing block %u: %s", i, strerror (block->error));
      block->state = ANSWERED;
      block->done = false;
    }
    if (block->state == UNWRITTEN && nr_in_flight[writer] < NR_WRITES_IN_FLIGHT)
      send_write (handles[writer], i, seed);
    if (block->state == WRITING)
      nr_in_flight[writer]++;
  }
}

/* Flush; when that is answered read the latest blocks that it covers; again.
 */
static void
serve_flusher (struct nbd_handle *nbd, uint64_t seed)
{
  unsigned nr_covered = 0, nr_reading = 0;

  if (flush.under_way && !flush.done)
    return;
  if (flush.under_way) {
    if (flush.error != 0)
      die ("flush: %s", strerror (flush.error));
    flush.under_way = false;
    nr_flushes++;
  }

  for (unsigned i = 0; i < NR_BLOCKS; i++) {
    struct block *block = &blocks[i];

    if (block->state == COVERED)
      send_read (nbd, i);
    if (block->state == READING && block->done) {
      if (block->error != 0)
        die ("reading block %u: %s", i, strerror (block->error));
      check_data (seed, i, block->data);
      block->state = CHECKED;
      nr_checked++;
    }
    nr_reading += block->state == READING;
  }
  if (nr_reading > 0)
    return;

  /* The latest first: the others wait for a later flush, which covers them as
   * well.
   */
  for (unsigned i = NR_BLOCKS; i-- > 0 && nr_covered < NR_CHECKED_A_FLUSH;) {
    if (blocks[i].state == ANSWERED) {
      blocks[i].state = COVERED;
      nr_covered++;
    }
  }
  if (nr_covered > 0) {
    nbd_completion_callback done = { .callback = flush_done };

    flush = (struct flush){ .under_way = true };
    if (nbd_aio_flush (nbd, done, 0) == -1)
      die_nbd ("flush");
  }
}

/* Every connection must read a block as VALUE only. */
static void
check_block_everywhere (struct nbd_handle *const handles[], unsigned index,
                        unsigned char value)
{
  unsigned char data[BLOCK_BYTES];

  for (unsigned i = 0; i < NR_CONNECTIONS; i++) {
    if (nbd_pread (handles[i], data, BLOCK_BYTES, (uint64_t)index * BLOCK_BYTES,
                   0)
        == -1)
      die_nbd ("connection %u: reading block %u", i, index);
    for (unsigned j = 0; j < BLOCK_BYTES; j++) {
      if (data[j] != value)
        die ("connection %u: block %u has 0x%02x, not 0x%02x", i, index,
             data[j], value);
    }
  }
}

/* One request at a time, so no two of them race: what one connection changed
 * and flushed, the others have.
 */
static void
change_and_check (struct nbd_handle *const handles[])
{
  struct nbd_handle *nbd = server_connect ();
  unsigned char data[BLOCK_BYTES];

  for (unsigned i = 0; i < 32; i++) {
    uint64_t offset = (uint64_t)i * BLOCK_BYTES;
    int r;

    memset (data, 0xa5, sizeof data);
    if (nbd_pwrite (nbd, data, BLOCK_BYTES, offset, LIBNBD_CMD_FLAG_FUA) == -1)
      die_nbd ("writing block %u", i);
    check_block_everywhere (handles, i, 0xa5);

    if (i % 2 == 0)
      r = nbd_trim (nbd, BLOCK_BYTES, offset, 0);
    else
      r = nbd_zero (nbd, BLOCK_BYTES, offset, 0);
    if (r == -1)
      die_nbd ("clearing block %u", i);
    if (nbd_flush (nbd, 0) == -1)
      die_nbd ("flush");
    check_block_everywhere (handles, i, 0);
  }
  if (nbd_shutdown (nbd, 0) == -1)
    die_nbd ("shutdown");
  nbd_close (nbd);
}

static void
run (const struct config *config, uint64_t seed)
{
  struct nbd_handle *handles[NR_CONNECTIONS];
  const char *keys[ARRAY_SIZE (config->keys) + 2];
  char size[32];
  size_t n = 0;

  snprintf (size, sizeof size, "size=%u", NR_BLOCKS * BLOCK_BYTES);
  keys[n++] = size;
  for (size_t i = 0; i < ARRAY_SIZE (config->keys) && config->keys[i] != NULL;
       i++)
    keys[n++] = config->keys[i];
  keys[n] = NULL;
  server_start (16, keys);

  memset (blocks, 0, sizeof blocks);
  memset (&flush, 0, sizeof flush);
  nr_flushes = nr_checked = 0;
  for (unsigned i = 0; i < NR_CONNECTIONS; i++) {
    handles[i] = server_connect ();
    if (nbd_can_multi_conn (handles[i]) != 1)
      die ("multi-conn is not offered");
    if (nbd_can_flush (handles[i]) != 1)
      die ("flush is not offered");
  }

  for (;;) {
    serve_writers (handles, seed);
    serve_flusher (handles[FLUSHER], seed);
    if (nr_checked == NR_BLOCKS)
      break;
    poll_connections (handles, NR_CONNECTIONS);
  }
  change_and_check (handles);

  for (unsigned i = 0; i < NR_CONNECTIONS; i++) {
    if (nbd_shutdown (handles[i], 0) == -1)
      die_nbd ("shutdown");
    nbd_close (handles[i]);
  }
  server_stop ();
  printf ("%s: %u blocks, %u flushes\n", config->name, nr_checked, nr_flushes);
  fflush (stdout);
}

int
main (void)
{
  uint64_t seed = test_seed ();

  for (size_t i = 0; i < ARRAY_SIZE (configs); i++)
    run (&configs[i], seed + NR_BLOCKS * i);
  return EXIT_SUCCESS;
}
