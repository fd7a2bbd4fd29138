/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nbd-libnbd.c: keeps requests in flight on one connection with libnbd, which
 * speaks TLS.  Its report is that of nbd-pipeline as far as it goes.
 *
 *     nbd-libnbd URI OP ACCESS BLOCK DEPTH WARMUP SECONDS SEED SERVER-PID
 *     nbd-libnbd URI fill
 */

#include <config.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <libnbd.h>

#include "latency.h"

#define MAX_DEPTH 128
#define FILL_BYTES (UINT64_C (1) << 20)

struct slot {
  struct run *run;
  unsigned char *data;
  uint64_t start_ns;
  bool is_busy;
};

static struct run {
  struct nbd_handle *nbd;
  bool is_write, is_random;
  uint64_t block_bytes, nr_blocks, random, next;
  unsigned depth, nr_busy;
  struct slot slots[MAX_DEPTH];
  uint64_t nr_done;
  struct latency latency;
} run;

static void __attribute__ ((noreturn)) die (void)
{
  fprintf (stderr, "nbd-libnbd: %s\n", nbd_get_error ());
  exit (1);
}

static uint64_t
clock_ns (clockid_t clock)
{
  struct timespec now;

  clock_gettime (clock, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Its end is noted by whoever waits: an answer is no place to ask from. */
static int
end_request (void *opaque, int *error)
{
  struct slot *slot = opaque;

  if (*error != 0) {
    fprintf (stderr, "nbd-libnbd: a request failed: error %d\n", *error);
    exit (1);
  }
  latency_record (&slot->run->latency,
                  clock_ns (CLOCK_MONOTONIC) - slot->start_ns);
  slot->run->nr_done++;
  slot->run->nr_busy--;
  slot->is_busy = false;
  return 1;
}

static uint64_t
next_offset (void)
{
  uint64_t block;

  if (run.is_random) {
    run.random
        = run.random * UINT64_C (6364136223846793005) + 1442695040888963407;
    block = (run.random >> 33) % run.nr_blocks;
  } else
    block = run.next++ % run.nr_blocks;
  return block * run.block_bytes;
}

static void
start_request (struct slot *slot)
{
  nbd_completion_callback callback
      = { .callback = end_request, .user_data = slot };
  uint64_t offset = next_offset ();
  int64_t cookie;

  slot->start_ns = clock_ns (CLOCK_MONOTONIC);
  slot->is_busy = true;
  run.nr_busy++;
  cookie = run.is_write ? nbd_aio_pwrite (run.nbd, slot->data, run.block_bytes,
                                          offset, callback, 0)
                        : nbd_aio_pread (run.nbd, slot->data, run.block_bytes,
                                         offset, callback, 0);
  if (cookie < 0)
    die ();
}

/* Until the clock says END_NS, and then until nothing is in flight. */
static void
keep_busy (uint64_t end_ns)
{
  bool goes_on = true;

  while (goes_on || run.nr_busy > 0) {
    goes_on = goes_on && clock_ns (CLOCK_MONOTONIC) < end_ns;
    for (unsigned i = 0; goes_on && i < run.depth; i++)
      if (!run.slots[i].is_busy)
        start_request (&run.slots[i]);
    if (run.nr_busy > 0 && nbd_poll (run.nbd, -1) < 0)
      die ();
  }
}

static void
fill (int64_t bytes)
{
  unsigned char *data = malloc (FILL_BYTES);

  if (data == NULL)
    die ();
  for (uint64_t at = 0; at + FILL_BYTES <= (uint64_t)bytes; at += FILL_BYTES) {
    memset (data, (int)(1 + at / FILL_BYTES % 255), FILL_BYTES);
    if (nbd_pwrite (run.nbd, data, FILL_BYTES, at, 0) < 0)
      die ();
  }
  free (data);
}

static double
us (uint64_t ns)
{
  return (double)ns / 1e3;
}

static void
measure (double warmup_s, double s, long server_pid)
{
  /* The clock of another process' CPU time, as clock_getcpuclockid has it. */
  clockid_t server = (clockid_t)((~(unsigned)server_pid << 3) | 2);
  uint64_t start_ns, client_ns, server_ns;
  double nr;

  keep_busy (clock_ns (CLOCK_MONOTONIC) + (uint64_t)(warmup_s * 1e9));
  latency_reset (&run.latency);
  run.nr_done = 0;
  server_ns = clock_ns (server);
  client_ns = clock_ns (CLOCK_PROCESS_CPUTIME_ID);
  start_ns = clock_ns (CLOCK_MONOTONIC);
  keep_busy (start_ns + (uint64_t)(s * 1e9));
  start_ns = clock_ns (CLOCK_MONOTONIC) - start_ns;
  client_ns = clock_ns (CLOCK_PROCESS_CPUTIME_ID) - client_ns;
  server_ns = clock_ns (server) - server_ns;
  nr = (double)run.nr_done;
  printf ("{\"rate\": %.1f, \"server_cpu_us_per_request\": %.4f, "
          "\"client_cpu_busy\": %.4f,\n"
          " \"latency_us\": {\"p50\": %.2f, \"p99\": %.2f, \"p99.9\": %.2f}}\n",
          nr * 1e9 / (double)start_ns, us (server_ns) / nr,
          (double)client_ns / (double)start_ns,
          us (latency_percentile (&run.latency, 0.5)),
          us (latency_percentile (&run.latency, 0.99)),
          us (latency_percentile (&run.latency, 0.999)));
}

int
main (int argc, char **argv)
{
  int64_t bytes;

  if (argc != 3 && argc != 10) {
    fprintf (stderr, "nbd-libnbd URI OP ACCESS BLOCK DEPTH WARMUP SECONDS "
                     "SEED SERVER-PID\n"
                     "nbd-libnbd URI fill\n");
    return 2;
  }
  run.nbd = nbd_create ();
  if (run.nbd == NULL || nbd_set_uri_allow_local_file (run.nbd, true) < 0
      || nbd_connect_uri (run.nbd, argv[1]) < 0)
    die ();
  bytes = nbd_get_size (run.nbd);
  if (bytes < 0)
    die ();
  if (argc == 3)
    fill (bytes);
  else {
    run.is_write = strcmp (argv[2], "write") == 0;
    run.is_random = strcmp (argv[3], "random") == 0;
    run.block_bytes = strtoull (argv[4], NULL, 10);
    run.depth = (unsigned)strtoul (argv[5], NULL, 10);
    run.random = strtoull (argv[8], NULL, 10);
    if (run.depth < 1 || run.depth > MAX_DEPTH || run.block_bytes < 512
        || run.block_bytes > (uint64_t)bytes) {
      fprintf (stderr,
               "nbd-libnbd: depth 1 to %d, blocks of 512 bytes to the "
               "whole disk\n",
               MAX_DEPTH);
      return 2;
    }
    run.nr_blocks = (uint64_t)bytes / run.block_bytes;
    for (unsigned i = 0; i < run.depth; i++) {
      run.slots[i].run = &run;
      run.slots[i].data = calloc (1, run.block_bytes);
      if (run.slots[i].data == NULL)
        die ();
    }
    measure (strtod (argv[6], NULL), strtod (argv[7], NULL),
             strtol (argv[9], NULL, 10));
    for (unsigned i = 0; i < run.depth; i++)
      free (run.slots[i].data);
  }
  if (nbd_shutdown (run.nbd, 0) < 0)
    die ();
  nbd_close (run.nbd);
  return 0;
}
