/* SPDX-License-Identifier: BSD-3-Clause
 *
 * negotiate-options.c: what each option means, and what a client is told of an
 * export.  One thread at a time for each negotiation.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "server/negotiate-internal.h"

#define PREFERRED_BLOCK_BYTES 4096u

/* ---- exports by name ---- */

/* The name of an export, not terminated. */
struct name {
  const uint8_t *bytes;
  uint32_t nr;
};

/* NULL: there is none, ERROR says why. */
static const struct export *
find_export (const struct negotiation *negotiation, struct name name,
             struct blkmq_error *error)
{
  char string[NBD_MAX_STRING_BYTES + 1];

  if (name.nr > 0)
    memcpy (string, name.bytes, name.nr);
  string[name.nr] = '\0';
  if (strlen (string) == name.nr)
    return exports_find (negotiation->priv.exports, string, error);
  snprintf (error->message, sizeof error->message,
            "an export's name with a NUL byte; none is allowed");
  return NULL;
}

/* The same; NULL: it was refused. */
static const struct export *
find_or_refuse (struct negotiation *negotiation, struct name name)
{
  struct blkmq_error error;
  const struct export *export = find_export (negotiation, name, &error);

  if (export == NULL)
    negotiation_refuse (negotiation, NBD_REP_ERR_UNKNOWN, "%s", error.message);
  return export;
}

/* ---- what a client is told of an export ---- */

uint16_t
transmission_flags (const struct export *export, bool structured_replies)
{
  const struct blkmq_limits *limits = blkmq_disk_limits (export->disk);
  /* Flushes are taken without a volatile cache, too: a client that cannot flush
   * must assume the worst.  They cover what was answered before on any
   * connection: no cache belongs to one.  CACHE is a hint that does nothing. */
  unsigned flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH
                   | NBD_FLAG_CAN_MULTI_CONN | NBD_FLAG_SEND_CACHE;

  if (limits->rotational)
    flags |= NBD_FLAG_ROTATIONAL;
  if (structured_replies)
    flags |= NBD_FLAG_SEND_DF;
  if (limits->read_only)
    return (uint16_t)(flags | NBD_FLAG_READ_ONLY);

  flags |= NBD_FLAG_SEND_FUA;
  if (limits->max_discard_bytes > 0)
    flags |= NBD_FLAG_SEND_TRIM;
  /* A driver that has write zeroes does them without the data: that is fast. */
  if (limits->max_write_zeroes_bytes > 0)
    flags |= NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
  return (uint16_t)flags;
}

static uint16_t
flags_of (const struct negotiation *negotiation, const struct export *export)
{
  return transmission_flags (export, negotiation->structured_replies);
}

static void
tell_export (struct negotiation *negotiation, const struct export *export)
{
  uint8_t *p = negotiation_reply (negotiation, NBD_REP_INFO, 12);

  if (p == NULL)
    return;
  nbd_put16 (p, NBD_INFO_EXPORT);
  nbd_put64 (p + 2, blkmq_disk_limits (export->disk)->size_bytes);
  nbd_put16 (p + 10, flags_of (negotiation, export));
}

/* A disk that ends inside a block has no minimum that could be told: NBD wants
 * one that divides the size, and clients would not read the tail, or worse. */
static void
tell_block_size (struct negotiation *negotiation, const struct export *export)
{
  const struct blkmq_limits *limits = blkmq_disk_limits (export->disk);
  uint32_t block_bytes = limits->logical_block_bytes;
  uint8_t *p = negotiation_reply (negotiation, NBD_REP_INFO, 14);

  if (p == NULL)
    return;
  nbd_put16 (p, NBD_INFO_BLOCK_SIZE);
  nbd_put32 (p + 2, limits->size_bytes % block_bytes == 0 ? block_bytes : 1);
  nbd_put32 (p + 6, block_bytes > PREFERRED_BLOCK_BYTES
                        ? block_bytes
                        : PREFERRED_BLOCK_BYTES);
  nbd_put32 (p + 10, negotiation->priv.max_request_bytes);
}

static void
tell_text (struct negotiation *negotiation, uint16_t info, const char *text)
{
  size_t bytes = strlen (text);
  uint8_t *p = negotiation_reply (negotiation, NBD_REP_INFO, 2 + bytes);

  if (p == NULL)
    return;
  nbd_put16 (p, info);
  memcpy (p + 2, text, bytes);
}

static void
tell_description (struct negotiation *negotiation, const struct export *export)
{
  char description[EXPORT_DESCRIPTION_BYTES];

  export_describe (export, description, sizeof description);
  tell_text (negotiation, NBD_INFO_DESCRIPTION, description);
}

/* ---- the options ---- */

static void
acknowledge (struct negotiation *negotiation)
{
  negotiation_reply (negotiation, NBD_REP_ACK, 0);
}

static bool
refuse_data (struct negotiation *negotiation)
{
  if (negotiation->priv.option_bytes == 0)
    return false;
  return !option_refuse_length (negotiation, "this option has none");
}

/* Transmission begins. */
static void
enter (struct negotiation *negotiation, const struct export *export)
{
  negotiation->state = NEGOTIATION_DONE;
  negotiation->export = export;
  negotiation->context_allocation = export == negotiation->priv.context_export;
}

static void
answer_export_name (struct negotiation *negotiation, const uint8_t *data)
{
  bool zeroes = (negotiation->priv.client_flags & NBD_FLAG_NO_ZEROES) == 0;
  struct name name = { data, negotiation->priv.option_bytes };
  size_t bytes = zeroes ? 10 + 124 : 10;
  const struct export *export;
  struct blkmq_error error;
  uint8_t *p;

  export = find_export (negotiation, name, &error);
  if (export == NULL) {
    /* This option has no place for an error. */
    negotiation_close (negotiation, "%s", error.message);
    return;
  }
  p = negotiation_add (negotiation, bytes);
  if (p == NULL)
    return;
  memset (p, 0, bytes);
  nbd_put64 (p, blkmq_disk_limits (export->disk)->size_bytes);
  nbd_put16 (p + 8, flags_of (negotiation, export));
  enter (negotiation, export);
}

static void
answer_abort (struct negotiation *negotiation)
{
  acknowledge (negotiation);
  negotiation_close (negotiation, "%s", "");
}

static void
answer_list (struct negotiation *negotiation)
{
  const struct exports *exports = negotiation->priv.exports;
  char description[EXPORT_DESCRIPTION_BYTES];

  if (refuse_data (negotiation))
    return;
  for (unsigned i = 0; i < exports_nr (exports); i++) {
    const struct export *export = exports_at (exports, i);
    size_t name_bytes = strlen (export->name), description_bytes;
    uint8_t *p;

    export_describe (export, description, sizeof description);
    description_bytes = strlen (description);
    p = negotiation_reply (negotiation, NBD_REP_SERVER,
                           4 + name_bytes + description_bytes);
    if (p == NULL)
      return;
    nbd_put32 (p, (uint32_t)name_bytes);
    memcpy (p + 4, export->name, name_bytes);
    memcpy (p + 4 + name_bytes, description, description_bytes);
  }
  acknowledge (negotiation);
}

/* Of INFO and of GO, whose data and answers are the same.  Infos that nobody
 * knows are ignored. */
static void
answer_info (struct negotiation *negotiation, const uint8_t *data)
{
  struct fields fields = { data, negotiation->priv.option_bytes };
  bool wants_name = false, wants_description = false;
  const struct export *export;
  struct name name;
  uint16_t nr, info;

  if (!fields_take_string (negotiation, &fields, &name.bytes, &name.nr))
    return;
  if (!fields_take_16 (&fields, &nr) || fields.left != 2u * nr) {
    option_refuse_length (negotiation, "not what its number of infos needs");
    return;
  }
  while (fields_take_16 (&fields, &info)) {
    wants_name |= info == NBD_INFO_NAME;
    wants_description |= info == NBD_INFO_DESCRIPTION;
  }
  export = find_or_refuse (negotiation, name);
  if (export == NULL)
    return;

  tell_export (negotiation, export);
  if (wants_name)
    tell_text (negotiation, NBD_INFO_NAME, export->name);
  if (wants_description)
    tell_description (negotiation, export);
  /* Blocks are enforced, so this is for who does not ask, too: all clients know
   * it or have to ignore it. */
  tell_block_size (negotiation, export);
  acknowledge (negotiation);
  if (negotiation->priv.option == NBD_OPT_GO)
    enter (negotiation, export);
}

static void
answer_structured_reply (struct negotiation *negotiation)
{
  if (refuse_data (negotiation))
    return;
  negotiation->structured_replies = true;
  acknowledge (negotiation);
}

/* ---- the contexts, of which there is one ---- */

#define NAMESPACE "base:"
#define CONTEXT NAMESPACE "allocation"

static bool
is_string (const uint8_t *bytes, size_t nr, const char *string)
{
  return nr == strlen (string) && memcmp (bytes, string, nr) == 0;
}

/* Does one of the queries that fill FIELDS select it?  -1: they are wrong, and
 * were refused. */
static int
has_query (struct negotiation *negotiation, struct fields *fields, bool is_list)
{
  const uint8_t *query;
  uint32_t nr, bytes;
  int found;

  if (!fields_take_32 (fields, &nr)) {
    option_refuse_length (negotiation, "too short for the number of queries");
    return -1;
  }
  found = is_list && nr == 0;
  for (uint32_t i = 0; i < nr; i++) {
    if (!fields_take_string (negotiation, fields, &query, &bytes))
      return -1;
    if (is_string (query, bytes, CONTEXT)
        || (is_list && is_string (query, bytes, NAMESPACE)))
      found = 1;
  }
  if (fields->left > 0) {
    option_refuse_length (negotiation, "more than its queries need");
    return -1;
  }
  return found;
}

static void
tell_context (struct negotiation *negotiation, uint32_t id)
{
  size_t bytes = strlen (CONTEXT);
  uint8_t *p = negotiation_reply (negotiation, NBD_REP_META_CONTEXT, 4 + bytes);

  if (p == NULL)
    return;
  nbd_put32 (p, id);
  memcpy (p + 4, CONTEXT, bytes);
}

/* Of LIST_META_CONTEXT and SET_META_CONTEXT, whose data are the same. */
static void
answer_context (struct negotiation *negotiation, const uint8_t *data)
{
  bool is_list = negotiation->priv.option == NBD_OPT_LIST_META_CONTEXT;
  struct fields fields = { data, negotiation->priv.option_bytes };
  const struct export *export;
  struct name name;
  int found;

  /* What was chosen before is gone, whatever comes of this. */
  if (!is_list)
    negotiation->priv.context_export = NULL;
  if (!is_list && !negotiation->structured_replies) {
    negotiation_refuse (negotiation, NBD_REP_ERR_INVALID,
                        "NBD_OPT_STRUCTURED_REPLY must come before it");
    return;
  }
  if (!fields_take_string (negotiation, &fields, &name.bytes, &name.nr))
    return;
  found = has_query (negotiation, &fields, is_list);
  if (found < 0)
    return;
  export = find_or_refuse (negotiation, name);
  if (export == NULL)
    return;
  if (found > 0)
    tell_context (negotiation, is_list ? 0 : CONTEXT_ALLOCATION);
  if (found > 0 && !is_list)
    negotiation->priv.context_export = export;
  acknowledge (negotiation);
}

/* ---- TLS ---- */

static void
answer_starttls (struct negotiation *negotiation)
{
  if (negotiation->priv.is_under_tls) {
    negotiation_refuse (negotiation, NBD_REP_ERR_INVALID,
                        "this connection has TLS already");
    return;
  }
  if (negotiation->priv.tls == NEGOTIATION_TLS_OFF) {
    negotiation_refuse (negotiation, NBD_REP_ERR_POLICY,
                        "TLS is switched off here; go on without");
    return;
  }
  if (refuse_data (negotiation))
    return;
  acknowledge (negotiation);
  negotiation->state = NEGOTIATION_START_TLS;
}

/* ---- negotiate-internal.h ---- */

bool
option_is_allowed (const struct negotiation *negotiation)
{
  return negotiation->priv.tls != NEGOTIATION_TLS_REQUIRED
         || negotiation->priv.is_under_tls
         || negotiation->priv.option == NBD_OPT_STARTTLS
         || negotiation->priv.option == NBD_OPT_ABORT;
}

void
option_refuse_without_tls (struct negotiation *negotiation)
{
  /* This option has no place for an error. */
  if (negotiation->priv.option == NBD_OPT_EXPORT_NAME)
    negotiation_close (negotiation, "refused: NBD_OPT_EXPORT_NAME without TLS, "
                                    "which is required");
  else
    negotiation_refuse (negotiation, NBD_REP_ERR_TLS_REQD,
                        "TLS is required: nothing else is answered before it");
}

bool
option_has_data (uint32_t option)
{
  switch (option) {
  case NBD_OPT_EXPORT_NAME:
  case NBD_OPT_INFO:
  case NBD_OPT_GO:
  case NBD_OPT_LIST_META_CONTEXT:
  case NBD_OPT_SET_META_CONTEXT:
    return true;
  default:
    return false;
  }
}

void
option_answer (struct negotiation *negotiation, const uint8_t *data)
{
  switch (negotiation->priv.option) {
  case NBD_OPT_EXPORT_NAME:
    answer_export_name (negotiation, data);
    break;
  case NBD_OPT_ABORT:
    answer_abort (negotiation);
    break;
  case NBD_OPT_LIST:
    answer_list (negotiation);
    break;
  case NBD_OPT_INFO:
  case NBD_OPT_GO:
    answer_info (negotiation, data);
    break;
  case NBD_OPT_STRUCTURED_REPLY:
    answer_structured_reply (negotiation);
    break;
  case NBD_OPT_LIST_META_CONTEXT:
  case NBD_OPT_SET_META_CONTEXT:
    answer_context (negotiation, data);
    break;
  case NBD_OPT_STARTTLS:
    answer_starttls (negotiation);
    break;
  default:
    negotiation_refuse (negotiation, NBD_REP_ERR_UNSUP,
                        "option %" PRIu32 " is not known",
                        negotiation->priv.option);
    break;
  }
}
