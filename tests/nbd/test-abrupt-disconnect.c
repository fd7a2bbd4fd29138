/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test-abrupt-disconnect.c: clients that vanish, each in the middle of one
 * request, while a witness on a connection of its own goes on writing and
 * reading.  No tag may be lost by it: the queue is two tags deep, and far more
 * clients than that vanish.
 *
 * nbdkit 1.32 itself, with any plugin, may abort when a client goes away
 * between two of the sends that answer it.  Hence one request a client, no
 * request whose reply is read in part, and reads (whose reply takes more than
 * one send) only where the disk takes its time, so that the client is gone
 * long before the reply.
 * One thread.
 */

#define _DEFAULT_SOURCE 1 /* htobe64 */

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "nbd-test.h"

#define NR_CLIENTS 12 /* that vanish together */

#define WITNESS_BYTES (64 * 1024)
#define CLIENT_OFFSET (1024 * 1024) /* theirs: away from the witness's */
#define REQUEST_BYTES 4096

static const struct config {
  const char *name;
  unsigned nr_rounds;
  bool reads; /* see above */
  const char *keys[5];
} configs[] = {
  { "irqmode=none", 10, false, { "size=16M", "hw_queue_depth=2" } },
  { "irqmode=softirq",
    10,
    false,
    { "size=16M", "hw_queue_depth=2", "irqmode=softirq" } },
  { "irqmode=timer",
    1,
    true,
    { "size=16M", "hw_queue_depth=2", "irqmode=timer",
      "completion_nsec=200ms" } },
};

/* What a client has under way when it vanishes. */
enum kind {
  READ,
  WRITE,
  TRIM,
  ZERO,
  FLUSH,
  PART_OF_WRITE, /* the payload is never sent to its end */
  NR_KINDS
};

static const char *const kind_names[NR_KINDS]
    = { "read", "write", "trim", "zero", "flush", "part of a write" };

static unsigned char data[REQUEST_BYTES]; /* zeros */

/* The answer may come before the client vanishes; it is not waited for. */
static int
no_matter (void *opaque, int *error)
{
  (void)opaque;
  (void)error;
  return 1;
}

static void
wait_until_writable (struct nbd_handle *nbd)
{
  struct pollfd fd = { .fd = nbd_aio_get_fd (nbd), .events = POLLOUT };

  expect_progress ();
  if (poll (&fd, 1, -1) != 1)
    die ("poll: %s", strerror (errno));
}

/* libnbd would send all of it, so this goes to the socket directly: a request
 * as the protocol has it, and half of the payload that it announces.
 */
static void
send_part_of_write (struct nbd_handle *nbd)
{
  struct __attribute__ ((packed)) {
    uint32_t magic;
    uint16_t flags;
    uint16_t type;
    uint64_t cookie;
    uint64_t offset;
    uint32_t bytes;
    unsigned char payload[REQUEST_BYTES / 2];
  } part = {
    .magic = htobe32 (0x25609513),
    .type = htobe16 (1), /* NBD_CMD_WRITE */
    .offset = htobe64 (CLIENT_OFFSET),
    .bytes = htobe32 (REQUEST_BYTES),
  };

  memset (part.payload, 0xff, sizeof part.payload);
  if (send (nbd_aio_get_fd (nbd), &part, sizeof part, MSG_NOSIGNAL)
      != (ssize_t)sizeof part)
    die ("sending %s: %s", kind_names[PART_OF_WRITE], strerror (errno));
}

static void
send_request (struct nbd_handle *nbd, enum kind kind)
{
  nbd_completion_callback done = { .callback = no_matter };
  int64_t cookie = -1;

  switch (kind) {
  case READ:
    cookie = nbd_aio_pread (nbd, data, REQUEST_BYTES, CLIENT_OFFSET, done, 0);
    break;
  case WRITE:
    cookie = nbd_aio_pwrite (nbd, data, REQUEST_BYTES, CLIENT_OFFSET, done, 0);
    break;
  case TRIM:
    cookie = nbd_aio_trim (nbd, REQUEST_BYTES, CLIENT_OFFSET, done, 0);
    break;
  case ZERO:
    cookie = nbd_aio_zero (nbd, REQUEST_BYTES, CLIENT_OFFSET, done, 0);
    break;
  case FLUSH:
    cookie = nbd_aio_flush (nbd, done, 0);
    break;
  case PART_OF_WRITE:
    send_part_of_write (nbd);
    return;
  case NR_KINDS:
    abort ();
  }
  if (cookie == -1)
    die_nbd ("sending a %s", kind_names[kind]);

  while (nbd_aio_get_direction (nbd) & LIBNBD_AIO_DIRECTION_WRITE) {
    wait_until_writable (nbd);
    if (nbd_aio_notify_write (nbd) == -1)
      die_nbd ("sending a %s", kind_names[kind]);
  }
}

/* The witness's data survives, and its requests are served. */
static void
bear_witness (struct nbd_handle *nbd, uint64_t *random)
{
  unsigned char written[WITNESS_BYTES], found[WITNESS_BYTES];

  expect_progress ();
  for (size_t i = 0; i < sizeof written; i += sizeof (uint64_t)) {
    uint64_t value = random_next (random);

    memcpy (written + i, &value, sizeof value);
  }
  if (nbd_pwrite (nbd, written, sizeof written, 0, LIBNBD_CMD_FLAG_FUA) == -1)
    die_nbd ("the witness cannot write");
  if (nbd_pread (nbd, found, sizeof found, 0, 0) == -1)
    die_nbd ("the witness cannot read");
  if (memcmp (written, found, sizeof written) != 0)
    die ("the witness's data was changed");
  server_check_alive ();
}

/* The clients write nothing but zeros, except for those whose payload is cut
 * off: nothing of that may reach the disk.
 */
static void
check_part_was_dropped (struct nbd_handle *nbd)
{
  unsigned char found[REQUEST_BYTES];

  if (nbd_pread (nbd, found, sizeof found, CLIENT_OFFSET, 0) == -1)
    die_nbd ("the witness cannot read");
  if (memcmp (data, found, sizeof data) != 0)
    die ("part of a write reached the disk");
}

static void
run (const struct config *config, uint64_t *random)
{
  struct nbd_handle *witness, *clients[NR_CLIENTS];
  const char *keys[ARRAY_SIZE (config->keys) + 1];
  unsigned nr_vanished = 0;
  size_t n;

  for (n = 0; n < ARRAY_SIZE (config->keys) && config->keys[n] != NULL; n++)
    keys[n] = config->keys[n];
  keys[n] = NULL;
  server_start (4, keys);
  witness = server_connect ();
  bear_witness (witness, random);

  for (unsigned round = 0; round < config->nr_rounds; round++) {
    for (unsigned kind = 0; kind < NR_KINDS; kind++) {
      if (kind == READ && !config->reads)
        continue;
      for (unsigned i = 0; i < NR_CLIENTS; i++)
        clients[i] = server_connect ();
      for (unsigned i = 0; i < NR_CLIENTS; i++)
        send_request (clients[i], kind);
      /* Closes the socket at once: no NBD_CMD_DISC, nothing is awaited. */
      for (unsigned i = 0; i < NR_CLIENTS; i++)
        nbd_close (clients[i]);
      nr_vanished += NR_CLIENTS;
      bear_witness (witness, random);
    }
  }

  check_part_was_dropped (witness);
  if (nbd_shutdown (witness, 0) == -1)
    die_nbd ("shutdown");
  nbd_close (witness);
  server_stop ();
  printf ("%s: %d clients vanished\n", config->name, nr_vanished);
  fflush (stdout);
}

int
main (void)
{
  uint64_t random = test_seed ();

  for (size_t i = 0; i < ARRAY_SIZE (configs); i++)
    run (&configs[i], &random);
  return EXIT_SUCCESS;
}
