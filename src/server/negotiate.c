/* SPDX-License-Identifier: BSD-3-Clause
 *
 * negotiate.c: the frame of the handshake: greeting, flags, and one option
 * after the other, from pieces of any size; and what is sent.  What an option
 * means is in negotiate-options.c.  One thread at a time for each negotiation.
 */

#include <config.h>

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "front/keys.h"
#include "server/negotiate-internal.h"

#define HANDSHAKE_FLAGS (NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)

#define GREETING_BYTES 18u
#define CLIENT_FLAGS_BYTES 4u
#define OPTION_HEAD_BYTES 16u
#define REPLY_HEAD_BYTES 20u

/* An option longer than MAX_OPTION_BYTES is skipped and refused; one that is
 * longer than this is nothing that a client means. */
#define MAX_SKIPPED_BYTES (1u << 20)

/* Clients that look at all exports need several options for each. */
#define MAX_OPTIONS 64u
#define MAX_OPTIONS_PER_EXPORT 16u

/* With so much to be sent no more options are answered.  A client has to wait
 * for one answer before it sends the next option, so this much is left only if
 * it does not read. */
#define MAX_UNSENT_BYTES 65536u

enum phase {
  PHASE_FLAGS,
  PHASE_HEAD, /* of an option */
  PHASE_DATA, /* of an option, kept */
  PHASE_SKIP, /* the same, not kept */
};

/* ---- what goes out ---- */

/* Longer than any answer but those of a list. */
#define FIRST_ROOM 512u

uint8_t *
negotiation_add (struct negotiation *negotiation, size_t bytes)
{
  size_t wanted = negotiation->out_bytes + bytes;
  size_t room = negotiation->out_room;
  uint8_t *out;

  if (wanted > room) {
    room = room > 0 ? room : FIRST_ROOM;
    while (room < wanted)
      room *= 2;
    out = realloc (negotiation->out, room);
    if (out == NULL) {
      negotiation->priv.no_memory = true;
      return NULL;
    }
    negotiation->out = out;
    negotiation->out_room = room;
  }
  out = negotiation->out + negotiation->out_bytes;
  negotiation->out_bytes = wanted;
  return out;
}

uint8_t *
negotiation_reply (struct negotiation *negotiation, uint32_t type, size_t bytes)
{
  uint8_t *p = negotiation_add (negotiation, REPLY_HEAD_BYTES + bytes);

  if (p == NULL)
    return NULL;
  nbd_put64 (p, NBD_REP_MAGIC);
  nbd_put32 (p + 8, negotiation->priv.option);
  nbd_put32 (p + 12, type);
  nbd_put32 (p + 16, (uint32_t)bytes);
  return p + REPLY_HEAD_BYTES;
}

/* What clients are told has to be UTF-8, also where it repeats what they said,
 * or is cut off. */
static void __attribute__ ((format (printf, 3, 0)))
put_plain (char *text, size_t text_bytes, const char *format, va_list args)
{
  int wanted = vsnprintf (text, text_bytes, format, args);

  if (wanted >= (int)text_bytes)
    strcpy (text + text_bytes - 4, "...");
  while (*text != '\0') {
    size_t bytes = front_character_bytes (text);

    if (bytes == 0)
      *text = '?';
    text += bytes > 0 ? bytes : 1;
  }
}

void
negotiation_refuse (struct negotiation *negotiation, uint32_t type,
                    const char *format, ...)
{
  char text[2048];
  va_list args;
  uint8_t *p;

  va_start (args, format);
  put_plain (text, sizeof text, format, args);
  va_end (args);
  p = negotiation_reply (negotiation, type, strlen (text));
  if (p != NULL)
    memcpy (p, text, strlen (text));
}

void
negotiation_close (struct negotiation *negotiation, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  put_plain (negotiation->why, sizeof negotiation->why, format, args);
  va_end (args);
  negotiation->state = NEGOTIATION_CLOSE;
}

/* ---- what comes in ---- */

/* What the client has sent and was not taken yet. */
struct input {
  const uint8_t *bytes;
  size_t nr;
};

static const uint8_t *
take (struct input *input, size_t nr)
{
  const uint8_t *bytes = input->bytes;

  input->bytes += nr;
  input->nr -= nr;
  return bytes;
}

/* NR bytes, which are no more than an option's head.  NULL: they have not all
 * come. */
static const uint8_t *
take_head (struct negotiation *negotiation, struct input *input, uint32_t nr)
{
  uint32_t have = negotiation->priv.head_bytes;
  uint32_t more = nr - have;

  if (input->nr < more)
    more = (uint32_t)input->nr;
  memcpy (negotiation->priv.head + have, take (input, more), more);
  negotiation->priv.head_bytes = have + more;
  if (have + more < nr)
    return NULL;
  negotiation->priv.head_bytes = 0;
  return negotiation->priv.head;
}

/* Room for what has come, and not for what a client only says that it will
 * send. */
static bool
make_data_room (struct negotiation *negotiation, uint32_t wanted)
{
  uint32_t room = negotiation->priv.data_room;
  uint8_t *data;

  if (wanted <= room)
    return true;
  room = room > 0 ? room : FIRST_ROOM;
  while (room < wanted)
    room *= 2;
  data = realloc (negotiation->priv.data, room);
  if (data == NULL)
    return false;
  negotiation->priv.data = data;
  negotiation->priv.data_room = room;
  return true;
}

static void
free_data (struct negotiation *negotiation)
{
  free (negotiation->priv.data);
  negotiation->priv.data = NULL;
  negotiation->priv.data_bytes = negotiation->priv.data_room = 0;
}

/* The data of the option, which stays until the next call.  NULL: it has not
 * all come, or there is no memory for what has, and then the state is CLOSE. */
static const uint8_t *
take_data (struct negotiation *negotiation, struct input *input)
{
  uint32_t nr = negotiation->priv.option_bytes;
  uint32_t have = negotiation->priv.data_bytes;
  uint32_t more = nr - have;

  if (have == 0 && input->nr >= nr)
    return take (input, nr);
  if (input->nr < more)
    more = (uint32_t)input->nr;
  if (more == 0)
    return NULL;
  if (!make_data_room (negotiation, have + more)) {
    negotiation_close (negotiation,
                       "no memory for an option of %" PRIu32 " bytes", nr);
    return NULL;
  }
  memcpy (negotiation->priv.data + have, take (input, more), more);
  negotiation->priv.data_bytes = have + more;
  return have + more == nr ? negotiation->priv.data : NULL;
}

/* The same, of data that is not needed: true when it has all come. */
static bool
skip_data (struct negotiation *negotiation, struct input *input)
{
  uint32_t more = negotiation->priv.option_bytes - negotiation->priv.data_bytes;

  if (input->nr < more)
    more = (uint32_t)input->nr;
  take (input, more);
  negotiation->priv.data_bytes += more;
  return negotiation->priv.data_bytes == negotiation->priv.option_bytes;
}

/* ---- one after the other ---- */

static bool
read_flags (struct negotiation *negotiation, struct input *input)
{
  const uint8_t *head = take_head (negotiation, input, CLIENT_FLAGS_BYTES);
  uint32_t flags;

  if (head == NULL)
    return false;
  flags = nbd_get32 (head);
  negotiation->priv.client_flags = flags;
  negotiation->priv.phase = PHASE_HEAD;
  if ((flags & ~HANDSHAKE_FLAGS) != 0)
    negotiation_close (negotiation,
                       "client flags 0x%08" PRIx32 "; none but 0x%x are known",
                       flags, HANDSHAKE_FLAGS);
  return true;
}

static unsigned
max_options (const struct negotiation *negotiation)
{
  return MAX_OPTIONS
         + MAX_OPTIONS_PER_EXPORT * exports_nr (negotiation->priv.exports);
}

/* Is the option whose head has come one to listen to?  Otherwise the state is
 * CLOSE: there is no way to refuse it, or no point in that. */
static bool
is_welcome (struct negotiation *negotiation)
{
  bool is_fixed
      = (negotiation->priv.client_flags & NBD_FLAG_FIXED_NEWSTYLE) != 0;
  uint32_t option = negotiation->priv.option;
  uint32_t bytes = negotiation->priv.option_bytes;
  uint32_t max_bytes = option == NBD_OPT_EXPORT_NAME ? NBD_MAX_STRING_BYTES
                                                     : MAX_SKIPPED_BYTES;
  char buf[32];
  const char *name = option_name (option, buf, sizeof buf);

  if (option != NBD_OPT_EXPORT_NAME && !is_fixed)
    negotiation_close (negotiation,
                       "%s from a client without fixed newstyle; only "
                       "NBD_OPT_EXPORT_NAME is allowed",
                       name);
  else if (bytes > max_bytes)
    negotiation_close (negotiation,
                       "%s: %" PRIu32 " bytes; at most %" PRIu32 " are allowed",
                       name, bytes, max_bytes);
  else if (++negotiation->priv.nr_options > max_options (negotiation))
    negotiation_close (negotiation,
                       "%s: one option too many; at most %u are allowed", name,
                       max_options (negotiation));
  else if (negotiation->out_bytes > MAX_UNSENT_BYTES)
    negotiation_close (negotiation,
                       "%s while %zu bytes of answers are still to be sent; at "
                       "most %u are allowed",
                       name, negotiation->out_bytes, MAX_UNSENT_BYTES);
  return negotiation->state == NEGOTIATION_RUNS;
}

static bool
must_keep_data (const struct negotiation *negotiation)
{
  return option_is_allowed (negotiation)
         && option_has_data (negotiation->priv.option)
         && negotiation->priv.option_bytes <= MAX_OPTION_BYTES;
}

static bool
read_head (struct negotiation *negotiation, struct input *input)
{
  const uint8_t *head = take_head (negotiation, input, OPTION_HEAD_BYTES);
  uint32_t option, bytes;

  if (head == NULL)
    return false;
  if (nbd_get64 (head) != NBD_OPTS_MAGIC) {
    negotiation_close (negotiation,
                       "0x%016" PRIx64 " where an option must begin, with "
                       "0x%016" PRIx64,
                       nbd_get64 (head), NBD_OPTS_MAGIC);
    return true;
  }
  option = nbd_get32 (head + 8);
  bytes = nbd_get32 (head + 12);
  negotiation->priv.option = option;
  negotiation->priv.option_bytes = bytes;
  if (is_welcome (negotiation))
    negotiation->priv.phase
        = must_keep_data (negotiation) ? PHASE_DATA : PHASE_SKIP;
  return true;
}

/* All of the option has come. */
static void
answer (struct negotiation *negotiation, const uint8_t *data)
{
  uint32_t option = negotiation->priv.option;
  size_t out_bytes = negotiation->out_bytes;

  negotiation->priv.phase = PHASE_HEAD;
  if (!option_is_allowed (negotiation))
    option_refuse_without_tls (negotiation);
  else if (option_has_data (option)
           && negotiation->priv.option_bytes > MAX_OPTION_BYTES)
    negotiation_refuse (negotiation, NBD_REP_ERR_TOO_BIG,
                        "%" PRIu32 " bytes; at most %u are allowed",
                        negotiation->priv.option_bytes, MAX_OPTION_BYTES);
  else
    option_answer (negotiation, data);
  free_data (negotiation);
  if (negotiation->priv.no_memory) {
    negotiation->out_bytes = out_bytes; /* not half of an answer */
    negotiation_close (negotiation, "no memory for an answer");
  }
}

static bool
read_data (struct negotiation *negotiation, struct input *input)
{
  const uint8_t *data = take_data (negotiation, input);

  if (data == NULL)
    return false;
  answer (negotiation, data);
  return true;
}

static bool
pass_data (struct negotiation *negotiation, struct input *input)
{
  if (!skip_data (negotiation, input))
    return false;
  answer (negotiation, NULL);
  return true;
}

/* False: it is not all there that comes next. */
static bool
advance (struct negotiation *negotiation, struct input *input)
{
  switch ((enum phase)negotiation->priv.phase) {
  case PHASE_FLAGS:
    return read_flags (negotiation, input);
  case PHASE_HEAD:
    return read_head (negotiation, input);
  case PHASE_DATA:
    return read_data (negotiation, input);
  case PHASE_SKIP:
    return pass_data (negotiation, input);
  }
  return false;
}

/* ---- negotiate.h ---- */

void
negotiation_begin (struct negotiation *negotiation,
                   const struct exports *exports, uint32_t max_request_bytes,
                   enum negotiation_tls tls)
{
  uint8_t *p;

  memset (negotiation, 0, sizeof *negotiation);
  negotiation->priv.exports = exports;
  negotiation->priv.max_request_bytes = max_request_bytes;
  negotiation->priv.tls = tls;
  negotiation->priv.phase = PHASE_FLAGS;
  p = negotiation_add (negotiation, GREETING_BYTES);
  if (p == NULL) {
    negotiation_close (negotiation, "no memory for the greeting");
    return;
  }
  nbd_put64 (p, NBD_MAGIC);
  nbd_put64 (p + 8, NBD_OPTS_MAGIC);
  nbd_put16 (p + 16, HANDSHAKE_FLAGS);
}

size_t
negotiation_feed (struct negotiation *negotiation, const uint8_t *bytes,
                  size_t nr)
{
  struct input input = { bytes, nr };

  if (nr == 0)
    return 0; /* BYTES may be NULL */
  while (negotiation->state == NEGOTIATION_RUNS
         && advance (negotiation, &input)) {
  }
  return nr - input.nr;
}

void
negotiation_has_tls (struct negotiation *negotiation)
{
  assert (negotiation->state == NEGOTIATION_START_TLS);
  assert (negotiation->out_bytes == 0);
  negotiation->state = NEGOTIATION_RUNS;
  negotiation->structured_replies = false;
  negotiation->priv.context_export = NULL;
  negotiation->priv.is_under_tls = true;
}

void
negotiation_end (struct negotiation *negotiation)
{
  free_data (negotiation);
  free (negotiation->out);
  negotiation->out = NULL;
  negotiation->out_bytes = negotiation->out_room = 0;
}
