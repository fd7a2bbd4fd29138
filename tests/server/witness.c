/* SPDX-License-Identifier: BSD-3-Clause
 *
 * witness.c: its thread.  Turn by turn: some changes at once, of which no two
 * touch the same place, then all of it is read in pieces.
 */

#include <config.h>

#include <string.h>

#include "witness.h"

#define NR_BLOCKS (WITNESS_BYTES / BLOCK_BYTES)

/* Each change has a slice of the part. */
#define SLICE_BYTES (WITNESS_BYTES / WITNESS_REQUESTS)

struct change {
  unsigned type;
  uint32_t offset_bytes, bytes; /* in the part */
};

static bool
bears (const struct witness *witness, uint32_t error)
{
  for (unsigned i = 0; i < NR (witness->borne_errors); i++)
    if (error != 0 && witness->borne_errors[i] == error)
      return true;
  return false;
}

static void
ask_for_change (struct witness *witness, unsigned index, struct change *change)
{
  static const unsigned types[] = { NBD_CMD_WRITE, NBD_CMD_WRITE, NBD_CMD_WRITE,
                                    NBD_CMD_TRIM, NBD_CMD_WRITE_ZEROES };
  struct rng *rng = &witness->rng;
  uint32_t first = (uint32_t)rng_below (rng, SLICE_BYTES / BLOCK_BYTES);
  uint32_t nr
      = 1 + (uint32_t)rng_below (rng, SLICE_BYTES / BLOCK_BYTES - first);
  uint32_t offset_bytes = index * SLICE_BYTES + first * BLOCK_BYTES;
  unsigned flags = rng_percent (rng, 10) ? NBD_CMD_FLAG_FUA : 0;

  change->type = types[rng_below (rng, NR (types))];
  change->offset_bytes = offset_bytes;
  change->bytes = nr * BLOCK_BYTES;
  if (change->type != NBD_CMD_WRITE) {
    memset (witness->data + offset_bytes, 0, change->bytes);
    client_ask (&witness->client, change->type, flags, index,
                witness->offset_bytes + offset_bytes, change->bytes);
    return;
  }
  for (uint32_t i = 0; i < change->bytes; i += sizeof (uint64_t)) {
    uint64_t value = rng_next (rng);

    memcpy (witness->data + offset_bytes + i, &value, sizeof value);
  }
  client_write (&witness->client, flags, index,
                witness->offset_bytes + offset_bytes,
                witness->data + offset_bytes, change->bytes);
}

/* In whatever order; each once. */
static void
take_answers (struct witness *witness, const struct change *changes)
{
  bool is_answered[WITNESS_REQUESTS] = { false };
  struct answer answer;

  for (unsigned i = 0; i < WITNESS_REQUESTS; i++) {
    const struct change *change;

    client_answer (&witness->client, &answer);
    require (answer.cookie < WITNESS_REQUESTS);
    require (!is_answered[answer.cookie]);
    is_answered[answer.cookie] = true;
    require (answer.error == 0 || bears (witness, answer.error));
    witness->nr_errors += answer.error != 0;
    change = &changes[answer.cookie];
    memcpy (witness->copy + change->offset_bytes,
            witness->data + change->offset_bytes, change->bytes);
    for (uint32_t at = 0; at < change->bytes; at += BLOCK_BYTES)
      witness->is_known[(change->offset_bytes + at) / BLOCK_BYTES]
          = answer.error == 0;
  }
}

static void
compare (struct witness *witness, const struct answer *answer)
{
  uint32_t offset_bytes = (uint32_t)(answer->cookie & UINT32_MAX);

  for (uint32_t at = 0; at < answer->bytes; at += BLOCK_BYTES)
    if (witness->is_known[(offset_bytes + at) / BLOCK_BYTES])
      require (memcmp (answer->data + at, witness->copy + offset_bytes + at,
                       BLOCK_BYTES)
               == 0);
}

/* The cookie of each has its place in the part. */
static void
read_all (struct witness *witness)
{
  struct answer answer;
  unsigned nr = 0;

  for (uint32_t at = 0, bytes; at < WITNESS_BYTES; at += bytes) {
    bytes = (uint32_t)(1 + rng_below (&witness->rng, 64)) * BLOCK_BYTES;
    if (bytes > WITNESS_BYTES - at)
      bytes = WITNESS_BYTES - at;
    client_ask (&witness->client, NBD_CMD_READ, 0, READ_COOKIE (bytes, at),
                witness->offset_bytes + at, bytes);
    nr++;
  }
  while (nr-- > 0) {
    client_answer (&witness->client, &answer);
    require (answer.error == 0 || bears (witness, answer.error));
    witness->nr_errors += answer.error != 0;
    if (answer.error == 0)
      compare (witness, &answer);
  }
}

static void *
bear_witness (void *opaque)
{
  struct witness *witness = opaque;
  struct change changes[WITNESS_REQUESTS];

  while (!witness->must_end) {
    for (unsigned i = 0; i < WITNESS_REQUESTS; i++)
      ask_for_change (witness, i, &changes[i]);
    take_answers (witness, changes);
    read_all (witness);
    witness->nr_turns++;
  }
  return NULL;
}

void
witness_start (struct witness *witness, struct rig *rig, unsigned features,
               unsigned index, const uint32_t borne_errors[4])
{
  memset (witness, 0, sizeof *witness);
  if (borne_errors != NULL)
    memcpy (witness->borne_errors, borne_errors, sizeof witness->borne_errors);
  witness->copy = calloc (1, WITNESS_BYTES);
  witness->data = calloc (1, WITNESS_BYTES);
  witness->is_known = malloc (NR_BLOCKS * sizeof (bool));
  require (witness->copy != NULL && witness->data != NULL
           && witness->is_known != NULL);
  /* Nobody has written before. */
  memset (witness->is_known, true, NR_BLOCKS * sizeof (bool));
  witness->offset_bytes = (uint64_t)index * WITNESS_BYTES;
  rng_init (&witness->rng, 1000 + index);
  client_open (&witness->client, rig, features);
  require (witness->offset_bytes + WITNESS_BYTES <= witness->client.size_bytes);
  witness->thread = thread_start (bear_witness, witness);
}

void
witness_await (struct witness *witness, unsigned nr)
{
  unsigned wanted = witness->nr_turns + nr;

  await (witness->nr_turns >= wanted);
}

void
witness_end (struct witness *witness)
{
  witness->must_end = true;
  thread_join (witness->thread);
  client_close (&witness->client);
  free (witness->copy);
  free (witness->data);
  free (witness->is_known);
}
