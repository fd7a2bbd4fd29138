/* SPDX-License-Identifier: BSD-3-Clause
 *
 * negotiate.h: the handshake of one connection: bytes go in, bytes come out.
 * Knows no socket.  One thread at a time.
 */

#ifndef BLKMQ_SERVER_NEGOTIATE_H
#define BLKMQ_SERVER_NEGOTIATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "front/exports.h"

/* The number of the context base:allocation. */
#define CONTEXT_ALLOCATION 1u

/* Is there TLS?  Required: nothing else is answered before it. */
enum negotiation_tls {
  NEGOTIATION_TLS_OFF,
  NEGOTIATION_TLS_ON,
  NEGOTIATION_TLS_REQUIRED,
};

enum negotiation_state {
  NEGOTIATION_RUNS,      /* wants more bytes */
  NEGOTIATION_DONE,      /* send what is in out; then transmission begins */
  NEGOTIATION_START_TLS, /* send what is in out; then do the handshake of TLS,
                          * and call negotiation_has_tls.  Bytes that were not
                          * taken did not come under TLS, and must never be
                          * fed: who sends any is not a client to go on with */
  NEGOTIATION_CLOSE, /* send what is in out, as far as the client reads it; then
                      * close */
};

struct negotiation {
  /* The caller reads these; what stands there once the state is DONE counts. */
  enum negotiation_state state;
  const struct export *export;
  bool structured_replies;
  bool context_allocation; /* base:allocation was chosen for this export */

  /* What is to be sent: the caller sends it, and sets out_bytes to 0 or moves
   * the rest to the front.  A client that sends options while much is left is
   * not reading: CLOSE.  Freed by negotiation_end. */
  uint8_t *out;
  size_t out_bytes, out_room;

  /* Why the state is CLOSE, for the log; "" if the client has said that it
   * goes. */
  char why[256];

  struct { /* negotiate.c's */
    const struct exports *exports;
    enum negotiation_tls tls;
    bool is_under_tls;
    uint32_t max_request_bytes;
    uint32_t client_flags;
    unsigned phase;
    unsigned nr_options;
    uint32_t option, option_bytes; /* from its head */
    uint8_t head[16];              /* what has come of one */
    uint8_t *data;                 /* what has come of what follows it */
    uint32_t head_bytes, data_bytes, data_room;
    bool no_memory;                      /* for an answer */
    const struct export *context_export; /* for which it was chosen */
  } priv;
};

/* Puts the greeting in out.  EXPORTS are started and stay.  MAX_REQUEST_BYTES
 * is what clients are told to be the longest read or write. */
void negotiation_begin (struct negotiation *negotiation,
                        const struct exports *exports,
                        uint32_t max_request_bytes, enum negotiation_tls tls);

/* The client has sent NR bytes, in any pieces.  Returns how many were taken:
 * all of them while the state is RUNS; once it is DONE what is left belongs to
 * transmission, and in START_TLS to nobody.  Memory is bounded whatever comes:
 * no more than the longest option is kept (some 64 KiB), and only while it is
 * incomplete. */
size_t negotiation_feed (struct negotiation *negotiation, const uint8_t *bytes,
                         size_t nr);

/* The state was START_TLS, and from here on all comes and goes under TLS.  What
 * the client has chosen before is forgotten: somebody else may have said it. */
void negotiation_has_tls (struct negotiation *negotiation);

/* Frees what it has; after any state. */
void negotiation_end (struct negotiation *negotiation);

/* The transmission flags of EXPORT, for a client with or without structured
 * replies. */
uint16_t transmission_flags (const struct export *export,
                             bool structured_replies);

#endif /* BLKMQ_SERVER_NEGOTIATE_H */
