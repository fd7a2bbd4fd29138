/* SPDX-License-Identifier: BSD-3-Clause
 *
 * negotiate-client.c: see negotiate-client.h.
 */

#include <config.h>

#include <string.h>

#include "negotiate-client.h"

/* ---- what fails: the linker sends the calls here ---- */

unsigned fail_memory_at;
size_t max_realloc_bytes;

/* __wrap_NAME and __real_NAME are the linker's names. */
void *__real_realloc (void *p, size_t bytes);
void *__wrap_realloc (void *p, size_t bytes);

void *
__wrap_realloc (void *p, size_t bytes)
{
  if (fail_memory_at > 0 && --fail_memory_at == 0)
    return NULL;
  if (bytes > max_realloc_bytes)
    max_realloc_bytes = bytes;
  return __real_realloc (p, bytes);
}

/* ---- bytes that a client sends ---- */

struct message message;
const uint8_t filler[1 << 20];

void
say_bytes (const void *bytes, size_t nr)
{
  ck_assert_uint_le (message.nr + nr, sizeof message.bytes);
  if (nr > 0)
    memcpy (message.bytes + message.nr, bytes, nr);
  message.nr += nr;
}

void
say_16 (uint16_t value)
{
  uint8_t bytes[2];

  nbd_put16 (bytes, value);
  say_bytes (bytes, sizeof bytes);
}

void
say_32 (uint32_t value)
{
  uint8_t bytes[4];

  nbd_put32 (bytes, value);
  say_bytes (bytes, sizeof bytes);
}

void
say_64 (uint64_t value)
{
  uint8_t bytes[8];

  nbd_put64 (bytes, value);
  say_bytes (bytes, sizeof bytes);
}

void
say_head (uint32_t option, uint32_t bytes)
{
  say_64 (NBD_OPTS_MAGIC);
  say_32 (option);
  say_32 (bytes);
}

void
say_option (uint32_t option, const void *data, size_t bytes)
{
  say_head (option, (uint32_t)bytes);
  say_bytes (data, bytes);
}

void
say_export_name (const char *name)
{
  say_option (NBD_OPT_EXPORT_NAME, name, strlen (name));
}

void
say_string (const char *string)
{
  say_32 ((uint32_t)strlen (string));
  say_bytes (string, strlen (string));
}

/* OPTION is INFO or GO. */
void
say_info (uint32_t option, const char *name, unsigned nr, const uint16_t *infos)
{
  say_head (option, (uint32_t)(4 + strlen (name) + 2 + 2 * nr));
  say_string (name);
  say_16 ((uint16_t)nr);
  for (unsigned i = 0; i < nr; i++)
    say_16 (infos[i]);
}

void
say_go (const char *name)
{
  say_info (NBD_OPT_GO, name, 0, NULL);
}

/* OPTION is LIST_META_CONTEXT or SET_META_CONTEXT; QUERIES are parted by
 * blanks, NULL is none. */
void
say_context (uint32_t option, const char *name, const char *queries)
{
  size_t head_at = message.nr, nr_at;
  uint32_t nr = 0;

  say_head (option, 0);
  say_string (name);
  nr_at = message.nr;
  say_32 (0);
  while (queries != NULL) {
    const char *end = strchrnul (queries, ' ');

    say_32 ((uint32_t)(end - queries));
    say_bytes (queries, (size_t)(end - queries));
    queries = *end != '\0' ? end + 1 : NULL;
    nr++;
  }
  nbd_put32 (message.bytes + nr_at, nr);
  nbd_put32 (message.bytes + head_at + 12,
             (uint32_t)(message.nr - head_at - 16));
}

/* ---- the server ---- */

struct exports *exports;
struct blkmq_error error;
struct negotiation negotiation;
enum negotiation_tls tls;
size_t read_at;

void
give (const char *key, const char *value)
{
  int r = exports_set (exports, key, value, &error);

  ck_assert_msg (r == 0, "%s", error.message);
}

/* KEYS are parted by blanks. */
void
serve (const char *keys)
{
  char *copy = strdup (keys), *rest = copy, *word, *value;

  ck_assert_ptr_nonnull (copy);
  exports_free (exports);
  exports = exports_alloc ();
  ck_assert_ptr_nonnull (exports);
  while ((word = strsep (&rest, " ")) != NULL) {
    value = strchr (word, '=');
    ck_assert_ptr_nonnull (value);
    *value++ = '\0';
    give (word, value);
  }
  free (copy);
  ck_assert_msg (exports_check (exports, &error) == 0, "%s", error.message);
  ck_assert_msg (exports_set_up (exports, &error) == 0, "%s", error.message);
}

#define TWO_EXPORTS                                                            \
  "size=1M seed=1 export=a description=first export=b size=64K "               \
  "blocksize=4096 "                                                            \
  "readonly=1 rotational=1 description=second"

void
client_setup (void)
{
  fail_memory_at = 0;
  tls = NEGOTIATION_TLS_OFF;
  serve (TWO_EXPORTS);
}

void
client_teardown (void)
{
  negotiation_end (&negotiation);
  ck_assert_ptr_null (negotiation.out);
  ck_assert_ptr_null (negotiation.priv.data);
  exports_free (exports);
  exports = NULL;
}

/* A new connection, of which nothing but the greeting was sent. */
void
begin (void)
{
  negotiation_end (&negotiation);
  negotiation_begin (&negotiation, exports, MAX_REQUEST_BYTES, tls);
  message.nr = 0;
  read_at = GREETING_BYTES;
}

void
begin_flags (uint32_t flags)
{
  begin ();
  say_32 (flags);
}

void
begin_fixed (void)
{
  begin_flags (BOTH_FLAGS);
}

/* All of the message so far that was not sent. */
void
send_all (void)
{
  size_t taken = negotiation_feed (&negotiation, message.bytes, message.nr);

  if (negotiation.state == NEGOTIATION_RUNS)
    ck_assert_uint_eq (taken, message.nr);
  message.nr = 0;
}

/* ---- what the client reads ---- */

const uint8_t *
hear (size_t nr)
{
  const uint8_t *p = negotiation.out + read_at;

  ck_assert_uint_le (nr, negotiation.out_bytes - read_at);
  read_at += nr;
  return p;
}

void
hear_nothing (void)
{
  ck_assert_uint_eq (read_at, negotiation.out_bytes);
}

/* A reply's data, which has *BYTES. */
const uint8_t *
hear_reply (uint32_t option, uint32_t type, uint32_t *bytes)
{
  const uint8_t *p = hear (20);

  ck_assert_uint_eq (nbd_get64 (p), NBD_REP_MAGIC);
  ck_assert_uint_eq (nbd_get32 (p + 8), option);
  ck_assert_uint_eq (nbd_get32 (p + 12), type);
  *bytes = nbd_get32 (p + 16);
  return hear (*bytes);
}

void
hear_data (uint32_t option, uint32_t type, const void *data, size_t nr)
{
  uint32_t bytes;
  const uint8_t *p = hear_reply (option, type, &bytes);

  ck_assert_uint_eq (bytes, nr);
  if (nr > 0)
    ck_assert_mem_eq (p, data, nr);
}

void
hear_ack (uint32_t option)
{
  hear_data (option, NBD_REP_ACK, NULL, 0);
}

/* An error that says PART, and nothing after it. */
void
hear_error (uint32_t option, uint32_t type, const char *part)
{
  uint32_t bytes;
  const uint8_t *p = hear_reply (option, type, &bytes);
  char text[4097];

  ck_assert_uint_lt (bytes, sizeof text);
  memcpy (text, p, bytes);
  text[bytes] = '\0';
  ck_assert_msg (strstr (text, part) != NULL, "\"%s\" lacks \"%s\"", text,
                 part);
  hear_nothing ();
}

void
hear_export (uint32_t option, uint64_t size_bytes, unsigned flags)
{
  uint8_t data[12];

  nbd_put16 (data, NBD_INFO_EXPORT);
  nbd_put64 (data + 2, size_bytes);
  nbd_put16 (data + 10, (uint16_t)flags);
  hear_data (option, NBD_REP_INFO, data, sizeof data);
}

void
hear_block_size (uint32_t option, uint32_t minimum, uint32_t preferred)
{
  uint8_t data[14];

  nbd_put16 (data, NBD_INFO_BLOCK_SIZE);
  nbd_put32 (data + 2, minimum);
  nbd_put32 (data + 6, preferred);
  nbd_put32 (data + 10, MAX_REQUEST_BYTES);
  hear_data (option, NBD_REP_INFO, data, sizeof data);
}

void
hear_text (uint32_t option, uint16_t info, const char *text)
{
  uint8_t data[256];
  size_t bytes = strlen (text);

  ck_assert_uint_le (2 + bytes, sizeof data);
  nbd_put16 (data, info);
  memcpy (data + 2, text, bytes);
  hear_data (option, NBD_REP_INFO, data, 2 + bytes);
}

void
hear_context (uint32_t option, uint32_t id)
{
  static const char name[] = "base:allocation";
  uint8_t data[4 + sizeof name - 1];

  nbd_put32 (data, id);
  memcpy (data + 4, name, sizeof name - 1);
  hear_data (option, NBD_REP_META_CONTEXT, data, sizeof data);
}

/* Closed, for a reason that has PART in it, and without a word of it to the
 * client. */
void
assert_closed (const char *part)
{
  ck_assert_int_eq (negotiation.state, NEGOTIATION_CLOSE);
  ck_assert_msg (strstr (negotiation.why, part) != NULL, "\"%s\" lacks \"%s\"",
                 negotiation.why, part);
  hear_nothing ();
  ck_assert_uint_eq (negotiation_feed (&negotiation, (const uint8_t *)"x", 1),
                     0);
}

void
assert_runs (void)
{
  ck_assert_int_eq (negotiation.state, NEGOTIATION_RUNS);
}

const struct export *
export_named (const char *name)
{
  const struct export *export = exports_find (exports, name, &error);

  ck_assert_msg (export != NULL, "%s", error.message);
  return export;
}

void
assert_done (const char *name)
{
  ck_assert_int_eq (negotiation.state, NEGOTIATION_DONE);
  ck_assert_ptr_eq (negotiation.export, export_named (name));
  hear_nothing ();
}

void
begin_structured (void)
{
  begin_fixed ();
  say_head (NBD_OPT_STRUCTURED_REPLY, 0);
  send_all ();
  hear_ack (NBD_OPT_STRUCTURED_REPLY);
}

/* ---- what is malformed ---- */

const struct malformed malformed[] = {
#define MALFORMED(option, type, data, says)                                    \
  {                                                                            \
    NBD_OPT_##option, NBD_REP_ERR_##type, data, sizeof data - 1, says          \
  }
  MALFORMED (LIST, INVALID, "x", "1 bytes"),
  MALFORMED (STRUCTURED_REPLY, INVALID, "xy", "2 bytes"),
  MALFORMED (INFO, INVALID, "", "0 bytes"),
  MALFORMED (INFO, INVALID, "\0\0\0", "3 bytes"),
  MALFORMED (INFO, INVALID, "\0\0\0\0", "4 bytes"),
  MALFORMED (INFO, INVALID, "\0\0\0\2a", "5 bytes"),
  MALFORMED (INFO, INVALID, "\xff\xff\xff\xff", "string"),
  MALFORMED (INFO, INVALID, "\0\0\0\1a", "infos"),
  MALFORMED (INFO, INVALID, "\0\0\0\1a\0", "infos"),
  MALFORMED (INFO, INVALID, "\0\0\0\1a\0\1", "infos"),
  MALFORMED (INFO, INVALID, "\0\0\0\1a\0\1\0", "infos"),
  MALFORMED (INFO, INVALID, "\0\0\0\1a\0\0\0", "infos"),
  MALFORMED (INFO, INVALID, "\0\0\0\1a\xff\xff\0\0", "infos"),
  MALFORMED (INFO, UNKNOWN, "\0\0\0\3a\0b\0\0", "NUL"),
  MALFORMED (GO, INVALID, "", "0 bytes"),
  MALFORMED (GO, INVALID, "\0\0\0\1a\0\1", "infos"),
  MALFORMED (LIST_META_CONTEXT, INVALID, "", "0 bytes"),
  MALFORMED (LIST_META_CONTEXT, INVALID, "\0\0\0\1a", "number of queries"),
  MALFORMED (LIST_META_CONTEXT, INVALID, "\0\0\0\1a\0\0\0", "8 bytes"),
  MALFORMED (LIST_META_CONTEXT, INVALID, "\0\0\0\1a\0\0\0\1", "string"),
  MALFORMED (LIST_META_CONTEXT, INVALID, "\0\0\0\1a\xff\xff\xff\xff", "string"),
  MALFORMED (LIST_META_CONTEXT, INVALID, "\0\0\0\1a\0\0\0\1\0\0\0\2x",
             "string"),
  MALFORMED (LIST_META_CONTEXT, INVALID, "\0\0\0\1a\0\0\0\0x", "more than"),
  MALFORMED (LIST_META_CONTEXT, UNKNOWN, "\0\0\0\2a\0\0\0\0\0", "NUL"),
  MALFORMED (SET_META_CONTEXT, INVALID, "\0\0\0\1a\0\0\0\2\0\0\0\1x", "string"),
};

const size_t nr_malformed = NR (malformed);
