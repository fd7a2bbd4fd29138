/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-many-in-flight.c: 8 connections keep 64 requests each in flight against
 * one server, and every byte that comes back is compared with a shadow copy.
 * Owns the shadow; one thread, one poll loop over all connections.
 *
 * The disk is cut into one region a connection, which that connection alone
 * changes, and one region that is written once and read by all.  Within a
 * region no request is sent that overlaps a write, trim or zero in flight,
 * since the outcome of such a pair is nobody's to promise; reads overlap reads
 * freely.  That makes every expected byte exact.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nbd-test.h"

#define NR_CONNECTIONS 8
#define NR_IN_FLIGHT 64
#define REGION_BYTES (UINT64_C (2) << 20)
#define DISK_BYTES ((NR_CONNECTIONS + 1) * REGION_BYTES)
#define SHARED_OFFSET (NR_CONNECTIONS * REGION_BYTES)

/* The unit of the busy map: the smallest block of any configuration. */
#define SECTOR_BYTES 512
#define REGION_SECTORS (REGION_BYTES / SECTOR_BYTES)

#define MAX_KEYS 8

static const struct config {
  const char *name;
  uint32_t block_bytes;
  unsigned nr_threads;  /* nbdkit's, per connection */
  unsigned nr_requests; /* per connection */
  const char *keys[MAX_KEYS];
} configs[] = {
  { "irqmode=none", 512, NR_IN_FLIGHT, 4000, { "irqmode=none" } },
  { "irqmode=softirq", 512, NR_IN_FLIGHT, 3000, { "irqmode=softirq" } },
  { "irqmode=timer",
    512,
    NR_IN_FLIGHT,
    3000,
    { "irqmode=timer", "completion_nsec=50us" } },
  { "io_timeout armed", 512, NR_IN_FLIGHT, 3000, { "io_timeout=300s" } },
  { "4 hctxs",
    512,
    NR_IN_FLIGHT,
    3000,
    { "submit_queues=4", "irqmode=timer", "completion_nsec=50us" } },
  { "one tag for 512 requests",
    512,
    NR_IN_FLIGHT,
    1500,
    { "hw_queue_depth=1", "irqmode=softirq" } },
  { "8 KiB requests, two tags",
    512,
    NR_IN_FLIGHT,
    1500,
    { "max_sectors=16", "hw_queue_depth=2", "submit_queues=2" } },
  { "blocks of 4096", 4096, NR_IN_FLIGHT, 3000, { "blocksize=4096" } },
  { "nbdkit's own number of threads", 512, 16, 3000, { "submit_queues=2" } },
};

enum op { READ, READ_SHARED, WRITE, TRIM, ZERO, FLUSH, CACHE, NR_OPS };

static const char *const op_names[NR_OPS]
    = { "read", "shared read", "write", "trim", "zero", "flush", "cache" };

/* Of a hundred requests; reads of the shared region come on top of reads. */
static const unsigned op_weights[NR_OPS] = { 30, 15, 33, 8, 8, 3, 3 };

struct connection;

struct slot {
  struct connection *conn;
  enum op op;
  uint64_t offset;
  size_t bytes;
  unsigned char *data; /* reads and writes */
  bool busy;
  bool done; /* set in the callback, acted on in the loop */
  int error;
};

struct connection {
  struct nbd_handle *nbd;
  unsigned index;
  uint64_t random;
  unsigned nr_left; /* requests still to be sent */
  unsigned nr_in_flight;
  unsigned max_in_flight;
  struct slot slots[NR_IN_FLIGHT];

  /* A sector's readers in flight, or -1: one that changes it. */
  int16_t sector_users[REGION_SECTORS];
};

static struct connection connections[NR_CONNECTIONS];
static unsigned char *shadow; /* of the whole disk */
static uint64_t nr_done[NR_OPS];

/* Data that differs in every 8 bytes of every write, so that a sector in the
 * wrong place or from the wrong request shows.
 */
static void
fill (uint64_t *random, unsigned char *data, size_t bytes)
{
  for (size_t i = 0; i < bytes; i += sizeof (uint64_t)) {
    uint64_t value = random_next (random);

    memcpy (data + i, &value, sizeof value);
  }
}

static enum op
pick_op (uint64_t *random)
{
  unsigned n = (unsigned)random_below (random, 100);
  unsigned op;

  for (op = 0; op < NR_OPS - 1 && n >= op_weights[op]; op++)
    n -= op_weights[op];
  return op;
}

/* Mostly small, as random I/O is; one in 16 up to 256 KiB. */
static size_t
pick_length (uint64_t *random, uint32_t block_bytes)
{
  uint64_t max_blocks
      = (random_below (random, 16) == 0 ? 256 * 1024 : 16 * 1024) / block_bytes;

  return (size_t)((1 + random_below (random, max_blocks)) * block_bytes);
}

static bool
changes_data (enum op op)
{
  return op == WRITE || op == TRIM || op == ZERO;
}

/* Whether the busy map concerns this request at all. */
static bool
uses_own_region (enum op op)
{
  return op != READ_SHARED && op != FLUSH;
}

static bool
is_free (const struct connection *conn, const struct slot *slot)
{
  uint64_t first = slot->offset % REGION_BYTES / SECTOR_BYTES;

  for (uint64_t i = 0; i < slot->bytes / SECTOR_BYTES; i++) {
    int16_t users = conn->sector_users[first + i];

    if (users < 0 || (users > 0 && changes_data (slot->op)))
      return false;
  }
  return true;
}

static void
mark (struct connection *conn, const struct slot *slot, int direction)
{
  uint64_t first = slot->offset % REGION_BYTES / SECTOR_BYTES;
  int16_t by = (int16_t)(changes_data (slot->op) ? -direction : direction);

  for (uint64_t i = 0; i < slot->bytes / SECTOR_BYTES; i++)
    conn->sector_users[first + i]
        = (int16_t)(conn->sector_users[first + i] + by);
}

/* Choose a place.  False: the tries all hit something in flight. */
static bool
place (struct connection *conn, struct slot *slot, uint32_t block_bytes)
{
  uint64_t region
      = slot->op == READ_SHARED ? SHARED_OFFSET : conn->index * REGION_BYTES;

  slot->offset = 0;
  slot->bytes = 0;
  if (slot->op == FLUSH)
    return true;
  for (int tries = 0; tries < 100; tries++) {
    slot->bytes = pick_length (&conn->random, block_bytes);
    slot->offset
        = region
          + random_below (&conn->random,
                          (REGION_BYTES - slot->bytes) / block_bytes + 1)
                * block_bytes;
    if (!uses_own_region (slot->op) || is_free (conn, slot))
      return true;
  }
  return false;
}

/* Runs with the handle's lock held: take down the result, nothing else. */
static int
request_done (void *opaque, int *error)
{
  struct slot *slot = opaque;

  slot->error = *error;
  slot->done = true;
  return 1; /* retire the command */
}

static void
send_request (struct connection *conn, struct slot *slot)
{
  nbd_completion_callback done
      = { .callback = request_done, .user_data = slot };
  struct nbd_handle *nbd = conn->nbd;
  uint32_t fua = random_below (&conn->random, 8) == 0 ? LIBNBD_CMD_FLAG_FUA : 0;
  int64_t cookie = -1;

  slot->conn = conn;
  slot->busy = true;
  slot->done = false;
  if (uses_own_region (slot->op))
    mark (conn, slot, 1);
  if (slot->op == READ || slot->op == READ_SHARED || slot->op == WRITE)
    slot->data = xcalloc (1, slot->bytes);

  switch (slot->op) {
  case READ:
  case READ_SHARED:
    /* What the server fails to fill in must not look right by chance. */
    memset (slot->data, 0xdb, slot->bytes);
    cookie
        = nbd_aio_pread (nbd, slot->data, slot->bytes, slot->offset, done, 0);
    break;
  case WRITE:
    fill (&conn->random, slot->data, slot->bytes);
    cookie = nbd_aio_pwrite (nbd, slot->data, slot->bytes, slot->offset, done,
                             fua);
    break;
  case TRIM:
    cookie = nbd_aio_trim (nbd, slot->bytes, slot->offset, done, fua);
    break;
  case ZERO:
    cookie = nbd_aio_zero (
        nbd, slot->bytes, slot->offset, done,
        fua | (random_below (&conn->random, 2) ? LIBNBD_CMD_FLAG_NO_HOLE : 0));
    break;
  case FLUSH:
    cookie = nbd_aio_flush (nbd, done, 0);
    break;
  case CACHE:
    cookie = nbd_aio_cache (nbd, slot->bytes, slot->offset, done, 0);
    break;
  case NR_OPS:
    abort ();
  }
  if (cookie == -1)
    die_nbd ("sending a %s", op_names[slot->op]);
}

static void
compare (const unsigned char *data, uint64_t offset, size_t bytes,
         const char *what)
{
  if (memcmp (data, shadow + offset, bytes) == 0)
    return;
  for (size_t i = 0; i < bytes; i++) {
    if (data[i] != shadow[offset + i])
      die ("%s at %" PRIu64 ": byte %" PRIu64
           " is 0x%02x where 0x%02x was written",
           what, offset, offset + i, data[i], shadow[offset + i]);
  }
}

/* The answer to a request arrived: hold it against the shadow. */
static void
finish_request (struct connection *conn, struct slot *slot)
{
  if (slot->error != 0)
    die ("connection %u: %s of %zu bytes at %" PRIu64 ": %s", conn->index,
         op_names[slot->op], slot->bytes, slot->offset, strerror (slot->error));

  switch (slot->op) {
  case READ:
  case READ_SHARED:
    compare (slot->data, slot->offset, slot->bytes, op_names[slot->op]);
    break;
  case WRITE:
    memcpy (shadow + slot->offset, slot->data, slot->bytes);
    break;
  case TRIM:
  case ZERO:
    memset (shadow + slot->offset, 0, slot->bytes);
    break;
  case FLUSH:
  case CACHE:
  case NR_OPS:
    break;
  }
  if (uses_own_region (slot->op))
    mark (conn, slot, -1);
  free (slot->data);
  slot->data = NULL;
  slot->busy = false;
  conn->nr_in_flight--;
  nr_done[slot->op]++;
}

/* Take what has arrived, then fill up. */
static void
serve_connection (struct connection *conn, uint32_t block_bytes)
{
  for (unsigned i = 0; i < NR_IN_FLIGHT; i++) {
    struct slot *slot = &conn->slots[i];

    if (slot->busy && slot->done)
      finish_request (conn, slot);
    if (slot->busy || conn->nr_left == 0)
      continue;
    slot->op = pick_op (&conn->random);
    if (!place (conn, slot, block_bytes))
      continue;
    send_request (conn, slot);
    conn->nr_left--;
    if (++conn->nr_in_flight > conn->max_in_flight)
      conn->max_in_flight = conn->nr_in_flight;
  }
}

/* Write the shared region once, through one connection. */
static void
write_shared_region (struct nbd_handle *nbd, uint64_t *random)
{
  fill (random, shadow + SHARED_OFFSET, REGION_BYTES);
  if (nbd_pwrite (nbd, shadow + SHARED_OFFSET, REGION_BYTES, SHARED_OFFSET, 0)
      == -1)
    die_nbd ("writing the shared region");
}

struct extents {
  uint64_t offset; /* where the next entry starts */
  uint64_t nr_holes;
};

/* A range that is said to read as zeros must do so. */
static int
check_extent (void *opaque, const char *context, uint64_t offset,
              uint32_t *entries, size_t nr_entries, int *error)
{
  struct extents *extents = opaque;

  (void)error;
  if (strcmp (context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0)
    return 0;
  for (size_t i = 0; i + 1 < nr_entries; i += 2) {
    if (entries[i + 1] & LIBNBD_STATE_ZERO) {
      extents->nr_holes++;
      for (uint64_t j = offset; j < offset + entries[i] && j < DISK_BYTES; j++)
        if (shadow[j] != 0)
          die ("byte %" PRIu64 " is 0x%02x but lies in an extent of zeros", j,
               shadow[j]);
    }
    offset += entries[i];
  }
  extents->offset = offset;
  return 0;
}

/* The whole disk once more, over a connection that took no part. */
static void
check_disk (void)
{
  struct nbd_handle *nbd = server_connect ();
  nbd_extent_callback callback = { .callback = check_extent };
  struct extents extents = { 0, 0 };
  unsigned char *data = xcalloc (1, REGION_BYTES);

  for (uint64_t offset = 0; offset < DISK_BYTES; offset += REGION_BYTES) {
    if (nbd_pread (nbd, data, REGION_BYTES, offset, 0) == -1)
      die_nbd ("reading %" PRIu64, offset);
    compare (data, offset, REGION_BYTES, "the last look");
  }
  free (data);

  callback.user_data = &extents;
  while (extents.offset < DISK_BYTES) {
    uint64_t from = extents.offset;

    if (nbd_block_status (nbd, DISK_BYTES - from, from, callback, 0) == -1)
      die_nbd ("extents from %" PRIu64, from);
    if (extents.offset <= from)
      die ("no extents from %" PRIu64, from);
  }
  printf ("  extents of zeros: %" PRIu64 "\n", extents.nr_holes);
  if (extents.nr_holes == 0)
    die ("what was trimmed is not reported as zeros");
  if (nbd_shutdown (nbd, 0) == -1)
    die_nbd ("shutdown");
  nbd_close (nbd);
}

static void
run (const struct config *config, uint64_t seed)
{
  const char *keys[MAX_KEYS + 2];
  struct nbd_handle *handles[NR_CONNECTIONS];
  char size[32];
  size_t n = 0;

  snprintf (size, sizeof size, "size=%" PRIu64, DISK_BYTES);
  keys[n++] = size;
  for (size_t i = 0; i < MAX_KEYS && config->keys[i] != NULL; i++)
    keys[n++] = config->keys[i];
  keys[n] = NULL;
  printf ("%s\n", config->name);
  fflush (stdout);
  server_start (config->nr_threads, keys);

  memset (shadow, 0, DISK_BYTES);
  memset (nr_done, 0, sizeof nr_done);
  memset (connections, 0, sizeof connections);
  for (unsigned i = 0; i < NR_CONNECTIONS; i++) {
    struct connection *conn = &connections[i];

    conn->index = i;
    conn->random = seed + i;
    conn->nr_left = config->nr_requests;
    conn->nbd = handles[i] = server_connect ();
    if (nbd_can_multi_conn (conn->nbd) != 1)
      die ("multi-conn is not offered");
    if (nbd_get_block_size (conn->nbd, LIBNBD_SIZE_MINIMUM)
        != config->block_bytes)
      die ("the minimum block size is not %" PRIu32, config->block_bytes);
  }
  write_shared_region (connections[0].nbd, &seed);

  for (;;) {
    /* Connections that are done are left out: they would never move. */
    size_t nr_active = 0;

    for (unsigned i = 0; i < NR_CONNECTIONS; i++) {
      struct connection *conn = &connections[i];

      serve_connection (conn, config->block_bytes);
      if (conn->nr_in_flight > 0)
        handles[nr_active++] = conn->nbd;
      else if (conn->nr_left > 0)
        die ("no room for a request on an idle connection");
    }
    if (nr_active == 0)
      break;
    poll_connections (handles, nr_active);
  }

  for (unsigned i = 0; i < NR_CONNECTIONS; i++) {
    if (connections[i].max_in_flight != NR_IN_FLIGHT)
      die ("connection %u had only %u in flight", i,
           connections[i].max_in_flight);
    if (nbd_shutdown (connections[i].nbd, 0) == -1)
      die_nbd ("shutdown");
    nbd_close (connections[i].nbd);
  }
  check_disk ();
  server_stop ();

  printf (" ");
  for (unsigned op = 0; op < NR_OPS; op++) {
    if (nr_done[op] == 0)
      die ("not one %s was sent", op_names[op]);
    printf (" %s: %" PRIu64, op_names[op], nr_done[op]);
  }
  printf ("\n");
}

int
main (void)
{
  uint64_t seed = test_seed ();

  shadow = xcalloc (1, DISK_BYTES);
  for (size_t i = 0; i < ARRAY_SIZE (configs); i++)
    run (&configs[i], seed + 1000 * i);
  free (shadow);
  return EXIT_SUCCESS;
}
