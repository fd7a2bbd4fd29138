/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz-negotiate.c: the handshake.  The input's first byte says in which
 * pieces the rest comes, and whether the server has TLS or demands it; what
 * comes after NBD_OPT_STARTTLS came under it.  Whatever it is, in pieces it is
 * answered as at once, answers are whole replies, and memory has bounds.  One
 * thread.
 */

#include <config.h>

#include <string.h>

#include "disks.h"
#include "fuzz.h"
#include "server/nbd.h"
#include "server/negotiate.h"

#define GREETING_BYTES 18u
#define REPLY_HEAD_BYTES 20u
#define MAX_REQUEST_BYTES (32u << 20)

/* The longest option, doubled since room grows by doubling; and what may be
 * unsent with the longest answer, that to a list. */
#define MAX_DATA_ROOM (2 * 65536u)
#define MAX_OUT_BYTES (65536u + 8192u)

static struct exports *exports;

int
LLVMFuzzerInitialize (int *argc, char ***argv)
{
  exports = disks_alloc ();
  return 0;
}

static void
check_bounds (const struct negotiation *negotiation, size_t nr, size_t taken)
{
  require (taken <= nr);
  require (negotiation->state != NEGOTIATION_RUNS || taken == nr);
  require (negotiation->priv.data_room <= MAX_DATA_ROOM);
  require (negotiation->out_bytes <= MAX_OUT_BYTES);
  require (negotiation->out_bytes <= negotiation->out_room);
}

/* What was said before is to be compared, too. */
static void
begin_tls (struct negotiation *negotiation)
{
  size_t out_bytes = negotiation->out_bytes;

  require (!negotiation->priv.is_under_tls);
  require (negotiation->priv.tls != NEGOTIATION_TLS_OFF);
  negotiation->out_bytes = 0;
  negotiation_has_tls (negotiation);
  negotiation->out_bytes = out_bytes;
  require (negotiation->state == NEGOTIATION_RUNS);
  require (!negotiation->structured_replies);
}

/* Returns how many bytes were taken.  PIECE_BYTES 0: at once. */
static size_t
feed (struct negotiation *negotiation, enum negotiation_tls tls,
      const uint8_t *input, size_t bytes, size_t piece_bytes)
{
  size_t at = 0;

  negotiation_begin (negotiation, exports, MAX_REQUEST_BYTES, tls);
  while (at < bytes && negotiation->state == NEGOTIATION_RUNS) {
    size_t nr = bytes - at, taken;

    if (piece_bytes > 0 && nr > piece_bytes)
      nr = piece_bytes;
    taken = negotiation_feed (negotiation, input + at, nr);
    check_bounds (negotiation, nr, taken);
    at += taken;
    if (negotiation->state == NEGOTIATION_START_TLS)
      begin_tls (negotiation);
  }
  return at;
}

/* All but the greeting, and what ends an EXPORT_NAME, are replies. */
static void
check_replies (const struct negotiation *negotiation)
{
  const uint8_t *p = negotiation->out + GREETING_BYTES;
  const uint8_t *end = negotiation->out + negotiation->out_bytes;

  while (end - p >= REPLY_HEAD_BYTES && nbd_get64 (p) == NBD_REP_MAGIC) {
    uint32_t bytes = nbd_get32 (p + 16);

    require (bytes <= (size_t)(end - p) - REPLY_HEAD_BYTES);
    p += REPLY_HEAD_BYTES + bytes;
  }
  if (negotiation->state != NEGOTIATION_DONE)
    require (p == end);
  else
    require (end - p == 0 || end - p == 10 || end - p == 134);
}

static void
check_state (const struct negotiation *negotiation)
{
  require (negotiation->state == NEGOTIATION_CLOSE
           || negotiation->why[0] == '\0');
  require (memchr (negotiation->why, '\0', sizeof negotiation->why) != NULL);
  if (negotiation->state != NEGOTIATION_DONE)
    return;
  require (negotiation->export != NULL);
  require (negotiation->priv.tls != NEGOTIATION_TLS_REQUIRED
           || negotiation->priv.is_under_tls);
  require (!negotiation->context_allocation || negotiation->structured_replies);
}

int
LLVMFuzzerTestOneInput (const uint8_t *input, size_t bytes)
{
  struct negotiation whole, parts;
  size_t whole_taken, parts_taken;
  enum negotiation_tls tls;

  if (bytes < 1)
    return 0;
  tls = input[0] % 3;
  whole_taken = feed (&whole, tls, input + 1, bytes - 1, 0);
  parts_taken = feed (&parts, tls, input + 1, bytes - 1, 1 + input[0]);

  check_replies (&whole);
  check_state (&whole);
  require (whole.state == parts.state);
  require (whole.state == NEGOTIATION_CLOSE || whole_taken == parts_taken);
  require (whole.export == parts.export);
  require (whole.structured_replies == parts.structured_replies);
  require (whole.context_allocation == parts.context_allocation);
  require (strcmp (whole.why, parts.why) == 0);
  require (whole.out_bytes == parts.out_bytes);
  require (memcmp (whole.out, parts.out, whole.out_bytes) == 0);
  negotiation_end (&whole);
  negotiation_end (&parts);
  return 0;
}
