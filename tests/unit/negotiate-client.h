/* SPDX-License-Identifier: BSD-3-Clause
 *
 * negotiate-client.h: the other end of a handshake, for its tests: what a
 * client says is put together in a message, what it hears is compared.  One
 * thread.
 */

#ifndef BLKMQ_TESTS_NEGOTIATE_CLIENT_H
#define BLKMQ_TESTS_NEGOTIATE_CLIENT_H

#include "front/exports.h"
#include "harness.h"
#include "server/nbd.h"
#include "server/negotiate.h"

#define MAX_REQUEST_BYTES (32u << 20)
#define GREETING_BYTES 18u

#define BOTH_FLAGS (NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)

/* realloc fails; the linker sends the calls here. */
extern unsigned fail_memory_at; /* the n-th from now; 0: none */
extern size_t max_realloc_bytes;

/* ---- the server ---- */

extern struct exports *exports;
extern struct blkmq_error error;
extern struct negotiation negotiation;
extern enum negotiation_tls tls; /* of the next connection; off */

/* Exports a, and b, which is read-only. */
void client_setup (void);
void client_teardown (void);

/* Others; KEYS are parted by blanks. */
void serve (const char *keys);
void give (const char *key, const char *value);

const struct export *export_named (const char *name);

/* ---- what the client says ---- */

extern struct message {
  uint8_t bytes[1 << 21];
  size_t nr;
} message;

extern const uint8_t filler[1 << 20];

void say_bytes (const void *bytes, size_t nr);
void say_16 (uint16_t value);
void say_32 (uint32_t value);
void say_64 (uint64_t value);
void say_head (uint32_t option, uint32_t bytes);
void say_option (uint32_t option, const void *data, size_t bytes);
void say_export_name (const char *name);
void say_string (const char *string);

/* OPTION is INFO or GO. */
void say_info (uint32_t option, const char *name, unsigned nr,
               const uint16_t *infos);
void say_go (const char *name);

/* OPTION is LIST_META_CONTEXT or SET_META_CONTEXT; QUERIES are parted by
 * blanks, NULL is none. */
void say_context (uint32_t option, const char *name, const char *queries);

extern const struct malformed {
  uint32_t option, type; /* which is refused, and how */
  const char *data;
  size_t bytes;
  const char *says; /* a part of the text */
} malformed[];
extern const size_t nr_malformed;

/* A new connection.  Nothing but the greeting was sent; with the client's
 * flags; with the usual ones. */
void begin (void);
void begin_flags (uint32_t flags);
void begin_fixed (void);
/* Structured replies were chosen, too, and that was answered. */
void begin_structured (void);

/* All of the message so far. */
void send_all (void);

/* ---- what it hears ---- */

/* So much of what was answered was heard. */
extern size_t read_at;

const uint8_t *hear (size_t nr);
void hear_nothing (void);

/* A reply's data, which has *BYTES. */
const uint8_t *hear_reply (uint32_t option, uint32_t type, uint32_t *bytes);
void hear_data (uint32_t option, uint32_t type, const void *data, size_t nr);
void hear_ack (uint32_t option);
/* It says PART, and nothing comes after it. */
void hear_error (uint32_t option, uint32_t type, const char *part);

void hear_export (uint32_t option, uint64_t size_bytes, unsigned flags);
void hear_block_size (uint32_t option, uint32_t minimum, uint32_t preferred);
void hear_text (uint32_t option, uint16_t info, const char *text);
void hear_context (uint32_t option, uint32_t id);

void assert_runs (void);
/* For a reason that has PART in it, without a word of it to the client. */
void assert_closed (const char *part);
/* Transmission has begun, and all was heard. */
void assert_done (const char *name);

#define FLAGS                                                                  \
  (NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA                \
   | NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO \
   | NBD_FLAG_CAN_MULTI_CONN | NBD_FLAG_SEND_CACHE)
#define READ_ONLY_FLAGS                                                        \
  (NBD_FLAG_HAS_FLAGS | NBD_FLAG_READ_ONLY | NBD_FLAG_SEND_FLUSH               \
   | NBD_FLAG_CAN_MULTI_CONN | NBD_FLAG_SEND_CACHE)

#endif /* BLKMQ_TESTS_NEGOTIATE_CLIENT_H */
